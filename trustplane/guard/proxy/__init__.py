"""The face towards LLM APIs: an ASGI app that hides what must not leave and restores it in the reply."""

from __future__ import annotations

from trustplane.guard.proxy.app import build_app
from trustplane.guard.proxy.evidence import OpenRequest, RequestLog

__all__ = ["OpenRequest", "RequestLog", "build_app"]
