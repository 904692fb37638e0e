"""Demo scene: PGD breaks a digits classifier; a purifier in front, measured blindly and honestly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from trustplane.ports import Record

__all__ = ["run"]


def run(record: Record, say: Callable[[str], None]) -> dict[str, int]:
    """Train a small classifier and a purifier on scikit-learn's digits, attack both, say what holds.

    Returns accuracies in millionths. One core, under 40 seconds.
    """
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    from trustplane.guard.robust.attacks import pgd
    from trustplane.guard.robust.evaluate import evaluate
    from trustplane.guard.robust.purifier import Purifier, fit_purifier

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    state = torch.random.get_rng_state()
    torch.manual_seed(7)
    digits = load_digits()
    x = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]  # (1797, 1, 8, 8) in [0, 1]
    y = torch.tensor(digits.target, dtype=torch.int64)
    order = torch.randperm(len(x))
    train, test = order[:1297], order[1297:]
    epsilon = 0.15

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for part in torch.split(train[torch.randperm(len(train))], 96):
            yield x[part], y[part]

    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(25):
        for a, b in batches():
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(a), b).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    measure = partial(evaluate, epsilon=epsilon, step_size=epsilon / 10, steps=40, restarts=3, record=record)
    bare = measure(model, x[test], y[test])
    say(f"digits, {len(test)} test images, linf ball of {epsilon} on pixels in 0..1, PGD-40 with 3 starts")
    say(f"  no defence   clean {bare.clean}, attacked {bare.adaptive}")

    purifier = Purifier(8, 8, channels=8)
    fit_purifier(
        purifier,
        model,
        batches,
        attack=lambda scale: partial(pgd, epsilon=epsilon * scale, step_size=epsilon * scale / 2.5, steps=4),
        epochs=24,
        pretrain_epochs=8,
        learning_rate=3e-3,
        record=record,
    )
    held = measure(model, x[test], y[test], purifier=purifier)
    say("  with a purifier in front, the classifier untouched:")
    for line in str(held).splitlines():
        say(f"    {line}")
    torch.random.set_rng_state(state)
    torch.set_num_threads(threads)
    figures = {"bare_clean": bare.clean, "bare_attacked": bare.adaptive} | {
        name: getattr(held, name) for name in ("clean", "oblivious", "adaptive")
    }
    return {f"{name}_accuracy_micro": round(found.value * 1_000_000) for name, found in figures.items()}
