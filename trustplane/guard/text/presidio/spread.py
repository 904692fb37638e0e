"""Spread: how far from a digit a match of a pattern can reach, and how far its look-aheads look."""

from __future__ import annotations

import re._constants as c  # type: ignore[import-not-found]
from collections.abc import Iterable
from typing import Any, NamedTuple

from trustplane.guard.text.presidio.charset import DIGIT, Ranges, complement, meet
from trustplane.guard.text.presidio.translate import UnableError, characters

__all__ = ["Spread", "is_plain", "look_back", "spread"]

_FAR = 1 << 20
"""Stands for a length without end."""
_MOST = 64
"""A repeat of more than so many times is taken as one without end."""
_NOT_DIGIT = complement(DIGIT[0])
_KINDS: tuple[Ranges, ...] = (((48, 57),), ((65, 90),), ((97, 122),))


class Spread(NamedTuple):
    """The most characters that a match has without a digit, before its first, behind its last, between two.

    A digit is what an item takes that takes nothing else; an item that may take a letter too counts as none.
    -1: there is no such match. ``ahead``: what all look-aheads together look at.
    """

    none: int = -1
    before: int = -1
    behind: int = -1
    between: int = -1
    ahead: int = 0

    def then(self, other: Spread) -> Spread:
        """Return the spread of a match of this and, right behind it, one of ``other``."""
        return Spread(
            _sum(self.none, other.none),
            max(self.before, _sum(self.none, other.before)),
            max(other.behind, _sum(self.behind, other.none)),
            max(self.between, other.between, _sum(self.behind, other.before)),
            min(self.ahead + other.ahead, _FAR),
        )

    def either(self, other: Spread) -> Spread:
        """Return the spread of a match of this or of ``other``."""
        return Spread(
            max(self.none, other.none),
            max(self.before, other.before),
            max(self.behind, other.behind),
            max(self.between, other.between),
            min(self.ahead + other.ahead, _FAR),
        )


def _sum(one: int, other: int) -> int:
    return min(one + other, _FAR) if one >= 0 and other >= 0 else -1


_EMPTY = Spread(none=0)
_DIGIT = Spread(before=0, behind=0, between=0)
_OTHER = Spread(none=1)
_UNKNOWN = Spread(_FAR, _FAR, _FAR, _FAR, _FAR)


def spread(tree: Any, flags: int) -> Spread:
    """Return the spread of a parse tree, an upper bound of each of its figures; assertions are taken to hold."""
    return _sequence(tree, flags, {})


def _sequence(items: Iterable[Any], flags: int, groups: dict[int, Spread]) -> Spread:
    found = _EMPTY
    for op, argument in items:
        found = found.then(_item(op, argument, flags, groups))
    return found


def _item(op: Any, argument: Any, flags: int, groups: dict[int, Spread]) -> Spread:
    if op in (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN):
        try:
            return _DIGIT if _is_digit(characters(op, argument, flags)) else _OTHER
        except UnableError:
            return _OTHER
    if op is c.AT:
        return _EMPTY
    if op in (c.ASSERT, c.ASSERT_NOT):
        direction, body = argument
        inside = _sequence(body, flags, groups)
        width = min(int(body.getwidth()[1]), _FAR) if direction > 0 else 0
        return _EMPTY._replace(ahead=min(inside.ahead + width, _FAR))
    if op is c.BRANCH:
        branches = [_sequence(branch, flags, groups) for branch in argument[1]]
        found = branches[0]
        for branch in branches[1:]:
            found = found.either(branch)
        return found
    if op is c.SUBPATTERN:
        number, more, less, body = argument
        found = _sequence(body, (flags | more) & ~less, groups)
        if number is not None:
            groups[number] = found
        return found
    if op is c.ATOMIC_GROUP:
        return _sequence(argument, flags, groups)
    if op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
        least, most, body = argument
        return _repeat(least, most, _sequence(body, flags, groups))
    return groups.get(argument, _UNKNOWN) if op is c.GROUPREF else _UNKNOWN


def _repeat(least: int, most: Any, body: Spread) -> Spread:
    if most is c.MAXREPEAT or most > _MOST:
        if body.none > 0:
            far = _FAR if body.before >= 0 else -1  # there is a digit in it, or there is none
            return Spread(_FAR, far, far, far, body.ahead)
        found = body.either(body.then(body))  # digits without end: a third time adds nothing new
        return found if least else found.either(_EMPTY)
    found = _EMPTY
    for time in range(most):
        longer = found.then(body)
        found = longer if time < least else longer.either(found)
    return found


def _is_digit(ranges: Ranges) -> bool:
    return bool(ranges) and not meet(ranges, _NOT_DIGIT)


def is_plain(items: Iterable[Any], flags: int) -> bool:
    """Return whether no part tells one digit from another, nor one small letter or one capital from another."""
    return all(_is_plain(op, argument, flags) for op, argument in items)


def _is_plain(op: Any, argument: Any, flags: int) -> bool:
    if op in (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN):
        try:
            ranges = characters(op, argument, flags)
        except UnableError:
            return False
        return all(meet(ranges, kind) in ((), kind) for kind in _KINDS)
    if op is c.AT:
        return True
    if op in (c.ASSERT, c.ASSERT_NOT):
        return is_plain(argument[1], flags)
    if op is c.BRANCH:
        return all(is_plain(branch, flags) for branch in argument[1])
    if op is c.SUBPATTERN:
        return is_plain(argument[3], (flags | argument[1]) & ~argument[2])
    if op is c.ATOMIC_GROUP:
        return is_plain(argument, flags)
    return op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT) and is_plain(argument[2], flags)


def look_back(items: Iterable[Any]) -> int:
    """Return how many characters all look-behinds together look at, an upper bound."""
    found = 0
    for op, argument in items:
        if op in (c.ASSERT, c.ASSERT_NOT):
            found += look_back(argument[1]) + (int(argument[1].getwidth()[1]) if argument[0] < 0 else 0)
        elif op is c.BRANCH:
            found += sum(map(look_back, argument[1]))
        elif op is c.SUBPATTERN:
            found += look_back(argument[3])
        elif op is c.ATOMIC_GROUP:
            found += look_back(argument)
        elif op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
            found += look_back(argument[2])
        elif op is c.GROUPREF_EXISTS:
            found += look_back(argument[1]) + look_back(argument[2] or ())
    return min(found, _FAR)
