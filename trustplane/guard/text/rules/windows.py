"""Searching only where a rule's gate matches: the slow pattern sees a window, never the whole text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import re2

from trustplane.guard.text.hit import Hit, Rule

__all__ = ["alone", "margin_behind", "windowed"]

_BEFORE, _AFTER = 112, 112
_MARGINS = {
    "own/url": (32, 2300), "own/url_credentials": (32, 2300), "own/address": (128, 288),
    "own/crypto_monero": (16, 160), "own/cn_address": (96, 192),
    "own/cn_mobile": (8, 24), "own/credit_card": (64, 40), "own/iban": (4, 80), "own/ip": (32, 96),
    "own/phone": (64, 64), "own/phone_international": (64, 64), "own/phone_said": (64, 64),
}  # fmt: skip
"""Characters before and after a match of the gate that a hit and its context may reach.

A card's words stand at most 48 characters before it and 24 behind it, and so do those of a phone number, which may
have an extension of up to 26 characters; an IBAN has at most 34 characters, each with a separator.
"""


_ANCHORED = {"own/email"}
"""Rules that go from place to place themselves."""


def alone(shape: str) -> str:
    """Return a gate for ``shape`` (RE2) with no ASCII letter or digit beside it."""
    return f"(?:^|[^A-Za-z0-9])(?:{shape})(?:[^A-Za-z0-9]|$)"


def windowed(rule: Rule) -> Rule:
    """Return ``rule`` with a search that gives the same hits and looks only around the matches of its gates.

    Each hit holds a match of a gate or has one in its context, so what lies farther away cannot matter. Takes time
    linear in the text: RE2 finds the places, windows that touch are one.
    """
    before, after = _MARGINS.get(rule.id, (_BEFORE, _AFTER))
    inner = rule.search

    @functools.cache
    def places() -> Callable[[str | bytes], Iterator[Any]]:
        found: Callable[[str | bytes], Iterator[Any]] = re2.compile("|".join(f"(?:{g})" for g in rule.gate)).finditer
        return found

    def search(text: str, since: int = 0) -> Iterator[Hit]:
        try:  # bytes of an ASCII text are its characters, and RE2 gives them faster
            spans = [match.span() for match in places()(text.encode("ascii") if text.isascii() else text)]
        except UnicodeEncodeError:  # a lone surrogate: no UTF-8 for RE2
            yield from inner(text)
            return
        at = 0
        while at < len(spans):
            low, high = max(0, spans[at][0] - before), spans[at][1] + after
            at += 1
            while at < len(spans) and spans[at][0] - before <= high:
                high = max(high, spans[at][1] + after)
                at += 1
            if high <= since:  # no hit here ends behind that place
                continue
            for entity, start, end, score, name in inner(text[low:high]):
                yield Hit(entity, start + low, end + low, score, name)

    return rule._replace(search=search) if rule.gate and rule.id not in _ANCHORED else rule


def margin_behind(rule: Rule) -> int | None:
    """Return how many characters behind a match of its gate a hit of ``rule`` may end, None where that is not known."""
    if not rule.gate or rule.id in _ANCHORED or getattr(rule.search, "__module__", "") != __name__:
        return None
    return _MARGINS.get(rule.id, (_BEFORE, _AFTER))[1]
