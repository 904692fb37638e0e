"""Replies in one piece: every leaf restored and cleaned, errors, files, media, policies, limits."""

import gzip
import json
import zlib
from typing import Any

import pytest

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.replies import Reply, open_reply
from trustplane.guard.proxy.wire.table import find
from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy
from trustplane.guard.text.reply_view import ReplyView

MAIL = "alice@example.com"
JSON = (("content-type", "application/json; charset=utf-8"),)


@pytest.fixture(scope="module")
def view(guard: TextGuard) -> ReplyView:
    return ReplyView(Guarded(Policy.default(), guard))


@pytest.fixture(scope="module")
def session(guard: TextGuard) -> Session:
    made = guard.session(key=bytes(range(32)))
    made.hide(MAIL)
    return made


@pytest.fixture(scope="module")
def shown(session: Session) -> str:
    return session.hide(MAIL)


def opened(view: ReplyView, session: Session, **more: Any) -> Reply:
    path, method = more.pop("path", "/v1/chat/completions"), more.pop("method", "POST")
    endpoint = find(method, path, more.pop("api", "openai"))
    assert endpoint is not None
    headers, status = more.pop("headers", JSON), more.pop("status", 200)
    return open_reply(endpoint, status, headers, session, view, more.pop("streams", False), **more)


def clean(view: ReplyView, session: Session, value: Any, **more: Any) -> Any:
    reply = opened(view, session, **more)
    reply.feed(json.dumps(value).encode())
    return json.loads(reply.close())


BENIGN = (
    b'{ "id": "chatcmpl-AvB7xQ29dKLm3TfW", "object": "chat.completion", "created": 1732837465,\n'
    b'  "model": "gpt-4o-2024-08-06", "choices": [ {"index": 0, "message": {"role": "assistant",\n'
    b'  "content": "Caf\\u00e9s open at 9.", "tool_calls": [{"id": "call_a1B2c3D4e5F6g7H8i9J0", "type": "function",\n'
    b'  "function": {"name": "f", "arguments": "{\\"x\\": 1.50}"}}]}, "logprobs": null, "finish_reason": "stop"} ],\n'
    b'  "usage": {"prompt_tokens": 123456789, "total_tokens": 1234567890}, "system_fingerprint": "fp_44709d6fcb"}'
)


def test_what_needs_no_change_keeps_its_bytes(view: ReplyView, session: Session) -> None:
    for coding, data in (("", BENIGN), ("gzip", gzip.compress(BENIGN)), ("deflate", zlib.compress(BENIGN))):
        reply = opened(view, session, headers=(*JSON, ("content-encoding", coding), ("x-request-id", "req_1")))
        assert not reply.streaming
        assert b"".join([*(reply.feed(data[i : i + 7]) for i in range(0, len(data), 7)), reply.close()]) == BENIGN
        assert dict(reply.headers) == {"content-type": "application/json", "x-request-id": "req_1"}
        assert reply.text == 'Cafés open at 9.\n{"x": 1.50}' and not reply.masked


def test_every_leaf_is_cleaned(view: ReplyView, session: Session, shown: str) -> None:
    value = {
        "id": f"call_{shown[1:-1]}",
        "choices": [
            {
                "message": {
                    "content": f"{shown}, not bob@invented.org",
                    "annotations": [{"url_citation": {"title": f"{shown}", "url": f"https://x.org/?{shown}"}}],
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "function": {
                                "name": "f",
                                "arguments": f'{{"a":"{shown}","b":"\\u0062ob@invented.org","n":4111111111111111}}',
                            },
                        }
                    ],
                },
                "index": 0,
            }
        ],
        "unknown": {shown: [{"x": f"{shown}"}], "card": 4111111111111111, "bob@invented.org": 1, "a@invented.org": 2},
        "created": 1732837465,
        "system_fingerprint": "bob@invented.org",
    }
    found = clean(view, session, value)
    assert found["id"] == f"call_{MAIL}"
    message = found["choices"][0]["message"]
    assert message["content"] == f"{MAIL}, not <EMAIL_ADDRESS>"
    assert message["annotations"][0]["url_citation"] == {"title": MAIL, "url": f"https://x.org/?{MAIL}"}
    arguments = json.loads(message["tool_calls"][0]["function"]["arguments"])
    assert arguments == {"a": MAIL, "b": "<EMAIL_ADDRESS>", "n": "<CREDIT_CARD>"}
    assert found["unknown"] == {
        MAIL: [{"x": MAIL}], "card": "<CREDIT_CARD>", "<EMAIL_ADDRESS>": 1, "<EMAIL_ADDRESS>#2": 2,
    }  # fmt: skip
    assert found["created"] == 1732837465 and found["system_fingerprint"] == "EMAIL_ADDRESS"


def test_escapes_hide_nothing_and_values_are_escaped(view: ReplyView, guard: TextGuard) -> None:
    session = guard.session(key=bytes(range(32)))
    key = '-----BEGIN PRIVATE KEY-----\nx"y\\\n-----END PRIVATE KEY-----'
    shown = session.hide(key)
    inner = json.dumps({"key": shown, "deep": json.dumps({"again": shown, "mail": "bob@invented.org"})})
    inner = inner.replace("bob", "\\\\u0062\\\\u006fb")
    found = clean(view, session, {"choices": [{"message": {"function_call": {"name": "f", "arguments": inner}}}]})
    arguments = json.loads(found["choices"][0]["message"]["function_call"]["arguments"])
    assert arguments["key"] == key
    assert json.loads(arguments["deep"]) == {"again": key, "mail": "<EMAIL_ADDRESS>"}


def test_log_probabilities_pass_while_their_text_is_unchanged(view: ReplyView, session: Session, shown: str) -> None:
    def probs(text: str) -> dict[str, Any]:
        entries = [{"token": c, "logprob": -1.0, "bytes": [ord(c)], "top_logprobs": []} for c in text]
        return {"content": entries, "refusal": None}

    for text, passes in (("It is blue.", True), (f"To {shown}", False), ("bob@invented.org", False)):
        choice = {"index": 0, "message": {"content": text}, "logprobs": probs(text), "finish_reason": "stop"}
        found = clean(view, session, {"choices": [choice]})["choices"][0]
        assert (found["logprobs"] is not None) == passes
    choice = {"index": 0, "message": {"content": "It is blue."}, "logprobs": probs("bob@invented.org")}
    assert clean(view, session, {"choices": [choice]})["choices"][0]["logprobs"] is None


def test_errors_of_the_provider(view: ReplyView, session: Session, shown: str) -> None:
    error = {"error": {"message": f"no {shown} and bob@invented.org", "type": "invalid_request_error", "code": None}}
    found = clean(view, session, error, status=429)
    assert found["error"]["message"] == f"no {MAIL} and <EMAIL_ADDRESS>"
    for api, path in (("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages"), ("mcp", "/mcp")):
        headers = (("content-type", "text/html"), ("retry-after", "3"), ("set-cookie", "x=bob@invented.org"))
        reply = opened(view, session, status=502, headers=headers, path=path, api=api, request_id="req_7")
        reply.feed(b"<html>bob@invented.org")
        out = reply.close()
        assert "error" in json.loads(out) and b"bob" not in out and b"req_7" in out
        assert dict(reply.headers) == {"content-type": "application/json", "retry-after": "3"}


@pytest.mark.parametrize(
    ("more", "data"),
    [
        ({"headers": (("content-type", "text/html"),)}, b"<html>hi"),
        ({"headers": (("content-type", "text/event-stream"),)}, b"data: [DONE]\n\n"),
        ({"headers": ()}, b'{"choices":[]}'),
        ({"status": 301}, b""),
        ({}, b"{"),
        ({}, b'{"a":1,"a":2}'),
        ({}, b'{"a":NaN}'),
        ({}, b"[" * 100_000 + b"]" * 100_000),
        ({}, b'{"a":' * 80 + b"1" + b"}" * 80),
        ({}, b'"\xff"'),
        ({"headers": (*JSON, ("content-encoding", "zstd"))}, b"x"),
        ({"headers": (*JSON, ("content-encoding", "gzip, br"))}, b"x"),
        ({"headers": (*JSON, ("content-encoding", "gzip"))}, b"not gzip"),
        ({"headers": (*JSON, ("content-encoding", "gzip"))}, gzip.compress(BENIGN)[:-9]),
        ({"headers": (*JSON, ("content-encoding", "gzip"))}, gzip.compress(b" " * 20_000_000)),
        ({"limit": 100}, BENIGN),
        ({"path": "/v1/audio/speech", "headers": (("content-type", "audio/mpeg"),)}, b"ID3..."),
        ({"path": "/v1/images/generations"}, b'{"data":[{"b64_json":"iVBORw0KGgoAAAANSUhEUgAA"}]}'),
    ],
)
def test_what_is_not_known_is_refused(view: ReplyView, session: Session, more: dict[str, Any], data: bytes) -> None:
    with pytest.raises(ProxyRefusal) as caught:
        reply = opened(view, session, **more)
        reply.feed(data)
        reply.close()
    assert caught.value.__cause__ is None


def test_media_pass_by_setting(view: ReplyView, session: Session) -> None:
    image = {"created": 1, "data": [{"b64_json": "iVBORw0KGgoAAAANSUhEUgAA", "revised_prompt": "for bob@invented.org"}]}
    found = clean(view, session, image, path="/v1/images/generations", media="pass")
    assert found["data"][0] == {**image["data"][0], "revised_prompt": "for <EMAIL_ADDRESS>"}  # type: ignore[index]
    text = clean(
        view, session, {"data": [{"b64_json": "bob@invented.org"}]}, path="/v1/images/generations", media="pass"
    )
    assert text == {"data": [{"b64_json": "<EMAIL_ADDRESS>"}]}
    reply = opened(view, session, path="/v1/audio/speech", headers=(("content-type", "audio/mpeg"),), media="pass")
    reply.feed(b"ID3\x00\xff")
    assert reply.close() == b"ID3\x00\xff"


def test_embeddings_pass_as_they_are(view: ReplyView, session: Session) -> None:
    floats = b'{"object":"list","data":[{"embedding":[' + b",".join([b"-0.0123456789"] * 500) + b'],"index":0}]}'
    coded = b'{"object":"list","data":[{"embedding":"AACAPwAAAEAAAEBA","index":0}]}'
    for data in (floats, coded):
        reply = opened(view, session, path="/v1/embeddings")
        reply.feed(data)
        assert reply.close() == data


def test_files_of_lines_and_sealed_tokens(view: ReplyView, guard: TextGuard) -> None:
    made = guard.session(key=bytes(range(32)), sealed=True)
    shown = made.hide(MAIL)
    session = guard.session(key=bytes(range(32)), sealed=True)  # another worker, later
    line = {
        "custom_id": "a",
        "response": {"body": {"choices": [{"message": {"content": f"{shown} bob@invented.org"}}]}},
    }
    data = json.dumps(line).encode() + b"\n" + b'{ "custom_id": "b" }\n'
    kind = (("content-type", "application/octet-stream"),)
    reply = opened(view, session, path="/v1/files/file-1/content", method="GET", headers=kind)
    reply.feed(data)
    first, second, _ = reply.close().split(b"\n")
    assert json.loads(first)["response"]["body"]["choices"][0]["message"]["content"] == f"{MAIL} <EMAIL_ADDRESS>"
    assert second == b'{ "custom_id": "b" }'
    for text in (b"plain bob@invented.org\nand more", b"{not json} bob@invented.org"):
        reply = opened(view, session, path="/v1/files/file-1/content", method="GET", headers=kind)
        reply.feed(text)
        assert reply.close() == text.replace(b"bob@invented.org", b"<EMAIL_ADDRESS>")
    reply = opened(view, session, path="/v1/files/file-1/content", method="GET", headers=kind)
    reply.feed(b"\xff\xfe\x00binary")
    with pytest.raises(ProxyRefusal):
        reply.close()


def test_transcripts_as_text(view: ReplyView, session: Session) -> None:
    for kind in ("text/plain", "text/vtt"):
        reply = opened(view, session, path="/v1/audio/transcriptions", headers=(("content-type", kind),))
        reply.feed(b"WEBVTT\n\n00:01 bob@invented.org")
        assert reply.close() == b"WEBVTT\n\n00:01 <EMAIL_ADDRESS>"


def policy(guard: TextGuard, text: str) -> ReplyView:
    return ReplyView(Guarded(Policy.parse(text), guard))


def test_the_policy_decides_what_comes_in(guard: TextGuard, session: Session) -> None:
    reply = {"choices": [{"message": {"content": "My name is Ada Lovelace, bob@invented.org, 4111 1111 1111 1111"}}]}

    def content(view: ReplyView) -> str:
        return str(clean(view, session, reply)["choices"][0]["message"]["content"])

    everything = content(policy(guard, ""))
    assert everything == "My name is Ada Lovelace, <EMAIL_ADDRESS>, <CREDIT_CARD>"
    assert "bob@invented.org, <CREDIT" in content(policy(guard, '[rules.EMAIL_ADDRESS]\nin = "allow"'))
    assert "4111" in content(policy(guard, '[defaults]\nin = "allow"'))
    named = content(policy(guard, '[rules.PERSON]\nin = "mask"'))
    assert "Lovelace" not in named
    own = content(policy(guard, '[allow]\nvalues = ["bob@invented.org"]'))
    assert "bob@invented.org" in own and "4111" not in own
    for action, rule in (("block", "guard.proxy.reply_blocked"), ("review", "guard.proxy.reply_review")):
        with pytest.raises(ProxyRefusal) as caught:
            content(policy(guard, f'[rules.CREDIT_CARD]\nin = "{action}"'))
        assert caught.value.rule == rule and "card" in str(caught.value).lower() and "4111" not in str(caught.value)


def test_a_block_in_a_stream(guard: TextGuard, session: Session) -> None:
    view = policy(guard, '[rules.CREDIT_CARD]\nin = "block"')
    reply = opened(view, session, streams=True, headers=(("content-type", "text/event-stream"),))
    out = b""
    with pytest.raises(ProxyRefusal) as caught:
        for piece in ("Here is the card that you asked me for: ", "4111 1111 ", "1111 1111", " and more", ""):
            choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None if piece else "stop"}
            chunk = {"choices": [choice]}
            out += reply.feed(f"data: {json.dumps(chunk)}\n\n".encode())
    assert b"Here is" in out and b"4111" not in out
    event = reply.error(caught.value, "req_9")
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "guard.proxy.reply_blocked"


def test_rpc_replies(view: ReplyView, session: Session, shown: str) -> None:
    value = {
        "jsonrpc": "2.0",
        "id": 3,
        "result": {
            "content": [{"type": "text", "text": f"{shown} bob@invented.org"}],
            "structuredContent": {"a": shown},
        },
    }
    found = clean(view, session, value, path="/mcp", api="mcp")["result"]
    assert found["content"][0]["text"] == f"{MAIL} <EMAIL_ADDRESS>" and found["structuredContent"] == {"a": MAIL}
    reply = opened(view, session, path="/mcp", api="mcp", status=202, headers=())
    assert reply.close() == b"" and reply.headers == ()
