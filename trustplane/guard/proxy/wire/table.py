"""Table: which endpoint a method and a path are; what is not in it is unknown and refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from trustplane.guard.proxy.wire import anthropic, mcp, openai, rerank
from trustplane.guard.proxy.wire.endpoint import Api, Endpoint

__all__ = ["ENDPOINTS", "find", "find_api", "path_ids"]

ENDPOINTS: tuple[Endpoint, ...] = (*openai.ENDPOINTS, *anthropic.ENDPOINTS, *rerank.ENDPOINTS, *mcp.ENDPOINTS)

_PREFIX = re.compile(
    r"/openai/deployments/[A-Za-z0-9_-][A-Za-z0-9._-]*(?=/)|/openai/v1(?=/)|/openai(?=/)|/v1beta/openai(?=/)"
    r"|/compatible-mode/v1(?=/)|/api/paas/v4(?=/)|/api/v[13](?=/)|/v1(?=/)"
)
"""What stands before the path of the API: plain, Azure's deployments, and what compatible vendors use."""
_SEGMENT = re.compile(r"(?!.*\.\.)(?!\.\Z)(?:[A-Za-z0-9._~:@!$'()*+,;=-]|%(?:2F|3A|40|20))+\Z", re.IGNORECASE)
"""A segment that may stand for an id: no two dots, no coding other than of slash, colon, at and blank."""


def _template(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


class _Index:
    """Endpoints of one API by method and number of segments; fixed segments win over ids."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._by: dict[tuple[str, int], list[tuple[tuple[str, ...], Endpoint]]] = {}
        for endpoint in endpoints:
            template = _template(endpoint.path.removeprefix("/v1") or "/")
            self._by.setdefault((endpoint.method, len(template)), []).append((template, endpoint))
        for found in self._by.values():
            found.sort(key=lambda pair: sum(part == "{id}" for part in pair[0]))

    def find(self, method: str, segments: tuple[str, ...]) -> Endpoint | None:
        for template, endpoint in self._by.get((method, len(segments)), ()):
            if all(_fits(part, segment) for part, segment in zip(template, segments, strict=True)):
                return endpoint
        return None


def _fits(part: str, segment: str) -> bool:
    return _SEGMENT.match(segment) is not None if part == "{id}" else part == segment


_INDEXES: dict[str, _Index] = {
    name: _Index(e for e in ENDPOINTS if e.api == name) for name in ("openai", "anthropic", "rerank", "mcp")
}


def find(method: str, path: str, api: Api | str = "") -> Endpoint | None:
    """Return the endpoint of ``method`` and ``path``, None if there is none.

    ``path``: as it came, percent-coded, without query. ``api``: whose forms are meant where two APIs share a path
    (files, models): the API of the upstream, or what :func:`find_api` reads from headers; empty for not known, which
    means OpenAI's. The root as an MCP endpoint needs ``mcp``.
    """
    if len(path) > 2048 or not path.startswith("/") or "//" in path:
        return None
    return _find(method.upper(), path, api)


@lru_cache(maxsize=1024)
def _find(method: str, path: str, api: str) -> Endpoint | None:
    if api == "mcp":
        return _INDEXES["mcp"].find(method, _template(path))
    prefix = _PREFIX.match(path)
    shapes = [path[prefix.end() :] if prefix else path]
    if path.startswith("/v2/rerank"):
        shapes.append(path.removeprefix("/v2"))
    order = [api] if api in _INDEXES else []
    order += [name for name in ("openai", "anthropic", "rerank", "mcp") if name != api]
    for name in order:
        for shape in shapes:
            if shape.endswith("/") and name != "mcp":
                continue
            if (endpoint := _INDEXES[name].find(method, _template(shape))) and (shape.strip("/") or name == api):
                return endpoint
    return None


def find_api(headers: Iterable[tuple[str, str]]) -> str:
    """Return the API that a request's headers show, empty if they do not; names in lower case."""
    names = {name for name, _ in headers}
    if "anthropic-version" in names or "anthropic-beta" in names:
        return "anthropic"
    if "mcp-protocol-version" in names or "mcp-session-id" in names:
        return "mcp"
    return ""


def path_ids(endpoint: Endpoint, path: str) -> list[str]:
    """Return the segments of ``path`` that are ids of ``endpoint``, a deployment's name first; still percent-coded."""
    prefix = _PREFIX.match(path)
    found = [prefix.group().rpartition("/")[2]] if prefix and "/deployments/" in prefix.group() else []
    template = _template(endpoint.path)
    segments = _template(path)
    fixed = len(template) - len(_template(endpoint.path.removeprefix("/v1") or "/"))
    tail = template[fixed:]
    pairs = zip(tail, segments[len(segments) - len(tail) :], strict=True)
    return found + [segment for part, segment in pairs if part == "{id}"]
