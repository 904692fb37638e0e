"""Passed: the reply of a path that the settings let through unguarded; nothing of it is read."""

from __future__ import annotations

from trustplane.guard.proxy.events import Headers
from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = ["PassedReply"]

_BACK = frozenset(
    {"content-disposition", "content-encoding", "content-type", "etag", "last-modified", "location", "retry-after"}
    | {"x-request-id", "request-id", "openai-processing-ms"}
)


class PassedReply:
    """A reply that goes on as it came; a stream of events stays one."""

    tail = b""
    restored = masked = 0
    text = ""

    def __init__(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers: Headers = tuple((name, value) for name, value in headers if name in _BACK)
        kind = next((value for name, value in headers if name == "content-type"), "")
        self.streaming = kind.partition(";")[0].strip().lower() == "text/event-stream"
        self.ended = False

    def __repr__(self) -> str:
        return f"PassedReply({self.status})"

    def feed(self, data: bytes) -> bytes:
        """Return ``data``."""
        return data

    def close(self) -> bytes:
        """Note the end."""
        self.ended = True
        return b""

    def error(self, refusal: ProxyRefusal, request_id: str) -> bytes:  # noqa: ARG002  the same for all
        """Return nothing: what form an error would have is not known, and the stream just ends."""
        return b""
