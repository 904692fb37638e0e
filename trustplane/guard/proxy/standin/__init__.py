"""A local stand-in for LLM APIs: quotes what it received. For demos and tests; there is no model in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from trustplane.guard.proxy.standin import anthropic, mcp, openai, streams
from trustplane.guard.proxy.standin.openai import MODEL, last_text
from trustplane.guard.proxy.standin.stored import Kept
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.proxy.wire.multipart import Form
from trustplane.guard.proxy.wire.table import find, find_api, path_ids

__all__ = ["MODEL", "build_standin", "reply_of", "said"]


def build_standin(*, chunk: int = 3, invented: Iterable[str] = (), mcp_events: bool = False) -> Starlette:
    """Return the stand-in as an ASGI app for every endpoint that the proxy lets through.

    It answers ``You wrote: "<last text>"``, and with a call of the first tool, whose argument is that text, if the
    request offers tools. ``chunk``: length of its streams' pieces in characters, so that pseudonyms are cut.
    ``invented``: values that it adds to every text as if it had made them up. ``mcp_events``: answers MCP requests
    with event streams. A model named ``error-429`` answers with that status and quotes the text in the error. Log
    probabilities come if they are asked for. What it received, headers included, is in ``app.state.received``.
    """
    app = Starlette(routes=[Route("/{path:path}", _answer, methods=["GET", "POST", "DELETE"])])
    app.state.received = []
    app.state.chunk = chunk
    app.state.say = "".join(f" {value}" for value in invented)
    app.state.mcp_events = mcp_events

    def quote(text: str) -> str:
        return _quote(text, app.state.say)

    def answer(path: str, body: Any) -> Any:
        endpoint = find("POST", path, "")
        return None if endpoint is None else reply_of(endpoint.name, body, quote(said(body)), app.state.chunk)

    app.state.kept = Kept(answer, quote)
    return app


def _quote(text: str, say: str) -> str:
    return f'You wrote: "{text}"{say}'


def said(body: Any) -> str:
    """Return the last text of a request's body."""
    for key in ("messages", "input", "prompt", "query", "text", "content", "items", "instructions"):
        if body.get(key):
            return last_text(body[key])
    return ""


def reply_of(name: str, body: Any, text: str, size: int = 3) -> Any:
    """Return the reply of endpoint ``name`` to ``body`` with ``text`` as what the model says, None if it has none."""
    found = openai.reply(name, body, text, size)
    return anthropic.reply(name, body, text) if found is None else found


async def _answer(request: Request) -> Response:
    raw = await request.body()
    kind = request.headers.get("content-type", "")
    body: Any = None
    if kind.startswith("multipart/"):
        form = Form(kind, raw)
        body = {p.name: p.data.decode("utf-8", "replace") for p in form.parts if p.filename is None}
        body |= {f"{p.name}.filename": p.filename for p in form.parts if p.filename is not None}
    elif raw:
        body = json.loads(raw)
    path = request.scope["raw_path"].decode()
    request.app.state.received.append(
        {
            "method": request.method, "path": path, "query": request.url.query, "headers": dict(request.headers),
            "body": body, "raw": raw,
        }
    )  # fmt: skip
    endpoint = find(request.method, path, find_api(request.headers.items()))
    if endpoint is None and request.method == "POST" and isinstance(body, dict) and "jsonrpc" in body:
        endpoint = find(request.method, path, "mcp")
    if endpoint is None:
        return _error("openai", 404, "no such endpoint")
    if endpoint.api == "mcp":
        return _mcp(request, body)
    body = {} if body is None else body
    model = body.get("model")
    if isinstance(model, str) and model.startswith("error-"):
        return _error(endpoint.api, int(model.removeprefix("error-")), f"no answer to {said(body)!r}")
    ids = path_ids(endpoint, path)
    return _file(request, endpoint, ids, body, raw) or _dispatch(request.app.state, endpoint, ids, body)


def _dispatch(state: Any, endpoint: Endpoint, ids: list[str], body: Any) -> Response:
    name = endpoint.name
    if name == "audio.speech":
        return _speech(body)
    text = _quote(said(body), state.say)
    value = reply_of(name, body, text, state.chunk)
    if name.startswith("audio.") and body.get("response_format") in {"text", "srt", "vtt"}:
        return Response(text + "\n", media_type="text/plain")
    if value is None:
        value = _stored(state.kept, endpoint, ids, body)
    if value is None:
        return _error(endpoint.api, 404, "no such object")
    if body.get("stream") in (True, "true") and endpoint.streams:
        return _streamed(streams.events(name, value, state.chunk))
    return _json(value["run"] if isinstance(value, dict) and "run" in value else value)


def _file(request: Request, endpoint: Endpoint, ids: list[str], body: Any, raw: bytes) -> Response | None:
    """Answer what has to do with files and their bytes."""
    kept: Kept = request.app.state.kept
    name = endpoint.name
    if name in {"files.create", "anthropic.files.create", "uploads.parts"}:
        form = Form(request.headers["content-type"], raw)
        part = next(p for p in form.parts if p.filename is not None)
        purpose = body.get("purpose", "user_data")
        made = kept.add_file(name, part.filename or "", purpose, part.data, part.kind)
        if name == "uploads.parts":
            made = {"id": made["id"], "object": "upload.part", "created_at": made["created_at"], "upload_id": ids[0]}
        return _json(made)
    if name in {"files.content", "anthropic.files.content", "messages.batches.results"}:
        data = kept.content(ids[0])
        if data is None:
            return _error(endpoint.api, 404, "no such file")
        kind = "application/x-jsonl" if name == "messages.batches.results" else "application/octet-stream"
        return Response(data, media_type=kind)
    return None


def _stored(kept: Kept, endpoint: Endpoint, ids: list[str], body: Any) -> Any:
    name = endpoint.name
    kind, _, action = name.rpartition(".")
    if name == "batches.create":
        return kept.batch(body)
    if name == "messages.batches.create":
        return kept.message_batch(body)
    if name == "threads.messages.create":
        return kept.message(ids[0], body)
    if name in {"threads.runs", "threads.runs.create", "threads.runs.submit_tool_outputs"}:
        return kept.run(ids[0] if ids else "thread_0", body)
    if name == "vector_stores.search":
        return kept.search(body)
    if kind in {"models", "anthropic.models"}:
        made = anthropic.model_entry() if endpoint.api == "anthropic" else _model()
        ends = {"first_id": MODEL, "last_id": MODEL, "has_more": False}
        return made if action == "get" else {"object": "list", "data": [made], **ends}
    lists = {
        "files.list": "file", "batches.list": "batch", "anthropic.files.list": "file",
        "threads.runs.list": "thread.run",
        "messages.batches.list": "message_batch", "threads.runs.steps.list": "thread.run.step",
    }  # fmt: skip
    if name in lists:
        return kept.listed(lists[name])
    if kind in {"files", "anthropic.files", "messages.batches"} and action == "delete":
        return kept.remove(ids[0], "message_batch" if kind == "messages.batches" else "file")
    if kind in {
        "assistants", "threads", "threads.messages", "vector_stores", "vector_stores.files", "conversations", "uploads",
        "vector_stores.file_batches", "conversations.items",
    }:  # fmt: skip
        return kept.plain(kind, action, ids, body)
    return kept.get(ids[-1]) if ids else None


def _model() -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": openai.TIME, "owned_by": "stand-in"}


def _speech(body: Any) -> Response:
    if body.get("stream_format") == "sse":
        usage = {"input_tokens": 4, "output_tokens": 4, "total_tokens": 8}
        delta = {"type": "speech.audio.delta", "audio": base64.b64encode(openai.SILENCE).decode()}
        return _streamed(streams.event(e) for e in (delta, {"type": "speech.audio.done", "usage": usage}))
    return Response(openai.SILENCE, media_type="audio/wav")


def _mcp(request: Request, body: Any) -> Response:
    state = request.app.state
    if request.method == "GET":
        return Response(status_code=405, headers={"allow": "POST, DELETE"})
    if request.method == "DELETE":
        return Response(status_code=200)
    messages = body if isinstance(body, list) else [body]
    answers = [found for message in messages if (found := mcp.answer(message, state.say)) is not None]
    if not answers:
        return Response(status_code=202)
    headers = {"mcp-session-id": "stand-in-session"} if messages[0].get("method") == "initialize" else {}
    if state.mcp_events:
        made = b"".join(b"".join(streams.events("mcp", found, state.chunk)) for found in answers)
        return Response(made, media_type="text/event-stream", headers=headers)
    return _json(answers if isinstance(body, list) else answers[0], headers=headers)


def _streamed(pieces: Iterable[bytes]) -> Response:
    async def each() -> Any:
        for piece in pieces:
            yield piece

    return StreamingResponse(each(), media_type="text/event-stream")


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, headers=headers, media_type="application/json")


def _error(api: str, status: int, message: str) -> Response:
    kind = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}.get(
        status, "invalid_request_error" if status < 500 else "api_error"
    )
    headers = {"retry-after": "1"} if status == 429 else None
    if api == "anthropic":
        return _json({"type": "error", "error": {"type": kind, "message": message}}, status, headers)
    error = {"message": message, "type": kind, "param": None, "code": None}
    return _json({"error": error}, status, headers)
