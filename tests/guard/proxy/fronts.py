"""The three faces before one stand-in, each as the SDKs of OpenAI, Anthropic and MCP see it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import unquote

import anthropic
import httpx
import httpx2
import openai

from trustplane.guard.proxy.faces.app import build_app
from trustplane.guard.proxy.faces.middleware import GuardMiddleware
from trustplane.guard.proxy.faces.transport import AsyncGuardTransport, GuardTransport
from trustplane.guard.proxy.gate import Gate, Upstream
from trustplane.guard.text.guarded import Guarded
from trustplane.settings import ProxySettings

from .servers import ListLog, serve

Kind = Literal["proxy", "transport", "middleware"]
KEY = bytes(range(32))
API_KEY = "key-of-this-test-only"
CANARIES = [
    "alice.canary@example.com", "13800138000", "4111 1111 1111 1111", "11010519491231002X", "Alice Johnson",
    "欧阳修远", "sk-canarycanarycanary42",
]  # fmt: skip
PROMPT = (
    "My name is Alice Johnson (alice.canary@example.com), card 4111 1111 1111 1111. "
    "我叫欧阳修远，手机13800138000，身份证11010519491231002X。 Key: sk-canarycanarycanary42"
)


class Front:
    """One face before ``standin``; ``url`` is where an SDK goes, ``log`` what the log was told."""

    def __init__(self, kind: Kind, url: str, standin: Any, log: ListLog, guarded: Any, settings: ProxySettings) -> None:
        self.kind, self.url, self.standin, self.log = kind, url, standin, log
        self._options: dict[str, Any] = {"guarded": guarded, "open_request": log, "key": KEY, "settings": settings}

    @property
    def received(self) -> list[dict[str, Any]]:
        return self.standin.state.received  # type: ignore[no-any-return]

    def transport(self, **more: Any) -> Any:
        return GuardTransport(**self._options, **more)

    def client(self, library: Any = httpx2, **more: Any) -> Any:
        if self.kind != "transport":
            return library.Client(timeout=30)
        return library.Client(transport=self.transport(**more), timeout=30)

    def async_client(self, library: Any = httpx2, **more: Any) -> Any:
        if self.kind != "transport":
            return library.AsyncClient(timeout=30)
        return library.AsyncClient(transport=AsyncGuardTransport(**self._options, **more), timeout=30)

    def openai(self, library: Any = httpx2) -> openai.OpenAI:
        client = self.client(library)
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=API_KEY, max_retries=0, http_client=client)

    def async_openai(self, library: Any = httpx2) -> openai.AsyncOpenAI:
        client = self.async_client(library)
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=API_KEY, max_retries=0, http_client=client)

    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.url, api_key=API_KEY, max_retries=0, http_client=self.client())

    def async_anthropic(self) -> anthropic.AsyncAnthropic:
        client = self.async_client()
        return anthropic.AsyncAnthropic(base_url=self.url, api_key=API_KEY, max_retries=0, http_client=client)

    def nothing_leaked(self, canaries: list[str] | None = None) -> None:
        """No fixture value in any byte that the upstream got, nor in the steps."""
        assert self.received
        for got in self.received:
            for seen in shown(got):
                for canary in canaries or CANARIES:
                    assert canary not in seen, canary
        evidence = repr(self.log.steps)
        for canary in [*CANARIES, API_KEY, "canary"]:
            assert canary not in evidence


def shown(got: dict[str, Any]) -> Iterator[str]:
    """Yield what the upstream got in every reading: as it came, as JSON, percent-decoded."""
    raw = got["raw"].decode("utf-8", "replace")
    yield raw
    yield unquote(raw)
    yield raw.encode().decode("unicode_escape", "replace") if raw.isascii() else raw
    yield json.dumps(got["body"], ensure_ascii=False)
    yield unquote(got.get("path", "") + "?" + got.get("query", ""))
    yield repr({name: value for name, value in got["headers"].items() if name not in {"authorization", "x-api-key"}})


@contextlib.contextmanager
def front(kind: Kind, guarded: Guarded, standin: Any, **settings: Any) -> Iterator[Front]:
    """Serve ``standin`` behind a face."""
    log, made = ListLog(), ProxySettings(**settings)
    options: dict[str, Any] = {"guarded": guarded, "open_request": log, "key": KEY, "settings": made}
    with contextlib.ExitStack() as stack:
        if kind == "middleware":
            app: Any = GuardMiddleware(standin, paths={"/mcp": "mcp"}, **options)
            url = stack.enter_context(serve(app))
        else:
            url = stack.enter_context(serve(standin))
            if kind == "proxy":
                upstreams = {api: Upstream(api, api, url) for api in ("openai", "anthropic", "mcp")}
                gate = Gate(guarded, upstreams, made, KEY)  # type: ignore[arg-type]
                url = stack.enter_context(serve(build_app(gate, open_request=log)))
        yield Front(kind, url, standin, log, guarded, made)


LIBRARIES = {"httpx2": httpx2, "httpx": httpx}
