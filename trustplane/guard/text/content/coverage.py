"""Coverage: whether a text is one that the filter can judge at all."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

import numpy as np

from trustplane.guard.text.content.characters import codes, table_lines, tables

__all__ = ["MAX_CHARACTERS", "blind_spot"]

MAX_CHARACTERS = 4 * 2**20
"""Longest text that is judged, in characters."""
SAMPLE = 1 << 16
"""Characters from which script and language are estimated."""
_WORD = re.compile(r"[^\W\d_]{1,40}+")
_MANY = 14
"""Words from which a text without one common English word counts as another language."""


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    return frozenset(word for line in table_lines("common_en.txt") for word in line.split())


def blind_spot(text: str, languages: Collection[str]) -> str:
    """Return why a text cannot be judged clean, ``""`` where it can.

    ``empty``, ``script`` (letters of scripts that no list covers), ``symbols`` (hardly a letter),
    ``opaque`` (long unbroken runs, as of encoded data), ``language`` (Latin letters, but no English).
    """
    if not text or text.isspace():
        return "empty"
    points = codes(text[:SAMPLE])
    plain = tables().plain[np.minimum(points, 0x1FFFF)]
    han = int(np.count_nonzero(((plain >= 0x3400) & (plain <= 0x9FFF)) | ((points >= 0x20000) & (points < 0x32400))))
    written = (points < 0x250) | ((points >= 0x1E00) & (points < 0x1F00)) | ((points >= 0xFF21) & (points < 0xFF5B))
    latin = int(np.count_nonzero(written & (plain >= ord("a"))))
    digits = int(np.count_nonzero((plain >= ord("0")) & (plain <= ord("9"))))
    other = int(np.count_nonzero(plain)) - han - latin - digits
    covered = (han if "zh" in languages else 0) + (latin if "en" in languages else 0)
    if covered < other + (han + latin - covered):
        return "script"
    visible = int(np.count_nonzero((points > 0x20) & (points != 0xA0)))
    if visible >= 8 and (covered + digits) * 2 < visible:
        return "symbols"
    if not covered and not digits:
        return "symbols" if visible else "empty"
    if "en" in languages and latin > han:
        words = _WORD.findall(text[:SAMPLE])
        if latin > 64 and sum(len(word) for word in words if len(word) > 24 and word.isascii()) * 2 > latin:
            return "opaque"
        marked = sum(not word.isascii() for word in words if len(word) > 1)
        if (len(words) >= _MANY or marked * 4 >= len(words) > 2) and _common().isdisjoint(w.lower() for w in words):
            return "language"
    return ""
