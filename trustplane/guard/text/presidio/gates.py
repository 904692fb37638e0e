"""Gates: many RE2 patterns in one set, which says in one linear pass over a text which of them match."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from trustplane.errors import InputError, Refused

__all__ = ["MEMORY", "Gates", "Guards", "encode", "scanner"]

MEMORY = 64 << 20
"""Bytes that RE2 may use for a set and its automaton; past them the automaton is thrown away and built again."""


def encode(text: str) -> bytes:
    """Return ``text`` as UTF-8, a lone surrogate as U+FFFD: RE2 reads nothing else, and characters stay one to one."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= x <= "\udfff" else x for x in text).encode()


def scanner(pattern: str) -> Any:
    """Return ``pattern`` compiled by RE2, for UTF-8 bytes."""
    import re2

    return re2.compile(pattern, _options(MEMORY))


def _options(memory: int) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = memory
    return options


class Gates:
    """A set of RE2 patterns; ``hits(data)`` gives the numbers of those that match somewhere in ``data``.

    Raises:
        InputError: RE2 refuses a pattern, or all of them together need more than ``memory`` bytes.
    """

    def __init__(self, patterns: Sequence[str], *, memory: int = MEMORY) -> None:
        import re2

        self._set = re2.Set.SearchSet(_options(memory))
        for number, pattern in enumerate(patterns):
            try:
                self._set.Add(pattern)
            except re2.error:
                raise InputError(f"RE2 cannot take gate {number} of the rule set") from None
        # The empty pattern matches every text: a run without it is one that RE2 gave up.
        self._always = self._set.Add("")
        try:
            self._set.Compile()
        except re2.error:
            raise InputError(
                f"the rule set of {len(patterns)} gates does not fit in {memory >> 20} MiB",
                hint="give the guard fewer recognisers or shorter patterns",
            ) from None
        self.hits(b"")

    def __repr__(self) -> str:
        return f"Gates({self._always})"

    def __len__(self) -> int:
        return int(self._always)

    def hits(self, data: bytes) -> set[int]:
        """Return the numbers of the patterns that match in UTF-8 ``data``.

        Raises:
            Refused: RE2 ran out of its memory budget, so that nothing is known of the text.
        """
        found = set(self._set.Match(data) or ())
        if self._always not in found:
            raise Refused("the rule set needs more memory on this text than it may use")
        return found


class Guards:
    """Groups of gates in one set; a group is open on a text in which all of its gates match, an empty one always."""

    def __init__(self, groups: Iterable[Sequence[str]]) -> None:
        self._patterns: list[str] = []
        self._always: list[int] = []
        self._first: dict[int, tuple[int, range]] = {}
        for number, group in enumerate(groups):
            start = len(self._patterns)
            self._patterns += group
            if group:
                self._first[start] = (number, range(start + 1, len(self._patterns)))
            else:
                self._always.append(number)

    @functools.cached_property
    def gates(self) -> Gates:
        """The set, compiled when first needed."""
        return Gates(self._patterns)

    def open(self, data: bytes) -> list[int]:
        """Return the numbers of the groups that are open on UTF-8 ``data``, in order.

        Raises:
            Refused: RE2 ran out of its memory budget.
        """
        hits = self.gates.hits(data)
        first = self._first
        found = list(self._always)
        for hit in hits:
            if hit in first:
                number, others = first[hit]
                if all(other in hits for other in others):
                    found.append(number)
        return sorted(found)
