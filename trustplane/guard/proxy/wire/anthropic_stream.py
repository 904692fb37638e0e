"""Streams of Anthropic's Messages and of its older text completions (docs.anthropic.com, Streaming messages)."""

from __future__ import annotations

from typing import Any

from trustplane.guard.proxy.leaves import dump
from trustplane.guard.proxy.wire.deltas import Deltas, Place, bad
from trustplane.guard.proxy.wire.sse import Event
from trustplane.guard.text.reply import joined

__all__ = ["MessageStream"]

_WHOLE = frozenset({"citations_delta"})
_OPAQUE = frozenset({"signature", "data", "encrypted_content", "type"})
_STARTS = frozenset({"text", "thinking"})


class MessageStream(Deltas):
    """Events of one message. What waits in a block goes out before its ``content_block_stop``."""

    def take(self, event: Event) -> list[Event]:
        """Take one event."""
        value = self.read(event)
        kind = value.get("type", event.name)
        if kind == "content_block_delta":
            return [self.again(event, value, self._delta(value))]
        if kind == "content_block_start":
            return [self.again(event, value, self._start(value))]
        if kind == "completion":
            return self._completion(event, value)
        if "delta" in value and kind != "message_delta":
            bad("an event of the upstream's stream has a delta that belongs nowhere")
        before: list[Event] = []
        if kind == "content_block_stop":
            before = self._flush((_index(value),))
        elif kind in {"message_delta", "message_stop", "error"}:
            before = self._flush(())
        last = self.again(event, value, self.leaves.tree(value))
        if kind in {"message_stop", "error"}:
            self.ended, self.tail = True, [last]
            return before
        return [*before, last]

    def _start(self, value: dict[str, Any]) -> dict[str, Any]:
        block = value.get("content_block")
        if not isinstance(block, dict):
            bad("a block of the upstream's stream is not an object")
        again = self.leaves.tree(value)
        for key in _STARTS & block.keys():
            if isinstance(block[key], str):
                place: Place = (_index(value), f"{key}_delta", key)
                again["content_block"][key] = joined(self.feed(place, block[key], key))
        return dict(again)

    def _delta(self, value: dict[str, Any]) -> dict[str, Any]:
        delta = value.get("delta")
        if not isinstance(delta, dict) or not isinstance(delta.get("type"), str):
            bad("a delta of the upstream's stream has no type")
        kind = delta["type"]
        rest = self.leaves.tree({k: v for k, v in value.items() if k != "delta"})
        again: dict[str, Any] = {}
        for key, item in delta.items():
            if isinstance(item, str) and key not in _OPAQUE and kind not in _WHOLE:
                again[key] = joined(self.feed((_index(value), kind, key), item, key))
            else:
                again[key] = self.leaves.tree(item, f"delta.{key}", key)
        return {k: again if k == "delta" else rest[k] for k in value}

    def _flush(self, place: Place) -> list[Event]:
        found = []
        for at in self.open_below(place):
            if text := self.rest(at):
                index, kind, key = at
                shown = {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}}
                found.append(Event("content_block_delta", dump(shown)))
        return found

    def _completion(self, event: Event, value: dict[str, Any]) -> list[Event]:
        text = value.get("completion")
        if not isinstance(text, str):
            bad("a completion of the upstream's stream has no text")
        place: Place = (0, "completion", "completion")
        shown = joined(self.feed(place, text, "completion"))
        ends = value.get("stop_reason") is not None
        if ends:
            shown += self.rest(place)
        rest = self.leaves.tree({k: v for k, v in value.items() if k != "completion"})
        last = self.again(event, value, {k: shown if k == "completion" else rest[k] for k in value})
        if ends:
            self.ended, self.tail = True, [last]
            return []
        return [last]


def _index(value: dict[str, Any]) -> int:
    index = value.get("index")
    if type(index) is not int:
        bad("an event of the upstream's stream has no index")
    return int(index)
