"""Deltas: what the streams of all APIs have in common: texts that arrive in pieces, and where they stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, NoReturn

from trustplane.guard.proxy.leaves import Leaves, Text, dump, parse
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.sse import Event
from trustplane.guard.text.reply import Piece, joined

__all__ = ["Deltas", "Place", "bad"]

Place = tuple[int | str, ...]
MAX_TEXTS = 4096
"""Most texts in one stream: choices, tool calls and parts of a message together."""
MAX_KEPT = 32 * 1024 * 1024
"""Most that a stream keeps of its texts, in characters; each piece counts for PIECE more: half a million tokens."""
PIECE = 64
_FIXED = frozenset({"format", "id", "name", "object", "role", "signature", "status", "type"})
"""Keys whose strings come in one piece even in a stream."""


def bad(message: str) -> NoReturn:
    """Refuse a stream of an unknown shape."""
    raise ProxyRefusal("guard.proxy.stream_shape", 502, message)


class Deltas(ABC):
    """The texts of one stream by their places, and what still waits in them.

    A subclass reads the events of an API in :meth:`take`. ``ended``: the API's own end was seen; ``tail``: what is
    given out after everything else.
    """

    def __init__(self, leaves: Leaves) -> None:
        self.leaves = leaves
        self.texts: dict[Place, Text] = {}
        self.ended = False
        self.tail: list[Event] = []
        self._kinds: dict[Place, dict[str, Any]] = {}
        self._kept = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.texts)} texts)"

    @abstractmethod
    def take(self, event: Event) -> list[Event]:
        """Take one event with data; return the events to give out.

        Raises:
            ProxyRefusal: a shape that is not known; nothing more may be given out.
        """

    def close(self) -> None:  # noqa: B027  most streams have an end of their own
        """Note that the upstream's stream is over; an API whose streams have no end of their own ends here."""

    @property
    def text(self) -> str:
        """What was given out so far of each text, one after the other."""
        return "\n".join(given for text in self.texts.values() if (given := text.given))

    def read(self, event: Event) -> dict[str, Any]:
        """Return the object that an event carries."""
        value = parse(event.data or "")
        if not isinstance(value, dict):
            bad("an event of the upstream's stream is not an object")
        return value

    def again(self, event: Event, before: Any, value: Any) -> Event:
        """Return ``event`` with ``value`` in place of ``before``; as it came if nothing changed."""
        return event if value == before else event._replace(data=dump(value))

    def count(self, characters: int) -> None:
        """Count what is kept of the stream until its end; one without an end is ended here."""
        self._kept += characters + PIECE
        if self._kept > MAX_KEPT:
            raise ProxyRefusal("guard.proxy.reply_size", 502, "the upstream's stream is too long")

    def feed(self, place: Place, chunk: str, key: str) -> list[Piece]:
        """Give the next characters to the text at ``place``."""
        self.count(len(chunk))
        text = self.texts.get(place)
        if text is None:
            if len(self.texts) >= MAX_TEXTS:
                bad(f"the upstream's stream has more than {MAX_TEXTS} texts")
            text = self.texts[place] = Text(self.leaves, key)
        return text.feed(chunk)

    def rest(self, place: Place) -> str:
        """End the text at ``place``; return what waited in it."""
        return joined(self.texts[place].close())

    def open_below(self, place: Place) -> list[Place]:
        """Return the places at or below ``place`` whose texts are not ended."""
        return [p for p, text in self.texts.items() if p[: len(place)] == place and not text.closed]

    def walk(self, value: Any, place: Place, path: str, key: str, *, ends: bool = False) -> Any:
        """Return a delta with its strings fed to their texts; with ``ends`` they end here."""
        leaves = self.leaves
        if isinstance(value, str):
            if path in leaves.endpoint.media and not leaves.endpoint.free.covers(path):
                return leaves.media(value, key, part=True)
            if key in _FIXED:
                return leaves.name(value)
            out = joined(self.feed(place, value, key))
            return out + self.rest(place) if ends else out
        if isinstance(value, dict):
            known = {k: leaves.name(value[k]) for k in ("type", "format") if isinstance(value.get(k), str)}
            if known:
                self._kinds[place] = known
            return {k: self.walk(v, (*place, k), f"{path}.{k}", k, ends=ends) for k, v in value.items()}
        if isinstance(value, list):
            return [
                self.walk(item, (*place, _number(item, at)), f"{path}[]", key, ends=ends)
                for at, item in enumerate(value)
            ]
        return leaves.tree(value, path, key)

    def waiting(self, place: Place) -> dict[str, Any]:
        """End all texts below ``place``; return what waited in them as one delta."""
        delta: dict[str, Any] = {}
        for at in self.open_below(place):
            if text := self.rest(at):
                self._put(delta, place, at[len(place) :], text)
        return delta

    def _put(self, delta: dict[str, Any], root: Place, place: Place, text: str) -> None:
        """Set ``text`` at ``place`` of a delta; an item of a list gets its number as ``index``, and its type."""
        at: Any = delta
        here = root
        for step, following in pairwise(place):
            here = (*here, step)
            if isinstance(step, int):
                item = next((i for i in at if i["index"] == step), None)
                if item is None:
                    item = {"index": step, **self._kinds.get(here, {})}
                    at.append(item)
                at = item
            else:
                at = at.setdefault(step, [] if isinstance(following, int) else {})
        at[place[-1]] = text


def _number(item: Any, position: int) -> int:
    """Return the number of a list's item: its own ``index`` (tool calls), else where it stands."""
    if isinstance(item, dict) and type(item.get("index")) is int:
        return int(item["index"])
    return position
