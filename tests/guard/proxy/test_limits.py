"""Guard threads that hang, and calls that are tried again only while nothing was sent."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable

import pytest

from trustplane.guard.proxy.events import Send
from trustplane.guard.proxy.faces.limits import GuardThreads
from trustplane.guard.proxy.faces.upstream import AioCalls, request_headers
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.settings import ProxySettings

POST = Send("x", "POST", "/v1/chat/completions", "", (), b"{}")


def test_work_that_hangs_is_left_and_bounded() -> None:
    release = threading.Event()

    async def run() -> None:
        threads = GuardThreads(threads=2, hung=3)
        for _ in range(3):
            with pytest.raises(ProxyRefusal) as late:
                await threads.run(release.wait, 0.05)
            assert (late.value.rule, late.value.status) == ("guard.proxy.guard_time", 503)
        with pytest.raises(ProxyRefusal):  # three hang: nothing is started
            await threads.run(lambda: pytest.fail("started"), 5)
        release.set()
        end = time.monotonic() + 10
        while any(not worker.ended for worker in threads._hung) and time.monotonic() < end:
            await asyncio.sleep(0.01)
        assert await threads.run(lambda: 41 + 1, 5) == 42
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0, 5)
        assert await asyncio.gather(*[threads.run(lambda n=n: n * n, 5) for n in range(50)]) == [
            n * n for n in range(50)
        ]
        threads.close()

    asyncio.run(run())


def listening(answer: Callable[[socket.socket], None], port: int = 0) -> tuple[socket.socket, list[bytes]]:
    server = socket.create_server(("127.0.0.1", port))
    seen: list[bytes] = []

    def run() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            seen.append(client.recv(65536))
            answer(client)
            client.close()

    threading.Thread(target=run, daemon=True).start()
    return server, seen


def fine(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Request-ID: 7\r\n\r\n{}")


async def called(port: int, **settings: int) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    calls = AioCalls(ProxySettings(**settings))  # type: ignore[arg-type]
    try:
        call = await calls.call(f"http://127.0.0.1:{port}", POST, (("authorization", "Bearer k"),))
        data = b""
        while piece := await call.read():
            data += piece
        call.close()
        return call.status, data, call.headers
    finally:
        await calls.close()


def test_a_refused_connection_is_tried_again() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()

    async def run() -> None:
        asking = asyncio.create_task(called(port))
        await asyncio.sleep(0.02)
        server, seen = listening(fine, port)
        status, data, headers = await asking
        assert (status, data) == (200, b"{}") and ("x-request-id", "7") in headers and len(seen) == 1
        server.close()

    asyncio.run(run())


def test_what_was_sent_is_not_sent_again() -> None:
    server, seen = listening(lambda client: None)
    with pytest.raises(ProxyRefusal) as broke:
        asyncio.run(called(server.getsockname()[1]))
    assert broke.value.status == 502 and len(seen) == 1
    server.close()


def test_an_upstream_that_stops_in_its_reply() -> None:
    def half(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{")
        time.sleep(2)

    server, _ = listening(half)
    with pytest.raises(ProxyRefusal) as late:
        asyncio.run(called(server.getsockname()[1], idle_seconds=1))
    assert (late.value.rule, late.value.status) == ("guard.proxy.upstream_time", 504)
    server.close()


def test_headers_that_go() -> None:
    given = (
        ("authorization", "Bearer mine"), ("x-api-key", "mine"), ("cookie", "c"), ("x-trustplane-session", "s"),
        ("anthropic-version", "1"), ("openai-beta", "b"), ("mcp-session-id", "m"), ("content-type", "application/json"),
        ("x-forwarded-for", "1.2.3.4"),
    )  # fmt: skip
    names = {api: {n for n, _ in request_headers(api, given)} for api in ("openai", "anthropic", "mcp")}
    shared = {"authorization", "x-api-key", "content-type"}
    assert names["openai"] == {*shared, "openai-beta"} and names["anthropic"] == {*shared, "anthropic-version"}
    assert names["mcp"] == {*shared, "mcp-session-id"}
    swapped = dict(request_headers("anthropic", given, "theirs"))
    assert swapped["x-api-key"] == "theirs" and "authorization" not in swapped
    assert dict(request_headers("openai", given, "theirs"))["authorization"] == "Bearer theirs"
