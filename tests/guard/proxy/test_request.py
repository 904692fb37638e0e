"""The request side: every leaf of every body is hidden, what holds nothing keeps its bytes, echoes come back whole."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.guard.proxy.events import Head, ReplyData, ReplyEnd, ReplyHead
from trustplane.guard.proxy.gate import Caller, Gate
from trustplane.guard.proxy.media import media_kind
from trustplane.guard.proxy.payload import Field
from trustplane.guard.proxy.request import GuardedRequest
from trustplane.guard.proxy.sources import source_of
from trustplane.guard.proxy.wire.table import find
from trustplane.guard.text import TextGuard

from .exchanges import CHAT, JSON, Run, make_gate

MAIL, CARD, IDENTITY = "kanarienvogel@example.com", "4111111111111111", "11010519491231002X"
PLANTED = (MAIL, CARD, IDENTITY)
RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def gate(guard: TextGuard) -> Gate:
    return make_gate(guard)


def hidden(gate: Gate, body: Any, path: str = CHAT, **more: Any) -> str:
    run = Run(gate)
    sent = run.ask(body, path, **more)
    assert sent is not None, run.rule
    return sent.body.decode()


def decoded(text: str) -> str:
    """Every string and number of a JSON text, JSON in strings included."""

    def all_of(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for pair in value.items() for item in pair for text in all_of(item)]
        if isinstance(value, list):
            return [text for item in value for text in all_of(item)]
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                return all_of(json.loads(value))
            except ValueError:
                return [value]
        return [str(value)]

    return "\n".join(all_of(json.loads(text)))


leaves = st.sampled_from(
    [MAIL, f"card {CARD}.", f"身份证{IDENTITY}，邮箱{MAIL}谢谢", f"**{MAIL}** [m](mailto:{MAIL})",
     json.dumps({"a": MAIL}),
     json.dumps([{"deep": json.dumps({"b": [f"to {MAIL}"]})}]), "plain", "", "[PERSON_2222]", "\ud83d"]
)  # fmt: skip
keys = st.sampled_from(["a", "type", "name", "id", "content", "model", "to whom", MAIL, "card number", "x-y"])
values = st.recursive(
    leaves | st.integers(-(10**12), 10**12) | st.none() | st.booleans() | st.just(int(CARD)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["metadata", "user", "unknown", "tools", "name", "stop", "input", "prompt", "response_format", "logit_bias", "n"]
)


@RUNS
@given(values, fields, values, leaves, st.sampled_from(["user", "assistant", "tool", MAIL]))
def test_every_leaf_is_hidden(gate: Gate, one: Any, field: str, other: Any, text: str, role: str) -> None:
    body = {"model": "m", "messages": [{"role": role, "content": text, "x": one}], field: other}
    shown = decoded(hidden(gate, json.dumps(body, ensure_ascii=bool(len(field) % 2)).encode("utf-8", "replace")))
    assert not any(planted in shown for planted in PLANTED)


words = st.sampled_from(
    ["the plan for next week", "bitte kurz", "今天天气很好", "a\tb", 'say "yes"', "1 + 1", "\u00fcber", "\\"]
)
benign = st.recursive(
    words | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "k v", "c", "d"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@RUNS
@given(benign, words, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_holds_nothing_keeps_its_bytes(gate: Gate, value: Any, text: str, indent: Any, plain: bool) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "metadata": value, "top_p": 0.10}
    data = json.dumps(body, indent=indent, ensure_ascii=plain)
    assert hidden(gate, data.encode()) == data


@RUNS
@given(st.lists(leaves, min_size=1, max_size=4), st.booleans())
def test_an_echo_comes_back_whole(gate: Gate, texts: list[str], streamed: bool) -> None:
    text = " | ".join(texts).encode("utf-8", "replace").decode()
    run = Run(gate)
    sent = run.ask({"model": "m", "messages": [{"role": "user", "content": text}], "stream": streamed})
    assert sent is not None
    shown = json.loads(sent.body)["messages"][0]["content"]
    if streamed:
        run.feed(ReplyHead(200, (("content-type", "text/event-stream"),)))
        for start in range(0, len(shown), 5):
            delta = {"index": 0, "delta": {"content": shown[start : start + 5]}, "finish_reason": None}
            run.feed(ReplyData(f"data: {json.dumps({'id': '1', 'choices': [delta]})}\n\n".encode()))
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        run.feed(
            ReplyData(f"data: {json.dumps({'id': '1', 'choices': [last]})}\n\ndata: [DONE]\n\n".encode()), ReplyEnd()
        )
        lines = [json.loads(line[6:]) for line in run.answer.decode().splitlines() if line.startswith("data: {")]
        back = "".join(c["delta"].get("content") or "" for line in lines for c in line["choices"])
    else:
        run.reply({"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": shown}}]})
        back = json.loads(run.answer)["choices"][0]["message"]["content"]
    assert back == text


def test_a_value_cut_by_text_parts_is_found(gate: Gate) -> None:
    for cut in range(1, len(MAIL)):
        parts = [{"type": "text", "text": f"write to {MAIL[:cut]}"}, {"type": "text", "text": f"{MAIL[cut:]} now"}]
        found = json.loads(hidden(gate, {"model": "m", "messages": [{"role": "user", "content": parts}]}))
        shown = [part["text"] for part in found["messages"][0]["content"]]
        assert shown[0].startswith("write to [") and shown[1].startswith("[") and shown[1].endswith("] now")
    parts = [{"type": "text", "text": piece} for piece in ("card 4111", "1111", "1111", "1111 ok")]
    joined = hidden(gate, {"model": "m", "messages": [{"role": "user", "content": parts}]})
    assert "1111" not in joined


def test_coded_values_are_found(gate: Gate) -> None:
    coded = [
        base64.b64encode(f"mail {MAIL}".encode()).decode(),
        quote(MAIL, safe=""),
        "".join(f"%{b:02x}" for b in MAIL.encode()),
    ]
    for text in coded:
        assert text not in hidden(gate, {"model": "m", "messages": [{"role": "user", "content": f"see {text}"}]})


def test_names_of_the_api(gate: Gate) -> None:
    tool = {
        "type": "function",
        "function": {"name": f"mail_{MAIL}", "parameters": {"properties": {"n": {"maximum": 2**31 - 1}}}},
    }
    call = {"id": f"call_{CARD}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = {"model": MAIL, "messages": [{"role": MAIL, "content": None, "tool_calls": [call]}], "tools": [tool]}
    run = Run(gate)
    sent = run.ask(body)
    assert sent is not None
    shown = json.loads(sent.body)
    names = [shown["model"], shown["messages"][0]["role"], shown["messages"][0]["tool_calls"][0]["id"]]
    names.append(shown["tools"][0]["function"]["name"])
    assert not any(c in name for name in names for c in "[]<>@") and CARD not in sent.body.decode()
    assert shown["tools"][0]["function"]["parameters"] == tool["function"]["parameters"]  # type: ignore[index]
    calls = [{"id": names[2], "type": "function", "function": {"name": names[3], "arguments": "{}"}}]
    run.reply(
        {"id": "1", "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": calls}}]}
    )
    back = json.loads(run.answer)["choices"][0]["message"]["tool_calls"][0]
    assert (back["id"], back["function"]["name"]) == (f"call_{CARD}", f"mail_{MAIL}")


@pytest.mark.parametrize(
    "name",
    ["call_9aB3kd81jfJQ0w2Lx7", "toolu_01A09q90qw90lq917835lq9", "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
     "gpt-4o-2024-08-06", "54db3177-4aa7-f9da-adf5-18251824a3a2",
     "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
     "01J9Z3NDEKTSV4RRFFQ69G5FAV"],
)  # fmt: skip
def test_ids_are_no_findings(gate: Gate, name: str) -> None:
    body = {"model": name, "messages": [{"role": "tool", "tool_call_id": name, "content": "ok"}]}
    assert json.loads(hidden(gate, body)) == body


def test_numbers(gate: Gate) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": 1391111222, "max_tokens": 1000000000}
    numbers = {"card": int(CARD), "at": 1760000000, "ms": 1760000000123, "big": 2**63 - 1, "small": 12345678}
    shown = json.loads(hidden(gate, {**body, "metadata": numbers}))
    assert isinstance(shown["metadata"].pop("card"), str)
    numbers.pop("card")
    assert shown == {**body, "metadata": numbers}


def test_arguments_that_are_no_json_are_let_through_with_nothing_hidden_in_them(gate: Gate) -> None:
    coded = "".join(f"\\u{ord(c):04x}" for c in MAIL)
    for arguments in ('{"a": "x"', f'{{"to": "{coded}"', f"{{'to': '{MAIL}'", '{"a": "b\\q"}'):
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
        shown = json.loads(hidden(gate, {"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]}))
        found = shown["messages"][0]["tool_calls"][0]["function"]["arguments"]
        assert MAIL not in found and coded not in found
        assert found == arguments or MAIL in arguments or coded in arguments


def test_path_query_and_headers(gate: Gate) -> None:
    run = Run(gate)
    sent = run.ask(
        b"", f"/v1/files/{quote(MAIL, safe='@')}", "GET", f"limit=20&after=file-abc123&note={quote(MAIL)}&order=asc",
        (("idempotency-key", "a-b-c"), ("openai-project", "proj_1"), ("authorization", "Bearer k"), ("x-other", MAIL)),
    )  # fmt: skip
    assert sent is not None
    assert "kanarien" not in sent.path + sent.query + repr(sent.headers)
    assert sent.path.startswith("/v1/files/SEALED_EMAIL_ADDRESS_") and sent.query.startswith(
        "limit=20&after=file-abc123&note=%5B"
    )
    names = [name for name, _ in sent.headers]
    assert {"idempotency-key", "openai-project", "authorization"} <= set(names) and "x-other" not in names
    same = Run(gate).ask(b"", "/v1/files/file-abc123/content", "GET", "a=%E4%BD%A0+b")
    assert same is not None and (same.path, same.query) == ("/v1/files/file-abc123/content", "a=%E4%BD%A0+b")


def test_files(gate: Gate) -> None:
    def form(filename: str, data: bytes) -> bytes:
        head = (
            '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
            f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        return head.encode() + data + b"\r\n--b--\r\n"

    line = {
        "custom_id": "1",
        "method": "POST",
        "url": CHAT,
        "body": {"model": "m", "store": True, "messages": [{"role": "user", "content": MAIL}]},
    }
    headers = (("content-type", "multipart/form-data; boundary=b"),)
    for filename, data in [
        ("batch.jsonl", json.dumps(line).encode() + b"\n" + json.dumps(line).encode() + b"\n"),
        (f"{MAIL}.jsonl", json.dumps(line).encode()),
        ("notes.txt", f"write to {MAIL}".encode()),
        ("one.json", json.dumps(line, indent=1).encode()),
    ]:
        run = Run(gate)
        sent = run.ask(form(filename, data), "/v1/files", headers=headers)
        assert sent is not None and MAIL.encode() not in sent.body and b"SEALED_EMAIL_ADDRESS" in sent.body
        assert filename.rpartition(".")[2].encode() + b'"' in sent.body and b'"store": true' not in sent.body
    run = Run(gate)
    assert (
        run.ask(form("x.bin", b"\x00\x01\xff\xfe"), "/v1/files", headers=headers) is None
        and run.rule == "guard.proxy.file"
    )
    run = Run(gate)
    assert run.ask(form("x.png", b"\x89PNG\r\n\x1a\n0000"), "/v1/files", headers=headers) is None
    assert run.rule == "guard.proxy.media"


def test_who_wrote_a_text(gate: Gate) -> None:
    def sources(body: dict[str, Any], path: str = CHAT) -> dict[str, str]:
        endpoint = find("POST", path, "")
        assert endpoint is not None
        request = GuardedRequest(gate, Caller(), Head("POST", path, "", JSON), endpoint)
        request.read(json.dumps(body).encode())
        return {f.place: source_of(f, request._payload.values, endpoint) for f in request._payload.fields}

    found = sources(
        {"model": "m", "messages": [{"role": r, "content": "x"} for r in ("system", "user", "assistant", "tool")]}
    )
    assert [found[f"messages[{i}].content"] for i in range(4)] == ["", "user", "", "tool"]
    claude = sources(
        {"model": "m", "system": "s", "messages": [{"role": "user", "content": [
            {"type": "text", "text": "t"}, {"type": "tool_result", "tool_use_id": "i", "content": "r"},
            {"type": "document", "source": {"type": "text", "data": "d d"}},
        ]}]},
        "/v1/messages",
    )  # fmt: skip
    assert claude["system"] == "" and claude["messages[0].content[0].text"] == "user"
    assert (
        claude["messages[0].content[1].content"] == "tool"
        and claude["messages[0].content[2].source.data"] == "document"
    )
    assert source_of(Field("x", "a.b", "name"), [], find("POST", CHAT, "")) == ""  # type: ignore[arg-type]


def test_media_are_told_by_their_first_bytes() -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
    assert media_kind(png) == "bytes" and media_kind(f"data:image/png;base64,{png}") == "bytes"
    assert media_kind("https://x.test/a.png") == "url"
    assert media_kind(f"data:image/png;base64,{png} {MAIL}") == ""
    assert media_kind(f"data:image/png;name={MAIL};base64,{png}") == ""
    assert media_kind("a" * 400) == "blob" and media_kind("a word") == "" and media_kind("") == ""
