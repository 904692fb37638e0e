"""The matrix over real HTTP: cells through a served proxy, ours or another one, before an upstream that records."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trustplane.guard.proxy import build_app
from trustplane.guard.proxy.events import Send
from trustplane.guard.proxy.gate import Upstream
from trustplane.guard.proxy.standin import reply_of
from trustplane.guard.proxy.wire.table import find

from . import matrix
from .servers import ListLog, serve


class MatrixUpstream:
    """Answers each request as the cell at hand wants it, and keeps what it received.

    ``answer`` is for the endpoint named ``endpoint``; any other one is answered as the stand-in does.
    """

    def __init__(self) -> None:
        self.received: list[Send] = []
        self.answer: matrix.Answer | None = None
        self.endpoint = ""

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """Serve it; yield its origin."""
        with serve(Starlette(routes=[Route("/{path:path}", self._serve, methods=["GET", "POST", "DELETE"])])) as origin:
            yield origin

    async def _serve(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode()
        headers = tuple((n.lower(), v) for n, v in request.headers.items())
        sent = Send("", request.method, path, request.url.query, headers, await request.body())
        self.received.append(sent)
        endpoint = find(request.method, path, "")
        if self.answer is not None and endpoint is not None and endpoint.name == self.endpoint:
            status, kind, data = self.answer(sent)
            return Response(data, status, media_type=kind or None)
        made = reply_of(endpoint.name, {"messages": "", "input": "", "documents": ["a"]}, "Fine.") if endpoint else None
        return Response(status_code=404) if made is None else Response(json.dumps(made), media_type="application/json")


def over_http(
    origin: str, upstream: MatrixUpstream, cell: matrix.Cell, *, key: str = "", foreign: bool = False
) -> matrix.Result:
    """Return what became of a cell that was sent to ``origin``; ``foreign``: a proxy whose refusals are not ours."""
    case, made = cell.case, matrix.prepared(cell)
    upstream.received.clear()
    upstream.endpoint, upstream.answer = case.endpoint, made.answer
    headers = [(n, f"Bearer {key}" if key and n == "authorization" else v) for n, v in case.headers]
    headers += [("authorization", f"Bearer {key}")] if key and case.api != "openai" else []
    reply = httpx.request(
        case.method, origin + case.path, headers=headers, content=made.body, timeout=30, trust_env=False
    )
    sent = upstream.received[-1] if upstream.received else None
    got = tuple((n.lower(), v) for n, v in reply.headers.items())
    outcome = matrix.Outcome(sent, reply.status_code, got, reply.content)
    if not foreign:
        return matrix.judge(cell, made.value, made.whole, outcome)
    seen = [t for s in upstream.received for t in outcome._replace(sent=s).upstream_texts]
    if matrix.leaked(seen if cell.direction == "request" else outcome.client_texts, made.value):
        return matrix.Result("leaked")
    if sent is None:
        return matrix.Result("blocked")
    return matrix.judge(cell, made.value, made.whole, outcome)


def through_proxy(gate: Any, cells: list[matrix.Cell]) -> Iterator[matrix.Result]:
    """Yield what became of each cell through our proxy, served on loopback before an upstream of each API."""
    upstream = MatrixUpstream()
    with upstream.served() as origin:
        gate = gate._replace(upstreams={name: Upstream(name, u.api, origin) for name, u in gate.upstreams.items()})
        with serve(build_app(gate, open_request=ListLog())) as url:
            for cell in cells:
                yield over_http(url, upstream, cell)
