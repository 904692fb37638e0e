"""The linear model: weights for users and for tools and documents, and how a margin becomes a score."""

from __future__ import annotations

import functools
import hashlib
import math
from importlib.resources import files
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from trustplane.errors import InputError
from trustplane.guard.text.injection.features import BITS, Grams, windows

__all__ = ["NAME", "Weights", "best_window", "pack", "row", "score", "unpack", "weights", "weights_digest"]

NAME: Final = "weights.bin"
_STEEPNESS: Final = 4.0
"""How fast the score leaves one half as the margin leaves the cut."""


class Weights(NamedTuple):
    """``values``: shape (2, 2**BITS), float32; row 0 for ``user``, row 1 for ``tool`` and ``document``.

    ``cuts``: shape (2,), the margin at which the score is one half.
    """

    values: npt.NDArray[np.float32]
    cuts: npt.NDArray[np.float64]


def row(source: str) -> int:
    """Return which weights judge texts of ``source``."""
    return 0 if source == "user" else 1


def best_window(text: str, values: npt.NDArray[np.float32]) -> tuple[float, int, int]:
    """Return the largest margin of any window of the normalised ``text``, and where that window lies."""
    grams = Grams(text)
    starts, ends = windows(text)
    margins = grams.sums(values, starts, ends)
    best = int(np.argmax(margins))
    return float(margins[best]), int(starts[best]), int(ends[best])


def score(margin: float, cut: float) -> float:
    """Return the score in 0..1 of a margin: one half at the cut."""
    return 1.0 / (1.0 + math.exp(-max(-40.0, min(40.0, _STEEPNESS * (margin - cut)))))


def pack(values: npt.NDArray[np.float64], cuts: npt.NDArray[np.float64]) -> bytes:
    """Return weights as bytes: int8 with a scale for each row, the same bytes for the same numbers."""
    scales = np.abs(values).max(axis=1) / 127.0
    whole = np.rint(values / scales[:, None]).astype(np.int8)
    return b"".join((scales.astype("<f8").tobytes(), cuts.astype("<f8").tobytes(), whole.tobytes()))


def unpack(data: bytes) -> Weights:
    """Return the weights that ``pack`` wrote.

    Raises:
        InputError: the length is not that of a set of weights.
    """
    if len(data) != 32 + 2 * (1 << BITS):
        raise InputError("the injection weights have another length than this version reads")
    numbers = np.frombuffer(data[:32], dtype="<f8")
    whole = np.frombuffer(data, dtype=np.int8, offset=32).reshape(2, 1 << BITS)
    return Weights((whole * numbers[:2, None]).astype(np.float32), numbers[2:].copy())


@functools.cache
def weights() -> Weights:
    """Return the weights that come with the package."""
    return unpack(_raw())


@functools.cache
def weights_digest() -> str:
    """``sha256:<hex>`` of the packed weights; the card beside them names the same."""
    return "sha256:" + hashlib.sha256(_raw()).hexdigest()


def _raw() -> bytes:
    return files("trustplane.guard.text.injection").joinpath(NAME).read_bytes()
