"""Refusals: every no of the proxy is one exception, and one error in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

from trustplane.errors import Refused

__all__ = ["ProxyRefusal", "error_body", "error_bytes"]


class ProxyRefusal(Refused):
    """The proxy says no: ``rule`` names why, ``status`` is the HTTP status; nothing of the content."""

    def __init__(self, rule: str, status: int, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.status = status


def error_body(rule: str, status: int, message: str, request_id: str) -> dict[str, Any]:
    """Return the error as OpenAI's API writes errors, with the request id and the rule."""
    kind = "invalid_request_error" if status < 500 else "api_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": rule, "request_id": request_id}}


def error_bytes(refusal: ProxyRefusal, request_id: str) -> bytes:
    """Return the JSON bytes of a refusal."""
    return json.dumps(error_body(refusal.rule, refusal.status, refusal.message, request_id)).encode()
