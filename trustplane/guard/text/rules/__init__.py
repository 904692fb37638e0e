"""Own rules for values with a form: numbers, identifiers, addresses of machines and people."""

from __future__ import annotations

from trustplane.guard.text.hit import Rule
from trustplane.guard.text.rules import basic

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (*basic.RULES,)
"""All own rules; the guard takes those whose locales it was opened for."""
