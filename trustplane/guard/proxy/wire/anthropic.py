"""Anthropic's API: its endpoints, and what stands where in their bodies (docs.anthropic.com, API reference)."""

from __future__ import annotations

from trustplane.guard.proxy.wire.endpoint import Endpoint, Family, Places

__all__ = ["ENDPOINTS"]

_NAMES = (
    "**.type", "**.role", "**.id", "**.model", "**.tool_use_id", "**.media_type", "**.signature", "**.file_id",
    "**.encrypted_content", "**.encrypted_index", "**.custom_id", "**.cache_control.type", "**.cache_control.ttl",
    "model", "type", "role", "id", "service_tier", "tool_choice", "container", "tools[].name", "tool_choice.name",
    "messages[].content[].name", "mcp_servers[].name", "anthropic_version", "anthropic_beta[]", "betas[]", "speed",
    "mcp_servers[].tool_configuration.allowed_tools[]", "output_config.effort", "inference_geo",
    "tools[].allowed_callers[]", "messages[].content[].data", "max_tokens", "max_tokens_to_sample",
)  # fmt: skip
"""Names of the API in requests; a signature and the data of redacted thinking go back as they came."""

_REPLY_NAMES = (
    *_NAMES,
    "**.name", "**.stop_reason", "stop_reason", "**.processing_status", "processing_status", "**.created_at",
    "created_at", "**.expires_at", "expires_at", "ended_at", "**.ended_at", "archived_at", "cancel_initiated_at",
    "**.size_bytes", "size_bytes", "first_id", "last_id", "request_id", "error.type", "**.error.type",
    "content[].data", "content_block.data", "delta.signature", "**.service_tier", "custom_id", "mime_type",
    "**.mime_type", "results_url", "log_id", "**.page_age",
)  # fmt: skip

_MEDIA = (
    "**.source.data", "**.source.url",
)  # fmt: skip
"""Images and documents as base64 or URL. The ``data`` of a source whose type is text is text, not media."""

_FREE = (
    "metadata", "tools[].input_schema", "messages[].content[].input", "tools[].input_examples", "output_format.schema",
    "output_config.format.schema",
)  # fmt: skip
_REPLY_FREE = ("content[].input", "content_block.input", "delta.partial_json", "result.message.content[].input")

_SOURCES = (
    "messages[].content[].content", "messages[].content[].content[].text", "messages[].content[].source.data",
    "messages[].content[].source.content", "messages[].content[].source.content[].text", "messages[].content[].title",
    "messages[].content[].context", "messages[].content[].content[].source.data",
)  # fmt: skip
"""Text of tools (results) and documents."""

_FIELDS = (
    "messages", "system", "tools", "tool_choice", "thinking", "mcp_servers", "requests", "output_config",
    "context_management", "container", "cache_control", "output_format",
)  # fmt: skip
"""Fields whose objects the API knows; in any other one `type` or `id` is a text like the rest."""


def _batched(*places: str) -> tuple[str, ...]:
    """Return ``places`` and the same in the requests of a batch."""
    return (*places, *(f"requests[].params.{place}" for place in places if not place.startswith("**")))


_IDENTIFIERS = Places(*_batched(*_NAMES), under=_FIELDS)
_REPLY_IDENTIFIERS = Places(*_REPLY_NAMES)
_MEDIA_PLACES = Places(*_MEDIA)
_FREE_PLACES = Places(*_batched(*_FREE), *_REPLY_FREE)
_SOURCE_PLACES = Places(*_batched(*_SOURCES))


_make = Family("anthropic", _IDENTIFIERS, _REPLY_IDENTIFIERS, _MEDIA_PLACES, _FREE_PLACES, _SOURCE_PLACES)


ENDPOINTS: tuple[Endpoint, ...] = (
    _make("messages", "POST", "/messages", streams=True),
    _make("messages.count_tokens", "POST", "/messages/count_tokens"),
    _make("messages.batches.create", "POST", "/messages/batches", stored=True),
    _make("messages.batches.list", "GET", "/messages/batches", stored=True),
    _make("messages.batches.get", "GET", "/messages/batches/{id}", stored=True),
    _make("messages.batches.cancel", "POST", "/messages/batches/{id}/cancel", stored=True),
    _make("messages.batches.delete", "DELETE", "/messages/batches/{id}", stored=True),
    _make("messages.batches.results", "GET", "/messages/batches/{id}/results", reply="jsonl", stored=True),
    _make("complete", "POST", "/complete", streams=True),
    _make("anthropic.files.create", "POST", "/files", request="multipart", stored=True),
    _make("anthropic.files.list", "GET", "/files", stored=True),
    _make("anthropic.files.get", "GET", "/files/{id}", stored=True),
    _make("anthropic.files.delete", "DELETE", "/files/{id}", stored=True),
    _make("anthropic.files.content", "GET", "/files/{id}/content", reply="jsonl", stored=True),
    _make("anthropic.models.list", "GET", "/models"),
    _make("anthropic.models.get", "GET", "/models/{id}"),
)
"""Every endpoint that is let through."""
