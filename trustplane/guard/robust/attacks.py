"""Gradient attacks inside an ε-ball: FGSM and PGD, tensors in and tensors out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from trustplane.errors import InputError

__all__ = ["Attack", "fgsm", "frozen", "pgd"]

Attack = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
"""``(model, x, y) -> x_adv``; bind the options with ``functools.partial``."""
Norm = Literal["linf", "l2"]


def fgsm(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epsilon: float,
    norm: Norm = "linf",
    clip: tuple[float, float] = (0.0, 1.0),
) -> torch.Tensor:
    """Return ``x`` after one gradient step of length ε (Goodfellow et al. 2015, arXiv 1412.6572).

    Arguments and errors are those of :func:`pgd`. A weak attack: never the only one in a measurement.
    """
    return pgd(model, x, y, epsilon=epsilon, step_size=epsilon, steps=1, random_start=False, norm=norm, clip=clip)


def pgd(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    restarts: int = 1,
    norm: Norm = "linf",
    random_start: bool = True,
    clip: tuple[float, float] = (0.0, 1.0),
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return the worst point found around each input (Madry et al. 2018, arXiv 1706.06083).

    ``model``: inputs to logits (B, K); it is attacked in eval mode and gets its modes back; no gradient of
    a weight is computed. ``x``: float (B, ...), inside ``clip``. ``y``: labels, int64 (B,). ``epsilon`` >= 0
    and ``step_size`` > 0 in the units of ``x``; with ε = 0 the result is ``x``. ``steps`` >= 1. ``restarts``:
    per sample a start that fools the model wins, then the one with the highest loss, over the last points
    of all starts. ``generator``: of the random starts, on the device of ``x``.

    The result is detached, inside ``clip``, and no further than ε from ``x`` (linf: to the last bit of
    ``x - epsilon`` and ``x + epsilon``; l2: the norm in double precision).

    Raises:
        InputError: a value out of range, ``x`` outside ``clip`` or with NaN, shapes that do not match.
    """
    _check(x, y, epsilon, step_size, steps, restarts, norm, clip)
    if epsilon == 0:
        return x.detach().clone()
    x = x.detach()
    best = x.clone()  # (B, ...)
    worst = torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device)  # (B,)
    with frozen(model):
        for _ in range(restarts):
            delta = _start(x, epsilon, norm, generator) if random_start else torch.zeros_like(x)
            point = _project(x, x + delta, epsilon, norm, clip)
            for _ in range(steps):
                point.requires_grad_(True)
                loss = nn.functional.cross_entropy(model(point), y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, point)  # (B, ...)
                point = point.detach() + step_size * _direction(gradient, norm)
                point = _project(x, point, epsilon, norm, clip)
            if restarts == 1:
                return point
            with torch.no_grad():
                logits = model(point)  # (B, K)
                loss = nn.functional.cross_entropy(logits, y, reduction="none")  # (B,)
                score = torch.where(logits.argmax(1) != y, 1e6 + loss, loss)
            better = score > worst
            worst = torch.where(better, score, worst)
            best = torch.where(_column(better, x), point, best)
    return best.detach()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode and stop weight gradients; give each its own mode back on exit."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    try:
        model.eval()
        for p, _ in wanted:
            p.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for p, want in wanted:
            p.requires_grad_(want)


def _column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *([1] * (like.dim() - 1)))  # (B,) → (B, 1, ..., 1)


def _norms(values: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(values.flatten(1).double(), dim=1)  # (B, ...) → (B,)
    return norms


def _start(x: torch.Tensor, epsilon: float, norm: Norm, generator: torch.Generator | None) -> torch.Tensor:
    """A point of the ball, uniform by volume."""
    if norm == "linf":
        return (torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) * 2 - 1) * epsilon
    normal = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    radius = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
    scale = epsilon * radius / _norms(normal).clamp_min(1e-12).to(x.dtype)  # (B,)
    return normal * _column(scale, x)


def _direction(gradient: torch.Tensor, norm: Norm) -> torch.Tensor:
    if norm == "linf":
        return gradient.sign()
    return gradient / _column(_norms(gradient).clamp_min(1e-30).to(gradient.dtype), gradient)


def _project(
    x: torch.Tensor, point: torch.Tensor, epsilon: float, norm: Norm, clip: tuple[float, float]
) -> torch.Tensor:
    """The nearest point inside both the ball around ``x`` and the range, with no rounding beyond them."""
    if norm == "linf":
        return torch.clamp(torch.clamp(point, x - epsilon, x + epsilon), *clip)
    delta = torch.clamp(point, *clip) - x  # shrinking towards x keeps the range: it is convex
    rounding = 2 * torch.finfo(x.dtype).eps * max(abs(clip[0]), abs(clip[1])) * math.sqrt(x[0].numel())
    room = max(0.0, epsilon * (1 - 1e-6) - rounding)  # so that x + delta, rounded, stays inside too
    scale = (room / _norms(delta).clamp_min(1e-30)).clamp(max=1.0)  # (B,)
    return torch.clamp(x + delta * _column(scale.to(x.dtype), x), *clip)


def _check(
    x: torch.Tensor,
    y: torch.Tensor,
    epsilon: float,
    step_size: float,
    steps: int,
    restarts: int,
    norm: str,
    clip: tuple[float, float],
) -> None:
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise InputError("epsilon is not a finite number >= 0")
    if not (math.isfinite(step_size) and (step_size > 0 or epsilon == 0)):
        raise InputError("step_size is not a finite number > 0")
    if steps < 1 or restarts < 1:
        raise InputError("steps and restarts are at least 1")
    if norm not in ("linf", "l2"):
        raise InputError("norm is neither linf nor l2")
    if not x.is_floating_point() or x.dim() < 2:
        raise InputError("x is not a float tensor of shape (B, ...)")
    if y.dim() != 1 or len(y) != len(x) or y.dtype != torch.int64:
        raise InputError("y is not an int64 tensor of shape (B,)")
    low, high = clip
    if not low < high:
        raise InputError("clip is not (low, high) with low < high")
    if len(x) and not bool(((x >= low) & (x <= high)).all()):  # false for NaN too
        raise InputError("x has values outside clip, or NaN", hint="scale the inputs, or give clip=(low, high)")
