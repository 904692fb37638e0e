"""The honest number: clean accuracy, and robustness with the attacker both blind to the purifier and not."""

from __future__ import annotations

import math

import msgspec
import torch
from torch import nn

from trustplane.errors import InputError
from trustplane.guard.robust.attacks import Attack, Norm, frozen, pgd
from trustplane.ports import Record
from trustplane.step import Ref, Step

__all__ = ["Accuracy", "RobustnessReport", "evaluate", "wilson"]

MICRO = 1_000_000
_Z = 1.959963984540054
"""Quantile 0.975 of the standard normal distribution: a two-sided 95 % interval."""


class Accuracy(msgspec.Struct, frozen=True):
    """``correct`` of ``n``, with the 95 % Wilson interval ``low``..``high`` in 0..1."""

    correct: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share of correct answers, in 0..1."""
        return self.correct / self.n

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f}, n = {self.n})"


class RobustnessReport(msgspec.Struct, frozen=True):
    """Accuracy on clean inputs and under PGD, with the parameters that make it repeatable.

    ``oblivious``: the attack sees the bare model only. ``adaptive``: it goes through the purifier, with
    restarts, and is the number to quote. Without a purifier the two differ by the restarts alone. Both are
    upper bounds on the accuracy under the best possible attack.
    """

    clean: Accuracy
    oblivious: Accuracy
    adaptive: Accuracy
    norm: Norm
    epsilon: float
    step_size: float
    steps: int
    restarts: int
    purified: bool

    def __str__(self) -> str:
        blind, seen = "attack blind to the purifier", "attack through the purifier: the number to quote"
        if not self.purified:
            blind, seen = "attack with one start", f"attack with {self.restarts} more: the number to quote"
        return "\n".join(
            [
                f"clean      {self.clean}",
                f"oblivious  {self.oblivious}   {blind}",
                f"adaptive   {self.adaptive}   {seen}",
            ]
        )

    def step(self, agents: tuple[Ref, ...] = ()) -> Step:
        """Return the evidence; fractions in millionths, the result names the weaker figure."""
        facts: dict[str, int | str | bool] = {
            "epsilon_input_micro": round(self.epsilon * MICRO),
            "n": self.clean.n,
            "norm": self.norm,
            "pgd_steps": self.steps,
            "purified": self.purified,
            "restarts": self.restarts,
            "step_size_micro": round(self.step_size * MICRO),
        }
        for name in ("clean", "oblivious", "adaptive"):
            found: Accuracy = getattr(self, name)
            facts[f"{name}_accuracy_micro"] = round(found.value * MICRO)
            facts[f"{name}_low_micro"] = math.floor(found.low * MICRO)
            facts[f"{name}_high_micro"] = math.ceil(found.high * MICRO)
        return Step("guard.robust.evaluate", "measured", agents=agents, facts=facts)


def wilson(correct: int, n: int) -> Accuracy:
    """Return ``correct`` of ``n`` with its 95 % interval (Wilson 1927).

    Raises:
        InputError: not 0 <= correct <= n, or n < 1.
    """
    if n < 1 or not 0 <= correct <= n:
        raise InputError("an accuracy needs 0 <= correct <= n and n >= 1")
    p, z2 = correct / n, _Z * _Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return Accuracy(correct, n, low, high)


def evaluate(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int = 100,
    restarts: int = 5,
    norm: Norm = "linf",
    purifier: nn.Module | None = None,
    batch_size: int = 256,
    seed: int = 0,
    record: Record | None = None,
    agents: tuple[Ref, ...] = (),
) -> RobustnessReport:
    """Measure ``model``, behind ``purifier`` where there is one, under PGD; in eval mode.

    ``x``: float (n, ...) in [0, 1]; ``y``: int64 (n,). ``epsilon``, ``step_size``, ``steps``, ``restarts``,
    ``norm``: as in :func:`pgd`. The oblivious attack has one start. For the adaptive figure a sample counts as
    correct only if it withstands PGD with all ``restarts`` through the purifier, PGD with the identity as the
    purifier's gradient (BPDA), and the oblivious attack's point: adaptive <= oblivious always. ``seed``: of
    the random starts. ``agents``: the model and the purifier as evidence names them.

    What it does not do yet: margin losses, black-box attacks and expectation over randomness; a defence
    that hides its gradient from both can look stronger than it is.

    Raises:
        InputError: no samples, or what :func:`pgd` refuses.
    """
    if len(x) == 0 or batch_size < 1:
        raise InputError("evaluation needs samples and a batch_size of at least 1")
    composite = model if purifier is None else nn.Sequential(purifier, model)
    generator = torch.Generator(device=x.device).manual_seed(seed)

    def attack(starts: int) -> Attack:
        def run(target: nn.Module, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return pgd(
                target,
                a,
                b,
                epsilon=epsilon,
                step_size=step_size,
                steps=steps,
                restarts=starts,
                norm=norm,
                generator=generator,
            )

        return run

    clean = oblivious = adaptive = 0
    for start in range(0, len(x), batch_size):
        a, b = x[start : start + batch_size], y[start : start + batch_size]
        right = _right(composite, a, b)  # (B,)
        blind = right & _right(composite, attack(1)(model, a, b), b)
        seen = blind & _right(composite, attack(restarts)(composite, a, b), b)
        if purifier is not None and bool(seen.any()):
            seen = seen & _right(composite, attack(1)(nn.Sequential(_Identity(purifier), model), a, b), b)
        clean, oblivious, adaptive = clean + int(right.sum()), oblivious + int(blind.sum()), adaptive + int(seen.sum())
    report = RobustnessReport(
        clean=wilson(clean, len(x)),
        oblivious=wilson(oblivious, len(x)),
        adaptive=wilson(adaptive, len(x)),
        norm=norm,
        epsilon=epsilon,
        step_size=step_size,
        steps=steps,
        restarts=restarts,
        purified=purifier is not None,
    )
    if record is not None:
        record(report.step(agents))
    return report


class _Identity(nn.Module):
    """The purifier forwards, the identity backwards: BPDA (Athalye et al. 2018, arXiv 1802.00420)."""

    def __init__(self, purifier: nn.Module) -> None:
        super().__init__()
        self.purifier = purifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        through: torch.Tensor = x + (self.purifier(x) - x).detach()
        return through


def _right(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    with frozen(model), torch.no_grad():
        right: torch.Tensor = model(x).argmax(1) == y  # (B,)
    return right
