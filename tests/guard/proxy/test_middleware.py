"""The middleware in apps of the user's own: what it guards, what it leaves alone, how both sides hang up."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import fastapi
import httpx
import openai
import pytest
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

import trustplane
from trustplane.errors import InputError
from trustplane.guard.proxy.faces.middleware import GuardMiddleware
from trustplane.guard.proxy.gate import Caller
from trustplane.guard.proxy.standin import build_standin, reply_of, streams
from trustplane.guard.text.guarded import Guarded

from .fronts import API_KEY, KEY, PROMPT
from .servers import ListLog, serve

MAIL = "alice.canary@example.com"
ASK = {"model": "m", "messages": [{"role": "user", "content": f"write to {MAIL}"}]}
SHAPE = {"/chat": "openai.chat.completions"}


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture
def options(guarded: Guarded, log: ListLog) -> dict[str, Any]:
    return {"guarded": guarded, "open_request": log, "key": KEY}


class Seen:
    """What the inner app was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[Any] = []
        self.paths: list[str] = []
        self.events: list[str] = []


def make_app(seen: Seen) -> fastapi.FastAPI:
    """An app with one endpoint of a known shape, and others of its own."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        seen.events.append("up")
        yield
        seen.events.append("down")

    app = fastapi.FastAPI(lifespan=lifespan)

    async def take(request: Request) -> Any:
        seen.bodies.append(await request.body())
        seen.headers.append(request.headers)
        seen.paths.append(request.url.path + "?" + request.url.query)
        return json.loads(seen.bodies[-1] or b"{}")

    @app.post("/chat")
    @app.post("/v1/chat/completions")
    @app.post("/slash/")
    async def chat(request: Request) -> Response:
        asked = await take(request)
        content = asked["messages"][-1]["content"]
        if content == "crash":
            raise RuntimeError(content)
        value = reply_of("chat.completions", asked, content)
        if asked.get("stream"):
            return StreamingResponse(iter(streams.events("chat.completions", value, 3)), media_type="text/event-stream")
        task = BackgroundTask(seen.events.append, "after")
        return JSONResponse(value, headers={"x-own": "yes"}, background=task)

    @app.post("/notes")
    @app.get("/v1/health")
    async def notes(request: Request) -> Any:
        return {"kept": await take(request)}

    @app.get("/v1/files/{name}")
    async def file(request: Request, name: str) -> Any:
        await take(request)
        return {"id": name, "object": "file"}

    @app.websocket("/chat")
    @app.websocket("/live")
    async def live(socket: fastapi.WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return app


def test_what_it_needs(guarded: Guarded, log: ListLog) -> None:
    with pytest.raises(InputError, match="plane"):
        GuardMiddleware(make_app(Seen()))
    for shape in ("openai.chat", "openai.files.get", "chat.completions"):
        with pytest.raises(InputError, match="shape"):
            GuardMiddleware(make_app(Seen()), guarded=guarded, open_request=log, paths={"/x": shape})


def test_it_goes_before_an_app_of_fastapi(options: dict[str, Any], log: ListLog) -> None:
    seen = Seen()
    app = make_app(seen)
    app.add_middleware(GuardMiddleware, paths=SHAPE, **options)
    with serve(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        for path in ("/chat", "/v1/chat/completions", "/chat/", "//chat", "/v1/chat%2Fcompletions"):
            reply = client.post(path, json=ASK, headers={"cookie": "who=me", "authorization": f"Bearer {API_KEY}"})
            assert "canary" not in repr(seen.bodies), path
            if reply.status_code == 200:
                assert reply.json()["choices"][0]["message"]["content"] == f"write to {MAIL}"
                assert reply.headers["x-trustplane-receipt"]
        assert len(seen.bodies) >= 3 and seen.headers[0]["cookie"] == "who=me" and "after" in seen.events
        with client.stream("POST", "/chat", json={**ASK, "stream": True}) as streamed:
            text = "".join(streamed.iter_text())
        assert ": x-trustplane-receipt " in text and text.endswith("data: [DONE]\n\n")
        deltas = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
        assert (
            "".join(d["choices"][0]["delta"].get("content") or "" for d in deltas if d["choices"]) == f"write to {MAIL}"
        )
        refused = client.post("/chat", content=b"{", headers={"content-type": "application/json"})
        assert refused.status_code == 400 and refused.json()["error"]["code"].startswith("guard.proxy.")
        assert client.put("/chat", json=ASK).status_code == 404
        assert log.last["decision"] == "blocked"
    assert "canary" not in repr(seen.bodies) and seen.events[0] == "up" and seen.events[-1] == "down"


def test_other_paths_are_the_apps_own(options: dict[str, Any], log: ListLog) -> None:
    seen = Seen()
    app = make_app(seen)
    app.add_middleware(GuardMiddleware, paths=SHAPE, **options)
    with serve(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        assert client.post("/notes", json={"to": MAIL}).json() == {"kept": {"to": MAIL}}
        assert client.get("/v1/health").json() == {"kept": {}}
        assert client.options("/chat").status_code == 405
        assert client.get("/nothing").json() == {"detail": "Not Found"}
    assert log.requests == {}


def test_ids_in_paths(options: dict[str, Any]) -> None:
    seen = Seen()
    app = GuardMiddleware(make_app(seen), **options)
    with serve(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        assert client.get("/v1/files/file-1").json()["id"] == "file-1"
        reply = client.get(f"/v1/files/{MAIL}")
        assert "canary" not in repr(seen.paths)
        assert reply.status_code >= 400 or reply.json()["id"] == MAIL


def test_below_a_mount(options: dict[str, Any]) -> None:
    seen = Seen()
    inner = GuardMiddleware(make_app(seen), paths=SHAPE, **options)
    with serve(Starlette(routes=[Mount("/llm", app=inner)])) as url:
        reply = httpx.post(f"{url}/llm/chat", json=ASK, timeout=30)
    assert reply.json()["choices"][0]["message"]["content"] == f"write to {MAIL}"
    assert "canary" not in repr(seen.bodies)


def test_compression_inside_and_outside(options: dict[str, Any]) -> None:
    seen = Seen()
    inside = make_app(seen)
    inside.add_middleware(GZipMiddleware, minimum_size=1)
    app = Starlette(
        routes=[Mount("/", app=GuardMiddleware(inside, paths=SHAPE, **options))],
        middleware=[Middleware(GZipMiddleware, minimum_size=1)],
    )
    with serve(app) as url:
        reply = httpx.post(f"{url}/chat", json=ASK, headers={"accept-encoding": "gzip"}, timeout=30)
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.json()["choices"][0]["message"]["content"] == f"write to {MAIL}"
    assert "canary" not in repr(seen.bodies)


def test_websockets(options: dict[str, Any]) -> None:
    app = GuardMiddleware(make_app(Seen()), paths=SHAPE, **options)
    with TestClient(app) as client:
        with client.websocket_connect("/live") as live:
            live.send_text(MAIL)
            assert live.receive_text() == MAIL
        from starlette.websockets import WebSocketDisconnect

        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/chat"):
            pass
        assert closed.value.code == 1008


def test_an_app_that_crashes(options: dict[str, Any], log: ListLog) -> None:
    app = make_app(Seen())
    app.add_middleware(GuardMiddleware, paths=SHAPE, **options)
    with TestClient(app, raise_server_exceptions=False) as client:
        reply = client.post("/chat", json={"model": "m", "messages": [{"role": "user", "content": "crash"}]})
        assert reply.status_code == 502 and reply.json()["error"]["code"] == "guard.proxy.upstream"
        assert log.last["decision"] == "failed"
        assert client.post("/chat", json=ASK).status_code == 200
    with TestClient(app) as client, pytest.raises(RuntimeError, match="crash"):  # whoever watches the app still sees it
        client.post("/chat", json={"model": "m", "messages": [{"role": "user", "content": "crash"}]})


def test_whose_request_it_is(options: dict[str, Any]) -> None:
    seen = Seen()
    app = GuardMiddleware(make_app(seen), paths=SHAPE, **options)
    with serve(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        for key in ("one", "one", "two"):
            client.post("/chat", json=ASK, headers={"authorization": f"Bearer {key}"})
    assert seen.bodies[0] == seen.bodies[1] != seen.bodies[2]
    callers = iter([Caller(tenant="a"), Caller(tenant="b")])
    app = GuardMiddleware(make_app(seen), paths=SHAPE, caller=lambda _headers: next(callers), **options)
    with serve(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        client.post("/chat", json=ASK)
        client.post("/chat", json=ASK)
    assert seen.bodies[3] != seen.bodies[4]


@pytest.mark.parametrize("call", ["open", "record", "record:guard.proxy.replied", "decide"])
def test_no_log_no_answer(call: str, options: dict[str, Any], log: ListLog) -> None:
    seen = Seen()
    log.fail = call
    with serve(GuardMiddleware(make_app(seen), paths=SHAPE, **options)) as url:
        reply = httpx.post(f"{url}/chat", json=ASK, timeout=30)
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "guard.proxy.log"
        streamed = httpx.post(f"{url}/chat", json={**ASK, "stream": True}, timeout=30)
        assert "[DONE]" not in streamed.text and "guard.proxy.log" in streamed.text
    assert bool(seen.bodies) == (call in {"record:guard.proxy.replied", "decide"})
    assert "canary" not in repr(seen.bodies) + reply.text


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    assert what()


EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "hi "}}]}\n\n'


def endless(seen: Seen, bad: bytes = b"") -> Any:
    """An app whose answer never ends; after ten events it sends ``bad``."""

    async def pieces() -> AsyncIterator[bytes]:
        number = 0
        try:
            while True:
                number += 1
                yield (
                    bad
                    if bad and number == 10
                    else b'data: {"choices": [{"index": 0, "delta": {"content": "hi "}}]}\n\n'
                )
                await anyio.sleep(0.01)
        finally:
            seen.events.append("ended")

    async def answer(request: Request) -> Response:
        await request.body()
        return StreamingResponse(pieces(), media_type="text/event-stream")

    return Starlette(routes=[Route("/chat", answer, methods=["POST"])])


def test_a_client_that_hangs_up(options: dict[str, Any], log: ListLog) -> None:
    seen = Seen()
    with serve(GuardMiddleware(endless(seen), paths=SHAPE, **options)) as url:
        with httpx.stream("POST", f"{url}/chat", json={**ASK, "stream": True}, timeout=30) as reply:
            next(reply.iter_bytes())
        wait_for(lambda: seen.events == ["ended"] and log.last["decision"] == "cancelled")


def test_a_block_in_mid_stream_ends_the_app(options: dict[str, Any], log: ListLog) -> None:
    seen = Seen()
    with serve(GuardMiddleware(endless(seen, b"data: {\n\n"), paths=SHAPE, **options)) as url:
        reply = httpx.post(f"{url}/chat", json={**ASK, "stream": True}, timeout=30)
        assert '"code": "guard.proxy.' in reply.text and "[DONE]" not in reply.text
        wait_for(lambda: seen.events == ["ended"])
    assert log.last["decision"] == "failed"


def test_a_client_that_leaves_before_its_body_is_there(options: dict[str, Any], log: ListLog) -> None:
    seen = Seen()
    with serve(GuardMiddleware(make_app(seen), paths=SHAPE, **options)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
            connection.sendall(b"content-length: 900\r\n\r\n" + MAIL.encode())
        assert httpx.post(f"{url}/chat", json=ASK, timeout=30).status_code == 200
    assert len(seen.bodies) == 1 and len(log.requests) == 1


@pytest.fixture
def plane(tmp_path: Any) -> Iterator[trustplane.Plane]:
    with trustplane.open(tmp_path / "plane") as opened:
        yield opened


def test_a_plane_is_all_it_takes(plane: Any) -> None:
    standin = build_standin()
    standin.add_middleware(GuardMiddleware, plane=plane)
    with serve(standin) as url, openai.OpenAI(base_url=f"{url}/v1", api_key=API_KEY, max_retries=0) as client:
        made = client.responses.create(model="stand-in", input=PROMPT)
        assert made.output_text == f'You wrote: "{PROMPT}"'
    assert b"canary" not in standin.state.received[0]["raw"]
