"""How values become words: typed, and with nothing in them that a reader cannot see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from trustplane.errors import InputError

__all__ = ["Part", "fill", "shown", "visible"]

Part = tuple[bool, str]
"""(is it a value, text): a sentence is a list of parts; values are kept apart from our own words."""

UNSEEN = (
    "\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u3000\u3164\ud800-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff"
)
"""Controls, bidi controls, zero-width and odd spaces, variation selectors, tags, private use, surrogates."""
_UNSEEN = re.compile(rf"[{UNSEEN}]|\\(?=u\{{)|(?<=[\u0300-\u036f])[\u0300-\u036f]+")
_SLOT = re.compile(r"\{([a-z0-9_]+)(?:\|([^|{}]*)\|([^|{}]*))?\}")
MAX_WORDS = 40
"""Longest list in a sentence; the rest is counted."""


def visible(text: str) -> str:
    r"""Return ``text`` with each character that cannot be seen as ``\u{202E}``; no two texts come out alike."""
    return _UNSEEN.sub(lambda m: "".join(f"\\u{{{ord(c):04X}}}" for c in m.group()), text)


def _date(microseconds: int) -> str:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} µs"
    return f"{moment.year:04}-{moment.month:02}-{moment.day:02} {moment.hour:02}:{moment.minute:02}:{moment.second:02}Z"


def _decimal(value: int) -> str:
    whole, rest = divmod(abs(value), 1_000_000)
    digits = f"{rest:06}".rstrip("0") or "0"
    return f"{'-' if value < 0 else ''}{whole}.{digits}"


def _listed(items: list[str], units: Mapping[str, str]) -> str:
    text = units["join"].join(items[:MAX_WORDS])
    return text + units["more"].replace("#", f"{len(items) - MAX_WORDS:,}") if len(items) > MAX_WORDS else text


def shown(value: Any, kind: str, units: Mapping[str, str]) -> str:
    """Return a value in words. ``kind``: integer, date, micro, percent, seconds, words, tally, text or "".

    ``units``: the words of a language for joining, quoting and counting on, from the catalogue.

    Raises:
        InputError: the value is not of that kind.
    """
    if type(value) is int:
        if kind == "date":
            return _date(value)
        if kind == "micro":
            return _decimal(value)
        if kind == "percent":
            return f"{(value + 500) // 1000 // 10}.{(value + 500) // 1000 % 10} %"
        if kind == "seconds":
            days, rest = divmod(value, 86_400)
            return units["seconds"].replace("#", f"{value:,}") if rest else units["days"].replace("#", f"{days:,}")
        if kind in ("", "integer"):
            return f"{value:,}"
    elif isinstance(value, str) and kind in ("", "text"):
        return visible(value)
    elif isinstance(value, list) and kind in ("", "words"):
        return _listed([units["quote"].replace("#", visible(str(item))) for item in value], units)
    elif isinstance(value, dict) and kind in ("", "tally"):
        return _listed([f"{visible(name)} {number:,}" for name, number in value.items()], units)
    raise InputError(f"the catalogue shows a {type(value).__name__} as {kind or 'text'}")


def fill(template: str, values: Mapping[str, Any], kinds: Mapping[str, str], units: Mapping[str, str]) -> list[Part]:
    """Return the sentence: each ``{name}`` filled with its value, ``{name|one|many}`` with value and noun."""
    parts: list[Part] = []
    at = 0
    for slot in _SLOT.finditer(template):
        name, one, many = slot.groups()
        if name not in values or values[name] is None:
            raise InputError(f"the catalogue's sentence has no value for {name!r}")
        parts.append((False, template[at : slot.start()]))
        parts.append((True, shown(values[name], kinds.get(name, ""), units)))
        if one is not None:
            parts.append((False, " " + (one if values[name] == 1 else many)))
        at = slot.end()
    parts.append((False, template[at:]))
    return [part for part in parts if part[1]]
