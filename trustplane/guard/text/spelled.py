"""Values written out: e-mail addresses with ``at`` and ``dot``, numbers in Chinese digits, cards taken apart."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trustplane.guard.text.spans import Edit, Piece

__all__ = ["APART_GATE", "SPELLED_GATE", "STOP_GATE", "apart_edits", "han_edits", "spelled_edits", "stop_edits"]

_AT = r"(?: ?[\[({<] ?(?:[aA][tT]|AT|@|艾特) ?[\])}>] ?|艾特)"
_DOT = r"(?: ?[\[({<] ?(?:[dD][oO][tT]|\.|点) ?[\])}>] ?|点| (?:dot|DOT|Dot) |\.)"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCAL = rf"(?<![A-Za-z0-9._%+-])(?P<local>[A-Za-z0-9_%+-]{{1,64}}+(?:{_DOT}[A-Za-z0-9_%+-]{{1,64}}+){{0,3}}?)"
_SPELLED = re.compile(
    rf"{_LOCAL}(?:{_AT}(?P<marked>{_LABEL}(?:{_DOT}{_LABEL}){{1,4}})"
    rf"| (?:at|AT|At) (?!(?:the|a|an|this|that|our|your|my) )(?P<spoken>{_LABEL}(?: (?:dot|DOT|Dot) {_LABEL}){{1,4}})"
    rf"|@(?P<plain>{_LABEL}(?:(?: ?[\[({{<] ?(?:[dD][oO][tT]|\.|点) ?[\])}}>] ?| (?:dot|DOT|Dot) |点){_LABEL}){{1,4}}))"
)
_DOTS = re.compile(_DOT)
SPELLED_GATE = (
    r"(?i)[\[({<][ ?]?(?:at|@|\?\?)[ ?]?[\])}>]|\bdot\b"
    r"|@[A-Za-z0-9-]{1,63}[ \[({<?]{1,2}(?:dot|\.|[A-Za-z0-9])"
)
"""RE2, over the text with ``?`` for what is not ASCII; the Chinese spellings are looked for by themselves."""
STOP_GATE = r"@[A-Za-z0-9-]{1,63}\?[A-Za-z0-9]|[0-9]\?[0-9]{1,3}\?[0-9]{1,3}\?[0-9]"
"""RE2, over the same: matches every text that ``stop_edits`` finds something in."""
_STOP = re.compile(
    r"(?:@[A-Za-z0-9-]{1,63}|(?<![0-9.])[0-9]{1,3}(?=。[0-9]{1,3}。[0-9]{1,3}。[0-9]{1,3}(?![0-9])))"
    r"(?:。(?:[A-Za-z]{2,63}|[0-9]{1,3})){1,4}+(?![A-Za-z0-9.])"
)
_HAN = {"〇": "0", "零": "0", "幺": "1", "两": "2", "兩": "2"}
for _row in ("一二三四五六七八九", "壹贰叁肆伍陆柒捌玖", "壹貳參肆伍陸柒捌玖"):
    _HAN |= {c: str(i) for i, c in enumerate(_row, 1)}
_HAN_CLASS = "".join(_HAN)
_HAN_RUN = re.compile(rf"(?<![0-9])[0-9{_HAN_CLASS}](?:[ -]?[0-9{_HAN_CLASS}]){{6,63}}+(?:[Xx](?![A-Za-z0-9]))?")
_HAN_TABLE = str.maketrans(_HAN)

_BREAK = r"(?:[ ._/,|:*+\\~\n\r\t-]{1,3})"
APART_GATE = (
    rf"[0-9](?:{_BREAK}[0-9]){{12}}"
    rf"|[0-9]{{4}}{_BREAK}(?:[0-9]{{4}}{_BREAK}[0-9]{{4}}|[0-9]{{6}}{_BREAK}[0-9]{{5}})"
)
"""RE2: matches every text that ``apart_edits`` finds something in."""
_SINGLE = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9][ ._/,|:*+\\~\n\r\t-])"
    r"[0-9](?P<gap>[ ._/,|:*+\\~\n\r\t-]{1,3})[0-9](?:(?P=gap)[0-9]){11,17}+(?!(?P=gap)?[0-9A-Za-z])"
)
_GROUPS = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9][ ._/,|:*+\\~\n\r\t-])"
    r"(?:[0-9]{4}(?P<gap>[._/,|:*+\\~\n\r\t]|[ ._/,|:*+\\~\n\r\t-]{2,3})[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}"
    r"(?!(?P=gap)?[0-9A-Za-z])"
    r"|3[47][0-9]{2}(?P<other>[._/,|:*+\\~\n\r\t]|[ ._/,|:*+\\~\n\r\t-]{2,3})[0-9]{6}(?P=other)[0-9]{5}"
    r"(?!(?P=other)?[0-9A-Za-z]))"
)
_IIN = re.compile(r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|3(?:0[0-5]|[689])|35|6(?:011|4[4-9]|5|2)|62")
"""First digits of card networks (ISO/IEC 7812 ranges of Visa, Mastercard, Amex, Diners, JCB, Discover, UnionPay)."""


def spelled_edits(text: str) -> Iterator[Edit]:
    """Yield e-mail addresses written as ``name [at] example (dot) org``, ``name at example dot org``, 艾特 and 点.

    Without brackets both ``at`` and every ``dot`` must be spelled, so that prose is left alone.
    """
    for found in _SPELLED.finditer(text):
        domain = found.group("marked") or found.group("spoken") or found.group("plain")
        plain = _DOTS.sub(".", found.group("local")) + "@" + _DOTS.sub(".", domain)
        yield Edit(found.start(), found.end(), [Piece(plain, found.start(), found.end() - found.start())])


def stop_edits(text: str) -> Iterator[Edit]:
    """Yield domains of e-mail addresses and IPv4 addresses whose dots are all ideographic full stops."""
    for found in _STOP.finditer(text):
        yield Edit(found.start(), found.end(), [Piece(found.group().replace("。", "."), found.start(), 1, 1)])


def han_edits(text: str) -> Iterator[Edit]:
    """Yield runs of seven to 64 digits that hold Chinese ones (一二三, 〇零, 壹贰叁, 幺, 两), in ASCII digits."""
    for found in _HAN_RUN.finditer(text):
        if not found.group().isascii():
            yield Edit(found.start(), found.end(), [Piece(found.group().translate(_HAN_TABLE), found.start(), 1, 1)])


def apart_edits(text: str) -> Iterator[Edit]:
    """Yield card numbers whose digits or groups of four stand apart by one repeated separator, put together.

    Only a number of 13 to 19 digits that begins as a card network's and passes the Luhn check counts.
    """
    places = {m.span() for pattern in (_SINGLE, _GROUPS) for m in pattern.finditer(text)}
    for start, end in sorted(places):
        digits = "".join(c for c in text[start:end] if c.isdigit())
        if _IIN.match(digits) and len(set(digits)) > 1 and _luhn(digits):
            yield Edit(start, end, [Piece(digits, start, end - start)])


def _luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0
