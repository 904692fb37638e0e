"""The words of the content filter: severities, categories and what they forgive, hits, judgements."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CATEGORIES", "EXCEPTIONS", "SEVERITIES", "Category", "ContentHit", "Judgement", "lowered"]

SEVERITIES = ("none", "low", "medium", "high", "critical")
"""From harmless to never acceptable; ``none`` is what an exception leaves of a forgiven hit."""

EXCEPTIONS = {
    "counter_speech": 4,
    "negation": 4,
    "medical": 4,
    "education": 2,
    "quotation": 1,
    "reclaimed": 1,
}
"""By how many severities a context that a category accepts lowers a hit."""


class Category(NamedTuple):
    """A policy category: the severity of its words where they say none, what it forgives, and how far.

    ``exceptions``: names of ``EXCEPTIONS`` that count for it. ``floor``: lowest severity that an
    exception can leave.
    """

    severity: str
    exceptions: frozenset[str] = frozenset(EXCEPTIONS) - {"reclaimed"}
    floor: str = "none"


_SPEECH = frozenset({"counter_speech", "negation", "education", "quotation"})
_SLUR = frozenset({"counter_speech", "quotation", "reclaimed"})

CATEGORIES: dict[str, Category] = {
    "self_harm": Category("high"),
    "violence": Category("high"),
    "weapons": Category("medium"),
    "sexual": Category("medium"),
    "sexual_minors": Category("critical", _SPEECH - {"negation", "quotation"}, "medium"),
    "hate": Category("high", _SLUR),
    "harassment": Category("medium", _SPEECH),
    "illegal_drugs": Category("medium"),
    "extremism": Category("high", _SPEECH),
    "fraud": Category("medium", _SPEECH),
    "privacy_violation": Category("medium", _SPEECH),
    "malware": Category("medium", _SPEECH),
    "political_sensitive": Category("medium", _SPEECH),
    "profanity": Category("medium", _SPEECH - {"negation"}),
    "discrimination_race": Category("high", _SLUR),
    "discrimination_gender": Category("medium", _SLUR),
    "discrimination_orientation": Category("high", _SLUR),
    "discrimination_religion": Category("high", _SLUR),
    "discrimination_region": Category("medium", _SLUR),
    "discrimination_disability": Category("medium", _SLUR),
    "discrimination_age": Category("low", _SLUR),
    "toxicity": Category("medium", frozenset()),
}
"""The categories that exist without a user's list; ``political_sensitive`` has no words of ours,
``toxicity`` is what the linear model gives."""


class ContentHit(NamedTuple):
    """A place where a list or the model found something; offsets in code points of the original.

    ``severity``: after the exception, if one applies, one of ``SEVERITIES``. ``rule``:
    ``<list>/<form>``, where the form says how the word was written: ``plain``, ``inflected``, ``spaced``,
    ``repeated``, ``leet``, ``masked``, ``variant`` (traditional), ``lookalike``, ``split`` (into
    components), ``pinyin``, ``initials``, ``homophone``; or ``model/<language>``. ``exception``: one of
    ``EXCEPTIONS`` or None.
    """

    category: str
    severity: str
    start: int
    end: int
    rule: str
    exception: str | None = None


class Judgement(NamedTuple):
    """What the filter says of a text: ``hit``, ``clean``, or ``unknown`` where it cannot judge.

    ``hits``: all of them in text order, those that stay under the threshold too. ``reason``: why the
    outcome is unknown (``empty``, ``too_long``, ``script``, ``language``, ``symbols``, ``opaque``,
    ``too_many``, ``model``), else ``""``. Holds places and rules, never the text.
    """

    outcome: str
    hits: tuple[ContentHit, ...] = ()
    reason: str = ""


def lowered(category: Category, severity: str, exception: str) -> str:
    """Return the severity that an exception leaves; never below the category's floor, never raised."""
    level = SEVERITIES.index(severity)
    floor = min(SEVERITIES.index(category.floor), level)
    return SEVERITIES[max(floor, level - EXCEPTIONS[exception])]
