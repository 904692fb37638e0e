"""Streams of typed events: OpenAI's Responses, transcriptions, speech and images (API reference, Streaming events)."""

from __future__ import annotations

from typing import Any

from trustplane.guard.proxy.leaves import Leaves, dump
from trustplane.guard.proxy.wire.deltas import Deltas, Place, bad
from trustplane.guard.proxy.wire.openai_stream import DONE
from trustplane.guard.proxy.wire.sse import Event
from trustplane.guard.text.reply import joined

__all__ = ["TypedStream"]

_LAST = frozenset(
    {"error", "response.completed", "response.failed", "response.incomplete", "transcript.text.done"}
    | {"speech.audio.done", "image_generation.completed", "image_edit.completed"}
)
_PLACES = ("output_index", "content_index", "summary_index", "command_index", "item_id", "segment_id")
"""Fields that say which text a delta belongs to."""
_AUDIO = frozenset({"response.audio", "response.output_audio", "speech.audio"})
_TEXTS = frozenset({"arguments", "code", "command", "input", "refusal", "text", "transcript"})
"""Where the event that ends a text has all of it."""
_KEYS = {"response.function_call_arguments": "arguments", "response.mcp_call_arguments": "arguments"}


class TypedStream(Deltas):
    """Events whose ``type`` says what they are: ``x.delta`` brings a piece of a text, ``x.done`` ends it.

    What waits in a text goes out as a delta before the event that ends it, its part, its item or the response.
    Events that are put in get numbers of their own, so all later ones are counted on.
    """

    def __init__(self, leaves: Leaves) -> None:
        super().__init__(leaves)
        self._first: dict[Place, dict[str, Any]] = {}
        self._shift = 0
        self.sequence = 0
        """The number that the next event would have."""

    def take(self, event: Event) -> list[Event]:
        """Take one event."""
        if event.data == DONE:
            self.ended, self.tail = True, [event]
            return self._flush((), {})
        value = self.read(event)
        kind = value.get("type", event.name)
        if not isinstance(kind, str) or not kind:
            bad("an event of the upstream's stream has no type")
        before: list[Event] = []
        if kind.endswith(".delta") and "delta" in value:
            again = self._delta(kind.removesuffix(".delta"), value)
        elif "delta" in value:
            bad("an event of the upstream's stream has a delta that belongs nowhere")
        else:
            before = self._ended_by(kind, value)
            again = self._whole(kind, value)
        last = self.again(event, value, self._numbered(again))
        if kind in _LAST:
            self.ended, self.tail = True, [last]
            return before
        return [*before, last]

    def _whole(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        if kind.startswith("speech.audio.") and isinstance(value.get("audio"), str):
            own["audio"] = self.leaves.media(value["audio"], "audio", part=True)
        if kind.endswith(".done"):
            own |= {k: self.leaves.text(v, k) for k, v in value.items() if k in _TEXTS and isinstance(v, str)}
        rest = self.leaves.tree({k: v for k, v in value.items() if k not in own})
        return {k: own[k] if k in own else rest[k] for k in value}

    def _delta(self, root: str, value: dict[str, Any]) -> dict[str, Any]:
        delta = value["delta"]
        place: Place = (root, *(f"{k}={value[k]}" for k in _PLACES if k in value))
        rest = {k: v for k, v in value.items() if k not in {"delta", "logprobs"}}
        found = self.leaves.tree(rest)
        again = {k: found.get(k) for k in value}
        if root in _AUDIO and isinstance(delta, str):
            again["delta"] = self.leaves.media(delta, "audio", part=True)
            return again
        self._first.setdefault(place, {k: v for k, v in found.items() if k not in {"obfuscation", "sequence_number"}})
        key = _KEYS.get(root, "text")
        if isinstance(delta, str):
            again["delta"] = joined(self.feed(place, delta, key))
        elif isinstance(delta, dict) and delta and all(isinstance(part, str) for part in delta.values()):
            again["delta"] = {k: joined(self.feed((*place, k), part, "text")) for k, part in delta.items()}
        else:
            bad("an event of the upstream's stream has a delta of an unknown shape")
        if "logprobs" in value:
            same = again["delta"] == delta
            again["logprobs"] = self.leaves.logprobs(value["logprobs"]) if same and value["logprobs"] else []
        return again

    def _ended_by(self, kind: str, value: dict[str, Any]) -> list[Event]:
        """Return what waited in the texts that this event ends."""
        if kind in _LAST:
            return self._flush((), value)
        if not kind.endswith((".done", ".completed", ".failed")):
            return []
        place = tuple(f"{k}={value[k]}" for k in _PLACES if k in value and k != "item_id")
        root = kind.rpartition(".")[0]
        found: list[Event] = []
        for text in [p for p, open_text in self.texts.items() if not open_text.closed]:
            wide = root in {"response.output_item", "response.content_part", "response.reasoning_summary_part"}
            if (text[0] == root or wide or root == str(text[0]).rpartition("_")[0]) and set(place) <= set(text):
                found += self._flush(text, value)
        return found

    def _flush(self, place: Place, following: dict[str, Any]) -> list[Event]:
        found = []
        for at in self.open_below(place):
            text = self.rest(at)
            first = self._first.get(at) or self._first[at[:-1]]
            if text:
                delta: Any = text if at in self._first else {str(at[-1]): text}
                value: dict[str, Any] = {**first, "delta": delta}
                if "logprobs" in first or at[0] == "response.output_text":
                    value["logprobs"] = []
                if type(following.get("sequence_number")) is int:
                    value["sequence_number"] = following["sequence_number"] + self._shift
                    self._shift += 1
                found.append(Event(str(value.get("type", "")), dump(value)))
        return found

    def _numbered(self, value: dict[str, Any]) -> dict[str, Any]:
        number = value.get("sequence_number")
        if type(number) is not int:
            return value
        self.sequence = number + self._shift + 1
        return {**value, "sequence_number": number + self._shift}
