"""Payment cards: numbers of all networks by Luhn and issuer prefix, expiry dates, verification codes."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.rules.checks import is_luhn
from trustplane.guard.text.rules.context import Words, is_emphasis, seek

__all__ = ["RULES", "network", "networks"]

_RUN = re.compile(r"\d(?:[ ._/\n\u2010-\u2015-]?\d){11,}", re.ASCII)
_GROUP = re.compile(r"\d+", re.ASCII)
_GLUED_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{3,10}\Z")
_USUAL = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 5, 6), (4, 4, 4, 4, 3), (6, 13), (4, 4, 4, 1), (4, 4, 4), (8, 8)}
_CARD = Words(
    "card", "cards", "card no", "card number", "credit", "debit", "visa", "mastercard", "maestro", "amex",
    "american express", "discover", "diners", "jcb", "unionpay", "rupay", "verve", "pan", "cc", "payment", "pay",
    "carte", "karte", "kreditkarte", "tarjeta", "carta", "cartão", "карта", "карты", "kart", "kartı",
    "卡号", "银行卡", "信用卡", "储蓄卡", "借记卡", "卡號", "银联", "账号", "账户", "尾号", "カード",
)  # fmt: skip


@functools.cache
def networks() -> dict[str, dict[str, Any]]:
    """Return the table of networks: ``prefixes`` (one or ``low-high``), ``lengths``, ``luhn`` where optional."""
    return tomllib.loads(files(__package__).joinpath("cards.toml").read_text(encoding="utf-8"))


@functools.cache
def _tree() -> dict[str, dict[int, str]]:
    """Return prefix → length → network, ranges written out; the longest prefix that fits decides."""
    table: dict[str, dict[int, str]] = {}
    for name, entry in networks().items():
        for prefix in entry["prefixes"]:
            low, _, high = prefix.partition("-")
            for number in _cover(low, high or low):
                for length in entry["lengths"]:
                    table.setdefault(number, {}).setdefault(length, name)
    return table


def _cover(low: str, high: str) -> Iterator[str]:
    """Give the fewest prefixes that together are the range from ``low`` to ``high``, of equal length."""
    if low == high:
        yield low
    elif low.strip("0") == "" and high.strip("9") == "":
        yield ""
    else:
        for digit in range(int(low[0]), int(high[0]) + 1):
            first = low[1:] if str(digit) == low[0] else "0" * (len(low) - 1)
            last = high[1:] if str(digit) == high[0] else "9" * (len(high) - 1)
            for rest in _cover(first, last):
                yield f"{digit}{rest}"


def network(digits: str) -> str | None:
    """Return the network that issues numbers with this prefix and length, None if none does."""
    return _issuers(digits).get(len(digits))


def _issuers(digits: str) -> dict[int, str]:
    """Return length → network for a number that begins with ``digits``, the longest prefix first."""
    table = _tree()
    found: dict[int, str] = {}
    for size in range(8, 0, -1):
        if entry := table.get(digits[:size]):
            found = entry | found
    return found


def _cards(text: str) -> Iterator[Hit]:
    """Try each run of whole digit groups with 12 to 19 digits, known networks and usual groupings first.

    In a column of equally long numbers, neighbours pass Luhn by chance: a card made of several of them counts where
    it is the whole column, another card stands beside it, or a word names it.
    """
    for found in _RUN.finditer(text):
        groups = [m.span() for m in _GROUP.finditer(text, *found.span())]
        digits = "".join(text[a:b] for a, b in groups)
        sizes = [b - a for a, b in groups]
        cards: list[tuple[int, int, float]] = []
        first = position = 0
        while first < len(groups):
            last, score = -1, 0.0
            if sizes[first] > 2 or first == 0 or sizes[first - 1] != sizes[first]:  # short groups: only the whole run
                last, score = _longest(text, digits[position : position + 20], groups, sizes, first)
            if last > first and _in_column(text, groups, sizes, first, last):
                last = -1
            if last >= 0:
                cards.append((first, last, score))
            following = max(first, last) + 1
            position += sum(sizes[first:following])
            first = following
        ends = {end for first, last, _ in cards for end in (first, last)}
        for first, last, score in cards:
            hit = Hit("CREDIT_CARD", groups[first][0], groups[last][1], score)
            beside = first - 1 in ends or last + 1 in ends
            if beside or not _is_bare(text, groups, sizes, first, last) or _CARD.near(text, hit.start, hit.end):
                yield hit


def _is_bare(text: str, groups: list[tuple[int, int]], sizes: list[int], first: int, last: int) -> bool:
    """Return whether a card is made of lines of a longer column: one number a line, nothing else, equally long."""
    low, high = max(0, first - 1), min(len(groups), last + 2)
    if first == last or high - low == last + 1 - first or min(sizes[low:high]) != max(sizes[low:high]):
        return False
    start, end = groups[low][0], groups[high - 1][1]
    lines = text.count("\n", start, end) + 1
    return lines == high - low and text[start - 1 : start] in ("", "\n") and text[end : end + 1] in ("", "\n")


def _in_column(text: str, groups: list[tuple[int, int]], sizes: list[int], first: int, last: int) -> bool:
    """Return whether a card that runs over a line's end is a part of a longer column of other numbers."""
    broken = "\n" in text[groups[first][0] : groups[last][1]]
    usual = tuple(sizes[first : last + 1]) in _USUAL
    return broken and not usual and (first > 0 or last + 1 < len(groups))


def _longest(text: str, digits: str, groups: list[tuple[int, int]], sizes: list[int], first: int) -> tuple[int, float]:
    """Return the last group and the score of the best card that begins at ``first``, -1 for none."""
    best, best_score = -1, 0.0
    if digits.count(digits[0]) == len(digits) or digits.startswith("000"):
        return best, best_score
    issuers: dict[int, str] | None = None
    size, last = 0, first
    while last < len(groups) and size + sizes[last] <= 19:
        size += sizes[last]
        last += 1
        if size < 12 or (sizes[first] < 3 and last < len(groups) and sizes[last] == sizes[first]):
            continue
        issuers = _issuers(digits) if issuers is None else issuers
        whole = tuple(sizes[first:last])
        score = _score(text, digits[:size], issuers.get(size), groups[first][0], groups[last - 1][1], whole)
        if score:
            best, best_score = last - 1, max(score, best_score)
    return best, best_score


def _score(text: str, digits: str, issuer: str | None, start: int, end: int, sizes: tuple[int, ...]) -> float:
    valid = is_luhn(digits)
    if not valid and (issuer is None or "luhn" not in networks()[issuer]):
        return 0.0
    usual = len(sizes) == 1 or sizes in _USUAL or max(sizes) == 1
    if not usual and (issuer is None or not valid):
        return 0.0
    if not _stands_alone(text, start, end, alone=len(sizes) == 1):
        return 0.0
    said = _CARD.near(text, start, end)
    if issuer is None or not valid:
        return 0.6 if said and len(digits) > 12 else 0.0
    if said:
        return 0.98 if usual else 0.9
    if issuer in ("uatp", "gpn", "china_t_union") or len(digits) == 12:
        return 0.5
    return 0.9 if usual else 0.5


def _stands_alone(text: str, start: int, end: int, *, alone: bool) -> bool:
    """Return whether the digits are no part of a word, a fraction, an amount or an international phone number."""
    before, after = text[max(0, start - 12) : start], text[end : end + 2]
    if before[-1:] == "+":
        return False
    if before[-1:].isascii() and before[-1:].isalpha() and not _GLUED_WORD.search(before):
        return False
    if after[:1].isascii() and after[:1].isalpha():
        return False
    if after[:1] == "_" and not is_emphasis(text, start, end):
        return False
    if alone and before[-1:] in (".", ",") and before[-2:-1].isdigit():
        return False
    return not (alone and after[:1] in (".", ",") and after[1:2].isdigit())


_EXPIRY_WORDS = (
    r"(?:exp(?:iry|ires|iration)?(?: ?date)?|valid (?:thru|through|until|till)|good thru|有效期至?|到期日?|效期)"
)
_EXPIRY = re.compile(
    rf"(?<![A-Za-z]){_EXPIRY_WORDS}[^\dA-Za-z\n]{{0,6}}(?:is |at |on |为|是|到)?[^\dA-Za-z\n]{{0,3}}"
    r"(?P<value>(?:0[1-9]|1[0-2]) ?[/\-. ] ?(?:20)?\d{2}|20\d{2} ?[/\-.年] ?(?:0?[1-9]|1[0-2])月?)(?![\d/.-]\d|\d)",
    re.IGNORECASE | re.ASCII,
)
_CVV = re.compile(
    r"(?<![A-Za-z])(?:cvv2?|cvc2?|cvn2?|cid|csc|card (?:security|verification) (?:code|number|value)|security code"
    r"|安全码|验证码\(?cvv\)?|校验码|卡背面(?:后)?三位(?:数|码)?)(?: ?(?:code|number|no\.?|is|=|为|是))?"
    r"[^\dA-Za-z\n]{0,6}(?P<value>\d{3,4})(?!\d|[.,]\d)",
    re.IGNORECASE | re.ASCII,
)

RULES: tuple[Rule, ...] = (
    Rule(
        "own/credit_card",
        "4",
        ("CREDIT_CARD",),
        _cards,
        gate=(r"[0-9](?:[^0-9A-Za-z]?[0-9]){11,}",),
        source="ISO/IEC 7812-1; issuer prefixes in cards.toml",
        examples=("4111 1111 1111 1111", "378282246310005", "2223003122003222", "card 6759649826438453"),
        reach=128,
    ),
    Rule(
        "own/card_expiry",
        "1",
        ("CARD_EXPIRY",),
        seek("CARD_EXPIRY", _EXPIRY, 0.8, group="value"),
        gate=(
            r"(?i)(?:^|[^A-Za-z])exp(?:iry|ires|iration)?(?:[^A-Za-z]|date|is |at |on )",
            r"(?i)valid (?:thru|through|until|till)|good thru|效期|到期",
        ),
        source="ISO/IEC 7813",
        examples=("exp 09/27", "有效期至 09/27"),
    ),
    Rule(
        "own/card_cvv",
        "1",
        ("CARD_CVV",),
        seek("CARD_CVV", _CVV, 0.8, group="value"),
        gate=(r"(?i)cv[vcn]|cid|csc|security|verification|安全码|验证码|校验码|三位",),
        source="PCI DSS v4.0, glossary",
        examples=("CVV: 123", "安全码 123"),
    ),
)
"""Numbers, expiry dates and verification codes of payment cards."""
