"""A whole reply as the stream of events that the same API would have sent, text in pieces of a given length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["event", "events"]

DONE = b"data: [DONE]\n\n"


def event(value: Any, name: str = "") -> bytes:
    """Return one server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _chat(reply: Any, size: int) -> Iterator[bytes]:
    head = {**reply, "object": "chat.completion.chunk"}
    head.pop("usage", None)

    def chunk(index: int, delta: Any, finish: str | None = None, **more: Any) -> bytes:
        return event({**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish, **more}]})

    for choice in reply["choices"]:
        index, message = choice["index"], choice["message"]
        yield chunk(index, {"role": message["role"], "content": ""})
        tokens = (choice.get("logprobs") or {}).get("content") or ()
        if tokens:
            for token in tokens:
                yield chunk(index, {"content": token["token"]}, logprobs={"content": [token], "refusal": None})
        for key in ("reasoning_content", "content", "refusal"):
            if isinstance(message.get(key), str) and not (tokens and key == "content"):
                for piece in _pieces(message[key], size):
                    yield chunk(index, {key: piece})
        for key in message:
            if key not in {"role", "content", "reasoning_content", "refusal", "tool_calls", "function_call"}:
                yield chunk(index, {key: message[key]})
        for number, call in enumerate(message.get("tool_calls") or ()):
            kind, field = ("function", "arguments") if "function" in call else ("custom", "input")
            yield chunk(index, {"tool_calls": [{"index": number, **call, kind: {**call[kind], field: ""}}]})
            for piece in _pieces(call[kind][field], size):
                yield chunk(index, {"tool_calls": [{"index": number, kind: {field: piece}}]})
        if call := message.get("function_call"):
            yield chunk(index, {"function_call": {"name": call["name"], "arguments": ""}})
            for piece in _pieces(call["arguments"], size):
                yield chunk(index, {"function_call": {"arguments": piece}})
        yield chunk(index, {}, choice["finish_reason"])
    if "usage" in reply:
        yield event({**head, "choices": [], "usage": reply["usage"]})
    yield DONE


def _completion(reply: Any, size: int) -> Iterator[bytes]:
    for choice in reply["choices"]:
        for piece in _pieces(choice["text"], size):
            yield event({**reply, "choices": [{**choice, "text": piece, "logprobs": None, "finish_reason": None}]})
        yield event({**reply, "choices": [{**choice, "text": "", "logprobs": None}]})
    yield DONE


class _Numbered:
    """Events of Responses, numbered."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, kind: str, **fields: Any) -> bytes:
        made = event({"type": kind, "sequence_number": self.number, **fields}, kind)
        self.number += 1
        return made


_INPUTS = {
    "function_call": ("arguments", "function_call_arguments"),
    "mcp_call": ("arguments", "mcp_call_arguments"),
    "custom_tool_call": ("input", "custom_tool_call_input"),
    "code_interpreter_call": ("code", "code_interpreter_call_code"),
}


def _responses(reply: Any, size: int) -> Iterator[bytes]:
    numbered = _Numbered()
    begun = {**reply, "status": "in_progress", "output": []}
    yield numbered("response.created", response=begun)
    yield numbered("response.in_progress", response=begun)
    for at, item in enumerate(reply["output"]):
        yield from _item(item, at, size, numbered)
    yield numbered("response.completed", response=reply)


def _item(item: Any, at: int, size: int, numbered: _Numbered) -> Iterator[bytes]:
    place = {"item_id": item["id"], "output_index": at}
    emptied = {**item, "status": "in_progress"} if "status" in item else dict(item)
    for key in ("content", "summary"):
        if isinstance(item.get(key), list):
            emptied[key] = []
    field, name = _INPUTS.get(item["type"], ("", ""))
    if field:
        emptied[field] = ""
    yield numbered("response.output_item.added", output_index=at, item=emptied)
    for index, part in enumerate(item.get("summary") or ()):
        here = {**place, "summary_index": index}
        yield numbered("response.reasoning_summary_part.added", **here, part={**part, "text": ""})
        for piece in _pieces(part["text"], size):
            yield numbered("response.reasoning_summary_text.delta", **here, delta=piece)
        yield numbered("response.reasoning_summary_text.done", **here, text=part["text"])
        yield numbered("response.reasoning_summary_part.done", **here, part=part)
    content = item.get("content")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        yield from _content(part, {**place, "content_index": index}, size, numbered)
    if field:
        for piece in _pieces(item[field], size):
            yield numbered(f"response.{name}.delta", **place, delta=piece)
        yield numbered(f"response.{name}.done", **place, **{field: item[field]})
    yield numbered("response.output_item.done", output_index=at, item=item)


def _content(part: Any, here: Any, size: int, numbered: _Numbered) -> Iterator[bytes]:
    field = "refusal" if "refusal" in part else "text"
    name = "refusal" if field == "refusal" else "output_text" if part["type"] != "reasoning_text" else part["type"]
    empty = {**part, field: ""}
    for key in ("annotations", "logprobs"):
        if key in part:
            empty[key] = []
    yield numbered("response.content_part.added", **here, part=empty)
    for piece in _pieces(part[field], size):
        more: dict[str, Any] = {"logprobs": []} if name == "output_text" else {}
        yield numbered(f"response.{name}.delta", **here, delta=piece, **more)
    for index, annotation in enumerate(part.get("annotations") or ()):
        yield numbered("response.output_text.annotation.added", **here, annotation_index=index, annotation=annotation)
    more = {"logprobs": part.get("logprobs") or []} if name == "output_text" else {}
    yield numbered(f"response.{name}.done", **here, **{field: part[field]}, **more)
    yield numbered("response.content_part.done", **here, part=part)


def _messages(reply: Any, size: int) -> Iterator[bytes]:
    def named(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)

    begun = {**reply, "content": [], "stop_reason": None, "stop_sequence": None}
    yield named("message_start", message=begun)
    yield named("ping")
    for index, block in enumerate(reply["content"]):
        empty, deltas = _block(block, size)
        yield named("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield named("content_block_delta", index=index, delta=delta)
        yield named("content_block_stop", index=index)
    delta = {"stop_reason": reply["stop_reason"], "stop_sequence": reply["stop_sequence"]}
    yield named("message_delta", delta=delta, usage={"output_tokens": reply["usage"]["output_tokens"]})
    yield named("message_stop")


def _block(block: Any, size: int) -> tuple[Any, list[Any]]:
    """Return a content block as it starts, and its deltas."""
    kind = block["type"]
    if kind == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"], size)]
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block.get("citations") or ()]
        return {"type": "text", "text": "", **({"citations": []} if "citations" in block else {})}, deltas
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"], size)]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    if kind in {"tool_use", "server_tool_use", "mcp_tool_use"}:
        text = json.dumps(block["input"], ensure_ascii=False)
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": p} for p in _pieces(text, size)]
    return block, []


def _complete(reply: Any, size: int) -> Iterator[bytes]:
    for piece in _pieces(reply["completion"], size):
        yield event({**reply, "completion": piece, "stop_reason": None, "stop": None}, "completion")
    yield event({**reply, "completion": ""}, "completion")


def _transcription(reply: Any, size: int) -> Iterator[bytes]:
    for piece in _pieces(reply["text"], size):
        yield event({"type": "transcript.text.delta", "delta": piece})
    yield event({"type": "transcript.text.done", "text": reply["text"]})
    yield DONE


def _images(reply: Any, _size: int, kind: str = "image_generation") -> Iterator[bytes]:
    for item in reply["data"]:
        fields = {
            "b64_json": item["b64_json"], "created_at": reply["created"], "size": "1024x1024", "quality": "low",
            "background": "opaque", "output_format": "png",
        }  # fmt: skip
        yield event({"type": f"{kind}.partial_image", "partial_image_index": 0, **fields}, f"{kind}.partial_image")
        usage = {
            "input_tokens": 4, "output_tokens": 4, "total_tokens": 8,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": 4},
        }  # fmt: skip
        yield event({"type": f"{kind}.completed", **fields, "usage": usage}, f"{kind}.completed")


def _run(reply: Any, size: int) -> Iterator[bytes]:
    run, message = reply["run"], reply["message"]
    yield event({**run, "status": "queued"}, "thread.run.created")
    yield event({**run, "status": "in_progress"}, "thread.run.in_progress")
    yield event({**message, "content": [], "status": "in_progress"}, "thread.message.created")
    for index, part in enumerate(message["content"]):
        for piece in _pieces(part["text"]["value"], size):
            content = [{"index": index, "type": "text", "text": {"value": piece}}]
            delta = {"id": message["id"], "object": "thread.message.delta", "delta": {"content": content}}
            yield event(delta, "thread.message.delta")
    yield event(message, "thread.message.completed")
    yield event(run, "thread.run.completed")
    yield b"event: done\ndata: [DONE]\n\n"


def _mcp(reply: Any, _size: int) -> Iterator[bytes]:
    progress = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "at work"}}
    yield event(progress, "message")
    yield event(reply, "message")


_STREAMS: dict[str, Callable[[Any, int], Iterator[bytes]]] = {
    "chat.completions": _chat,
    "completions": _completion,
    "responses": _responses,
    "responses.get": _responses,
    "messages": _messages,
    "complete": _complete,
    "audio.transcriptions": _transcription,
    "images.generations": _images,
    "images.edits": lambda reply, size: _images(reply, size, "image_edit"),
    "threads.runs": _run,
    "threads.runs.create": _run,
    "threads.runs.submit_tool_outputs": _run,
    "mcp": _mcp,
}


def events(name: str, reply: Any, size: int) -> Iterator[bytes]:
    """Yield the events of the stream of endpoint ``name`` that says the same as ``reply``.

    For runs of assistants ``reply`` holds ``run`` and ``message``.

    Raises:
        KeyError: an endpoint that does not stream, or a reply of another shape.
    """
    return _STREAMS[name](reply, size)
