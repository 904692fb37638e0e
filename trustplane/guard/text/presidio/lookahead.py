"""Look-aheads at the head of a pattern that scan without end, taken out and answered once per text or run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from trustplane.guard.text.presidio.charset import Ranges, complement, meet, union
from trustplane.guard.text.presidio.translate import UnableError, characters

__all__ = ["Run", "take_out", "take_runs"]

_HEAD = re.compile(r"(?:\\b|\((?:\?:)?(?!\?))*")
_CLASS = r"(?:\[\^?[^\[\]\\]+\]|\\[dws]|[A-Za-z0-9])(?:\{\d+\})?"
_NOT_ONCE = re.compile(r"\||\)[*+?{]")
"""Alternatives and repeated groups: in them the head need not stand where the match starts."""
_AHEAD = re.compile(rf"\(\?=\.\*\??((?:{_CLASS})+)\)")
_SET = r"(?:\[\^?[^\[\]\\]+\]|\\[dws])"
_SHORT_AHEAD = re.compile(rf"\(\?={_SET}\{{\d+,\d+\}}\\b\)")
_RUN_AHEAD = re.compile(rf"\(\?=({_SET})\*({_SET})\)")


class Run(NamedTuple):
    """A look-ahead for a character behind any number of others: these, and the last of the former from the right."""

    through: Any
    last: Any

    def holds(self, text: str) -> Callable[[int], bool]:
        """Return whether the look-ahead holds at an offset of ``text``; offsets must rise. Linear for all of them."""
        end = at = -1

        def holds(start: int) -> bool:
            nonlocal end, at
            if start >= end:
                end = self.through.match(text, start).end()
                found = self.last.search(text, start, end + 1)
                at = found.start() if found else -1
            return at >= start

        return holds


def take_runs(pattern: str, flags: int) -> tuple[str, list[Run]]:
    """Return ``pattern`` without look-aheads ``(?=C*X)`` of two classes at its head, and these.

    Only where all that a match takes is of ``C``. A match of the rest at a place where the look-ahead does not hold
    then hides no other: in it no place has an ``X`` ahead that the first has not.
    """
    import regex  # type: ignore[import-untyped]

    if _NOT_ONCE.search(pattern):
        return pattern, []
    found: list[Run] = []
    head = _HEAD.match(pattern)
    position = head.end() if head else 0
    rest, kept = pattern[position:], pattern[:position]
    while ahead := _RUN_AHEAD.match(rest) or _SHORT_AHEAD.match(rest):
        rest = rest[ahead.end() :]
        if ahead.re is _SHORT_AHEAD:
            kept += ahead[0]
            continue
        through, last = ahead.groups()
        found.append(Run(regex.compile(f"{through}*+", flags), regex.compile(f"(?r){last}", flags)))
        if not _is_of(rest, through, flags):
            return pattern, []
    return kept + rest, found


def _is_of(pattern: str, through: str, flags: int) -> bool:
    """Return whether all characters that ``pattern`` takes are of the class ``through``; case counts here."""
    import re._parser as parser  # type: ignore[import-not-found]

    kept = re.RegexFlag(flags & (re.VERBOSE | re.DOTALL))
    try:
        taken = union(_taken(parser.parse(_RUN_AHEAD.sub("", pattern), int(kept)), int(kept)))
        (op, argument), *_ = parser.parse(through, int(kept))
        return not meet(taken, complement(characters(op, argument, int(kept), surely=True)))
    except (UnableError, re.error, OverflowError, RecursionError):
        return False


def _taken(items: Any, flags: int) -> Iterator[Ranges]:
    import re._constants as c  # type: ignore[import-not-found]

    for op, argument in items:
        if op in (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN):
            yield characters(op, argument, flags)
        elif op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
            yield from _taken(argument[2], flags)
        elif op is not c.AT:
            raise UnableError("more than classes and repeats")


def take_out(pattern: str, flags: int) -> tuple[str, list[Any]]:
    """Return ``pattern`` without such look-aheads, and for each its body compiled to search from the right.

    ``(?=.*?X)`` where a match starts and ``.`` takes any character says: X occurs at or after this place. X has a
    fixed length, so this holds at every place up to the last occurrence of X and at none behind it; the matches of
    the pattern are therefore those of the rest, in the same order, up to the first that starts behind.
    """
    import regex

    if not flags & regex.DOTALL or _NOT_ONCE.search(pattern):
        return pattern, []
    found: list[Any] = []
    head = _HEAD.match(pattern)
    position = head.end() if head else 0
    while ahead := _AHEAD.match(pattern, position):
        found.append(regex.compile(f"(?r){ahead.group(1)}", flags))
        pattern = pattern[:position] + pattern[ahead.end() :]
    return pattern, found
