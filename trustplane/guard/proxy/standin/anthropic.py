"""What the stand-in answers at Anthropic's endpoints and at rerank: shapes of the API references."""

from __future__ import annotations

from typing import Any

from trustplane.guard.proxy.standin.openai import MODEL, last_text

__all__ = ["model_entry", "reply"]

_DAY = "2026-01-01T00:00:00Z"


def model_entry() -> dict[str, Any]:
    """Return the entry of the one model."""
    return {"type": "model", "id": MODEL, "display_name": "Stand-in", "created_at": _DAY}


def _messages(body: Any, text: str) -> Any:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    tools = [tool for tool in body.get("tools") or () if "input_schema" in tool]
    if tools:
        given = {"text": last_text(body["messages"])}
        content.append({"type": "tool_use", "id": "toolu_1", "name": tools[0]["name"], "input": given})
    if body.get("thinking", {}).get("type") == "enabled":
        content.insert(0, {"type": "thinking", "thinking": text, "signature": "c2lnbmF0dXJl"})
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": content,
        "stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 4, "output_tokens": max(1, len(text) // 4)},
    }  # fmt: skip


def _count(_body: Any, text: str) -> Any:
    return {"input_tokens": max(1, len(text) // 4)}


def _complete(_body: Any, text: str) -> Any:
    return {
        "type": "completion", "id": "compl_1", "completion": text, "stop_reason": "stop_sequence", "stop": "\n\nHuman:",
        "model": MODEL, "log_id": "compl_1",
    }  # fmt: skip


def _rerank(body: Any, _text: str) -> Any:
    documents = body.get("documents") or body.get("texts") or []
    order = sorted(range(len(documents)), key=lambda i: -len(last_text(documents[i])))[: body.get("top_n") or None]
    results = []
    for rank, index in enumerate(order):
        result: dict[str, Any] = {"index": index, "relevance_score": round(0.9 / (rank + 1), 4)}
        if body.get("return_documents"):
            document = documents[index]
            result["document"] = {"text": document} if isinstance(document, str) else document
        results.append(result)
    return {"id": "rerank-1", "model": MODEL, "results": results, "meta": {"api_version": {"version": "2"}}}


_REPLIES = {"messages": _messages, "messages.count_tokens": _count, "complete": _complete, "rerank": _rerank}


def reply(name: str, body: Any, text: str) -> Any:
    """Return the reply of endpoint ``name`` to ``body`` with ``text`` as what the model says, None if it has none."""
    made = _REPLIES.get(name)
    return None if made is None else made(body, text)
