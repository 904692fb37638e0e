"""Islands: the places round the digits of a text, and which patterns can match there, told by the places' shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from trustplane.guard.text.presidio.gates import MEMORY, ShapeSet
from trustplane.guard.text.presidio.prefilter import Prefilter
from trustplane.guard.text.presidio.sieve import digits_shown, shape_of, shaped
from trustplane.guard.text.presidio.translate import UnableError

__all__ = ["BETWEEN", "Islands", "Member", "Place", "Places"]

BEFORE, BETWEEN, BEHIND = 5, 5, 5
"""The most characters before the first digit of a match, between two of its digits and behind the last."""
AHEAD = 64
"""The most characters that the look-aheads of a pattern may look at."""
LONG = 192
"""An island with more characters than this is searched by a pattern as the whole text is."""
SHAPES = 4096
"""Shapes of islands that are remembered, with the patterns that fit: numbers, letters and signs only as such."""

Place = tuple[int, int]
"""Where matches of an island start: from the first offset on, before the second."""
_CORE = re.compile(rb"0(?:[^0]{0,%d}+0)*+" % BETWEEN)


class Member(NamedTuple):
    """A pattern to look for: what is known of it, and itself, compiled."""

    prefilter: Prefilter
    compiled: Any


class Places(NamedTuple):
    """Where patterns may match, by their numbers: places to search, ``None`` for the whole text; and, for those
    that look at the shape alone, where they do match."""

    search: dict[int, list[Place] | None]
    spans: dict[int, list[Place]]


class _Fitting(NamedTuple):
    """The patterns that fit a shape, and the matches of those that look at the shape alone, from its start on."""

    search: tuple[int, ...]
    spans: tuple[tuple[int, tuple[Place, ...]], ...]


class Islands:
    """Patterns whose matches stay close to digits, looked for round the digits of a text alone.

    Digits with at most ``BETWEEN`` other characters between each other are the core of an island. All digits of a
    match of a pattern that is held here are in one core, it starts at most ``BEFORE`` characters before it and
    before its end, and nothing that begins there gets farther behind it than ``BETWEEN`` characters, whether it
    matches or not; what look-aheads see comes on top. So each match belongs to one island, and searching the
    islands in turn, each from where the last match ended, gives the matches of a search of the whole text.

    A pattern that takes all digits for equal, and so all small and all capital letters, matches a shape where it
    matches each ASCII text of that shape, so its matches are remembered with the shape.

    ``members``: by number, the patterns to hold, as far as they can be. ``is_ascii``: for ASCII texts.
    """

    def __init__(self, members: Mapping[int, Member], is_ascii: bool) -> None:
        self._ascii = is_ascii
        self._exact: dict[int, Any] = {}
        self.held: frozenset[int] = frozenset()
        families: dict[str, dict[int, str]] = {}
        for number, (found, compiled) in members.items():
            gate = found.ascii if is_ascii else found.any
            if gate is None or not _is_close(found):
                continue
            try:
                shape, family = shape_of(gate.inside)
            except (UnableError, re.error, OverflowError, RecursionError):
                continue
            families.setdefault(family, {})[number] = shape
            self.held |= {number}
            if is_ascii and found.plain and _is_short(found):
                self._exact[number] = compiled
        self._sets = [ShapeSet(shapes, MEMORY) for shapes in families.values()]
        # One memory for what is skipped, since most callers always skip the same; another starts it anew.
        self._memory: tuple[frozenset[int], dict[bytes, _Fitting]] = (frozenset(), {})

    def __repr__(self) -> str:
        return f"Islands({len(self.held)} patterns)"

    def places(self, data: bytes, skipped: frozenset[int] = frozenset()) -> Places:
        """Return for the patterns that may match UTF-8 ``data`` where, without those that are ``skipped``.

        Raises:
            Refused: RE2 ran out of its memory budget, so that nothing is known of the text.
        """
        search: dict[int, list[Place] | None] = {}
        spans: dict[int, list[Place]] = {}
        if not self.held:
            return Places(search, spans)
        shape = shaped(data)
        known, most = self._known(skipped), len(shape) - BEHIND
        for core in _CORE.finditer(shape if self._ascii else digits_shown(data)):
            start, end = core.span()
            if end - start > LONG:
                search |= dict.fromkeys(self._numbers(shape[max(0, start - BEFORE - 1) : end + BEHIND + 1], skipped))
                continue
            if start > BEFORE and end < most:
                low, first = start - BEFORE, start - BEFORE - 1
                key = shape[first : end + BEHIND + 1]
                if (fitting := known.get(key)) is None:
                    if len(known) >= SHAPES:
                        known.clear()
                    fitting = known[key] = self._fit(key, 1, end - first, skipped)
            else:
                low, first = max(0, start - BEFORE), max(0, start - BEFORE - 1)
                fitting = self._fit(shape[first : end + BEHIND + 1], low - first, end - first, skipped)
            for number in fitting.search:
                if number not in search:
                    search[number] = [(low, end)]
                elif (places := search[number]) is not None:
                    places.append((low, end))
            for number, matches in fitting.spans:
                before = spans.setdefault(number, [])
                if before and before[-1][1] > low:
                    search[number] = None  # this island is searched from where the last match ended
                before += [(first + at, first + to) for at, to in matches]
        for number in search.keys() & spans.keys():
            search[number] = None
            del spans[number]
        return Places(search, spans)

    def _known(self, skipped: frozenset[int]) -> dict[bytes, _Fitting]:
        of, known = self._memory
        if of is not skipped and of != skipped:
            known = {}
            self._memory = skipped, known
        return known

    def _numbers(self, shape: bytes, skipped: frozenset[int]) -> list[int]:
        return [n for shapes in self._sets for n in shapes.hits(shape) if n not in skipped]

    def _fit(self, shape: bytes, low: int, end: int, skipped: frozenset[int]) -> _Fitting:
        numbers = self._numbers(shape, skipped)
        shown = shape.decode("latin-1")
        spans = []
        for number in numbers:
            if number in self._exact:
                matches = []
                for match in self._exact[number].finditer(shown, low):
                    if match.start() >= end:
                        break
                    matches.append(match.span())
                if matches:
                    spans.append((number, tuple(matches)))
        return _Fitting(tuple(n for n in numbers if n not in self._exact), tuple(spans))


def _is_close(found: Prefilter) -> bool:
    none, before, behind, between, ahead = found.spread
    close = before <= BEFORE and behind <= BEHIND and between <= BETWEEN
    return none < 0 and close and ahead <= AHEAD and not found.risky


def _is_short(found: Prefilter) -> bool:
    """Return whether an island's shape holds all that a search from its start looks at."""
    _, _, behind, between, ahead = found.spread
    return max(behind, between) + ahead + 1 <= BEHIND and found.back <= 1
