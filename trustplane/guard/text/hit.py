"""The words of the room: a hit says where which rule found what, a rule says what it finds and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Hit", "Rule"]


class Hit(NamedTuple):
    """A place where a rule found something; ``start`` and ``end`` are offsets in code points.

    ``entity``: what it is (``CREDIT_CARD``, Presidio's name where Presidio has one). ``score``: 0..1.
    ``rule``: id of the rule that found it (``own/card``, ``presidio/EmailRecognizer``).
    Rules give offsets in the view that they were given; the guard gives offsets in the original.
    """

    entity: str
    start: int
    end: int
    score: float
    rule: str = ""


class Rule(NamedTuple):
    """A rule: what it finds, its version (raised whenever a result may change) and how it searches.

    ``id``: ``own/<name>``. ``search``: view text → hits in that view, in any order, overlaps allowed;
    a pure function that is safe in many threads and takes linear time. ``entities``: what it may give.
    ``gate``: RE2 patterns; the rule runs only on a text that one of them matches, so together they must
    match (unanchored) every text in which ``search`` finds something; empty means it always runs.
    ``view``: ``folded`` (NFKC, ASCII digits, nothing invisible) or ``latin`` (the same with each CJK
    character blanked, for patterns that rely on word boundaries).
    ``locales``: ISO 3166 codes of the countries for which the rule is on; empty means everywhere.
    ``kind``: ``personal``, ``secret``. ``source``: where the format is defined. ``examples``: texts in which
    the rule finds its entity; each is a published test value or one made with the check digit computed.
    ``reach``: how many characters a hit and the context that it looks at span at most.
    ``shapes``: patterns (Python's), each with a number of characters: every hit ends within a match of one of them
    or at most so far behind it; empty means that no more is known than the gates tell.
    """

    id: str
    version: str
    entities: tuple[str, ...]
    search: Callable[[str], Iterator[Hit]]
    gate: tuple[str, ...] = ()
    view: str = "folded"
    locales: frozenset[str] = frozenset()
    kind: str = "personal"
    source: str = ""
    examples: tuple[str, ...] = ()
    reach: int = 256
    shapes: tuple[tuple[str, int], ...] = ()
