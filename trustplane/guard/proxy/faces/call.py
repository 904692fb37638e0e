"""Calls: one request through a guarded transport, over ``httpx`` and ``httpx2``, whose classes have the same shapes."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

from trustplane.errors import InputError
from trustplane.guard.proxy.events import (
    AnswerData,
    AnswerEnd,
    AnswerHead,
    Body,
    Failed,
    HangUp,
    Head,
    In,
    Out,
    ReplyData,
    ReplyEnd,
    ReplyHead,
    Send,
)
from trustplane.guard.proxy.faces.drive import Drive
from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = [
    "AsyncUpstream",
    "SyncUpstream",
    "TransportCall",
    "async_body",
    "library_of",
    "request_of",
    "stream_of",
    "sync_body",
]

T = TypeVar("T")


class _Upstream(Protocol):
    """One call below."""

    async def open(self) -> ReplyHead:
        """Send the request and return the head of the reply."""

    async def read(self) -> bytes:
        """Return the next bytes of the reply, ``b""`` at its end."""

    async def close(self) -> None:
        """End the call, complete or not."""


class TransportCall:
    """One request through a transport; ``upstream`` opens the call below."""

    def __init__(self, library: Any, drive: Drive, upstream: Callable[[Send], _Upstream]) -> None:
        self._library, self._drive, self._upstream = library, drive, upstream
        self._reply: _Upstream | None = None
        self._todo: deque[Out] = deque()

    async def head(self, head: Head, body: Coroutine[Any, Any, In]) -> AnswerHead:
        """Return the head of the answer.

        Raises:
            Exception: the upstream cannot be reached: of the class that the transport below raises.
        """
        try:
            self._todo += await self._drive.step(head)
            if not self._drive.over:
                self._todo += await self._drive.step(await body)
        finally:
            body.close()
        while (out := await self._next()) is not None:
            if isinstance(out, AnswerHead):
                return out
        raise RuntimeError("the exchange ended without an answer")

    async def piece(self) -> bytes | None:
        """Return the next bytes of the answer, None at its end."""
        while (out := await self._next()) is not None:
            if isinstance(out, AnswerData):
                return out.data
        return None

    async def close(self) -> None:
        """End what is not at its end."""
        await self._hang_up()
        await self._drive.close()

    async def _next(self) -> Out | None:
        while True:
            while self._todo:
                out = self._todo.popleft()
                if isinstance(out, Send):
                    await self._send(out)
                elif isinstance(out, HangUp):
                    await self._hang_up()
                elif isinstance(out, AnswerEnd):
                    await self.close()
                    return None
                else:
                    return out
            if self._drive.over:
                return None
            if self._reply is None:
                self._todo += await self._drive.step(Failed(_INTERNAL))
            else:
                await self._read(self._reply)

    async def _send(self, send: Send) -> None:
        self._reply = self._upstream(send)
        head = await self._tried(self._reply.open)
        if head is not None:
            self._todo += await self._drive.step(head)

    async def _read(self, reply: _Upstream) -> None:
        data = await self._tried(reply.read)
        if data is not None:
            self._todo += await self._drive.step(ReplyData(data) if data else ReplyEnd())

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return what ``work`` returns, None where it fails after the answer has begun.

        Raises:
            Exception: it fails before that: an error of the same class, with none of the upstream's bytes in it.
        """
        try:
            return await work()
        except Exception as error:  # noqa: BLE001  told to the log, then to the client
            failed = error
        begun = self._drive.begun
        self._todo += await self._drive.step(Failed(_refusal(failed)))
        if begun:
            return None
        raise _without_content(self._library, failed)  # not in the handler: it has no context either

    async def _hang_up(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            with contextlib.suppress(Exception):  # it is over, one way or the other
                await reply.close()


class SyncUpstream:
    """A call over a sync transport; nothing in it waits."""

    def __init__(self, inner: Any, request: Any) -> None:
        self._inner, self._request = inner, request
        self._response: Any = None
        self._pieces: Iterator[bytes] = iter(())

    async def open(self) -> ReplyHead:
        """Send the request and return the head of the reply."""
        self._response = self._inner.handle_request(self._request)
        self._pieces = iter(self._response.stream)
        return _reply_head(self._response)

    async def read(self) -> bytes:
        """Return the next bytes of the reply, ``b""`` at its end."""
        return next((piece for piece in self._pieces if piece), b"")

    async def close(self) -> None:
        """End the call, complete or not."""
        if self._response is not None:
            self._response.stream.close()


class AsyncUpstream:
    """A call over an async transport."""

    def __init__(self, inner: Any, request: Any) -> None:
        self._inner, self._request = inner, request
        self._response: Any = None
        self._pieces: Any = None

    async def open(self) -> ReplyHead:
        """Send the request and return the head of the reply."""
        self._response = await self._inner.handle_async_request(self._request)
        self._pieces = aiter(self._response.stream)
        return _reply_head(self._response)

    async def read(self) -> bytes:
        """Return the next bytes of the reply, ``b""`` at its end."""
        async for piece in self._pieces:
            if piece:
                return bytes(piece)
        return b""

    async def close(self) -> None:
        """End the call, complete or not."""
        if self._response is not None:
            await self._response.stream.aclose()


# ── the two libraries, which have the same shapes ───────────────────────────────────────────────────────


def library_of(request: Any) -> Any:
    """Return the module ``httpx`` or ``httpx2`` that ``request`` is of."""
    for kind in type(request).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in {"httpx", "httpx2"}:
            return sys.modules[name]
    raise InputError("the request is of neither httpx nor httpx2")


def _reply_head(response: Any) -> ReplyHead:
    headers = tuple((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in response.headers.raw)
    return ReplyHead(response.status_code, headers)


def request_of(library: Any, request: Any, send: Send) -> Any:
    """Return what is sent in place of ``request``; timeouts and tracing stay as they are."""
    target = f"{send.path}?{send.query}" if send.query else send.path
    url = request.url.copy_with(raw_path=target.encode("ascii"))
    headers = [pair for pair in send.headers if pair[0] not in _OF_THE_CONNECTION]
    return library.Request(send.method, url, headers=headers, content=send.body, extensions=dict(request.extensions))


_OF_THE_CONNECTION = frozenset({"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding"})


class _Pieces:
    """The body of an answer, sync or async."""

    def __init__(self, pieces: Callable[[], Any], close: Callable[[], Any]) -> None:
        self._pieces, self._close = pieces, close

    def __iter__(self) -> Any:
        return self._pieces()

    def __aiter__(self) -> Any:
        return self._pieces()

    def close(self) -> Any:
        return self._close()

    def aclose(self) -> Any:
        return self._close()


@functools.cache
def stream_of(library: Any, kind: str) -> Any:
    """Return the class of a body that clients of ``library`` take; they ask whether it is one of their own."""
    return type("GuardedStream", (_Pieces, getattr(library, kind)), {})


async def sync_body(request: Any, limit: int) -> In:
    """Return the whole body of ``request``, or what to say of one over ``limit`` bytes; nothing in it waits."""
    data = bytearray()
    for piece in request.stream:
        data += piece
        if len(data) > limit:
            return _too_long(limit)
    return Body(bytes(data))


async def async_body(request: Any, limit: int) -> In:
    """Return the whole body of ``request``, or what to say of one over ``limit`` bytes."""
    data = bytearray()
    async for piece in request.stream:
        data += piece
        if len(data) > limit:
            return _too_long(limit)
    return Body(bytes(data))


def _too_long(limit: int) -> Failed:
    return Failed(ProxyRefusal("guard.proxy.size", 413, f"the body is over {limit} bytes"))


_INTERNAL = ProxyRefusal("guard.proxy.internal", 500, "the proxy failed")


def _without_content(library: Any, error: Exception) -> Exception:
    """Return an error of the same class that says nothing of what the upstream sent; libraries quote it."""
    kind = type(error) if isinstance(error, library.TransportError) else library.TransportError
    made: Exception = kind(_refusal(error).message)
    return made


def _refusal(error: Exception) -> ProxyRefusal:
    """Return what the log says of an upstream that failed; both libraries call their errors the same."""
    if any(kind.__name__ == "TimeoutException" for kind in type(error).__mro__):
        return ProxyRefusal("guard.proxy.upstream_time", 504, "the upstream took too long")
    return ProxyRefusal("guard.proxy.upstream", 502, "the upstream cannot be reached or broke off")
