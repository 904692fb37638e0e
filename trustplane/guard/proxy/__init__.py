"""The face towards LLM APIs: hides what must not leave and restores it in the reply; a core without I/O and drivers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trustplane.guard.proxy.faces.app import ProxyApp, build_app
from trustplane.guard.proxy.faces.evidence import OpenRequest, RequestLog
from trustplane.guard.proxy.gate import Caller, Gate, Upstream

if TYPE_CHECKING:
    from trustplane.guard.proxy.faces.middleware import GuardMiddleware
    from trustplane.guard.proxy.faces.transport import AsyncGuardTransport, GuardTransport, guarded_client

__all__ = [
    "AsyncGuardTransport", "Caller", "Gate", "GuardMiddleware", "GuardTransport", "OpenRequest", "ProxyApp",
    "RequestLog", "Upstream", "build_app", "guarded_client",
]  # fmt: skip

_LAZY = {
    "AsyncGuardTransport": "transport",
    "GuardMiddleware": "middleware",
    "GuardTransport": "transport",
    "guarded_client": "transport",
}


def __getattr__(name: str) -> Any:
    """Return a face that is imported when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.faces.{_LAZY[name]}"), name)
