"""Replies: what comes back from an upstream, restored and cleaned, plain or as a stream; no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, Protocol

from trustplane.guard.proxy.events import Headers
from trustplane.guard.proxy.leaves import Leaves, dump, parse
from trustplane.guard.proxy.media import is_media
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.anthropic_stream import MessageStream
from trustplane.guard.proxy.wire.coding import decoder_for
from trustplane.guard.proxy.wire.deltas import Deltas
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.proxy.wire.errors import error_body, error_event, error_value
from trustplane.guard.proxy.wire.mcp_stream import RpcStream
from trustplane.guard.proxy.wire.ndjson import LineParser
from trustplane.guard.proxy.wire.openai_stream import ChoiceStream, ThreadStream
from trustplane.guard.proxy.wire.responses_stream import TypedStream
from trustplane.guard.proxy.wire.sse import Event, EventParser, write_event
from trustplane.guard.text import Session
from trustplane.guard.text.reply_view import ReplyStopped, ReplyView

__all__ = ["MAX_REPLY", "Reply", "open_reply"]

MAX_REPLY = 32 * 1024 * 1024
"""Longest reply that is not streamed, in bytes after decompression, unless told otherwise."""

_BACK = frozenset(
    {"retry-after", "request-id", "x-request-id", "openai-processing-ms", "openai-version", "openai-model"}
    | {"anthropic-organization-id", "openai-organization", "mcp-session-id", "mcp-protocol-version", "x-should-retry"}
    | {"retry-after-ms", "content-disposition"}
)
_BACK_STARTS = ("x-ratelimit-", "anthropic-ratelimit-")
_PLAIN_NAME = re.compile(r"[a-z-]{1,64}")
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines"})
_TEXTS = frozenset({"text/plain", "text/vtt", "text/srt", "application/x-subrip", "text/markdown", "text/csv"})
_SPOKEN = ("audio.transcriptions", "audio.translations")
_DELETES = frozenset({200, 201, 202, 203, 204})


class Reply(Protocol):
    """One reply on its way to the client. ``headers`` have no length: the body's is not known before :meth:`close`."""

    status: int
    headers: Headers
    streaming: bool
    tail: bytes
    """What goes out last, after the receipt: the API's own mark of the end."""

    @property
    def restored(self) -> int:
        """Pseudonyms put back so far."""

    @property
    def masked(self) -> int:
        """Places masked so far."""

    @property
    def text(self) -> str:
        """What the log commits to as the output."""

    @property
    def ended(self) -> bool:
        """Whether the API's own end of a stream was seen."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's body, cut anywhere; return what goes to the client."""

    def close(self) -> bytes:
        """Take the end of the body; return the rest."""

    def error(self, refusal: ProxyRefusal, request_id: str) -> bytes:
        """Return the event that ends a stream with an error."""


def open_reply(
    endpoint: Endpoint,
    status: int,
    headers: Headers,
    session: Session,
    view: ReplyView,
    request_streams: bool,
    *,
    media: Literal["refuse", "pass"] = "refuse",
    limit: int = MAX_REPLY,
    request_id: str = "",
) -> Reply:
    """Return what restores and cleans the reply of ``endpoint``.

    ``headers``: the upstream's, names in lower case. ``session``: whose pseudonyms are put back. ``view``: what counts
    in a reply. ``request_streams``: whether the request asked for a stream. ``limit``: most bytes of a reply that is
    not streamed, and of one event. ``request_id``: for an error that takes the place of a gateway's page.

    Raises:
        ProxyRefusal: a status, a content type or a content coding that is not known here.
    """
    kind = _header(headers, "content-type").partition(";")[0].strip().lower()
    if not (status in _DELETES or 400 <= status <= 599):
        raise ProxyRefusal("guard.proxy.upstream_status", 502, "the upstream answered with an unknown status")
    leaves = Leaves(endpoint, session, view, media)
    back = tuple((name, leaves.name(value)) for name, value in headers if _goes_back(name))
    coding = _header(headers, "content-encoding")
    asked = endpoint.streams and (request_streams or endpoint.api == "mcp")
    if status < 400 and kind == "text/event-stream" and asked:
        return _Stream(leaves, status, back, coding, lines=False)
    if status < 400 and kind in _LINES and asked and endpoint.reply == "json":
        return _Stream(leaves, status, back, coding, lines=True)
    return _Plain(leaves, status, back, coding, kind, limit, request_id)


def _header(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key == name), "")


def _goes_back(name: str) -> bool:
    return name in _BACK or (name.startswith(_BACK_STARTS) and _PLAIN_NAME.fullmatch(name) is not None)


def _stopped(stop: ReplyStopped) -> ProxyRefusal:
    rule = "guard.proxy.reply_review" if stop.verdict == "review" else "guard.proxy.reply_blocked"
    return ProxyRefusal(rule, 403, f"the policy does not let the reply pass ({stop.rule})")


class _Plain:
    """A reply that is given out whole."""

    streaming, tail = False, b""

    def __init__(
        self, leaves: Leaves, status: int, back: Headers, coding: str, kind: str, limit: int, request_id: str
    ) -> None:
        self.status = status
        self.headers: Headers = back
        self._leaves, self._kind, self._id = leaves, kind, request_id
        self._decoder = decoder_for(coding, limit)
        self._data = bytearray()
        self.ended = False
        self.text = ""

    def __repr__(self) -> str:
        return f"Reply({self.status})"

    @property
    def restored(self) -> int:
        return self._leaves.restored

    @property
    def masked(self) -> int:
        return self._leaves.masked

    def feed(self, data: bytes) -> bytes:
        self._data += self._decoder.feed(data)
        return b""

    def close(self) -> bytes:
        self._decoder.close()
        data = bytes(self._data)
        self._data.clear()
        try:
            out = self._clean(data)
        except ReplyStopped as stop:
            raise _stopped(stop) from None
        if self._kind:
            self.headers = (*self.headers, ("content-type", self._kind))
        self.ended = True
        return out

    def error(self, refusal: ProxyRefusal, request_id: str) -> bytes:
        return error_event(self._leaves.endpoint.api, refusal, request_id)

    def _clean(self, data: bytes) -> bytes:
        endpoint, kind = self._leaves.endpoint, self._kind
        if not data:
            self._kind = ""
            return data
        if self.status >= 400:
            return self._failed(data)
        if kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
            self._kind = "application/json"
            return self._lines(data) if endpoint.reply == "jsonl" else self._json(data)
        if endpoint.reply == "jsonl":
            return self._file(data)
        if kind in _TEXTS and endpoint.name in _SPOKEN:
            return self._plain_text(data)
        if endpoint.reply == "bytes" and (kind.startswith("audio/") or kind == "application/octet-stream"):
            return self._media(data, sure=kind.startswith("audio/"))
        raise ProxyRefusal("guard.proxy.reply_type", 502, "the upstream's reply has a content type that is not known")

    def _json(self, data: bytes) -> bytes:
        value = parse(data)
        clean = self._leaves.tree(value)
        self.text = "\n".join(self._leaves.shown)
        return data if clean == value else dump(clean).encode()

    def _failed(self, data: bytes) -> bytes:
        """Return a provider's error with its text redacted; a page that is not JSON gives way to the API's own form."""
        self._kind = "application/json"
        try:
            if data.lstrip()[:1] in {b"{", b"["}:
                return self._json(data)
        except ProxyRefusal:
            pass
        refusal = ProxyRefusal("guard.proxy.upstream_error", self.status, "the upstream answered with an error")
        return error_body(self._leaves.endpoint.api, refusal, self._id)

    def _lines(self, data: bytes) -> bytes:
        lines = data.split(b"\n")
        out = [self._line(line) for line in lines]
        self.text = "\n".join(self._leaves.shown)
        return b"\n".join(out)

    def _line(self, line: bytes) -> bytes:
        if not line.strip():
            return line
        value = parse(line)
        clean = self._leaves.tree(value)
        return line if clean == value else dump(clean).encode() + (b"\r" if line.endswith(b"\r") else b"")

    def _file(self, data: bytes) -> bytes:
        """Return a file: lines of JSON, a text, or bytes of a known form."""
        if is_media(data):
            return self._media(data, sure=True)
        if data.lstrip()[:1] == b"{":
            try:
                return self._lines(data)
            except ProxyRefusal as refusal:
                if refusal.rule != "guard.proxy.reply_shape":
                    raise
                self._leaves.shown.clear()
        return self._plain_text(data)

    def _plain_text(self, data: bytes) -> bytes:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return self._media(data, sure=False)
        self.text = self._leaves.text(text)
        return data if self.text == text else self.text.encode("utf-8", "replace")

    def _media(self, data: bytes, *, sure: bool) -> bytes:
        if not self._leaves.lets_media or not (sure or is_media(data)):
            raise ProxyRefusal(
                "guard.proxy.media", 502, "the reply is an image, audio or a file, which is not let through"
            )
        self._leaves.passed += 1
        return data


class _Stream:
    """A reply that is given out as it comes."""

    streaming = True

    def __init__(self, leaves: Leaves, status: int, back: Headers, coding: str, *, lines: bool) -> None:
        self.status = status
        self._leaves = leaves
        self._lines = lines
        kind = "application/x-ndjson" if lines else "text/event-stream; charset=utf-8"
        self.headers: Headers = (*back, ("content-type", kind))
        self._decoder = decoder_for(coding)
        self._events, self._texts = EventParser(), LineParser()
        self._deltas = _deltas(leaves, marked=not lines)
        self._over = False
        self.tail = b""

    def __repr__(self) -> str:
        return f"Reply({self.status}, {self._deltas!r})"

    @property
    def restored(self) -> int:
        return self._leaves.restored

    @property
    def masked(self) -> int:
        return self._leaves.masked

    @property
    def text(self) -> str:
        return self._deltas.text

    @property
    def ended(self) -> bool:
        return self._deltas.ended

    def feed(self, data: bytes) -> bytes:
        if self.ended:
            return b""
        data = self._decoder.feed(data)
        found = [Event(data=line) for line in self._texts.feed(data)] if self._lines else self._events.feed(data)
        return self._given(found)

    def close(self) -> bytes:
        if self.ended or self._over:
            return b""
        self._over = True
        rest = [Event(data=line) for line in self._texts.close()] if self._lines else self._events.close()
        out = self._given(rest)
        if not self.ended:
            self._decoder.close()
            self._deltas.close()
        return out

    def error(self, refusal: ProxyRefusal, request_id: str) -> bytes:
        endpoint = self._leaves.endpoint
        if self._lines:
            return dump(error_value(endpoint.api, refusal, request_id)).encode() + b"\n"
        sequence = self._deltas.sequence if isinstance(self._deltas, TypedStream) else 0
        return error_event(endpoint.api, refusal, request_id, endpoint=endpoint.name, sequence=sequence)

    def _given(self, events: Iterable[Event]) -> bytes:
        pieces: list[bytes] = []
        try:
            for event in events:
                if self.ended:
                    break
                shown = event._replace(others=tuple((k, self._other(k, v)) for k, v in event.others))
                if event.data is None:
                    pieces.append(self._written(shown))
                else:
                    pieces += map(self._written, self._deltas.take(shown))
        except ReplyStopped as stop:
            raise _stopped(stop) from None
        if self.ended:
            self.tail = b"".join(map(self._written, self._deltas.tail))
        return b"".join(pieces)

    def _other(self, field: str, value: str) -> str:
        return self._leaves.text(value) if not field else value if field == "retry" else self._leaves.name(value)

    def _written(self, event: Event) -> bytes:
        return (event.data or "").encode("utf-8", "replace") + b"\n" if self._lines else write_event(event)


def _deltas(leaves: Leaves, *, marked: bool) -> Deltas:
    """Return what reads the events of an endpoint's streams."""
    endpoint = leaves.endpoint
    if endpoint.api == "anthropic":
        return MessageStream(leaves)
    if endpoint.api == "mcp":
        return RpcStream(leaves, answers=endpoint.method == "POST")
    if endpoint.name.startswith("threads"):
        return ThreadStream(leaves)
    if endpoint.name in {"chat.completions", "completions"}:
        return ChoiceStream(leaves, marked=marked)
    return TypedStream(leaves)
