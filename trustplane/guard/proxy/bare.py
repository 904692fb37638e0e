"""Names of the API that hold personal data: which findings count in them, and pseudonyms without brackets."""

from __future__ import annotations

import re

from trustplane.guard.proxy.payload import Field
from trustplane.guard.text.guard import AGAIN
from trustplane.guard.text.hit import Hit

__all__ = ["bare", "is_strong"]

STRONG = frozenset(
    {"API_KEY", "CN_RESIDENT_ID", "CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "JWT", "LISTED_NAME", "PERSON"}
    | {"PHONE_NUMBER", "PRIVATE_KEY", "US_SSN"}
)
"""What counts in a name or a number too; the other rules take digits of ids for all sorts of things."""
STRONG_SCORE = 0.85
"""From this score on any finding counts in a number."""
_KEYWORDS = frozenset({"model", "object", "role", "type"})
"""Last word of places where one of a few words stands, so that a person's name found elsewhere is none here."""
_TIME = re.compile(r"(?:1[0-9]|2[01])[0-9]{8}(?:[0-9]{3}){0,3}\Z")
"""Seconds since 1970 from 2001 to 2039, milliseconds and finer."""
_BRACKETED = re.compile(r"\[([A-Z0-9_]+)\]|<([A-Z0-9_]+)(?:#([0-9a-f]+))?>")


def is_strong(hit: Hit, field: Field) -> bool:
    """Return whether a finding counts in a name or a number."""
    if hit.rule == AGAIN and field.kind == "name" and field.place.rpartition(".")[2] in _KEYWORDS:
        return False
    if hit.entity in STRONG:
        return True
    return field.kind == "number" and hit.score >= STRONG_SCORE and not _TIME.match(field.text)


def bare(text: str) -> str:
    """Return a rewritten name with its pseudonyms and masks out of their brackets, as ``call_EMAIL_ADDRESS_7K2Q``."""
    return _BRACKETED.sub(lambda m: m[1] or (f"{m[2]}_{m[3]}" if m[3] else m[2]), text)
