"""Views: the ways to read one text, folded and decoded, each with the way back to the original offsets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from trustplane.guard.text.encodings import SEGMENT_GATE, SPACED_GATE, segment_edits, spaced_hex_edits
from trustplane.guard.text.escapes import escape_edits, hidden_edits, quoted_printable_edits
from trustplane.guard.text.fold import Folded, fold, fold_character, latin
from trustplane.guard.text.lookalikes import lookalike_edits
from trustplane.guard.text.spans import SEPARATOR, Edit, Spans, rewrite
from trustplane.guard.text.spelled import (
    APART_GATE,
    SPELLED_GATE,
    STOP_GATE,
    apart_edits,
    han_edits,
    spelled_edits,
    stop_edits,
)
from trustplane.guard.text.torn import TORN_GATE, torn_edits

__all__ = ["DEPTH", "VIEW_GATES", "Folded", "View", "fold", "fold_character", "latin", "views"]

DEPTH = 2
"""How many encodings inside each other are taken off."""
CUE = 64
"""How far from a value a word that gives it away may stand for a rewriting of that word to count, in characters."""
_SEGMENT, _SPACED, _SPELLED, _APART, _STOP, _QUOTED, _TORN = range(7)
_QUOTED_GATE = "[^=\\s]=\r?\n\\S|(?:=[0-9A-F]{2}){3}"
_GATES = (SEGMENT_GATE, SPACED_GATE, SPELLED_GATE, APART_GATE, STOP_GATE, _QUOTED_GATE, TORN_GATE)

VIEW_GATES = tuple(gate for gate in _GATES if gate is not SEGMENT_GATE)
"""RE2: a text that none of these match, without runs of base64 or hex and without ``% & \\ 艾特``, reads as it is."""


class View:
    """One way to read a text: its ``text``, its ``kind`` (``folded``, ``segment<escape<folded``, ...), the way back.

    How far a view's decision at a place depends on what is around it, in characters of the original, for
    streams: ``folded``: one visible character on each side and all marks and invisible characters between.
    ``lookalike``: the word, up to 256. ``escape``, ``quoted``: the escape, up to 34, twice when nested.
    ``spelled``: 700. ``han``: 128. ``apart``: 80. ``segment``: the whole run of base64 or hex characters with
    its line breaks, of any length, so a stream must hold such a run back or judge it as whole.
    ``torn``: the characters dropped and one on each side. ``hidden``: the run of tags or selectors, 4096 reversed.
    Each decoded view keeps 128 to 256 characters of context around what it decodes.
    """

    __slots__ = ("_own", "_spans", "alike", "han", "kind", "text", "torn")

    def __init__(self, text: str, kind: str, spans: tuple[Spans, ...], own: int, folded: Folded) -> None:
        self.text = text
        self.kind = kind
        self._spans = spans
        self._own = own
        self.alike = folded.alike
        self.han = folded.han
        self.torn = folded.torn

    def __repr__(self) -> str:
        return f"View({self.kind}, {len(self.text)} characters)"

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the offsets in the original of a non-empty span; whole characters, escapes, groups."""
        for spans in self._spans:
            start, end = spans.span(start, end)
        return start, end

    def rewritten(self, start: int, end: int) -> bool:
        """Return whether the span, or a cue beside it, holds what this view, and not the one it came from, shows.

        A hit for which this is false was found in an earlier view, or is an artefact of the view's edge. The
        first view shows everything.
        """
        if not self._own:
            return True
        low, high = max(0, start - CUE), min(len(self.text), end + CUE)
        left, right = self.text.rfind(SEPARATOR, low, start), self.text.find(SEPARATOR, end, high)
        start = low if left < 0 else left + len(SEPARATOR)
        end = high if right < 0 else right
        for spans in self._spans[: self._own]:
            if spans.changed(start, end):
                return True
            start, end = spans.span(start, end)
        return False


def views(text: str) -> list[View]:
    """Return the readings of ``text``: folded as a whole, then look-alikes, spelled values and decoded parts.

    Text without anything to decode gives one view. Decoded parts stand in their context; parts that stand
    far apart are separated by ``"\\n\\x00\\n"``. Up to DEPTH encodings are taken off, each followed by the same
    readings as the text itself. Work and memory are linear in the text: each step gives at most one view of
    each kind, none much longer than what it was made from.
    """
    folded = fold(text)
    first = View(folded.text, "folded", () if folded.spans is None else (folded.spans,), 0, folded)
    found = [first]
    seen = {first.text}
    level = [first]
    raw = View(text, "", (), 0, folded)
    if folded.spans is not None and (hidden := _view(raw, "hidden", hidden_edits(text))):
        found.append(hidden)
        level.append(hidden)
    if folded.torn and (torn := _view(raw, "torn", torn_edits(text))):  # folding has made some of them line breaks
        seen.add(torn.text)
        found.append(torn)
        level.append(torn)
    for depth in range(DEPTH + 1):
        below: list[View] = []
        for view in level:
            for derived, again in _derived(view, decode=depth < DEPTH):
                if derived.text in seen:
                    continue
                seen.add(derived.text)
                found.append(derived)
                if again:
                    below.append(derived)
        level = below
        if not level:
            break
    return found


def _derived(view: View, *, decode: bool) -> Iterable[tuple[View, bool]]:
    """Yield the views made from ``view``, and whether each is to be decoded again."""
    text = view.text
    gates = _gate(text)
    sources = [view]
    if view.alike and (plain := _view(view, "lookalike", lookalike_edits(text))):
        yield plain, False
        sources.append(plain)
    if (_SPELLED in gates or "艾特" in text) and (spelled := _view(view, "spelled", spelled_edits(text))):
        yield spelled, False
    if _STOP in gates and "。" in text and (stopped := _view(view, "spelled", stop_edits(text))):
        yield stopped, False
    if view.han and (han := _view(view, "han", han_edits(text))):
        yield han, False
    if _APART in gates and (apart := _view(view, "apart", apart_edits(text))):
        yield apart, False
    if (_TORN in gates or view.torn) and (torn := _view(view, "torn", torn_edits(text))):
        yield torn, True
    if not decode:
        return
    for source in sources:
        for kind, edits in _decoders(source.text, gates if source is view else _gate(source.text)):
            if decoded := _view(source, kind, edits(source.text)):
                yield decoded, True


def _decoders(text: str, gates: Iterable[int]) -> Iterable[tuple[str, Callable[[str], Iterable[Edit]]]]:
    if "%" in text or "&" in text or "\\" in text:
        yield "escape", escape_edits
    if _QUOTED in gates:
        yield "quoted", quoted_printable_edits
    if _SEGMENT in gates:
        yield "segment", segment_edits
    if _SPACED in gates:
        yield "spaced", spaced_hex_edits


def _view(source: View, kind: str, edits: Iterable[Edit]) -> View | None:
    """Return the folded view of ``source`` with ``edits`` made; nothing without any."""
    text, spans = rewrite(source.text, edits)
    if not text:
        return None
    folded = fold(text)
    own = (spans,) if folded.spans is None else (folded.spans, spans)
    return View(folded.text, f"{kind}<{source.kind}" if source.kind else kind, own + source._spans, len(own), folded)


@functools.cache
def _gates() -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    gates = re2.Set.SearchSet(options)
    for pattern in _GATES:
        gates.Add(pattern)
    gates.Compile()
    return gates


def _gate(text: str) -> frozenset[int]:
    """Return which of the gates match ``text``; what is not ASCII is read as ``?``."""
    return frozenset(_gates().Match(text.encode("ascii", "replace")) or ())
