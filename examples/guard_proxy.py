"""The proxy before a stand-in for an LLM API, in one process: what the client sees, what went out."""

import asyncio
import contextlib

import httpx

from trustplane.guard.proxy import build_app
from trustplane.guard.proxy.standin import build_standin
from trustplane.guard.text import TextGuard
from trustplane.settings import ProxySettings


class PrintingLog:
    """The request log's port, printing; a plane offers the real one as ``plane.open_request``."""

    def record(self, step):
        print("step:    ", step.action, step.result, step.facts)

    def decide(self, output=None, *, outcome="decided"):  # noqa: ARG002
        print("decision:", outcome)

    def receipt(self):
        return "no receipt: nothing is kept here\n"


async def main() -> None:
    standin = build_standin()
    proxy = build_app(
        upstreams={"standin": "http://standin.invalid"},
        guard=TextGuard(),
        open_request=lambda _request_id, **_request: contextlib.nullcontext(PrintingLog()),
        settings=ProxySettings(),
        transport=httpx.ASGITransport(standin),
    )
    body = {"model": "stand-in", "messages": [{"role": "user", "content": "I am Alice Johnson, alice@example.com"}]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(proxy), base_url="http://proxy.invalid") as client:
        reply = await client.post("/v1/chat/completions", json=body)
    print("client:  ", reply.json()["choices"][0]["message"]["content"])
    print("upstream:", standin.state.received[0]["body"]["messages"][0]["content"])
    assert "alice@example.com" in reply.text
    assert "alice" not in standin.state.received[0]["raw"].decode().lower()


asyncio.run(main())
