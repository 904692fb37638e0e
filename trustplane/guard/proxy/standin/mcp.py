"""The stand-in as an MCP server: two tools, one resource, one prompt; each quotes what it was given."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["answer"]

_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_TOOLS = [
    {"name": "echo", "description": "Says what it was told.", "inputSchema": _SCHEMA},
    {"name": "lookup", "description": "Looks something up.", "inputSchema": _SCHEMA},
]


def answer(message: Any, say: str) -> Any:
    """Return the JSON-RPC answer to ``message``, None for a notification or an answer.

    ``say``: what it puts after everything that it quotes.
    """
    if not isinstance(message, dict) or "id" not in message or "method" not in message:
        return None
    method, params = message["method"], message.get("params") or {}
    made = _result(method, params, say)
    if made is None:
        error = {"code": -32601, "message": f"no such method: {method}"}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": made}


def _result(method: str, params: Any, say: str) -> Any:
    told = json.dumps(params.get("arguments") or {}, ensure_ascii=False)
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}, "logging": {}, "completions": {}},
            "serverInfo": {"name": "stand-in", "version": "1"},
        }
    if method == "tools/call":
        content = [{"type": "text", "text": f"You wrote: {told}{say}"}]
        return {"content": content, "structuredContent": params.get("arguments") or {}, "isError": False}
    if method == "resources/read":
        text = f"You asked for {params.get('uri', '')}{say}"
        return {"contents": [{"uri": params.get("uri", ""), "mimeType": "text/plain", "text": text}]}
    if method == "prompts/get":
        message = {"role": "user", "content": {"type": "text", "text": f"You wrote: {told}{say}"}}
        return {"description": "Quotes.", "messages": [message]}
    if method == "completion/complete":
        value = (params.get("argument") or {}).get("value", "")
        return {"completion": {"values": [f"{value}{say}"], "total": 1, "hasMore": False}}
    return {
        "tools/list": {"tools": _TOOLS},
        "resources/list": {"resources": [{"uri": "memo://1", "name": "memo", "mimeType": "text/plain"}]},
        "resources/templates/list": {"resourceTemplates": []},
        "prompts/list": {"prompts": [{"name": "quote", "arguments": [{"name": "text", "required": True}]}]},
        "ping": {},
        "logging/setLevel": {},
    }.get(method)
