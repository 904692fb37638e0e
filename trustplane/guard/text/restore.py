"""Restoring pseudonyms in whole texts and in streams; the stream gives exactly what the whole gives."""

from __future__ import annotations

import bisect
import re
import string
from collections.abc import Callable

__all__ = ["Pseudonyms", "Restorer"]

_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_PAIRS = (("[", "]"), ("<", ">"), ("{", "}"), ("【", "】"))
_OPEN = "".join(first for first, _ in _PAIRS)
_SEPARATOR = r"(?:\\_|[_ \-])"


def _plain(text: str) -> str:
    """Fold the spellings of a core: ``email address-7k2q`` and ``EMAIL\\_ADDRESS\\_7K2Q`` are one."""
    text = text.replace("\\_", "_").translate(_UPPER)
    return text.replace(" ", "_").replace("-", "_")


class Pseudonyms:
    """The table of one session: core (``EMAIL_ADDRESS_7K2Q``) to value, and the pattern that finds cores."""

    __slots__ = ("_compiled", "_longest", "_sorted", "_values")

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._sorted: list[str] = []
        self._compiled: re.Pattern[str] | None = None
        self._longest = 0

    def __repr__(self) -> str:
        return f"Pseudonyms({len(self._values)})"

    def add(self, core: str, value: str) -> None:
        """Enter a core, upper case, with its value."""
        self._values[core] = value
        bisect.insort(self._sorted, core)
        self._compiled = None
        self._longest = max(self._longest, len(core) + core.count("_") + 2)

    @property
    def longest(self) -> int:
        """Length in characters of the longest spelling of a pseudonym, 0 without any."""
        return self._longest

    def pattern(self) -> re.Pattern[str] | None:
        """Return the pattern for every spelling of every core, or None without any."""
        if self._compiled is None and self._values:
            ordered = sorted(self._values, key=lambda core: (-len(core), core))
            cores = "|".join(_SEPARATOR.join(map(re.escape, core.split("_"))) for core in ordered)
            forms = [f"{re.escape(a)}(?:{cores}){re.escape(b)}" for a, b in _PAIRS]
            forms.append(f"(?<![A-Za-z0-9])(?:{cores})(?![A-Za-z0-9])")
            self._compiled = re.compile("|".join(forms), re.IGNORECASE | re.ASCII)
        return self._compiled

    def value(self, matched: str) -> str:
        """Return the value of a match of :meth:`pattern`."""
        inner = matched[1:-1] if matched[0] in _OPEN else matched
        return self._values[_plain(inner)]

    def restore(self, text: str, escape: Callable[[str], str] | None = None) -> str:
        """Return ``text`` with each pseudonym replaced by its value."""
        pattern = self.pattern()
        if pattern is None:
            return text
        return pattern.sub(lambda m: self.value(m.group()) if escape is None else escape(self.value(m.group())), text)

    def may_grow(self, tail: str) -> bool:
        """Return whether more text could turn ``tail``, from its first character on, into a pseudonym."""
        if len(tail) >= self._longest or not tail:
            return False
        inner = tail[1:] if tail[0] in _OPEN else tail
        inner = _plain(inner.removesuffix("\\"))
        if not inner:
            return True
        index = bisect.bisect_left(self._sorted, inner)
        return index < len(self._sorted) and self._sorted[index].startswith(inner)

    def safe_end(self, text: str) -> int:
        """Return up to where ``text`` is decided whatever follows: no pseudonym can begin before it and end after."""
        for index in range(max(0, len(text) - self._longest), len(text)):
            if self.may_grow(text[index:]):
                return index
        return len(text)


class Restorer:
    """Restores a text that arrives in chunks: ``feed`` gives what is certain, ``close`` the rest.

    The pieces joined equal ``restore`` of the chunks joined, however they are cut. At most one longest
    pseudonym is held back. A pseudonym that the session makes later is not known to what went before.
    """

    __slots__ = ("_before", "_buffer", "_escape", "_pseudonyms")

    def __init__(self, pseudonyms: Pseudonyms, escape: Callable[[str], str] | None = None) -> None:
        self._pseudonyms = pseudonyms
        self._escape = escape
        self._before = ""
        self._buffer = ""

    def __repr__(self) -> str:
        return f"Restorer({len(self._buffer)} characters held)"

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the restored text that can no longer change."""
        self._buffer += chunk
        return self._take(self._pseudonyms.safe_end(self._buffer))

    def close(self) -> str:
        """Return what was held back; the restorer is then empty."""
        return self._take(len(self._buffer))

    def _take(self, end: int) -> str:
        text = self._before + self._buffer  # one character more, for the pattern's look-behind
        offset = position = len(self._before)
        end += offset
        pieces: list[str] = []
        pattern = self._pseudonyms.pattern()
        if pattern is not None:
            for found in pattern.finditer(text, offset):
                if found.start() >= end:
                    break
                value = self._pseudonyms.value(found.group())
                pieces += (
                    text[position : found.start()],
                    value if self._escape is None else self._escape(value),
                )
                position = found.end()
        end = max(end, position)
        pieces.append(text[position:end])
        self._buffer = text[end:]
        self._before = text[end - 1 : end] if end else ""
        return "".join(pieces)
