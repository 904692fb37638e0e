"""Middleware: the guard before the LLM-shaped endpoints of a user's own Starlette or FastAPI app."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import anyio

from trustplane.errors import InputError
from trustplane.guard.proxy.events import (
    AnswerData,
    AnswerEnd,
    AnswerHead,
    Body,
    Failed,
    Gone,
    HangUp,
    Head,
    Headers,
    In,
    Out,
    ReplyData,
    ReplyEnd,
    ReplyHead,
    Send,
)  # fmt: skip
from trustplane.guard.proxy.faces.access import Access
from trustplane.guard.proxy.faces.drive import Drive, GuardedPlane, opened_inside
from trustplane.guard.proxy.faces.evidence import OpenRequest
from trustplane.guard.proxy.faces.work import Threads
from trustplane.guard.proxy.gate import Caller, Upstream
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.route import UPSTREAM
from trustplane.guard.proxy.wire.endpoint import Api, Endpoint
from trustplane.guard.proxy.wire.table import ENDPOINTS, find, find_api
from trustplane.guard.text.guarded import Guarded
from trustplane.settings import ProxySettings

__all__ = ["GuardMiddleware"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Sending = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Sending], Awaitable[None]]

INNER = "app"
"""The inner app's name as an upstream, in steps."""
METHODS = ("GET", "POST", "DELETE", "PUT", "PATCH")
_GUARDED = re.compile(r"/v1/|/openai/")
"""Where the paths of LLM APIs begin; what a vendor has elsewhere is given as ``paths``."""
_SLASHES = re.compile(r"/{2,}")
_ODD = re.compile(r"(?<![^/])(?!(?![^/]*\.\.)[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}(?:/|\Z))[^/]+")
"""A segment that the table of endpoints may not take for an id, and an app's router does."""
_REWRITTEN = frozenset({"accept-encoding", "connection", "content-encoding", "content-length", "transfer-encoding"})


class GuardMiddleware:
    """Guards the LLM-shaped endpoints of an ASGI app: ``app.add_middleware(GuardMiddleware, plane=plane)``.

    The inner app gets the masked body, and what it answers is restored: it can send the text to an LLM, keep it or log
    it. Guarded are the paths of ``apis`` below ``/v1/`` and ``/openai/``, and those of ``paths``, which says what shape
    an own path has: ``{"/chat": "openai.chat.completions", "/tools": "mcp"}``.

    What holds: on a guarded path nothing of a body or a query reaches the inner app unread, and no reply leaves it
    uncleaned; a WebSocket there is refused. What does not: **all other paths pass untouched**, and so do the headers of
    guarded ones; they are the app's own. Nor is what the app sends elsewhere by itself guarded: see
    :class:`~trustplane.guard.proxy.faces.transport.GuardTransport` for that.

    ``plane`` gives policy, settings, keys and log; without one ``guarded`` and ``open_request`` are needed. ``caller``
    says from the headers (names in lower case) whose request it is; by default a tenant is whoever shares a key, known
    by its digest. An app whose users have cookies gives its own, so that one cannot restore what another stored.

    Raises:
        InputError: neither a plane nor both of ``guarded`` and ``open_request``, or a shape that there is not.
    """

    def __init__(
        self,
        app: App,
        *,
        plane: GuardedPlane | None = None,
        guarded: Guarded | None = None,
        open_request: OpenRequest | None = None,
        key: bytes = b"",
        settings: ProxySettings | None = None,
        paths: Mapping[str, str] | None = None,
        apis: Collection[Api] = ("openai", "anthropic", "rerank"),
        caller: Callable[[Headers], Caller] | None = None,
    ) -> None:
        self.app = app
        self._inside = opened_inside(plane, guarded, open_request, key, settings)
        self._paths = {_plain(path): _shape(shape) for path, shape in (paths or {}).items()}
        self._apis = frozenset(apis)
        access = Access(key=self._inside.gate.key)
        self._caller = caller or (lambda headers: access.admit(headers).caller)
        self._work = Threads(self._inside.gate.settings.guard_seconds)

    def __repr__(self) -> str:
        return f"GuardMiddleware({self.app!r})"

    async def __call__(self, scope: Scope, receive: Receive, send: Sending) -> None:
        """Answer one request, or pass it on untouched."""
        shape = self._shape_of(scope) if scope["type"] in {"http", "websocket"} else None
        if shape is None or scope.get("method") in {"HEAD", "OPTIONS"}:  # they have no body, in no direction
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "guard.proxy.websocket"})
        else:
            await self._answer(scope, receive, send, *shape)

    def _shape_of(self, scope: Scope) -> tuple[str, Api] | None:
        """Return the path that an endpoint of that shape has, and whose it is; None if the path is not guarded.

        What counts is the path as the app's router reads it: decoded, below where it is mounted. A path of an endpoint
        with an id that none can be is guarded, too: the exchange then refuses it.
        """
        path = _plain(scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")))
        if path in self._paths:
            endpoint = self._paths[path]
            return endpoint.path, endpoint.api
        if _GUARDED.match(path):
            coded = quote(path, safe="/-._~:@!$'()*+,;=")
            shown = find_api(_headers(scope))
            for known in dict.fromkeys((coded, _ODD.sub("x", path))):
                for method in METHODS:
                    found = find(method, known, shown)
                    if found is not None and found.api in self._apis:
                        return coded, found.api
        return None

    async def _answer(self, scope: Scope, receive: Receive, send: Sending, path: str, api: Api) -> None:
        headers = tuple((n, v) for n, v in _headers(scope) if n != UPSTREAM)
        gate = self._inside.gate._replace(upstreams={INNER: Upstream(INNER, api, f"http://{INNER}")})
        refusal, caller = None, Caller()
        try:
            caller = self._caller(headers)
        except ProxyRefusal as error:
            refusal = error
        drive = Drive(self._inside, gate, caller, self._work)
        passage = _Passage(self.app, scope, receive, send, drive, path)
        try:
            if refusal is not None:
                await passage.give(await drive.step(Failed(refusal)))
            else:
                head = Head(scope["method"], path, scope["query_string"].decode("latin-1"), headers)
                await passage.run(head, gate.settings)
        finally:
            with anyio.CancelScope(shield=True):
                await drive.close()


class _Passage:
    """One request through to the inner app and its reply back."""

    def __init__(self, app: App, scope: Scope, receive: Receive, send: Sending, drive: Drive, path: str) -> None:
        self._app, self._scope, self._receive, self._send = app, scope, receive, send
        self._drive, self._path = drive, path
        self._turn = anyio.Lock()
        self._gone = anyio.Event()
        self._wanted: Send | None = None
        self._over = self._cut = False

    async def run(self, head: Head, settings: ProxySettings) -> None:
        """Answer the request.

        Raises:
            Exception: what the inner app raised, after the client was told that there is no answer.
        """
        await self.give(await self._drive.step(head))
        if self._over:
            return
        body = await self._read(settings)
        if body is None:
            return
        await self.give(await self._drive.step(body))
        if self._wanted is not None and not self._over:
            await self._call(self._wanted)

    async def give(self, found: Sequence[Out]) -> None:
        """Give out what there is to give out."""
        for number, out in enumerate(found):
            match out:
                case Send():
                    self._wanted = out
                case HangUp():
                    self._cut = True
                    self._gone.set()
                case AnswerHead():
                    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in out.headers]
                    await self._send({"type": "http.response.start", "status": out.status, "headers": raw})
                case AnswerData():
                    last = number + 1 < len(found) and isinstance(found[number + 1], AnswerEnd)
                    await self._send({"type": "http.response.body", "body": out.data, "more_body": not last})
                    self._over = last
                case AnswerEnd() if not self._over:
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                    self._over = True

    async def _read(self, settings: ProxySettings) -> In | None:
        """Return the body, or why there is none; None where the client is gone."""
        data, limit = bytearray(), settings.max_body_bytes
        with anyio.move_on_after(settings.body_seconds):
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    return None
                data += message.get("body", b"")
                if len(data) > limit:
                    return Failed(ProxyRefusal("guard.proxy.size", 413, f"the body is over {limit} bytes"))
                if not message.get("more_body", False):
                    return Body(bytes(data))
        return Failed(ProxyRefusal("guard.proxy.body_time", 408, "the body took too long"))

    # ── the inner app ───────────────────────────────────────────────────────────────────────────────

    async def _call(self, wanted: Send) -> None:
        body = [wanted.body]

        async def receive() -> MutableMapping[str, Any]:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        failed: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch)
            try:
                await self._app(self._inner_scope(wanted), receive, self._take)
            except Exception as error:  # noqa: BLE001  raised again below, when the client has its answer
                failed = error
            group.cancel_scope.cancel()
        if self._over or self._gone.is_set():
            if failed is not None and not isinstance(failed, OSError) and not self._gone.is_set():
                raise failed
            return
        await self._step(Failed(ProxyRefusal("guard.proxy.upstream", 502, "the app did not answer to the end")))
        if failed is not None:
            raise failed

    async def _take(self, message: MutableMapping[str, Any]) -> None:
        """Take what the inner app sends."""
        if self._cut or (self._gone.is_set() and not self._over):
            raise OSError("nobody takes this answer any more")  # as servers do, so that frameworks stop
        if message["type"] == "http.response.start":
            raw = message.get("headers", ())
            headers = tuple((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in raw)
            await self._step(ReplyHead(message["status"], headers))
        elif message["type"] == "http.response.body":
            data = message.get("body", b"")
            pieces: list[In] = [ReplyData(bytes(data))] if data else []
            await self._step(*pieces, *(() if message.get("more_body", False) else (ReplyEnd(),)))

    async def _step(self, *events: In) -> None:
        async with self._turn:
            await self.give(await self._drive.step(*events))

    async def _watch(self) -> None:
        """Tell exchange and inner app when the client hangs up."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
        async with self._turn:
            await self._drive.step(Gone())

    def _inner_scope(self, wanted: Send) -> Scope:
        scope = dict(self._scope)
        headers = [(n, v) for n, v in scope["headers"] if n.lower().decode("latin-1") not in _REWRITTEN]
        kinds = [(n.encode(), v.encode("latin-1")) for n, v in wanted.headers if n == "content-type"]
        if kinds:
            headers = [*((n, v) for n, v in headers if n.lower() != b"content-type"), *kinds]
        if wanted.body or wanted.method not in {"GET", "DELETE"}:
            headers.append((b"content-length", str(len(wanted.body)).encode()))
        scope.update(headers=headers, query_string=wanted.query.encode("latin-1"), extensions={})
        if wanted.path != self._path:  # an id in it was masked
            root = scope.get("root_path", "")
            path = (root if scope["path"].startswith(root) else "") + unquote(wanted.path)
            scope.update(path=path, raw_path=quote(path).encode())
        return scope


def _headers(scope: Mapping[str, Any]) -> Headers:
    return tuple((n.decode("latin-1").lower(), v.decode("latin-1")) for n, v in scope["headers"])


def _plain(path: str) -> str:
    """Return a path as routers take it at their most lenient: no doubled slash, none at the end, and no line feed
    there, before which ``$`` matches, too (Starlette's routes).
    """
    return _SLASHES.sub("/", path).rstrip("/\n") or "/"


def _shape(name: str) -> Endpoint:
    known = {f"{e.api}.{e.name}": e for e in ENDPOINTS if "{id}" not in e.path}
    known["mcp"] = known["mcp.mcp"]
    if name not in known:
        raise InputError(f"there is no shape {name[:64]}", hint="such as openai.chat.completions or anthropic.messages")
    return known[name]
