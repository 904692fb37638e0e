"""The way to the provider: one pool of connections, which headers go, and every failure as a refusal."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from trustplane.errors import InputError, missing_extra
from trustplane.guard.proxy.events import Headers, Send
from trustplane.guard.proxy.gate import Upstream
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.endpoint import Api
from trustplane.settings import ProxySettings

__all__ = ["CREDENTIALS", "AioCalls", "Call", "Calls", "check_origin", "open_upstreams", "request_headers"]

CREDENTIALS = frozenset({"api-key", "authorization", "x-api-key", "x-goog-api-key"})
"""Headers that carry a caller's key."""
_SENT: Mapping[str, frozenset[str]] = {
    "openai": frozenset({"idempotency-key", "openai-beta", "openai-organization", "openai-project"}),
    "anthropic": frozenset({"anthropic-beta", "anthropic-version", "idempotency-key"}),
    "mcp": frozenset({"last-event-id", "mcp-protocol-version", "mcp-session-id"}),
    "rerank": frozenset({"idempotency-key"}),
}
_ALWAYS = frozenset({"accept", "accept-encoding", "content-type", "user-agent"})
_APIS: tuple[Api, ...] = ("openai", "anthropic", "mcp", "rerank")
ATTEMPTS = 3
"""How often a connection is tried: nothing of a request was sent before there is one."""
PAUSES = (0.05, 0.2)
KEEP_SECONDS = 15.0
"""How long an unused connection is kept."""
PIECE_BYTES = 1 << 16


def check_origin(name: str, url: str) -> str:
    """Return the origin ``scheme://host[:port]`` of an upstream.

    Raises:
        InputError: not http or https, credentials in it, or anything after the host.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise InputError(f"upstream {name} is not an http or https origin", hint="such as https://api.openai.com")
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise InputError(f"upstream {name} has more than an origin", hint="leave out the path: /v1 is added")
    return f"{parts.scheme}://{parts.netloc}"


def open_upstreams(urls: Mapping[str, str], known: Mapping[str, Upstream] | None = None) -> dict[str, Upstream]:
    """Return the upstreams of ``NAME=URL`` options over those of an access file.

    A name that is or begins with ``openai``, ``anthropic``, ``mcp`` or ``rerank`` says which API it is; any other
    name is OpenAI's.

    Raises:
        InputError: no upstream at all, or one that is not a bare origin.
    """
    found = dict(known or {})
    for name, url in urls.items():
        api: Api = next((api for api in _APIS if name.startswith(api)), "openai")
        before = found.get(name)
        found[name] = Upstream(
            name, before.api if before else api, check_origin(name, url), before.models if before else ()
        )
    if not found:
        raise InputError("the proxy needs an upstream", hint="--upstream openai=https://api.openai.com")
    return found


def request_headers(api: Api, headers: Headers, key: str = "") -> Headers:
    """Return what goes to the provider: credentials and headers that its API reads, nothing else.

    ``key``: the provider's key; it takes the place of whatever credentials the caller sent.
    """
    sent = _SENT[api]
    kept = [(n, v) for n, v in headers if n in sent or n in _ALWAYS or (n in CREDENTIALS and not key)]
    if key:
        kept.append(("x-api-key", key) if api == "anthropic" else ("authorization", f"Bearer {key}"))
    return tuple(kept)


class Call(Protocol):
    """One call: the head of the reply, then its bytes; :meth:`close` ends it at any time."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """Return the next bytes as they came, ``b""`` at the end; ProxyRefusal if the upstream breaks off."""

    def close(self) -> None:
        """End the call; a connection whose reply was not read to its end is not used again."""


class Calls(Protocol):
    """How upstreams are called; tests give their own."""

    async def call(self, origin: str, send: Send, headers: Headers) -> Call:
        """Send the request and return when the head of the reply is there; ProxyRefusal if it does not come."""

    async def close(self) -> None:
        """Close all connections."""


def _broke() -> ProxyRefusal:
    return ProxyRefusal("guard.proxy.upstream", 502, "the upstream cannot be reached or broke off")


def _late() -> ProxyRefusal:
    return ProxyRefusal("guard.proxy.upstream_time", 504, "the upstream took too long")


class AioCalls:
    """Calls over one aiohttp session, made in the event loop that uses it first: no proxy of the environment, no
    redirect, no cookie, nothing decompressed.

    A request is tried again only while no connection could be made for it; once there was one, it may have been read.
    """

    def __init__(self, settings: ProxySettings) -> None:
        try:
            import aiohttp
        except ImportError:
            raise missing_extra("aiohttp", "proxy") from None
        self._aiohttp = aiohttp
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, Any] = {}

    def _open(self) -> Any:
        aiohttp = self._aiohttp
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_SECONDS, ttl_dns_cache=60),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=PIECE_BYTES,
                skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
            )
        return self._session

    def _url(self, origin: str, send: Send) -> Any:
        text = origin + send.path + ("?" + send.query if send.query else "")
        found = self._urls.get(text)
        if found is None:
            from yarl import URL

            found = URL(text, encoded=True)
            if len(self._urls) < 256:  # ids in paths are endless
                self._urls[text] = found
        return found

    async def call(self, origin: str, send: Send, headers: Headers) -> Call:
        """See :class:`Calls`."""
        aiohttp = self._aiohttp
        session, url = self._open(), self._url(origin, send)
        try:
            async with asyncio.timeout(self._settings.upstream_seconds):
                for attempt in range(ATTEMPTS):
                    try:
                        response = await session.request(
                            send.method, url, data=send.body or None, headers=headers, allow_redirects=False
                        )
                        return AioCall(response, self._settings.idle_seconds, aiohttp.ClientError)
                    except aiohttp.ClientConnectorError as error:
                        certificate = isinstance(error.os_error, ssl.SSLError)
                        if attempt == ATTEMPTS - 1 or certificate or isinstance(error, aiohttp.ClientConnectorDNSError):
                            raise
                        await asyncio.sleep(PAUSES[attempt])
        except TimeoutError:
            raise _late() from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise _broke() from None
        raise _broke()

    async def close(self) -> None:
        """See :class:`Calls`."""
        if self._session is not None:
            await self._session.close()


class AioCall:
    """A call over aiohttp."""

    def __init__(self, response: Any, seconds: float, errors: type[Exception]) -> None:
        self._response, self._seconds, self._errors = response, seconds, errors
        self.status: int = response.status
        self.headers: Headers = tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.raw_headers
        )

    async def read(self) -> bytes:
        """See :class:`Call`."""
        try:
            async with asyncio.timeout(self._seconds):
                data: bytes = await self._response.content.readany()
                return data
        except TimeoutError:
            raise _late() from None
        except (self._errors, OSError, ValueError):
            raise ProxyRefusal("guard.proxy.upstream_broke", 502, "the upstream broke off in its reply") from None

    def close(self) -> None:
        """See :class:`Call`."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
