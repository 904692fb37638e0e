"""Server: uvicorn with limits on the heads of requests, quiet about what they hold."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from trustplane.errors import InputError, StoreError, missing_extra
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.errors import error_body
from trustplane.settings import ProxySettings

__all__ = ["NO_TLS", "OpenApp", "Tls", "bind", "serve"]

KEEP_ALIVE_SECONDS = 65
"""How long an unused connection of a client is kept: longer than load balancers do (mostly 60 s)."""
MAX_URL = 8 * 1024
SWITCH_SECONDS = 0.0005
"""How long the log's threads may keep the interpreter from the event loop; CPython's own value is ten times that."""
OpenApp = Callable[[], AbstractContextManager[Any]]
"""Opens the app, in the worker: the log is opened after the fork."""


class Tls(NamedTuple):
    """Files in PEM: the certificate with its chain, and its private key."""

    cert: str = ""
    key: str = ""


NO_TLS = Tls()


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        StoreError: the address cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StoreError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


def serve(
    open_app: OpenApp, listener: socket.socket, settings: ProxySettings, *,
    ready: Callable[[], None], tls: Tls = NO_TLS, parent: int = 0,
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT, then let requests end for ``drain_seconds`` at most.

    ``ready`` is called when the app takes requests. ``parent``: end also when this process's parent is another.
    """
    try:
        import httptools  # noqa: F401  uvicorn's other parser has no limits that we could set
        import uvicorn
    except ImportError:
        raise missing_extra("uvicorn or httptools", "proxy") from None

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

        async def on_tick(self, counter: int) -> bool:
            if parent and counter % 10 == 0 and os.getppid() != parent:
                return True
            return await super().on_tick(counter)

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Stop on a signal and return, so that the plane can sign its last checkpoint."""
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    sys.setswitchinterval(SWITCH_SECONDS)
    quiet = _Quiet()
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(quiet)
    with open_app() as app, listener:
        config = uvicorn.Config(  # no access log: a path or a header could hold what the proxy is there to keep back
            app, http=_protocol(settings), ws="none", lifespan="on", access_log=False, log_level="warning",
            server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=settings.drain_seconds, backlog=2048,
            ssl_certfile=tls.cert or None, ssl_keyfile=tls.key or None,
        )  # fmt: skip
        try:
            config.load()
        except (OSError, ValueError):  # ssl.SSLError is an OSError
            raise InputError("the TLS certificate or its key cannot be used") from None
        Server(config).run(sockets=[listener])


class _Quiet(logging.Filter):
    """Takes the exception out of a record: its text could hold what a request did."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info or record.levelno >= logging.ERROR:
            kind = record.exc_info[0] if record.exc_info else None
            record.msg = f"{record.name}: {kind.__name__ if kind is not None else 'an error'} in {record.funcName}"
            record.args, record.exc_info, record.exc_text, record.stack_info = None, None, None, None
        return True


def _protocol(settings: ProxySettings) -> Any:
    """Return uvicorn's protocol with limits on the head of a request: its size, its headers, its time."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class LimitedProtocol(HttpToolsProtocol):
        _head_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_came()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self._refused:
                super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._head_bytes = 0
            if self._head_timer is None:
                self._await_head()

        def on_url(self, url: bytes) -> None:
            super().on_url(url)
            if len(self.url) > MAX_URL:
                self._refuse(414, "guard.proxy.url_size", "the URL is too long")

        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            self._head_bytes += len(name) + len(value) + 4
            if len(self.headers) > settings.max_headers or self._head_bytes > settings.max_header_bytes:
                self._refuse(431, "guard.proxy.head_size", "the headers are too many or too long")

        def on_headers_complete(self) -> None:
            self._head_came()
            if not self._refused:
                super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if not self._refused:
                super().on_message_complete()

        def _await_head(self) -> None:
            self._head_timer = self.loop.call_later(settings.head_seconds, self._head_late)

        def _head_came(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _head_late(self) -> None:
            self._head_timer = None
            if self.cycle is None or self.cycle.response_complete:
                self._refuse(408, "guard.proxy.head_time", "the head of the request took too long")

        def _refuse(self, status: int, rule: str, message: str) -> None:
            """Answer and close; a request that an earlier one on this connection waits for is given up."""
            if self._refused or self.transport.is_closing():
                return
            self._refused = True
            self._head_came()
            if self.cycle is None or self.cycle.response_complete:
                body = error_body("openai", ProxyRefusal(rule, status, message), "")
                head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
            self.transport.close()

    return LimitedProtocol
