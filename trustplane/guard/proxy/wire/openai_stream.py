"""Streams of OpenAI's chat completions, completions and assistants: chunks of choices, and deltas of threads
(platform.openai.com, API reference, Streaming).
"""

from __future__ import annotations

from typing import Any

from trustplane.guard.proxy.leaves import Leaves, dump
from trustplane.guard.proxy.wire.deltas import Deltas, Place, bad
from trustplane.guard.proxy.wire.sse import Event
from trustplane.guard.text.reply import Piece, joined

__all__ = ["DONE", "ChoiceStream", "ThreadStream"]

DONE = "[DONE]"


class ChoiceStream(Deltas):
    """Chunks with choices. What waits in a choice's texts goes out before the chunk with its ``finish_reason``.

    ``marked``: the stream ends with ``[DONE]``, as one of events does and one of lines does not.
    """

    def __init__(self, leaves: Leaves, *, marked: bool = True) -> None:
        super().__init__(leaves)
        self._marked = marked
        self._template: dict[str, Any] = {}
        self._finished: set[int] = set()
        self._begun: dict[int, None] = {}
        self._chat = True
        self._probs: dict[Place, _Probs] = {}

    def take(self, event: Event) -> list[Event]:
        """Take one chunk."""
        if event.data == DONE:
            return self._end(event)
        value = self.read(event)
        choices = value.get("choices")
        rest = {k: self.leaves.tree(v, k, k) for k, v in value.items() if k != "choices"}
        if "choices" not in value and "error" in value:
            return self._end(self.again(event, value, rest))
        if not isinstance(choices, list):
            bad("a chunk of the upstream's stream has no choices")
        if choices:
            self._template = {k: rest[k] for k in ("id", "object", "created", "model") if k in rest}
        before: list[Event] = []
        done = [self._choice(choice, before) for choice in choices]
        again = {k: done if k == "choices" else rest[k] for k in value}
        return [*before, self.again(event, value, again)]

    def close(self) -> None:
        """End a stream of lines, which has no mark: every choice must have its reason."""
        if self._begun and not self._marked and self._finished >= set(self._begun):
            self.ended = True

    def _end(self, last: Event) -> list[Event]:
        self.ended = True
        self.tail = [last]
        return [event for index in self._begun for event in self._tail(index)]

    def _choice(self, choice: Any, before: list[Event]) -> dict[str, Any]:
        if not isinstance(choice, dict) or type(choice.get("index")) is not int:
            bad("a choice of the upstream's stream has no index")
        index = choice["index"]
        ends = choice.get("finish_reason") is not None
        self._begun.setdefault(index)
        self._chat = "delta" in choice or "text" not in choice
        delta, text = choice.get("delta"), choice.get("text")
        if not isinstance(delta, dict | None) or not isinstance(text, str | None):
            bad("a choice of the upstream's stream has a delta of an unknown shape")
        probs = self._probs.setdefault((index,), _Probs())
        probs.add(choice.get("logprobs"), text or (delta or {}).get("content"), (delta or {}).get("refusal"))
        found = dict(choice)
        if delta is not None:
            found["delta"] = self._delta(delta, index, probs, ends=ends)
        if text is not None:
            found["text"] = self._text((index, "text"), text, "text", probs, ends=ends)
        if ends:
            before += self._tail(index)
            self._finished.add(index)
        for key in choice.keys() - {"delta", "text", "logprobs"}:
            found[key] = self.leaves.tree(choice[key], f"choices[].{key}", key)
        if choice.get("logprobs"):
            found["logprobs"] = probs.out(self.leaves)
        return found

    def _delta(self, delta: dict[str, Any], index: int, probs: _Probs, *, ends: bool) -> dict[str, Any]:
        found = dict(delta)
        for key, value in delta.items():
            place: Place = (index, key)
            if key in {"content", "refusal"} and isinstance(value, str):
                found[key] = self._text(place, value, key, probs, ends=ends)
            elif key == "annotations":
                found[key] = self.leaves.tree(value, f"choices[].delta.{key}", key)
            else:
                found[key] = self.walk(value, place, f"choices[].delta.{key}", key, ends=ends)
        return found

    def _text(self, place: Place, value: str, key: str, probs: _Probs, *, ends: bool) -> str:
        pieces = self.feed(place, value, key)
        if ends:
            pieces = [*pieces, *self.texts[place].close()]
        probs.passed(pieces)
        return joined(pieces)

    def _tail(self, index: int) -> list[Event]:
        """Return all that a choice still holds back, as one chunk, with its log probabilities."""
        probs = self._probs.setdefault((index,), _Probs())
        held: dict[str, Any] = {}
        for key in ("content", "refusal", "text"):
            text = self.texts.get((index, key))
            if text is not None and not text.closed:
                pieces = text.close()
                probs.passed(pieces)
                if given := joined(pieces):
                    held[key] = given
        waiting = held | self.waiting((index,))
        if not waiting:
            return []
        if not self._chat and "text" in waiting:
            return [self._event(index, {"text": waiting["text"], "logprobs": None})]
        found = probs.out(self.leaves)
        return [self._event(index, {"delta": waiting, **({"logprobs": found} if found else {})})]

    def _event(self, index: int, more: dict[str, Any]) -> Event:
        choice = {"index": index, **more, "finish_reason": None}
        return Event(data=dump({**self._template, "choices": [choice]}))


class _Probs:
    """Log probabilities of one choice, which go out with the characters that they stand for, or not at all."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, int]] = []
        self._part = 0
        self._spoilt = False
        self._unlike = False
        self._ready: list[Any] = []

    def add(self, probs: Any, *texts: Any) -> None:
        """Take what a chunk has; if its tokens do not spell its text, none goes out any more."""
        text = "".join(t for t in texts if isinstance(t, str))
        entries = probs.get("content") or probs.get("refusal") if isinstance(probs, dict) else None
        tokens = [e.get("token") if isinstance(e, dict) else None for e in entries] if isinstance(entries, list) else []
        if tokens and all(isinstance(t, str) for t in tokens) and "".join(map(str, tokens)) == text:
            self._waiting += [(entry, len(token)) for entry, token in zip(entries or (), map(str, tokens), strict=True)]
            return
        if text or probs:
            self._unlike = True

    def passed(self, pieces: list[Piece]) -> None:
        """Note what became of the characters."""
        for piece in pieces:
            left = piece.taken
            while left and self._waiting:
                entry, size = self._waiting[0]
                now = min(left, size - self._part)
                self._part += now
                left -= now
                self._spoilt = self._spoilt or not piece.kept
                if self._part == size:
                    if not self._spoilt:
                        self._ready.append(entry)
                    self._waiting.pop(0)
                    self._part, self._spoilt = 0, False

    def out(self, leaves: Leaves) -> Any:
        """Return what goes along with this chunk."""
        ready, self._ready = self._ready, []
        return leaves.logprobs({"content": ready, "refusal": None}) if ready and not self._unlike else None


class ThreadStream(Deltas):
    """Events of assistants' runs: ``thread.message.delta`` and ``thread.run.step.delta``, and objects that are whole.

    What waits in the texts of an object goes out before the next event that is about this object.
    """

    def __init__(self, leaves: Leaves) -> None:
        super().__init__(leaves)
        self._names: dict[str, str] = {}

    def take(self, event: Event) -> list[Event]:
        """Take one event."""
        if event.data == DONE:
            self.ended, self.tail = True, [event]
            return [e for identity in self._names for e in self._tail(identity)]
        value = self.read(event)
        identity, name = value.get("id"), event.name or str(value.get("object") or "")
        if name == "error" or (not event.name and "error" in value):
            self.ended, self.tail = True, [self.again(event, value, self.leaves.tree(value))]
            return []
        if name.endswith(".delta") and isinstance(value.get("delta"), dict) and isinstance(identity, str):
            self._names[identity] = name
            rest = {k: self.leaves.tree(v, k, k) for k, v in value.items() if k != "delta"}
            delta = self.walk(value["delta"], (identity,), "delta", "delta")
            return [self.again(event, value, {**value, **rest, "delta": delta})]
        if "delta" in value:
            bad("an event of the upstream's stream has a delta of an unknown shape")
        before = self._tail(identity) if isinstance(identity, str) else []
        return [*before, self.again(event, value, self.leaves.tree(value))]

    def _tail(self, identity: str) -> list[Event]:
        waiting = self.waiting((identity,))
        if not waiting:
            return []
        name = self._names[identity]
        shown = {"id": self.leaves.name(identity), "object": name, "delta": waiting}
        return [Event(name, dump(shown))]
