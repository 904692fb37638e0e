"""Gates: many RE2 patterns behind a sieve, which tells in two linear passes which of them are worth trying."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from trustplane.errors import InputError, Refused
from trustplane.guard.text.presidio.sieve import factor, lowered, shaped

__all__ = ["MEMORY", "Gates", "ShapeSet", "encode", "scanner"]

MEMORY = 32 << 20
"""Bytes that RE2 may use for a set and its automaton; past them the automaton is thrown away and built again."""
_ONE = 1 << 20
"""The same for one pattern; a pattern that is itself too large for it gets as much as a set."""
_LARGE = 4096
"""A program of more steps leaves so little of ``_ONE`` to its automaton that RE2 goes a slower way."""

FEW = 24
"""So many shapes with digits stand in one set whatever their families: its automaton stays small."""


def encode(text: str) -> bytes:
    """Return ``text`` as UTF-8, a lone surrogate as U+FFFD: RE2 reads nothing else, and characters stay one to one."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= x <= "\udfff" else x for x in text).encode()


def scanner(pattern: str) -> Any:
    """Return ``pattern`` compiled by RE2, for UTF-8 bytes.

    Raises:
        InputError: RE2 cannot take it.
    """
    import re2

    for memory in (_ONE, MEMORY):
        try:
            compiled = re2.compile(pattern, _options(memory))
        except re2.error:
            continue
        if memory == MEMORY or compiled.programsize <= _LARGE:
            return compiled
    raise InputError("RE2 cannot take a gate of the rule set", hint="no look-around, no back-reference")


def _options(memory: int) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = memory
    return options


class Gates:
    """Groups of RE2 patterns; a group is open on a text in which all of its patterns match, an empty one always,
    ``None`` never.

    First the sieve: a set of literals over the text in lower case and a few sets of shapes over its shape, each a
    small automaton, name the gates that may match (one set of the gates themselves has so many states that building
    them costs a hundred times the search). Then these gates are tried one by one.

    ``sifted``: groups whose first gate is not tried, since what is behind them tries it anyway.

    Raises:
        InputError: RE2 refuses a pattern, or a set needs more than ``memory`` bytes.
    """

    def __init__(
        self, groups: Iterable[Sequence[str] | None], *, sifted: Container[int] = (), memory: int = MEMORY
    ) -> None:
        self._sifted = sifted
        self._always: list[int] = []
        numbers: dict[str, int] = {}
        self._first: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        for group, patterns in enumerate(groups):
            if patterns is None:
                continue
            gates = tuple(numbers.setdefault(pattern, len(numbers)) for pattern in patterns)
            if gates:
                self._first.setdefault(gates[0], []).append((group, gates))
            else:
                self._always.append(group)
        self._gates = [scanner(pattern) for pattern in numbers]
        factors = {number: factor(pattern) for pattern, number in numbers.items() if number in self._first}
        self._exact = {number: True for number, found in factors.items() if found.exact}
        self._tried = [number for number, found in factors.items() if not found.literals and not found.shape]
        self._words = ShapeSet({n: _alternatives(f.literals) for n, f in factors.items() if f.literals}, memory)
        families: dict[tuple[bool, str], dict[int, str]] = {}
        for number, found in factors.items():
            if found.shape:
                families.setdefault((found.digits, found.family), {})[number] = found.shape
        self._plain = [ShapeSet(shapes, memory) for (digits, _), shapes in families.items() if not digits]
        with_digits = [shapes for (digits, _), shapes in families.items() if digits]
        if sum(map(len, with_digits)) <= FEW:
            with_digits = [{number: shape for shapes in with_digits for number, shape in shapes.items()}]
        self._digits = [ShapeSet(shapes, memory) for shapes in with_digits if shapes]

    def __repr__(self) -> str:
        return f"Gates({len(self)})"

    def __len__(self) -> int:
        return len(self._gates)

    def open(self, data: bytes, is_ascii: bool, skipped: Container[int] = ()) -> list[int]:
        """Return the numbers of the groups that are open on UTF-8 ``data``, in order; of those that are to be
        ``sifted`` alone, those that the sieve lets through. ``skipped``: groups that are taken as closed.

        Raises:
            Refused: RE2 ran out of its memory budget, so that nothing is known of the text.
        """
        found = [group for group in self._always if group not in skipped]
        matched = dict(self._exact)
        for number in self._sift(data, is_ascii):
            for group, gates in self._first[number]:
                if group in skipped:
                    continue
                if group in self._sifted:
                    gates = gates[1:]
                for gate in gates:
                    if gate not in matched:
                        matched[gate] = self._gates[gate].search(data) is not None
                    if not matched[gate]:
                        break
                else:
                    found.append(group)
        return sorted(found)

    def _sift(self, data: bytes, is_ascii: bool) -> list[int]:
        """Return the numbers of the gates that may match."""
        shape = shaped(data)
        found = [*self._tried, *self._words.hits(lowered(data, is_ascii))]
        for shapes in self._plain:
            found += shapes.hits(shape)
        if not is_ascii or b"0" in shape:
            for shapes in self._digits:
                found += shapes.hits(shape)
        return found


def _alternatives(literals: Iterable[str]) -> str:
    import re2

    return "|".join(re2.escape(literal.encode()).decode("latin-1") for literal in sorted(literals))


class ShapeSet:
    """A set of RE2 patterns over bytes, by their numbers."""

    def __init__(self, patterns: dict[int, str], memory: int) -> None:
        import re2

        options = _options(memory)
        options.encoding = re2.Options.Encoding.LATIN1
        self._set = re2.Set.SearchSet(options)
        self._numbers = list(patterns)
        try:
            for pattern in patterns.values():
                self._set.Add(pattern.encode("latin-1"))
            # The empty pattern matches every text: a run without it is one that RE2 gave up.
            self._set.Add(b"")
            self._set.Compile()
        except re2.error:
            raise InputError(
                f"the sieve of {len(patterns)} patterns does not fit in {memory >> 20} MiB",
                hint="give the guard fewer recognisers or shorter patterns",
            ) from None
        self.hits(b"")

    def hits(self, data: bytes) -> list[int]:
        """Return the numbers of the patterns that match ``data``; ``Refused`` where RE2 gave up."""
        found = self._set.Match(data) or ()
        last = len(self._numbers)
        if last not in found:
            raise Refused("the rule set needs more memory on this text than it may use")
        return [self._numbers[i] for i in found if i != last]
