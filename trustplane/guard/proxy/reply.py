"""Replies of /v1/chat/completions, whole and as chunks: restored, and cleaned of what was invented."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from trustplane.guard.proxy.body import dump, parse
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.text import Session
from trustplane.guard.text.reply import Cleaner

__all__ = ["ReplyStream", "clean_reply", "clean_tree", "json_escape"]

AS_IS = frozenset({"finish_reason", "id", "model", "object", "role", "service_tier", "system_fingerprint", "type"})
"""Keys of a reply whose strings are identifiers of the API."""
WHOLE = frozenset({"name"})
"""Keys whose strings come in one piece even in a stream."""


def json_escape(value: str) -> str:
    """Return ``value`` as it stands inside a JSON string."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _bad(message: str) -> ProxyRefusal:
    return ProxyRefusal("guard.proxy.reply_shape", 502, message)


class _Tally:
    """What was put back and masked in one reply."""

    def __init__(self) -> None:
        self.restored = 0
        self.masked = 0

    def add(self, cleaner: Cleaner) -> None:
        self.restored += cleaner.restored
        self.masked += cleaner.masked


def clean_tree(value: Any, session: Session, tally: _Tally, key: str = "") -> Any:
    """Return ``value`` with every string leaf restored and cleaned; tool arguments stay valid JSON."""
    if isinstance(value, str):
        if key in AS_IS:
            return value
        cleaner = session.cleaner(escape=json_escape if key == "arguments" else None)
        text = cleaner.whole(value)
        tally.add(cleaner)
        return text
    if isinstance(value, dict):
        return {k: None if k == "logprobs" else clean_tree(v, session, tally, k) for k, v in value.items()}
    if isinstance(value, list):
        return [clean_tree(item, session, tally, key) for item in value]
    return value


def clean_reply(data: bytes, session: Session) -> tuple[dict[str, Any], _Tally]:
    """Return the clean form of a whole reply (or of a provider's error) and what was done to it.

    Raises:
        ProxyRefusal: the reply is not a JSON object.
    """
    try:
        value = parse(data)
    except ProxyRefusal:
        raise _bad("the upstream's reply is not valid JSON") from None
    if not isinstance(value, dict):
        raise _bad("the upstream's reply is not a JSON object")
    tally = _Tally()
    return clean_tree(value, session, tally), tally


Place = tuple[int | str, ...]


class ReplyStream:
    """Cleans the chunks of one streamed reply; no I/O.

    Each string position (choice, field, tool call) has its own cleaner, so that a pseudonym cut over
    chunks comes out whole; what is held back goes out before the choice's ``finish_reason``. Joined
    per position, the text equals that of the reply in one piece.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cleaners: dict[Place, Cleaner] = {}
        self._template: dict[str, Any] = {}
        self._text: list[str] = []
        self._loose = _Tally()

    @property
    def restored(self) -> int:
        """Pseudonyms put back so far."""
        return self._loose.restored + sum(c.restored for c in self._cleaners.values())

    @property
    def masked(self) -> int:
        """Places masked so far."""
        return self._loose.masked + sum(c.masked for c in self._cleaners.values())

    @property
    def text(self) -> str:
        """The content given out so far, of all choices in order of arrival."""
        return "".join(self._text)

    def feed(self, data: str) -> list[str]:
        """Take the data of one event; return the data of the events to give out.

        Raises:
            ProxyRefusal: the chunk has an unknown shape; nothing more may be given out.
        """
        try:
            chunk = parse(data)
        except ProxyRefusal:
            raise _bad("a chunk of the upstream's stream is not valid JSON") from None
        if not isinstance(chunk, dict):
            raise _bad("a chunk of the upstream's stream is not an object")
        choices = chunk.get("choices")
        rest = {k: clean_tree(v, self._session, self._loose, k) for k, v in chunk.items() if k != "choices"}
        if choices is None and "error" in chunk:
            return [dump(rest)]
        if not isinstance(choices, list):
            raise _bad("a chunk of the upstream's stream has no choices")
        if choices:
            self._template = {k: rest[k] for k in ("id", "object", "created", "model") if k in rest}
        before: list[str] = []
        done = [self._choice(choice, before) for choice in choices]
        return [*before, dump({**rest, "choices": done})]

    def close(self) -> list[str]:
        """Return what is still held back, as chunks."""
        indexes = dict.fromkeys(place[0] for place in self._cleaners)
        return [tail for index in indexes if (tail := self._tail(index))]

    def _choice(self, choice: Any, before: list[str]) -> dict[str, Any]:
        if not isinstance(choice, dict) or type(choice.get("index")) is not int:
            raise _bad("a choice of the upstream's stream has no index")
        delta = choice.get("delta")
        if delta is None:
            delta = {}
        if not isinstance(delta, dict):
            raise _bad("a choice of the upstream's stream has a delta of an unknown shape")
        index = choice["index"]
        ends = choice.get("finish_reason") is not None
        cleaned = self._delta(delta, (index,), "", ends=ends)
        if ends and (tail := self._tail(index)):
            before.append(tail)
        rest = {
            k: None if k == "logprobs" else clean_tree(v, self._session, self._loose, k)
            for k, v in choice.items()
            if k != "delta"
        }
        return {**rest, "delta": cleaned}

    def _delta(self, value: Any, place: Place, key: str, *, ends: bool) -> Any:
        if isinstance(value, str):
            if key in AS_IS:
                return value
            if key in WHOLE:
                return clean_tree(value, self._session, self._loose, key)
            cleaner = self._cleaners.get(place)
            if cleaner is None:
                cleaner = self._session.cleaner(escape=json_escape if key == "arguments" else None)
                self._cleaners[place] = cleaner
            text = cleaner.feed(value) + (cleaner.close() if ends else "")
            if key == "content":
                self._text.append(text)
            return text
        if isinstance(value, dict):
            return {k: self._delta(v, (*place, k), k, ends=ends) for k, v in value.items()}
        if isinstance(value, list):
            return [self._delta(v, (*place, _number(v, i)), key, ends=ends) for i, v in enumerate(value)]
        return value

    def _tail(self, index: int | str) -> str:
        """Return one chunk with all that a choice still holds back, ``""`` if nothing."""
        delta: dict[str, Any] = {}
        for place, cleaner in self._cleaners.items():
            if place[0] == index and (text := cleaner.close()):
                _put(delta, place[1:], text)
                if place[-1] == "content":
                    self._text.append(text)
        if not delta:
            return ""
        choice = {"index": index, "delta": delta, "finish_reason": None}
        return dump({**self._template, "choices": [choice]})


def _number(item: Any, position: int) -> int:
    """Return the number of a list's item: its own ``index`` (tool calls), else where it stands."""
    if isinstance(item, dict) and type(item.get("index")) is int:
        return int(item["index"])
    return position


def _put(delta: dict[str, Any], place: Place, text: str) -> None:
    """Set ``text`` at ``place`` of a delta; an item of a list gets its number as ``index``."""
    at: Any = delta
    for step, following in pairwise(place):
        if isinstance(step, int):
            item = next((i for i in at if i["index"] == step), None)
            if item is None:
                item = {"index": step}
                at.append(item)
            at = item
        else:
            at = at.setdefault(step, [] if isinstance(following, int) else {})
    at[place[-1]] = text
