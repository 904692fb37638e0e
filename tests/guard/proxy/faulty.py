"""Upstreams that break: what they answer is written to the socket as it stands, or sent by an ASGI app."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple


class Fault(NamedTuple):
    """What an upstream answers. ``raw``: all of it, head included; else it is put together.

    ``length``: the content length that is declared, None for chunked. ``cut``: the connection is reset after the last
    piece. ``pause``: seconds before each piece.
    """

    pieces: Sequence[bytes] = ()
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    length: int | None = None
    cut: bool = False
    pause: float = 0.0
    raw: bytes | None = None
    early: bool = False
    """Whether it answers as soon as the head of the request is there."""


class Upstream:
    """A server that answers each request with ``fault``; ``received``: all bytes that came, one entry a connection."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.received: list[bytearray] = []
        self.ended = threading.Event()
        """Set when a client hung up before the answer was complete."""
        self.url = ""


@contextlib.contextmanager
def faulty(fault: Fault) -> Iterator[Upstream]:
    """Serve ``fault`` on a free port of loopback."""
    made = Upstream(fault)
    listener = socket.create_server(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop = threading.Event()

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_one, args=(connection, made, stop), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _one(connection: socket.socket, made: Upstream, stop: threading.Event) -> None:
    got = bytearray()
    made.received.append(got)
    with contextlib.suppress(OSError), connection:
        while not stop.is_set():
            start = len(got)
            if not _read_request(connection, got, start, early=made.fault.early):
                return
            try:
                _answer(connection, made.fault, stop)
            except OSError:
                made.ended.set()
                raise
            if made.fault.cut or made.fault.raw is not None:
                return


def _read_request(connection: socket.socket, got: bytearray, start: int, *, early: bool) -> bool:
    while (end := got.find(b"\r\n\r\n", start)) < 0:
        data = connection.recv(65536)
        if not data:
            return False
        got += data
    if early:
        return True
    length = 0
    for line in bytes(got[start:end]).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(got) < end + 4 + length:
        data = connection.recv(65536)
        if not data:
            return False
        got += data
    return True


def _answer(connection: socket.socket, fault: Fault, stop: threading.Event) -> None:
    if fault.raw is not None:
        connection.sendall(fault.raw)
    else:
        lines = [f"HTTP/1.1 {fault.status} Status", *(f"{name}: {value}" for name, value in fault.headers)]
        lines.append("transfer-encoding: chunked" if fault.length is None else f"content-length: {fault.length}")
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        for piece in fault.pieces:
            if fault.pause:
                stop.wait(fault.pause)
            connection.sendall(piece if fault.length is not None else b"%x\r\n%s\r\n" % (len(piece), piece))
        if fault.length is None and not fault.cut:
            connection.sendall(b"0\r\n\r\n")
    if fault.cut:
        time.sleep(0.02)  # else the reset overtakes the bytes


def faulty_app(made: Upstream) -> Any:
    """Return an ASGI app that answers with ``made.fault``, and raises where that is cut."""

    async def app(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        import anyio

        if scope["type"] != "http":
            return
        got = bytearray(repr(scope["headers"]).encode())
        made.received.append(got)
        fault = made.fault
        more = not fault.early
        while more:
            message = await receive()
            got += message.get("body", b"")
            more = message.get("more_body", False)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fault.headers]
        if fault.length is not None:
            headers.append((b"content-length", str(fault.length).encode()))
        try:
            await send({"type": "http.response.start", "status": fault.status, "headers": headers})
            for piece in fault.pieces:
                await anyio.sleep(fault.pause)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except OSError:
            made.ended.set()
            raise
        if fault.cut:
            raise ConnectionResetError("the app broke")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app
