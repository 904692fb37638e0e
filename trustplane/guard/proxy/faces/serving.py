"""Serving: one request of the ASGI app, from its body to the end of its answer, whatever happens on the way."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from trustplane.guard.proxy.events import (
    AnswerData,
    AnswerEnd,
    AnswerHead,
    Body,
    Decide,
    Failed,
    Gone,
    HangUp,
    Head,
    Headers,
    Hold,
    In,
    Note,
    Open,
    Out,
    ReceiptComment,
    ReplyData,
    ReplyEnd,
    ReplyHead,
    Send,
)  # fmt: skip
from trustplane.guard.proxy.exchange import LOG_RULE, REQUEST_ID, Exchange
from trustplane.guard.proxy.faces.access import Admitted
from trustplane.guard.proxy.faces.asgi import Message, Receive, Scope, SendMessage, head_of
from trustplane.guard.proxy.faces.evidence import Evidence, encode_receipt
from trustplane.guard.proxy.faces.spans import Span
from trustplane.guard.proxy.faces.upstream import Call, request_headers
from trustplane.guard.proxy.gate import Caller
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.review import TICKET, Held, answered
from trustplane.guard.proxy.wire.errors import error_body
from trustplane.guard.proxy.wire.table import find, find_api

if TYPE_CHECKING:
    from trustplane.guard.proxy.faces.app import ProxyApp

__all__ = ["Serving"]

T = TypeVar("T")

RECEIPT = "x-trustplane-receipt"
BYTES_A_SECOND = 50_000
"""A long body or reply may take longer than ``proxy.guard_seconds``, by a second for so many bytes."""
INLINE_BYTES = 8 * 1024
"""Up to here the guard works in the event loop: a thread costs more than the search."""
REST_SECONDS = 1.0
"""How long the rest of a stream is read after its end, so that its connection can be used again."""


class ClientGone(Exception):  # noqa: N818  an event, not an error
    """The client hung up."""


class LogFailed(Exception):  # noqa: N818  it never leaves this module
    """The log did not take something; its own error may hold anything, so it is dropped."""


class Serving:
    """One request being served."""

    def __init__(self, app: ProxyApp, scope: Scope, receive: Receive, send: SendMessage) -> None:
        self._app, self._scope, self._receive, self._send = app, scope, receive, send
        self._id = "req-" + secrets.token_hex(12)
        self._settings = app.gate.settings
        self._admitted = Admitted(Caller(), {})
        self._exchange: Exchange
        self._evidence: Evidence
        self._task: asyncio.Task[Any] | None = None
        self._gone = self._waiting = self._started = self._over = self._log_failed = False
        self._receipt = self._ticket = self._outcome = ""
        self._held_back: bytes | None = None
        self._to_send: Send | None = None
        self._hold: Hold | None = None
        self._call: Call | None = None
        self._span: Span | None = None

    async def run(self) -> None:
        """Serve the request."""
        app = self._app
        head = head_of(self._scope)
        if app.in_flight >= self._settings.max_concurrent:
            await self._deny(head, ProxyRefusal("guard.proxy.busy", 503, "too many requests at once"), "busy")
            return
        try:
            self._admitted = app.access.admit(head.headers)
        except ProxyRefusal as refusal:
            await self._deny(head, refusal, "denied")
            return
        app.in_flight += 1
        app.metrics.in_flight.inc()
        self._task = asyncio.current_task()
        caller = self._admitted.caller
        self._exchange = Exchange(app.gate, caller, self._id)
        promise = self._settings.receipt == "promise"
        self._evidence = Evidence(app.open_request, self._id, promise=promise, mode=caller.mode)
        watch: asyncio.Task[None] | None = None
        try:
            await self._feed(head)
            body = b"" if self._over else await self._body(head.headers)
            if not self._over:
                watch = asyncio.create_task(self._watch())
                await self._serve(body)
        except ClientGone:
            await self._last(Gone())
        except asyncio.CancelledError:  # the server stops, or the client went while nothing was waited for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._last(Gone())
            if not self._was_gone():
                raise
        except Exception:  # noqa: BLE001  fail closed; the error may hold content, so it goes nowhere
            await self._last(Failed(ProxyRefusal("guard.proxy.internal", 500, "the proxy failed")))
        finally:
            if watch is not None:
                watch.cancel()
            await self._finish()

    async def _serve(self, body: bytes) -> None:
        await self._feed(Body(body), size=len(body))
        if self._hold is not None:
            await self._review(self._hold, len(body))
        if self._to_send is not None and not self._over:
            await self._upstream(self._to_send)

    async def _finish(self) -> None:
        app = self._app
        if self._call is not None:
            self._call.close()
        with contextlib.suppress(Exception):  # the log is broken; the client was told
            await self._evidence.close()
        endpoint = self._exchange.endpoint
        name = endpoint.name if endpoint is not None else "none"
        app.metrics.request(name, self._outcome or "gone", self._admitted.caller.tenant)
        app.metrics.in_flight.dec()
        app.in_flight -= 1
        depth = getattr(app.open_request, "depth", None)
        if depth is not None:
            app.metrics.queue.set(depth())
        if self._span is not None:
            self._span.end(self._outcome or "gone", self._id)

    # ── the client ──────────────────────────────────────────────────────────────────────────────────

    async def _body(self, headers: Headers) -> bytes:
        limit = self._settings.max_body_bytes
        declared = next((value for name, value in headers if name == "content-length"), "0")
        data: bytes | bytearray = b""
        if not declared.isdigit() or int(declared) <= limit:
            try:
                async with asyncio.timeout(self._settings.body_seconds):
                    while True:
                        message = await self._receive()
                        if message["type"] == "http.disconnect":
                            self._gone = True
                            raise ClientGone
                        piece = message.get("body", b"")
                        more = message.get("more_body", False)
                        if not data and not more and len(piece) <= limit:
                            return bytes(piece)
                        data = bytearray(data) if isinstance(data, bytes) else data
                        data += piece
                        if len(data) > limit:
                            break
                        if not more:
                            return bytes(data)
            except TimeoutError:
                late = ProxyRefusal("guard.proxy.body_time", 408, "the body took too long")
                await self._feed(Failed(late))
                return b""
        await self._feed(Failed(ProxyRefusal("guard.proxy.size", 413, f"the body is over {limit} bytes")))
        return b""

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._waiting and self._task is not None:
            self._task.cancel()

    def _was_gone(self) -> bool:
        """Return whether this task was cancelled because the client went, and not by the server as well."""
        return self._gone and self._task is not None and self._task.uncancel() == 0

    async def _unless_gone(self, work: Awaitable[T]) -> T:
        """Wait for ``work``, which a client that hangs up ends."""
        if self._gone:
            if asyncio.iscoroutine(work):
                work.close()
            raise ClientGone
        self._waiting = True
        try:
            return await work
        except asyncio.CancelledError:
            if self._was_gone():
                raise ClientGone from None
            raise
        finally:
            self._waiting = False

    async def _deny(self, head: Head, refusal: ProxyRefusal, outcome: str) -> None:
        """Answer what is not let in; there is no request in the log for it, or strangers could fill it."""
        self._app.metrics.request("none", outcome, "")
        endpoint = find(head.method, head.path)
        api = endpoint.api if endpoint is not None else find_api(head.headers)
        data = error_body(api, refusal, self._id)
        more: Headers = ()
        if refusal.after:
            more = (("retry-after", str(int(refusal.after) + 1)),)
        elif outcome == "busy":
            more = (("retry-after", "1"),)
        headers = (
            ("content-type", "application/json"),
            ("content-length", str(len(data))),
            (REQUEST_ID, self._id),
            *more,
        )
        await self._start(AnswerHead(refusal.status, headers, False))
        await self._emit({"type": "http.response.body", "body": data, "more_body": False})

    async def _emit(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError:
            self._gone = True
            raise ClientGone from None

    async def _start(self, head: AnswerHead) -> None:
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in head.headers]
        if head.receipt and self._receipt:
            raw.append((RECEIPT.encode(), encode_receipt(self._receipt).encode()))
        if self._ticket:
            raw.append((TICKET.encode(), self._ticket.encode()))
        self._started = True
        await self._emit({"type": "http.response.start", "status": head.status, "headers": raw})

    # ── the exchange ────────────────────────────────────────────────────────────────────────────────

    async def _feed(self, event: In, *, size: int = 0) -> None:
        """Feed one event and do what comes out; what the log does not take ends the exchange."""
        try:
            found = await self._guarded(event, size)
        except ProxyRefusal as late:
            found = self._exchange.feed(Failed(late))
        while found:
            try:
                await self._do(found)
                return
            except LogFailed:  # nothing goes on without the log
                if self._log_failed:
                    return
                self._log_failed, self._to_send, self._hold = True, None, None
                refusal = ProxyRefusal(LOG_RULE, 503, "the audit log cannot take the request now")
                found = self._exchange.feed(Failed(refusal))

    async def _last(self, event: In) -> None:
        """Feed what ends an exchange that has failed; whatever else fails now is no news to anyone."""
        with contextlib.suppress(Exception):
            await self._feed(event)

    async def _guarded(self, event: In, size: int) -> list[Out]:
        if isinstance(event, Failed | Gone | Head | ReplyHead):
            return self._exchange.feed(event)
        begun = time.perf_counter()
        if self._app.inline and size <= INLINE_BYTES:
            found = self._exchange.feed(event)
        else:
            exchange = self._exchange
            seconds = self._settings.guard_seconds + size / BYTES_A_SECOND
            found = await self._app.threads.run(lambda: exchange.feed(event), seconds)
        part = "request" if isinstance(event, Body) else "reply"
        self._app.metrics.guard(part, time.perf_counter() - begun)
        return found

    async def _do(self, found: Sequence[Out]) -> None:
        for out in found:
            match out:
                case Note():
                    await self._note(out)
                case Open():
                    await _logged(self._evidence.open(out.input, out.purpose))
                case Decide():
                    self._outcome = out.outcome
                    receipt = not self._gone
                    self._receipt = await _logged(self._evidence.decide(out.outcome, out.output, receipt=receipt))
                case AnswerHead():
                    await self._start(out)
                case AnswerData():
                    await self._write(out.data)
                case ReceiptComment():
                    if self._receipt:
                        await self._write(f": {RECEIPT} {encode_receipt(self._receipt)}\n\n".encode())
                case AnswerEnd():
                    self._over = True
                    data, self._held_back = self._held_back or b"", None
                    await self._emit({"type": "http.response.body", "body": data, "more_body": False})
                case Send():
                    self._to_send = out
                case Hold():
                    self._hold = out
                case HangUp():
                    if self._call is not None:
                        self._call.close()
                        self._call = None
        if self._held_back is not None:
            await self._flush()

    async def _note(self, note: Note) -> None:
        self._app.metrics.steps(note.steps)
        if self._span is not None:
            self._span.steps(note.steps)
        await _logged(self._evidence.note(note.steps))

    async def _write(self, data: bytes) -> None:
        """Write one piece behind, so that the last one and the end go out together."""
        if self._held_back is not None:
            await self._flush()
        self._held_back = data

    async def _flush(self) -> None:
        data, self._held_back = self._held_back, None
        await self._emit({"type": "http.response.body", "body": data, "more_body": True})

    async def _review(self, hold: Hold, size: int) -> None:
        self._hold = None
        app, settings = self._app, self._settings
        if app.reviews is None:
            await self._feed(Failed(ProxyRefusal("guard.proxy.review", 403, "a person has to approve this request")))
            return
        endpoint = self._exchange.endpoint
        held = Held(
            app.reviews, hold,
            request_id=self._id,
            tenant=self._admitted.caller.tenant,
            endpoint=endpoint.name if endpoint is not None else "",
            given=next((v for n, v in head_of(self._scope).headers if n == TICKET), ""),
            seconds=settings.review_seconds if settings.review == "hold" else 0,
        )  # fmt: skip
        app.metrics.held.inc()
        try:
            found = await self._unless_gone(answered(held, asyncio.to_thread))
        finally:
            app.metrics.held.dec()
        self._ticket = found.ticket
        await self._feed(found.event, size=size)

    # ── the upstream ────────────────────────────────────────────────────────────────────────────────

    async def _upstream(self, send: Send) -> None:
        app = self._app
        upstream = app.gate.upstreams[send.upstream]
        headers = request_headers(upstream.api, send.headers, self._admitted.provider_keys.get(send.upstream, ""))
        if app.spans is not None:
            endpoint = self._exchange.endpoint
            self._span = app.spans.begin(endpoint.name if endpoint else "", upstream, self._exchange.model)
        begun = time.perf_counter()
        try:
            call = self._call = await self._unless_gone(app.calls.call(upstream.origin, send, headers))
            app.metrics.upstream("head", time.perf_counter() - begun)
            await self._feed(ReplyHead(call.status, call.headers))
            total = 0
            while not self._over:
                data = await self._unless_gone(call.read())
                if not data:
                    app.metrics.upstream("end", time.perf_counter() - begun)
                    await self._feed(ReplyEnd(), size=0 if self._started else total)
                    break
                total += len(data)
                if total > self._settings.max_reply_bytes and not self._started:
                    raise ProxyRefusal("guard.proxy.reply_size", 502, "the upstream's reply is too long")
                await self._feed(ReplyData(data), size=len(data))
        except ProxyRefusal as refusal:
            await self._feed(Failed(refusal))
        if self._call is not None and not self._gone:
            await self._rest(self._call)

    async def _rest(self, call: Call) -> None:
        """Read what comes after the end of a stream, so that the connection can be used again."""
        with contextlib.suppress(TimeoutError, ProxyRefusal):
            async with asyncio.timeout(REST_SECONDS):
                for _ in range(8):
                    if not await call.read():
                        return


async def _logged(work: Awaitable[T]) -> T:
    try:
        return await work
    except Exception:  # noqa: BLE001  a log may raise anything
        raise LogFailed from None
