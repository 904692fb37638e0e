"""Words beside a value that say what it is, and rules made of a pattern, a check and such words."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import re2

from trustplane.guard.text.hit import Hit

__all__ = ["EMPHASIS", "EMPHASIS_END", "Words", "is_emphasis", "seek"]

EMPHASIS = r"(?:(?<=_)(?<!\w_)|(?<=__)(?<!\w__))"
EMPHASIS_END = r"(?=__?(?!\w))"
"""Places in a pattern right after the ``_`` or ``__`` that opens Markdown's emphasis, right before one that ends it."""
_OPENED, _CLOSED = re.compile(r"(?:^|[^A-Za-z0-9_])__?\Z"), re.compile(r"__?(?![A-Za-z0-9_])")


def is_emphasis(text: str, start: int, end: int) -> bool:
    """Return whether Markdown's ``_`` or ``__`` stands on both sides of a value, and nothing that they would join."""
    if text[start - 1 : start] != "_" or text[end : end + 1] != "_":
        return False
    return bool(_OPENED.search(text[max(0, start - 3) : start]) and _CLOSED.match(text, end))


class Words:
    """Words that raise a score where one stands near a value, whatever the case.

    ``words``: literals; where one begins or ends with an ASCII letter, no ASCII letter may stand beside it.
    """

    def __init__(self, *words: str) -> None:
        self.words = words

    def __repr__(self) -> str:
        return f"Words({len(self.words)})"

    @functools.cached_property
    def _set(self) -> Callable[[bytes], Any]:
        """Return the search of a set of two: the words, and the empty pattern, which says that RE2 did not give up."""
        words = re2.Set.SearchSet()
        words.Add(self._pattern)
        words.Add("")
        words.Compile()
        match: Callable[[bytes], Any] = words.Match
        return match

    @property
    def _pattern(self) -> str:
        return "(?i)" + "|".join(map(_bounded, self.words))

    def _found(self, data: bytes) -> bool:
        found = self._set(data)
        return 0 in found if 1 in found else re2.search(self._pattern, data) is not None

    def near(self, text: str, start: int, end: int, before: int = 48, after: int = 24) -> bool:
        """Return whether a word stands within ``before`` characters left of ``start`` or ``after`` right of ``end``."""
        shown = text[max(0, start - before) : start + 1]
        if after:  # NUL is in no word and joins none
            shown += "\0" + text[max(0, end - 1) : end + after]
        return self._found(shown.encode("utf-8", "replace"))


def _bounded(word: str) -> str:
    left = "(?:^|[^A-Za-z])" if word[0].isascii() and word[0].isalpha() else ""
    right = "(?:[^A-Za-z]|$)" if word[-1].isascii() and word[-1].isalpha() else ""
    return left + re.escape(word).replace(r"\ ", " ") + right


def seek(
    entity: str,
    pattern: re.Pattern[str],
    score: float,
    *,
    words: Words | None = None,
    with_words: float = 0.85,
    check: Callable[[str], bool] | None = None,
    group: int | str = 0,
    before: int = 48,
    after: int = 24,
) -> Callable[[str], Iterator[Hit]]:
    """Return a search for what ``pattern`` matches and ``check`` accepts.

    ``score``: without a word near by, 0 for no hit; ``with_words``: with one. ``group``: the part that is the hit.
    """

    def search(text: str) -> Iterator[Hit]:
        for found in pattern.finditer(text):
            if check is not None and not check(found[group]):
                continue
            start, end = found.span(group)
            said = words is not None and words.near(text, start, end, before, after)
            if value := with_words if said else score:
                yield Hit(entity, start, end, value)

    return search
