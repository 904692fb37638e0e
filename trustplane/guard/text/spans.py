"""Spans: where each piece of a rewritten text came from, and the builder that rewrites a text piece by piece."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["CONTEXT", "SEPARATOR", "Builder", "Edit", "Piece", "Spans", "rewrite"]

CONTEXT = 128
"""Characters of plain text kept on each side of what is rewritten, more where a word would be cut."""
SEPARATOR = "\n\x00\n"
"""Stands where text was left out; no pattern crosses it."""
_WHOLE = 1 << 60
_WORD = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz@._%+-/:")


class Piece(NamedTuple):
    """A rewritten piece: each ``per`` characters of ``text`` come from ``size`` original ones, from ``origin`` on.

    ``per`` 0: all of ``text`` comes from the same ``size`` characters.
    """

    text: str
    origin: int
    size: int
    per: int = 0


class Edit(NamedTuple):
    """``[start, end)`` of a text becomes ``pieces``."""

    start: int
    end: int
    pieces: list[Piece]


class Spans:
    """The places of the pieces of a rewritten text in its original; five machine words a piece."""

    __slots__ = ("_changed", "_origins", "_per", "_sizes", "_starts")

    def __init__(self) -> None:
        self._starts, self._origins = array("q"), array("q")
        self._per, self._sizes = array("q"), array("q")
        self._changed = bytearray()

    def add(self, start: int, origin: int, per: int, size: int, changed: bool) -> None:
        """Say that from ``start`` on, ``per`` characters come from ``size`` original ones, from ``origin`` on."""
        self._starts.append(start)
        self._origins.append(origin)
        self._per.append(per or _WHOLE)
        self._sizes.append(size)
        self._changed.append(changed)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the original offsets of the non-empty rewritten span; whole original characters, whole escapes."""
        first = bisect_right(self._starts, start) - 1
        last = first if end - start == 1 else bisect_right(self._starts, end - 1) - 1
        units = (start - self._starts[first]) // self._per[first]
        more = (end - 1 - self._starts[last]) // self._per[last]
        return (
            self._origins[first] + units * self._sizes[first],
            self._origins[last] + (more + 1) * self._sizes[last],
        )

    def changed(self, start: int, end: int) -> bool:
        """Return whether a rewritten piece touches the non-empty span."""
        first = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, end - 1)
        return self._changed.find(1, first, last) >= 0


class Builder:
    """Writes a text from slices of an original and rewritten pieces, and keeps their places."""

    __slots__ = ("_length", "_parts", "spans")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.spans = Spans()

    def copy(self, text: str, start: int, end: int) -> None:
        """Append ``text[start:end]`` as it is."""
        if start < end:
            self.spans.add(self._length, start, 1, 1, False)
            self._parts.append(text[start:end])
            self._length += end - start

    def put(self, piece: Piece) -> None:
        """Append a rewritten piece; an empty one leaves no trace."""
        if piece.text:
            self.spans.add(self._length, piece.origin, piece.per, piece.size, True)
            self._parts.append(piece.text)
            self._length += len(piece.text)

    def text(self) -> str:
        """Return what was written."""
        return "".join(self._parts)


def rewrite(text: str, edits: Iterable[Edit]) -> tuple[str, Spans]:
    """Return ``text`` around its ``edits`` (in order, disjoint), rewritten, and the map back to ``text``.

    What is farther than CONTEXT characters from each edit is left out, so the work is at most linear in
    the text and, where a long text holds one escape, small.
    """
    builder = Builder()
    done, high = 0, 0
    for edit in edits:
        if edit.start - CONTEXT > high and (low := _left(text, edit.start)) > (right := _right(text, done)):
            builder.copy(text, done, right)
            if right:
                _separate(builder, right, low)
            done = low
        builder.copy(text, done, edit.start)
        for piece in edit.pieces:
            builder.put(piece)
        done = edit.end
        high = done + CONTEXT
    builder.copy(text, done, _right(text, done))
    return builder.text(), builder.spans


def _separate(builder: Builder, right: int, low: int) -> None:
    builder.put(Piece(SEPARATOR[:2], right, 0))
    builder.put(Piece(SEPARATOR[2:], low, 0))


def _left(text: str, at: int) -> int:
    low = max(0, at - CONTEXT)
    floor = max(0, low - CONTEXT)
    while low > floor and text[low - 1] in _WORD:
        low -= 1
    return low


def _right(text: str, at: int) -> int:
    if not at:
        return 0
    high = min(len(text), at + CONTEXT)
    roof = min(len(text), high + CONTEXT)
    while high < roof and text[high] in _WORD:
        high += 1
    return high
