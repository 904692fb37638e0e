"""Errors: a refusal in each API's own form, as a body and as an event of a stream; never anything of the content."""

from __future__ import annotations

import json
from typing import Any

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.endpoint import Api

__all__ = ["MCP_CODE", "error_body", "error_event", "error_value"]

MCP_CODE = -32000
"""JSON-RPC 2.0, section 5.1: -32000 to -32099 are for errors that the server defines."""

_OPENAI = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ANTHROPIC = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip
"""Anthropic's API reference, "Errors"."""


def _openai_kind(status: int) -> str:
    return _OPENAI.get(status, "invalid_request_error" if status < 500 else "api_error")


def _anthropic_kind(status: int) -> str:
    return _ANTHROPIC.get(status, "invalid_request_error" if status < 500 else "api_error")


def _message(refusal: ProxyRefusal) -> str:
    return f"{refusal.message} ({refusal.rule})"


def error_value(api: Api | str, refusal: ProxyRefusal, request_id: str, rpc_id: str | int | None = None) -> Any:
    """Return the error as the value that ``api`` writes; an unknown API gets OpenAI's form.

    ``rpc_id``: id of the JSON-RPC request that failed (MCP); None where it is not known, as JSON-RPC 2.0 says.
    """
    if api == "anthropic":
        error = {"type": _anthropic_kind(refusal.status), "message": _message(refusal)}
        return {"type": "error", "error": error, "request_id": request_id}
    if api == "mcp":
        data = {"request_id": request_id, "rule": refusal.rule, "status": refusal.status}
        return {"jsonrpc": "2.0", "id": rpc_id, "error": {"code": MCP_CODE, "message": refusal.message, "data": data}}
    failure: dict[str, Any] = {
        "message": refusal.message,
        "type": _openai_kind(refusal.status),
        "param": None,
        "code": refusal.rule,
        "request_id": request_id,
    }
    if api == "rerank":  # Cohere reads message at the top, Jina and vLLM read the object
        return {"message": _message(refusal), "error": failure}
    return {"error": failure}


def error_body(api: Api | str, refusal: ProxyRefusal, request_id: str, *, rpc_id: str | int | None = None) -> bytes:
    """Return the JSON bytes of a refusal as ``api`` writes errors; see :func:`error_value`."""
    return json.dumps(error_value(api, refusal, request_id, rpc_id)).encode()


def error_event(
    api: Api | str,
    refusal: ProxyRefusal,
    request_id: str,
    *,
    endpoint: str = "",
    sequence: int = 0,
    rpc_id: str | int | None = None,
) -> bytes:
    """Return the error as one event of a stream of ``api``, which ends that stream.

    ``endpoint``: the endpoint's name; the streams of Responses (``responses``) and of assistants' runs (``run.*``,
    ``thread.*``) have error events of their own. ``sequence``: the number of the event in a stream of Responses.
    """
    value = error_value(api, refusal, request_id, rpc_id)
    name = ""
    if api == "anthropic":
        name = "error"
    elif api == "mcp":
        name = "message"
    elif endpoint.startswith("responses"):
        name = "error"
        value = {
            "type": "error",
            "code": refusal.rule,
            "message": refusal.message,
            "param": None,
            "sequence_number": sequence,
            "request_id": request_id,
        }
    elif endpoint.startswith("threads"):
        name = "error"
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()
