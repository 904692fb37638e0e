"""Bank accounts: IBAN by length and mod 97, BIC, US routing numbers, account numbers where a word says so."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib.resources import files

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.rules import crypto
from trustplane.guard.text.rules.checks import is_mod97, weighted
from trustplane.guard.text.rules.context import Words, seek
from trustplane.guard.text.rules.windows import alone

__all__ = ["RULES", "iban_lengths"]

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[ -]?[0-9]{2}(?=(?:[ .\-]?[A-Za-z0-9]){11})", re.ASCII)
_ALNUM = re.compile(r"[ .\-]?([A-Za-z0-9])")


@functools.cache
def iban_lengths() -> dict[str, int]:
    """Return country → length of an IBAN in characters."""
    lines = files(__package__).joinpath("iban.txt").read_text(encoding="utf-8").splitlines()
    words = " ".join(line for line in lines if not line.startswith("#")).split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def _ibans(text: str) -> Iterator[Hit]:
    """Take as many letters and digits, single separators between, as the country's IBAN has."""
    for found in _IBAN.finditer(text):
        head = found[0].upper().replace(" ", "").replace("-", "")
        length = iban_lengths().get(head[:2])
        if length is None:
            continue
        compact, end = head, found.end()
        while len(compact) < length and (following := _ALNUM.match(text, end)):
            compact += following[1].upper()
            end = following.end()
        after = text[end : end + 1]
        if len(compact) == length and not (after.isascii() and after.isalnum()) and is_mod97(compact):
            yield Hit("IBAN_CODE", found.start(), end, 1.0)


_BIC = re.compile(r"(?<![A-Za-z0-9])[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?(?![A-Za-z0-9])", re.ASCII)
_BIC_WORDS = Words("bic", "swift", "swift code", "bic/swift", "iban", "银行代码", "国际代码")
_ABA = re.compile(r"(?<![\w-])\d{4}-?\d{4}-?\d(?![\w-])", re.ASCII)
_ABA_WORDS = Words("aba", "routing", "routing number", "rtn", "transit", "bank", "wire", "ach", "checking")
_ACCOUNT = re.compile(
    r"(?:(?<![A-Za-z])(?:account|acct|a/c|bank account|checking|savings|konto|kontonummer|cuenta|compte|conto)"
    r"(?: ?(?:number|num|no|nr|nummer|#|n°|número))?|账号|账户|帐号|帳號|口座番号)"
    r"[\s.:#：=]{0,4}(?:is |ending in |为|是)?(?P<value>\d(?:[ -]?\d){5,19})(?![\w]|[.,]\d)",
    re.IGNORECASE | re.ASCII,
)
_SORT_CODE = re.compile(r"(?<![\w-])\d{2}[- ]\d{2}[- ]\d{2}(?![\w-])", re.ASCII)
_SORT_WORDS = Words("sort code", "sort-code", "sortcode")


def _is_bic(value: str) -> bool:
    return value[4:6] in iban_lengths() or value[4:6] in _NO_IBAN


_NO_IBAN = frozenset(
    [
        "AU",
        "BD",
        "CA",
        "CN",
        "HK",
        "ID",
        "IN",
        "JP",
        "KE",
        "KR",
        "LK",
        "MX",
        "MY",
        "NG",
        "NZ",
        "PH",
        "SG",
        "TH",
        "TW",
        "US",
        "VN",
        "ZA",
        "AR",
        "CL",
        "CO",
        "PE",
        "UY",
    ]
)


def _is_aba(value: str) -> bool:
    digits = value.replace("-", "")
    first = int(digits[:2])
    place = first <= 12 or 21 <= first <= 32 or 61 <= first <= 72 or first == 80
    return place and weighted(digits, (3, 7, 1) * 3) % 10 == 0 and len(set(digits)) > 1


RULES: tuple[Rule, ...] = (
    Rule(
        "own/iban",
        "1",
        ("IBAN_CODE",),
        _ibans,
        gate=(r"(?i)[A-Z]{2}[ -]?[0-9]{2}(?:[ .\-]?[A-Z0-9]){11}",),
        source="ISO 13616-1; SWIFT IBAN registry",
        examples=("GB82 WEST 1234 5698 7654 32", "de89370400440532013000", "NO93 8601 1117 947"),
    ),
    Rule(
        "own/bic",
        "1",
        ("BIC",),
        seek("BIC", _BIC, 0.0, words=_BIC_WORDS, with_words=0.8, check=_is_bic),
        gate=(alone("[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?"),),
        source="ISO 9362",
        examples=("BIC: DEUTDEFF500", "SWIFT code BKCHCNBJ"),
    ),
    Rule(
        "own/us_routing",
        "1",
        ("ABA_ROUTING_NUMBER",),
        seek("ABA_ROUTING_NUMBER", _ABA, 0.0, words=_ABA_WORDS, with_words=0.85, check=_is_aba),
        gate=(alone("[0-9]{4}-?[0-9]{4}-?[0-9]"),),
        source="ABA routing number policy",
        examples=("routing number 111000025",),
    ),
    Rule(
        "own/bank_account",
        "1",
        ("BANK_ACCOUNT",),
        seek("BANK_ACCOUNT", _ACCOUNT, 0.6, group="value"),
        gate=(r"(?i)account|acct|a/c|checking|savings|konto|cuenta|compte|conto|账号|账户|帐号|帳號|口座番号",),
        source="ISO 20022, account identification",
        examples=("account number: 12345678", "账号:123456789012"),
    ),
    Rule(
        "own/uk_sort_code",
        "1",
        ("UK_SORT_CODE",),
        seek("UK_SORT_CODE", _SORT_CODE, 0.0, words=_SORT_WORDS, with_words=0.8),
        gate=(r"(?i)sort.?code",),
        source="Pay.UK, vocalink modulus checking",
        examples=("sort code 20-00-00",),
    ),
    *crypto.RULES,
)
"""Accounts at banks and wallets of cryptocurrencies."""
