"""Translation: a parse tree of the standard library's walked into an RE2 pattern that matches at least as much."""

from __future__ import annotations

import re
import re._constants as c  # type: ignore[import-not-found]
from collections.abc import Iterable, Sequence
from typing import Any

from trustplane.guard.text.presidio.charset import (
    ANY,
    ASCII,
    DIGIT,
    SPACE,
    WORD,
    Ranges,
    char_class,
    complement,
    fold_case,
    meet,
    union,
)

__all__ = ["FAR", "Translation", "UnableError", "characters"]

_CLASSES = {
    c.CATEGORY_DIGIT: DIGIT,
    c.CATEGORY_SPACE: SPACE,
    c.CATEGORY_WORD: WORD,
    c.CATEGORY_NOT_DIGIT: (complement(DIGIT[1]), complement(DIGIT[0])),
    c.CATEGORY_NOT_SPACE: (complement(SPACE[1]), complement(SPACE[0])),
    c.CATEGORY_NOT_WORD: (complement(WORD[1]), complement(WORD[0])),
}
FAR = 256
"""Characters that a look-behind without end sees."""
_ZERO_WIDTH = (c.AT, c.ASSERT, c.ASSERT_NOT)
_NEVER = "[^\\x{0}-\\x{10ffff}]"


class UnableError(Exception):
    """RE2 cannot take the pattern; the message says why and holds no part of the pattern."""


class Translation:
    """One walk over a parse tree; gathers the alphabet and the needs on the way.

    ``alphabet``: sets of characters that a match and its look-aheads can run through. ``needs``: patterns that
    match in each text in which the tree does. ``risky``: repeats stand inside repeats. ``far_behind``: a look-behind
    can go back without end.

    ``ascii_only``: for texts of ASCII characters alone, where RE2's ``\\b`` is Python's.
    """

    def __init__(self, clamp: int, *, ascii_only: bool) -> None:
        self._clamp = clamp
        self._ascii = ascii_only
        self._groups: dict[int, str] = {}
        self._depth = 0
        self.alphabet: list[Ranges] = []
        self.needs: list[str] = []
        self.risky = False
        self.far_behind = False

    def whole(self, tree: Any, flags: int) -> tuple[str, str]:
        """Return the pattern for a match's span, and the one for a text: the same with neighbours where ASCII.

        At the head and the tail, where nothing else looks at the neighbour, "not behind x" is "behind the start
        or another character than x". It takes that character along, so it serves for texts, not for spans.
        """
        items = list(tree)
        inside = self.sequence(items, flags, top=True)
        if not self._ascii:
            return inside, inside
        first = next(i for i, item in enumerate(items) if not _is_edge(item))
        last = next(i for i in range(len(items), 0, -1) if not _is_edge(items[i - 1]))
        before = self._neighbour(items[:first], flags, -1)
        after = self._neighbour(items[last:], flags, 1)
        return inside, f"{before}{inside}{after}"

    def _neighbour(self, edge: Sequence[Any], flags: int, direction: int) -> str:
        """Return one neighbour that ``edge`` asks for, as a pattern; empty when none or not simple."""
        for op, argument in edge:
            if op is c.SUBPATTERN:
                found = self._neighbour(list(argument[3]), (flags | argument[1]) & ~argument[2], direction)
            elif op is c.BRANCH:
                parts = [self._neighbour(list(branch), flags, direction) for branch in argument[1]]
                found = f"(?:{'|'.join(parts)})" if all(parts) else ""
            elif op is c.AT:
                found = self._at(argument, flags) if argument not in _BOUNDARIES else ""
            elif argument[0] == direction:
                found = self._beside(op, list(argument[1]), flags, direction)
            else:
                found = ""
            if found:
                return found
        return ""

    def _beside(self, op: Any, body: list[Any], flags: int, direction: int) -> str:
        kept = len(self.alphabet)
        try:
            if op is c.ASSERT:
                return self.sequence(body, flags)
            if len(body) != 1 or body[0][0] not in (c.LITERAL, c.NOT_LITERAL, c.IN):
                return ""
            inner, argument = body[0]
            surely = meet(characters(inner, argument, flags, surely=True), ASCII)
            return f"(?:{'^' if direction < 0 else '$'}|{char_class(meet(complement(surely), ASCII)) or _NEVER})"
        finally:
            del self.alphabet[kept:]

    def sequence(self, items: Iterable[Any], flags: int, *, top: bool = False) -> str:
        """Return ``items`` one after another; ``top``: what they need, every match needs."""
        return "".join(self._item(op, argument, flags, top) for op, argument in items)

    def _item(self, op: Any, argument: Any, flags: int, top: bool) -> str:
        if op in (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN):
            return self._one(characters(op, argument, flags))
        if op is c.AT:
            return self._at(argument, flags) if self._ascii else ""
        if op in (c.ASSERT, c.ASSERT_NOT):
            return self._look(op, argument, flags, top)
        if op is c.BRANCH:
            return "(?:" + "|".join(self.sequence(branch, flags) for branch in argument[1]) + ")"
        if op is c.SUBPATTERN:
            number, more, less, body = argument
            inner = f"(?:{self.sequence(body, (flags | more) & ~less, top=top)})"
            if number is not None:
                self._groups[number] = inner
            return inner
        if op is c.ATOMIC_GROUP:
            return f"(?:{self.sequence(argument, flags, top=top)})"
        if op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT):
            least, most, body = argument
            return self._repeat(least, most, body, flags)
        if op is c.GROUPREF and argument in self._groups:
            return self._groups[argument]
        if op is c.GROUPREF_EXISTS:
            return "(?:" + "|".join(self.sequence(branch or (), flags) for branch in argument[1:]) + ")"
        raise UnableError("a construct that is not known here")

    def _one(self, ranges: Ranges) -> str:
        self.alphabet.append(ranges)
        return self._class(meet(ranges, ASCII) if self._ascii else ranges) or _NEVER

    def _class(self, ranges: Ranges) -> str:
        return char_class(ranges)

    def _at(self, where: Any, flags: int) -> str:
        if where in (c.AT_BEGINNING, c.AT_END) and flags & re.MULTILINE:
            return "(?m:^)" if where is c.AT_BEGINNING else "(?m:$)"
        return {
            c.AT_BOUNDARY: "\\b",
            c.AT_NON_BOUNDARY: "\\B",
            c.AT_BEGINNING: "^",
            c.AT_BEGINNING_STRING: "^",
            c.AT_END_STRING: "$",
        }.get(where, "")

    def _look(self, op: Any, argument: Any, flags: int, top: bool) -> str:
        """A look-behind sees what is left of a match and is dropped; a look-ahead widens the alphabet."""
        direction, body = argument
        if direction > 0:
            ahead = self.sequence(body, flags)
            if op is c.ASSERT and top and body.getwidth()[0] > 0:
                for any_character in (char_class(ANY), char_class(ASCII)):
                    ahead = ahead.removeprefix(f"(?:{any_character})*")
                self.needs.append(ahead)
        elif body.getwidth()[1] >= c.MAXREPEAT or body.getwidth()[1] > FAR:
            self.far_behind = True
        return ""

    def _repeat(self, least: int, most: Any, body: Any, flags: int) -> str:
        self._depth += most is c.MAXREPEAT
        self.risky |= self._depth > 1
        inner = self.sequence(body, flags)
        self._depth -= most is c.MAXREPEAT
        if not inner:
            return ""
        least = min(least, self._clamp)
        if most is c.MAXREPEAT or most > self._clamp:
            times = {0: "*", 1: "+"}.get(least, f"{{{least},}}")
        elif most == 1:
            times = "" if least else "?"
        else:
            times = f"{{{least},{most}}}" if least < most else f"{{{least}}}"
        return f"(?:{inner}){times}"


_BOUNDARIES = (c.AT_BOUNDARY, c.AT_NON_BOUNDARY)


def _is_edge(item: Any) -> bool:
    """Return whether ``item`` takes no character: an anchor, a look-around, or a group of nothing else."""
    op, argument = item
    if op is c.SUBPATTERN:
        return all(map(_is_edge, argument[3]))
    if op is c.BRANCH:
        return all(_is_edge(part) for branch in argument[1] for part in branch)
    return op in _ZERO_WIDTH


def characters(op: Any, argument: Any, flags: int, *, surely: bool = False) -> Ranges:
    """Return the characters that an item may match, or those that it surely matches."""
    if op is c.ANY:
        return ANY if flags & re.DOTALL else complement(((10, 10),))
    if op is c.LITERAL:
        one: Ranges = ((argument, argument),)
        return fold_case(one) if flags & re.IGNORECASE and not surely else one
    negated = op is c.NOT_LITERAL
    items = list(argument) if op is c.IN else [(c.LITERAL, argument)]
    if items[0][0] is c.NEGATE:
        negated, items = True, items[1:]
    want_less = surely != negated
    classes = union(_part(*item)[want_less] for item in items if item[0] is c.CATEGORY)
    letters = union(_part(*item)[want_less] for item in items if item[0] is not c.CATEGORY)
    if flags & re.IGNORECASE and not want_less:
        letters = fold_case(letters)
    both = union([classes, letters])
    return complement(both) if negated else both


def _part(op: Any, argument: Any) -> tuple[Ranges, Ranges]:
    if op is c.LITERAL:
        return (((argument, argument),),) * 2
    if op is c.RANGE:
        return ((tuple(argument),),) * 2
    if op is c.CATEGORY and argument in _CLASSES:
        return _CLASSES[argument]
    raise UnableError("a construct that is not known here")
