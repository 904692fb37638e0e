"""The event parser and the reply stream: every cut gives the same."""

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.reply import ReplyStream, clean_reply
from trustplane.guard.proxy.sse import EventParser
from trustplane.guard.text import TextGuard

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

RAW = "\ufeffdata: a\n\n: comment\r\ndata:b\r\n\r\ndata: c1\rdata: c2\r\revent: x\nid: 1\ndata: 😀中\n\n\n\ndata: last"
EVENTS = ["a", "b", "c1\nc2", "😀中", "last"]


def test_every_two_cuts() -> None:
    raw = RAW.encode()
    for first in range(len(raw) + 1):
        for second in range(first, len(raw) + 1, 3):
            parser = EventParser()
            found = parser.feed(raw[:first]) + parser.feed(raw[first:second]) + parser.feed(raw[second:])
            assert found + parser.close() == EVENTS


def test_byte_by_byte() -> None:
    parser = EventParser()
    assert [e for b in RAW.encode() for e in parser.feed(bytes([b]))] + parser.close() == EVENTS


def test_not_utf8_and_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProxyRefusal):
        EventParser().feed(b"data: \xff\n\n")
    monkeypatch.setattr("trustplane.guard.proxy.sse.MAX_EVENT", 100)
    with pytest.raises(ProxyRefusal):
        EventParser().feed(b"data: " + b"x" * 200)


@QUICK
@given(st.binary(max_size=60), st.integers())
def test_any_bytes_any_cut(raw: bytes, seed: int) -> None:
    def run(pieces: list[bytes]) -> Any:
        parser = EventParser()
        try:
            return [e for piece in pieces for e in parser.feed(piece)] + parser.close()
        except ProxyRefusal:
            return "refused"

    draw = random.Random(seed)
    cuts = sorted(draw.randrange(len(raw) + 1) for _ in range(4))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert run(pieces) == run([raw])


@QUICK
@given(
    st.lists(st.sampled_from(["a ", "bob@invented.org ", "4111 1111 1111 1111", "中文，", "[", "1", "\n", '"'])),
    st.integers(),
)
def test_stream_equals_plain(guard: TextGuard, parts: list[str], seed: int) -> None:
    session = guard.session()
    shown = session.hide("alice@example.com")
    source = "".join(parts) + shown + "".join(parts[:2])
    plain, tally = clean_reply(json.dumps({"choices": [{"message": {"content": source}}]}).encode(), session)
    stream = ReplyStream(session)
    draw = random.Random(seed)
    out = []
    position = 0
    while position < len(source):
        size = draw.choice([1, 2, 5, 11])
        delta = {"content": source[position : position + size]}
        position += size
        finish = "stop" if position >= len(source) else None
        out += stream.feed(json.dumps({"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
    out += stream.close()
    choices = [json.loads(o)["choices"][0] for o in out]
    assert "".join(c["delta"].get("content", "") for c in choices) == plain["choices"][0]["message"]["content"]
    assert choices[-1]["finish_reason"] == "stop" and all(c["finish_reason"] is None for c in choices[:-1])
    assert (stream.restored, stream.masked) == (tally.restored, tally.masked)
    assert stream.text == plain["choices"][0]["message"]["content"]
