"""The way to the provider: which headers go and come, and every failure as a refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from trustplane.errors import InputError
from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = ["MAX_REPLY", "check_origin", "opened", "read_all", "reply_headers", "request_headers"]

MAX_REPLY = 32 * 1024 * 1024
"""Longest reply that is not streamed, in bytes after decompression."""
CONNECT_SECONDS = 10.0
_SENT = frozenset(
    {"api-key", "authorization", "openai-beta"}  # the others can carry whatever a caller puts there
)
_BACK = frozenset({"openai-processing-ms", "openai-version", "retry-after", "x-request-id"})


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


def request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what goes to the provider: credentials and the API's own headers, nothing else."""
    return {
        **{name: value for name, value in headers.items() if name in _SENT},
        "content-type": "application/json",
        "user-agent": "trustplane",
    }


def reply_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what goes back to the client: limits and ids of the provider."""
    return {n.lower(): v for n, v in headers if n.lower() in _BACK or n.lower().startswith("x-ratelimit-")}


@asynccontextmanager
async def opened(
    client: httpx.AsyncClient, origin: str, body: bytes, headers: dict[str, str], seconds: float
) -> AsyncIterator[httpx.Response]:
    """Send ``body`` and yield the reply with its body still to come; leaving ends the call.

    Raises:
        ProxyRefusal: 502 if the provider cannot be reached or breaks off, 504 if it takes too long.
    """
    timeout = httpx.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
    request = client.build_request(
        "POST", f"{origin}/v1/chat/completions", content=body, headers=headers, timeout=timeout
    )
    try:
        response = await client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()
    except httpx.TimeoutException:
        raise ProxyRefusal("guard.proxy.upstream_time", 504, "the upstream took too long") from None
    except httpx.HTTPError:
        raise ProxyRefusal("guard.proxy.upstream", 502, "the upstream cannot be reached or broke off") from None


async def read_all(response: httpx.Response) -> bytes:
    """Return the whole body of a reply.

    Raises:
        ProxyRefusal: it is over ``MAX_REPLY``.
    """
    data = bytearray()
    async for piece in response.aiter_bytes():
        data += piece
        if len(data) > MAX_REPLY:
            raise ProxyRefusal("guard.proxy.reply_size", 502, "the upstream's reply is too long")
    return bytes(data)
