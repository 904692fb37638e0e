"""MCP over streamable HTTP: JSON-RPC messages one way, a message or an event stream the other way
(modelcontextprotocol.io, specification 2025-06-18, Transports).
"""

from __future__ import annotations

from trustplane.guard.proxy.wire.endpoint import Endpoint, Places

__all__ = ["ENDPOINTS"]

_NAMES = (
    "jsonrpc", "id", "method", "params.name", "params.protocolVersion", "params.ref.type", "params.ref.name",
    "params.progressToken", "params._meta.progressToken", "params.cursor", "params.level", "params.requestId",
    "result.protocolVersion", "result.role", "result.model", "result.stopReason", "result.action", "result.nextCursor",
    "**.type", "**.mimeType", "**.role",
)  # fmt: skip
_REPLY_NAMES = (
    *_NAMES,
    "result.tools[].name", "result.prompts[].name", "result.resources[].name", "result.resourceTemplates[].name",
    "result.serverInfo.name", "result.serverInfo.version", "result.prompts[].arguments[].name", "params.logger",
)  # fmt: skip
_MEDIA = ("**.data", "**.blob", "**.icons[].src")
"""Images and audio (``data`` of a content block) and binary resources."""
_FREE = (
    "params.arguments", "params.context", "params._meta", "params.capabilities.experimental", "result.content",
    "result.structuredContent", "result.messages[].content", "result.contents[].text", "result.tools[].inputSchema",
    "result.tools[].outputSchema", "params.data", "error.data", "result._meta",
)  # fmt: skip
_SOURCES = ("result.content[].text", "result.structuredContent", "result.contents[].text", "result.content.text")


def _either(*places: str, under: tuple[str, ...] = ()) -> Places:
    """Return the places in one message and in a batch of messages."""
    both = [p for place in places for p in ((place,) if place.startswith("**") else (place, f"[].{place}"))]
    return Places(*both, under=under)


_IDENTIFIERS = _either(*_NAMES, under=("params", "result"))
_REPLY_IDENTIFIERS = _either(*_REPLY_NAMES)
_MEDIA_PLACES = _either(*_MEDIA)
_FREE_PLACES = _either(*_FREE)
_SOURCE_PLACES = _either(*_SOURCES)


def _make(name: str, method: str, path: str) -> Endpoint:
    return Endpoint(
        name=name,
        api="mcp",
        method=method,
        path=path,
        request="json" if method == "POST" else "none",
        identifiers=_IDENTIFIERS,
        reply_identifiers=_REPLY_IDENTIFIERS,
        media=_MEDIA_PLACES,
        free=_FREE_PLACES,
        sources=_SOURCE_PLACES,
        streams=method != "DELETE",
    )


ENDPOINTS: tuple[Endpoint, ...] = tuple(
    _make(name, method, path)
    for path in ("/mcp", "/", "/{id}/mcp")
    for name, method in (("mcp", "POST"), ("mcp.stream", "GET"), ("mcp.end", "DELETE"))
)
"""At /mcp, below a server's name, and at the root where the upstream is an MCP server."""
