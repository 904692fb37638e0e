"""Normalising for injection: lower case, one kind of blank, leet letters read, letters written apart joined."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Normal", "normalise"]

_LEET = {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "!": "i"}
_LEET_WORD = re.compile(r"(?<![\w@$!])(?=[\w@$!]{0,24}[a-z])(?=[\w@$!]{0,24}[0134578@$!])[\w@$!]{3,24}(?![\w@$])")
_LEET_SIGN = re.compile(r"[a-z][0134578@$!][a-z0-9@$]|[0134578@$][a-z]")
_TAIL = re.compile(r"!+\Z")
_APART = re.compile(r"(?<![^\W_])[^\W\d_](?:([ .*_~+/-]{1,2})[^\W\d_](?![^\W_])){3,}+")
_BLANKS = re.compile(r"[ \t\u00a0\u3000]{2,}+|[\t\u00a0\u3000]")

_HAN_BLANK = re.compile(
    r"(?<=[\u3000-\u303f\u3400-\u9fff\uff00-\uffef])[ \t\u3000]{1,3}(?=[\u3400-\u9fff\u201c\uff08])"
)


class Normal(NamedTuple):
    """A normalised text; ``offsets[i]`` is where character ``i`` stood, None where nothing moved."""

    text: str
    offsets: list[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the offsets of a non-empty span in the text that was normalised."""
        return (start, end) if self.offsets is None else (self.offsets[start], self.offsets[end - 1] + 1)


def normalise(text: str) -> Normal:
    """Return ``text`` (folded) in the form in which rules and model read it; linear time."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(low if len(low := c.lower()) == 1 else c for c in text)
    if _LEET_SIGN.search(lowered):
        lowered = _LEET_WORD.sub(_read_leet, lowered)
    edits = [(m.start(), m.end(), _join(m[0])) for m in _APART.finditer(lowered)]
    if not lowered.isascii():
        edits += [(m.start(), m.end(), "") for m in _HAN_BLANK.finditer(lowered)]
    if "  " in lowered or "\t" in lowered or not lowered.isascii():
        edits += [(m.start(), m.end(), " ") for m in _BLANKS.finditer(lowered)]
    return _apply(lowered, sorted(edits))


def _read_leet(found: re.Match[str]) -> str:
    word = found[0]
    tail = _TAIL.search(word)
    body = word[: tail.start()] if tail else word
    letters = sum(c.isalpha() for c in body)
    if letters < 2 or letters * 2 < len(body):
        return word
    return "".join(_LEET.get(c, c) for c in body) + word[len(body) :]


def _join(spelled: str) -> str:
    return "".join(c for c in spelled if c.isalpha())


def _apply(text: str, edits: list[tuple[int, int, str]]) -> Normal:
    if not edits:
        return Normal(text, None)
    pieces: list[str] = []
    offsets: list[int] = []
    position = 0
    for start, end, new in edits:
        if start < position:
            continue
        pieces += (text[position:start], new)
        offsets.extend(range(position, start))
        if new == " ":
            offsets.append(start)
        else:
            offsets.extend(i for i in range(start, end) if text[i].isalpha())
        position = end
    pieces.append(text[position:])
    offsets.extend(range(position, len(text)))
    return Normal("".join(pieces), offsets)
