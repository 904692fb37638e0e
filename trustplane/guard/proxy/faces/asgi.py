"""ASGI: the types of its messages, and the head of a request as the core takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from trustplane.guard.proxy.events import Head

__all__ = ["Message", "Receive", "Scope", "SendMessage", "head_of"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
SendMessage = Callable[[Message], Awaitable[None]]


def head_of(scope: Scope) -> Head:
    """Return the head; its path is percent-coded as it came, where the server says how."""
    raw_path = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path else quote(scope["path"])
    headers = tuple([(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]])
    return Head(scope["method"], path, scope.get("query_string", b"").decode("latin-1"), headers)
