"""National identifiers of many countries: shapes and words from a table, check digits by ``python-stdnum``."""

from __future__ import annotations

import functools
import importlib
import re
import tomllib
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import NamedTuple

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.rules.context import Words
from trustplane.guard.text.rules.windows import alone

__all__ = ["KINDS", "RULES", "Kind"]

_GENERIC = {
    "person": (
        "national id", "national identity", "identity number", "identity card", "identity no", "id number", "id no",
        "id card", "id#", "personal number", "personal id", "citizen", "resident", "identification number",
        "身份证", "证件号", "身份號碼", "身份证号", "身分證", "个人编号",
    ),
    "tax": (
        "tax", "taxes", "taxpayer", "tax id", "tax number", "tin", "vat", "vat number", "vat id", "fiscal", "税号",
        "纳税人", "税务", "稅號", "納稅人",
    ),
    "company": (
        "company number", "company no", "registration number", "registration no", "reg no", "business number",
        "company id", "registered number", "organisation number",
        "organization number", "注册号", "公司编号", "企业代码",
    ),
    "social": ("social security", "social insurance", "insurance number",
    "insurance no", "社保", "社会保障", "社會保險"),
    "health": ("health number", "patient", "medical", "health card", "医保", "病历", "患者"),
    "bank": ("bank account", "account number", "account no", "account", "iban", "银行账号", "账号", "帳號"),
    "other": ("reference", "id", "number", "编号"),
}  # fmt: skip
_ALONE = {"strong": 0.75, "fair": 0.5, "weak": 0.2, "none": 0.0}
_LETTERED = {"weak": 0.5}
_SAID = {"strong": 0.95, "fair": 0.9, "weak": 0.85, "none": 0.6}
_EVERYWHERE = "EU"


class Kind(NamedTuple):
    """A row of ``national.toml``: ``module`` of stdnum, ``country`` (ISO 3166, EU for all), the rest as in the file."""

    module: str
    country: str
    entity: str
    check: str
    shape: str
    words: tuple[str, ...]
    example: str

    @property
    def name(self) -> str:
        """The last part of the rule's id: ``de_idnr``."""
        return self.module.replace("_.", ".").strip("_").replace(".", "_")

    @property
    def pattern(self) -> str:
        """The shape as a regular expression that both ``re`` and RE2 read."""
        return f"(?:{self.shape.replace('~', '[ ./-]?')})".replace(r"\d", "[0-9]")


def _kinds() -> Iterator[Kind]:
    table = tomllib.loads(files(__package__).joinpath("national.toml").read_text(encoding="utf-8"))
    for module, row in table.items():
        country = module.partition(".")[0].strip("_").upper()
        words = (*row["words"], *_GENERIC[row["group"]])
        yield Kind(module, country, row["entity"], row["check"], row["shape"], words, row["example"])


KINDS: tuple[Kind, ...] = tuple(_kinds())
"""All kinds of the table, in its order."""


def _search(kind: Kind) -> Callable[[str], Iterator[Hit]]:
    """Return the search of a kind; its pattern, words and module are loaded when it first runs, once."""

    @functools.cache
    def parts() -> tuple[re.Pattern[str], Callable[[str], bool], Words]:
        pattern = rf"(?<![A-Za-z0-9])(?<![0-9][.,/-]){kind.pattern}(?![A-Za-z0-9])(?![.,/-][0-9])"
        validator = importlib.import_module(f"stdnum.{kind.module}")
        return re.compile(pattern, re.IGNORECASE | re.ASCII), validator.is_valid, Words(*kind.words)

    def search(text: str) -> Iterator[Hit]:
        pattern, is_valid, words = parts()
        for found in pattern.finditer(text):
            value = found[0]
            if not is_valid(value):
                continue
            score = _ALONE[kind.check]
            if kind.check in _LETTERED and not value.replace(" ", "").isdigit() and re.search("[A-Za-z]", value):
                score = _LETTERED[kind.check]
            if words.near(text, *found.span()):
                score = _SAID[kind.check]
            if score:
                yield Hit(kind.entity, found.start(), found.end(), score)

    return search


def _rule(kind: Kind) -> Rule:
    return Rule(
        f"own/{kind.name}", "1", (kind.entity,), _search(kind), gate=(f"(?i){alone(kind.pattern)}",),
        locales=frozenset() if kind.country == _EVERYWHERE else frozenset({kind.country}),
        source=f"python-stdnum, stdnum.{kind.module}", examples=(f"{kind.words[0]}: {kind.example}",),
    )  # fmt: skip


RULES: tuple[Rule, ...] = tuple(map(_rule, KINDS))
"""One rule a kind, on for the texts of its country."""
