"""Rényi divergence of the Poisson-subsampled Gaussian, per order, as an upper bound in plain Python.

Source: Mironov, Talwar, Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism"
(arXiv 1908.10530), add/remove relation; their theorem 5 says that the direction computed here is the
larger one, so one number bounds both.
"""

from __future__ import annotations

import math
from functools import lru_cache

__all__ = ["SMALLEST_NOISE", "divergence"]

SMALLEST_NOISE = 1e-3
"""Below this noise multiplier a step reveals everything: the divergence counts as infinite."""
_LARGEST_NOISE = 1e6
"""More noise than this is charged as this much: a larger charge than needed, never a smaller one."""
_TERMS = 1000
_LOG_HALF = math.log(0.5)


def divergence(noise_multiplier: float, sampling_rate: float, order: float) -> float:
    """Return D_order of one step in nats: an upper bound.

    ``noise_multiplier`` σ > 0, ``sampling_rate`` q in (0, 1], ``order`` > 1. The result is > 0 and may be
    infinite. Integer orders have no cancellation: the relative error stays near 1e-11 even where the
    divergence is as small as 1e-15. Fractional orders carry up to 1e-12 / (order - 1) more than needed.
    """
    if noise_multiplier < SMALLEST_NOISE:
        return math.inf
    sigma = min(noise_multiplier, _LARGEST_NOISE)
    if sampling_rate == 1.0:
        return order / (2 * sigma * sigma)
    if order == int(order):
        return _integer(sigma, sampling_rate, int(order)) / (order - 1)
    return _fractional(sigma, sampling_rate, order) / (order - 1)


@lru_cache(maxsize=128)
def _log_binomials(order: int) -> tuple[float, ...]:
    return tuple(math.log(math.comb(order, k)) for k in range(order + 1))


def _integer(sigma: float, q: float, order: int) -> float:
    """Log of E[(P/Q)^order], from 1 + Σ_k C(order, k) q^k (1-q)^(order-k) (e^{k(k-1)/2σ²} - 1).

    It is section 3.3 of the paper with the binomial sum Σ_k C(order, k) q^k (1-q)^(order-k) = 1 taken out,
    so every term is positive and a tiny divergence keeps its digits.
    """
    log_q, log_p = math.log(q), math.log1p(-q)
    logs = []
    for k, binomial in enumerate(_log_binomials(order)):
        if k < 2:
            continue
        logs.append(binomial + k * log_q + (order - k) * log_p + _log_expm1(k * (k - 1) / (2 * sigma * sigma)))
    top = max(logs)
    log_excess = top + math.log(math.fsum(math.exp(value - top) for value in logs))
    return _log1pexp(log_excess)


def _fractional(sigma: float, q: float, order: float) -> float:
    """Log of E[(P/Q)^order] for a fractional order: the two series of section 3.3 of the paper.

    The binomials change sign beyond ``order``. The signed terms are summed exactly (``fsum``), the error
    of each is bounded by 1e-12 of its size, and the sum of those bounds is added. By the convexity of the
    cumulant function the line between the two neighbouring integers bounds the result as well; it takes
    over where the series cancels or does not converge.
    """
    low = math.floor(order)
    below = _integer(sigma, q, low) if low > 1 else 0.0
    line = below + (order - low) * (_integer(sigma, q, low + 1) - below)

    log_q, log_p = math.log(q), math.log1p(-q)
    z = sigma * sigma * (log_p - log_q) + 0.5
    scale = math.sqrt(2) * sigma
    signs, logs, last, top = [], [], math.inf, -math.inf
    for k in range(_TERMS):
        j = order - k
        binomial = math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(j + 1)
        a = binomial + k * log_q + j * log_p + k * (k - 1) / (2 * sigma * sigma) + _log_half_erfc((k - z) / scale)
        b = binomial + j * log_q + k * log_p + j * (j - 1) / (2 * sigma * sigma) + _log_half_erfc((z - j) / scale)
        sign = -1.0 if j < 0 and math.floor(-j) % 2 == 1 else 1.0  # sign of 1/Γ(j + 1)
        signs += [sign, sign]
        logs += [a, b]
        term, top = max(a, b), max(top, a, b)
        if k > order and term < last and term < top - 34:
            sizes = [math.exp(value - top) for value in logs]
            total = math.fsum(sign * size for sign, size in zip(signs, sizes, strict=True))
            total += 1e-12 * math.fsum(sizes)
            return min(line, max(0.0, top + math.log(total))) if total > 0 else line
        last = term
    return line


def _log_expm1(x: float) -> float:
    """Log of e^x - 1 for x > 0, without overflow."""
    return math.log(math.expm1(x)) if x < 30 else x + math.log1p(-math.exp(-x))


def _log1pexp(x: float) -> float:
    """Log of 1 + e^x."""
    return math.log1p(math.exp(x)) if x < 30 else x + math.exp(-x)


def _log_half_erfc(x: float) -> float:
    """Log of erfc(x) / 2; beyond 25 by the asymptotic series (Abramowitz and Stegun 7.1.23)."""
    if x < 25:
        return _LOG_HALF + math.log(math.erfc(x))
    s = 1 / (2 * x * x)
    return _LOG_HALF - x * x - math.log(x * math.sqrt(math.pi)) + math.log1p(-s + 3 * s * s - 15 * s**3 + 105 * s**4)
