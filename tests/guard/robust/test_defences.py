from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trustplane import canon
from trustplane.errors import InputError
from trustplane.guard.robust.attacks import pgd
from trustplane.guard.robust.evaluate import evaluate, wilson
from trustplane.guard.robust.purifier import Purifier, fit_purifier
from trustplane.guard.robust.training import adversarial_batches
from trustplane.step import Step

from . import digits
from .digits import accuracy, batches, classifier, fit, network

EPSILON = 0.12
measure = partial(evaluate, epsilon=EPSILON, step_size=0.02, steps=20, restarts=2)


def test_adversarial_training_makes_the_classifier_hold():
    torch.manual_seed(0)
    hard = network()
    attack = partial(pgd, epsilon=EPSILON, step_size=EPSILON / 3, steps=5)
    steps: list[Step] = []
    fit(hard, lambda: adversarial_batches(hard, batches(), attack=attack, ratio=0.8, record=steps.append), 15)
    x, y = digits.test()
    plain, trained = measure(classifier(), x, y), measure(hard, x, y)
    print(f"plain\n{plain}\nadversarially trained\n{trained}")
    assert trained.adaptive.low > plain.adaptive.high + 0.2
    assert trained.clean.value > 0.9
    assert len(steps) == 15 and steps[0].facts == {
        "batches": 11,
        "examples": 1297,
        "adversarial_examples": 10 * round(0.8 * 128) + round(0.8 * 17),
    }


def test_batches_keep_labels_and_share():
    x, y = digits.test()
    attack = partial(pgd, epsilon=0.1, step_size=0.05, steps=2)
    ((found, labels),) = adversarial_batches(classifier(), [(x[:10], y[:10])], attack=attack, ratio=0.3)
    changed = (found != x[:10]).flatten(1).any(1)
    assert torch.equal(labels, y[:10]) and changed.tolist() == [True] * 3 + [False] * 7
    ((same, _),) = adversarial_batches(classifier(), [(x, y)], attack=attack, ratio=0)
    assert torch.equal(same, x)
    with pytest.raises(InputError):
        list(adversarial_batches(classifier(), [], attack=attack, ratio=1.1))


def test_leaving_the_loop_early_is_recorded():
    steps: list[Step] = []
    attack = partial(pgd, epsilon=0.1, step_size=0.05, steps=1)
    source = adversarial_batches(classifier(), batches(), attack=attack, record=steps.append)
    next(iter(source))
    source.close()  # type: ignore[attr-defined]
    assert [s.facts["batches"] for s in steps] == [1]


@pytest.mark.parametrize("size", [(4, 4), (8, 8), (7, 5), (28, 28), (9, 16)])
def test_purifier_takes_any_small_image(size):
    purifier = Purifier(*size, bottleneck=8, channels=4)
    x = torch.rand(3, 1, *size)
    cleaned = purifier(x).detach()
    assert cleaned.shape == x.shape and float(cleaned.min()) >= 0 and float(cleaned.max()) <= 1
    with pytest.raises(InputError):
        purifier(torch.rand(3, 1, size[0] + 1, size[1]))
    with pytest.raises(InputError):
        Purifier(3, 8)


def test_a_purifier_trained_through_the_composite_holds_and_is_measured_honestly():
    torch.manual_seed(1)
    model, purifier = classifier(), Purifier(8, 8, bottleneck=32, channels=6)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    steps: list[Step] = []
    fit_purifier(
        purifier,
        model,
        batches,
        attack=lambda scale: partial(pgd, epsilon=EPSILON * scale, step_size=EPSILON * scale / 2, steps=3),
        epochs=10,
        pretrain_epochs=5,
        learning_rate=3e-3,
        record=steps.append,
    )
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())  # untouched
    assert all(p.requires_grad for p in model.parameters()) and purifier.training
    x, y = digits.test()
    bare, held = measure(model, x, y), measure(model, x, y, purifier=purifier, record=steps.append)
    print(f"bare\n{bare}\npurified\n{held}")
    assert held.adaptive.low > bare.adaptive.high
    assert held.adaptive.value <= held.oblivious.value <= held.clean.value
    assert held.purified and not bare.purified
    fitted, step = steps
    assert fitted.action == "guard.robust.purifier.fit" and step.action == "guard.robust.evaluate"
    assert step.facts["adaptive_accuracy_micro"] == round(held.adaptive.value * 1e6)
    assert step.facts["adaptive_low_micro"] < step.facts["adaptive_accuracy_micro"] < step.facts["adaptive_high_micro"]
    assert step.facts["oblivious_accuracy_micro"] >= step.facts["adaptive_accuracy_micro"]
    canon.dumps(step.facts)
    assert "oblivious" in str(held) and "adaptive" in str(held)  # never one without the other


def test_a_purifier_trained_against_the_bare_model_is_exposed():
    """The classic mistake: it looks strong to an attack that does not see it, and only to that."""
    torch.manual_seed(2)
    model, purifier = classifier(), Purifier(8, 8, bottleneck=32, channels=6)
    fit_purifier(
        purifier,
        model,
        batches,
        attack=lambda scale: lambda _, x, y: pgd(model, x, y, epsilon=EPSILON, step_size=EPSILON / 3, steps=5),
        epochs=15,
        pretrain_epochs=3,
        learning_rate=3e-3,
    )
    report = measure(model, *digits.test(), purifier=purifier)
    print(report)
    assert report.oblivious.low > report.adaptive.high + 0.2


class Rounding(nn.Module):
    """A purifier whose gradient is zero: the attack through it learns nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 8).round() / 8


def test_a_purifier_that_hides_its_gradient_is_exposed():
    report = measure(classifier(), *digits.test(), purifier=Rounding())
    through = pgd(nn.Sequential(Rounding(), classifier()), *digits.test(), epsilon=EPSILON, step_size=0.02, steps=20)
    naive = accuracy(nn.Sequential(Rounding(), classifier()), through, digits.test()[1])
    print(f"naive {naive:.3f}\n{report}")
    assert report.adaptive.value < naive - 0.2


def test_evaluation_is_repeatable_and_does_not_touch_the_model():
    x, y = digits.test()
    model = network()
    first, again = (measure(model, x[:50], y[:50], seed=4) for _ in range(2))
    assert first == again and model.training
    assert first.clean.value == pytest.approx(accuracy(model, x[:50], y[:50]))
    zero = evaluate(classifier(), x, y, epsilon=0, step_size=0, steps=1)
    assert zero.clean == zero.oblivious == zero.adaptive
    with pytest.raises(InputError):
        measure(model, x[:0], y[:0])


@given(st.integers(1, 10_000), st.data())
def test_wilson_interval_solves_its_own_equation(n, data):
    correct = data.draw(st.integers(0, n))
    found = wilson(correct, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    for bound in (found.low, found.high):  # (p - bound)^2 = z^2 bound (1 - bound) / n
        if 0 < bound < 1:
            left, right = (found.value - bound) ** 2, 1.959963984540054**2 * bound * (1 - bound) / n
            assert left == pytest.approx(right, rel=1e-6, abs=1e-12)


def test_wilson_of_known_values():
    assert wilson(450, 500).low == pytest.approx(0.8706, abs=1e-4)
    assert wilson(0, 10).low == 0 and wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    for correct, n in ((1, 0), (-1, 3), (4, 3)):
        with pytest.raises(InputError):
            wilson(correct, n)
