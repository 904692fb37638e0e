"""Encoded segments: base64, base32 and hex that hold text; digests in hex, which hold none."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from trustplane.guard.text.spans import Edit, Piece

__all__ = ["SEGMENT_GATE", "SPACED_GATE", "in_digest", "segment_edits", "spaced_hex_edits"]

_C = "[A-Za-z0-9+/_-]"
_L = "[A-Za-z+/_-]"
_DIGIT_AT = "|".join(f"{_L}{{{i}}}[0-9]{_C}{{{max(0, 11 - i)}}}" for i in range(14))
SEGMENT_GATE = f"{_C}{{14}}|{_C}{{8}}=|(?:^|[^A-Za-z0-9+/_-])(?:{_DIGIT_AT})"
"""RE2: matches every text that ``segment_edits`` finds something in: runs of 14, padded ones, 12 with a digit.

The alternatives are told apart by where the first digit stands, so that the automaton stays small.
"""
SPACED_GATE = r"[0-9A-Fa-f]{2}(?:[ :,;-]{1,2}(?:0x)?[0-9A-Fa-f]{2}){6}"
"""RE2: matches every text that ``spaced_hex_edits`` finds something in."""
_RUN = re.compile(rf"{_C}{{8,}}+(?:[ \t]*\r?\n[ \t]*+{_C}{{2,}}+)*+(={{0,6}})")
_LINE = re.compile(rf"{_C}++")
_SHOWN = bytes(
    ord("x") if re.match(_C, chr(byte)) else ord(" ") if byte in b" \t\r" else byte if byte in b"=\n" else ord(".")
    for byte in range(256)
)
_HOPE = re.compile(rb"xxxxxxxx(?:xxxx|=| *+\n *+x)")
"""Where a run that may hold something begins, in ``_SHOWN`` form: with 12 characters, padding or a second line."""
_PART = re.compile(r"[A-Za-z0-9]{12,}+")
_HEX = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2}){7,}+)[0-9A-Fa-f]?\Z")
_BASE32 = re.compile(r"[A-Z2-7]{16,}+\Z")
_MIXED = re.compile("[0-9]|[a-z][A-Z]")
_URL_SAFE = str.maketrans("-_", "+/")
_SPACED = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{2}([ :,;-]{1,2})(?:0x)?[0-9A-Fa-f]{2}"
    r"(?:\1(?:0x)?[0-9A-Fa-f]{2}){5,}+(?![0-9A-Za-z])"
)
_PAIR = re.compile(r"(?:0x)?[0-9A-Fa-f]{2}(?!x)")
_BAD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff]")
_DIGEST = 32
"""Hexadecimal digits of the shortest digest that is in common use, MD5 (RFC 1321)."""
_DIGITS = re.compile(rf"(?=[0-9]*+[A-Fa-f])(?:[0-9a-f]{{{_DIGEST},}}+|[0-9A-F]{{{_DIGEST},}}+)")
_HEX_DIGITS = frozenset("0123456789ABCDEFabcdef")
_HEAD = 24
"""Bytes that are looked at before a whole segment is decoded; in a text at most two of them are no text."""
_TEXT = bytes((9, 10, 13, *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF5)))


def segment_edits(text: str) -> Iterator[Edit]:
    """Yield the base64 (both alphabets, padded or not, over several lines), base32 and hex segments that hold text.

    A segment counts when at most a tenth of what it decodes to is no printable UTF-8 (or UTF-16LE). Each
    character is decoded at most a dozen times. A place in the decoded text maps to the whole groups that
    encode it: 4 characters in base64, 8 in base32, 2 in hex. Sources: RFC 4648, RFC 2045 section 6.8.
    """
    for run in _runs(text):
        if "\n" not in run.group():  # a single line, as most are
            padding = len(run.group(1))
            start, end = run.span()
            if pieces := _decoded(text[start : end - padding], bool(padding)):
                pieces = [piece._replace(origin=piece.origin + start) for piece in pieces]
                yield Edit(start, end, _closed(pieces, start, end))
            else:
                yield from _parts(text, start, end)
            continue
        lines = [line.span() for line in _LINE.finditer(text, run.start(), run.end() - len(run.group(1)))]
        padded = bool(run.group(1))
        for first, last, pieces in _blocks(text, lines, padded):
            start = lines[first][0]
            end = run.end() if last == len(lines) else lines[last - 1][1]
            if pieces:
                yield Edit(start, end, _closed(pieces, start, end))
            else:
                yield from _parts(text, start, end)


def _runs(text: str) -> Iterator[re.Match[str]]:
    """Yield the runs, without those of one line with less than 12 characters and no padding: they hold nothing."""
    shown = text.encode("ascii", "replace").translate(_SHOWN)
    at = 0
    while hope := _HOPE.search(shown, at):
        start = hope.start()
        while start > at and shown[start - 1] == 0x78:  # at most three, else it would have been found there
            start -= 1
        run = _RUN.match(text, start)
        if run is None:
            raise AssertionError("eight characters are a run")
        yield run
        at = run.end()


def _blocks(text: str, lines: list[tuple[int, int]], padded: bool) -> Iterator[tuple[int, int, list[Piece]]]:
    """Yield lines ``[first, last)`` and what they hold together: equal lines and a shorter last one, or one alone."""
    first = 0
    while first < len(lines):
        width = lines[first][1] - lines[first][0]
        last = first + 1
        while last < len(lines) and lines[last][1] - lines[last][0] == width:
            last += 1
        pieces: list[Piece] = []
        for end in (last + 1, last):
            if end <= len(lines) and end > first + 1 and (end == last or lines[last][1] - lines[last][0] < width):
                whole = padded and end == len(lines)
                other = _decoded("".join(text[a:b] for a, b in lines[first:end]), whole)
                if other and (not pieces or _bad(other) < _bad(pieces)):
                    places = [place for a, b in lines[first:end] for place in range(a, b)]
                    pieces, found = [moved for piece in other for moved in _moved(piece, places)], end
        if pieces:
            yield first, found, pieces
            first = found
        for number in range(first, last):
            a, b = lines[number]
            alone = _decoded(text[a:b], padded and number + 1 == len(lines))
            yield number, number + 1, [piece._replace(origin=piece.origin + a) for piece in alone]
        first = max(first, last)


def _bad(pieces: list[Piece]) -> int:
    return sum(len(_BAD.findall(piece.text)) + piece.text.count("\ufffd") for piece in pieces)


def _closed(pieces: list[Piece], start: int, end: int) -> list[Piece]:
    """Return ``pieces`` with what stands before the first (``0x``) and after the last (padding) made part of them."""
    if pieces[0].origin > start:
        pieces[:1] = [*_cut(pieces[0], 1)]
        first = pieces[0]
        pieces[0] = Piece(first.text, start, first.size + first.origin - start)
    pieces[-1:] = [*_cut(pieces[-1], -1)]
    last = pieces[-1]
    pieces[-1] = Piece(last.text, last.origin, end - last.origin)
    return pieces


def _cut(piece: Piece, at: int) -> Iterator[Piece]:
    """Yield ``piece`` in two, cut after its first (``at`` 1) or before its last (-1) group."""
    units = -(-len(piece.text) // piece.per) if piece.per else 1
    if units == 1:
        yield piece._replace(per=0)
        return
    head = at % units
    yield Piece(piece.text[: head * piece.per], piece.origin, piece.size, piece.per)
    yield Piece(piece.text[head * piece.per :], piece.origin + head * piece.size, piece.size, piece.per)


def _parts(text: str, start: int, end: int) -> Iterator[Edit]:
    """Yield what the parts between marks of ``text[start:end]`` hold, where the whole holds nothing."""
    for part in _PART.finditer(text, start, end):
        a, b = part.span()
        if b - a < end - start and (pieces := _decoded(part.group(), False, shifts=1)):
            yield Edit(a, b, _closed([piece._replace(origin=piece.origin + a) for piece in pieces], a, b))


def _moved(piece: Piece, places: list[int]) -> Iterator[Piece]:
    """Yield ``piece``, whose origin counts joined characters, group by group at its places over several lines."""
    per = piece.per or len(piece.text)
    for number in range(-(-len(piece.text) // per)):
        first = piece.origin + number * piece.size
        origin = places[first]
        yield Piece(piece.text[number * per : (number + 1) * per], origin, places[first + piece.size - 1] + 1 - origin)


def _decoded(segment: str, padded: bool, shifts: int = 4) -> list[Piece]:
    """Return the text that a segment holds, as pieces with origins in the segment; nothing if it holds none.

    ``shifts``: before how many of its first characters base64 may begin.
    """
    if (found := _HEX.match(segment)) and (pieces := _text(bytes.fromhex(found.group(1)), found.start(1), 1, 2)):
        return pieces
    if _BASE32.match(segment) and (pieces := _base32(segment)):
        return pieces
    if not padded and (len(segment) < 12 or (len(segment) < 16 and not _MIXED.search(segment))):
        return []
    plain = segment.translate(_URL_SAFE)
    for skip in range(min(shifts, len(plain) - 10)):
        head = binascii.a2b_base64(plain[skip : skip + 32][: (len(plain) - skip) // 4 * 4])
        if not _hopeful(head):
            continue
        rest = (len(plain) - skip) % 4
        body = plain[skip : len(plain) - (rest == 1)]
        if pieces := _text(binascii.a2b_base64(body + "=" * (-len(body) % 4)), skip, 3, 4):
            return pieces
    return []


def _base32(segment: str) -> list[Piece]:
    rest = len(segment) % 8
    whole = segment if rest in (0, 2, 4, 5, 7) else segment[: len(segment) - rest]
    try:
        raw = base64.b32decode(whole + "=" * (-len(whole) % 8))
    except binascii.Error:
        return []
    return _text(raw, 0, 5, 8) if _hopeful(raw[:_HEAD]) else []


def _hopeful(head: bytes) -> bool:
    wide = head[1::2]
    return len(head.translate(None, _TEXT)) <= len(head) // 12 or wide.count(0) >= len(wide) - 1


def _text(raw: bytes, origin: int, width: int, size: int) -> list[Piece]:
    """Return ``raw`` as pieces if it is text; ``width`` bytes are written in ``size`` characters from ``origin`` on."""
    if raw.isascii():
        text = raw.decode("ascii")
        if len(_BAD.findall(text)) * 10 <= len(text):
            whole = len(raw) // width * width
            tail = Piece(text[whole:], origin + whole // width * size, -(-(len(raw) - whole) * size // width))
            return [piece for piece in (Piece(text[:whole], origin, size, width), tail) if piece.text]
    text = raw.decode("utf-8", "surrogateescape")
    if len(_BAD.findall(text)) * 10 <= len(text):
        return _per_character(text, [len(c.encode("utf-8", "surrogateescape")) for c in text], origin, width, size)
    if raw[1::2].count(0) * 10 >= len(raw[1::2]) * 9:
        text = raw[: len(raw) // 2 * 2].decode("utf-16-le", "replace")
        if text and len(_BAD.findall(text)) * 10 <= len(text):
            return _per_character(text, [2 if c < "\U00010000" else 4 for c in text], origin, width, size)
    return []


def _per_character(text: str, widths: list[int], origin: int, width: int, size: int) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    total = -(-sum(widths) * size // width)
    for character, count in zip(text, widths, strict=True):
        first = at // width * size
        last = min(total, ((at + count - 1) // width + 1) * size)
        pieces.append(Piece(_kept(character), origin + first, last - first))
        at += count
    return pieces


def _kept(character: str) -> str:
    return "\ufffd" if "\ud800" <= character <= "\udfff" else character


def spaced_hex_edits(text: str) -> Iterator[Edit]:
    """Yield runs of seven or more hex pairs with one separator that hold text: ``34 31 31``, ``0x34, 0x31``."""
    for run in _SPACED.finditer(text):
        pairs = [pair.span() for pair in _PAIR.finditer(text, *run.span())]
        raw = bytes.fromhex("".join(text[b - 2 : b] for _, b in pairs))
        if not _text(raw, 0, 1, 2):
            continue
        pieces: list[Piece] = []
        at = 0
        for character in raw.decode("utf-8", "surrogateescape"):
            width = len(character.encode("utf-8", "surrogateescape"))
            pieces.append(Piece(_kept(character), pairs[at][0], pairs[at + width - 1][1] - pairs[at][0]))
            at += width
        yield Edit(run.start(), run.end(), pieces)


def in_digest(text: str, start: int, end: int) -> bool:
    """Return whether a span is a part of a longer unbroken run of hexadecimal digits that is as long as a digest.

    The run has one case and, in the span or 32 characters from it, a letter. No more than that is looked at.
    """
    beside = {text[start - 1 : start], text[end : end + 1]}
    if beside.isdisjoint(_HEX_DIGITS) or not text[start:end].isalnum():  # so it is in no longer run
        return False
    low = max(0, start - _DIGEST)
    return any(
        run.start() <= start - low and end - low <= run.end() and run.end() - run.start() > end - start
        for run in _DIGITS.finditer(text[low : end + _DIGEST])
    )
