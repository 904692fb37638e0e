"""Phone numbers: national ones by the plans of the regions, international ones, any where a word says so."""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Callable, Collection, Iterator
from importlib.resources import files
from typing import NamedTuple

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.rules.cards import network
from trustplane.guard.text.rules.checks import is_luhn
from trustplane.guard.text.rules.context import Words, is_emphasis
from trustplane.guard.text.rules.numbering import Plan, country_code, international, plan

__all__ = ["RULES", "together"]

_DASH = "\\-\u2010-\u2015"
_RUN = re.compile(rf"\d(?:(?:[ .\u00b7/{_DASH}]|[ ]?[()/{_DASH}][ ]?|\)[ {_DASH}]?\()?\d){{5,}}", re.ASCII)
_GAP = rf"[.\u00b7]|[ \t\r\n]{{1,3}}|[ \t\r\n]{{0,3}}[()/{_DASH}][ \t\r\n]{{0,3}}|\)[ \t\r\n{_DASH}]{{0,3}}\("
_WIDE_RUN = re.compile(rf"\d(?:(?:{_GAP})?\d){{5,}}", re.ASCII)
_WIDE = re.compile(r"[\t\r\n]|[ ]{2}")
"""What lies between digits where somebody aligned or broke a number: more than the one blank of other numbers."""
_BLOCK = re.compile(r"\d+", re.ASCII)
_EXTENSION = re.compile(
    r"[ ,;]{0,2}(?:ext(?:ension|n)?\.?|extn|;ext=|x|#|int\.?|доб\.?|durchwahl|anexo|ramal|转|分机号?|內線|内線)"
    r"[ :=.]{0,2}\d{1,7}(?!\d)",
    re.IGNORECASE | re.ASCII,
)
_DATE = re.compile(
    rf"(?:(?:1[89]|20)\d\d([./ {_DASH}])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?!\d)"
    rf"|(?:0?[1-9]|[12]\d|3[01])([./ {_DASH}])(?:0?[1-9]|[12]\d|3[01])\2(?:1[89]|20)\d\d(?!\d)"
    rf"|(?:1[89]|20)\d\d ?[/{_DASH}] ?(?:1[89]|20)\d\d\Z)",
    re.ASCII,
)
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}\Z|\d+\.\d+\Z", re.ASCII)
_AMOUNT = re.compile(r"[1-9]\d{0,2}(?:[ .]\d{3})+\Z", re.ASCII)
_SAID = Words(
    "tel", "tel.", "tél", "telephone", "telephones", "phone", "phones", "phone number", "call", "call me", "calling",
    "fax", "mobile", "mob", "cell", "cellphone", "cellular", "landline", "hotline", "helpline", "whatsapp", "text",
    "sms", "dial", "ring", "contact", "desk", "office", "handset", "voicemail", "téléphone", "portable", "appelez",
    "telefon", "telefonnummer", "handy", "mobil", "rufnummer", "anrufen", "teléfono", "telefono", "móvil", "celular",
    "llame", "telefone", "telemóvel", "cellulare", "telefoon", "mobiel", "puhelin", "puh", "numer", "komórka",
    "тел", "телефон", "моб", "факс", "звоните", "电话", "手机", "手机号", "座机", "传真", "联系方式", "致电", "拨打",
    "热线", "電話", "手機", "携帯", "連絡先", "전화", "휴대폰",
    "연락처", "هاتف", "جوال", "טלפון", "โทร", "फ़ोन", "điện thoại",
)  # fmt: skip
_SAID_CLOSE = re.compile(
    r"(?:(?<![A-Za-z])(?:tel(?:ephone|efon|efono|efone)?|t[ée]l[ée]phone|teléfono|phone|fax|mob(?:ile"
    r"|il)?|cell(?:phone)?"
    r"|landline|hotline|desk|office|whatsapp|dial|ring|call|text|sms)(?![A-Za-z])|电话|手机号?码?|座机|传真|联系方式|热线|電話"
    r"|致电|拨打|тел|телефон)"
    r"(?:[ _-](?:me|us|him|her|someone|them|on|at|is|no|number|num|nr|back))*(?: ?(?:号码|是|为))?[\s.:#：=_*]{0,5}\Z",
    re.IGNORECASE,
)
_LAST_SAID = frozenset(
    (
        "tel", "telephone", "telefon", "telefono", "telefone", "phone", "fax", "mob", "mobile", "mobil", "cell",
        "cellphone", "landline", "hotline", "desk", "office", "whatsapp", "dial", "ring", "call", "text", "sms",
        "me", "us", "him", "her", "someone", "them", "on", "at", "is", "no", "number", "num", "nr", "back",
    )
)  # fmt: skip
"""The words of ``_SAID_CLOSE`` that are ASCII: in an ASCII text one of them is the last word of a match."""
_SAID_AFTER = re.compile(r"\s{0,2}\(?(?:fax|mobile|office|cell|home|work|desk|tel|phone)(?![A-Za-z])", re.IGNORECASE)
_GATE = rf"[0-9](?:[ \t\r\n.·/()+\-{_DASH[2:]}]{{0,7}}[0-9]){{5,}}"


_EXTENDS = frozenset(" ,;eExX#iIдДdDaArR转分內内")
"""What an extension may begin with."""
_LONGEST = 40
"""A run of more groups of digits is a list or a table of other numbers."""
_SURE = 0.7
"""A score that no further region needs to be asked for."""


class _Candidate(NamedTuple):
    """A run of digit groups: where each stands, all digits, the lengths, whether a ``+`` stands before them.

    ``wide``: more than one blank, a tab or a line's end lies between two groups; ``broken``: a line's end.
    """

    text: str
    start: int
    blocks: tuple[tuple[int, int], ...]
    digits: str
    sizes: tuple[int, ...]
    plus: bool
    wide: bool = False
    broken: bool = False

    @property
    def end(self) -> int:
        """The end of the number with its extension."""
        last = self.blocks[-1][1]
        found = _EXTENSION.match(self.text, last) if self.text[last : last + 1] in _EXTENDS else None
        return found.end() if found else last

    def part(self, first: int, last: int, offset: int) -> _Candidate:
        """Return the groups from ``first`` up to ``last``; ``offset``: how many digits stand before them."""
        start = self.blocks[first][0]
        sizes = self.sizes[first:last]
        if first == 0:
            start = self.start
        elif self.text[start - 1] == "(":
            start -= 1
        digits = self.digits[offset : offset + sum(sizes)]
        plus = self.plus and first == 0
        return _Candidate(self.text, start, self.blocks[first:last], digits, sizes, plus, self.wide, self.broken)


_Judge = Callable[[_Candidate, bool], float]
"""Takes a run or a part of one and whether it is the whole run; gives a score, 0 for no phone number."""


def _candidates(text: str) -> Iterator[_Candidate]:
    yield from _runs(text, _RUN)
    if "\n" in text or "  " in text or "\t" in text or "\r" in text:
        yield from _runs(text, _WIDE_RUN)


def _runs(text: str, pattern: re.Pattern[str]) -> Iterator[_Candidate]:
    for found in pattern.finditer(text):
        wide = pattern is _WIDE_RUN
        if wide and not _WIDE.search(found[0]):
            continue
        start = found.start()
        if text[start - 1 : start] == "(":
            start -= 1
        before = text[max(0, start - 2) : start]
        plus = before[-1:] == "+" or before == "+ "
        if plus:
            start -= 1 + (before[-1:] == " ")
            before = text[max(0, start - 1) : start]
            if before == "(" and text[start] == "+":
                start -= 1
        elif _is_other(text, start, found.end(), found[0]):
            continue
        run = text[start : found.end()]
        optional = "(0)" in run
        blocks = tuple([m.span() for m in _BLOCK.finditer(text, *found.span())])
        if optional:
            blocks = tuple([(a, b) for a, b in blocks if text[a - 1 : b + 1] != "(0)"])
        digits = "".join([text[a:b] for a, b in blocks])
        if digits and (plus or len(digits) < 14 or not (is_luhn(digits) and network(digits))):
            broken = wide and "\n" in found[0]
            yield _Candidate(text, start, blocks, digits, tuple([b - a for a, b in blocks]), plus, wide, broken)


def _is_other(text: str, start: int, end: int, run: str) -> bool:
    """Return whether the run is part of a word, an amount, a date, an address of a machine or a fraction."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:] == "_" and is_emphasis(text, start, end):
        before = after = ""
    if before and ((before[-1].isascii() and before[-1].isalnum()) or before[-1] in "_$€£¥@&%"):
        return True
    if before[-1:] in ("#", "=") and not _is_said(text[max(0, start - 40) : start]):
        return True
    if before and before[-1] in "-./,:" and (len(before) < 2 or before[0].isalnum()):
        return True
    if after and (after[0] in "_%@€$£" or (after[0] in ",.:" and after[1:].isdigit())):
        return True
    if after and after[0].isascii() and after[0].isalpha() and after[0] not in "xXeE":
        return True
    return bool(_DATE.match(run) or _DOTTED.match(run))


def _parts(candidate: _Candidate, first: int, offset: int) -> Iterator[_Candidate]:
    """Give the parts of the run that begin at group ``first``, the longest first, none of them the whole run."""
    sizes = candidate.sizes
    total, last = 0, first
    while last < min(len(sizes), first + 8) and total + sizes[last] <= 15:
        total += sizes[last]
        last += 1
    while last > first and total >= 7:
        if last - first < len(sizes):
            yield candidate.part(first, last, offset)
        last -= 1
        total -= sizes[last]


def _search(*judges: _Judge) -> Callable[[str], Iterator[Hit]]:
    """Return a search that tries each run of digits as a whole, then its parts from left to right."""

    def score(candidate: _Candidate, whole: bool) -> float:
        best = 0.0
        for judge in judges:
            best = max(best, judge(candidate, whole))
            if best >= _SURE:
                break
        return best

    def search(text: str) -> Iterator[Hit]:
        for candidate in _candidates(text):
            count = len(candidate.blocks)
            if candidate.wide and not _is_marked(candidate):
                continue
            if len(candidate.digits) <= 20 and (value := score(candidate, True)):
                yield Hit("PHONE_NUMBER", candidate.start, candidate.end, value)
                continue
            if count > 1 and max(candidate.sizes) > 1:
                yield from _within(candidate, score)

    return search


def _is_marked(candidate: _Candidate) -> bool:
    """Return whether a sign, a bracket or a word says that groups far from each other are a phone number."""
    text, end = candidate.text, candidate.blocks[-1][1]
    return candidate.plus or "(" in text[candidate.start : end] or _SAID.near(text, candidate.start, end)


def _within(candidate: _Candidate, score: _Judge) -> Iterator[Hit]:
    """Give the parts of a run that are phone numbers; each has a sign, a bracket, a zero or a word that says so.

    In a run of more than ``_LONGEST`` groups it must be a sign or a bracket.
    """
    text, count = candidate.text, len(candidate.blocks)
    longest = count > _LONGEST
    said = not longest and _SAID.near(text, candidate.start, candidate.blocks[-1][1])
    first = offset = 0
    while first < count:
        begin = candidate.blocks[first][0]
        taken = 0
        if said or (text[begin] == "0" and not longest) or text[begin - 1 : begin] in ("(", "+"):
            for part in _parts(candidate, first, offset):
                if value := score(part, False):
                    yield Hit("PHONE_NUMBER", part.start, part.end, value)
                    taken = len(part.blocks)
                    break
        following = first + (taken or 1)
        offset += sum(candidate.sizes[first:following])
        first = following


def _international(candidate: _Candidate, whole: bool) -> float:
    digits = candidate.digits
    exit_code = 0
    if not candidate.plus:
        exit_code = 2 if digits.startswith("00") else 3 if digits.startswith("011") else 0
        if not exit_code:
            return 0.0
    code = country_code(digits[exit_code:])
    if code is None or not 7 <= len(digits) - exit_code <= 17:
        return 0.0
    rest = digits[exit_code + len(code) :]
    plans = (p for p in international(code) if p.national(rest))
    if candidate.broken:
        plans = (p for p in plans if any(_ends_with(candidate.sizes, blocks) for blocks in p.blocks(rest)))
    if any(True for _ in plans):
        if not whole and candidate.blocks[-1][1] < len(candidate.text) and len(candidate.blocks) < 2:
            return 0.0
        return 0.8 if candidate.plus or len(candidate.blocks) > 1 else 0.5
    if not (whole and candidate.plus and len(rest) >= 5) or candidate.wide:
        return 0.0
    return 0.6 if _SAID.near(candidate.text, candidate.start, candidate.end, 24, 12) else 0.4


def _national(*regions: str) -> _Judge:
    """Return a judge of the national numbers of ``regions``, the best score of the first that is sure."""

    @functools.cache
    def plans(length: int) -> tuple[Plan, ...]:
        return tuple(numbers for numbers in map(plan, regions) if length in numbers.lengths)

    def judge(candidate: _Candidate, whole: bool) -> float:
        best = 0.0
        if candidate.plus:
            return best
        digits = candidate.digits
        said = functools.cache(lambda: _SAID.near(candidate.text, candidate.start, candidate.end))
        for numbers in plans(min(len(digits), 64)):
            if not whole and not numbers.may_group(candidate.sizes):
                continue
            found = numbers.national(digits)
            if found is None or len(found[0]) < 5:
                continue
            best = max(best, _judge(numbers, candidate, found[0], said, trunk=found[1], whole=whole))
            if best >= _SURE:
                break
        return best

    return judge


def _judge(
    numbers: Plan, candidate: _Candidate, national: str, near: Callable[[], bool], *, trunk: bool, whole: bool
) -> float:
    sizes = candidate.sizes
    usual = len(sizes) > 1 and any(_ends_with(sizes, blocks) for blocks in numbers.blocks(national))
    if not usual and (candidate.broken or not whole):
        return 0.0
    if usual and (trunk or len(national) >= 9 or len(sizes) > 2):
        score = 0.7
    elif usual or (trunk and len(national) >= 8 - (len(sizes) > 1)):
        score = 0.5
    else:
        score = 0.3
    if len(candidate.digits) < 7 or (not trunk and len(national) < 9 and _is_amount(candidate)):
        score = 0.3
    said = False
    if score < 0.7 or not whole:
        said = near()
    if not whole and not (said or trunk or candidate.text[candidate.start] == "("):
        return 0.0
    return 0.85 if said else score


def _is_amount(candidate: _Candidate) -> bool:
    """Return whether the digits are grouped by thousands, as an amount is."""
    return bool(_AMOUNT.match(candidate.text[candidate.start : candidate.blocks[-1][1]]))


def _ends_with(sizes: tuple[int, ...], blocks: tuple[int, ...]) -> bool:
    """Return whether the groups are the usual blocks, a trunk prefix before them or in the first one."""
    if len(blocks) < 2 and len(sizes) < 2:
        return False
    if sizes[-len(blocks) :] == blocks and len(sizes) - len(blocks) in (0, 1):
        return True
    return len(sizes) == len(blocks) and sizes[1:] == blocks[1:] and 0 < sizes[0] - blocks[0] <= 3


def _said(candidate: _Candidate, whole: bool) -> float:
    """Take any 7 to 15 digits, short and unassigned numbers too, where a word stands right beside them."""
    if not whole or candidate.broken or not 6 <= len(candidate.digits) <= 15:
        return 0.0
    before = candidate.text[max(0, candidate.start - 40) : candidate.start]
    if _is_said(before) or (len(candidate.blocks) > 1 and _SAID_AFTER.match(candidate.text, candidate.end)):
        return 0.6
    extended = candidate.end > candidate.blocks[-1][1] and len(candidate.digits) >= 7 and len(candidate.blocks) > 2
    return 0.5 if extended else 0.0


def _is_said(before: str) -> bool:
    """Return whether a word that announces a number stands at the end of ``before``."""
    if before.isascii():
        shown = before.rstrip(" \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f.:#=_*")
        if shown[len(shown.rstrip(string.ascii_letters)) :].lower() not in _LAST_SAID:
            return False
    return _SAID_CLOSE.search(before) is not None


_CN_GAP = rf"(?:[{_DASH}]|[ \t]{{1,3}})?"
_CN_MOBILE = re.compile(
    rf"(?<![\d+A-Za-z.])(?:\+?86[- ]?)?1[3-9]\d{_CN_GAP}\d{{4}}{_CN_GAP}\d{{4}}(?!\d|[.]\d)", re.ASCII
)


def _cn_mobile(text: str) -> Iterator[Hit]:
    for found in _CN_MOBILE.finditer(text):
        yield Hit("PHONE_NUMBER", found.start(), found.end(), 0.8)


_SOURCE = "ITU-T E.164 and the national plans, metadata of libphonenumber"


def _examples() -> dict[str, str]:
    """Return region → the example number that libphonenumber publishes, in national format."""
    lines = files(__package__).joinpath("phones.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))


_EXAMPLES = _examples()

RULES: tuple[Rule, ...] = (
    Rule(
        "own/cn_mobile",
        "3",
        ("PHONE_NUMBER",),
        _cn_mobile,
        gate=(r"1[3-9][0-9]",),
        source="GB/T 38634, ITU E.164 CN",
        examples=("13800138000", "+86 138 0013 8000"),
    ),
    Rule(
        "own/phone_international",
        "3",
        ("PHONE_NUMBER",),
        _search(_international),
        gate=(_GATE,),
        source=_SOURCE,
        examples=("+44 20 7946 0018", "+1 415-555-2671"),
        reach=128,
    ),
    Rule(
        "own/phone_said",
        "2",
        ("PHONE_NUMBER",),
        _search(_said),
        gate=(_GATE,),
        source=_SOURCE,
        examples=("tel: 555-0199", "Desk: 986.291.2294x751"),
        reach=128,
    ),
    *(
        Rule(
            f"own/phone_{region.lower()}",
            "2",
            ("PHONE_NUMBER",),
            _search(_national(region)),
            gate=(_GATE,),
            locales=frozenset({region}),
            source=_SOURCE,
            reach=128,
            examples=(f"tel. {example}",),
        )
        for region, example in _EXAMPLES.items()
    ),
)
"""Phone numbers: one rule for each region, three that are on everywhere."""


def together(regions: Collection[str]) -> tuple[Rule, ...]:
    """Return rules that find what ``RULES`` find for ``regions`` (ISO 3166), reading the text once for all regions."""
    known = tuple(region for region in _EXAMPLES if region in regions)
    merged = Rule(
        "own/phone",
        "2",
        ("PHONE_NUMBER",),
        _search(_international, _national(*known), _said),
        gate=(_GATE,),
        source=_SOURCE,
        reach=128,
        examples=("+44 20 7946 0018", "tel: 555-0199", *(f"tel. {_EXAMPLES[region]}" for region in known)),
    )
    return (RULES[0], merged)
