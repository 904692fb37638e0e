"""Judging: views, rules and model together say hit, clean, or that they could not judge."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from trustplane.errors import InputError
from trustplane.guard.text.injection import model, rules
from trustplane.guard.text.injection.normalise import normalise
from trustplane.guard.text.views import View, views

__all__ = ["BOUND", "SOURCES", "InjectionJudge", "Judgement", "judge"]

SOURCES: Final = ("user", "tool", "document")
BOUND: Final = 200_000
"""Characters that are read; a longer text in which nothing was found is not called clean."""
VERSION: Final = "1"
_DECIDED = 0.95
"""Score of a rule that decides alone."""
_READABLE = re.compile(r"[A-Za-z\u00c0-\u024f\u3400-\u9fff\uf900-\ufaff]")
_BLOB = re.compile(r"[A-Za-z0-9+/=_-]{120,}+")
_BROKEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\ufff0-\uffff\U000e0000-\U0010ffff]"
)
_LEAST_READABLE = 0.5
"""Share of the letters that are Latin or Han, under which the script is one that the model never saw."""
_MOST_OPAQUE = 0.5
"""Share of the text in control characters, private use, replacement characters or undecoded blobs."""


class Judgement(NamedTuple):
    """``outcome``: ``hit``, ``clean`` or ``unknown``. ``score``: 0..1, one half at the model's cut.

    ``rules``: ids of the rules that matched, sorted. ``spans``: offsets in code points of the text, disjoint,
    in order: where rules matched and, on a hit, the window that the model holds for the worst. ``reason``: why
    the outcome is unknown: ``empty``, ``too_long``, ``script``, ``opaque``. Never holds the text.
    """

    outcome: str
    score: float
    rules: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    reason: str = ""


class InjectionJudge:
    """Judges texts for prompt injection and jailbreaks, direct (``user``) and indirect (``tool``, ``document``).

    ``threshold``: score in 0..1 from which a text is a hit; None is one half, where the card beside the
    weights states the share of harmless texts that are hit. Same settings, same text: same judgement. Safe
    to share between threads. English and Chinese.

    What does not hold: this is a filter over words. Whoever may ask often enough gets past it, and it takes
    orders in other words or languages for harmless; the card gives figures. It must not be the only defence.

    Raises:
        InputError: the threshold is outside 0..1, or the guard's libraries are missing.
    """

    def __init__(self, threshold: float | None = None, weights: model.Weights | None = None) -> None:
        self.threshold = 0.5 if threshold is None else threshold
        if not 0.0 <= self.threshold <= 1.0:
            raise InputError("the threshold is outside 0..1")
        self._weights = model.weights() if weights is None else weights
        rules.search("", "user")

    def __repr__(self) -> str:
        return f"InjectionJudge(threshold={self.threshold})"

    @property
    def digest(self) -> str:
        """``version/digest of the weights``: what changes a judgement besides the threshold."""
        return f"{VERSION}/{model.weights_digest()}"

    def judge(self, text: str, *, source: str = "user") -> Judgement:
        """Return the judgement of ``text``; long texts are judged by windows, in linear time.

        Raises:
            InputError: the source is unknown.
        """
        if source not in SOURCES:
            raise InputError("the source of a text is user, tool or document")
        margin, names, places, decided = self._measure(text[:BOUND], source)
        cut = float(self._weights.cuts[model.row(source)])
        score = max(model.score(margin, cut), _DECIDED if decided else 0.0)
        if score >= self.threshold:
            return Judgement("hit", round(score, 4), names, _merged(places))
        reason = "too_long" if len(text) > BOUND else _unreadable(text)
        return Judgement("unknown" if reason else "clean", round(score, 4), names, _merged(places[1:]), reason)

    def _measure(self, text: str, source: str) -> tuple[float, tuple[str, ...], list[tuple[int, int]], bool]:
        """Return margin, ids, places (the model's window first), and whether a rule decided."""
        values = self._weights.values[model.row(source)]
        best, window = -40.0, (0, 0)
        names: dict[str, float] = {}
        places: list[tuple[int, int]] = []
        decided = False
        for view in views(text):
            normal = normalise(view.text)
            if not normal.text.strip():
                continue
            margin, start, end = model.best_window(normal.text, values)
            if margin > best:
                best, window = margin, _place(view, normal.span(start, end))
            for rule, start, end in rules.search(normal.text, source):
                if start < end:
                    names[rule.id] = rule.weight
                    decided = decided or rule.decides
                    places.append(_place(view, normal.span(start, end)))
        lift = rules.lift(names)
        return best + lift, tuple(sorted(names)), [window, *sorted(set(places))], decided


def judge(text: str, *, source: str = "user") -> Judgement:
    """Return ``InjectionJudge().judge(text, source=source)``."""
    return _default().judge(text, source=source)


@functools.cache
def _default() -> InjectionJudge:
    return InjectionJudge()


def _place(view: View, span: tuple[int, int]) -> tuple[int, int]:
    return view.span(*span)


def _merged(places: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple(_joined(sorted(place for place in places if place[0] < place[1])))


def _joined(places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    current: tuple[int, int] | None = None
    for start, end in places:
        if current is not None and start <= current[1]:
            current = (current[0], max(current[1], end))
            continue
        if current is not None:
            yield current
        current = (start, end)
    if current is not None:
        yield current


def _unreadable(text: str) -> str:
    """Return why a text without a finding cannot be called clean, ``""`` where it can."""
    if not any(map(str.isalpha, text)):
        return "empty"
    broken = 0 if text.isascii() and text.isprintable() else len(_BROKEN.findall(text))
    blobs = sum(len(found[0]) for found in _BLOB.finditer(text))
    if broken + blobs > _MOST_OPAQUE * len(text):
        return "opaque"
    foreign = not text.isascii() and len(_READABLE.findall(text)) < _LEAST_READABLE * sum(map(str.isalpha, text))
    return "script" if foreign else ""
