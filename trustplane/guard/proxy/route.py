"""Route: which endpoint a request is for, which upstream gets it, and which headers go along."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from trustplane.guard.proxy.events import Head, Headers
from trustplane.guard.proxy.gate import Caller, Gate, Upstream
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.proxy.wire.table import find, find_api

__all__ = ["CARRIED", "CREDENTIALS", "UPSTREAM", "choose", "find_endpoint", "header", "is_passed", "sent_headers"]

UPSTREAM = "x-trustplane-upstream"
"""Request header that names the upstream."""
_PATH = re.compile(r"/[A-Za-z0-9._~:@!$'()*+,;=%/-]{0,2047}\Z")
_DOTS = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:/|\Z)|//|%(?:2f|5c|00)", re.IGNORECASE)
"""What servers may read as another path than it looks."""
CREDENTIALS = frozenset({"api-key", "authorization", "x-api-key", "x-goog-api-key"})
CARRIED = frozenset(
    {"anthropic-beta", "anthropic-version", "idempotency-key", "last-event-id", "mcp-protocol-version"}
    | {"mcp-session-id", "openai-beta", "openai-organization", "openai-project"}
)
"""Headers that an API reads; any other could carry whatever a caller puts there."""
_WORDS = re.compile(r"[A-Za-z0-9 ._:,;=+/-]{1,256}\Z")
_ACCEPTED = ("text/event-stream", "application/x-ndjson", "application/json")


def header(headers: Headers, name: str) -> str:
    """Return the first header of that name (lower case), ``""`` if there is none."""
    return next((value for key, value in headers if key == name), "")


def _usable(gate: Gate, caller: Caller) -> list[Upstream]:
    return [u for name, u in gate.upstreams.items() if not caller.upstreams or name in caller.upstreams]


def is_passed(gate: Gate, path: str) -> bool:
    """Return whether the settings let ``path`` go through unguarded; ``/x/*`` stands for all below ``/x/``."""
    return any(path == p or (p.endswith("/*") and path.startswith(p[:-1])) for p in gate.passed)


def find_endpoint(head: Head, gate: Gate, caller: Caller) -> Endpoint | None:
    """Return the endpoint that a request is for, None for a path that the settings pass through.

    Raises:
        ProxyRefusal: 404, the path is unknown, or could be read as another one.
    """
    found = find(head.method, head.path, _api(head, gate, caller))
    plain = _PATH.match(head.path) and not _DOTS.search(head.path)
    if found is None and not (plain and is_passed(gate, head.path)):
        raise ProxyRefusal("guard.proxy.route", 404, "this path or method is not let through")
    return found


def _api(head: Head, gate: Gate, caller: Caller) -> str:
    """Return whose forms a request has where paths are shared: of the upstream it names, its headers, all there are."""
    named = gate.upstreams.get(header(head.headers, UPSTREAM))
    if named is not None:
        return named.api
    if shown := find_api(head.headers):
        return shown
    apis = {u.api for u in _usable(gate, caller)}
    return apis.pop() if len(apis) == 1 else ""


def choose(head: Head, endpoint: Endpoint | None, model: str, gate: Gate, caller: Caller) -> Upstream:
    """Return the upstream: the one named by a header, else by the model, else the first of the endpoint's API.

    ``model``: as the request has it, ``""`` for none. Only those that the caller may use count.

    Raises:
        ProxyRefusal: 404, none of that name or for that API.
    """
    usable = _usable(gate, caller)
    if wanted := header(head.headers, UPSTREAM):
        usable = [u for u in usable if u.name == wanted]
        if not usable:
            raise ProxyRefusal("guard.proxy.upstream_name", 404, f"{UPSTREAM} names no upstream of this proxy")
    fitting = [u for u in usable if endpoint is None or _serves(u, endpoint)]
    if model:
        by_model = [u for u in fitting if any(fnmatchcase(model, pattern) for pattern in u.models)]
        fitting = by_model or [u for u in fitting if not u.models] or fitting
    if not fitting:
        raise ProxyRefusal("guard.proxy.upstream_name", 404, "no upstream of this proxy serves this path")
    return fitting[0]


def _serves(upstream: Upstream, endpoint: Endpoint) -> bool:
    """Return whether an upstream speaks the endpoint's API; rerank has none of its own and stands beside OpenAI's."""
    return upstream.api == endpoint.api or (endpoint.api == "rerank" and upstream.api == "openai")


def sent_headers(headers: Headers) -> Headers:
    """Return the headers for the upstream: credentials as they are (the driver may swap them), the API's own.

    Raises:
        ProxyRefusal: 400, a header of the API with a value of an unknown form.
    """
    sent: list[tuple[str, str]] = []
    for name, value in headers:
        if name in CARRIED and not _WORDS.match(value):
            raise ProxyRefusal("guard.proxy.header", 400, f"the header {name} has a value of an unknown form")
        if name in CREDENTIALS or name in CARRIED:
            sent.append((name, value))
    sent.append(("accept", _accept(header(headers, "accept"))))
    return (*sent, ("accept-encoding", "identity"), ("user-agent", "trustplane"))


def _accept(given: str) -> str:
    kinds = {kind.partition(";")[0].strip().lower() for kind in given.split(",")}
    return ", ".join(k for k in reversed(_ACCEPTED) if k in kinds) or "*/*"
