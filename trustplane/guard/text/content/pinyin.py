"""Pinyin: words written in Latin syllables, with or without tones, mixed with characters, or by homophones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from trustplane.guard.text.content.characters import Codes, is_han, is_joined, pinyin_table
from trustplane.guard.text.content.patterns import Pattern
from trustplane.guard.text.content.verify import Found, gap_kind
from trustplane.guard.text.content.words import Entry

__all__ = ["PinyinSearch"]

_LONG = 6
"""Letters from which two syllables in Latin letters count without more."""


class PinyinSearch:
    """Searches the text as it sounds: each character as its first reading, Latin letters as they are."""

    def __init__(self, automaton: Any, entries: Sequence[Entry]) -> None:
        self._automaton = automaton
        self._given = frozenset(n for n, entry in enumerate(entries) if entry.pinyin)

    def search(self, text: str, base: str, plain: Codes) -> Iterator[Found]:
        """Yield the places of entries that are not written in their own characters throughout."""
        kept = np.flatnonzero((plain > ord("9")) | (plain == 0x3007))
        if not kept.size:
            return
        units = plain[kept].astype(np.uint32).tobytes().decode("utf-32-le")
        lengths, spoken = _tables()
        sizes = np.where(plain[kept] < 0x10000, lengths[np.minimum(plain[kept], 0xFFFF)], 1)
        owner = np.repeat(np.arange(kept.size), sizes)
        begins = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        for position, found in self._automaton.iter(units.translate(spoken)):
            for size, pattern in found:
                low, high = int(owner[position - size + 1]), int(owner[position])
                if int(begins[low]) != position - size + 1 or int(begins[high]) + int(sizes[high]) != position + 1:
                    continue
                form = self._form(text, base, kept, units, low, high, pattern)
                if form:
                    yield Found(pattern.entry, int(kept[low]), int(kept[high]) + 1, form)

    def _form(self, text: str, base: str, kept: Any, units: str, low: int, high: int, pattern: Pattern) -> str:
        """Return ``pinyin`` or ``homophone``, ``""`` where it is the word itself or too ambiguous."""
        own = other = latin = 0
        unit = low
        for syllable, letter in zip(pattern.syllables, pattern.letters, strict=True):
            if unit > high or (unit > low and not _near(text, base, int(kept[unit - 1]), int(kept[unit]))):
                return ""
            if is_han(ord(units[unit])):
                if units[unit] == letter:
                    own += 1
                elif pinyin_table().get(units[unit]) == syllable:
                    other += 1
                else:
                    return ""
                unit += 1
                continue
            stop = unit + len(syllable)
            if (
                units[unit:stop] != syllable
                or stop > high + 1
                or int(kept[stop - 1]) - int(kept[unit]) != len(syllable) - 1
            ):
                return ""
            latin += 1
            unit = stop
        count = len(pattern.syllables)
        if unit != high + 1 or own == count or not _bordered(base, int(kept[low]), int(kept[high])):
            return ""
        given = pattern.entry in self._given
        if not other:
            plain = latin < count or given or count > 2 or sum(map(len, pattern.syllables)) >= _LONG
            return "pinyin" if plain else ""
        return "homophone" if count > 3 or (count > 2 and (given or own + latin > 0)) else ""


@lru_cache(maxsize=1)
def _tables() -> tuple[Any, dict[int, str]]:
    lengths = np.ones(0x10000, np.int64)
    spoken = {}
    for character, syllable in pinyin_table().items():
        lengths[ord(character)] = len(syllable)
        spoken[ord(character)] = syllable
    return lengths, spoken


def _near(text: str, base: str, before: int, after: int) -> bool:
    """Whether nothing but a tone digit, a space or a mark stands between two units."""
    gap = base[before + 1 : after].replace("\0", "")
    return len(gap) <= 1 and gap_kind(text, before + 1 + len(gap), after) in ("none", "space", "mark")


def _bordered(base: str, first: int, last: int) -> bool:
    """Whether no Latin letter touches a Latin end of the match."""
    left = base[first - 1] if first else "\0"
    right = base[last + 1] if last + 1 < len(base) else "\0"
    return not (_latin(base[first]) and _latin(left)) and not (_latin(base[last]) and _latin(right))


def _latin(letter: str) -> bool:
    return letter != "\0" and letter.isalpha() and not is_joined(ord(letter))
