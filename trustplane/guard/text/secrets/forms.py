"""Forms: the small part of regular expressions in which tokens are described, read once to search, gate and sample."""

from __future__ import annotations

import random
import re
import zlib
from typing import NamedTuple

from trustplane.errors import InputError

__all__ = ["Form", "github_check", "sample"]

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_GATE_LONGEST = 12
"""How often a gate repeats a class; more would only cost states."""
_QUANTIFIER = re.compile(r"\{(\d+)(?:,(\d+))?\}|\?")


class _Part(NamedTuple):
    """``choices``: the characters of a class, or the forms of a group; repeated ``low`` to ``high`` times."""

    source: str
    choices: str | tuple[tuple[_Part, ...], ...]
    low: int
    high: int

    @property
    def literal(self) -> bool:
        return isinstance(self.choices, str) and len(self.choices) == 1 and self.low == self.high == 1


class Form:
    """A form: literals, ``\\`` escapes, ``.``, classes, ``(?:a|b)``, and ``?``, ``{n}``, ``{n,m}`` behind them.

    ``text`` is a valid pattern for ``re`` and for RE2.

    Raises:
        InputError: the text is no form.
    """

    __slots__ = ("_alternatives", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._alternatives, end = _alternatives(text, 0)
        if end != len(text):
            raise InputError("a form closes a group that it did not open")

    @property
    def prefix(self) -> str:
        """The literal characters with which every match begins."""
        letters: list[str] = []
        for part in self._alternatives[0] if len(self._alternatives) == 1 else ():
            if not part.literal:
                break
            letters.append(str(part.choices))
        return "".join(letters)

    @property
    def gate(self) -> str:
        """An RE2 pattern that matches wherever the form does; short counts, so that it costs few states."""
        pieces: list[str] = []
        for index, part in enumerate(self._alternatives[0] if len(self._alternatives) == 1 else ()):
            limit = _GATE_LONGEST
            if part.low > limit or part.high > part.low:
                pieces.append(f"{part.source}{{{min(part.low, limit)}}}" if part.low else "")
                if index:
                    break
                continue
            pieces.append(part.source if part.low == 1 else f"{part.source}{{{part.low}}}")
        return "".join(pieces) or self.text

    def sample(self, rng: random.Random, longest: int = 1 << 16) -> str:
        """Return a text of this form; open counts are taken at random up to ``longest``."""
        return _sample(self._alternatives, rng, longest)


def sample(form: str, rng: random.Random, check: str = "") -> str:
    """Return a text of ``form`` with the check digit that ``check`` names (``github`` or nothing)."""
    text = Form(form).sample(rng)
    return text[:-6] + github_check(text[:-6].partition("_")[2]) if check == "github" else text


def github_check(body: str) -> str:
    """Return the six check characters of a GitHub token's body: CRC-32 in base 62.

    Source: https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
    """
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, rest = divmod(value, 62)
        digits = _BASE62[rest] + digits
    return digits


def _sample(alternatives: tuple[tuple[_Part, ...], ...], rng: random.Random, longest: int) -> str:
    pieces: list[str] = []
    for part in rng.choice(alternatives):
        for _ in range(rng.randint(part.low, max(part.low, min(part.high, longest)))):
            choices = part.choices
            pieces.append(rng.choice(choices) if isinstance(choices, str) else _sample(choices, rng, longest))
    return "".join(pieces)


def _alternatives(text: str, at: int) -> tuple[tuple[tuple[_Part, ...], ...], int]:
    found: list[tuple[_Part, ...]] = []
    parts: list[_Part] = []
    while at < len(text) and text[at] != ")":
        if text[at] == "|":
            found.append(tuple(parts))
            parts, at = [], at + 1
            continue
        choices, end = _choices(text, at)
        source = text[at:end]
        low = high = 1
        if counted := _QUANTIFIER.match(text, end):
            low = int(counted[1] or 0)
            high = int(counted[2] or low or 1)
            end = counted.end()
        parts.append(_Part(source, choices, low, high))
        at = end
    found.append(tuple(parts))
    return tuple(found), at


def _choices(text: str, at: int) -> tuple[str | tuple[tuple[_Part, ...], ...], int]:
    first = text[at]
    if text.startswith("(?:", at):
        inner, end = _alternatives(text, at + 3)
        if not text.startswith(")", end):
            raise InputError("a form opens a group that it does not close")
        return inner, end + 1
    if first == "[":
        end = text.find("]", at + 2)
        if end < 0 or text[at + 1] == "^":
            raise InputError("a form has a class that does not close, or a negated one")
        return _members(text[at + 1 : end]), end + 1
    if first == "\\" and at + 1 < len(text):
        return text[at + 1], at + 2
    if first in "(*+?{":
        raise InputError("a form uses an operator that forms do not have")
    return "_" if first == "." else first, at + 1


def _members(inside: str) -> str:
    found = ""
    at = 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            found += "".join(map(chr, range(ord(inside[at]), ord(inside[at + 2]) + 1)))
            at += 3
        else:
            found += inside[at]
            at += 1
    return found
