"""Screen: tells of a text, in one pass, where no rule can find anything, so that replies are not searched there."""

from __future__ import annotations

import bisect
import functools
import re
import re._constants as c  # type: ignore[import-not-found]
import weakref
from collections.abc import Container, Iterable
from typing import Any, NamedTuple

from trustplane.guard.text.encodings import segment_edits
from trustplane.guard.text.engine import CONTEXT_CHARS, Engine, run_one
from trustplane.guard.text.fold import fold, latin
from trustplane.guard.text.guard import TextGuard
from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.overlap import resolve
from trustplane.guard.text.presidio.compiled import CompiledPattern
from trustplane.guard.text.presidio.gates import MEMORY, Gates, encode, scanner
from trustplane.guard.text.presidio.prefilter import prefilter
from trustplane.guard.text.presidio.sieve import _parse
from trustplane.guard.text.presidio.translate import Translation, UnableError
from trustplane.guard.text.rules.windows import margin_behind
from trustplane.guard.text.views import VIEW_GATES, views

__all__ = ["Reading", "Screen", "decided", "screen_for", "screen_of"]

_CLAMP = 64
_FAR = 1 << 40
"""Stands for a width or a margin without end."""
_SEGMENT = r"[A-Za-z0-9+/_-]{12,}|[A-Za-z0-9+/_-]{8,}(?:=|[ \t]*\r?\n[ \t]*[A-Za-z0-9+/_-]{2})"
_ESCAPES = r"%u?[0-9A-Fa-f]{2}|&[#A-Za-z]|\\"
"""What an escape begins with; see ``escapes.py``."""
_HARMLESS = re.compile(rb"(?!.?[0-9A-Fa-f]{14})[A-Z_+/-]*[a-z_+/-]*\Z")
_LONGEST_WORD = 15
"""A word of so many letters that is neither hexadecimal nor of mixed case is no encoded segment, nor is its end."""
_BEFORE = CONTEXT_CHARS + 16
"""How far before a match a word may begin that lifts its score."""
_DASHES = "\u2014\u2015\u2500\u30fc"
_SCREENS: weakref.WeakKeyDictionary[TextGuard, Screen] = weakref.WeakKeyDictionary()


class _Zones(NamedTuple):
    """Disjoint stretches of a text, in order."""

    starts: list[int]
    ends: list[int]

    def meet(self, low: int, high: int) -> bool:
        """Return whether one has a part behind ``low`` and before ``high``."""
        at = bisect.bisect_right(self.ends, low)
        return at < len(self.starts) and self.starts[at] < high

    def cut(self, place: int) -> bool:
        """Return whether ``place`` lies within one."""
        at = bisect.bisect_right(self.ends, place)
        return at < len(self.starts) and self.starts[at] < place


def _zones(spans: Iterable[tuple[int, int]]) -> _Zones:
    starts: list[int] = []
    ends: list[int] = []
    for start, end in spans:
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return _Zones(starts, ends)


class _Looked(NamedTuple):
    """A rule or a pattern: what must match for its gate to be open, and what then bounds its hits.

    ``gate``: empty where nothing is known. ``shapes``: patterns with the most characters from the beginning of the
    last character that their match can begin with to the end of a hit. ``words``: of which one must stand before.
    """

    what: Rule | CompiledPattern
    gate: str
    shapes: tuple[tuple[str, int], ...]
    words: frozenset[str] = frozenset()


class Screen:
    """What the rules and patterns of a guard need of a text to find anything in it or in a part of it.

    For each there is a pattern of RE2 without anchors or look-around that matches within each match of its gate, so
    it matches in every text of which a part opens the gate, wherever that part is cut. Its matches in a text bound
    where hits can be in any part: not behind the widest match of the gate and the rule's own margin.
    """

    def __init__(self, guard: TextGuard) -> None:
        self._guard = guard
        engine: Engine = guard._engine
        self._looked = [*map(_of_rule, engine.rules), *(_of_pattern(p, guard.threshold) for p in engine.patterns)]
        self._folded = frozenset(
            n for n, one in enumerate(self._looked) if isinstance(one.what, Rule) and one.what.view != "latin"
        )
        self._latin = frozenset(range(len(self._looked))) - self._folded
        groups: list[tuple[str, ...]] = [(one.gate,) if one.gate else () for one in self._looked]
        self._gates = Gates(groups, sifted=range(len(groups)))
        self._scanner = functools.cache(lambda gate: scanner(gate))
        loose = [*(_loosened(gate)[0] for gate in VIEW_GATES), _ESCAPES]
        self._view_set = _set(loose)
        self._segments = scanner(_SEGMENT)
        self._views = [scanner(gate) for gate in loose]

    def __repr__(self) -> str:
        return f"Screen({len(self._looked)} rules and patterns)"

    def read(self, text: str, *, parts: bool = True) -> Reading | None:
        """Return where in ``text`` something may be found, None where that is not known: it reads in several ways.

        ``parts``: whether many parts of it will be asked for, so that it pays to look ahead.
        """
        shown = text
        if not text.isascii():
            folded = fold(text)
            shown = folded.text
            if folded.spans is not None or folded.alike or folded.han or "艾特" in shown:
                return None
            if any(dash in text and text.count(dash) != shown.count(dash) for dash in _DASHES):
                return None
        data = encode(shown)
        if len(data) == len(shown):
            return Reading(self, shown, shown, self._opened(shown, data, (), parts), *self._suspects(data))
        blanked = latin(shown)
        found = self._opened(shown, data, self._latin, parts)
        found += self._opened(blanked, encode(blanked), self._folded, parts)
        return Reading(self, shown, blanked, found, *self._suspects(shown.encode("ascii", "replace")))

    def _opened(self, text: str, data: bytes, skipped: Container[int], parts: bool) -> list[_Open]:
        """Return the rules and patterns that may find something in ``text``, ``data`` in UTF-8, or in a part of it."""
        found: list[_Open] = []
        is_ascii = len(data) == len(text)
        lowered = ""
        for number in self._gates.open(data, is_ascii, skipped):
            one = self._looked[number]
            words = None
            if one.words:
                lowered = lowered or text.lower()
                words = [m.start() for m in _any_word(one.words).finditer(lowered)]
                if not words:
                    continue
                if len(lowered) != len(text):
                    words = None
            shapes = [(self._scanner(shape), more) for shape, more in one.shapes]
            opened = _Open(number, shapes, data if is_ascii else data.decode(), words)
            if not parts or opened.meets(0, _FAR):
                found.append(opened)
        return found

    def _suspects(self, data: bytes) -> tuple[_Zones, _Zones]:
        """Return places round which a text may be read in another way than as it is, and those where it may be so
        only where it is cut within them."""
        found = [m.span() for number in self._view_set.Match(data) or () for m in self._views[number].finditer(data)]
        whole: list[tuple[int, int]] = []
        for run in self._segments.finditer(data):
            start, end = run.span()
            if end - start > _LONGEST_WORD or not _HARMLESS.match(data, start, end) or _NEXT.match(data, end):
                last = _LINES.match(data, end)
                end = last.end() if last else end
                before = data[max(0, start - 64) : start].rstrip(b" \t")
                alone = b"\n" not in data[start:end] and not before.endswith(b"\n")
                if alone and not any(segment_edits(data[start:end].decode())):
                    whole.append((start, end))
                else:
                    found.append((start, end))
        return _zones(sorted(found)), _zones(whole)

    def run(self, number: int, text: str, since: int) -> list[Hit]:
        """Return what a rule or pattern finds in ``text``, as the guard has it; all that ends behind ``since``."""
        guard, wanted = self._guard, self._guard.entities
        return [
            hit
            for hit in run_one(guard._engine, self._looked[number].what, text, since)
            if hit.score >= guard.threshold
            and (wanted is None or hit.entity in wanted)
            and not guard._is_digest(text, hit)
        ]

    def is_folded(self, number: int) -> bool:
        """Return whether a rule reads the folded text, not the Latin one."""
        return number in self._folded


def _set(patterns: Iterable[str]) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    found = re2.Set.SearchSet(options)
    for pattern in patterns:
        found.Add(pattern)
    found.Compile()
    return found


_NEXT = re.compile(rb"=|[ \t]*\r?\n[ \t]*[A-Za-z0-9+/_-]{2}")
_LINES = re.compile(rb"(?:[A-Za-z0-9+/_-]*[ \t]*\r?\n[ \t]*[A-Za-z0-9+/_-]{2,})*[A-Za-z0-9+/_-]*={0,6}")


class _Open:
    """A rule or pattern whose gate a text opens: where a hit may begin in it."""

    __slots__ = ("_next", "_shapes", "_text", "_words", "number")

    def __init__(self, number: int, shapes: list[tuple[Any, int]], text: str | bytes, words: list[int] | None) -> None:
        self.number = number
        self._shapes, self._text, self._words = shapes, text, words
        self._next = [(1, 0)] * len(shapes)  # from the first place on there is nothing before the second

    def meets(self, low: int, end: int) -> bool:
        """Return whether a hit may end behind ``low`` and begin before ``end``."""
        if not self._shapes:
            return True
        for at, (shape, more) in enumerate(self._shapes):
            first = max(0, low - more)
            if self._words is not None:
                word = bisect.bisect_left(self._words, first - _BEFORE)
                if word == len(self._words) or self._words[word] >= end:
                    continue
            known, place = self._next[at]
            if not known <= first <= place:
                match = shape.search(self._text, first)
                place = match.start() if match else _FAR
                self._next[at] = (first, place)
            if place < end:
                return True
        return False


class Reading:
    """Where in one text something may be found.

    ``silent``: nowhere, in no part of it. ``silent_uncut``: the same for parts that are not cut within a word.
    """

    def __init__(
        self, screen: Screen, folded: str, blanked: str, opened: list[_Open], suspects: _Zones, uncut: _Zones
    ) -> None:
        self._screen, self._folded, self._blanked = screen, folded, blanked
        self._opened = opened
        self._suspects, self._uncut = suspects, uncut
        self.silent_uncut = not opened and not suspects.starts
        self.silent = self.silent_uncut and not uncut.starts

    def __repr__(self) -> str:
        return f"Reading({len(self._opened)} rules and patterns)"

    def candidates(self, text: str, start: int, offset: int, end: int) -> list[Hit] | None:
        """Return the hits that end behind ``offset`` and what they overlap, None where all must be looked at.

        ``text``: the part from ``start`` to ``end`` as it was given; the offsets of the hits count from ``start``.
        """
        if self._read_otherwise(start, end) and len(views(text)) > 1:
            return None
        low = offset
        while True:
            found: list[Hit] = []
            for opened in self._opened:
                if opened.meets(low, end):
                    shown = self._folded if self._screen.is_folded(opened.number) else self._blanked
                    found += self._screen.run(opened.number, shown[start:end], low - start)
            found = [hit for hit in found if start + hit.end > low]
            first = min((start + hit.start for hit in found), default=low)
            if first >= low:
                return found
            low = first  # what overlaps a hit that counts is looked for too

    def _read_otherwise(self, start: int, end: int) -> bool:
        if self._suspects.starts and self._suspects.meet(start, end):
            return True
        return bool(self._uncut.starts) and (self._uncut.cut(start) or self._uncut.cut(end))


def screen_of(guard: Any) -> Screen | None:
    """Return the screen of ``guard``, None for one whose findings rest on more than rules and patterns."""
    if type(guard) is not TextGuard:
        return None
    if guard not in _SCREENS:
        if guard.custom or guard._finders or guard._listed is not None or guard._engine.user:
            return None
        engine = guard._engine
        given = [*(rule.entities for rule in engine.rules), *(p.recognizer.supported_entities for p in engine.patterns)]
        if any("PERSON" in entities for entities in given):  # people are looked for again where they were found
            return None
        _SCREENS[guard] = Screen(guard)
    return _SCREENS[guard]


def screen_for(looker: Any) -> Screen | None:
    """Return the screen of what finds what a reply may not hold: a guard, or a policy's view of one."""
    if type(looker) is TextGuard:
        return screen_of(looker)
    found = getattr(looker, "screen", None)
    return found if isinstance(found, Screen) else None


def decided(looker: Any, text: str, hits: Iterable[Hit], skip: Container[str]) -> list[Hit]:
    """Return what of ``hits``, found in ``text``, counts for ``looker``, as its ``detect`` does."""
    if type(looker) is TextGuard:
        return resolve(hit for hit in hits if hit.entity not in skip)
    found: list[Hit] = looker.decided(text, hits, skip=skip)
    return found


@functools.cache
def _any_word(words: frozenset[str]) -> re.Pattern[str]:
    """Return what finds where one of ``words`` begins, also those that begin in others."""
    return re.compile(f"(?={'|'.join(map(re.escape, sorted(words)))})")


def _of_rule(rule: Rule) -> _Looked:
    try:
        gate, width = _loosened("|".join(f"(?:{gate})" for gate in rule.gate)) if rule.gate else ("", 0)
        if rule.shapes and gate:
            return _Looked(rule, gate, tuple(_shaped(shape, behind) for shape, behind in rule.shapes))
    except (UnableError, re.error, OverflowError, RecursionError):
        return _Looked(rule, "", ())
    behind = margin_behind(rule)
    return _Looked(rule, gate, ((gate, width + (_FAR if behind is None else behind)),))


def _of_pattern(pattern: CompiledPattern, threshold: float) -> _Looked:
    gate = pattern.prefilter.any
    if gate is None:
        return _Looked(pattern, "", ())
    words = pattern.context if pattern.unchecked and pattern.score < threshold else frozenset()
    try:
        width = _width(_parse(gate.inside))
    except (UnableError, re.error, OverflowError, RecursionError):
        width = _FAR
    return _Looked(pattern, gate.inside, ((gate.inside, width),), words)


def _shaped(shape: str, behind: int) -> tuple[str, int]:
    found = prefilter(shape, 0)
    if found.any is None:
        raise UnableError(found.reason)
    return found.any.inside, _width(_parse(found.any.inside)) + behind


def _loosened(gate: str) -> tuple[str, int]:
    """Return a pattern that matches within each match of ``gate``, wherever a text is cut, and the widest of these."""
    tree = _parse(gate)
    return Translation(_CLAMP, ascii_only=False).whole(tree, tree.state.flags)[0], _width(tree)


def _width(tree: Any) -> int:
    width = int(tree.getwidth()[1])
    return _FAR if width >= min(int(c.MAXREPEAT), 1 << 20) else width
