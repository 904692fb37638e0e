"""Own rules for values with a form: numbers, identifiers, addresses of machines and people, secrets."""

from __future__ import annotations

from collections.abc import Collection

from trustplane.guard.text import secrets
from trustplane.guard.text.hit import Rule
from trustplane.guard.text.rules import (
    cards,
    chinese,
    dates,
    documents,
    finance,
    national,
    network,
    phones,
    places,
    vehicles,
)
from trustplane.guard.text.rules.windows import windowed

__all__ = ["RULES", "rules_for"]

_PARTS = (cards, phones, network, finance, national, chinese, documents, dates, vehicles, places)

RULES: tuple[Rule, ...] = (*(windowed(rule) for part in _PARTS for rule in part.RULES), *secrets.RULES)
"""All own rules; the guard takes those without locales and those of the locales that it was opened for."""


def rules_for(locales: Collection[str]) -> tuple[Rule, ...]:
    """Return the rules that are on for countries (ISO 3166): what ``RULES`` find there, all phone rules as one.

    Phone numbers are then read once a text, whatever the number of countries.
    """
    on = (rule for rule in RULES if not rule.locales or not rule.locales.isdisjoint(locales))
    single = {rule.id for rule in phones.RULES}
    return (*map(windowed, phones.together(locales)), *(rule for rule in on if rule.id not in single))
