"""Attacks on the exchange: values in odd places, bodies that cost more than they weigh, streams without an end."""

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from trustplane.guard.proxy.events import AnswerEnd, Hold, ReplyData, ReplyHead
from trustplane.guard.proxy.faces.middleware import GuardMiddleware
from trustplane.guard.proxy.gate import Caller, Gate
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire import deltas, sse
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy

from .exchanges import CHAT, JSON, Run, make_gate
from .servers import ListLog

MAIL, CARD = "alice.canary@example.com", "4111111111111111"
BOUNDARY = "----WebKitFormBoundaryabcdefghij012345"
FORM = (("content-type", f"multipart/form-data; boundary={BOUNDARY}"),)
EVENTS = (("content-type", "text/event-stream"),)


@pytest.fixture(scope="module")
def gate(guard: TextGuard) -> Gate:
    return make_gate(guard)


def form(head: str, data: bytes, name: str = "file") -> bytes:
    first = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{head}\r\n\r\n'
    return first.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(gate: Gate, head: str, data: bytes, name: str = "file") -> Run:
    run = Run(gate)
    run.ask(form(head, data, name), "/v1/files", headers=FORM)
    run.check()
    return run


def chunk(index: int = 0, **delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": index, "delta": delta}]}).encode() + b"\n\n"


def streaming(gate: Gate) -> Run:
    run = Run(gate)
    run.ask({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
    run.feed(ReplyHead(200, EVENTS))
    return run


# ── forms ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_text_in_utf16_without_a_mark_is_refused(gate: Gate, coding: str) -> None:
    run = upload(gate, '; filename="a.txt"\r\nContent-Type: text/plain', MAIL.encode(coding))
    assert run.sent is None and (run.status, run.rule) == (415, "guard.proxy.file")


@pytest.mark.parametrize("charset", ["utf-16", "utf-7", "iso-2022-jp", "hz-gb-2312", "latin-1"])
def test_a_part_in_a_charset_that_the_guard_does_not_read_is_refused(gate: Gate, charset: str) -> None:
    run = upload(gate, f'; filename="a.txt"\r\nContent-Type: text/plain; charset={charset}', b"alice+AEA-example.com")
    assert run.sent is None and run.rule == "guard.proxy.multipart"


@pytest.mark.parametrize("charset", ["", "; charset=utf-8", "; charset=UTF-8", '; charset="us-ascii"'])
def test_a_part_in_utf8_passes(gate: Gate, charset: str) -> None:
    run = upload(gate, f'; filename="a.txt"\r\nContent-Type: text/plain{charset}', b"nothing of anyone")
    assert run.sent is not None


@pytest.mark.parametrize("name", ["alice@company.md", "alice@firma.rs", "alice%40firma.py", "alice\uff20firma.zip"])
def test_an_address_that_ends_like_a_file_is_hidden(gate: Gate, name: str) -> None:
    run = upload(gate, f'; filename="{name}"', b"nothing of anyone")
    assert run.sent is not None and name.encode() not in run.sent.body and b"EMAIL_ADDRESS" in run.sent.body


@pytest.mark.parametrize("name", [f"{CARD}.pdf", f"{MAIL}.jsonl", f"{MAIL}.md", "alice@firma.rs"])
def test_a_hidden_file_name_keeps_its_end(gate: Gate, name: str) -> None:
    run = upload(gate, f'; filename="{name}"', b"nothing of anyone")
    end = name[name.rindex(".") :]
    assert run.sent is not None and name.removesuffix(end).encode() not in run.sent.body
    assert f']{end}"'.encode() in run.sent.body


@pytest.mark.parametrize(
    ("head", "name"),
    [(f'; filename="a"\r\nContent-Type: text/{CARD}', "file"), ("", f"x{CARD}"), ("", "x138.0013.8000")],
)
def test_a_number_as_type_or_name_of_a_part_is_refused(gate: Gate, head: str, name: str) -> None:
    run = upload(gate, head, b"nothing of anyone", name)
    assert run.sent is None and run.rule == "guard.proxy.multipart"


# ── reviews ─────────────────────────────────────────────────────────────────────────────────────────────


REVIEWING = Policy.parse('[defaults]\nout = "pseudonymise"\n[rules.EMAIL_ADDRESS]\nout = "review"')


def commitment(guard: TextGuard, caller: Caller = Caller(), *more: tuple[str, str]) -> str:  # noqa: B008
    run = Run(make_gate(guard, REVIEWING), caller)
    run.ask({"model": "m", "messages": [{"role": "user", "content": MAIL}]}, headers=(*JSON, *more))
    return next(out.commitment for out in run.outs if isinstance(out, Hold))


def test_what_a_person_approved_goes_nowhere_else(guard: TextGuard) -> None:
    first = commitment(guard)
    assert commitment(guard) == first and commitment(guard, Caller(), ("x-unread", "1")) == first
    others = {
        commitment(guard, Caller(), ("x-trustplane-upstream", "cheap")),
        commitment(guard, Caller(tenant="other")),
        commitment(guard, Caller(session="other")),
        commitment(guard, Caller(purpose="other")),
    }
    assert len(others) == 4 and first not in others


# ── paths of the middleware ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    ["/chat", "/chat%0A", "/chat/", "/v1/chat/completions%0A", "/v1/chat/completions"]
    + [f"/v1/threads/{name}/messages" for name in ("x", "%C3%A9", "a..b", "x%7Cy", "%0A", "x%5Cy", "%2541", "x" * 3000)]
    + [f"/openai/deployments/{name}/chat/completions" for name in ("d", "a:b", "%C3%A9", "a..b", "x" * 3000)],
)
def test_no_spelling_of_a_path_gets_past_the_middleware(guarded: Guarded, path: str) -> None:
    bodies: list[bytes] = []

    async def endpoint(request: Request) -> JSONResponse:
        bodies.append(await request.body())
        return JSONResponse({"fine": True})

    shapes = ("/chat", "/v1/chat/completions", "/v1/threads/{a}/messages", "/openai/deployments/{a}/chat/completions")
    app = Starlette(routes=[Route(shape, endpoint, methods=["POST"]) for shape in shapes])
    app.add_middleware(
        GuardMiddleware, guarded=guarded, open_request=ListLog(), paths={"/chat": "openai.chat.completions"}
    )
    with TestClient(app) as client:
        client.post(path, json={"messages": [{"role": "user", "content": MAIL}]}, follow_redirects=False)
    assert all(MAIL.encode() not in body for body in bodies)
    if path in {"/chat", "/v1/threads/x/messages"}:
        assert len(bodies) == 1


# ── store ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
@pytest.mark.parametrize("store", ["true", "1", {}, [True]])
def test_a_store_that_some_upstreams_read_as_true_is_refused(gate: Gate, path: str, store: Any) -> None:
    run = Run(gate)
    run.ask({"model": "m", "input": "hi", "store": store}, path)
    assert run.sent is None and (run.status, run.rule) == (400, "guard.proxy.shape")


def test_store_of_the_callers_own_is_a_text(gate: Gate) -> None:
    run = Run(gate)
    sent = run.ask({"model": "m", "input": "hi", "metadata": {"store": "true"}}, "/v1/embeddings")
    assert sent is not None and b'"store": "true"' in sent.body


def test_store_is_turned_off_in_every_line(gate: Gate) -> None:
    run = upload(gate, '; filename="a.jsonl"', b'{"body":{"store":true}}\n' * 10_000)  # quadratic once: a minute
    assert run.sent is not None and run.sent.body.count(b'"store":false') == 10_000


# ── streams ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [CARD, "response.13912345678", "138-001-38000"])
def test_an_event_named_by_a_number_is_refused(name: str) -> None:
    with pytest.raises(ProxyRefusal):
        sse.EventParser().feed(f"event: {name}\ndata: 1\n\n".encode())


@pytest.mark.parametrize("name", ["response.output_text.delta", "thread.run.step.v2.delta", "notifications/message"])
def test_an_event_with_a_name_of_the_api_passes(name: str) -> None:
    assert sse.EventParser().feed(f"event: {name}\ndata: 1\n\n".encode())[0].name == name


@pytest.mark.parametrize("line", [b":\n", b"id\n", b"data:\n", b"x\n"])
def test_an_event_of_endless_empty_lines_is_refused(line: bytes) -> None:
    parser = sse.EventParser()
    with pytest.raises(ProxyRefusal):
        for _ in range(100):
            parser.feed(line * 10_000)


def test_a_stream_of_endless_choices_is_ended(gate: Gate) -> None:
    run = streaming(gate)
    for start in range(0, deltas.MAX_TEXTS + 64, 64):
        run.feed(ReplyData(b"".join(chunk(index, content="x") for index in range(start, start + 64))))
    assert run.exchange.over and run.rule == "guard.proxy.stream_shape"
    run.check()


def test_a_stream_without_an_end_is_ended(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas, "MAX_KEPT", 100_000)
    run = streaming(gate)
    for _ in range(2000):
        run.feed(ReplyData(chunk(content="and so on ")))
        if run.exchange.over:
            break
    assert run.rule == "guard.proxy.reply_size" and isinstance(run.outs[-1], AnswerEnd)
    assert b'"code": "guard.proxy.reply_size"' in run.answer and b"[DONE]" not in run.answer
    run.check()
