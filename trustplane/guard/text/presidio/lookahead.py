"""Look-aheads at the head of a pattern that scan to the end of the text, taken out and answered once per text."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["take_out"]

_HEAD = re.compile(r"(?:\\b|\((?:\?:)?(?!\?))*")
_CLASS = r"(?:\[\^?[^\[\]\\]+\]|\\[dws]|[A-Za-z0-9])(?:\{\d+\})?"
_NOT_ONCE = re.compile(r"\||\)[*+?{]")
"""Alternatives and repeated groups: in them the head need not stand where the match starts."""
_AHEAD = re.compile(rf"\(\?=\.\*\??((?:{_CLASS})+)\)")


def take_out(pattern: str, flags: int) -> tuple[str, list[Any]]:
    """Return ``pattern`` without such look-aheads, and for each its body compiled to search from the right.

    ``(?=.*?X)`` where a match starts and ``.`` takes any character says: X occurs at or after this place. X has a
    fixed length, so this holds at every place up to the last occurrence of X and at none behind it; the matches of
    the pattern are therefore those of the rest, in the same order, up to the first that starts behind.
    """
    import regex  # type: ignore[import-untyped]

    if not flags & regex.DOTALL or _NOT_ONCE.search(pattern):
        return pattern, []
    found: list[Any] = []
    head = _HEAD.match(pattern)
    position = head.end() if head else 0
    while ahead := _AHEAD.match(pattern, position):
        found.append(regex.compile(f"(?r){ahead.group(1)}", flags))
        pattern = pattern[:position] + pattern[ahead.end() :]
    return pattern, found
