"""Server-sent events: bytes in, cut anywhere, data out (WHATWG HTML, section 9.2, as far as LLM APIs use it)."""

from __future__ import annotations

from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = ["EventParser", "event"]

MAX_EVENT = 4 * 1024 * 1024
"""Longest event taken, in bytes."""


def event(data: str) -> bytes:
    """Return one event with ``data``, which has no line breaks."""
    return f"data: {data}\n\n".encode()


def _refuse(message: str) -> ProxyRefusal:
    return ProxyRefusal("guard.proxy.stream", 502, message)


class EventParser:
    """Parses a stream of events: lines end with LF, CR or CRLF, data of several lines is joined by LF.

    Comments and fields other than ``data`` are dropped. An event without its final empty line counts
    at :meth:`close`, since providers leave it out.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False
        self._first = True

    def __repr__(self) -> str:
        return f"EventParser({len(self._line)} bytes held)"

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes; return the data of each event that is complete.

        Raises:
            ProxyRefusal: bytes that are not UTF-8, or an event over ``MAX_EVENT``.
        """
        found: list[str] = []
        if self._after_cr and chunk:
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
            self._after_cr = False
        lines = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        for index, line in enumerate(lines):
            self._line += line
            self._size += len(line)
            if self._size > MAX_EVENT:
                raise _refuse("an event of the upstream's stream is too long")
            if index < len(lines) - 1:
                self._end_line(found)
        return found

    def close(self) -> list[str]:
        """Return the data of an event that the stream left without its end."""
        found: list[str] = []
        if self._line:
            self._end_line(found)
        self._end_event(found)
        return found

    def _end_line(self, found: list[str]) -> None:
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
        if field == "data":
            self._data.append(value.removeprefix(" "))

    def _end_event(self, found: list[str]) -> None:
        if self._data:
            found.append("\n".join(self._data))
        self._data.clear()
        self._size = 0
