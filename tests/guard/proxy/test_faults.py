"""Faults on every side: guards, upstreams and clients that break. Nothing raw goes out, the next request is served."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from presidio_analyzer import EntityRecognizer, RecognizerResult

from trustplane.guard.proxy.events import (
    AnswerData,
    AnswerEnd,
    AnswerHead,
    Body,
    Decide,
    Failed,
    Head,
    ReplyData,
    ReplyEnd,
    ReplyHead,
    Send,
)  # fmt: skip
from trustplane.guard.proxy.exchange import Exchange
from trustplane.guard.proxy.gate import Caller, Gate
from trustplane.guard.proxy.gate import Upstream as Api
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.standin import reply_of, streams
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy
from trustplane.settings import ProxySettings

from .faulty import Fault, faulty
from .fronts import KEY, Kind
from .lines import ASK, FACES, GOOD, INVENTED, MAIL, SSE, Line, answer_of, attempt, dumped, line, refused
from .servers import ListLog

# ── guards ──────────────────────────────────────────────────────────────────────────────────────────────


class Own(EntityRecognizer):  # type: ignore[misc]
    """A recogniser of the user's that breaks in a given way."""

    def __init__(self, give: Callable[[str], Any]) -> None:
        self.give = give
        super().__init__(["OWN"], name="own")

    def load(self) -> None: ...

    def analyze(self, text: str, entities: Any, nlp_artifacts: Any = None) -> Any:
        return self.give(text)


def boom(text: str) -> Any:
    raise ValueError(text)


def hang(_text: str) -> Any:
    time.sleep(4)


BROKEN_RECOGNISERS = {
    "raises": boom,
    "hangs": hang,
    "exits": lambda text: (_ for _ in ()).throw(SystemExit(text)),
    "span past the end": lambda text: [RecognizerResult("OWN", 0, len(text) + 9, 0.9)],
    "span before the start": lambda text: [RecognizerResult("OWN", -9, 4, 0.9)],
    "NaN score": lambda text: [RecognizerResult("OWN", 0, 4, float("nan"))],
    "score of 7": lambda text: [RecognizerResult("OWN", 0, 4, 7.0)],
    "not a list": lambda text: text,
    "None in it": lambda text: [None],
}


@pytest.mark.parametrize("kind", FACES)
@pytest.mark.parametrize("how", BROKEN_RECOGNISERS)
def test_a_recogniser_that_breaks(kind: Kind, how: str) -> None:
    guard = TextGuard(recognizers=[Own(BROKEN_RECOGNISERS[how])], finders=(), recognizer_seconds=1)
    broken = Guarded(Policy.preset("proxy"), guard)
    with line(kind, broken, GOOD, guard_seconds=10) as one:
        reply = one.post()
        refused(reply)
        assert one.sent() == 0 and one.log.last["decision"] == "blocked"
        one.clean(reply)


class Crashing(Guarded):
    """A guard that crashes or hangs as a whole, with content in its error, until it is told not to."""

    how = ""

    def decide_many(self, texts: Any, **more: Any) -> Any:
        if self.how == "hangs":
            time.sleep(2.5)
        if self.how:
            raise RuntimeError(" ".join(texts))
        return super().decide_many(texts, **more)

    decide_joined = decide_many


@pytest.mark.parametrize("kind", FACES)
@pytest.mark.parametrize(("how", "rule"), [("raises", "guard_failed"), ("hangs", "guard_time")])
def test_a_guard_that_breaks(kind: Kind, how: str, rule: str, guarded: Guarded) -> None:
    broken = Crashing(guarded.policy, guarded.guard)
    with line(kind, broken, GOOD, guard_seconds=1) as one:
        broken.how = how
        reply = one.post()
        assert refused(reply) == f"guard.proxy.{rule}" and one.sent() == 0
        one.clean(reply)
        broken.how = ""
        one.serves_the_next()


JUDGES = {
    "raises": boom,
    "hangs": hang,
    "outcome of its own": lambda text: SimpleNamespace(outcome=text, rules=(), score=0.0),
    "NaN score": lambda text: SimpleNamespace(outcome="clean", rules=(), score=float("nan")),
    "content for a rule": lambda text: SimpleNamespace(outcome="hit", rules=(text,), score=0.5),
}


@pytest.mark.parametrize("how", JUDGES)
def test_a_judge_that_breaks(how: str, guarded: Guarded) -> None:
    text = (
        'name = "p"\nversion = "1"\n[defaults]\nout = "pseudonymise"\nin = "mask"\n[judges.injection]\nhit = "block"\n'
    )
    judge = SimpleNamespace(judge=lambda text, source="": JUDGES[how](text))
    broken = Guarded(Policy.parse(text), guarded.guard, judges={"injection": judge}, limit_seconds=0.5)
    with line("transport", broken, GOOD) as one:
        refused(one.post())
        assert one.sent() == 0
        one.clean()


# ── upstreams ───────────────────────────────────────────────────────────────────────────────────────────


def masked_text(guarded: Guarded, text: str) -> str:
    """Return what the upstream would be sent in place of ``text``."""
    found = opened(guarded, "chat.completions", text)[1]
    return str(json.loads(found.body)["messages"][0]["content"])


REQUESTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "chat.completions": (
        "/v1/chat/completions",
        lambda text: {"model": "m", "stream": True, "messages": [{"role": "user", "content": text}]},
    ),
    "responses": ("/v1/responses", lambda text: {"model": "m", "stream": True, "input": text}),
    "messages": (
        "/v1/messages",
        lambda text: {"model": "m", "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": text}]},
    ),
}


def opened(guarded: Guarded, name: str, text: str) -> tuple[Exchange, Send]:
    """Return an exchange of endpoint ``name`` whose request is sent, and what was sent."""
    path, made = REQUESTS[name]
    upstreams = {api: Api(api, api, f"http://{api}") for api in ("openai", "anthropic")}
    gate = Gate(guarded, upstreams, ProxySettings(), KEY)  # type: ignore[arg-type]
    exchange = Exchange(gate, Caller(), "req-1")
    assert exchange.feed(Head("POST", path, "", (("content-type", "application/json"),))) == []
    found = exchange.feed(Body(dumped(made(text))))
    return exchange, next(out for out in found if isinstance(out, Send))


def stream_of(guarded: Guarded, name: str) -> bytes:
    """Return the bytes of a streamed reply that quotes the request and adds a value of its own."""
    text = f"{MAIL} 欧阳修远"
    sent = opened(guarded, name, text)[1]
    asked = json.loads(sent.body)
    quoted = asked["input"] if name == "responses" else asked["messages"][0]["content"]
    value = reply_of(name, asked, f"{quoted} {INVENTED}", 5)
    return b"".join(streams.events(name, value, 5))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_stream_that_is_cut_at_every_byte(name: str, guarded: Guarded) -> None:
    data = stream_of(guarded, name)
    ends = [data.index(b"[DONE]")] if b"[DONE]" in data else [len(data) - 40]
    broke = ProxyRefusal("guard.proxy.upstream_broke", 502, "the upstream broke off in its reply")
    for cut in range(0, len(data), 1 if len(data) < 4096 else 5):
        exchange, _ = opened(guarded, name, f"{MAIL} 欧阳修远")
        found = exchange.feed(ReplyHead(200, SSE))
        found += exchange.feed(ReplyData(data[:cut])) if cut else []
        found += exchange.feed(ReplyEnd() if cut % 2 else Failed(broke))
        assert isinstance(found[-1], AnswerEnd) and sum(isinstance(out, Decide) for out in found) == 1
        assert sum(isinstance(out, AnswerHead) for out in found) == 1
        out = b"".join(o.data for o in found if isinstance(o, AnswerData)).decode()
        assert "invented" not in out
        if cut < ends[0]:
            assert "[DONE]" not in out and "message_stop" not in out and "response.completed" not in out
            last = out.rstrip("\n").rpartition("\n\n")[2]
            error = json.loads(last.partition("data: ")[2].splitlines()[0])
            assert "guard.proxy." in last and "req-1" in last, last
            assert error.get("type") == "error" if name != "chat.completions" else "error" in error
            assert next(o.outcome for o in found if isinstance(o, Decide)) == "failed"


@pytest.mark.parametrize("kind", FACES)
def test_a_stream_that_is_cut_on_the_wire(kind: Kind, guarded: Guarded) -> None:
    data = stream_of(guarded, "chat.completions")
    end = data.index(b"data: [DONE]")
    with line(kind, guarded, GOOD) as one:
        for cut in range(1, end, end // 25):
            one.upstream.fault = Fault([data[:cut]], headers=SSE, cut=True)
            reply = attempt(one, body={**ASK, "stream": True})
            assert reply is not None  # the head was there: what follows is an event, with every face
            assert "[DONE]" not in reply.text and "guard.proxy.upstream" in reply.text and INVENTED not in reply.text
            assert one.log.last["decision"] == "failed"
            one.clean(reply)
        one.serves_the_next()


EVENT = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a %s"}}]}\n\n'
BROKEN_STREAMS = {
    "no JSON": [EVENT % b"x", b"data: {\n\n"],
    "no object": [EVENT % b"x", b"data: [1]\n\n"],
    "not UTF-8": [EVENT % b"x", b'data: {"x":"\xff\xfe"}\n\n'],
    "an event of 100 MB": [EVENT % b"x", *([b"data: " + b"x" * (1 << 20)] * 100)],
    "duplicate keys": [b'data: {"choices":[],"choices":[]}\n\n'],
    "deep JSON": [b"data: " + b"[" * 100_000 + b"\n\n"],
    "no end": [EVENT % b"x"],
    "nothing": [],
    "only comments": [b": hello\n\n" * 5],
    "HTML": [b"<html><body>busy, write to bob.invented@example.org</body></html>"],
    "a huge number": [b'data: {"choices":[{"index":1e999,"delta":{"content":"x"}}]}\n\n'],
}


@pytest.mark.parametrize("kind", FACES)
def test_streams_that_are_malformed(kind: Kind, guarded: Guarded) -> None:
    with line(kind, guarded, GOOD) as one:
        for how, pieces in BROKEN_STREAMS.items():
            one.upstream.fault = Fault(pieces, headers=SSE)
            reply = one.post({**ASK, "stream": True})
            assert "[DONE]" not in reply.text and '"code": "guard.proxy.' in reply.text, (how, reply.text[-300:])
            assert one.log.last["decision"] in {"failed", "blocked"}, how
            one.clean(reply)
        one.serves_the_next()


def gzip_bomb() -> bytes:
    """Return 256 MB of blanks in 256 KB."""
    coder = zlib.compressobj(9, zlib.DEFLATED, 31)
    return coder.compress(b'{"x": "') + b"".join(coder.compress(b" " * (1 << 20)) for _ in range(256)) + coder.flush()


def broken_replies() -> dict[str, Fault]:
    plain = GOOD.headers
    coded = (*plain, ("content-encoding", "gzip"))
    utf16 = (("content-type", "application/json; charset=utf-16"),)
    whole = gzip.compress(b"bob.invented@example.org" * 99)
    return {
        "no JSON": Fault([b"not json bob.invented@example.org"]),
        "cut JSON": Fault([dumped(answer_of("x" * 100))[:50]]),
        "HTML": Fault([b"<html>bob.invented@example.org</html>"], headers=(("content-type", "text/html"),)),
        "no type": Fault([b"bob.invented@example.org"], headers=()),
        "not UTF-8": Fault([b'{"choices": "\xff\xfe"}']),
        "UTF-16": Fault([json.dumps(answer_of(INVENTED)).encode("utf-16")], headers=utf16),
        "deep JSON": Fault([b"[" * 100_000 + b"]" * 100_000]),
        "duplicate keys": Fault([b'{"choices": [], "choices": []}']),
        "NaN": Fault([b'{"choices": [NaN]}']),
        "gzip bomb": Fault([gzip_bomb()], headers=coded),
        "gzip that is none": Fault([b"bob.invented@example.org"], headers=coded),
        "gzip that is cut": Fault([whole[:-20]], headers=coded),
        "unknown coding": Fault([b"bob.invented@example.org"], headers=(*plain, ("content-encoding", "zstd, x"))),
        "redirect": Fault([], 307, (("location", "http://127.0.0.1:1/bob.invented@example.org"),), 0),
        "status 299": Fault([b'{"x": "bob.invented@example.org"}'], 299),
    }  # fmt: skip


@pytest.mark.parametrize("kind", FACES)
def test_replies_that_are_malformed(kind: Kind, guarded: Guarded) -> None:
    with line(kind, guarded, GOOD) as one:
        for how, fault in broken_replies().items():
            one.upstream.fault = fault
            reply = one.post(follow_redirects=False)
            if reply.status_code != 299:
                assert reply.status_code == 502 and refused(reply).startswith("guard.proxy."), (how, reply.text[:200])
            one.clean(reply)
        one.serves_the_next()


@pytest.mark.parametrize("kind", ["proxy", "transport"])
def test_replies_that_are_broken_as_http(kind: Kind, guarded: Guarded) -> None:
    body = dumped(answer_of(INVENTED))
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    faults = {
        "longer than declared": Fault([body], length=len(body) + 50, cut=True),
        "shorter than declared": Fault(raw=head + b"content-length: 20\r\n\r\n" + body),
        "no HTTP": Fault(raw=b"bob.invented@example.org\r\n\r\n"),
        "nothing": Fault(raw=b""),
        "half a head": Fault(raw=head),
        "bad chunk": Fault(raw=head + b"transfer-encoding: chunked\r\n\r\nzz\r\nbob.invented@example.org\r\n"),
        "two lengths": Fault(raw=head + b"content-length: 5\r\ncontent-length: 9\r\n\r\nbob.invented@example.org"),
        "length and chunked": Fault(
            raw=head
            + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n18\r\nbob.invented@example.org\r\n0\r\n\r\n"
        ),
        "a header of 1 MB": Fault(raw=head + b"x-y: " + b"x" * (1 << 20) + b"\r\n\r\n" + body),
        "204": Fault(raw=b"HTTP/1.1 204 No Content\r\n\r\n"),
        "304": Fault(raw=b"HTTP/1.1 304 Not Modified\r\netag: bob.invented@example.org\r\n\r\n"),
        "101": Fault(raw=b"HTTP/1.1 101 Switching Protocols\r\nupgrade: bob.invented@example.org\r\n\r\n"),
    }
    with line(kind, guarded, GOOD) as one:
        for how, fault in faults.items():
            one.upstream.fault = fault
            reply = attempt(one)
            if reply is not None and reply.status_code >= 400:
                assert reply.status_code == 502 and refused(reply).startswith("guard.proxy."), (how, reply.text[:200])
            one.clean(reply)
        one.serves_the_next()
        one.upstream.fault = Fault(raw=b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + head + b"\r\n" + GOOD.pieces[0])
        assert one.post().json()["choices"][0]["message"]["content"] == "fine"


@pytest.mark.parametrize("kind", FACES)
def test_an_upstream_that_answers_before_it_has_the_request(kind: Kind, guarded: Guarded) -> None:
    with line(kind, guarded, Fault([dumped({"error": {"message": f"no, {INVENTED}"}})], 401, early=True)) as one:
        reply = attempt(one)
        assert reply is None or reply.status_code in {401, 502}
        one.clean(reply)
        one.serves_the_next()


@pytest.mark.parametrize("kind", ["proxy", "transport"])
def test_an_upstream_that_never_answers(kind: Kind, guarded: Guarded) -> None:
    with line(kind, guarded, Fault([b"x"], pause=30, length=1), upstream_seconds=1, idle_seconds=1) as one:
        reply = attempt(one, timeout=2 if kind == "transport" else 30)
        if kind == "proxy":
            assert reply is not None and reply.status_code == 504 and refused(reply) == "guard.proxy.upstream_time"
        else:
            assert reply is None and one.log.last["decision"] == "failed"
        one.clean(reply)
        one.serves_the_next()


# ── clients ─────────────────────────────────────────────────────────────────────────────────────────────

DEEP = b'{"model": "m", "messages": [{"role": "user", "content": "alice.canary@example.com"}], "x": %s}'
BROKEN_BODIES: dict[str, tuple[bytes, dict[str, str], set[int]]] = {
    "deep JSON": (DEEP % (b"[" * 100_000 + b"]" * 100_000), {}, {400, 413}),
    "deep and open": (DEEP % (b'{"a":' * 100_000), {}, {400, 413}),
    "deep in a string": (DEEP % json.dumps("[" * 100_000 + "]" * 100_000).encode(), {}, {200, 400, 413}),
    "not UTF-8": (DEEP % b'"\xff alice.canary@example.com"', {}, {400}),
    "UTF-16": (json.dumps(ASK).encode("utf-16"), {}, {400}),
    "UTF-16 by name": (json.dumps(ASK).encode("utf-16"), {"content-type": "application/json; charset=utf-16"}, {415}),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + dumped(ASK), {}, {200, 400}),
    "duplicate keys": (DEEP % b'1, "x": 2', {}, {400}),
    "NaN": (DEEP % b"NaN", {}, {400}),
    "1e999": (DEEP % b"1e999", {}, {200, 400}),
    "a number of 10^5 digits": (DEEP % (b"1" * 100_000), {}, {200, 400, 413}),
    "lone surrogates": (DEEP % b'"\\ud800 alice.canary@example.com"', {}, {200, 400}),
    "no JSON": (b"alice.canary@example.com", {}, {400}),
    "nothing": (b"", {}, {200, 400}),
    "a list": (b'["alice.canary@example.com"]', {}, {400}),
    "gzip": (gzip.compress(dumped(ASK)), {"content-encoding": "gzip"}, {200, 400, 415}),
    "text": (dumped(ASK), {"content-type": "text/plain"}, {415}),
    "a form": (b"messages=alice.canary@example.com", {"content-type": "application/x-www-form-urlencoded"}, {415}),
    "two types": (dumped(ASK), {"content-type": "application/json, text/plain"}, {415}),
}  # fmt: skip


@pytest.mark.parametrize("kind", FACES)
def test_bodies_that_are_broken(kind: Kind, guarded: Guarded) -> None:
    with line(kind, guarded, GOOD) as one:
        for how, (body, headers, statuses) in BROKEN_BODIES.items():
            before = one.sent()
            reply = one.post(body, headers=headers)
            assert reply.status_code in statuses, (how, reply.status_code, reply.text[:200])
            if reply.status_code >= 400:
                refused(reply)
                assert one.sent() == before, how
            one.clean(reply)
        one.serves_the_next()


@pytest.mark.parametrize("kind", FACES)
def test_a_body_of_100_MB(kind: Kind, guarded: Guarded) -> None:
    piece = (MAIL * 4000).encode()

    def pieces() -> Iterator[bytes]:
        for _ in range(100 * (1 << 20) // len(piece)):
            yield piece

    with line(kind, guarded, GOOD) as one:
        for headers in ({}, {"content-length": str(100 * (1 << 20) // len(piece) * len(piece))}):
            with httpx.Client(transport=one.transport, timeout=60) as client:
                try:
                    reply = client.post(
                        one.url + "/v1/chat/completions",
                        content=pieces(),
                        headers={"content-type": "application/json", **headers},
                    )
                except httpx.WriteError:  # the server answered and hung up before it was all written
                    assert kind != "transport"
                else:
                    assert reply.status_code == 413 and refused(reply) == "guard.proxy.size"
        assert one.sent() == 0
        one.clean()
        one.serves_the_next()


def talk(url: str, data: bytes, *, slow: float = 0.0, seconds: float = 10) -> bytes:
    """Send bytes as they are, ``slow`` seconds a byte, and return what comes back."""
    host, port = url.removeprefix("http://").split(":")
    got = b""
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        with contextlib.suppress(OSError):
            for start in range(0, len(data), 1 if slow else 65536):
                connection.sendall(data[start : start + (1 if slow else 65536)])
                if slow:
                    time.sleep(slow)
            if not slow:
                connection.settimeout(2)
        with contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                got += piece
    return got


def request(headers: bytes, body: bytes | None = None) -> bytes:
    body = dumped(ASK) if body is None else body
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return head + headers + b"\r\n" + body


@pytest.mark.parametrize("kind", ["proxy", "middleware"])
def test_requests_that_are_broken_as_http(kind: Kind, guarded: Guarded) -> None:
    body = dumped(ASK)
    length = b"content-length: %d\r\n" % len(body)
    smuggled = b"0\r\n\r\nPOST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    tricks = {
        "two lengths": request(length + b"content-length: 3\r\n"),
        "length and chunked": request(b"content-length: 3\r\ntransfer-encoding: chunked\r\n", smuggled),
        "chunked twice": request(b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n"),
        "chunked in disguise": request(length + b"transfer-encoding: xchunked\r\n"),
        "a bad length": request(b"content-length: +%d\r\n" % len(body)),
        "bad chunks": request(b"transfer-encoding: chunked\r\n", b"zz\r\n" + body),
        "10^4 headers": request(length + b"".join(b"x-%d: alice.canary@example.com\r\n" % n for n in range(10_000))),
        "a header of 1 MB": request(length + b"x-y: " + b"a" * (1 << 20) + b"\r\n"),
        "a header that is folded": request(length + b"x-y: a\r\n alice.canary@example.com\r\n"),
        "NUL in a header": request(length + b"x-y: a\x00b\r\n"),
        "no host, HTTP/0.9": b"GET /v1/models\r\n\r\n",
        "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 9 + b"\r\n\r\n",
        "a path in full": b"POST http://other/v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + length + b"\r\n" + body,
        "only half": request(b"content-length: 900000\r\n"),
    }
    with line(kind, guarded, GOOD, body_seconds=1) as one:
        for how, data in tricks.items():
            got = talk(one.url, data)
            assert b"canary" not in got, how
            if kind == "middleware":  # headers of the inner app are the app's own
                one.upstream.received = [seen for seen in one.upstream.received if b"x-" not in seen]
            one.clean()
        one.serves_the_next()


@pytest.mark.parametrize("kind", ["proxy", "middleware"])
def test_a_client_that_is_slow(kind: Kind, guarded: Guarded) -> None:
    body = dumped(ASK)
    with line(kind, guarded, GOOD, body_seconds=1) as one:
        data = request(b"content-length: %d\r\nconnection: close\r\n" % len(body), b"")
        host, port = one.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(data)
            connection.sendall(body[:20])
            one.serves_the_next()  # nobody waits for the slow one
            got = b""
            with contextlib.suppress(OSError):
                while piece := connection.recv(65536):
                    got += piece
        assert b" 408 " in got and b"guard.proxy.body_time" in got and b"canary" not in got
        one.clean()


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


@pytest.mark.slow
def test_a_worker_that_is_killed(tmp_path: Path) -> None:
    slow = Fault([EVENT % b"x"] * 500, headers=SSE, pause=0.02)
    with faulty(slow) as upstream, contextlib.ExitStack() as stack:
        command = [
            sys.executable, "-m", "trustplane", "proxy", "--listen", "127.0.0.1:0", "--workers", "2",
            "--upstream", f"openai={upstream.url}", "--plane", str(tmp_path / "plane"),
        ]  # fmt: skip
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        assert process.stderr is not None
        told = ""
        while not told.startswith("listening"):
            told = process.stderr.readline()
            assert told or process.poll() is None
        one = Line("proxy", told.split()[1], upstream, ListLog(), None)
        with httpx.stream("POST", f"{one.url}/v1/chat/completions", json={**ASK, "stream": True}, timeout=30) as reply:
            pieces = reply.iter_text()
            text = next(pieces)
            before = workers_of(process)
            for worker in before:
                os.kill(worker, signal.SIGKILL)
            with pytest.raises(httpx.TransportError):  # broken off, so that it cannot look complete
                for piece in pieces:
                    text += piece
        assert "[DONE]" not in text and "canary" not in text
        upstream.fault = GOOD
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = one.post()
                break
            assert time.monotonic() < end, "no worker came back"
            time.sleep(0.1)
        assert answer.json()["choices"][0]["message"]["content"] == "fine"
        assert set(workers_of(process)).isdisjoint(before)
        for got in upstream.received:
            assert b"canary" not in got
    verify = [sys.executable, "-m", "trustplane", "log", "verify", "--plane", str(tmp_path / "plane")]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    for path in (tmp_path / "plane").rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes(), path
