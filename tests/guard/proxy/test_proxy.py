"""The proxy between real servers: round trips, refusals, evidence, isolation, hang-ups."""

import asyncio
import base64
import json
import time
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from trustplane.errors import InputError
from trustplane.guard.proxy.faces.upstream import check_origin, open_upstreams
from trustplane.guard.text.guarded import Guarded

from .servers import House, Start

CANARIES = [
    "alice.canary@example.com", "13800138000", "4111 1111 1111 1111", "11010519491231002X", "Alice Johnson",
    "欧阳修远", "sk-canarycanarycanary42",
]  # fmt: skip
PROMPT = (
    "My name is Alice Johnson (alice.canary@example.com), card 4111 1111 1111 1111. "
    "我叫欧阳修远，手机13800138000，身份证11010519491231002X。 Key: sk-canarycanarycanary42"
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SECRET = "Bearer sk-authorizationcanary12345"


def ask(content: Any = PROMPT, **more: Any) -> dict[str, Any]:
    return {"model": "stand-in", "messages": [{"role": "user", "content": content}], **more}


def post(house: House, body: Any, **more: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", "authorization": SECRET, **more.pop("headers", {})}
    return httpx.post(f"{house.url}/v1/chat/completions", content=content, headers=headers, timeout=30, **more)


def joined(text: str, field: str = "content") -> str:
    """Join what a client joins of an event stream."""
    out = ""
    for line in text.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                delta = choice["delta"]
                if field == "content":
                    out += delta.get("content") or ""
                for call in delta.get("tool_calls") or ():
                    if field == "arguments":
                        out += call["function"].get("arguments") or ""
    return out


def nothing_leaked(house: House) -> None:
    for received in house.received:
        for canary in CANARIES:
            assert canary not in received["raw"].decode()
            assert canary not in json.dumps(received["body"], ensure_ascii=False)
    evidence = repr(house.log.steps)
    for canary in [*CANARIES, SECRET, "Bearer", "canary"]:
        assert canary not in evidence


def test_plain_round_trip(house: House) -> None:
    reply = post(house, ask())
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"] == f'You wrote: "{PROMPT}"'
    nothing_leaked(house)
    assert house.received[0]["headers"]["authorization"] == SECRET
    request = house.log.last
    assert [s.action for s in request["steps"]] == [
        "guard.proxy.received", "guard.text.detect", "guard.text.hide", "guard.proxy.sent", "guard.proxy.replied",
    ]  # fmt: skip
    assert request["decision"] == "answered" and request["input"] == PROMPT and PROMPT in request["output"]
    assert request["steps"][1].facts["n_email_address"] == 1 and request["steps"][1].facts["n_person"] == 2
    assert request["steps"][4].facts["restored"] == 7
    assert {ref.kind for ref in request["steps"][3].agents} == {"policy", "detector"}
    receipt = reply.headers["x-trustplane-receipt"]
    decoded = base64.urlsafe_b64decode(receipt + "=" * (-len(receipt) % 4)).decode()
    assert decoded == f"receipt of {reply.headers['x-trustplane-request-id']}\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_streamed_round_trip(start: Start, size: int) -> None:
    from trustplane.guard.proxy.standin import build_standin

    house = start(build_standin(chunk=size))
    tools = [{"type": "function", "function": {"name": "save", "parameters": {"type": "object"}}}]
    reply = post(house, ask(stream=True, tools=tools))
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert joined(reply.text) == f'You wrote: "{PROMPT}"'
    assert json.loads(joined(reply.text, "arguments")) == {"text": PROMPT}
    plain = post(house, ask(tools=tools)).json()["choices"][0]["message"]
    assert plain["tool_calls"][0]["function"]["arguments"] == joined(reply.text, "arguments")
    assert reply.text.endswith("\n\ndata: [DONE]\n\n") and ": x-trustplane-receipt " in reply.text
    lines = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    assert [line for line in lines if line["choices"]][-1]["choices"][0]["finish_reason"] == "stop"
    nothing_leaked(house)


def test_every_place_of_a_body(house: House) -> None:
    mail = "alice.canary@example.com"
    body = {
        "model": "stand-in",
        "user": mail,
        "stop": [mail],
        "metadata": {mail: mail, "name": "Dr. Alice Johnson"},
        "unknown": {"deep": [{"x": [mail]}], "name": mail, "id": "13800138000"},
        "seed": 1391111222,
        "tools": [
            {"type": "function", "function": {"name": "f", "description": mail, "parameters": {"default": mail}}}
        ],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": mail}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "type": "function",
                        "function": {
                            "name": "f",
                            "arguments": json.dumps(
                                {"to": mail, "who": "我叫欧阳修远", "n": {"a": json.dumps({"b": mail})}}
                            ),
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": json.dumps({"name": "姓名：欧阳修远"})},
            {"role": "user", "content": "ok"},
        ],
        "store": True,
    }
    assert post(house, body).status_code == 200
    nothing_leaked(house)
    raw = house.received[0]["raw"].decode()
    assert "欧阳" not in raw and "\\u6b27" not in raw and raw.count("EMAIL_ADDRESS_") >= 10
    assert house.received[0]["body"]["store"] is False
    assert "guard.proxy.store_turned_off" in [step.action for step in house.log.last["steps"]]
    sent = house.received[0]["body"]["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(json.loads(sent)["n"]["a"])["b"].startswith("[EMAIL_ADDRESS_")


REFUSED = [
    (b"{", 400, "json"),
    (b"[]", 400, "shape"),
    (b'{"messages": [{"role": "user", "content": NaN}]}', 400, "json"),
    (b'{"messages": [{"role": "user", "content": "a"}], "messages": []}', 400, "json"),
    (b'{"messages": [{"role": "user", "content": "a\xff"}]}', 400, "json"),
    (b'{"messages": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400, "json"),
    (b'{"messages": [{"role": "user", "content": "a"}], "x": ' + b"[" * 70 + b"]" * 70 + b"}", 400, "json"),
    (ask([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]), 403, "media"),
    (ask("x" * 70_000), 413, "size"),
]


@pytest.mark.parametrize(("body", "status", "rule"), REFUSED)
def test_refusals(start: Start, body: Any, status: int, rule: str) -> None:
    house = start(max_body_bytes=65_536)
    reply = post(house, body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, f"guard.proxy.{rule}"), (str(body)[:80], error)
    assert error["request_id"] == reply.headers["x-trustplane-request-id"]
    assert "canary" not in reply.text and house.log.last["decision"] == "blocked"
    assert house.received == []


MASKED = [
    ask("hi", model="alice.canary@example.com"),
    ask("hi", metadata={"card": 4111111111111111}),
    ask("hi", unknown=[13800138000, {"alice.canary@example.com": None}]),
    ask("hi", stop=["alice.canary@example.com"], user="alice.canary@example.com", logprobs=True),
]


@pytest.mark.parametrize("body", MASKED)
def test_what_is_masked_rather_than_refused(house: House, body: dict[str, Any]) -> None:
    assert post(house, body).status_code == 200
    nothing_leaked(house)
    raw = house.received[0]["raw"]
    assert b"4111111111111111" not in raw and b"13800138000" not in raw


def test_other_paths_and_types(house: House) -> None:
    assert httpx.get(f"{house.url}/healthz").json() == {"status": "ok"}
    for path in ("/v1/nothing", "/alice.canary@example.com", "/", "/v1/chat/completions/", "/v1/chat%2fcompletions"):
        reply = httpx.post(house.url + path, json={})
        assert reply.status_code == 404 and reply.json()["error"]["code"] == "guard.proxy.route"
        assert "canary" not in reply.text
    assert post(house, ask(), headers={"content-type": "text/plain"}).status_code == 415
    assert post(house, ask(), headers={"content-encoding": "gzip"}).status_code == 415
    assert post(house, ask(), headers={"x-trustplane-upstream": "nobody"}).status_code == 404
    assert house.received == []
    assert post(house, ask("hi"), params={"q": "alice.canary@example.com"}).status_code == 200
    assert "canary" not in house.received[-1]["query"]


def test_bodies_that_are_slow_or_far_too_long(start: Start) -> None:
    house = start(body_seconds=1, max_body_bytes=65_536)

    def slowly() -> Any:
        for _ in range(100):
            yield b" "
            time.sleep(0.1)

    headers = {"content-type": "application/json"}
    url = f"{house.url}/v1/chat/completions"
    reply = httpx.post(url, content=slowly(), headers=headers, timeout=30)
    assert (reply.status_code, reply.json()["error"]["code"]) == (408, "guard.proxy.body_time")
    endless = (b"x" * (1 << 20) for _ in range(100))
    reply = httpx.post(url, content=endless, headers=headers, timeout=60)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "guard.proxy.size")
    reply = httpx.post(url, content=b"x" * (100 << 20), headers=headers, timeout=60)
    assert reply.status_code == 413
    assert house.received == [] and post(house, ask("hi")).status_code == 200


def test_too_many_at_once(start: Start) -> None:
    class Slow:
        state = type("State", (), {"received": []})

        async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
            await anyio.sleep(1)
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    house = start(Starlette(routes=[Mount("/", Slow())]), max_concurrent=2)

    async def everyone() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=house.url, timeout=30) as client:
            asked = [client.post("/v1/chat/completions", json=ask("hi")) for _ in range(4)]
            return await asyncio.gather(*asked)

    found = asyncio.run(everyone())
    busy = [reply for reply in found if reply.status_code == 503]
    assert len(busy) == 2 and all(r.json()["error"]["code"] == "guard.proxy.busy" for r in busy)
    assert all(r.headers["retry-after"] == "1" for r in busy) and len(house.log.requests) == 2


class Crashing(Guarded):
    """A guard that fails in a given way, with content in its error."""

    def __init__(self, guarded: Guarded, how: str) -> None:
        super().__init__(guarded.policy, guarded.guard)
        self.how = how

    def decide_many(self, *_texts: Any, **_options: Any) -> Any:
        if self.how == "hang":
            time.sleep(2.5)
        if self.how == "nonsense":
            return [None]
        raise ValueError("alice.canary@example.com")


@pytest.mark.parametrize(
    ("how", "status", "rule"),
    [("crash", 500, "guard_failed"), ("hang", 503, "guard_time"), ("nonsense", 500, "guard_failed")],
)
def test_guard_fails_closed(start: Start, guarded: Guarded, how: str, status: int, rule: str) -> None:
    house = start(guarded_=Crashing(guarded, how), guard_seconds=1)
    reply = post(house, ask())
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, f"guard.proxy.{rule}")
    assert house.received == [] and "canary" not in reply.text and house.log.last["decision"] == "blocked"
    nothing_leaked(house)


@pytest.mark.parametrize("call", ["open", "record", "record:guard.proxy.sent"])
def test_no_log_no_call(house: House, call: str) -> None:
    house.log.fail = call
    reply = post(house, ask())
    assert reply.status_code in {500, 503} and house.received == [] and "canary" not in reply.text


@pytest.mark.parametrize("call", ["record:guard.proxy.replied", "decide"])
def test_no_log_no_answer(house: House, call: str) -> None:
    house.log.fail = call
    reply = post(house, ask("hello"))
    assert reply.status_code in {500, 503} and "You wrote" not in reply.text and "canary" not in reply.text


def answering(make: Any) -> Starlette:
    """An upstream that answers with what ``make(body)`` gives."""

    async def answer(request: Request) -> Response:
        body = await request.json()
        request.app.state.received.append({"body": body, "raw": await request.body()})
        found = make(body)
        return found if isinstance(found, Response) else JSONResponse(found)

    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    app.state.received = []
    return app


def message(content: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}


def test_upstream_down(start: Start) -> None:
    import socket

    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    assert check_origin("x", f"http://127.0.0.1:{port}/") == f"http://127.0.0.1:{port}"
    house = start(origin=f"http://127.0.0.1:{port}")
    reply = post(house, ask())
    assert (reply.status_code, reply.json()["error"]["code"]) == (502, "guard.proxy.upstream")
    assert house.log.last["decision"] == "failed"


def test_upstream_slow(start: Start) -> None:
    async def slow(_request: Request) -> Response:
        await anyio.sleep(30)
        return Response()

    app = Starlette(routes=[Route("/v1/chat/completions", slow, methods=["POST"])])
    app.state.received = []
    reply = post(start(app, upstream_seconds=1), ask())
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "guard.proxy.upstream_time")


@pytest.mark.parametrize(
    "make",
    [
        lambda _: Response(b"not json", media_type="application/json"),
        lambda _: Response(b"[]"),
        lambda _: Response(b"", 302, {"location": "http://127.0.0.1:1/"}),
        lambda _: Response(b'{"choices": [], "choices": []}'),
    ],
)
def test_upstream_nonsense(start: Start, make: Any) -> None:
    reply = post(start(answering(make)), ask())
    assert reply.status_code == 502 and reply.json()["error"]["request_id"]


def test_provider_error_is_passed_on_redacted(start: Start) -> None:
    error = {"error": {"message": "bad key sk-abcdefghijklmnop99 of bob@invented.org", "type": "auth", "code": None}}
    house = start(answering(lambda _: JSONResponse(error, 401, headers={"retry-after": "3", "set-cookie": "a=b"})))
    reply = post(house, ask())
    assert reply.status_code == 401
    assert reply.json()["error"]["message"] == "bad key <API_KEY> of <EMAIL_ADDRESS>"
    assert reply.headers["retry-after"] == "3" and "set-cookie" not in reply.headers
    assert house.log.last["decision"] == "failed"


def test_invented_values_are_masked(start: Start) -> None:
    text = "Ask bob@invented.org or +1 212-555-0123, see https://docs.python.org/3."
    expected = "Ask <EMAIL_ADDRESS> or <PHONE_NUMBER>, see https://docs.python.org/3."
    pieces = [text[i : i + 2] for i in range(0, len(text), 2)]

    def make(body: dict[str, Any]) -> Any:
        if not body.get("stream"):
            return message(text)
        chunks = [{"choices": [{"index": 0, "delta": {"content": p}, "finish_reason": None}]} for p in pieces]
        events = [f"data: {json.dumps(c)}\n\n" for c in chunks] + ["data: [DONE]\n\n"]
        return StreamingResponse(iter(events), media_type="text/event-stream")

    house = start(answering(make))
    assert post(house, ask("hi")).json()["choices"][0]["message"]["content"] == expected
    assert joined(post(house, ask("hi", stream=True)).text) == expected
    assert house.log.last["steps"][-1].facts["masked"] == 2


def test_a_stream_that_is_cut_off_never_looks_complete(start: Start) -> None:
    def make(_body: dict[str, Any]) -> Any:
        chunk = {"choices": [{"index": 0, "delta": {"content": "half of an ans"}, "finish_reason": None}]}
        return Response(f"data: {json.dumps(chunk)}\n\n".encode(), media_type="text/event-stream")

    house = start(answering(make))
    text = post(house, ask("hi", stream=True)).text
    assert "[DONE]" not in text and "upstream_broke" in text


def test_two_choices_and_two_tool_calls_in_one_stream(start: Start) -> None:
    def make(body: dict[str, Any]) -> Any:
        shown = body["messages"][0]["content"]
        events = []
        for i in range(len(shown)):
            events.append({"choices": [
                {"index": 0, "delta": {"content": shown[i]}},
                {"index": 1, "delta": {"refusal": shown[i], "tool_calls": [
                    {"index": 1, "function": {"arguments": shown[i]}},
                    {"index": 0, "function": {"arguments": shown[i]}}]}},
            ]})  # fmt: skip
        raw = "".join(f"data: {json.dumps(e)}\r\n\r\n" for e in events)
        return Response(raw.encode() + b"data: [DONE]", media_type="text/event-stream")  # no last newline

    house = start(answering(make))
    reply = post(house, ask("alice.canary@example.com", stream=True))
    out: dict[Any, str] = {}
    for line in reply.text.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                for key in ("content", "refusal"):
                    out[choice["index"], key] = out.get((choice["index"], key), "") + (choice["delta"].get(key) or "")
                for call in choice["delta"].get("tool_calls", ()):
                    out[call["index"]] = out.get(call["index"], "") + call["function"]["arguments"]
    mail = "alice.canary@example.com"
    assert out == {(0, "content"): mail, (0, "refusal"): "", (1, "content"): "", (1, "refusal"): mail, 0: mail, 1: mail}


def test_broken_stream_ends_with_an_error(start: Start) -> None:
    def make(_: Any) -> Any:
        good = 'data: {"choices": [{"index": 0, "delta": {"content": "hi "}}]}\n\n'
        return StreamingResponse(iter([good, 'data: {"choi\n\n', good]), media_type="text/event-stream")

    house = start(answering(make))
    reply = post(house, ask("hi", stream=True))
    last = json.loads([line for line in reply.text.splitlines() if line.startswith("data: {")][-1][6:])
    assert last["error"]["code"] == "guard.proxy.reply_shape" and house.log.last["decision"] == "failed"


def test_concurrent_requests_are_isolated(house: House) -> None:
    async def one(client: httpx.AsyncClient, number: int) -> None:
        text = f"write to user{number}.canary@example.com, forged [EMAIL_ADDRESS_2345]"
        stream = bool(number % 2)
        reply = await client.post("/v1/chat/completions", json=ask(text, stream=stream))
        assert reply.status_code == 200, reply.text
        out = joined(reply.text) if stream else reply.json()["choices"][0]["message"]["content"]
        assert out == f'You wrote: "{text}"'

    async def everyone() -> None:
        async with httpx.AsyncClient(base_url=house.url, timeout=60) as client, asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(one(client, number))

    asyncio.run(everyone())
    assert len(house.received) == 50 and len(house.log.requests) == 50
    assert all(r["decision"] == "answered" for r in house.log.requests.values())
    assert "canary" not in json.dumps([r["body"] for r in house.received])


@pytest.mark.parametrize("stream", [True, False])
def test_hang_up_cancels_the_upstream_call(start: Start, stream: bool) -> None:
    seen = {"begun": False, "ended": False}

    async def endless(request: Request) -> Response:
        async def pieces() -> Any:
            seen["begun"] = True
            try:
                while True:
                    yield b'data: {"choices": [{"index": 0, "delta": {"content": "hi there "}}]}\n\n'
                    await anyio.sleep(0.02)
            finally:
                seen["ended"] = True

        kind = "text/event-stream" if stream else "application/json"
        return StreamingResponse(pieces(), media_type=kind)

    app = Starlette(routes=[Route("/v1/chat/completions", endless, methods=["POST"])])
    app.state.received = []
    house = start(app)
    with pytest.raises(httpx.ReadTimeout) if not stream else _nothing():
        if stream:
            with httpx.stream("POST", f"{house.url}/v1/chat/completions", json=ask("hi", stream=True)) as reply:
                next(reply.iter_bytes())
        else:
            httpx.post(f"{house.url}/v1/chat/completions", json=ask("hi"), timeout=0.5)
    end = time.monotonic() + 5
    while time.monotonic() < end and not (seen["ended"] and house.log.last["decision"]):
        time.sleep(0.02)
    assert seen["begun"] and seen["ended"] and house.log.last["decision"] == "cancelled"


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


@pytest.mark.parametrize(
    "bad", [{}, {"x": "ftp://a"}, {"x": "http://u:p@a"}, {"x": "http://a/v1"}, {"x": "a"}, {"x": "http://a?b"}]
)
def test_bad_upstreams(bad: dict[str, str]) -> None:
    with pytest.raises(InputError):
        open_upstreams(bad)
