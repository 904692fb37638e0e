"""Transports: LLM SDKs guarded inside the process, over ``httpx`` or ``httpx2``, sync or async."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from types import TracebackType
from typing import Any, Literal, Self, get_args

import anyio

from trustplane.errors import InputError, missing_extra
from trustplane.guard.proxy.events import Head
from trustplane.guard.proxy.faces.call import (
    AsyncUpstream,
    SyncUpstream,
    TransportCall,
    async_body,
    library_of,
    request_of,
    stream_of,
    sync_body,
)
from trustplane.guard.proxy.faces.drive import Drive, GuardedPlane, opened_inside
from trustplane.guard.proxy.faces.evidence import OpenRequest
from trustplane.guard.proxy.faces.work import Inline, Threads, now
from trustplane.guard.proxy.gate import Caller, Upstream
from trustplane.guard.proxy.wire.endpoint import Api
from trustplane.guard.proxy.wire.table import find, find_api
from trustplane.guard.text.guarded import Guarded
from trustplane.settings import ProxySettings

__all__ = ["AsyncGuardTransport", "GuardTransport", "guarded_client"]

Library = Literal["httpx2", "httpx"]


class _Transport:
    """What both transports share: the gate, and how a request becomes an exchange."""

    _made: type[Inline | Threads] = Threads

    def __init__(
        self,
        plane: GuardedPlane | None = None,
        *,
        guarded: Guarded | None = None,
        open_request: OpenRequest | None = None,
        key: bytes = b"",
        settings: ProxySettings | None = None,
        inner: Any = None,
        api: Api | Literal[""] = "",
        caller: Caller | None = None,
    ) -> None:
        self._inside = opened_inside(plane, guarded, open_request, key, settings)
        self._work = self._made(self._inside.gate.settings.guard_seconds)
        self._caller = caller or Caller(purpose="chat")
        self._api, self._inner, self._lock = api, inner, threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _inner_of(self, request: Any, kind: str) -> Any:
        """Return the transport below, by default one of the library that the request is of."""
        with self._lock:
            if self._inner is None:
                self._inner = getattr(library_of(request), kind)()
            return self._inner

    def _opened(self, request: Any) -> tuple[Drive, Head]:
        url = request.url
        path, _, query = url.raw_path.decode("ascii").partition("?")
        headers = tuple((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in request.headers.raw)
        hint = self._api or find_api(headers)
        endpoint = find(request.method, path, hint)
        api: Any = endpoint.api if endpoint is not None else hint or "openai"
        upstream = Upstream(api, api, f"{url.scheme}://{url.netloc.decode('ascii')}")
        gate = self._inside.gate._replace(upstreams={api: upstream})
        return Drive(self._inside, gate, self._caller, self._work), Head(request.method, path, query, headers)


class GuardTransport(_Transport):
    """Guards what a sync client of ``httpx`` or ``httpx2`` sends to an LLM API, and what comes back.

    ``OpenAI(http_client=httpx2.Client(transport=GuardTransport(plane)))``; the same for ``Anthropic``. ``plane`` gives
    policy, settings, keys and log; without one ``guarded`` and ``open_request`` are needed, and a ``key`` of 32 bytes
    if pseudonyms of files and batches are to outlive the process. ``inner``: the transport below, by default
    ``HTTPTransport()`` of the client's library. ``api``: for endpoints that do not show whose they are, such as
    ``mcp``. ``caller``: whose requests these are; one transport serves one tenant.

    What holds: nothing of a request leaves before the guard has read all of it and the log has its steps. A refusal
    comes back as that API's error response, so that an SDK raises what it always raises. Where the upstream cannot be
    reached, an exception of the class that ``inner`` raises says so. What does not: a client is guarded only if all it
    sends goes this way; a client that has ``mounts`` sends past it.

    Raises:
        InputError: neither a plane nor both of ``guarded`` and ``open_request``, or a key that is not 32 bytes long.
    """

    _made = Inline
    _work: Inline

    def handle_request(self, request: Any) -> Any:
        """Return the response to ``request``; its body is streamed as it comes."""
        library = library_of(request)
        inner = self._inner_of(request, "HTTPTransport")
        drive, head = self._opened(request)
        call = TransportCall(library, drive, lambda send: SyncUpstream(inner, request_of(library, request, send)))

        def close() -> None:
            now(call.close())

        try:
            answer = now(call.head(head, sync_body(request, self._inside.gate.settings.max_body_bytes)))
        except BaseException:
            close()
            raise

        def pieces() -> Iterator[bytes]:
            while (piece := now(call.piece())) is not None:
                yield piece

        stream = stream_of(library, "SyncByteStream")(pieces, close)
        return library.Response(answer.status, headers=list(answer.headers), stream=stream)

    def close(self) -> None:
        """Close the transport below."""
        self._work.close()
        if self._inner is not None:
            self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()


class AsyncGuardTransport(_Transport):
    """Guards an async client of ``httpx`` or ``httpx2``; see :class:`GuardTransport`. Guard and log run in threads."""

    async def handle_async_request(self, request: Any) -> Any:
        """Return the response to ``request``; its body is streamed as it comes."""
        library = library_of(request)
        inner = self._inner_of(request, "AsyncHTTPTransport")
        drive, head = self._opened(request)
        call = TransportCall(library, drive, lambda send: AsyncUpstream(inner, request_of(library, request, send)))

        async def close() -> None:
            with anyio.CancelScope(shield=True):
                await call.close()

        try:
            answer = await call.head(head, async_body(request, self._inside.gate.settings.max_body_bytes))
        except BaseException:
            await close()
            raise

        async def pieces() -> AsyncIterator[bytes]:
            while (piece := await call.piece()) is not None:
                yield piece

        stream = stream_of(library, "AsyncByteStream")(pieces, close)
        return library.Response(answer.status, headers=list(answer.headers), stream=stream)

    async def aclose(self) -> None:
        """Close the transport below."""
        if self._inner is not None:
            await self._inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        await self.aclose()


def guarded_client(
    plane: GuardedPlane | None = None, *, library: Library = "httpx2", asynchronous: bool = False, **options: Any
) -> Any:
    """Return a client whose every request is guarded: ``OpenAI(http_client=guarded_client(plane))``.

    ``library``: ``httpx2``, which today's SDKs ride on, or ``httpx``. ``asynchronous``: for ``AsyncOpenAI`` and its
    like. Options of :class:`GuardTransport` go to it, all others to the client.

    Raises:
        InputError: see :class:`GuardTransport`, or an option by which requests would go past the guard.
    """
    past = sorted({"mounts", "proxy", "transport"} & {name for name, value in options.items() if value is not None})
    if past:
        raise InputError(f"a guarded client does not take {past[0]}", hint="give a transport of your own as inner=")
    if library not in get_args(Library):
        raise InputError("the library of a guarded client is none that is known", hint="httpx2 or httpx")
    own = {name: options.pop(name) for name in _OPTIONS if name in options}
    try:
        found = import_module(library)
    except ImportError:
        raise missing_extra(library, "proxy") from None
    if asynchronous:
        return found.AsyncClient(transport=AsyncGuardTransport(plane, **own), **options)
    return found.Client(transport=GuardTransport(plane, **own), **options)


_OPTIONS = ("guarded", "open_request", "key", "settings", "inner", "api", "caller")
