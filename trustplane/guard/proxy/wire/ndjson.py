"""Lines of JSON (NDJSON, JSON Lines): bytes in, cut anywhere, lines out."""

from __future__ import annotations

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.sse import MAX_EVENT

__all__ = ["LineParser"]


class LineParser:
    """Parses lines that end with LF or CRLF; a byte order mark at the start and empty lines are dropped."""

    def __init__(self, limit: int = 0) -> None:
        self._limit = limit or MAX_EVENT
        self._line = bytearray()
        self._first = True

    def __repr__(self) -> str:
        return f"LineParser({len(self._line)} bytes held)"

    def feed(self, chunk: bytes) -> list[str]:
        """Take the next bytes; return the lines that are complete.

        Raises:
            ProxyRefusal: bytes that are not UTF-8, or a line that is too long.
        """
        found: list[str] = []
        lines = chunk.split(b"\n")
        for index, line in enumerate(lines):
            self._line += line
            if len(self._line) > self._limit:
                raise ProxyRefusal("guard.proxy.stream", 502, "a line of the upstream's stream is too long")
            if index < len(lines) - 1:
                self._end_line(found)
        return found

    def close(self) -> list[str]:
        """Return the line that has no end."""
        found: list[str] = []
        self._end_line(found)
        return found

    def _end_line(self, found: list[str]) -> None:
        try:
            line = self._line.decode()
        except UnicodeDecodeError:
            raise ProxyRefusal("guard.proxy.stream", 502, "the upstream's stream is not UTF-8") from None
        self._line.clear()
        if self._first:
            line = line.removeprefix("\ufeff")
            self._first = False
        if line := line.removesuffix("\r"):
            found.append(line)
