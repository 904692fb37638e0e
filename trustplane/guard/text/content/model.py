"""The linear model: toxicity from hashed character n-grams, with a band in which it does not know."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trustplane.guard.text.content.characters import canonical, codes, tables
from trustplane.guard.text.views import fold

__all__ = ["BITS", "SIZES", "Weights", "grams", "probability", "score", "weights", "weights_digest"]

BITS = 17
"""log2 of the number of weights."""
SIZES = {"en": (2, 3, 4, 5), "zh": (1, 2, 3)}
"""Lengths of the n-grams, in canonical characters."""
WINDOW = 400
"""Characters that are scored together; a long text is as toxic as its most toxic window."""
_SPACE = 0x20
_PRIME = np.uint64(0x9E3779B97F4A7C15)


class Weights(NamedTuple):
    """``values``: shape ``(2**BITS,)``, float32. ``high``, ``low``: probabilities from which it is a hit, and clean."""

    values: npt.NDArray[np.float32]
    bias: float
    high: float
    low: float


def score(text: str, languages: Collection[str]) -> tuple[str, str]:
    """Return ``(hit | clean | unknown, language)`` of a folded text, by the language that most of it is in."""
    points = codes(text)
    han = int(np.count_nonzero((points >= 0x3400) & (points <= 0x9FFF)))
    language = "zh" if "zh" in languages and (han * 4 > len(text) or "en" not in languages) else "en"
    chance = probability(text, language)
    known = weights(language)
    return ("hit" if chance >= known.high else "clean" if chance <= known.low else "unknown"), language


def probability(text: str, language: str) -> float:
    """Return the probability, 0..1, of the most toxic window of a folded text."""
    known = weights(language)
    found = [known.values[index] for index in grams(text, language)]
    size = found[0].size
    if not size:
        return 0.0
    sums = np.zeros(size + 1)
    counts = np.zeros(size + 1)
    for values in found:
        padded = np.zeros(size)
        padded[: values.size] = values
        sums[1:] += np.cumsum(padded)
        counts[1:] += np.minimum(np.arange(1, size + 1), values.size)
    starts = np.arange(0, max(1, size - WINDOW // 2), WINDOW // 2)
    ends = np.minimum(starts + WINDOW, size)
    raw = (sums[ends] - sums[starts]) / np.sqrt(np.maximum(1.0, counts[ends] - counts[starts])) + known.bias
    return float(1.0 / (1.0 + np.exp(-np.clip(raw.max(), -30.0, 30.0))))


def grams(text: str, language: str) -> list[npt.NDArray[np.int64]]:
    """Return, for each length of ``SIZES``, the bucket of the n-gram that starts at each place.

    The text is folded and canonical, each row of separators one space, one at either end.
    """
    plain = canonical(codes(fold(text).text), tables().plain)
    plain = np.concatenate(([0], plain, [0])).astype(np.uint64)
    keep = np.ones(plain.size, bool)
    keep[1:] = (plain[1:] != 0) | (plain[:-1] != 0)
    plain = plain[keep]
    plain[plain == 0] = _SPACE
    found = []
    for size in SIZES[language]:
        if plain.size < size:
            found.append(np.zeros(0, np.int64))
            continue
        value = np.full(plain.size - size + 1, size, np.uint64)
        for offset in range(size):
            value = (value ^ plain[offset : plain.size - size + 1 + offset]) * _PRIME
            value ^= value >> np.uint64(29)
        found.append((value >> np.uint64(64 - BITS)).astype(np.int64))
    return found


@lru_cache(maxsize=2)
def weights(language: str) -> Weights:
    """Return the weights for ``en`` or ``zh``."""
    with np.load(io.BytesIO(_raw(language))) as stored:
        part: Any = {name: stored[name] for name in ("values", "scale", "bias", "high", "low")}
    values = (part["values"].astype(np.float32) * float(part["scale"])).astype(np.float32)
    return Weights(values, float(part["bias"]), float(part["high"]), float(part["low"]))


@lru_cache(maxsize=2)
def weights_digest(language: str) -> str:
    """Return ``sha256:<hex>`` of the weights' file."""
    return "sha256:" + hashlib.sha256(_raw(language)).hexdigest()


def _raw(language: str) -> bytes:
    return files(__package__).joinpath(f"model_{language}.npz").read_bytes()
