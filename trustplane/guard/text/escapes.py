"""Escapes inside running text: percent, HTML entities, JSON and C escapes, quoted-printable, hidden tag characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5

from trustplane.guard.text.spans import Edit, Piece

__all__ = ["LONGEST_ESCAPE", "escape_edits", "hidden_edits", "quoted_printable_edits"]

LONGEST_ESCAPE = 34
"""Characters of the longest single escape (an HTML entity with its name)."""
_H = "[0-9A-Fa-f]"
_ESCAPE = re.compile(
    "[%&\\\\](?:"
    rf"(?<=%)(?P<percent>{_H}{{2}}(?:%{_H}{{2}})*+)"
    rf"|(?<=%)u(?P<wide>{_H}{{4}})"
    rf"|(?<=&)(?:\#(?:0{{0,16}}(?P<decimal>[1-9][0-9]{{0,6}})|[xX]0{{0,16}}(?P<hex>[1-9A-Fa-f]{_H}{{0,5}}))"
    r"(?:;|(?![0-9A-Za-z\\%]))"
    r"|(?P<name>[A-Za-z][A-Za-z0-9]{1,31};))"
    rf"|(?<=\\)(?:u(?P<high>[dD][89abAB]{_H}{{2}})\\u(?P<low>[dD][c-fC-F]{_H}{{2}})"
    rf"|(?P<bytes>x{_H}{{2}}(?:\\x{_H}{{2}})*+)"
    rf"|u(?P<unit>{_H}{{4}})|u\{{(?P<braced>{_H}{{1,6}})\}}|U(?P<long>{_H}{{8}})"
    r"|(?P<octal>[0-3][0-7]{2})"
    r"|(?P<one>[abfnrtv\"'\\/])))"
)
_ONE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_QUOTED = re.compile(r"=(?:\r?\n|([0-9A-F]{2}(?:=[0-9A-F]{2})*+))")
_TAGS = re.compile("[\U000e0020-\U000e007e]{4,}+")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}+")
_REVERSED = re.compile("\u202e([^\u202c\n]{2,4096})")


def escape_edits(text: str) -> Iterator[Edit]:
    """Yield each percent escape, HTML entity, JSON or C escape of ``text`` with what it stands for.

    Bytes are read as UTF-8; what is not a character (lone surrogates, bytes that are no UTF-8) stays as it is.
    Sources: RFC 3986 section 2.1, the HTML standard section 13.5, RFC 8259 section 7.
    """
    for found in _ESCAPE.finditer(text):
        start, end = found.span()
        kind = found.lastgroup or ""
        value = found.group(kind)
        if kind == "percent":
            pieces = byte_pieces(bytes.fromhex(value.replace("%", "")), text, start, 3)
        elif kind == "bytes":
            pieces = byte_pieces(bytes.fromhex(value.replace("\\x", "")[1:]), text, start, 4)
        else:
            character = _character(kind, value, found)
            pieces = [Piece(character, start, end - start)] if character else []
        if pieces:
            yield Edit(start, end, pieces)


def _character(kind: str, value: str, found: re.Match[str]) -> str:
    """Return what one escape stands for, ``""`` for nothing that is a character."""
    if kind == "one":
        return _ONE.get(value, value)
    if kind == "name":
        return html5.get(value, "")
    if kind == "low":
        return chr(0x10000 + (int(found.group("high"), 16) - 0xD800) * 0x400 + int(value, 16) - 0xDC00)
    point = int(value, {"decimal": 10, "octal": 8}.get(kind, 16))
    return "" if point == 0 or point > 0x10FFFF or 0xD800 <= point <= 0xDFFF else chr(point)


def byte_pieces(raw: bytes, text: str, start: int, size: int) -> list[Piece]:
    """Return UTF-8 ``raw`` as pieces, each byte written in ``size`` characters of ``text`` from ``start`` on."""
    if raw.isascii():
        return [Piece(raw.decode("ascii"), start, size, 1)]
    pieces: list[Piece] = []
    at = start
    for character in raw.decode("utf-8", "surrogateescape"):
        if "\udc80" <= character <= "\udcff":
            pieces.append(Piece(text[at : at + size], at, 1, 1))
            at += size
        else:
            width = len(character.encode()) * size
            pieces.append(Piece(character, at, width))
            at += width
    return pieces


def quoted_printable_edits(text: str) -> Iterator[Edit]:
    """Yield the quoted-printable escapes and soft line breaks of ``text`` (RFC 2045 section 6.7)."""
    for found in _QUOTED.finditer(text):
        start, end = found.span()
        value = found.group(1)
        raw = bytes.fromhex(value.replace("=", "")) if value else b""
        yield Edit(start, end, byte_pieces(raw, text, start, 3) if raw else [])


def hidden_edits(text: str) -> Iterator[Edit]:
    """Yield what is written in tag characters, in variation selectors (a byte each) or reversed, in the raw text.

    Folding drops these characters; a model may read them. Reversed: from U+202E to U+202C or the line's end.
    """
    edits: list[Edit] = []
    for found in _TAGS.finditer(text):
        plain = "".join(chr(ord(c) - 0xE0000) for c in found.group())
        edits.append(Edit(found.start(), found.end(), [Piece(plain, found.start(), 1, 1)]))
    for found in _SELECTORS.finditer(text):
        raw = bytes(ord(c) - (0xFE00 if c < "\U000e0000" else 0xE00F0) for c in found.group())
        edits.append(Edit(found.start(), found.end(), byte_pieces(raw, text, found.start(), 1)))
    for found in _REVERSED.finditer(text):
        start, end = found.span(1)
        edits.append(Edit(start, end, [Piece(found.group(1)[::-1], start, end - start)]))
    done = 0
    for edit in sorted(edits, key=lambda e: (e.start, -e.end)):
        if edit.start >= done:
            yield edit
            done = edit.end
