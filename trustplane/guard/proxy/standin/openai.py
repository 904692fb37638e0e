"""What the stand-in answers at OpenAI's endpoints: shapes of the API reference, text of the caller."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

__all__ = ["MODEL", "PIXEL", "SILENCE", "arguments_of", "last_text", "reply"]

MODEL = "stand-in"
TIME = 1_760_000_000
PIXEL = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89\0\0\0\nIDATx\x9cc\0\1\0\0\5\0\1"
    b"\r\n-\xb4\0\0\0\0IEND\xaeB`\x82"
).decode()
"""A picture of one pixel, PNG."""
SILENCE = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0\x80>\0\0\2\0\x10\0data\0\0\0\0"
"""A sound of no length, WAV."""


def last_text(value: Any) -> str:
    """Return the text of a message, of the last one of several, or of the parts of a content."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        if value and all(isinstance(part, dict) and "role" not in part for part in value):
            return " ".join(text for part in value if (text := last_text(part)))
        return last_text(value[-1]) if value else ""
    if isinstance(value, dict):
        for key in ("content", "text", "output", "arguments", "input", "document"):
            if isinstance(value.get(key), str | list | dict):
                return last_text(value[key])
    return ""


def arguments_of(text: str) -> str:
    """Return the arguments of the call that the stand-in makes."""
    return json.dumps({"text": text}, ensure_ascii=False, separators=(",", ":"))


def _usage(text: str, *names: str) -> dict[str, int]:
    count = max(1, len(text) // 4)
    return {names[0]: count, names[1]: count, "total_tokens": 2 * count}


def _tool_name(tools: Any) -> str:
    for tool in tools or ():
        name = tool.get("name") or tool.get("function", {}).get("name")
        if isinstance(name, str):
            return name
    return ""


def _logprobs(text: str, size: int) -> list[dict[str, Any]]:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [
        {"token": p, "bytes": list(p.encode()), "logprob": -0.1, "top_logprobs": [
            {"token": p, "bytes": list(p.encode()), "logprob": -0.1}]}
        for p in pieces
    ]  # fmt: skip


def _chat(body: Any, text: str, size: int) -> Any:
    said = last_text(body["messages"])
    name = _tool_name(body.get("tools"))
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if name:
        call = {"name": name, "arguments": arguments_of(said)}
        message["tool_calls"] = [{"id": "call-1", "type": "function", "function": call}]
    choices = []
    for index in range(body.get("n") or 1):
        choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": "stop"}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": _logprobs(text, size), "refusal": None}
        choices.append(choice)
    usage = _usage(text, "prompt_tokens", "completion_tokens")
    return {
        "id": "standin-1", "object": "chat.completion", "created": TIME, "model": MODEL, "choices": choices,
        "usage": usage,
    }  # fmt: skip


def _completion(body: Any, text: str, size: int) -> Any:
    choice: dict[str, Any] = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    if body.get("logprobs"):
        tokens = [text[at : at + size] for at in range(0, len(text), size)]
        choice["logprobs"] = {
            "tokens": tokens, "token_logprobs": [-0.1] * len(tokens), "top_logprobs": [{t: -0.1} for t in tokens],
            "text_offset": list(range(0, len(text), size)),
        }  # fmt: skip
    usage = _usage(text, "prompt_tokens", "completion_tokens")
    return {
        "id": "standin-1", "object": "text_completion", "created": TIME, "model": MODEL, "choices": [choice],
        "usage": usage,
    }  # fmt: skip


def _response(body: Any, text: str, size: int) -> Any:
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    if "message.output_text.logprobs" in (body.get("include") or ()):
        part["logprobs"] = _logprobs(text, size)
    output: list[dict[str, Any]] = [
        {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    ]
    if name := _tool_name(body.get("tools")):
        arguments = arguments_of(last_text(body.get("input", "")))
        output.append(
            {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments,
             "status": "completed"}
        )  # fmt: skip
    return {
        "id": "resp_1", "object": "response", "created_at": TIME, "status": "completed", "error": None,
        "incomplete_details": None, "instructions": body.get("instructions"), "model": MODEL, "output": output,
        "parallel_tool_calls": True, "previous_response_id": None, "temperature": 1.0, "top_p": 1.0,
        "tool_choice": "auto", "tools": body.get("tools") or [], "metadata": body.get("metadata") or {},
        "truncation": "disabled", "user": body.get("user"), "store": bool(body.get("store")),
        "usage": {
            "input_tokens": 4, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8,
        },
    }  # fmt: skip


def _embeddings(body: Any, _text: str, _size: int) -> Any:
    given = body["input"]
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    vectors: list[Any] = [[(zlib.crc32(repr((i, n)).encode()) % 1000) / 1000 for n in range(4)] for i in inputs]
    if body.get("encoding_format") == "base64":
        import struct

        vectors = [base64.b64encode(struct.pack("<4f", *vector)).decode() for vector in vectors]
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": MODEL, "usage": {"prompt_tokens": 4, "total_tokens": 4}}


def _moderations(body: Any, _text: str, _size: int) -> Any:
    given = body["input"]
    count = len(given) if isinstance(given, list) and not any(isinstance(g, dict) for g in given) else 1
    names = (
        "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
        "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
    )  # fmt: skip
    result = {
        "flagged": False,
        "categories": dict.fromkeys(names, False),
        "category_scores": dict.fromkeys(names, 0.001),
        "category_applied_input_types": {name: ["text"] for name in names},
    }
    return {"id": "modr-1", "model": MODEL, "results": [result] * count}


def _images(_body: Any, text: str, _size: int) -> Any:
    return {"created": TIME, "data": [{"b64_json": PIXEL, "revised_prompt": text}]}


def _transcription(_body: Any, text: str, _size: int) -> Any:
    return {"text": text}


def _input_tokens(_body: Any, text: str, _size: int) -> Any:
    return {"object": "response.input_tokens", "input_tokens": max(1, len(text) // 4)}


def _compact(body: Any, text: str, _size: int) -> Any:
    output = [
        {"id": "msg_1", "type": "message", "role": "user", "status": "completed",
         "content": [{"type": "input_text", "text": text}]},
        {"id": "cmp_1", "type": "compaction", "encrypted_content": "AAEC"},
    ]  # fmt: skip
    usage = _response(body, text, 3)["usage"]
    return {"id": "resp_1", "object": "response.compaction", "created_at": TIME, "output": output, "usage": usage}


_REPLIES = {
    "chat.completions": _chat,
    "completions": _completion,
    "responses": _response,
    "responses.input_tokens": _input_tokens,
    "responses.compact": _compact,
    "embeddings": _embeddings,
    "moderations": _moderations,
    "images.generations": _images,
    "images.edits": _images,
    "images.variations": _images,
    "audio.transcriptions": _transcription,
    "audio.translations": _transcription,
}


def reply(name: str, body: Any, text: str, size: int) -> Any:
    """Return the reply of endpoint ``name`` to ``body`` with ``text`` as what the model says, None if it has none.

    ``size``: how many characters a token has.
    """
    made = _REPLIES.get(name)
    return None if made is None else made(body, text, size)
