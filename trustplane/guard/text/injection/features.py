"""Features: hashed n-grams of characters and words, and the windows over which they are summed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["BITS", "CHARACTERS", "LONGEST", "RUNS", "SHORTEST", "STEP", "WORDS", "Grams", "windows"]

BITS: Final = 18
"""log2 of the number of weights of a model."""
CHARACTERS: Final = (2, 3, 4, 5)
"""Lengths of the character n-grams."""
WORDS: Final = (1, 2, 3)
"""Lengths of the word n-grams; a Han character is a word."""
RUNS: Final = (1, 2, 4)
"""How many sentences a window has."""
SHORTEST: Final = 20
LONGEST: Final = 400
STEP: Final = 160
_BOUNDARY: Final = re.compile(r"(?:[.!?;](?=[\s\"')])|[\n。！？；])[\"')”]?\s*")
_MULTIPLIER: Final = np.uint32(0x9E3779B1)
_MIX: Final = np.uint32(0x85EBCA6B)
_POWERS: Final = np.cumprod(np.full(64, _MULTIPLIER, dtype=np.uint32), dtype=np.uint32)

Codes = npt.NDArray[np.uint32]
Places = npt.NDArray[np.intp]


class Grams:
    """The n-grams of a normalised text: ``index[k]`` says where in the weights each gram of the k-th order falls.

    Orders: CHARACTERS, then WORDS. ``words``: starts and ends of the words. The hash is a polynomial over
    uint32, the same on every machine.
    """

    __slots__ = ("index", "size", "words")

    def __init__(self, text: str) -> None:
        points: Codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
        self.size = len(points)
        self.words = _words(points)
        names = _word_codes(points, self.words)
        self.index = _hashes(points, CHARACTERS, 1) + _hashes(names, WORDS, 17)

    def _inside(self, starts: Places, ends: Places) -> list[tuple[Codes, Places, Places]]:
        """Return for each order its grams, and the first and last of them inside each window."""
        found = []
        for order, index in zip(CHARACTERS, self.index, strict=False):
            first = np.minimum(starts, len(index))
            found.append((index, first, np.minimum(np.maximum(ends - order + 1, first), len(index))))
        low = np.searchsorted(self.words[:, 0], starts)
        high = np.searchsorted(self.words[:, 1], ends, side="right")
        for order, index in zip(WORDS, self.index[len(CHARACTERS) :], strict=True):
            first = np.minimum(low, len(index))
            found.append((index, first, np.minimum(np.maximum(high - order + 1, first), len(index))))
        return found

    def slice(self, start: int, end: int) -> Codes:
        """Return the indices of all grams inside ``start..end``, with repeats."""
        places = self._inside(np.array([start]), np.array([end]))
        return np.concatenate([index[first[0] : last[0]] for index, first, last in places])

    def sums(self, weights: npt.NDArray[np.float32], starts: Places, ends: Places) -> npt.NDArray[np.float64]:
        """Return for each window the sum of the weights of its grams over the root of their number."""
        total = np.zeros(len(starts))
        number = np.zeros(len(starts))
        for index, first, last in self._inside(starts, ends):
            running = np.zeros(len(index) + 1)
            np.cumsum(weights[index], dtype=np.float64, out=running[1:])
            total += running[last] - running[first]
            number += last - first
        scaled: npt.NDArray[np.float64] = total / np.sqrt(np.maximum(number, 1.0))
        return scaled


def windows(text: str) -> tuple[Places, Places]:
    """Return starts and ends of the windows over ``text``: runs of 1, 2 and 4 sentences, LONGEST characters at most.

    A sentence longer than LONGEST is cut every STEP characters. A run shorter than SHORTEST counts only where
    it is the whole text. The number of windows is linear in the text.
    """
    size = len(text)
    marks = [0]
    for found in _BOUNDARY.finditer(text):
        marks += range(marks[-1] + STEP, found.end() - STEP // 2, STEP)
        marks.append(found.end())
    marks += [*range(marks[-1] + STEP, size - STEP // 2, STEP), size]
    edges = np.unique(np.array(marks, dtype=np.intp))
    starts = np.concatenate([edges[:-1]] * len(RUNS))
    ends = np.concatenate([edges[np.minimum(np.arange(len(edges) - 1) + run, len(edges) - 1)] for run in RUNS])
    ends = np.minimum(ends, starts + LONGEST)
    keep = ends - starts >= min(SHORTEST, size)
    return (starts[keep], ends[keep]) if keep.any() else (edges[:1], edges[-1:])


def _hashes(codes: Codes, orders: Sequence[int], seed: int) -> list[Codes]:
    """Return the hashed runs of ``codes`` for each of the ascending orders; a longer run extends a shorter one."""
    found: list[Codes] = []
    value = np.full(len(codes), seed, dtype=np.uint32)
    for order in range(1, max(orders) + 1):
        count = max(0, len(codes) - order + 1)
        value = (value[:count] ^ codes[len(codes) - count :]) * _MULTIPLIER
        value ^= value >> np.uint32(15)
        if order in orders:
            mixed = value * _MIX
            found.append((mixed ^ (mixed >> np.uint32(13))) & np.uint32((1 << BITS) - 1))
    return found


def _words(points: Codes) -> Places:
    """Return starts and ends of the words, shape (n, 2): runs of letters a-z or of digits; other visible ones alone."""
    kind = np.where((points > 0x20) & (points != 0x7F), 3, 0)
    if len(points) and points.max() > 0x7F:
        kind[(points == 0x85) | (points == 0x2028) | (points == 0x2029)] = 0  # other blanks were folded
    kind[(points >= 0x61) & (points <= 0x7A)] = 1
    kind[(points >= 0x30) & (points <= 0x39)] = 2
    padded = np.concatenate(([0], kind, [0]))
    border = (padded[1:] != padded[:-1]) | (padded[1:] == 3) | (padded[:-1] == 3)
    starts = np.flatnonzero(border[:-1] & (kind > 0))
    ends = np.flatnonzero(border[1:] & (kind > 0)) + 1
    return np.stack([starts, ends], axis=1).astype(np.intp)


def _word_codes(points: Codes, places: Places) -> Codes:
    """A word's code: the sum of its characters, each times a power by its place (wrapping)."""
    if not len(places):
        return np.zeros(0, dtype=np.uint32)
    lengths = places[:, 1] - places[:, 0]
    inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    letters = points[np.repeat(places[:, 0], lengths) + inside] + np.uint32(1)
    terms = letters * _POWERS[np.minimum(inside, len(_POWERS) - 1)]
    codes: Codes = np.add.reduceat(terms, np.cumsum(lengths) - lengths, dtype=np.uint32)
    return codes ^ (codes >> np.uint32(16))
