"""A local stand-in for an LLM API: quotes what it received. For demos and tests; there is no model in it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from trustplane.guard.proxy.body import dump

__all__ = ["build_standin"]

MODEL = "stand-in"


def build_standin(*, chunk: int = 3) -> Starlette:
    """Return the stand-in as an ASGI app for /v1/chat/completions, plain and streamed.

    It answers ``You wrote: "<last message>"`` and, if the request offers tools, with a call of the
    first one whose argument is that text. ``chunk`` is the size of its stream's pieces in characters,
    so that pseudonyms are cut. What it received, headers included, is in ``app.state.received``.
    """
    app = Starlette(routes=[Route("/v1/chat/completions", _answer, methods=["POST"])])
    app.state.received = []
    app.state.chunk = chunk
    return app


async def _answer(request: Request) -> Response:
    raw = await request.body()
    body = json.loads(raw)
    request.app.state.received.append({"headers": dict(request.headers), "body": body, "raw": raw})
    last = body["messages"][-1].get("content") or ""
    if isinstance(last, list):
        last = " ".join(part.get("text", "") for part in last)
    text = f'You wrote: "{last}"'
    tools = body.get("tools") or []
    name = tools[0]["function"]["name"] if tools else ""
    arguments = dump({"text": last})
    if body.get("stream"):
        pieces = _stream(text, name, arguments, request.app.state.chunk)
        return StreamingResponse(pieces, media_type="text/event-stream")
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if name:
        message["tool_calls"] = [_call(name, arguments)]
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": "standin-1", "object": "chat.completion", "model": MODEL, "choices": [choice]}
    return Response(dump(reply), media_type="application/json")


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call-1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "standin-1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}
    return f"data: {dump(chunk)}\n\n".encode()


async def _stream(text: str, name: str, arguments: str, size: int) -> AsyncIterator[bytes]:
    yield _event({"role": "assistant", "content": ""})
    for start in range(0, len(text), size):
        yield _event({"content": text[start : start + size]})
    if name:
        yield _event({"tool_calls": [{"index": 0, **_call(name, "")}]})
        for start in range(0, len(arguments), size):
            piece = {"index": 0, "function": {"arguments": arguments[start : start + size]}}
            yield _event({"tool_calls": [piece]})
    yield _event({}, "stop")
    yield b"data: [DONE]\n\n"
