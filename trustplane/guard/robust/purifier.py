"""A purifier: an autoencoder in front of an untouched classifier, trained against attacks that see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from trustplane.errors import InputError
from trustplane.guard.robust.attacks import Attack, frozen
from trustplane.ports import Record
from trustplane.step import Step

__all__ = ["Purifier", "fit_purifier"]

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


class Purifier(nn.Module):
    """Images (B, 1, H, W) in [0, 1] to cleaned images of the same shape: ``nn.Sequential(purifier, model)``.

    Convolutions, ``bottleneck`` numbers in the middle, and back; H and W are free, at least 4. The bottleneck
    matters: without it the training against adaptive attacks collapses. The idea of training it through the
    classifier is AAA's (arXiv 1909.05921). It is deterministic, so a gradient attack sees all of it.

    Raises:
        InputError: a size out of range, or an image of another shape.
    """

    def __init__(self, height: int, width: int, *, bottleneck: int = 64, channels: int = 16) -> None:
        super().__init__()
        if height < 4 or width < 4 or bottleneck < 1 or channels < 1:
            raise InputError("a purifier needs images of at least 4 x 4, bottleneck and channels of at least 1")
        self.shape = (1, height, width)
        h, w = (height + 1) // 2, (width + 1) // 2
        self.encoder = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),  # (B, C, H, W)
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),  # (B, C, h, w)
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels * h * w, bottleneck),  # (B, bottleneck)
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.Linear(bottleneck, channels * h * w),
            nn.ReLU(),
            nn.Linear(channels * h * w, height * width),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the cleaned images (B, 1, H, W)."""
        if tuple(x.shape[1:]) != self.shape:
            raise InputError(f"the purifier takes images of shape (B, {', '.join(map(str, self.shape))})")
        cleaned: torch.Tensor = self.decoder(self.encoder(x)).reshape(-1, *self.shape)
        return cleaned


def fit_purifier(
    purifier: nn.Module,
    model: nn.Module,
    batches: Callable[[], Batches],
    *,
    attack: Callable[[float], Attack],
    epochs: int,
    pretrain_epochs: int = 0,
    learning_rate: float = 1e-3,
    record: Record | None = None,
) -> None:
    """Train ``purifier`` in place against attacks on ``nn.Sequential(purifier, model)``; ``model`` is frozen.

    ``batches``: called at each epoch, gives pairs (x (B, 1, H, W) in [0, 1], y (B,)). ``attack``: takes a
    scale in 0..1 and gives the attack with its ε scaled by that; the ramp over the first half of the epochs
    keeps the training from collapsing on a constant answer. ``pretrain_epochs``: epochs as a plain
    autoencoder before. Adam with ``learning_rate``.

    Trained against attacks on the bare model instead, a purifier looks as good and holds nothing
    (0 % of adaptive attacks on MNIST in our measurement).

    Raises:
        InputError: a number of epochs out of range.
    """
    if epochs < 1 or pretrain_epochs < 0:
        raise InputError("epochs is at least 1 and pretrain_epochs at least 0")
    composite = nn.Sequential(purifier, model)
    optimizer = torch.optim.Adam(purifier.parameters(), lr=learning_rate)
    was_training = purifier.training
    purifier.train()
    with frozen(model):
        for epoch in range(pretrain_epochs + epochs):
            ramp = min(1.0, (epoch - pretrain_epochs + 1) / max(1, epochs // 2))
            strike = attack(ramp) if epoch >= pretrain_epochs else None
            for x, y in batches():
                optimizer.zero_grad()
                if strike is None:
                    cleaned = purifier(x)
                    loss = nn.functional.binary_cross_entropy(cleaned, x)
                    loss = loss + 0.1 * nn.functional.cross_entropy(model(cleaned), y)
                else:
                    loss = nn.functional.cross_entropy(composite(strike(composite, x, y)), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    purifier.train(was_training)
    if record is not None:
        record(Step("guard.robust.purifier.fit", facts={"epochs": epochs, "pretrain_epochs": pretrain_epochs}))
