"""Secrets: provider tokens, private keys, connection strings, JWTs and values behind telling keys; in memory only."""

from __future__ import annotations

from typing import Final

from trustplane.guard.text.hit import Rule
from trustplane.guard.text.secrets import assignments, connections, jwt, keys, providers

__all__ = ["RULES"]

RULES: Final[tuple[Rule, ...]] = (*providers.RULES, *keys.RULES, *connections.RULES, *jwt.RULES, *assignments.RULES)
"""All rules of kind ``secret``; every one has gates."""
