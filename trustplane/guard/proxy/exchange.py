"""One exchange: a request in, hidden, sent; the reply restored; each stage a step in the log."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import httpx
from anyio import to_thread
from starlette.types import Send

from trustplane.guard.proxy.body import check_shape, dump, hide_body, parse, prompt_text
from trustplane.guard.proxy.evidence import Evidence
from trustplane.guard.proxy.refusal import ProxyRefusal, error_bytes
from trustplane.guard.proxy.reply import ReplyStream, clean_reply
from trustplane.guard.proxy.sse import EventParser, event
from trustplane.guard.proxy.upstream import opened, read_all, reply_headers, request_headers
from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.guard import count_facts
from trustplane.settings import ProxySettings
from trustplane.step import Step

__all__ = ["Exchange", "read_request"]

T = TypeVar("T")

DONE = "[DONE]"
RECEIPT = "x-trustplane-receipt"
REQUEST_ID = "x-trustplane-request-id"


def read_request(raw: bytes) -> tuple[dict[str, Any], str]:
    """Return the body and its prompt text, or raise ProxyRefusal."""
    try:
        body = check_shape(parse(raw))
        return body, prompt_text(body)
    except (TypeError, AttributeError, KeyError, ValueError):  # a shape that the checks do not know
        raise ProxyRefusal("shape", 400, "the request has a shape that the proxy does not know") from None


def encode_receipt(receipt: str) -> str:
    """Return a receipt as it stands in a header: base64url without padding."""
    return base64.urlsafe_b64encode(receipt.encode()).rstrip(b"=").decode()


class Exchange:
    """Carries one request through; everything it needs comes as an argument.

    Any failure before the reply begins becomes an error in OpenAI's form; after that, an error event
    that ends the stream. Nothing is sent before its steps are in the log.
    """

    def __init__(
        self,
        *,
        request_id: str,
        guard: TextGuard,
        evidence: Evidence,
        client: httpx.AsyncClient,
        origin: str,
        settings: ProxySettings,
        limiter: anyio.CapacityLimiter,
        send: Send,
    ) -> None:
        self._id = request_id
        self._guard = guard
        self._evidence = evidence
        self._client = client
        self._origin = origin
        self._settings = settings
        self._limiter = limiter
        self._send = send
        self._started = False
        self._streaming = False

    async def run(self, raw: bytes, headers: dict[str, str], body: dict[str, Any]) -> None:
        """Hide, send, restore, answer."""
        await self._evidence.record(
            Step(
                "guard.proxy.received",
                facts={"bytes": len(raw), "messages": len(body["messages"]), "streamed": bool(body.get("stream"))},
            )
        )
        session = self._guard.session()
        hidden = await self._guarded(lambda: hide_body(body, self._guard, session))
        facts = count_facts(hidden.counts)
        sent: dict[str, Any] = {"host": urlsplit(self._origin).netloc[:256]}
        if hidden.store_off:
            sent["store_turned_off"] = True
        await self._evidence.record(
            Step("guard.text.detect", "found" if facts else "clean", agents=self._guard.refs, facts=facts),
            Step("guard.text.hide", "masked" if facts else "clean", facts={"masked": hidden.counts.total()}),
            Step("guard.proxy.sent", agents=self._guard.refs, facts=sent),
        )
        begun = time.monotonic()
        seconds = float(self._settings.upstream_seconds)
        data = dump(hidden.body).encode()
        async with opened(self._client, self._origin, data, request_headers(headers), seconds) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code == 200 and body.get("stream") and kind == "text/event-stream":
                await self._stream(response, session, begun)
            else:
                await self._plain(response, session, begun, seconds)

    async def refuse(self, refusal: ProxyRefusal, result: str = "blocked") -> None:
        """Record a refusal, decide, and tell the client; if the log fails, only tell the client."""
        receipt = ""
        try:
            await self._evidence.record(
                Step("guard.proxy.refused", result, facts={"rule": refusal.rule, "status": refusal.status})
            )
            if not self._evidence.decided:
                receipt = await self._evidence.decide(result)
        except Exception:  # noqa: BLE001  the log is why we refuse, or will not take the refusal: still no answer
            refusal = ProxyRefusal("guard.proxy.log", 503, "the audit log cannot take the request now")
        with contextlib.suppress(OSError):  # the client is gone
            if self._streaming:
                await self._write(event(error_bytes(refusal, self._id).decode()), more=False)
            elif not self._started:
                await self._answer(refusal.status, error_bytes(refusal, self._id), {}, receipt)

    async def _guarded(self, work: Callable[[], T]) -> T:
        """Run guard work in a thread within the time limit; whatever goes wrong is a refusal."""
        try:
            with anyio.fail_after(self._settings.guard_seconds):
                return await to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)
        except ProxyRefusal:
            raise
        except TimeoutError:
            raise ProxyRefusal("guard.proxy.guard_time", 503, "the guard took too long") from None
        except Exception:  # noqa: BLE001  fail closed: a guard that crashes blocks, and its error may hold content
            raise ProxyRefusal("guard.proxy.guard_failed", 500, "the guard failed") from None

    async def _replied(self, status: int, begun: float, restored: int, masked: int, *, result: str) -> None:
        facts = {
            "latency_us": int((time.monotonic() - begun) * 1_000_000),
            "masked": masked,
            "restored": restored,
            "status": status,
        }
        await self._evidence.record(Step("guard.proxy.replied", result, facts=facts))

    async def _plain(self, response: httpx.Response, session: Session, begun: float, seconds: float) -> None:
        status = response.status_code
        try:
            with anyio.fail_after(seconds):
                data = await read_all(response)
        except TimeoutError:
            raise ProxyRefusal("guard.proxy.upstream_time", 504, "the upstream took too long") from None
        if not (status == 200 or 400 <= status <= 599):
            raise ProxyRefusal("guard.proxy.upstream_status", 502, "the upstream answered with an unknown status")
        value, tally = await self._guarded(lambda: clean_reply(data, session))
        if status == 200 and not isinstance(value.get("choices"), list):
            raise ProxyRefusal("guard.proxy.reply_shape", 502, "the upstream's reply has no choices")
        result = "answered" if status == 200 else "failed"
        await self._replied(status, begun, tally.restored, tally.masked, result=result)
        receipt = await self._evidence.decide(result, _texts(value))
        headers = reply_headers(response.headers.multi_items())
        await self._answer(status, dump(value).encode(), headers, receipt)

    async def _stream(self, response: httpx.Response, session: Session, begun: float) -> None:
        parser, reply = EventParser(), ReplyStream(session)
        await self._start(200, "text/event-stream; charset=utf-8", reply_headers(response.headers.multi_items()))
        self._streaming = True
        ended = False
        async for piece in response.aiter_bytes():
            found = parser.feed(piece)
            ended = await self._pass_on(found, reply)
            if ended:
                break
        if not ended:
            ended = await self._pass_on(parser.close(), reply)
        if not ended:  # cut off: what came must not look complete
            raise ProxyRefusal("guard.proxy.upstream_broke", 502, "the upstream's stream ended before its end")
        out = "".join(map(_event_text, await self._guarded(reply.close)))
        await self._replied(200, begun, reply.restored, reply.masked, result="answered")
        receipt = await self._evidence.decide("answered", reply.text)
        end = f": {RECEIPT} {encode_receipt(receipt)}\n\n".encode() + event(DONE)
        await self._write(out.encode() + end, more=False)

    async def _pass_on(self, found: list[str], reply: ReplyStream) -> bool:
        """Clean the events and give them out; return whether the last one was the end."""
        ended = DONE in found
        if ended:
            found = found[: found.index(DONE)]
        if found:
            out = await self._guarded(lambda: [line for data in found for line in reply.feed(data)])
            if out:
                await self._write("".join(map(_event_text, out)).encode(), more=True)
        return ended

    async def _start(self, status: int, kind: str, headers: dict[str, str]) -> None:
        self._started = True
        everything = {**headers, "content-type": kind, REQUEST_ID: self._id, "cache-control": "no-store"}
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in everything.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _answer(self, status: int, data: bytes, headers: dict[str, str], receipt: str) -> None:
        more = {**headers, "content-length": str(len(data))}
        if receipt:
            more[RECEIPT] = encode_receipt(receipt)
        await self._start(status, "application/json", more)
        await self._write(data, more=False)

    async def _write(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


def _event_text(data: str) -> str:
    return event(data).decode()


def _texts(value: dict[str, Any]) -> str:
    """Return the content of all choices, one per line: what the log commits to as the output."""
    choices = value.get("choices")
    found: list[str] = []
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            found.append(content)
    return "\n".join(found)
