"""Characters that show nothing and that no text needs, between the characters of a value: those stand together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trustplane.guard.text.spans import Edit, Piece

__all__ = ["TORN_GATE", "is_torn", "torn_edits"]

_CONTROL = "\\x00-\\x08\\x0e-\\x1f\\x7f"
_OTHER = "\x80-\x84\x86-\x9f\u2028\u2029\ud800-\udfff"
_ZERO_WIDTH = "\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
TORN_GATE = rf"[0-9A-Za-z_@.+?() /-][{_CONTROL}]"
"""RE2, over the text with ``?`` for what is not ASCII; the other characters are told by :func:`is_torn`."""
_TORN = re.compile(
    rf"[\w@.+() /-](?=[{_ZERO_WIDTH}{_CONTROL}{_OTHER}])[{_ZERO_WIDTH}]*+[{_CONTROL}{_OTHER}]"
    rf"[{_ZERO_WIDTH}{_CONTROL}{_OTHER}]*+(?=[\w@.+() /-])"
)
_IS_TORN = re.compile(f"[{_OTHER}]")


def is_torn(character: str) -> bool:
    """Return whether a character outside ASCII is one that ``torn_edits`` drops."""
    return _IS_TORN.match(character) is not None


def torn_edits(text: str) -> Iterator[Edit]:
    """Yield the characters of ``text`` that stand before what is dropped, with it.

    Dropped between two characters of a word, a number or an address: control characters of ISO/IEC 6429 other than
    white space, lone surrogates, the separators U+2028 and U+2029, and zero-width characters among these.
    """
    for found in _TORN.finditer(text):
        start, end = found.span()
        yield Edit(start, end, [Piece(text[start], start, end - start)])
