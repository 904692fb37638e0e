"""Leaves of replies: every string and number of a JSON value restored and cleaned, whole or piece by piece."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from trustplane.guard.proxy.media import media_kind
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.text import Session
from trustplane.guard.text.reply import Cleaner, Piece, joined
from trustplane.guard.text.reply_json import MAX_DEPTH, MIN_DIGITS, ReplyText, leading
from trustplane.guard.text.reply_view import ReplyView

__all__ = ["Leaves", "Text", "dump", "parse"]

MOST_KEPT = 1 << 20
"""Characters of texts whose clean form is kept, since streams say each text several times."""
MOST_NAMES = 256
"""Identifiers whose clean form is kept; each chunk of a stream repeats the same few."""
SENTENCE = 400
"""Most characters that wait for the end of a sentence where a judge reads along, and that it reads again before it."""
_PLAIN_KEY = re.compile(r"[A-Za-z_]{1,40}\Z")
_WORD = re.compile(r"[a-z_.]{0,40}\Z")
_BRACKETED = re.compile(r"<([A-Z0-9_]+)>")
_ENDS = re.compile(r"[.!?](?=\s)|[。！？\n]")
_SHOWN = frozenset({"content", "text", "refusal", "arguments", "transcript", "completion", "input", "partial_json"})
"""Keys of the texts that the log commits to as the output."""
_PLAIN_TEXT = _SHOWN | {"value", "reasoning", "reasoning_content", "thinking", "output", "code", "summary", "message"}
_PLAIN_TEXT |= {"command", "stdout", "stderr", "instructions", "title", "description", "reason"}
"""Keys that say nothing about the text under them."""
_TIMES = re.compile(r"(?:^|\.|_)(?:created|bytes|seed|ttl|timestamp|[a-z]+_(?:at|tokens|bytes|ns|ms|duration))\Z")
_SECONDS = range(10**9, 22 * 10**8)
"""Seconds since 1970, from 2001 to 2039; in milliseconds a thousand times that."""
_LARGE = 10**8
"""A float below it has too few digits to be an identifier of a person."""
_VECTOR = 64
"""Shortest base64 text that is taken for an embedding: 12 floats."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def _bad(message: str, rule: str = "reply_shape") -> NoReturn:
    raise ProxyRefusal(f"guard.proxy.{rule}", 502, message)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _constant(_text: str) -> NoReturn:
    raise ValueError


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def parse(data: bytes | str) -> Any:
    """Read strict JSON: no key twice in one object, no NaN, UTF-8.

    Raises:
        ProxyRefusal: it is none.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)
    except (ValueError, RecursionError):
        _bad("the upstream's reply is not valid JSON")


def dump(value: Any) -> str:
    """Return compact JSON; a lone surrogate stays an escape."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


class Text:
    """One text of a stream. What a judge of the policy reads goes out sentence by sentence, else as it is decided."""

    def __init__(self, leaves: Leaves, key: str) -> None:
        self._leaves = leaves
        self._before = leaves.before(key)
        self._cleaner = ReplyText(leaves.view, leaves.pseudonyms, self._before)
        self._source: list[str] = []
        self._given: list[str] = []
        self._waiting = self._read = ""
        self.closed = False

    def __repr__(self) -> str:
        return f"Text({sum(map(len, self._given))} characters given)"

    @property
    def given(self) -> str:
        """The text given out so far."""
        return "".join(self._given)

    def feed(self, chunk: str) -> list[Piece]:
        """Take the next chunk; return what can go out.

        Raises:
            ProxyRefusal: the text had ended.
            ReplyStopped: the policy stops it.
        """
        if self.closed and chunk:
            _bad("a text of the upstream's stream goes on after its end")
        self._source.append(chunk)
        return self._judged(self._cleaner.pieces(chunk), final=False) if chunk else []

    def close(self) -> list[Piece]:
        """Return the rest."""
        if self.closed:
            return []
        self.closed = True
        out = self._judged(self._cleaner.pieces("", final=True), final=True)
        self._leaves.restored += self._cleaner.restored
        self._leaves.masked += self._cleaner.masked
        self._leaves.keep(self._before, "".join(self._source), self.given)
        return out

    def _judged(self, pieces: list[Piece], *, final: bool) -> list[Piece]:
        if not self._leaves.judging:
            self._given.append(joined(pieces))
            return pieces
        self._waiting += joined(pieces)
        end = len(self._waiting) if final or len(self._waiting) >= SENTENCE else 0
        for found in _ENDS.finditer(self._waiting):
            end = max(end, found.end())
        now, self._waiting = self._waiting[:end], self._waiting[end:]
        if now:
            self._leaves.judge(self._read + now)
            self._read = (self._read + now)[-SENTENCE:]
            self._given.append(now)
        return [Piece(0, now, False)] if now else []


class Leaves:
    """Cleans the leaves of the reply to one request.

    ``session``: whose pseudonyms are put back. ``view``: what counts in a reply. ``media``: what happens to images,
    audio and files.
    """

    def __init__(self, endpoint: Endpoint, session: Session, view: ReplyView, media: Literal["refuse", "pass"]) -> None:
        self.endpoint, self.view, self._media = endpoint, view, media
        self.pseudonyms = session.pseudonyms
        self.judging = bool(view.judges)
        self.restored = self.masked = self.passed = 0
        """Pseudonyms put back, places masked, media let through."""
        self.shown: list[str] = []
        self._kept: dict[tuple[str, str], str] = {}
        self._names: dict[str, str] = {}
        self._room = MOST_KEPT

    def __repr__(self) -> str:
        return f"Leaves({self.endpoint.name})"

    @property
    def lets_media(self) -> bool:
        """Whether images, audio and files pass."""
        return self._media == "pass"

    def before(self, key: str) -> str:
        """Return the words that stand before a text under ``key``."""
        return "" if key in _PLAIN_TEXT else leading(key)

    def keep(self, before: str, source: str, clean: str) -> None:
        """Remember the clean form of a text."""
        self._room -= len(source)
        if self._room > 0:
            self._kept[before, source] = clean

    def judge(self, text: str) -> None:
        """Ask the judges of the policy."""
        self.view.judge(text, source="tool" if self.endpoint.api == "mcp" else "model")

    def text(self, value: str, key: str = "") -> str:
        """Return the clean form of a whole text; JSON stays JSON."""
        before = self.before(key)
        found = self._kept.get((before, value))
        if found is not None:
            return found
        cleaner = ReplyText(self.view, self.pseudonyms, before)
        clean = cleaner.whole(value)
        self.restored += cleaner.restored
        self.masked += cleaner.masked
        if self.judging:
            self.judge(clean)
        self.keep(before, value, clean)
        return clean

    def name(self, value: str) -> str:
        """Return an identifier of the API with pseudonyms put back and what is surely personal data masked."""
        if _WORD.match(value):
            return value
        if value in self._names:
            return self._names[value]
        cleaner = Cleaner(self.view.identifiers, self.pseudonyms)
        clean = cleaner.whole(value)
        self.restored += cleaner.restored
        self.masked += cleaner.masked
        clean = _BRACKETED.sub(r"\1", clean) if cleaner.masked else clean
        if len(self._names) < MOST_NAMES:
            self._names[value] = clean
        return clean

    def media(self, value: str, key: str = "", *, part: bool = False) -> str:
        """Return an image, a sound or a file as it is if the settings let it pass; ``part``: of a stream."""
        kind = media_kind(value)
        if not kind and not (part and re.fullmatch(r"[A-Za-z0-9+/=_-]*", value)):
            return self.text(value, key)
        if not value:
            return value
        if not self.lets_media:
            _bad("the reply holds an image, audio or a file, which is not let through", "media")
        self.passed += 1
        return self.text(value, key) if kind == "url" else value

    def tree(self, value: Any, place: str = "", key: str = "", depth: int = 0) -> Any:
        """Return ``value`` with every leaf clean; ``place``: where it stands, as in the endpoint's tables.

        Raises:
            ProxyRefusal: nested too deep, or media that is refused.
            ReplyStopped: the policy stops the reply.
        """
        if isinstance(value, str):
            return self._string(value, place, key)
        if isinstance(value, dict):
            if depth >= MAX_DEPTH:
                _bad("the upstream's reply is nested too deep")
            return self._object(value, place, depth)
        if isinstance(value, list):
            if depth >= MAX_DEPTH:
                _bad("the upstream's reply is nested too deep")
            if len(value) > 8 and all(type(item) is float and abs(item) < _LARGE for item in value):
                return value
            return [self.tree(item, f"{place}[]", key, depth + 1) for item in value]
        if type(value) is int or type(value) is float:
            return self._number(value, place, key)
        return value

    def _object(self, value: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in value.items():
            plain = _PLAIN_KEY.match(key)
            inner = f"{place}.{key if plain else '*'}" if place else key if plain else "*"
            name = key if plain else self._key(key, found)
            if key == "logprobs" and item and isinstance(item, dict | list):
                found[name] = item
            else:
                found[name] = self.tree(item, inner, key, depth + 1)
        if found.get("logprobs") and isinstance(found["logprobs"], dict | list):
            rest = {k: v for k, v in value.items() if k != "logprobs"}
            same = rest == {k: v for k, v in found.items() if k != "logprobs"}
            found["logprobs"] = self.logprobs(found["logprobs"]) if same else _none(found["logprobs"])
        return found

    def _key(self, key: str, taken: dict[str, Any]) -> str:
        clean = Cleaner(self.view, self.pseudonyms)
        name = shown = clean.whole(key)
        self.restored += clean.restored
        self.masked += clean.masked
        number = 1
        while name in taken:
            number += 1
            name = f"{shown}#{number}"
        return name

    def _string(self, value: str, place: str, key: str) -> str:
        if not value:
            return value
        endpoint = self.endpoint
        if key == "results_url" and endpoint.api == "anthropic":
            value = urlsplit(value).path  # a whole address would lead the client past the guard, with its key
        free = endpoint.free.covers(place)
        if not free and place in endpoint.media:
            return self.media(value, key)
        if not free and place in endpoint.reply_identifiers:
            return self.name(value)
        if place == "data[].embedding" and len(value) >= _VECTOR and _BASE64.fullmatch(value) and len(value) % 4 == 0:
            return value  # little-endian floats as base64 (API reference, encoding_format)
        clean = self.text(value, key)
        if key in _SHOWN:
            self.shown.append(clean)
        return clean

    def _number(self, value: float, place: str, key: str) -> Any:
        if abs(value) < 10 ** (MIN_DIGITS - 1):
            return value
        known = _TIMES.search(key) or place in self.endpoint.reply_identifiers
        if known and not self.endpoint.free.covers(place) and _plausible(value):
            return value
        before = leading(key)
        for hit in self.view.detect(f"{before}{abs(math.trunc(value))}"):
            if hit.end > len(before):
                self.masked += 1
                return f"<{hit.entity}>"
        return value

    def logprobs(self, value: Any) -> Any:
        """Return log probabilities if nothing is found in what their tokens spell, else none.

        The alternatives of each rank are read one after another, too.
        """
        entries = value if isinstance(value, list) else [e for v in value.values() if isinstance(v, list) for e in v]
        spelled = ["".join(map(_token, entries)), *(token for e in entries if len(token := _token(e)) >= _LONG_TOKEN)]
        ranks = [_alternatives(e) for e in entries]
        most = max(map(len, ranks), default=0)
        spelled += ["".join(r[rank] for r in ranks if rank < len(r)) for rank in range(most)]
        known = (isinstance(value, list) or set(value) <= _LOGPROBS) and all(map(_honest, entries))
        return value if known and all(self.text(text) == text for text in spelled) else _none(value)


_LONG_TOKEN = 7
"""A token of so many characters may hold a value by itself; a neighbour must not hide it."""
_LOGPROBS = frozenset({"content", "refusal", "tokens", "token_logprobs", "top_logprobs", "text_offset"})


def _token(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    token = entry.get("token") if isinstance(entry, dict) else ""
    return token if isinstance(token, str) else ""


def _alternatives(entry: Any) -> list[str]:
    if not isinstance(entry, dict):
        return []
    top = entry.get("top_logprobs")
    return [_token(item) for item in top] if isinstance(top, list) else [k for k in entry if k not in _ENTRY]


_ENTRY = frozenset({"token", "logprob", "bytes", "top_logprobs"})


def _honest(entry: Any) -> bool:
    """Return whether an entry says what its token says, and nothing more."""
    if not isinstance(entry, dict) or "token" not in entry:
        return True  # older forms: texts, and a table of alternatives, whose keys are read as tokens
    shown = entry.get("bytes")
    top = entry.get("top_logprobs")
    return (
        set(entry) <= _ENTRY
        and (shown is None or shown == list(_token(entry).encode("utf-8", "surrogatepass")))
        and (top is None or (isinstance(top, list) and all(isinstance(t, dict) and _honest(t) for t in top)))
    )


def _plausible(value: float) -> bool:
    """Return whether a number may be a time or a count of the API itself."""
    number = int(abs(value))
    return number in _SECONDS or number // 1000 in _SECONDS or number < 10 * _LARGE


def _none(value: Any) -> Any:
    return [] if isinstance(value, list) else None
