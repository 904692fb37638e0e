"""Demo scene: DP-SGD under a dataset's budget, beside its non-private twin; a second run is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from trustplane.errors import BudgetExceeded
from trustplane.ports import Dataset, Ledger, Record

__all__ = ["run"]

NAME = "digits-train"
LIMIT_MICRO = 2_000_000
TARGET_MICRO = 1_800_000


def run(ledger: Ledger, record: Record, say: Callable[[str], None]) -> dict[str, int]:
    """Train softmax regression on scikit-learn's digits with and without privacy; then ask for too much.

    Pixels have the range 0..16 by format, so no statistic of the data is used before the private loop, and
    the settings are fixed here; four were tried on other splits of this public set, which a real budget would be
    charged for. Returns ε and accuracies in millionths. One core, under 30 seconds.
    """
    import torch
    from sklearn.datasets import load_digits
    from torch import nn
    from torch.utils.data import TensorDataset

    from trustplane.guard.robust.evaluate import Accuracy, wilson
    from trustplane.privacy.training import PrivateTraining

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0 - 0.3, dtype=torch.float32)  # (1797, 64)
    y = torch.tensor(digits.target, dtype=torch.int64)  # (1797,)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:1297], order[1297:]
    content = hashlib.sha256(x[train].numpy().tobytes() + y[train].numpy().tobytes()).hexdigest()
    ledger.register_dataset(Dataset(NAME, f"sha256:{content}", "demo", ("research",), LIMIT_MICRO))

    def untrained() -> nn.Linear:
        model = nn.Linear(64, 10)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        return model

    def score(model: nn.Module) -> Accuracy:
        with torch.no_grad():
            return wilson(int((model(x[test]).argmax(1) == y[test]).sum()), len(test))

    twin = untrained()
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(x[train]), y[train]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def private(model: nn.Module) -> PrivateTraining:
        return PrivateTraining(
            model,
            torch.optim.SGD(model.parameters(), lr=1.0),
            TensorDataset(x[train], y[train]),
            ledger=ledger,
            dataset_name=NAME,
            target_epsilon_micro=TARGET_MICRO,
            batch_size=128,
            epochs=20,
            record=record,
        )

    guarded = untrained()
    with private(guarded) as training:
        for a, b in training.batches():
            nn.functional.cross_entropy(guarded(a), b).backward()  # type: ignore[no-untyped-call]
            training.step()
    spent = ledger.spent(NAME)
    plain, kept = score(twin), score(guarded)
    budget = f"budget ε = {LIMIT_MICRO / 1e6:g} at δ = 1e-{spent.delta_exp}"
    say(f"digits, {len(train)} records, softmax regression, {budget}")
    say(f"  without privacy  {plain} correct")
    say(f"  with privacy     {kept} correct, ε spent {spent.epsilon_micro / 1e6:.3f} in {training.steps_run} steps")

    again = untrained()
    refused = False
    try:
        with private(again):
            pass
    except BudgetExceeded as error:
        refused = True
        say(f"  the same run again: refused before its first step: {error.message}")
    if not refused or bool(again.weight.detach().any()):
        raise AssertionError("a run over the budget was not refused")
    torch.set_num_threads(threads)
    return {
        "epsilon_micro": ledger.spent(NAME).epsilon_micro,
        "limit_micro": LIMIT_MICRO,
        "private_accuracy_micro": round(kept.value * 1_000_000),
        "twin_accuracy_micro": round(plain.value * 1_000_000),
        "refused_runs": int(refused),
        "steps": training.steps_run,
    }
