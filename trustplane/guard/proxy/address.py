"""Address: what of a request's path, query and headers is looked at, and the three again with some of it replaced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from trustplane.guard.proxy.events import Head, Headers
from trustplane.guard.proxy.payload import Field
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.route import CARRIED, sent_headers
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.proxy.wire.table import path_ids

__all__ = ["Address"]

MAX_QUERY = 8192
_CODED = re.compile(r"[\x21-\x7e]*\Z")
_PLAIN_KEY = re.compile(r"[A-Za-z_-]{1,40}(?:\[\])?\Z")
_NAMES = frozenset(
    {"after", "after_id", "api-version", "before", "before_id", "beta", "cursor", "filter", "include", "include[]"}
    | {"limit", "model", "order", "purpose", "role", "run_id", "starting_after", "stream"}
)
"""Parameters of the query that the APIs know."""


class Address:
    """Ids in the path, the query, and the headers that go along, as fields.

    Raises:
        ProxyRefusal: 400, a query or a header that cannot be read.
    """

    def __init__(self, head: Head, endpoint: Endpoint | None) -> None:
        self._path, self._query = head.path, head.query
        self._headers = sent_headers(head.headers)
        self.shown = f"{head.method.upper()} {head.path}?{head.query}"
        """Method, path and query in one line; it may hold anything."""
        self.fields: list[Field] = []
        self._segments: list[tuple[int, int]] = []
        self._pairs: list[tuple[int, int, int]] = []
        self._carried: list[tuple[int, int]] = []
        if len(head.query) > MAX_QUERY or not _CODED.match(head.query):
            raise ProxyRefusal("guard.proxy.query", 400, "the query cannot be read")
        if endpoint is None:
            return
        ids = path_ids(endpoint, head.path)
        for number, segment in enumerate(head.path.split("/")):
            if ids and segment == ids[0]:
                ids.pop(0)
                self._segments.append((number, self._add(_decoded(segment, plus=False), "(path)", name=True)))
        for number, pair in enumerate(head.query.split("&") if head.query else ()):
            key, equals, value = pair.partition("=")
            shown = _decoded(key)
            known = shown in _NAMES
            at = -1 if _PLAIN_KEY.match(shown) else self._add(shown, "(query)", name=False)
            of = self._add(_decoded(value), f"(query).{shown if known else '*'}", name=known) if equals else -1
            self._pairs.append((number, at, of))
        for number, (name, value) in enumerate(self._headers):
            if name in CARRIED:
                self._carried.append((number, self._add(value, f"(header).{name}", name=True)))

    def __repr__(self) -> str:
        return f"Address({len(self.fields)} fields)"

    def _add(self, text: str, place: str, *, name: bool) -> int:
        self.fields.append(Field(text, place, "name" if name else "text"))
        return len(self.fields) - 1

    def rewritten(self, texts: Sequence[str]) -> tuple[str, str, Headers]:
        """Return path, query and headers with field ``i`` as ``texts[i]``; what is not replaced keeps its coding."""

        def new(index: int) -> str | None:
            return texts[index] if 0 <= index < len(texts) and texts[index] != self.fields[index].text else None

        segments = self._path.split("/")
        for number, index in self._segments:
            if (text := new(index)) is not None:
                segments[number] = quote(text, safe="")
        pairs = self._query.split("&")
        for number, key_index, value_index in self._pairs:
            key, equals, value = pairs[number].partition("=")
            if (text := new(key_index)) is not None:
                key = quote_plus(text)
            if (text := new(value_index)) is not None:
                value = quote_plus(text)
            pairs[number] = key + equals + value
        headers = list(self._headers)
        for number, index in self._carried:
            if (text := new(index)) is not None:
                headers[number] = (headers[number][0], text)
        return "/".join(segments), "&".join(pairs), tuple(headers)


def _decoded(text: str, *, plus: bool = True) -> str:
    try:
        return (unquote_plus if plus else unquote)(text, errors="strict")
    except UnicodeDecodeError:
        raise ProxyRefusal("guard.proxy.query", 400, "the path or the query is not UTF-8") from None
