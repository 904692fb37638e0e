"""Content codings of replies (RFC 9110, section 8.4.1): gzip, deflate and br undone as bytes come, within limits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = ["Decoder", "decoder_for"]

STEP = 1 << 18
"""Most bytes that come out of one step."""
FREE = 1 << 20
MOST_RATIO = 400
"""Above ``FREE`` bytes, most bytes out for one byte in: text reaches about 20, a bomb 1,000."""


def _refuse(rule: str, message: str) -> ProxyRefusal:
    return ProxyRefusal(f"guard.proxy.{rule}", 502, message)


class Decoder:
    """Undoes one coding; ``identity`` passes bytes on. ``limit``: most bytes out, 0 for any."""

    def __init__(self, coding: str = "identity", limit: int = 0) -> None:
        self._coding = coding
        self._limit = limit
        self._in = self._out = 0
        self._ended = coding == "identity"
        self._begun = False
        self._engine: Any = None
        if coding == "br":
            try:
                import brotli  # type: ignore[import-untyped]
            except ImportError:
                raise _refuse("reply_coding", "the upstream's reply is coded as br, which is not installed") from None
            self._engine = brotli.Decompressor()
        elif coding == "gzip":
            self._engine = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def __repr__(self) -> str:
        return f"Decoder({self._coding})"

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what they stand for.

        Raises:
            ProxyRefusal: what comes is not in this coding, or grows out of all proportion.
        """
        self._in += len(data)
        if self._coding == "identity":
            self._count(len(data))
            return data
        pieces: list[bytes] = []
        try:
            for piece in self._brotli(data) if self._coding == "br" else self._zlib(data):
                self._count(len(piece))
                pieces.append(piece)
        except ProxyRefusal:
            raise
        except Exception:  # noqa: BLE001  zlib.error, brotli.error: both mean the same
            raise _refuse("reply_coding", "the upstream's reply is not coded as it says") from None
        return b"".join(pieces)

    def close(self) -> None:
        """Check that the end was there.

        Raises:
            ProxyRefusal: the coded data was cut.
        """
        if not self._ended and self._in:
            raise _refuse("upstream_broke", "the upstream's reply ended before its end")

    def _count(self, size: int) -> None:
        self._out += size
        over = self._out > FREE and self._out > MOST_RATIO * self._in and self._coding != "identity"
        if over or (self._limit and self._out > self._limit):
            raise _refuse("reply_size", "the upstream's reply is too long")

    def _zlib(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._ended:
                if self._coding != "gzip":
                    raise _refuse("reply_coding", "the upstream's reply goes on after its end")
                self._engine = zlib.decompressobj(16 + zlib.MAX_WBITS)  # RFC 1952: members follow one another
                self._ended = False
            if self._engine is None:  # RFC 9110 means zlib's format; some servers send plain deflate
                is_zlib = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
                self._engine = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
            yield self._engine.decompress(data, STEP)
            while self._engine.unconsumed_tail:
                yield self._engine.decompress(self._engine.unconsumed_tail, STEP)
            while len(rest := self._engine.decompress(b"", STEP)) > 0:
                yield rest
            self._ended, data = self._engine.eof, self._engine.unused_data

    def _brotli(self, data: bytes) -> Iterator[bytes]:
        if self._ended and data:
            raise _refuse("reply_coding", "the upstream's reply goes on after its end")
        yield self._engine.process(data, output_buffer_limit=STEP)
        while not self._engine.can_accept_more_data():
            yield self._engine.process(b"", output_buffer_limit=STEP)
        self._ended = self._engine.is_finished()


def decoder_for(coding: str, limit: int = 0) -> Decoder:
    """Return what undoes a ``Content-Encoding``.

    Raises:
        ProxyRefusal: a coding that is not known, or several of them.
    """
    name = coding.strip().lower().removeprefix("x-") or "identity"
    if name not in {"identity", "gzip", "deflate", "br"}:
        raise _refuse("reply_coding", "the upstream's reply has a content coding that is not known")
    return Decoder(name, limit)
