"""OpenAI's API and what speaks like it: its endpoints, and what stands where in their bodies (platform.openai.com, API
reference; Azure's paths differ in their prefix only).
"""

from __future__ import annotations

from collections.abc import Iterable

from trustplane.guard.proxy.wire.endpoint import Endpoint, Family, Places

__all__ = ["ENDPOINTS"]

_FIELDS = (
    "messages", "tools", "functions", "input", "tool_choice", "function_call", "response_format", "text", "reasoning",
    "prompt", "items", "thread", "tool_resources", "additional_messages", "tool_outputs", "conversation", "audio",
    "context_management", "web_search_options", "chunking_strategy", "expires_after", "attachments", "content", "body",
    "moderation", "files", "ranking_options", "truncation_strategy",
)  # fmt: skip
"""Fields whose objects the API knows; in any other one `type` or `id` is a text like the rest."""

_NAMES = (
    "**.type", "**.role", "**.id", "**.model", "**.status", "**.detail", "**.call_id", "**.tool_call_id", "**.item_id",
    "**.file_id", "**.file_ids[]", "**.vector_store_id", "**.vector_store_ids[]", "**.container_id", "**.server_label",
    "**.connector_id", "**.encrypted_content", "**.input_audio.format", "**.syntax", "**.phase", "**.namespace",
    "**.function.name", "**.custom.name", "**.json_schema.name", "**.anchor", "**.effort", "**.search_context_size",
    "**.tools[].name", "messages[].name", "tools[].name", "functions[].name", "input[].name", "items[].name",
    "tool_choice.name", "function_call.name", "messages[].function_call.name", "text.format.name",
    "model", "type", "role", "id", "object", "service_tier", "reasoning_effort", "reasoning.summary",
    "reasoning.generate_summary", "verbosity", "text.verbosity", "modalities[]", "include[]", "truncation",
    "tool_choice", "function_call", "response_format", "prompt_cache_retention", "prompt_cache_options.mode",
    "prompt_cache_options.ttl", "audio.voice", "audio.format", "previous_response_id", "conversation",
    "encoding_format", "voice", "stream_format", "size", "quality", "style", "output_format", "moderation",
    "background", "purpose", "endpoint", "completion_window", "input_file_id", "tools[].container",
    "tools[].require_approval", "tools[].allowed_tools[]", "tools[].ranking_options.ranker", "assistant_id",
    "thread_id", "file_id", "file_ids[]", "part_ids[]", "seed", "order", "timestamp_granularities[]", "input_fidelity",
    "method", "url", "ranking_options.ranker", "truncation_strategy.last_messages", "prompt.version",
    "max_completion_tokens", "max_tokens", "max_output_tokens", "max_prompt_tokens", "bytes",
)  # fmt: skip
"""Names of the API in requests, and numbers that are its parameters. Never below a free place."""

_TIMES = (
    "created", "created_at", "completed_at", "expires_at", "cancelled_at", "failed_at", "started_at", "expired_at",
    "in_progress_at", "finalizing_at", "cancelling_at", "incomplete_at", "last_active_at", "bytes", "usage_bytes",
)  # fmt: skip
"""Seconds since 1970, which look like phone numbers, and sizes."""

_REPLY_NAMES = (
    *_TIMES,
    *(f"**.{name}" for name in _TIMES),
    "**.name", "**.object", "**.finish_reason", "**.first_id", "**.last_id", "**.output_file_id", "**.error_file_id",
    "**.response_id", "**.previous_response_id", "**.service_tier", "**.truncation", "**.tool_choice", "**.owned_by",
    "**.assistant_id", "**.thread_id", "**.run_id", "**.error.type", "**.error.code", "**.incomplete_details.reason",
    "**.request_id", "**.last_error.code", "**.system_fingerprint",
    "system_fingerprint", "obfuscation", "first_id", "last_id", "output_file_id", "error_file_id", "item_id", "call_id",
    "response_id", "error.type", "error.code", "error.request_id", "code", "language", "task", "status", "run_id",
    "vector_store_id", "last_error.code", "incomplete_details.reason", "owned_by", "request_id", "name",
    "response.status_code", "upload_id", "delta.role",
)  # fmt: skip
"""Names and times of the API in replies and events, besides those of requests."""

_MEDIA = (
    "**.image_url", "**.image_url.url", "**.input_audio.data", "**.file_data", "**.file.file_data", "**.file_url",
    "**.audio.data", "**.audio_url.url", "**.video_url.url", "**.b64_json", "data[].*", "data[].url",
    "partial_image_b64", "image", "image[]", "mask", "**.input_image_mask.image_url", "audio", "b64_json",
    "**.images[].image_url", "images[].image_url", "delta.audio", "output[].result", "item.result",
    "response.output[].result",
)  # fmt: skip
"""Images, audio and files, as base64, data URL or URL, in requests, replies and events."""

_FREE = (
    "metadata", "logit_bias", "prediction", "tools[].function.parameters", "tools[].parameters", "tools[].input_schema",
    "functions[].parameters", "response_format.json_schema.schema", "text.format.schema", "prompt.variables",
    "messages[].tool_calls[].function.arguments", "messages[].function_call.arguments",
    "messages[].tool_calls[].custom.input", "input[].arguments", "input[].input", "input[].output", "input[].action",
    "input[].operation", "item_schema", "items[].arguments", "items[].output", "tools[].format.definition",
    "tools[].headers", "tools[].filters", "additional_messages[].metadata", "messages[].metadata", "thread.metadata",
    "thread.messages[].metadata", "tool_outputs[].output", "attributes", "filters", "files[].attributes",
    "tools[].tools[].parameters", "tools[].tools[].function.parameters",
)  # fmt: skip
"""Below these everything is the caller's own: metadata, schemas, arguments and results of tools."""

_REPLY_FREE = (
    "choices[].message.tool_calls[].function.arguments", "choices[].delta.tool_calls[].function.arguments",
    "choices[].message.function_call.arguments", "choices[].delta.function_call.arguments",
    "choices[].message.tool_calls[].custom.input", "choices[].delta.tool_calls[].custom.input", "output[].arguments",
    "output[].input", "output[].output", "output[].action", "output[].parameters", "data[].metadata",
    "data[].arguments", "data[].input", "data[].output", "data[].attributes", "item.arguments", "item.input",
    "item.output", "item.action", "arguments",
    "required_action.submit_tool_outputs.tool_calls[].function.arguments",
)  # fmt: skip
_EVENT_FREE = (
    "output[].arguments",
    "output[].input",
    "output[].output",
    "output[].action",
    "metadata",
    "tools[].parameters",
)

_SOURCES = (
    "input[].output", "input[].output[].text", "input[].results[].text", "items[].output", "tool_outputs[].output",
    "input[].tools[].description", "input[].error",
)  # fmt: skip
"""Text of tools and documents. In chat completions it is the content of messages with the role tool or function."""


def _below(prefixes: Iterable[str], places: Iterable[str]) -> tuple[str, ...]:
    """Return ``places`` and the same below each of ``prefixes``, for bodies that hold other bodies (batches)."""
    places = tuple(places)
    return (*places, *(f"{p}.{place}" for p in prefixes for place in places if not place.startswith("**")))


_IDENTIFIERS = Places(*_below(("body",), _NAMES), "custom_id", under=_FIELDS)
_REPLY_IDENTIFIERS = Places(
    *_below(("response", "response.body", "body"), (*_NAMES, *_REPLY_NAMES)), "custom_id", "**.custom_id"
)
_MEDIA_PLACES = Places(*_below(("body", "response.body"), _MEDIA))
_FREE_PLACES = Places(
    *_below(("body",), _FREE),
    *_below(("response.body",), _REPLY_FREE),
    *_below(("response",), _EVENT_FREE),
)
_SOURCE_PLACES = Places(*_below(("body",), _SOURCES))


_make = Family("openai", _IDENTIFIERS, _REPLY_IDENTIFIERS, _MEDIA_PLACES, _FREE_PLACES, _SOURCE_PLACES)


def _kept(name: str, path: str) -> tuple[Endpoint, ...]:
    """Return the endpoints of something that the API keeps: make, list, get, change, delete."""
    one = f"{path}/{{id}}"
    return (
        _make(f"{name}.create", "POST", path, stored=True),
        _make(f"{name}.list", "GET", path, stored=True),
        _make(f"{name}.get", "GET", one, stored=True),
        _make(f"{name}.change", "POST", one, stored=True),
        _make(f"{name}.delete", "DELETE", one, stored=True),
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    _make("chat.completions", "POST", "/chat/completions", streams=True),
    _make("chat.completions.list", "GET", "/chat/completions", stored=True),
    _make("chat.completions.get", "GET", "/chat/completions/{id}", stored=True),
    _make("chat.completions.change", "POST", "/chat/completions/{id}", stored=True),
    _make("chat.completions.delete", "DELETE", "/chat/completions/{id}", stored=True),
    _make("chat.completions.messages", "GET", "/chat/completions/{id}/messages", stored=True),
    _make("completions", "POST", "/completions", streams=True),
    _make("responses", "POST", "/responses", streams=True),
    _make("responses.input_tokens", "POST", "/responses/input_tokens"),
    _make("responses.compact", "POST", "/responses/compact"),
    _make("responses.get", "GET", "/responses/{id}", streams=True, stored=True),
    _make("responses.delete", "DELETE", "/responses/{id}", stored=True),
    _make("responses.cancel", "POST", "/responses/{id}/cancel", stored=True),
    _make("responses.input_items", "GET", "/responses/{id}/input_items", stored=True),
    _make("conversations.create", "POST", "/conversations", stored=True),
    _make("conversations.get", "GET", "/conversations/{id}", stored=True),
    _make("conversations.change", "POST", "/conversations/{id}", stored=True),
    _make("conversations.delete", "DELETE", "/conversations/{id}", stored=True),
    _make("conversations.items.create", "POST", "/conversations/{id}/items", stored=True),
    _make("conversations.items.list", "GET", "/conversations/{id}/items", stored=True),
    _make("conversations.items.get", "GET", "/conversations/{id}/items/{id}", stored=True),
    _make("conversations.items.delete", "DELETE", "/conversations/{id}/items/{id}", stored=True),
    _make("embeddings", "POST", "/embeddings"),
    _make("moderations", "POST", "/moderations"),
    _make("images.generations", "POST", "/images/generations", streams=True),
    _make("images.edits", "POST", "/images/edits", request="multipart", streams=True),
    _make("images.variations", "POST", "/images/variations", request="multipart"),
    _make("audio.speech", "POST", "/audio/speech", reply="bytes", streams=True),
    _make("audio.transcriptions", "POST", "/audio/transcriptions", request="multipart", streams=True),
    _make("audio.translations", "POST", "/audio/translations", request="multipart"),
    _make("files.create", "POST", "/files", request="multipart", stored=True),
    _make("files.list", "GET", "/files", stored=True),
    _make("files.get", "GET", "/files/{id}", stored=True),
    _make("files.delete", "DELETE", "/files/{id}", stored=True),
    _make("files.content", "GET", "/files/{id}/content", reply="jsonl", stored=True),
    _make("uploads.create", "POST", "/uploads", stored=True),
    _make("uploads.parts", "POST", "/uploads/{id}/parts", request="multipart", stored=True),
    _make("uploads.complete", "POST", "/uploads/{id}/complete", stored=True),
    _make("uploads.cancel", "POST", "/uploads/{id}/cancel", stored=True),
    _make("batches.create", "POST", "/batches", stored=True),
    _make("batches.list", "GET", "/batches", stored=True),
    _make("batches.get", "GET", "/batches/{id}", stored=True),
    _make("batches.cancel", "POST", "/batches/{id}/cancel", stored=True),
    *_kept("assistants", "/assistants"),
    _make("threads.create", "POST", "/threads", stored=True),
    _make("threads.get", "GET", "/threads/{id}", stored=True),
    _make("threads.change", "POST", "/threads/{id}", stored=True),
    _make("threads.delete", "DELETE", "/threads/{id}", stored=True),
    _make("threads.runs", "POST", "/threads/runs", streams=True, stored=True),
    *_kept("threads.messages", "/threads/{id}/messages"),
    _make("threads.runs.create", "POST", "/threads/{id}/runs", streams=True, stored=True),
    _make("threads.runs.list", "GET", "/threads/{id}/runs", stored=True),
    _make("threads.runs.get", "GET", "/threads/{id}/runs/{id}", stored=True),
    _make("threads.runs.change", "POST", "/threads/{id}/runs/{id}", stored=True),
    _make("threads.runs.cancel", "POST", "/threads/{id}/runs/{id}/cancel", stored=True),
    _make(
        "threads.runs.submit_tool_outputs", "POST", "/threads/{id}/runs/{id}/submit_tool_outputs",
        streams=True, stored=True,
    ),
    _make("threads.runs.steps.list", "GET", "/threads/{id}/runs/{id}/steps", stored=True),
    _make("threads.runs.steps.get", "GET", "/threads/{id}/runs/{id}/steps/{id}", stored=True),
    *_kept("vector_stores", "/vector_stores"),
    _make("vector_stores.search", "POST", "/vector_stores/{id}/search", stored=True),
    *_kept("vector_stores.files", "/vector_stores/{id}/files"),
    _make("vector_stores.files.content", "GET", "/vector_stores/{id}/files/{id}/content", stored=True),
    _make("vector_stores.file_batches.create", "POST", "/vector_stores/{id}/file_batches", stored=True),
    _make("vector_stores.file_batches.get", "GET", "/vector_stores/{id}/file_batches/{id}", stored=True),
    _make("vector_stores.file_batches.cancel", "POST", "/vector_stores/{id}/file_batches/{id}/cancel", stored=True),
    _make("vector_stores.file_batches.files", "GET", "/vector_stores/{id}/file_batches/{id}/files", stored=True),
    _make("models.list", "GET", "/models"),
    _make("models.get", "GET", "/models/{id}"),
)  # fmt: skip
"""Every endpoint that is let through, under its plain path. Realtime, fine-tuning, evals and administration are not."""
