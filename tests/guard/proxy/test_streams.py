"""Recorded streams of each API: however they are cut, the client's text is that of the reply in one piece."""

import contextlib
import json
import random
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.replies import Reply, open_reply
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.proxy.wire.sse import EventParser
from trustplane.guard.proxy.wire.table import find
from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.policy import Policy
from trustplane.guard.text.reply_view import ReplyView

FOLDER = Path(__file__).with_name("streams")
NAMES = sorted(path.stem for path in FOLDER.glob("*.sse"))
HIDDEN = ["alice@example.com", "+49 30 901820", "5555 5555 5555 4444"]
INVENTED = ["bob@invented.org", "carol@invented.org", "4111 1111 1111 1111", "4111111111111111", "13912345678"]
PATHS = {
    "chat": "/v1/chat/completions", "completions": "/v1/completions", "responses": "/v1/responses",
    "messages": "/v1/messages", "complete": "/v1/complete", "mcp": "/mcp", "threads": "/v1/threads/runs",
    "transcription": "/v1/audio/transcriptions",
}  # fmt: skip
SSE = (("content-type", "text/event-stream"),)


class Remembering(ReplyView):
    """A view that looks at each text once, since the streams are read thousands of times."""

    def __init__(self, guarded: Guarded, **settings: Any) -> None:
        super().__init__(guarded, **settings)
        self._seen: dict[str, list[Hit]] = {}

    def detect(self, text: str, **more: Any) -> list[Hit]:
        if text not in self._seen:
            self._seen[text] = super().detect(text, **more)
        return self._seen[text]


@pytest.fixture(scope="module")
def view(guard: TextGuard) -> ReplyView:
    return Remembering(Guarded(Policy.default(), guard))


@pytest.fixture(scope="module")
def session(guard: TextGuard) -> Session:
    made = guard.session(key=bytes(range(32)))
    made.hide("\n".join(HIDDEN))
    return made


@cache
def recorded(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def endpoint_of(name: str) -> Endpoint:
    kind = name.partition("_")[0]
    api = {"messages": "anthropic", "complete": "anthropic", "mcp": "mcp"}.get(kind, "openai")
    found = find("POST", PATHS[kind], api)
    assert found is not None
    return found


def opened(name: str, session: Session, view: ReplyView, headers: Any = SSE) -> Reply:
    return open_reply(endpoint_of(name), 200, headers, session, view, True)


def run(reply: Reply, pieces: Iterable[bytes]) -> bytes:
    out = b"".join(reply.feed(piece) for piece in pieces) + reply.close()
    assert reply.ended
    return out + reply.tail


def events(data: bytes) -> list[tuple[str, Any]]:
    parser = EventParser()
    found = parser.feed(data) + parser.close()
    return [(e.name, e.data if e.data == "[DONE]" else json.loads(e.data)) for e in found if e.data is not None]


def joined(data: bytes) -> dict[Any, str]:
    """Return the texts of a stream by place, as a client puts them together."""
    texts: dict[Any, str] = defaultdict(str)

    def walk(value: Any, place: tuple[Any, ...]) -> None:
        if isinstance(value, str):
            if place[-1] not in {"id", "type", "name", "role", "signature"}:
                texts[place] += value
        elif isinstance(value, dict):
            for key, item in value.items():
                if key != "citation":
                    walk(item, (*place, key))
        elif isinstance(value, list):
            for at, item in enumerate(value):
                walk(item, (*place, item.get("index", at) if isinstance(item, dict) else at))

    for _, value in events(data):
        if isinstance(value, dict):
            for choice in value.get("choices", ()):
                walk({k: v for k, v in choice.items() if k in {"delta", "text"}}, (choice["index"],))
            if "choices" not in value and "delta" in value and value.get("type") != "message_delta":
                place = value.get("type"), value.get("output_index"), value.get("index"), value.get("summary_index")
                walk(value["delta"], (*place, value["delta"].get("type") if isinstance(value["delta"], dict) else ""))
            if "completion" in value:
                texts["completion"] += value["completion"]
    return {place: text for place, text in texts.items() if text}


def strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
        if value[:1] in {"{", "["}:
            with contextlib.suppress(ValueError):
                yield from strings(json.loads(value))
    elif isinstance(value, dict | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from strings(item)
    else:
        yield str(value)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_gives_the_texts_of_the_reply_in_one_piece(name: str, session: Session, view: ReplyView) -> None:
    raw = recorded(name)
    reply = opened(name, session, view)
    out = run(reply, [raw])
    before, after = joined(raw), joined(out)
    for place, text in before.items():
        plain = open_reply(endpoint_of("chat"), 200, (("content-type", "application/json"),), session, view, False)
        plain.feed(json.dumps({"content": text}).encode())
        assert after[place] == json.loads(plain.close())["content"], place
    assert before.keys() == after.keys()
    found = list(strings([value for _, value in events(out)])) + list(after.values())
    assert not [text for text in found if any(value in text for value in INVENTED)]
    assert not [text for text in found if re.search(r"(?:EMAIL_ADDRESS|PHONE_NUMBER|CREDIT_CARD)_[A-Z0-9]{4}", text)]
    assert reply.restored and any(HIDDEN[0] in text for text in found)
    assert reply.masked or name in {"chat_logprobs", "responses_incomplete"}


@pytest.mark.parametrize("name", NAMES)
def test_events_that_end_a_text_come_after_all_of_it(name: str, session: Session, view: ReplyView) -> None:
    out = events(run(opened(name, session, view), [recorded(name)]))
    wholes: dict[Any, str] = defaultdict(str)
    numbers = []
    for kind, value in out:
        if value == "[DONE]":
            continue
        if isinstance(value.get("sequence_number"), int):
            numbers.append(value["sequence_number"])
        if kind.endswith(".delta") and isinstance(value.get("delta"), str):
            wholes[kind.removesuffix(".delta"), value.get("output_index"), value.get("summary_index")] += value["delta"]
        if kind.endswith(".done") and kind.startswith("response."):
            root = kind.removesuffix(".done"), value.get("output_index"), value.get("summary_index")
            for key in ("text", "arguments", "input", "code", "refusal"):
                if key in value:
                    assert value[key] == wholes[root]
        for choice in value.get("choices", ()):
            if choice["finish_reason"]:
                wholes["finished", choice["index"]] = "yes"
            else:
                assert ("finished", choice["index"]) not in wholes
    assert numbers == list(range(len(numbers)))
    last = out[-1][1]
    assert last == "[DONE]" or last.get("stop_reason") or "result" in last or last["type"] in {
        "message_stop", "response.completed", "response.incomplete", "transcript.text.done",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_cut_of_the_bytes_gives_the_same_bytes(name: str, session: Session, view: ReplyView) -> None:
    raw = recorded(name)
    draw = random.Random(name)
    expected = run(opened(name, session, view), [raw])
    for place in draw.sample(range(len(raw)), 12):
        assert run(opened(name, session, view), [raw[:place], raw[place:]]) == expected
    for _ in range(4):
        places = sorted(draw.randrange(len(raw) + 1) for _ in range(draw.choice([2, 9, 200])))
        pieces = [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
        assert run(opened(name, session, view), pieces) == expected
    assert run(opened(name, session, view), [raw[i : i + 1] for i in range(len(raw))]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_two_part_split_gives_the_same_events(name: str) -> None:
    raw = recorded(name)
    whole = EventParser()
    expected = whole.feed(raw) + whole.close()
    for place in range(0, len(raw), 1 if len(raw) < 6000 else 7):
        parser = EventParser()
        assert parser.feed(raw[:place]) + parser.feed(raw[place:]) + parser.close() == expected


def recut(raw: bytes, draw: random.Random) -> bytes:
    """Return a stream of choices with its texts cut into other pieces."""
    out = b""
    for _, value in events(raw):
        choices = value["choices"] if isinstance(value, dict) else []
        text = choices[0]["delta"].get("content") if choices else None
        if not text:
            out += f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode()
        while text:
            size = draw.choice([1, 1, 2, 3, 9])
            choice = {**choices[0], "delta": {"content": text[:size]}}
            out += f"data: {json.dumps({**value, 'choices': [choice]})}\n\n".encode()
            text = text[size:]
    return out


@pytest.mark.parametrize("name", ["chat_prose", "chat_cjk", "chat_emoji_crlf", "chat_json_mode", "chat_two_choices"])
def test_any_cut_of_the_text_gives_the_same_text(name: str, session: Session, view: ReplyView) -> None:
    expected = joined(run(opened(name, session, view), [recorded(name)]))
    for seed in range(12):
        again = recut(recorded(name), random.Random(seed))
        assert joined(run(opened(name, session, view), [again])) == expected


@pytest.mark.parametrize("name", NAMES)
def test_an_upstream_cut_anywhere_never_looks_complete(name: str, session: Session, view: ReplyView) -> None:
    raw = recorded(name)
    whole = run(opened(name, session, view), [raw])
    for place in random.Random(name).sample(range(len(raw) - 3), 25):
        reply = opened(name, session, view)
        out = reply.feed(raw[:place])
        try:
            out += reply.close()
            if reply.ended:  # all of the last event but its empty line was there
                assert out + reply.tail == whole
                continue
            refusal = ProxyRefusal("guard.proxy.upstream_broke", 502, "the upstream's stream ended before its end")
        except ProxyRefusal as caught:
            refusal = caught
        assert not reply.tail
        last = events(out + reply.error(refusal, "req_1"))[-1][1]
        assert "error" in last or last["type"] == "error"
        assert "req_1" in json.dumps(last)
        assert whole.startswith(out)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_coded_streams(coding: str, session: Session, view: ReplyView) -> None:
    raw = recorded("chat_cjk")
    expected = run(opened("chat_cjk", session, view), [raw])
    if coding == "br":
        brotli = pytest.importorskip("brotli")
        coded = brotli.compress(raw)
    else:
        engine = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
        coded = engine.compress(raw[:900]) + engine.flush(zlib.Z_SYNC_FLUSH) + engine.compress(raw[900:])
        coded += engine.flush()
    headers = (*SSE, ("content-encoding", coding))
    for size in (1, 7, len(coded)):
        reply = opened("chat_cjk", session, view, headers)
        assert run(reply, [coded[i : i + size] for i in range(0, len(coded), size)]) == expected
        assert "content-encoding" not in dict(reply.headers)
    reply = opened("chat_cjk", session, view, headers)
    reply.feed(coded[: len(coded) // 2])
    with pytest.raises(ProxyRefusal):
        reply.close()
        raise ProxyRefusal("not ended", 502, "") if not reply.ended else AssertionError


def test_prose_is_not_held_back(session: Session, view: ReplyView) -> None:
    reply = opened("chat_prose", session, view)
    came = gone = 0
    for _, value in events(recorded("chat_prose")):
        if isinstance(value, dict) and value["choices"]:
            came += len(value["choices"][0]["delta"].get("content") or "")
            out = reply.feed(f"data: {json.dumps(value)}\n\n".encode())
            gone += sum(len(text) for text in joined(out).values())
            if came >= 12:
                break
    assert gone >= 6, (came, gone)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("chat_prose", b"data: {\n\n"),
        ("chat_prose", b"data: 7\n\n"),
        ("chat_prose", b'data: {"id":"x"}\n\n'),
        ("chat_prose", b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'),
        ("chat_prose", b'data: {"choices":[{"index":0,"delta":"bob@invented.org"}]}\n\n'),
        ("chat_prose", b"data: \xff\n\n"),
        ("responses_prose", b'data: {"type":"response.new","delta":["bob@invented.org"]}\n\n'),
        ("responses_prose", b'data: {"type":"response.new.delta","delta":["bob@invented.org"]}\n\n'),
        ("responses_prose", b'data: {"delta":"bob@invented.org"}\n\n'),
        ("messages_prose", b'data: {"type":"content_block_delta","index":0,"delta":"bob@invented.org"}\n\n'),
        ("messages_prose", b'data: {"type":"new_delta","delta":{"text":"bob@invented.org"}}\n\n'),
        ("mcp", b'data: {"text":"bob@invented.org"}\n\n'),
        ("chat_prose", b'data: {"a":1,"a":2,"choices":[]}\n\n'),
        ("chat_prose", b'data: {"choices":[],"x":NaN}\n\n'),
        ("chat_prose", b'data: {"choices":[],"x":' + b"[" * 9000 + b"]" * 9000 + b"}\n\n"),
        ("chat_prose", b"event: bob@invented.org\ndata: {}\n\n"),
    ],
)
def test_what_is_malformed_is_refused(name: str, bad: bytes, session: Session, view: ReplyView) -> None:
    reply = opened(name, session, view)
    with pytest.raises(ProxyRefusal) as caught:
        reply.feed(bad)
    assert "bob" not in str(caught.value) and caught.value.__cause__ is None


def test_unknown_events_are_cleaned_whole(session: Session, view: ReplyView) -> None:
    reply = opened("responses_prose", session, view)
    shown = session.hide(HIDDEN[0])
    out = reply.feed(f'data: {{"type":"response.new","deep":[{{"x":"{shown} bob@invented.org"}}]}}\n\n'.encode())
    assert events(out)[0][1]["deep"] == [{"x": "alice@example.com <EMAIL_ADDRESS>"}]
    out = reply.feed(f'data: {{"type":"response.fresh.delta","item_id":"i","delta":"hello {shown[:8]}"}}\n\n'.encode())
    out += reply.feed(f'data: {{"type":"response.fresh.delta","item_id":"i","delta":"{shown[8:]} x"}}\n\n'.encode())
    out += reply.feed(b'data: {"type":"response.fresh.done","item_id":"i"}\n\n')
    assert "".join(v.get("delta", "") for _, v in events(out)) == "hello alice@example.com x"


def test_an_error_of_the_upstream_ends_the_stream(session: Session, view: ReplyView) -> None:
    for name, event in (
        ("chat_prose", {"error": {"message": "no bob@invented.org", "type": "server_error", "code": None}}),
        ("responses_prose", {"type": "error", "message": "no bob@invented.org", "sequence_number": 4}),
        ("messages_prose", {"type": "error", "error": {"type": "overloaded_error", "message": "no bob@invented.org"}}),
    ):
        reply = opened(name, session, view)
        out = reply.feed(f"data: {json.dumps(event)}\n\n".encode())
        assert reply.ended and b"no <EMAIL_ADDRESS>" in out + reply.tail


def test_lines_of_json(session: Session, view: ReplyView) -> None:
    lines = b"".join(
        json.dumps(value).encode() + b"\n" for _, value in events(recorded("chat_cjk")) if value != "[DONE]"
    )
    whole = joined(run(opened("chat_cjk", session, view), [recorded("chat_cjk")]))
    headers = (("content-type", "application/x-ndjson"),)
    for size in (1, 50, len(lines)):
        reply = opened("chat_cjk", session, view, headers)
        out = run(reply, [lines[i : i + size] for i in range(0, len(lines), size)])
        assert joined(b"".join(b"data: " + line + b"\n\n" for line in out.splitlines())) == whole
    reply = opened("chat_cjk", session, view, headers)
    reply.feed(lines[:400])
    with pytest.raises(ProxyRefusal):
        reply.close()
    assert not reply.ended
    assert json.loads(reply.error(ProxyRefusal("guard.proxy.x", 502, "no"), "r"))["error"]["code"] == "guard.proxy.x"
