"""Sets of characters as sorted ranges of code points, with over- and under-approximations of Unicode's classes."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable

__all__ = [
    "ANY",
    "ASCII",
    "DIGIT",
    "SPACE",
    "WORD",
    "Ranges",
    "char_class",
    "complement",
    "fold_case",
    "has_no_case",
    "meet",
    "union",
]

Ranges = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
ANY: Ranges = ((0, LAST),)
ASCII: Ranges = ((0, 127),)
_ASCII_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
# Each pair: (characters that the class may hold, characters that it surely holds), whatever the Unicode version.
DIGIT: tuple[Ranges, Ranges] = (
    ((48, 57), (0x660, 0x1FFF), (0xA620, 0xABFF), (0xFF10, 0xFF19), (0x10000, 0x1FFFF)),
    ((48, 57),),
)
SPACE: tuple[Ranges, Ranges] = (
    ((9, 13), (28, 32), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200F), (0x2028, 0x2029),
     (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)),
    ((9, 13), (32, 32)),
)  # fmt: skip
WORD: tuple[Ranges, Ranges] = ((*_ASCII_WORD, (128, LAST)), _ASCII_WORD)

_UNCASED = ((0x2E80, 0xA63F), (0xAC00, 0xD7FF))
"""Han, kana, Yi, Hangul: blocks without a letter that has case."""
_EXTRA = {"k": 0x212A, "s": 0x17F, "i": 0x130, "I": 0x131}
"""Characters beyond ASCII that fold to an ASCII letter: Kelvin sign, long s, the Turkic i's."""


def union(sets: Iterable[Ranges]) -> Ranges:
    """Return the characters that are in any of ``sets``."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for ranges in sets for pair in ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


@functools.lru_cache(maxsize=512)
def complement(ranges: Ranges) -> Ranges:
    """Return the characters that are not in ``ranges``."""
    found: list[tuple[int, int]] = []
    position = 0
    for low, high in union([ranges]):
        if low > position:
            found.append((position, low - 1))
        position = high + 1
    if position <= LAST:
        found.append((position, LAST))
    return tuple(found)


@functools.lru_cache(maxsize=512)
def meet(one: Ranges, other: Ranges) -> Ranges:
    """Return the characters that are in both."""
    return complement(union([complement(one), complement(other)]))


@functools.lru_cache(maxsize=512)
def fold_case(ranges: Ranges) -> Ranges:
    """Return ``ranges`` and whatever can equal one of its characters when case is ignored."""
    found: list[Ranges] = [ranges]
    for low, high in ranges:
        for point in range(max(low, 65), min(high, 122) + 1):
            letter = chr(point)
            if letter.isalpha():
                found.append(((ord(letter.swapcase()),) * 2,))
                found += [((extra, extra),) for name, extra in _EXTRA.items() if name in (letter, letter.swapcase())]
        if high >= 128 and not _is_uncased(max(low, 128), high):
            found.append(((128, LAST), *((ord(letter),) * 2 for letter in "kKsSiI")))
    return union(found)


def _is_uncased(low: int, high: int) -> bool:
    if any(first <= low and high <= last for first, last in _UNCASED):
        return True
    return high - low < 64 and all(has_no_case(chr(point)) for point in range(low, high + 1))


def has_no_case(character: str) -> bool:
    """Return whether no other character equals this one when case is ignored, in any version of Unicode."""
    category = unicodedata.category(character)
    return (
        category[0] in "PZ" or category in {"Lo", "Nd", "No", "Sm", "Sc"}
    ) and character.lower() == character.upper()


@functools.lru_cache(maxsize=512)
def char_class(ranges: Ranges) -> str:
    """Return ``ranges`` as a class in RE2's notation; empty when there is no character in it."""
    if not ranges:
        return ""
    parts = [f"\\x{{{low:x}}}" + (f"-\\x{{{high:x}}}" if high > low else "") for low, high in ranges]
    return f"[{''.join(parts)}]"
