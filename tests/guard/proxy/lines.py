"""Faces before an upstream that breaks, and what has to hold whatever breaks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx

from trustplane.guard.proxy.faces.app import build_app
from trustplane.guard.proxy.faces.middleware import GuardMiddleware
from trustplane.guard.proxy.faces.transport import GuardTransport
from trustplane.guard.proxy.gate import Gate
from trustplane.guard.proxy.gate import Upstream as Api
from trustplane.guard.proxy.standin import reply_of
from trustplane.settings import ProxySettings

from .faulty import Fault, Upstream, faulty, faulty_app
from .fronts import KEY, Kind
from .servers import ListLog, serve

MAIL = "alice.canary@example.com"
INVENTED = "bob.invented@example.org"
ASK = {"model": "stand-in", "messages": [{"role": "user", "content": f"write to {MAIL} 我叫欧阳修远"}]}
SSE = (("content-type", "text/event-stream"),)
FACES: list[Kind] = ["proxy", "transport", "middleware"]


def answer_of(text: str) -> dict[str, Any]:
    return reply_of("chat.completions", ASK, text)  # type: ignore[no-any-return]


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


GOOD = Fault([dumped(answer_of("fine"))])


class Line:
    """A face before an upstream that breaks."""

    def __init__(self, kind: Kind, url: str, upstream: Upstream, log: ListLog, transport: Any) -> None:
        self.kind, self.url, self.upstream, self.log, self.transport = kind, url, upstream, log, transport

    def post(self, body: Any = ASK, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else dumped(body)
        headers = {
            "content-type": "application/json",
            "authorization": "Bearer key-of-this-test",
            **more.pop("headers", {}),
        }
        timeout = more.pop("timeout", 30)
        with httpx.Client(transport=self.transport, timeout=timeout) as client:
            return client.post(self.url + path, content=content, headers=headers, **more)

    def clean(self, reply: httpx.Response | None = None) -> None:
        """Nothing raw went to the upstream, to the client or into the steps."""
        for got in self.upstream.received:
            assert b"canary" not in got and "欧阳".encode() not in got
        evidence = repr(self.log.steps)
        assert "canary" not in evidence and "invented" not in evidence and "欧阳" not in evidence
        if reply is not None:
            assert b"invented" not in reply.content

    def sent(self) -> int:
        return sum(bool(got) for got in self.upstream.received)

    def serves_the_next(self) -> None:
        self.upstream.fault = GOOD
        reply = self.post()
        assert (reply.status_code, reply.json()["choices"][0]["message"]["content"]) == (200, "fine")
        assert self.log.last["decision"] == "answered"


@contextlib.contextmanager
def line(kind: Kind, guarded: Any, fault: Fault, **settings: Any) -> Iterator[Line]:
    log, made = ListLog(), ProxySettings(**settings)
    options: dict[str, Any] = {"guarded": guarded, "open_request": log, "key": KEY, "settings": made}
    with contextlib.ExitStack() as stack:
        if kind == "middleware":
            upstream = Upstream(fault)
            url = stack.enter_context(serve(GuardMiddleware(faulty_app(upstream), **options)))
            yield Line(kind, url, upstream, log, None)
            return
        upstream = stack.enter_context(faulty(fault))
        if kind == "transport":
            yield Line(kind, upstream.url, upstream, log, GuardTransport(**options))
            return
        gate = Gate(guarded, {"openai": Api("openai", "openai", upstream.url)}, made, KEY)
        url = stack.enter_context(serve(build_app(gate, open_request=log)))
        yield Line(kind, url, upstream, log, None)


def refused(reply: httpx.Response) -> str:
    """Return the rule of a refusal, which is in OpenAI's form and names the request."""
    error = reply.json()["error"]
    assert error["request_id"] == reply.headers["x-trustplane-request-id"] and reply.status_code >= 400
    assert str(error["code"]).startswith("guard.") and error["message"]
    for content in (MAIL, "canary", "欧阳", "invented"):
        assert content not in reply.text
    return str(error["code"])


def attempt(one: Line, **more: Any) -> httpx.Response | None:
    """Return the answer, or None where a transport raises what it raises without a guard."""
    try:
        return one.post(**more)
    except httpx.TransportError as error:
        assert one.kind == "transport" and "canary" not in str(error) and "invented" not in str(error)
        return None
