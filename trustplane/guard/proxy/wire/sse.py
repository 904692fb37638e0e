"""Server-sent events: bytes in, cut anywhere, events out, and an event as bytes (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = ["MAX_EVENT", "Event", "EventParser", "write_event"]

MAX_EVENT = 4 * 1024 * 1024
"""Longest event taken, in bytes."""
LINE_BYTES = 32
"""What a line counts for besides its bytes, so that millions of empty ones are no event either."""
_NAME = re.compile(r"(?!(?:[^0-9]*[0-9]){7})[A-Za-z0-9_.:/-]{0,128}\Z")
"""A name of an event; one with seven digits could be a number of someone."""
_RETRY = re.compile(r"[0-9]{1,9}\Z")


class Event(NamedTuple):
    """One event. ``data``: its lines joined by LF, ``None`` without any. ``others``: ``id``, ``retry`` and comments
    (as ``""``) with their values, in order.
    """

    name: str = ""
    data: str | None = None
    others: tuple[tuple[str, str], ...] = ()


def write_event(event: Event) -> bytes:
    """Return an event as it stands in a stream; what is no line break of ``data`` has none."""
    lines = [f"{field}: {value}" if field else f":{value}" for field, value in event.others]
    if event.name:
        lines.append(f"event: {event.name}")
    if event.data is not None:
        lines += [f"data: {line}" for line in event.data.split("\n")]
    return "".join(f"{line}\n" for line in (*lines, "")).encode("utf-8", "replace")


def _refuse(message: str) -> ProxyRefusal:
    return ProxyRefusal("guard.proxy.stream", 502, message)


class EventParser:
    """Parses a stream of events: lines end with LF, CR or CRLF; a byte order mark at the start is dropped.

    Fields that the standard does not know are dropped. An event without its final empty line counts at
    :meth:`close`, since providers leave it out.
    """

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit or MAX_EVENT
        self._line = bytearray()
        self._data: list[str] = []
        self._others: list[tuple[str, str]] = []
        self._name = ""
        self._size = 0
        self._after_cr = False
        self._first = True

    def __repr__(self) -> str:
        return f"EventParser({len(self._line)} bytes held)"

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events that are complete.

        Raises:
            ProxyRefusal: bytes that are not UTF-8, a name or a waiting time that is none, or an event that is too long.
        """
        found: list[Event] = []
        if not chunk:
            return found
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._after_cr = chunk.endswith(b"\r")  # of a single LF that was dropped nothing is left, nor needed
        for index, line in enumerate(lines):
            self._line += line
            self._size += len(line) + (LINE_BYTES if index else 0)
            if self._size > self._limit:
                raise _refuse("an event of the upstream's stream is too long")
            if index < len(lines) - 1:
                self._end_line(found)
        return found

    def close(self) -> list[Event]:
        """Return the event that the stream left without its end."""
        found: list[Event] = []
        if self._line:
            self._end_line(found)
        self._end_event(found)
        return found

    def _end_line(self, found: list[Event]) -> None:
        try:
            line = self._line.decode()
        except UnicodeDecodeError:
            raise _refuse("the upstream's stream is not UTF-8") from None
        self._line.clear()
        if self._first:
            line = line.removeprefix("\ufeff")
            self._first = False
        if not line:
            self._end_event(found)
            return
        field, _, value = line.partition(":")
        if field:
            value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            if not _NAME.match(value):
                raise _refuse("an event of the upstream's stream has a name that is none")
            self._name = value
        elif field in {"", "id"} or (field == "retry" and _RETRY.match(value)):
            self._others.append((field, value.replace("\x00", "")))

    def _end_event(self, found: list[Event]) -> None:
        if self._data or self._others:
            data = "\n".join(self._data) if self._data else None
            found.append(Event(self._name if self._data else "", data, tuple(self._others)))
        self._data.clear()
        self._others.clear()
        self._name, self._size = "", 0
