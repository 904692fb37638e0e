"""Streams: hide or mask a text that arrives in chunks, and carry any text stream over bytes of UTF-8."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Protocol

from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.segment import open_key

if TYPE_CHECKING:
    from trustplane.guard.text.guard import TextGuard
    from trustplane.guard.text.session import Session

__all__ = ["BLOCK", "LONGEST_HIT", "Bytes", "Redactor", "TextStream"]

BLOCK = 512
"""About how many characters go out at a time."""
LEAST, MOST = 256, 1024
"""Bounds of the context and margin, in characters; between them the reach of the guard's rules decides."""
LONGEST_HIT = 16_384
"""Longest finding that a stream can hide, in characters: a private key of 8,192 bits in PEM form and more."""
_BACK = 64


class TextStream(Protocol):
    """What takes text in chunks: a redactor, a restorer, a cleaner."""

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return what is certain."""

    def close(self) -> str:
        """Return the rest."""


class Redactor:
    """Redacts a text that arrives in chunks: ``feed`` gives what is certain, ``close`` the rest.

    With a session findings become its pseudonyms (no stand-ins), which :meth:`Session.restore
    <trustplane.guard.text.session.Session.restore>` and its streams put back exactly; without one they
    become ``<ENTITY>``.

    The pieces joined are the same however the text is cut, for any guard: it is worked off in blocks
    that begin and end at places which are a function of the text alone, and the guard sees each block in
    one and the same window, with ``margin`` characters before and after it. :meth:`whole` goes the same way.
    A rule finds in a window whatever it finds in the whole text as long as the hit and what it looks at
    lie within the window, and a block never ends inside a hit: so for rules whose reach is at most
    ``margin`` (``guard.reach``, 256 to 1,024 characters) nothing is lost. What does not hold: a name that is
    recognised only further on is not hidden in what is out already; a whole text would have it.

    Held back are at most ``BLOCK`` + ``margin`` characters, and a finding longer than that until its end.

    Raises (from ``feed`` and ``close``; nothing more may be given out then):
        InputError: a finding is longer than ``LONGEST_HIT``, or the session is full.
        TimeoutError: a pattern ran longer than its limit.
    """

    def __init__(self, guard: TextGuard, session: Session | None = None) -> None:
        self._guard = guard
        self._session = session
        self.margin = min(MOST, max(LEAST, int(getattr(guard, "reach", LEAST)), guard.longest_name + 8))
        """Characters of context before and after a block."""
        self._left = ""
        self._buffer = ""
        self._size = BLOCK + self.margin
        self.masked = 0
        """How many places were redacted so far."""

    def __repr__(self) -> str:
        return f"Redactor({len(self._buffer)} characters held)"

    def whole(self, text: str) -> str:
        """Return the redacted form of a complete text."""
        return self.feed(text) + self.close()

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the redacted text that can no longer change."""
        pieces: list[str] = []
        step = 2 * LONGEST_HIT
        for start in range(0, len(chunk), step):
            self._buffer += chunk[start : start + step]
            while (piece := self._block()) is not None:
                pieces.append(piece)
        return "".join(pieces)

    def close(self) -> str:
        """Return the rest; the redactor is then empty."""
        size = len(self._buffer)
        out = self._write(self._hits(size), size) if size else ""
        self._left = ""
        return out

    def _block(self) -> str | None:
        """Return the next block redacted, None if more text must come before it is decided."""
        while len(self._buffer) > self._size:
            key = open_key(self._buffer, self._size)
            end = self._size - self.margin if key < 0 else min(key, self._size - self.margin)
            if end > 0:
                hits = self._hits(self._size)
                end = self._end(hits, end)
                if end > 0:
                    return self._write(hits, end)
            if self._size >= LONGEST_HIT:
                raise InputError(f"a finding is longer than {LONGEST_HIT} characters")
            self._size *= 2  # one hit fills the window: look at more
        return None

    def _end(self, hits: list[Hit], end: int) -> int:
        """Return where the block ends: at or before ``end``, after a blank, in no hit; 0 if nowhere."""
        start = max(0, end - _BACK)
        blank = max(self._buffer.rfind(" ", start, end), self._buffer.rfind("\n", start, end))
        end = blank + 1 if blank >= 0 else end
        for hit in reversed(hits):
            if hit.start < end < hit.end:
                end = hit.start
        return end

    def _hits(self, size: int) -> list[Hit]:
        """Return the hits in the first ``size`` held characters, seen with what came before."""
        offset = len(self._left)
        window = self._left + self._buffer[:size]
        hits = self._guard.detect(window)
        if self._session is not None:
            self._session.notice(window, hits)
            hits = self._session.known(window, hits)
        return [
            hit._replace(start=max(0, hit.start - offset), end=hit.end - offset) for hit in hits if hit.end > offset
        ]

    def _write(self, hits: list[Hit], end: int) -> str:
        text = self._buffer[:end]
        inside = [hit for hit in hits if hit.start < end]
        self._buffer = self._buffer[end:]
        self._size = BLOCK + self.margin
        self._left = (self._left + text)[-self.margin :]
        self.masked += len(inside)
        if self._session is not None:
            return self._session.replace(text, inside, shaped=False)
        pieces: list[str] = []
        position = 0
        for hit in inside:
            pieces += (text[position : hit.start], f"<{hit.entity}>")
            position = hit.end
        return "".join(pieces) + text[position:]


class Bytes:
    """Carries a text stream over UTF-8: bytes in, cut anywhere, bytes out.

    ``errors``: ``strict`` refuses bytes that are not UTF-8, ``replace`` reads each as U+FFFD. A lone
    surrogate, which only a restored value can hold, goes out as ``?``: UTF-8 has no form for it.
    """

    def __init__(self, stream: TextStream, errors: str = "strict") -> None:
        if errors not in {"strict", "replace"}:
            raise InputError("errors is neither strict nor replace")
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def __repr__(self) -> str:
        return f"Bytes({self._stream!r})"

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return those that can no longer change.

        Raises:
            InputError: the bytes are not UTF-8; nothing more may be given out.
        """
        return self._stream.feed(self._text(chunk, final=False)).encode("utf-8", "replace")

    def close(self) -> bytes:
        """Return the rest.

        Raises:
            InputError: the bytes end within a character.
        """
        out = self._stream.feed(self._text(b"", final=True))
        return (out + self._stream.close()).encode("utf-8", "replace")

    def _text(self, chunk: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            raise InputError("the text is not UTF-8", hint='errors="replace" reads what is not as U+FFFD') from None
