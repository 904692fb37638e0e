"""Units: the characters that a placeholder is spelled in, once case, width, escapes and decoration are off."""

from __future__ import annotations

import functools
import html
import re
import unicodedata

__all__ = ["ESCAPE", "NOISE", "decode", "decoded", "plain"]

NOISE = "\x00"
"""Stands for what may stand anywhere inside a placeholder: soft hyphens, other invisible characters, ``*``, `` ` ``."""
_NAMES = "lt|gt|lbrack|rbrack|lsqb|rsqb|lcub|rcub|lbrace|rbrace|lowbar|hyphen|nbsp|shy|ast"
ESCAPE = re.compile(
    rf"\\U[0-9A-F]{{4}}|\\[NRT]|&(?:AMP;)?(?:{_NAMES.upper()}|#[0-9]{{1,5}}|#X[0-9A-F]{{1,4}});|%[0-9A-F]{{2}}"
)
"""Escapes of JSON, HTML and percent encoding, in the upper case of the plain form."""


class _Plain(dict[int, str]):
    """One plain character per character: upper case, ``_`` for separators, ``\\n``, NOISE; else itself."""

    def __missing__(self, point: int) -> str:
        if len(self) > 1 << 16:
            self.clear()
        self[point] = found = _shown(chr(point))
        return found


def _shown(character: str) -> str:
    if character in "*`\r" or unicodedata.category(character) == "Cf":
        return NOISE
    if character in "\n\u0085\u2028\u2029":
        return "\n"
    if character in "_-\t" or unicodedata.category(character) in {"Zs", "Pd"}:
        return "_"
    folded = unicodedata.normalize("NFKC", character)
    if len(folded) != 1:
        return character
    if folded == "_":
        return "_"
    upper = folded.upper()
    return upper if len(upper) == 1 and upper.isascii() else folded


_PLAIN = _Plain()


def decoded(shown: str) -> str:
    """Return a plain text with its escapes decoded once: the units that reading goes by."""
    return ESCAPE.sub(lambda found: decode(found.group()), shown)


def plain(text: str) -> str:
    """Return the plain form of ``text``, of the same length."""
    return text.translate(_PLAIN)


@functools.lru_cache(maxsize=1024)
def decode(escape: str) -> str:
    """Return the plain character that an escape (upper case) stands for, itself if it is no such escape."""
    if escape[0] == "\\":
        character = "\n" if len(escape) == 2 else chr(int(escape[-4:], 16))
    elif escape[0] == "%":
        character = chr(int(escape[1:], 16))
    else:
        entity = escape.replace("AMP;", "", 1).lower()
        character = html.unescape(entity)
        if character == entity:
            return escape[0]
    return plain(character) if len(character) == 1 else escape[0]
