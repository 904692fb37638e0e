import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset, WeightedRandomSampler

from trustplane.audit.log.keys import Keys
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.store import MemoryStore
from trustplane.errors import BudgetExceeded, InputError
from trustplane.lineage.embedded import EmbeddedLedger
from trustplane.ports import Dataset, Ledger
from trustplane.privacy.accounting import RenyiAccountant
from trustplane.privacy.randomness import SecureStream
from trustplane.privacy.training import PrivateTraining
from trustplane.step import Step

torch.set_num_threads(1)
ACCOUNTANT = RenyiAccountant()
_folders: list[Path] = []


@pytest.fixture(autouse=True)
def folder_for_ledgers(tmp_path):
    _folders[:] = [tmp_path]


def ledger(epsilon_micro: int = 2_000_000) -> EmbeddedLedger:
    """A fresh embedded ledger over a log of its own, with one dataset ``d``."""
    log = AuditLog(MemoryStore(), Keys.generate("test.example/log", post_quantum=False))
    path = _folders[0] / f"ledger-{len(list(_folders[0].glob('ledger-*.db')))}.db"
    made = EmbeddedLedger(path, journal=log, accountant=ACCOUNTANT)
    assert isinstance(made, Ledger)
    made.register_dataset(Dataset("d", "sha256:" + "0" * 64, "owner", ("test",), epsilon_micro))
    return made


def data(records: int = 40, features: int = 3) -> TensorDataset:
    g = torch.Generator().manual_seed(1)
    return TensorDataset(torch.randn(records, features, generator=g), torch.randn(records, 1, generator=g))


def training(model=None, dataset=None, **changes):
    model = nn.Linear(3, 1) if model is None else model
    dataset = data() if dataset is None else dataset
    given_ = {
        "ledger": ledger(),
        "dataset_name": "d",
        "noise_multiplier": 50.0,
        "batch_size": 10,
        "epochs": 1,
        "batch_seed": 5,
    }
    optimizer = changes.pop("optimizer", None) or torch.optim.SGD(model.parameters(), lr=1.0)
    return PrivateTraining(model, optimizer, dataset, **(given_ | changes)), model, optimizer


def loop(run, model, loss=nn.functional.mse_loss):
    for x, y in run.batches():
        loss(model(x), y).backward()
        run.step()


# ---- the gradient -------------------------------------------------------------------------------------------


def slow_clipped_sum(model, records, norm, loss):
    """One record at a time, the obvious way."""
    total = [torch.zeros_like(p) for p in model.parameters()]
    for x, y in records:
        gradient = torch.autograd.grad(loss(model(x[None]), y[None]), list(model.parameters()))
        size = math.sqrt(sum(float(g.double().square().sum()) for g in gradient))
        for t, g in zip(total, gradient, strict=True):
            t += g * min(1.0, norm / size)
    return total


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(2, 30), st.floats(0.01, 3.0), st.integers(1, 9), st.booleans())
def test_clipped_sum_equals_the_slow_one(features, hidden, records, norm, physical, mean):
    torch.manual_seed(features * 100 + hidden)
    model = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.LayerNorm(hidden), nn.Linear(hidden, 1))
    model.double()
    dataset = TensorDataset(*(t.double() for t in data(records, features).tensors))
    start = [p.detach().clone() for p in model.parameters()]
    reduction = "mean" if mean else "sum"
    run, _, _ = training(
        model,
        dataset,
        batch_size=records,  # q = 1: every record, every time
        epochs=1,
        noise_multiplier=1e5,
        max_grad_norm=norm,
        physical_batch_size=physical,
        loss_reduction=reduction,
    )
    assert norm - 1e-6 < run.max_grad_norm <= norm + 1e-12  # the norm that the log names, in whole millionths
    expected = slow_clipped_sum(model, dataset, run.max_grad_norm, nn.functional.mse_loss)
    run._noise = Silent()
    with run:
        loop(run, model, lambda p, t: nn.functional.mse_loss(p, t, reduction=reduction))
    for before, after, total in zip(start, model.parameters(), expected, strict=True):
        torch.testing.assert_close(before - after.detach(), total / records, rtol=1e-6, atol=1e-9)


class Silent:
    """A stream without noise, to see the sum."""

    def normal(self, shape, *, like):
        return torch.zeros(shape).to(like)


def test_convolution_and_group_norm_have_clipped_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))
    x, y = torch.randn(9, 1, 8, 8), torch.randn(9, 1)
    start = [p.detach().clone() for p in model.parameters()]
    expected = slow_clipped_sum(model, list(zip(x, y, strict=True)), 0.5, nn.functional.mse_loss)
    run, _, _ = training(model, TensorDataset(x, y), batch_size=9, noise_multiplier=1e5, max_grad_norm=0.5)
    run._noise = Silent()
    with run:
        loop(run, model)
    for before, after, total in zip(start, model.parameters(), expected, strict=True):
        torch.testing.assert_close(before - after.detach(), total / 9, rtol=1e-3, atol=1e-5)


def test_noise_has_the_stated_deviation_and_divisor():
    model = nn.Linear(300, 100)  # 30,100 weights
    start = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    dataset = TensorDataset(torch.zeros(4, 300), torch.zeros(4, 100))
    run, _, _ = training(
        model, dataset, batch_size=2, sampling_rate=1e-9, epochs=1e-9, noise_multiplier=3.0, max_grad_norm=0.7
    )
    with run:  # q is so small that the batch is empty: noise alone, and still a step
        assert list(run.batches()) == []
    moved = torch.cat([p.detach().flatten() for p in model.parameters()]) - start
    assert run.steps_run == 1
    expected = 3.0 * 0.7 / 2
    assert float(moved.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * 30_100))
    assert abs(float(moved.mean())) < 4 * expected / math.sqrt(30_100)


def test_divisor_does_not_depend_on_the_number_of_records():
    moves = []
    for records in (999, 1000, 1001):
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        dataset = TensorDataset(torch.ones(records, 1), torch.ones(records, 1))
        run, _, _ = training(model, dataset, batch_size=100, sampling_rate=1.0, epochs=1, noise_multiplier=1e3)
        run._noise = Silent()
        with run:
            loop(run, model)
        moves.append(float(model.weight.detach()) * 100)
    assert moves == pytest.approx([999, 1000, 1001], rel=1e-5)  # each record adds exactly C


def test_an_infinite_gradient_counts_as_nothing():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    x = torch.tensor([[1.0], [math.inf], [math.nan], [1.0]])
    run, _, _ = training(model, TensorDataset(x, torch.ones(4, 1)), batch_size=4, noise_multiplier=1e5)
    run._noise = Silent()
    with run:
        loop(run, model, lambda p, t: nn.functional.mse_loss(p, t, reduction="mean"))
    assert float(model.weight.detach()) == pytest.approx(2 / 4)


def test_diverged_weights_end_the_run():
    model = nn.Linear(3, 1)
    run, _, _ = training(model, optimizer=torch.optim.SGD(model.parameters(), lr=1e38), noise_multiplier=1e3)
    with pytest.raises(InputError, match="finite"), run:
        loop(run, model)


# ---- the sampling -------------------------------------------------------------------------------------------


def test_batches_are_poisson():
    records, rate = 50, 0.2
    dataset = TensorDataset(torch.arange(records).float()[:, None], torch.zeros(records, 1))
    model = nn.Linear(1, 1)
    run, _, _ = training(model, dataset, batch_size=10, epochs=80, noise_multiplier=1e3)
    seen, sizes = np.zeros(records), []
    with run:
        for x, y in run.batches():
            assert len(set(x.flatten().tolist())) == len(x)
            seen[x.flatten().long().numpy()] += 1
            sizes.append(len(x))
            nn.functional.mse_loss(model(x), y).backward()
            run.step()
    steps = run.mechanism.steps
    assert steps == 400 and run.mechanism.sampling_rate == rate
    spread = math.sqrt(steps * rate * (1 - rate))
    assert np.abs(seen - steps * rate).max() < 4.5 * spread
    assert np.var(sizes) == pytest.approx(records * rate * (1 - rate), rel=0.35)  # binomial, not fixed


def test_steps_and_rate_are_the_declared_ones():
    run, _, _ = training(dataset=data(93), batch_size=7, epochs=2)
    q = run.mechanism.sampling_rate
    assert q >= 7 / 93 and q == pytest.approx(7 / 93, abs=2e-9) and run.mechanism.steps == math.ceil(2 / q)


def test_large_batches_come_in_parts_and_make_one_step():
    run, model, _ = training(batch_size=40, epochs=3, physical_batch_size=7)
    parts = 0
    with run:
        for x, y in run.batches():
            assert len(x) <= 7
            parts += 1
            nn.functional.mse_loss(model(x), y).backward()
            run.step()
    assert run.steps_run == 3 and parts == 3 * 6


def test_manual_seed_does_not_repeat_the_noise():
    def once():
        torch.manual_seed(0)
        run, model, _ = training()
        with run:
            loop(run, model)
        return model.weight.detach().clone()

    assert not torch.equal(once(), once())


def test_stream_is_uniform_and_normal():
    stream = SecureStream(bytes(32))
    u = stream.uniform(100_000)
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.005
    z = stream.normal((100_001,), like=torch.zeros(1, dtype=torch.float64)).numpy()
    assert abs(z.mean()) < 0.015 and abs(z.var() - 1) < 0.02 and abs((z**4).mean() - 3) < 0.15
    assert not np.array_equal(SecureStream().uniform(4), SecureStream().uniform(4))
    assert np.array_equal(SecureStream(bytes(32)).uniform(4), SecureStream(bytes(32)).uniform(4))


# ---- who pays -----------------------------------------------------------------------------------------------


def test_refusal_comes_before_the_first_step():
    book = ledger(100_000)
    run, model, _ = training(ledger=book, noise_multiplier=1.0)
    before = model.weight.detach().clone()
    with pytest.raises(BudgetExceeded), run:
        pytest.fail("the body ran")
    assert torch.equal(before, model.weight) and book.spent("d").epsilon_micro == 0
    assert not hasattr(model.weight, "grad_sample")


def test_hard_stop_leaves_the_weights_alone():
    run, model, _ = training()
    with run:
        loop(run, model)
        assert list(run.batches()) == []
        before = model.weight.detach().clone()
        x, y = data()[:10]
        nn.functional.mse_loss(model(x), y).backward()
        with pytest.raises(BudgetExceeded):
            run.step()
        assert torch.equal(before, model.weight)


@pytest.mark.parametrize("crash", [False, True])
def test_only_the_steps_that_ran_are_charged(crash):
    book = ledger()
    run, model, _ = training(ledger=book, epochs=5)
    assert run.mechanism.steps == 20
    whole = ACCOUNTANT.charge(run.mechanism)

    class Crash(Exception):
        pass

    try:
        with run:
            assert book.spent("d").rdp_micro == whole  # reserved in full before the first step
            for x, y in run.batches():
                if run.steps_run == 3:
                    if crash:
                        raise Crash
                    break
                nn.functional.mse_loss(model(x), y).backward()
                run.step()
    except Crash:
        assert crash
    three = type(run.mechanism)(run.mechanism.noise_multiplier, run.mechanism.sampling_rate, 3)
    assert book.spent("d").rdp_micro == ACCOUNTANT.charge(three)
    assert model.weight.grad is None and not hasattr(model.weight, "grad_sample")


def test_a_break_inside_a_step_drops_its_sum():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    dataset = TensorDataset(torch.ones(10, 1), torch.ones(10, 1))
    run, _, _ = training(model, dataset, batch_size=10, epochs=1, physical_batch_size=4, noise_multiplier=1e5)
    run._noise = Silent()
    with run:
        for x, y in run.batches():
            nn.functional.mse_loss(model(x), y).backward()
            run.step()
            break
        loop(run, model)
    assert float(model.weight.detach()) == pytest.approx(1.0)  # ten records of weight C, not fourteen


def test_target_epsilon_is_met_and_a_second_run_is_refused():
    book, model = ledger(1_000_000), nn.Linear(3, 1)
    run, _, _ = training(model, ledger=book, noise_multiplier=None, target_epsilon_micro=1_000_000, epochs=2)
    with run:
        loop(run, model)
    assert 990_000 < book.spent("d").epsilon_micro <= 1_000_000
    again, _, _ = training(model, ledger=book, noise_multiplier=run.mechanism.noise_multiplier)
    with pytest.raises(BudgetExceeded):
        again.__enter__()


def test_the_log_says_what_was_done():
    steps: list[Step] = []
    run, model, _ = training(record=steps.append, epochs=2)
    with run:
        for x, y in run.batches():
            nn.functional.mse_loss(model(x), y).backward()
            run.step()
            if run.steps_run == 5:
                break
    assert [(s.action, s.result) for s in steps] == [
        ("privacy.train.start", "granted"),
        ("privacy.train.stop", "stopped"),
    ]
    start, stop = (s.facts for s in steps)
    assert (start["steps"], stop["steps"]) == (8, 5) and stop["epsilon_micro"] < start["epsilon_micro"]
    assert start["noise_multiplier_micro"] == 50_000_000 and start["sampling_rate_nano"] == 250_000_000
    assert start["clip_norm_micro"] == 1_000_000 and steps[0].inputs[0].name == "d"


def test_a_log_that_fails_stops_the_run_before_it_starts():
    def full(_: Step) -> None:
        raise OSError

    book = ledger()
    run, model, _ = training(ledger=book, record=full)
    with pytest.raises(OSError), run:
        pytest.fail("the body ran")
    assert book.spent("d").epsilon_micro == 0 and not hasattr(model.weight, "grad_sample")


# ---- what is refused ----------------------------------------------------------------------------------------


def test_two_backward_passes_of_a_batch_are_refused():
    run, model, _ = training()
    with pytest.raises(InputError, match="pair up"), run:
        for x, y in run.batches():
            for _ in range(2):
                nn.functional.mse_loss(model(x), y).backward()
            run.step()


def test_a_forward_without_a_backward_is_refused():
    run, model, _ = training()
    with pytest.raises(InputError), run:
        for x, y in run.batches():
            model(x)
            nn.functional.mse_loss(model(x), y).backward()
            run.step()


def test_a_batch_of_other_records_is_refused():
    run, model, _ = training()
    with pytest.raises(InputError, match="records"), run:
        for x, y in run.batches():
            nn.functional.mse_loss(model(torch.cat([x, x])), torch.cat([y, y])).backward()
            run.step()


def test_missing_backward_missing_step_and_foreign_step_are_refused():
    run, model, _ = training()
    with pytest.raises(InputError, match="no gradients"), run:
        for _ in run.batches():
            run.step()
    run, model, _ = training()
    with pytest.raises(InputError, match="not called"), run:
        for x, y in run.batches():
            nn.functional.mse_loss(model(x), y).backward()
    run, model, optimizer = training()
    with pytest.raises(InputError, match=r"run\.step"), run:
        for x, y in run.batches():
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
    optimizer.step()  # outside the run it is the user's own again


def test_a_layer_thawed_meanwhile_does_not_move():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    before = model[0].weight.detach().clone()
    run, _, _ = training(model, optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
    with run:
        model[0].requires_grad_(True)
        loop(run, model)
    assert torch.equal(before, model[0].weight)


def test_a_buffer_that_learns_is_refused():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x):
            self.seen += x.sum().detach()
            return x

    run, model, _ = training(nn.Sequential(Counting(), nn.Linear(3, 1)))
    with pytest.raises(InputError, match="buffer"), run:
        loop(run, model)


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return index, 1.0


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    "dataset",
    [
        DataLoader(data(), batch_size=4),
        DataLoader(data(), sampler=WeightedRandomSampler([1.0] * 40, 40)),
        Numbers(),
        Stream(),
        Subset(data(), [0, 0, 1]),
        TensorDataset(torch.zeros(0, 3)),
    ],
    ids=["loader", "weighted", "numbers", "stream", "twice", "empty"],
)
def test_datasets_that_cannot_be_sampled_are_refused(dataset):
    with pytest.raises(InputError):
        training(dataset=dataset)


def test_models_and_optimizers_without_a_bound_are_refused():
    for layer in (nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False), nn.InstanceNorm1d(3, track_running_stats=True)):
        with pytest.raises(InputError):
            training(nn.Sequential(nn.Linear(3, 3), layer, nn.Linear(3, 1)))
    with pytest.raises(InputError, match="eval"):
        training(nn.Linear(3, 1).eval())
    model = nn.Linear(3, 1)
    with pytest.raises(InputError, match="not the model's"):
        training(model, optimizer=torch.optim.SGD(nn.Linear(3, 1).parameters(), lr=1.0))
    with pytest.raises(InputError, match="LBFGS"):
        training(model, optimizer=torch.optim.LBFGS(model.parameters()))
    with pytest.raises(InputError, match="trainable"):
        training(nn.Linear(3, 1).requires_grad_(False), optimizer=torch.optim.SGD(model.parameters(), lr=1.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 0},
        {"batch_size": 41},
        {"epochs": 0},
        {"epochs": math.nan},
        {"max_grad_norm": 0.0},
        {"max_grad_norm": math.inf},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": None},
        {"target_epsilon_micro": 1_000_000},
        {"sampling_rate": 0.0},
        {"loss_reduction": "none"},
        {"physical_batch_size": 0},
    ],
)
def test_values_out_of_range_are_refused(changes):
    with pytest.raises(InputError):
        training(**changes)


def test_a_run_is_entered_once():
    run, model, _ = training()
    with run:
        loop(run, model)
    with pytest.raises(InputError, match="once"):
        run.__enter__()
