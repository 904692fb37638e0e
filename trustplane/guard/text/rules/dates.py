"""Dates of birth where a word says so, and ages over 89."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule

__all__ = ["RULES"]

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?|januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin"
    r"|juillet|août|septembre|octobre|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre"
    r"|octubre|noviembre|diciembre)"
)
_ZH = "[〇零○一二三四五六七八九十]"
_DATE = (
    r"(?:(?:18|19|20)\d{2}(?P<s>[-/.])(?:0?[1-9]|1[0-2])(?P=s)(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])(?P<t>[-/.])(?:0?[1-9]|[12]\d|3[01])(?P=t)(?:(?:18|19|20)\d{2}|\d{2})"
    rf"|(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|er|\.)?[ -](?:of |de )?{_MONTH}\.?,?(?: de|-)? ?(?:"
    rf"(?:18|19|20)\d{{2}}|'?\d{{2}})"
    rf"|{_MONTH}\.? (?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?,? (?:18|19|20)\d{{2}}"
    r"|(?:(?:18|19|20)?\d{2}) ?年 ?(?:0?[1-9]|1[0-2]) ?月 ?(?:(?:0?[1-9]|[12]\d|3[01]) ?[日号]?)?"
    rf"|{_ZH}{{2,4}}年{_ZH}{{1,2}}月(?:{_ZH}{{1,3}}[日号]?)?"
    r"|(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?!\d)"
)
_BEFORE = (
    r"(?:(?<![A-Za-z])(?:date of birth|birth ?date|birthday|d\.o\.b\.?|dob|born(?: on| in)?|geboren"
    r"(?: am)?|geburtsdatum"
    r"|né(?:e)? le|date de naissance|fecha de nacimiento|nacid[oa] el|nat[oa] il|data di nascita|data de nascimento)"
    r"|出生日期|出生年月日?|出生时间|出生于|生日|生年月日|生于|诞生于|出生)"
)
_BORN = re.compile(
    rf"{_BEFORE}[\s\"':=：*_|-]{{0,6}}(?:is |was |on |the |am |于|是|为|在|：)?[\s(]{{0,2}}(?P<value>{_DATE})",
    re.IGNORECASE,
)
_BORN_AFTER = re.compile(
    rf"(?<![\d/.-])(?P<value>{_DATE})\s?(?:出生|生(?!产|效|成|活|意)|\(?(?:dob|date of birth)(?![A-Za-z]))",
    re.IGNORECASE,
)
_AGE = re.compile(
    r"(?<![\w.])(?P<a>9\d|1[01]\d)(?:[ -]?years?[ -]old|[ -]?yrs?[ -]old|[ -]?year[ -]olds?"
    r"|[ -]?y\.?/?o\.?(?![A-Za-z]))"
    r"|(?<![A-Za-z])(?:aged?|at the age of)(?: is|:)? ?(?P<b>9\d|1[01]\d)(?![\d%/-]|[.,]\d)"
    r"|(?<!\d)(?P<c>9\d|1[01]\d) ?(?:周岁|岁)|(?:年龄|享年)[:：为是 ]{0,2}(?P<d>9\d|1[01]\d)(?!\d)",
    re.IGNORECASE | re.ASCII,
)


def _births(text: str) -> Iterator[Hit]:
    for pattern in (_BORN, _BORN_AFTER):
        for found in pattern.finditer(text):
            yield Hit("DATE_OF_BIRTH", found.start("value"), found.end("value"), 0.85)


def _ages(text: str) -> Iterator[Hit]:
    for found in _AGE.finditer(text):
        name = found.lastgroup or "a"
        if int(found[name]) > 89:
            yield Hit("AGE_OVER_89", found.start(name), found.end(name), 0.6)


RULES: tuple[Rule, ...] = (
    Rule(
        "own/date_of_birth",
        "1",
        ("DATE_OF_BIRTH",),
        _births,
        gate=(
            r"(?i)birth|d\.?o\.?b|born|geboren|geburts|n[ée]e? le|naissance|nacimiento|nacid",
            r"(?i)nat[oa] il|nascita|nascimento",
            r"出生|生日|生年|生于|诞生|[月日号0-9] ?生",
        ),
        source="ISO 8601; CLDR date formats",
        examples=(
            "DOB: 03/12/1985",
            "born on 12 March 1985",
            "date of birth March 12th, 1985",
            "出生日期:1985年3月12日",
            "生于一九八五年三月十二日",
            "1985年3月12日出生",
            "birthday 1985-03-12",
        ),
    ),
    Rule(
        "own/age_over_89",
        "2",
        ("AGE_OVER_89",),
        _ages,
        gate=(r"(?i)(?:9[0-9]|1[01][0-9])(?:[ -]?y| ?周?岁)|(?:aged?|at the age of)(?: is|:)? ?[91]|(?:年龄|享年)",),
        source="45 CFR 164.514(b)(2)(i)(C)",
        examples=("a 92-year-old woman", "aged 101", "享年93岁"),
    ),
)
"""Dates of birth and ages over 89 (an identifier under HIPAA's safe harbour)."""
