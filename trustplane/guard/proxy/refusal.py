"""Refusals: every no of the proxy is one exception; :mod:`trustplane.guard.proxy.wire.errors` writes it down."""

from __future__ import annotations

from trustplane.errors import Refused

__all__ = ["ProxyRefusal"]


class ProxyRefusal(Refused):
    """The proxy says no: ``rule`` names why, ``status`` is the HTTP status; nothing of the content.

    ``after``: seconds until the caller may try again, 0 where that is not known.
    """

    def __init__(self, rule: str, status: int, message: str, *, after: float = 0.0) -> None:
        super().__init__(message)
        self.rule = rule
        self.status = status
        self.after = after
