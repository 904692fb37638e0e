"""The first structured rules: cards, phones, e-mail, resident IDs, keys."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterator

from trustplane.guard.text.hit import Hit, Rule

__all__ = ["RULES", "is_luhn", "is_resident_id"]


_LETTER = "A-Za-z0-9"
_CARD = re.compile(r"(?<![\d])\d(?:[ -]?\d){11,}(?!\d)")
_GROUP = re.compile(r"\d+")
_RESIDENT = re.compile(rf"(?<![{_LETTER}])([1-9]\d{{5}})[ -]?(\d{{8}})[ -]?(\d{{3}}[\dXx])(?![{_LETTER}])")
_CN_MOBILE = re.compile(r"(?<![\d+A-Za-z])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)")
_PLUS_PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ .()-]{0,2}\d){7,14}(?!\d)", re.ASCII)
_NANP_PHONE = re.compile(
    r"(?<![\w-])(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}(?![\w-])", re.ASCII
)
_EMAIL = re.compile(
    rf"[{_LETTER}._%+'-]{{1,64}}@[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?"
    rf"(?:\.[{_LETTER}](?:[{_LETTER}-]{{0,61}}[{_LETTER}])?){{1,8}}"
)
_KEYS = re.compile(
    rf"(?<![{_LETTER}])(?:"
    r"sk-[A-Za-z0-9_-]{16,}"
    r"|[srp]k_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}"
    r"|glpat-[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{30,}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"
    r")"
)
_PEM = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{0,40})PRIVATE KEY(?: BLOCK)?-----"
    r"[^\x00]*?(?:-----END \1PRIVATE KEY(?: BLOCK)?-----|(?=\x00)|\Z)"
)


def is_luhn(digits: str) -> bool:
    """Return whether ``digits`` (ASCII digits only) passes the Luhn check (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = ord(digit) - 48
        if index % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_resident_id(number: str) -> bool:
    """Return whether 18 characters are a Chinese resident ID: region, birth date, check (GB 11643-1999)."""
    if len(number) != 18 or not number[:17].isdigit() or not number.isascii():
        return False
    if not 11 <= int(number[:2]) <= 91:
        return False
    try:
        born = datetime.date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    if not 1850 <= born.year <= 2100:
        return False
    rest = sum(int(d) * w for d, w in zip(number[:17], _WEIGHTS, strict=True)) % 11
    return number[17].upper() == "10X98765432"[rest]


def _cards(text: str) -> Iterator[Hit]:
    """Try each run of whole digit groups that has 12 to 19 digits, the longest first."""
    for found in _CARD.finditer(text):
        groups = [(m.start(), m.end()) for m in _GROUP.finditer(text, *found.span())]
        first = 0
        while first < len(groups):
            digits, best = "", -1
            for last in range(first, len(groups)):
                digits += text[slice(*groups[last])]
                if len(digits) > 19:
                    break
                if len(digits) >= 12 and len(set(digits)) > 1 and is_luhn(digits):
                    best = last
            if best >= 0:
                yield Hit("CREDIT_CARD", groups[first][0], groups[best][1], 0.9)
            first = first + 1 if best < 0 else best + 1


def _resident_ids(text: str) -> Iterator[Hit]:
    for found in _RESIDENT.finditer(text):
        if is_resident_id("".join(found.groups())):
            yield Hit("CN_RESIDENT_ID", found.start(), found.end(), 1.0)


def _pattern(rule: str, pattern: re.Pattern[str], score: float) -> Callable[[str], Iterator[Hit]]:
    def search(text: str) -> Iterator[Hit]:
        for found in pattern.finditer(text):
            yield Hit(rule, found.start(), found.end(), score)

    return search


RULES: tuple[Rule, ...] = (
    Rule("own/credit_card", "1", ("CREDIT_CARD",), _cards),
    Rule("own/cn_resident_id", "1", ("CN_RESIDENT_ID",), _resident_ids),
    Rule("own/cn_mobile", "1", ("PHONE_NUMBER",), _pattern("PHONE_NUMBER", _CN_MOBILE, 0.8)),
    Rule("own/phone_plus", "1", ("PHONE_NUMBER",), _pattern("PHONE_NUMBER", _PLUS_PHONE, 0.7)),
    Rule("own/phone_nanp", "1", ("PHONE_NUMBER",), _pattern("PHONE_NUMBER", _NANP_PHONE, 0.7)),
    Rule("own/email", "1", ("EMAIL_ADDRESS",), _pattern("EMAIL_ADDRESS", _EMAIL, 0.9)),
    Rule("own/api_key", "1", ("API_KEY",), _pattern("API_KEY", _KEYS, 0.9)),
    Rule("own/private_key", "1", ("PRIVATE_KEY",), _pattern("PRIVATE_KEY", _PEM, 1.0)),
)
