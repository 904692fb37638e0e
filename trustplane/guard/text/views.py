"""Folding: one character, one way to write it, with a map back to the original offsets."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["Folded", "fold", "latin"]

_BLANK = "<"
"""Stands for a CJK character in the Latin view: no word character, no space, not part of a URL."""
_CJK = (
    (0x1100, 0x11FF),
    (0x2E80, 0x9FFF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


class Folded:
    """A folded text; ``span(start, end)`` gives the place of ``text[start:end]`` in the original."""

    __slots__ = ("_map", "text")

    def __init__(self, text: str, offsets: list[int] | None) -> None:
        self.text = text
        self._map = offsets

    def __repr__(self) -> str:
        return f"Folded({len(self.text)} characters)"

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original offsets of a non-empty folded span; they cover whole original characters."""
        if self._map is None:
            return start, end
        return self._map[start], self._map[end - 1] + 1


@lru_cache(maxsize=4096)
def fold_character(character: str) -> str:
    """Return the plain form of one character: compatibility form, ASCII digits, nothing if invisible."""
    if character < "\x80":
        return character
    if unicodedata.category(character) == "Cf":  # zero-width spaces, joiners, marks of direction
        return ""
    digit = unicodedata.decimal(character, None)
    return unicodedata.normalize("NFKC", character) if digit is None else str(digit)


def fold(text: str) -> Folded:
    """Fold full-width and other compatibility forms to plain ones and drop invisible characters.

    Source: Unicode Standard Annex #15 (NFKC), taken character by character so that offsets can be
    mapped back; sequences of several characters are not composed.
    """
    if text.isascii():
        return Folded(text, None)
    changed: dict[str, str | int | None] = {c: f for c in set(text) if (f := fold_character(c)) != c}
    if not changed:
        return Folded(text, None)
    if all(len(str(f)) == 1 for f in changed.values()):
        return Folded(text.translate(str.maketrans(changed)), None)
    pieces: list[str] = []
    offsets: list[int] = []
    for index, character in enumerate(text):
        piece = str(changed.get(character, character))
        pieces.append(piece)
        offsets.extend([index] * len(piece))
    return Folded("".join(pieces), offsets)


def _is_cjk(character: str) -> bool:
    point = ord(character)
    return any(low <= point <= high for low, high in _CJK)


def latin(text: str) -> str:
    """Return ``text`` with each CJK character blanked, same length.

    Patterns written for English rely on a word boundary; in Chinese, which is written without spaces,
    there is none beside a number or an address until the characters around it are gone.
    """
    if text.isascii():
        return text
    blanked: dict[str, str | int | None] = {c: _BLANK for c in set(text) if c >= "\u1100" and _is_cjk(c)}
    return text.translate(str.maketrans(blanked)) if blanked else text
