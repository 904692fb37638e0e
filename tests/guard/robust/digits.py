"""The digits of scikit-learn as tensors, and a small classifier of them, trained once per process."""

from collections.abc import Iterator
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.set_num_threads(1)


@cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(3))
    x = torch.tensor(found.images / 16.0, dtype=torch.float32)[:, None]  # (1797, 1, 8, 8)
    return x[order], torch.tensor(found.target, dtype=torch.int64)[order]


def train() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = digits()
    return x[:1297], y[:1297]


def test() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = digits()
    return x[1297:], y[1297:]


test.__test__ = False  # type: ignore[attr-defined]  # a name of the field, not a test


def batches(size: int = 128) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    x, y = train()
    for part in torch.randperm(len(x)).split(size):
        yield x[part], y[part]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))


def fit(model: nn.Module, source: object, epochs: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for x, y in source():  # type: ignore[operator]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


@cache
def classifier() -> nn.Sequential:
    torch.manual_seed(11)
    model = network()
    fit(model, batches, 25)
    return model.eval()


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())
