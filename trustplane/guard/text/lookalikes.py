"""Look-alikes: words in which letters of other scripts stand for ASCII ones, written in ASCII."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from trustplane.guard.text.spans import Edit, Piece

__all__ = ["LONGEST_TOKEN", "lookalike_edits", "looks_like"]

LONGEST_TOKEN = 256
"""A word is judged in parts of at most so many characters."""
_TOKEN = re.compile(rf"[^\s\u1100-\u11ff\u2e80-\u30fa\u30fc-\u9fff\uac00-\ud7ff\uf900-\ufaff]{{1,{LONGEST_TOKEN}}}+")
_ASCII = re.compile(r"[A-Za-z0-9@]")
_STRUCTURE = re.compile(r"[@0-9_]|://")
_JOINED = re.compile(r"\w[.:/@_-]\w")
_NUMBER = re.compile(r"[0-9oOlIi ._/-]+\Z")
_DIGITS = frozenset("0123456789")
_AS_DIGITS = str.maketrans("oOlIi", "00111")


@cache
def _table() -> dict[str, str]:
    lines = Path(__file__).with_name("confusables.txt").read_text(encoding="utf-8").splitlines()
    return {alike: line[0] for line in lines if not line.startswith("#") for alike in line[2:]}


@lru_cache(maxsize=4096)
def looks_like(character: str) -> str:
    """Return the ASCII character that ``character`` looks like, or else itself; an accented letter looks bare.

    Source: Unicode Technical Standard #39, confusables.
    """
    if character < "\x80":
        return character
    found = _table().get(character)
    if found is not None:
        return found
    bare = unicodedata.normalize("NFD", character)[0]
    return bare if bare.isascii() and bare.isalpha() else _table().get(bare, character)


def lookalike_edits(text: str) -> Iterator[Edit]:
    """Yield the words of a folded text that mix ASCII with look-alikes, or are written in them around structure.

    Words of one other script are left alone (Russian and Greek text), and so are accented words without
    digits, ``@``, ``_`` or ``://``.
    """
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word.isascii() or not (_suspect(word) or _beside_number(text, token.start(), token.end())):
            continue
        plain = "".join(map(looks_like, word))
        if plain == word:
            continue
        if _NUMBER.match(plain):
            plain = "".join(p if p == w else p.translate(_AS_DIGITS) for w, p in zip(word, plain, strict=True))
        yield Edit(token.start(), token.end(), [Piece(plain, token.start(), 1, 1)])


def _suspect(word: str) -> bool:
    if _STRUCTURE.search(word):
        return True
    if _table().keys().isdisjoint(word):  # accents only
        return False
    return _ASCII.search(word) is not None or _JOINED.search(word) is not None


def _beside_number(text: str, start: int, end: int) -> bool:
    """Return whether a word of two to eight capital look-alikes has a digit one place away (IBAN, plate)."""
    word = text[start:end]
    if not (2 <= len(word) <= 8 and word.isupper() and _table().keys() >= set(word)):
        return False
    return any(c in _DIGITS for c in (text[max(0, start - 2) : start] + text[end : end + 2]))
