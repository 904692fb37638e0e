"""Segments: where a reply may be cut before all of it is there, a function of the text and of nothing else."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

__all__ = ["EAGER", "MOST", "STEP", "boundaries", "least_step", "open_key", "view_of"]

SPACED = 64
"""Longest value with blanks inside, in characters: an IBAN in groups, a card number in single digits."""
EAGER = 64
"""So many characters of a reply are given out word by word; after that in steps of ``STEP`` or more."""
STEP = 24
WIDEST = 96
"""The step grows with what was given out, up to this: each step searches what stands before it once more."""
MOST = 2048
"""Most characters of a segment."""
_KEY_HEADER = "-----BEGIN"
_HEADER_LENGTH = 80
_KEY_END = re.compile(r"-----END[^-]{0,64}-----")
_BLANK = re.compile(r"[\s|]+")
_BLANKS = frozenset(" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f|")
_DIGIT = re.compile(r"[0-9]")
_ALNUM = string.ascii_letters + string.digits


def least_step(given: int) -> int:
    """Return the shortest segment in characters after ``given`` of them: a word at first, later an eighth of that."""
    return 1 if given < EAGER else min(WIDEST, max(STEP, given // 8))


def view_of(text: str) -> str:
    """Return one ASCII character per character: itself folded, ``x`` for letters, ``|`` for what no value spans."""
    if text.isascii():
        return text.replace("|", "/")
    return "".join(_shown(c) for c in text)


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    if character.isascii():
        return "/" if character == "|" else character
    category = unicodedata.category(character)
    if category == "Cf":
        return "x"
    digit = unicodedata.decimal(character, None)
    plain = str(digit) if digit is not None else unicodedata.normalize("NFKC", character)[:1]
    if plain.isascii():
        return "/" if plain == "|" else plain
    return "x" if unicodedata.category(plain)[0] in "LMN" else "|"


def boundaries(view: str, start: int) -> Iterator[int]:
    """Yield the calm places after ``start``, in order: after a blank, where no value of groups is under way.

    A value is taken to be one run without blanks, or a run of groups of which each has a digit or three
    letters at most at its end (``GB82 WEST 1234``, ``(415) 555-2671``, ``AB 12 34 56 C``). So a place is
    calm if the word before it is neither short nor has digits, and no word with digits comes before it
    without a word of six letters or more between them, within ``SPACED`` characters. Whether a place is
    calm depends on what stands before it only.
    """
    first = min(max(0, start - 1), len(view))
    while first and view[first - 1] in _BLANKS:  # the word before is looked for once per run of blanks
        first -= 1
    for blank in _BLANK.finditer(view, first):
        if blank.end() > start and _calm(view, blank.start()):
            yield from range(max(blank.start(), start) + 1, blank.end() + 1)


def _calm(view: str, end: int) -> bool:
    """Return whether no value is under way at ``end``, where a word ends."""
    rest = view[max(0, end - 4 * SPACED) : end].replace("|", " ").rstrip()
    least = min(end, 4 * SPACED) - SPACED
    is_last = True
    while rest and len(rest) >= least:
        parts = rest.rsplit(None, 1)
        word, rest = parts[-1], parts[0] if len(parts) > 1 else ""
        if _DIGIT.search(word):
            return False
        if is_last and 0 < len(word) - len(word.rstrip(_ALNUM)) <= 3:
            return False
        if len(word) > 5:
            break
        is_last = False
    return True


def open_key(view: str, end: int) -> int:
    """Return where a private key in PEM form (RFC 7468) begins that ``view[:end]`` does not end, -1 without one.

    A header that is not complete yet counts as one of a key.
    """
    begin = view.rfind(_KEY_HEADER, 0, end)
    if begin < 0:
        return -1
    closing = view.find("-----", begin + len(_KEY_HEADER), min(end, begin + _HEADER_LENGTH))
    if closing < 0:
        return begin if end - begin < _HEADER_LENGTH else -1
    if "PRIVATE KEY" not in view[begin:closing] or _KEY_END.search(view, closing + 5, end):
        return -1
    return begin
