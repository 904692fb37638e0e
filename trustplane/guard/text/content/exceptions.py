"""Exceptions: what stands around a hit and makes it less than it seems: quoting, refusing, treating, teaching."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from trustplane.guard.text.content.characters import table_lines

__all__ = ["exceptions_at"]

BEFORE, AFTER = 96, 72
"""Characters before and after a hit in which its context is looked for."""

_SENTENCE = re.compile(r"[.!?。！？\n;；](?:\s|$|(?<=[。！？；\n]))")
_QUOTES = {'"': '"', "“": "”", "‘": "’", "「": "」", "『": "』", "«": "»", "《": "》", "'": "'", "`": "`"}
_SECTION = re.compile(r"\[(\w+)\]\Z")


@lru_cache(maxsize=1)
def _cues() -> dict[str, re.Pattern[str]]:
    """Return one expression for each section of ``cues.txt``."""
    parts: dict[str, list[str]] = {}
    for line in table_lines("cues.txt"):
        if section := _SECTION.match(line):
            cues = parts.setdefault(section[1], [])
        else:
            cues.append(rf"\b(?:{line})\b" if line.isascii() else line)
    ends = {
        "negation": r"(?:(?<=[a-z])(?:\W+\w{1,12}){0,4}\W{1,3}|(?<![a-z])[\w\s]{0,3})\Z",
        "reclaimed": r"\W{0,3}(?:\w+\W+){0,2}\w{0,4}\Z",
    }
    return {
        name: re.compile("(?:" + "|".join(cues) + ")" + ends.get(name, ""), re.IGNORECASE)
        for name, cues in parts.items()
    }


def exceptions_at(text: str, start: int, end: int, category: str, *, reclaimed: bool = False) -> Iterator[str]:
    """Yield the names of ``EXCEPTIONS`` that the context of ``text[start:end]`` speaks for.

    ``text``: folded. Looks at a bounded window, so the time does not depend on the text. A heuristic:
    it knows the usual English and Chinese phrases and no grammar.
    """
    before = text[max(0, start - BEFORE) : start]
    after = text[end : end + AFTER]
    stop = _SENTENCE.search(after)
    here = after[: stop.end()] if stop else after
    earlier = list(_SENTENCE.finditer(before))
    clause = before[earlier[-1].end() :] if earlier else before
    around = clause + "\0" + here
    cues = _cues()
    if cues["counter_speech"].search(around):
        yield "counter_speech"
    turned = cues["turned"].search(clause)
    if not turned and cues["negation"].search(re.split(r"[,，、]|\bbut\b|但", clause)[-1]):
        yield "negation"
    if cues["medical"].search(around):
        yield "medical"
    if cues["education"].search(around):
        yield "education"
    if _quoted(before, after) and (cues["said"].search(before) or cues["said"].search(after)):
        yield "quotation"
    if reclaimed and cues["reclaimed"].search(clause) and category != "harassment":
        yield "reclaimed"


def _quoted(before: str, after: str) -> bool:
    """Whether a quotation mark is open before and closed after."""
    for mark, closing in _QUOTES.items():
        place = before.rfind(mark)
        if place < 0 or closing not in after:
            continue
        if mark == "'" and (place and before[place - 1].isalnum()):
            continue
        if mark == closing and before.count(mark) % 2 == 0:
            continue
        if mark != closing and before.rfind(closing) > place:
            continue
        return True
    return False
