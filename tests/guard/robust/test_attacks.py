import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trustplane.errors import InputError
from trustplane.guard.robust.attacks import fgsm, pgd

from . import digits
from .digits import accuracy, classifier


@settings(max_examples=150, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    epsilon=st.floats(1e-4, 3.0),
    step=st.floats(1e-3, 3.0),
    norm=st.sampled_from(["linf", "l2"]),
    restarts=st.integers(1, 3),
    random_start=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_result_stays_inside_the_ball_and_the_range(shape, epsilon, step, norm, restarts, random_start, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.rand(4, *shape, generator=g)
    x[0] = x[0].round()  # corners of the range
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 3))
    y = torch.randint(0, 3, (4,), generator=g)
    found = pgd(
        model,
        x,
        y,
        epsilon=epsilon,
        step_size=step,
        steps=3,
        restarts=restarts,
        norm=norm,
        random_start=random_start,
        generator=g,
    )
    assert found.shape == x.shape and not found.requires_grad and found.dtype == x.dtype
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    if norm == "linf":
        assert bool(((found >= x - epsilon) & (found <= x + epsilon)).all())
    else:
        assert float((found.double() - x.double()).flatten(1).norm(dim=1).max()) <= epsilon


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_success_equals_arts(norm):
    import numpy as np
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    x, y = digits.test()
    model = classifier()
    epsilon, step = (0.12, 0.02) if norm == "linf" else (0.8, 0.12)
    ours = pgd(model, x, y, epsilon=epsilon, step_size=step, steps=20, norm=norm)
    wrapped = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=(1, 8, 8),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    theirs = ProjectedGradientDescent(
        wrapped,
        norm=np.inf if norm == "linf" else 2,
        eps=epsilon,
        eps_step=step,
        max_iter=20,
        num_random_init=1,
        batch_size=500,
        verbose=False,
    ).generate(x.numpy(), y.numpy())
    mine, art = accuracy(model, ours, y), accuracy(model, torch.from_numpy(theirs), y)
    print(f"{norm}: accuracy under PGD-20 ours {mine:.3f}, ART {art:.3f}, clean {accuracy(model, x, y):.3f}")
    assert 0.02 < art < 0.8  # a setting in which a difference would show
    assert abs(mine - art) <= 0.03


def test_more_work_is_never_weaker():
    x, y = digits.test()
    model = classifier()
    attack = partial(pgd, model, x, y, epsilon=0.1)
    clean = accuracy(model, x, y)
    weak = accuracy(model, fgsm(model, x, y, epsilon=0.1), y)
    strong = accuracy(model, attack(step_size=0.015, steps=20), y)
    stronger = accuracy(model, attack(step_size=0.015, steps=20, restarts=4), y)
    assert clean > weak >= strong >= stronger
    assert accuracy(model, pgd(model, x, y, epsilon=0.5, step_size=0.05, steps=20), y) == 0.0


def test_restarts_keep_the_worst_of_each_sample():
    """With the same starts, a sample fooled by any single run is fooled by the joint one."""
    x, y = digits.test()
    x, y = x[:100], y[:100]
    model = classifier()
    run = partial(pgd, model, x, y, epsilon=0.08, step_size=0.02, steps=4)
    g = torch.Generator().manual_seed(5)
    single = [model(run(generator=g)).argmax(1) != y for _ in range(3)]
    joint = model(run(restarts=3, generator=torch.Generator().manual_seed(5))).argmax(1) != y
    assert torch.equal(joint, torch.stack(single).any(0))


def test_model_is_left_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10))
    model[1].weight.requires_grad_(False)
    model[3].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, y = digits.test()
    with torch.no_grad():  # also under no_grad
        pgd(model, x[:8], y[:8], epsilon=0.1, step_size=0.05, steps=2)
    assert [m.training for m in model] == [True, True, True, False, True] and model.training
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())

    def broken(_):
        raise RuntimeError

    handle = model[4].register_forward_hook(lambda *a: broken(a))
    with pytest.raises(RuntimeError):
        pgd(model, x[:8], y[:8], epsilon=0.1, step_size=0.05, steps=2)
    handle.remove()
    assert model.training and model[4].weight.requires_grad


def test_zero_epsilon_gives_the_input_back():
    x, y = digits.test()
    found = pgd(classifier(), x, y, epsilon=0, step_size=0.1, steps=3)
    assert torch.equal(found, x) and found.data_ptr() != x.data_ptr()
    assert torch.equal(fgsm(classifier(), x, y, epsilon=0), x)


def test_a_generator_makes_it_repeatable():
    x, y = digits.test()
    once, again = (
        pgd(classifier(), x, y, epsilon=0.1, step_size=0.05, steps=2, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(once, again)


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": -0.1},
        {"epsilon": math.nan},
        {"step_size": 0.0},
        {"step_size": math.inf},
        {"steps": 0},
        {"restarts": 0},
        {"norm": "l1"},
        {"clip": (1.0, 0.0)},
        {"clip": (0.0, 0.5)},
        {"x": torch.full((2, 1, 8, 8), math.nan)},
        {"x": torch.full((2, 1, 8, 8), 255.0)},
        {"x": torch.zeros(2, 1, 8, 8, dtype=torch.int64)},
        {"x": torch.zeros(3, 1, 8, 8)},
        {"y": torch.zeros(2)},
    ],
)
def test_bad_input_is_refused(changes):
    given_ = {"x": torch.ones(2, 1, 8, 8), "y": torch.tensor([0, 1]), "epsilon": 0.1, "step_size": 0.1, "steps": 2}
    merged = given_ | changes
    with pytest.raises(InputError):
        pgd(classifier(), merged.pop("x"), merged.pop("y"), **merged)
