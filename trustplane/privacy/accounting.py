"""The accountant and the gate: what a mechanism costs, and whether a dataset can still pay for it.

The gate is a Rényi filter over several orders with fixed weights; it stays valid when each mechanism is
chosen after looking at everything released before. Proof: docs/decisions/0005-renyi-filter.md.

    charge   the Rényi divergence of a mechanism per order, in micro-nats, rounded up
    limits   per order the most that may be spent, in micro-nats, rounded down; negative: never
    fits     some order is still under its limit
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from trustplane.errors import InputError
from trustplane.ports import Mechanism
from trustplane.privacy.renyi import divergence
from trustplane.step import MAX_INT

__all__ = ["ORDERS", "RenyiAccountant", "add", "calibrate", "fits"]

MICRO = 1_000_000
ORDERS: tuple[float, ...] = (
    *(n / 2 for n in range(4, 25)),
    *(float(n) for n in range(13, 65)),
    *(72.0, 80.0, 88.0, 96.0, 112.0, 128.0, 160.0, 192.0, 224.0, 256.0, 320.0, 384.0, 448.0, 512.0),
)
"""The orders of every vector, ascending. They are part of the ledger's format: changing them changes it."""
_SHARES: tuple[tuple[float, float], ...] = (
    *((0.92, 0.85), (0.72, 0.06)),
    *((0.6, 0.03), (0.43, 0.015), (0.3, 0.01), (0.2, 0.005), (1.4, 0.01), (2.0, 0.005)),
    *((3.0, 0.004), (5.0, 0.003), (9.0, 0.002)),
)
"""(place, weight): a place is order - 1 over that of the best order of a Gaussian spend; weights sum to 0.994.
Most lies just under the best order, because subsampling punishes high orders; the lower places serve runs of
little noise, the higher ones keep the reported ε small while little is spent. Found by trying mixes on workloads
like tests/privacy/workloads.py: the bulk costs ln(1/0.85)/(2 ln(1/δ)), that is 0.7 % of ε at δ = 1e-5."""
_SAFETY = 1e-9
"""Relative margin over the float error of the divergence and of the limits."""


class RenyiAccountant:
    """The accountant of the ledger (port ``Accountant``): deterministic, no state but a cache."""

    @property
    def version(self) -> str:
        """What a ledger writes beside a dataset: orders, weights or rounding change only with it."""
        return "renyi-filter/1"

    @property
    def orders(self) -> Sequence[float]:
        """The Rényi orders, ascending."""
        return ORDERS

    def charge(self, mechanism: Mechanism) -> tuple[int, ...]:
        """Return the Rényi divergence of the whole mechanism per order in micro-nats, rounded up.

        Each entry is in 1..2^53-1; the top value stands for "infinite" and fits under no limit.

        Raises:
            InputError: noise multiplier not finite or not > 0, sampling rate outside (0, 1], steps not an
                integer in 1..2^53-1, a relation other than ``add-remove``.
        """
        _check(mechanism)
        per_step = _per_step(float(mechanism.noise_multiplier), float(mechanism.sampling_rate))
        steps = mechanism.steps
        return tuple(_ceil(steps * micro) for micro in per_step)

    def limits(self, epsilon_micro: int, delta_exp: int) -> tuple[int, ...]:
        """Return per order the most that may be spent in micro-nats, rounded down; -1 means never.

        ``epsilon_micro``: ε in millionths, 1..10^9. ``delta_exp``: δ = 10^-delta_exp, 1..18.

        Raises:
            InputError: a value out of range.
        """
        _check_limit(epsilon_micro, delta_exp)
        return tuple(
            -1 if offset is None else max(-1, epsilon_micro - offset) for offset in _offsets(epsilon_micro, delta_exp)
        )

    def epsilon_micro(self, rdp_micro: Sequence[int], epsilon_micro: int, delta_exp: int) -> int:
        """Return the smallest ε in millionths whose limits, under this dataset's weights, hold the vector.

        The weights are those of the limit (``epsilon_micro``, ``delta_exp``), so the result is at most
        ``epsilon_micro`` exactly where the vector fits that limit; far below the limit it overstates.
        A vector of zeros, nothing released, is 0. Clipped at 2^53 - 1.

        Raises:
            InputError: a value out of range, or a vector of the wrong length or with a negative entry.
        """
        _check_limit(epsilon_micro, delta_exp)
        if len(rdp_micro) != len(ORDERS) or min(rdp_micro) < 0:
            raise InputError("a spent vector has one entry >= 0 per order")
        if not any(rdp_micro):
            return 0
        offsets = _offsets(epsilon_micro, delta_exp)
        needed = min(spent + offset for spent, offset in zip(rdp_micro, offsets, strict=True) if offset is not None)
        return min(max(needed, 0), MAX_INT)


def fits(limits: Sequence[int], spent: Sequence[int], charge: Sequence[int]) -> bool:
    """Return whether some order stays under its limit when ``charge`` is added to ``spent``."""
    return any(s + c <= limit for limit, s, c in zip(limits, spent, charge, strict=True) if limit >= 0)


def add(spent: Sequence[int], charge: Sequence[int]) -> tuple[int, ...]:
    """Return the sum per order, held at 2^53 - 1: an order that reaches it is spent for good."""
    return tuple(min(s + c, MAX_INT) for s, c in zip(spent, charge, strict=True))


def calibrate(
    epsilon_micro: int, delta_exp: int, sampling_rate: float, steps: int, *, limit_micro: int | None = None
) -> float:
    """Return the smallest noise multiplier, to a millionth, with which the run alone fits (ε, δ).

    ``limit_micro``: the limit of the dataset, whose weights then count, so that a ledger with that limit
    reports at most ``epsilon_micro`` for the run; by default ``epsilon_micro`` itself.

    Raises:
        InputError: a value out of range, or no noise multiplier up to 10^6 is enough.
    """
    accountant = RenyiAccountant()
    _check_limit(epsilon_micro, delta_exp)
    limit = epsilon_micro if limit_micro is None else limit_micro

    def enough(sigma_micro: int) -> bool:
        charge = accountant.charge(Mechanism(sigma_micro / MICRO, sampling_rate, steps))
        return accountant.epsilon_micro(charge, limit, delta_exp) <= epsilon_micro

    low, high = 0, MICRO
    while not enough(high):
        low, high = high, high * 2
        if high > MICRO * MICRO:
            raise InputError(
                "no noise multiplier up to 10^6 fits this ε and δ", hint="ask for fewer steps or a larger ε"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high / MICRO


@lru_cache(maxsize=4096)
def _per_step(sigma: float, q: float) -> tuple[float, ...]:
    """One step's divergence per order, in micro-nats, with the safety margin."""
    return tuple(divergence(sigma, q, order) * MICRO * (1 + _SAFETY) for order in ORDERS)


def _ceil(micro: float) -> int:
    return max(1, math.ceil(micro)) if micro < MAX_INT else MAX_INT


@lru_cache(maxsize=256)
def _offsets(epsilon_micro: int, delta_exp: int) -> tuple[int | None, ...]:
    """Return per order ε - B_a in micro-nats, rounded up, or None where the weight is 0.

    B_a = ε + (ln δ + ln w_a - ln c_a) / (a - 1).
    """
    weights = _weights(epsilon_micro, delta_exp)
    return tuple(
        math.ceil(_excess(order, delta_exp, weight) * MICRO + 1e-3) if weight else None
        for order, weight in zip(ORDERS, weights, strict=True)
    )


def _excess(order: float, delta_exp: int, weight: float) -> float:
    return (_log_c(order) + delta_exp * math.log(10) - math.log(weight)) / (order - 1)


def _log_c(order: float) -> float:
    """Log of c_a = (1/a)(1 - 1/a)^(a-1): (1 - e^(ε-z))_+ <= c_a e^((a-1)(z-ε)) for every z.

    Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (arXiv 2004.00010), prop. 12.
    """
    return -math.log(order) + (order - 1) * math.log1p(-1 / order)


def _weights(epsilon_micro: int, delta_exp: int) -> tuple[float, ...]:
    """Return the weight of each order, >= 0, summing to at most 1: a function of (ε, δ) alone."""
    epsilon = epsilon_micro / MICRO
    best = max(ORDERS, key=lambda order: (epsilon - _excess(order, delta_exp, _SHARES[0][1])) / order)
    weights = [0.0] * len(ORDERS)
    for place, share in _SHARES:
        wanted = math.log(place * (best - 1))
        nearest = min(range(len(ORDERS)), key=lambda k: abs(math.log(ORDERS[k] - 1) - wanted))
        weights[nearest] += share
    return tuple(weights)


def _check(mechanism: Mechanism) -> None:
    sigma, q, steps = mechanism.noise_multiplier, mechanism.sampling_rate, mechanism.steps
    for value in (sigma, q):
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise InputError("noise multiplier and sampling rate are numbers")
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError("the noise multiplier is not a finite number above 0")
    if not 0 < q <= 1:
        raise InputError("the sampling rate is outside (0, 1]")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_INT:
        raise InputError("steps is not an integer in 1..2^53-1")
    if mechanism.relation != "add-remove":
        raise InputError(
            "only the add-remove relation is accounted for",
            hint="a substitution costs more than twice as much",
        )


def _check_limit(epsilon_micro: int, delta_exp: int) -> None:
    for value, high in ((epsilon_micro, 1_000_000_000), (delta_exp, 18)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
            raise InputError("a limit has ε in 1..10^9 millionths and δ = 10^-1 .. 10^-18, both integers")
