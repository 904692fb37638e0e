"""The proxy as an ASGI app: one route that guards, one that says it is up, and no to everything else."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from trustplane.errors import InputError
from trustplane.guard.proxy.evidence import Evidence, OpenRequest, committable
from trustplane.guard.proxy.exchange import REQUEST_ID, Exchange, read_request
from trustplane.guard.proxy.refusal import ProxyRefusal, error_body
from trustplane.guard.proxy.upstream import check_origin
from trustplane.guard.text import TextGuard
from trustplane.settings import ProxySettings
from trustplane.step import Step

__all__ = ["build_app"]

UPSTREAM = "x-trustplane-upstream"
"""Request header that names the upstream where there are several; the first one is the default."""
PURPOSE = "chat"
GUARD_THREADS = 8
LOG_THREADS = 64


def build_app(
    *,
    upstreams: Mapping[str, str],
    guard: TextGuard,
    open_request: OpenRequest,
    settings: ProxySettings,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Starlette:
    """Return the ASGI app that stands before ``upstreams`` (name → origin) with ``guard``.

    ``open_request`` opens a request in the log. ``transport`` replaces the network, for tests.

    What holds: no text of a request reaches the upstream unless the guard has read it, and no request
    without its steps in the log; a failure of either is an error to the client. What does not: values
    that no rule finds go out; see :class:`~trustplane.guard.text.TextGuard` and
    :class:`~trustplane.guard.text.reply.Cleaner` for those in replies.

    Raises:
        InputError: no upstream, or one that is not a bare origin.
    """
    if not upstreams:
        raise InputError("the proxy needs an upstream", hint="--upstream openai=https://api.openai.com")
    origins = {name: check_origin(name, url) for name, url in upstreams.items()}
    client = httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    chat = Chat(origins=origins, guard=guard, open_request=open_request, settings=settings, client=client)
    return Starlette(
        routes=[Route("/v1/chat/completions", chat), Route("/healthz", _health, methods=["GET"])],
        exception_handlers={HTTPException: _http_error, Exception: _crash},
        lifespan=lifespan,
    )


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _refusal(rule: str, status: int, message: str) -> Response:
    request_id = _new_id()
    body = error_body(rule, status, message, request_id)
    return JSONResponse(body, status, headers={REQUEST_ID: request_id})


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _refusal("guard.proxy.route", status, "this path or method is not let through")


async def _crash(_request: Request, _error: Exception) -> Response:
    return _refusal("guard.proxy.internal", 500, "the proxy failed")


def _new_id() -> str:
    return "req-" + secrets.token_hex(12)


class ClientGone(Exception):  # noqa: N818  an event, not an error
    """The client hung up before its body was complete."""


class Chat:
    """The endpoint of /v1/chat/completions, as an ASGI app."""

    def __init__(
        self,
        *,
        origins: Mapping[str, str],
        guard: TextGuard,
        open_request: OpenRequest,
        settings: ProxySettings,
        client: httpx.AsyncClient,
    ) -> None:
        self._origins = origins
        self._guard = guard
        self._open = open_request
        self._settings = settings
        self._client = client
        self._guard_threads = anyio.CapacityLimiter(GUARD_THREADS)
        self._log_threads = anyio.CapacityLimiter(LOG_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; never raises for what a client or an upstream does."""
        request = Request(scope)
        headers = dict(request.headers)
        raw = b""
        body: dict[str, Any] = {}
        text = ""
        refusal: ProxyRefusal | None = None
        try:
            self._check_head(request, headers)
            raw = await self._read(headers, receive)
            body, text = read_request(raw)
        except ProxyRefusal as found:
            refusal = found
        except ClientGone:
            return
        request_id = _new_id()
        try:
            async with Evidence(
                lambda: self._open(request_id, purpose=PURPOSE, input=committable(text)), self._log_threads
            ) as evidence:
                exchange = Exchange(
                    request_id=request_id,
                    guard=self._guard,
                    evidence=evidence,
                    client=self._client,
                    origin=self._origin(headers) or "",
                    settings=self._settings,
                    limiter=self._guard_threads,
                    send=send,
                )
                if refusal is not None:
                    await exchange.refuse(refusal)
                else:
                    await self._until_gone(exchange, evidence, receive, raw, headers, body)
        except Exception:  # noqa: BLE001  the log could not be opened or closed: no answer without evidence
            response = _refusal("guard.proxy.log", 503, "the audit log cannot take the request now")
            with anyio.move_on_after(1):
                await _try_send(response, scope, receive, send)

    def _origin(self, headers: Mapping[str, str]) -> str | None:
        name = headers.get(UPSTREAM) or next(iter(self._origins))
        return self._origins.get(name)

    def _check_head(self, request: Request, headers: Mapping[str, str]) -> None:
        if request.method != "POST":
            raise ProxyRefusal("guard.proxy.route", 405, "this path takes POST only")
        if request.url.query:
            raise ProxyRefusal("guard.proxy.query", 400, "a query is not let through")
        kind, _, more = headers.get("content-type", "").partition(";")
        charset = more.replace(" ", "").replace('"', "").lower()
        if kind.strip().lower() != "application/json" or charset not in {"", "charset=utf-8"}:
            raise ProxyRefusal("guard.proxy.content_type", 415, "the content type is not application/json in UTF-8")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ProxyRefusal("guard.proxy.content_encoding", 415, "a compressed body is not let through")
        if self._origin(headers) is None:
            raise ProxyRefusal("guard.proxy.upstream_name", 404, f"{UPSTREAM} names no upstream of this proxy")

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        limit = self._settings.max_body_bytes
        too_long = ProxyRefusal("guard.proxy.size", 413, f"the body is over {limit} bytes")
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise too_long
        data = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            data += message.get("body", b"")
            if len(data) > limit:
                raise too_long
            if not message.get("more_body", False):
                return bytes(data)

    async def _until_gone(
        self,
        exchange: Exchange,
        evidence: Evidence,
        receive: Receive,
        raw: bytes,
        headers: dict[str, str],
        body: dict[str, Any],
    ) -> None:
        """Run the exchange; a client that hangs up ends it and with it the call to the upstream."""
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            try:
                await exchange.run(raw, headers, body)
            except ProxyRefusal as refusal:
                upstream = refusal.rule.startswith(("guard.proxy.upstream", "guard.proxy.reply", "guard.proxy.stream"))
                await exchange.refuse(refusal, "failed" if upstream else "blocked")
            except Exception:  # noqa: BLE001  fail closed; the error may hold content, so it goes nowhere
                await exchange.refuse(ProxyRefusal("guard.proxy.internal", 500, "the proxy failed"))
            group.cancel_scope.cancel()
        if not evidence.decided:
            await evidence.record(Step("guard.proxy.cancelled", "cancelled"))
            await evidence.decide("cancelled")


async def _try_send(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    with contextlib.suppress(Exception):  # the answer had begun, or the client is gone
        await response(scope, receive, send)
