"""Adversarial training as an iterable around the user's own loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from trustplane.errors import InputError
from trustplane.guard.robust.attacks import Attack
from trustplane.ports import Record
from trustplane.step import Step

__all__ = ["adversarial_batches"]

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def adversarial_batches(
    model: nn.Module, batches: Batches, *, attack: Attack, ratio: float = 1.0, record: Record | None = None
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each batch with its first ``ratio`` share replaced by adversarial examples.

        for x, y in adversarial_batches(model, loader, attack=partial(pgd, epsilon=0.1, ...)):
            criterion(model(x), y).backward()

    ``batches``: pairs (x (B, ...), y (B,)), shuffled. ``ratio`` in 0..1. The attack sees the weights of the
    moment. ``record`` gets one step when the iterable ends, also when the loop leaves it early.

    Raises:
        InputError: ``ratio`` outside 0..1, or what the attack refuses.
    """
    if not 0 <= ratio <= 1:
        raise InputError("ratio is outside 0..1")
    seen = attacked = count = 0
    try:
        for x, y in batches:
            share = round(ratio * len(x))
            if share:
                x = torch.cat([attack(model, x[:share], y[:share]), x[share:].detach()])  # (B, ...)
            count, seen, attacked = count + 1, seen + len(x), attacked + share
            yield x, y
    finally:
        if record is not None:
            facts = {"batches": count, "examples": seen, "adversarial_examples": attacked}
            record(Step("guard.robust.train", facts=facts))
