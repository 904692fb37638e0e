"""Endpoint: what the proxy knows of one path of an API, and the place names by which its leaves are told apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

__all__ = ["Api", "Endpoint", "Family", "Places"]

Api = Literal["openai", "anthropic", "mcp", "rerank"]
"""Whose forms of errors and events an endpoint has."""

_INDEX = re.compile(r"\[\d+\]")
_STEP = re.compile(r"\.|(?=\[\])")


class Places:
    """A set of places in JSON, written as ``messages[].role``; ``**`` at the start of one matches any place before.

    ``under``: top-level fields below which a place with ``**`` counts, empty for any; so an unknown field is nobody's
    name. ``Leaf.place`` of :mod:`trustplane.guard.text.document` is matched with its indexes blanked.
    """

    def __init__(self, *places: str, under: Iterable[str] = ()) -> None:
        self._exact = frozenset(place for place in places if not place.startswith("**"))
        self._ends = tuple(place.removeprefix("**") for place in places if place.startswith("**"))
        self._under = frozenset(under)

    def __repr__(self) -> str:
        return f"Places({len(self._exact) + len(self._ends)})"

    def __contains__(self, place: object) -> bool:
        if not isinstance(place, str):
            return False
        plain = _INDEX.sub("[]", place)
        if plain in self._exact:
            return True
        return plain.endswith(self._ends) and (not self._under or _root(plain) in self._under)

    def covers(self, place: str) -> bool:
        """Return whether ``place`` is one of these or below one of these."""
        plain = _INDEX.sub("[]", place)
        return any(plain[:end] in self for end in (*(m.start() for m in _STEP.finditer(plain)), len(plain)))


def _root(plain: str) -> str:
    """Return the top-level field of a place; a message of a batch has its own."""
    return _STEP.split(plain.removeprefix("[]."), maxsplit=1)[0]


class Endpoint(NamedTuple):
    """One path and method of an API.

    ``path``: a template such as ``/v1/files/{id}/content``; ``{id}`` stands for one segment. ``identifiers``: places
    whose strings the API reads as names of its own (model, role, type): weak findings there are false alarms and pass,
    strong ones are replaced by a pseudonym without brackets. ``media``: places that hold images, audio or files as
    base64 or URL. ``free``: below these places everything is the caller's own (metadata, schemas, tool arguments).
    ``sources``: places of text that comes from tools or documents rather than from the user. ``stored``: the upstream
    keeps the content, so pseudonyms have to outlive the request (files, batches).
    """

    name: str
    api: Api
    method: str
    path: str
    request: Literal["json", "multipart", "none"] = "json"
    reply: Literal["json", "bytes", "jsonl"] = "json"
    identifiers: Places = Places()
    reply_identifiers: Places = Places()
    media: Places = Places()
    free: Places = Places()
    sources: Places = Places()
    streams: bool = False
    stored: bool = False


class Family(NamedTuple):
    """What the endpoints of one API share; calling it makes one of them, ``path`` below ``/v1``."""

    api: Api
    identifiers: Places
    reply_identifiers: Places
    media: Places
    free: Places
    sources: Places

    def __call__(
        self,
        name: str,
        method: str,
        path: str,
        *,
        request: Literal["json", "multipart", "none", ""] = "",
        reply: Literal["json", "bytes", "jsonl"] = "json",
        streams: bool = False,
        stored: bool = False,
    ) -> Endpoint:
        """Return an endpoint; ``request``: by default JSON for POST, else none."""
        return Endpoint(
            name=name,
            api=self.api,
            method=method,
            path=f"/v1{path}",
            request=request or ("json" if method == "POST" else "none"),
            reply=reply,
            identifiers=self.identifiers,
            reply_identifiers=self.reply_identifiers,
            media=self.media,
            free=self.free,
            sources=self.sources,
            streams=streams,
            stored=stored,
        )
