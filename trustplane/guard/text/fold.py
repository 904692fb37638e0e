"""Folding: one character, one way to write it, with a map back to the original offsets."""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from trustplane.guard.text.lookalikes import looks_like
from trustplane.guard.text.spans import Builder, Piece, Spans
from trustplane.guard.text.torn import is_torn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Folded", "fold", "fold_character", "is_mark", "latin"]

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
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2065\u3164\uffa0\ufffc"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFFC))))
)
"""Default-ignorable characters outside Cf (DerivedCoreProperties.txt), and the object replacement character."""
_MARKS = ((0x0300, 0x036F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
"""Blocks of combining marks that no script needs to be read: zalgo, accents, enclosing keycaps."""
_SINGLE = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2043\u2212\u02d7\u058a\u1806\u2796\ufe63\uff0d", "-"),
    **dict.fromkeys("\u2019\u02bc", "'"),
    **dict.fromkeys("\u2028\u2029", "\n"),
    **dict.fromkeys("\u1680\u2800", " "),
    "\u00b4": "\u00b4",
}
_LONG_DASH = re.compile("(?<=[0-9])[\u2014\u2015\u2500\u30fc](?=[0-9])")
"""A dash of prose or of kana; between two digits it is a hyphen."""
_MOST_MARKS = 4
"""A base with more marks than this is written without them; the longest real ones have three."""
_LONGEST = 8
"""A character that stands for a longer phrase (U+FDFA, 18 characters) is kept, so that text cannot be blown up."""

_PLAIN, _ONE, _MANY, _ALIKE, _HAN, _DIGIT, _TORN = 0, 1, 2, 4, 8, 16, 32
_UNKNOWN = 128
_HAN_DIGITS = frozenset("〇零一二三四五六七八九壹贰貳叁參叄肆伍陆陸柒捌玖幺两兩")


class Folded:
    """A folded text; ``span(start, end)`` gives the place of ``text[start:end]`` in the original.

    ``alike``, ``han``, ``torn``: whether the text may hold look-alikes of ASCII letters, a number in Chinese digits,
    characters beside ASCII that :func:`~trustplane.guard.text.torn.torn_edits` drops; a torn text counts as alike.
    """

    __slots__ = ("alike", "han", "spans", "text", "torn")

    def __init__(
        self, text: str, spans: Spans | None, *, alike: bool = False, han: bool = False, torn: bool = False
    ) -> None:
        self.text = text
        self.spans = spans
        self.alike = alike or torn  # so who reads a text only if it has one reading leaves it
        self.han = han
        self.torn = torn

    def __repr__(self) -> str:
        return f"Folded({len(self.text)} characters)"

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original offsets of a non-empty folded span; they cover whole original characters."""
        return (start, end) if self.spans is None else self.spans.span(start, end)


def is_mark(character: str) -> bool:
    """Return whether the character is a combining mark of a block that no script needs to be read."""
    return any(low <= ord(character) <= high for low, high in _MARKS)


@lru_cache(maxsize=4096)
def fold_character(character: str) -> str:
    """Return the plain form of one character: compatibility form, ASCII digits, nothing if invisible or a mark."""
    if character < "\x80":
        return character
    single = _SINGLE.get(character)
    if single is not None:
        return single
    if character in _INVISIBLE or unicodedata.category(character) == "Cf" or 0xE0000 <= ord(character) <= 0xE0FFF:
        return ""
    if is_mark(character):
        return ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    form = unicodedata.normalize("NFKC", character)
    if form == character or len(form) > _LONGEST:
        return character
    return "".join(map(fold_character, form))


class _Kinds:
    """What folding does to each code point, filled in as characters are met: one byte a code point."""

    def __init__(self) -> None:
        import numpy

        self.numpy = numpy
        self._table = numpy.full(0x110000, _UNKNOWN, dtype=numpy.uint8)

    def of(self, text: str) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return the code points of ``text`` and what folding does to each."""
        points = self.numpy.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=self.numpy.uint32)
        kinds = self._table[points]
        unknown = kinds == _UNKNOWN
        if unknown.any():
            for point in self.numpy.unique(points[unknown]).tolist():
                self._table[point] = _kind(chr(point))
            kinds = self._table[points]
        return points, kinds


def _kind(character: str) -> int:
    folded = fold_character(character)
    kind = _PLAIN if folded == character else _ONE if len(folded) == 1 else _MANY
    if any(looks_like(c) != c for c in folded):
        kind |= _ALIKE
    if is_torn(character):
        kind |= _TORN
    if character in _HAN_DIGITS:
        return kind | _HAN | _DIGIT
    return kind | _DIGIT if folded.isdigit() and folded.isascii() else kind


@cache
def _kinds() -> _Kinds:
    return _Kinds()


def fold(text: str) -> Folded:
    """Fold compatibility forms to plain ones, digits to ASCII, and drop what is invisible.

    Source: Unicode Standard Annex #15 (NFKC), taken character by character so that offsets can be mapped
    back. An accent that follows its letter is composed with it; marks that pile up on a letter or stand on
    what takes none are dropped. Folding twice changes nothing more. A character's form depends on its
    neighbours only: one visible character on each side, and the marks and invisible ones between them.
    """
    if text.isascii():
        return Folded(text, None)
    points, kinds = _kinds().of(text)
    seen = int(_kinds().numpy.bitwise_or.reduce(kinds))
    plain = _replaced(text, points, kinds) if seen & _ONE else text
    spans = None
    composed = False
    if seen & _MANY:
        plain, spans, composed = _rebuilt(text, plain, _kinds().numpy.flatnonzero(kinds & _MANY).tolist())
    if "\u2014" in plain or "\u2015" in plain or "\u2500" in plain or "\u30fc" in plain:
        plain = _LONG_DASH.sub("-", plain)
    han = bool(seen & _HAN) and (spans is not None or _dense(kinds))
    return Folded(plain, spans, alike=composed or bool(seen & _ALIKE), han=han, torn=bool(seen & _TORN))


def _dense(kinds: NDArray[np.uint8]) -> bool:
    """Return whether seven digits stand within 13 characters somewhere."""
    count = _kinds().numpy.cumsum((kinds & _DIGIT) > 0)
    return len(count) >= 7 and (len(count) <= 13 or int((count[13:] - count[:-13]).max()) >= 6)


def _replaced(text: str, points: NDArray[Any], kinds: NDArray[np.uint8]) -> str:
    """Return ``text`` with the characters that become one other character replaced."""
    changed = [chr(point) for point in _kinds().numpy.unique(points[(kinds & _ONE) > 0]).tolist()]
    if len(changed) > 12:
        return text.translate({ord(c): fold_character(c) for c in changed})
    for character in changed:
        text = text.replace(character, fold_character(character))
    return text


def _rebuilt(text: str, plain: str, places: list[int]) -> tuple[str, Spans, bool]:
    """Return ``plain`` with the characters at ``places`` dropped, spelled out or composed, its map, if any composed."""
    builder = Builder()
    any_composed = False
    done, index = 0, 0
    while index < len(places):
        at = places[index]
        form = fold_character(text[at])
        if form:
            builder.copy(plain, done, at)
            builder.put(Piece(form, at, 1))
            done, index = at + 1, index + 1
            continue
        end, last = at, index
        while last < len(places) and places[last] == end and not fold_character(text[end]):
            end, last = end + 1, last + 1
        marks = [c for c in text[at : min(end, at + 64)] if is_mark(c)]
        if marks and at > done:
            builder.copy(plain, done, at - 1)
            base = _composed(plain[at - 1], marks)
            any_composed = any_composed or not base.isascii()
            builder.put(Piece(base, at - 1, end - at + 1))
        else:
            builder.copy(plain, done, at)
        done, index = end, last
    builder.copy(plain, done, len(plain))
    return builder.text(), builder.spans, any_composed


def _composed(base: str, marks: list[str]) -> str:
    if len(marks) > _MOST_MARKS:
        return base
    composed = unicodedata.normalize("NFC", base + "".join(marks))
    return composed if len(composed) == 1 and fold_character(composed) == composed else base


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
