"""Streams of MCP: each event is a whole JSON-RPC message (specification 2025-06-18, Streamable HTTP)."""

from __future__ import annotations

from typing import Any

from trustplane.guard.proxy.leaves import Leaves, parse
from trustplane.guard.proxy.wire.deltas import Deltas, bad
from trustplane.guard.proxy.wire.sse import Event

__all__ = ["RpcStream"]


class RpcStream(Deltas):
    """JSON-RPC messages. The stream of a request ends with the response to it, one that was opened by GET when the
    server closes it.
    """

    def __init__(self, leaves: Leaves, *, answers: bool) -> None:
        super().__init__(leaves)
        self._answers = answers
        self._shown: list[str] = []

    @property
    def text(self) -> str:
        """The texts of all messages so far."""
        return "\n".join(self.leaves.shown)

    def take(self, event: Event) -> list[Event]:
        """Take one event."""
        if not event.data:
            return [event]
        self.count(len(event.data))
        value: Any = parse(event.data)
        messages = value if isinstance(value, list) else [value]
        if not messages or not all(isinstance(m, dict) and "jsonrpc" in m for m in messages):
            bad("an event of the upstream's stream is not a JSON-RPC message")
        last = self.again(event, value, self.leaves.tree(value))
        if self._answers and any("id" in m and ("result" in m or "error" in m) for m in messages):
            self.ended, self.tail = True, [last]
            return []
        return [last]

    def close(self) -> None:
        """A stream without a request may end at any message."""
        self.ended = self.ended or not self._answers
