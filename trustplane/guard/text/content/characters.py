"""Characters: one canonical form for each way to write a letter, as arrays with their places."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "LEET",
    "Codes",
    "Tables",
    "canonical",
    "codes",
    "is_han",
    "is_joined",
    "pinyin_table",
    "table_lines",
    "tables",
]

Codes = npt.NDArray[np.uint32]

_SIZE = 0x20000
_LOOKALIKES = dict(
    zip(
        "авгеёкмнорстухѕіјԁһԛԝѵьӏαβεικμνορτυχωγηɑɡɩɪʀʏıßðøđłħƒþᴀʙᴄᴅᴇꜰɢʜᴊᴋʟᴍɴᴏᴘꜱᴛᴜᴠᴡ",
        "abreekmhopctyxsijdhqwvblabeikuvoptuxwynagiiryisdodlhfpabcdefghjklmnopstuvw",
        strict=True,
    )
)
"""Letters that look like Latin ones: Cyrillic, Greek, small capitals."""
LEET = {
    "0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b", "9": "g",
    "@": "a", "$": "s", "!": "i", "|": "il", "+": "t", "€": "e", "¢": "c", "£": "l", "¡": "i",
}  # fmt: skip
"""What letters a digit or symbol can stand for."""


def table_lines(name: str) -> list[str]:
    """Return the lines of a data file beside this module, without comments and empty ones."""
    text = files(__package__).joinpath(name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


class Tables(NamedTuple):
    """Code of each code point below 0x20000, shape ``(131072,)`` each; 0 for what separates.

    ``plain``: the canonical letter. ``digits``: the same with digits read as letters. ``leet``: with
    symbols read as letters too.
    """

    plain: Codes
    digits: Codes
    leet: Codes


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Return the tables, built once (about 10 ms)."""
    table = np.zeros(_SIZE, np.uint32)
    for low, high in ((0x3041, 0x30FF), (0x3105, 0x312F), (0x3400, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF)):
        table[low : high + 1] = np.arange(low, high + 1)
    for point in (*range(0x30, 0x2000), *range(0x2C00, 0x2E00), *range(0xA640, 0xA7FF)):
        character = chr(point)
        if unicodedata.category(character)[0] in "LN" or (
            unicodedata.category(character)[0] == "M" and not 0x300 <= point <= 0x36F
        ):
            table[point] = ord(_letter(character))
    table[0x30FB] = table[0xB7] = 0
    for first in (0x1F130, 0x1F150, 0x1F170, 0x1F1E6):  # letters in squares and circles, regional indicators
        table[first : first + 26] = np.arange(ord("a"), ord("z") + 1)
    for line in table_lines("traditional.txt"):
        table[ord(line[0])] = ord(line[1])
    digits, leet = table.copy(), table.copy()
    for symbol, letters in LEET.items():
        leet[ord(symbol)] = ord(letters[0])
        if symbol.isdigit():
            digits[ord(symbol)] = ord(letters[0])
    for one in (table, digits, leet):
        one.setflags(write=False)
    return Tables(table, digits, leet)


def _letter(character: str) -> str:
    lower = character.lower()[:1]
    if lower in _LOOKALIKES:
        return _LOOKALIKES[lower]
    base = unicodedata.normalize("NFD", lower)[0]
    return _LOOKALIKES.get(base, base)


def codes(text: str) -> Codes:
    """Return the code points of ``text``, lone surrogates included, shape ``(len(text),)``."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def canonical(points: Codes, table: Codes) -> Codes:
    """Return the canonical code of each code point, 0 for separators; same shape."""
    found = table[np.minimum(points, _SIZE - 1)]
    if points.size and int(points.max()) >= _SIZE:
        rare = (points >= _SIZE) & (points < 0x32400)  # CJK extensions B to H
        found = np.where(rare, points, np.where(points >= _SIZE, 0, found)).astype(np.uint32)
    return found


def is_han(code: int) -> bool:
    """Whether a canonical code is a Han character."""
    return 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or code >= _SIZE


def is_joined(code: int) -> bool:
    """Whether it belongs to a script that is written without spaces between words."""
    return code >= 0x3040 or 0x0E00 <= code <= 0x0EFF


@lru_cache(maxsize=1)
def pinyin_table() -> dict[str, str]:
    """Return the toneless first reading of each character of GB 2312."""
    return {c: s for line in table_lines("pinyin.txt") for s, _, row in (line.partition("\t"),) for c in row}
