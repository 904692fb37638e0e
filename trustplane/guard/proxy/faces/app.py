"""The proxy as an ASGI app: health, the operators' pages, and an exchange for everything else."""

from __future__ import annotations

import json

from trustplane.guard.proxy.events import Body, Head, ReplyData, ReplyEnd, ReplyHead
from trustplane.guard.proxy.exchange import Exchange
from trustplane.guard.proxy.faces.access import Access
from trustplane.guard.proxy.faces.asgi import Receive, Scope, SendMessage
from trustplane.guard.proxy.faces.evidence import OpenRequest
from trustplane.guard.proxy.faces.limits import GuardThreads
from trustplane.guard.proxy.faces.metrics import Metrics
from trustplane.guard.proxy.faces.pages import Pages
from trustplane.guard.proxy.faces.serving import Serving
from trustplane.guard.proxy.faces.spans import Spans
from trustplane.guard.proxy.faces.upstream import AioCalls, Calls
from trustplane.guard.proxy.gate import Caller, Gate, Upstream
from trustplane.guard.text.guard import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.ports import Reviews

__all__ = ["ProxyApp", "build_app", "warm_up"]

_SAMPLE = "I am Ada Lovelace of London, ada@example.com. 联系人：张伟，电话13800138000。"


def build_app(
    gate: Gate,
    *,
    open_request: OpenRequest,
    access: Access | None = None,
    calls: Calls | None = None,
    metrics: Metrics | None = None,
    spans: Spans | None = None,
    reviews: Reviews | None = None,
    pages: Pages | None = None,
) -> ProxyApp:
    """Return the proxy as an ASGI app.

    ``open_request`` opens a request in the log. ``access``: who may use it; by default everyone, with the key they
    bring. ``calls``: how upstreams are called, for tests. ``reviews``: the port to people; without it what they would
    have to see is refused. ``pages``: status, metrics and receipts for operators.

    What holds: nothing of a request reaches an upstream unless the guard has read it, and no request goes on without
    its steps in the log; whatever fails is an error to the client. What does not: values that no rule finds.

    Raises:
        InputError: an extra is missing, or the access file names an upstream that is not there.
    """
    access = access or Access(key=gate.key)
    access.check(gate.upstreams)
    calls = calls or AioCalls(gate.settings)
    return ProxyApp(gate, open_request, access, calls, metrics or Metrics(), spans, reviews, pages or Pages(gate))


class ProxyApp:
    """The app: health, the operators' pages, and an exchange for everything else."""

    def __init__(
        self, gate: Gate, open_request: OpenRequest, access: Access, calls: Calls, metrics: Metrics,
        spans: Spans | None, reviews: Reviews | None, pages: Pages,
    ) -> None:  # fmt: skip
        self.gate, self.open_request, self.access, self.calls = gate, open_request, access, calls
        self.metrics, self.spans, self.reviews, self.pages = metrics, spans, reviews, pages
        self.threads = GuardThreads()
        self.inline = _short(gate.guarded)
        self.in_flight = 0
        pages.metrics = metrics

    def __repr__(self) -> str:
        return f"ProxyApp({', '.join(self.gate.upstreams)})"

    async def __call__(self, scope: Scope, receive: Receive, send: SendMessage) -> None:
        """Serve one request, or the life of the server; never raises for what a client or an upstream does."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == "/healthz" or path == "/trustplane" or path.startswith("/trustplane/"):
                await self.pages(scope, send)
                return
            await Serving(self, scope, receive, send).run()
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _live(self, receive: Receive, send: SendMessage) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def close(self) -> None:
        """Close the connections to upstreams and the guard's idle threads."""
        self.threads.close()
        await self.calls.close()


def warm_up(gate: Gate) -> None:
    """Load what is else loaded with the first request and reply, seconds: they must not wait for it."""
    gate.guarded.guard.warm_up()
    gate = gate._replace(upstreams={"sample": Upstream("sample", "openai", "http://localhost")})
    for stream in (False, True):
        exchange = Exchange(gate, Caller(), "warm-up")
        message = {"role": "user", "content": _SAMPLE}
        body = {"model": "sample", "stream": stream, "messages": [message]}
        exchange.feed(Head("POST", "/v1/chat/completions", "", (("content-type", "application/json"),)))
        exchange.feed(Body(json.dumps(body).encode()))
        choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": message}
        reply = json.dumps({"choices": [choice]})
        kind = "text/event-stream" if stream else "application/json"
        exchange.feed(ReplyHead(200, (("content-type", kind),)))
        exchange.feed(ReplyData(f"data: {reply}\n\ndata: [DONE]\n\n".encode() if stream else reply.encode()))
        exchange.feed(ReplyEnd())


def _short(guarded: Guarded) -> bool:
    """Return whether a guard may work in the event loop: nothing foreign in it that could hang, nothing heavy."""
    guard = getattr(guarded, "guard", None)
    if type(guarded) is not Guarded or type(guard) is not TextGuard:
        return False
    return not guard.custom and not guard.heavy and not guarded.policy.judges
