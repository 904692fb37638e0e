"""Request bodies of /v1/chat/completions: strict JSON, known shape, every string leaf hidden."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.hit import Hit

__all__ = ["Hidden", "check_shape", "dump", "hide_body", "parse", "prompt_text"]

MAX_DEPTH = 64
"""Deepest nesting, JSON inside strings included."""
STRONG = frozenset(
    {"API_KEY", "CN_RESIDENT_ID", "CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "LISTED_NAME"}
    | {"PERSON", "PHONE_NUMBER", "PRIVATE_KEY", "US_SSN"}
)
"""Rules that block where a value cannot be replaced: in an identifier or a number."""
STRUCTURAL = frozenset({"id", "model", "name", "object", "role", "tool_call_id", "type"})
"""Keys whose strings the API reads as identifiers; they go out as they are or not at all."""
SHAPED = frozenset({"function_call", "functions", "messages", "model", "response_format", "tool_choice", "tools"})
"""Fields of a request in which those keys have that meaning; elsewhere every string is a text."""
TEXT_PARTS = frozenset({"input_text", "output_text", "refusal", "text"})
NUMBERS = frozenset({"created", "max_completion_tokens", "max_tokens", "seed"})
"""Keys whose numbers are parameters of the API, as long as they have ten digits at most."""
MIN_DIGITS = 9
"""Shortest number that is looked at: a social security number, a phone or a card sent as a number."""


class Hidden(NamedTuple):
    """A body ready to be sent: hidden, with the places found per rule and whether ``store`` was turned off."""

    body: dict[str, Any]
    counts: Counter[str]
    store_off: bool


def _no(rule: str, message: str, status: int = 400) -> NoReturn:
    raise ProxyRefusal(f"guard.proxy.{rule}", status, message)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _no("duplicate_key", "the JSON has the same key twice in one object")
    return found


def _constant(_text: str) -> NoReturn:
    _no("json", "NaN and Infinity are not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _no("json", "a number is out of range")
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    _no("depth", f"the JSON is nested deeper than {MAX_DEPTH}")


def parse(data: bytes | str) -> Any:
    """Read strict JSON: no duplicate key, no NaN, finite numbers, at most 64 levels, UTF-8.

    Raises:
        ProxyRefusal: the rule names what is wrong.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)
    except RecursionError:
        _no("depth", f"the JSON is nested deeper than {MAX_DEPTH}")
    except ValueError:
        _no("json", "the body is not valid JSON in UTF-8")
    _check_depth(value)
    return value


def dump(value: Any) -> str:
    """Return compact JSON; a lone surrogate stays an escape."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


def check_shape(body: Any) -> dict[str, Any]:
    """Return ``body`` if the proxy knows its shape.

    Raises:
        ProxyRefusal: not a chat request, no messages, a part that is not text, or log probabilities
            (whose tokens would show pseudonyms in pieces).
    """
    if not isinstance(body, dict):
        _no("shape", "the body is not a JSON object")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        _no("shape", "messages is not a list with at least one message")
    if not isinstance(body.get("stream", False) or False, bool):
        _no("shape", "stream is not a boolean")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            _no("shape", "a message is not an object with a role")
        content = message.get("content")
        if isinstance(content, list):
            for part in content:
                if not isinstance(part, dict) or part.get("type") not in TEXT_PARTS:
                    _no("part", "a content part is not text; images, audio and files are not let through")
        elif content is not None and not isinstance(content, str):
            _no("shape", "a message's content is neither text nor a list of parts")
        if message.get("audio") is not None:
            _no("part", "audio is not let through")
    if body.get("audio") is not None or any(m != "text" for m in body.get("modalities") or ()):
        _no("part", "a reply that is not text is not let through")
    if body.get("logprobs") or body.get("top_logprobs"):
        _no("logprobs", "log probabilities are not let through")
    return body


def prompt_text(body: dict[str, Any]) -> str:
    """Return the text of all messages, one per line: what the log commits to as the input."""
    found: list[str] = []
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, str):
            found.append(content)
        elif content:
            found += [part["text"] for part in content if isinstance(part.get("text"), str)]
    return "\n".join(found)


_PLAIN_KEY = re.compile(r"[a-z_]{1,40}\Z")
"""Keys of the API itself; any other key is a text like the values."""

_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')

Build = Callable[[Sequence[str]], Any]


class _Plan:
    """Walks a body once: collects its strings, and what rebuilds it from their hidden forms."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fixed: list[str] = []

    def text(self, text: str) -> Build:
        index = len(self.texts)
        self.texts.append(text)
        return lambda hidden: hidden[index]

    def value(self, value: Any, key: str, depth: int, *, free: bool) -> Build:
        if depth > MAX_DEPTH:
            _no("depth", f"the JSON is nested deeper than {MAX_DEPTH}")
        if isinstance(value, str):
            return self._string(value, key, depth, free=free)
        if isinstance(value, dict):
            items = [
                (
                    _same(k) if not free and _PLAIN_KEY.match(k) else self.text(k),
                    self.value(v, k, depth + 1, free=free or (depth == 0 and k not in SHAPED)),
                )
                for k, v in value.items()
            ]
            return lambda hidden: {name(hidden): item(hidden) for name, item in items}
        if isinstance(value, list):
            parts = [self.value(item, key, depth + 1, free=free) for item in value]
            return lambda hidden: [part(hidden) for part in parts]
        if depth != 1 or key not in NUMBERS or not isinstance(value, int) or abs(value) >= 10**10:
            self._number(value)
        return _same(value)

    def _string(self, value: str, key: str, depth: int, *, free: bool) -> Build:
        if key in STRUCTURAL and not free:
            self.fixed.append(value)
            return _same(value)
        if value.lstrip()[:1] in {"{", "["} and (inner := _json_inside(value)) is not None:
            return self._json(value, inner, depth)
        if key == "arguments" and "\\" in value:  # escapes could hide what the rules look for
            _no("arguments", "a tool call's arguments are not valid JSON")
        return self.text(value)

    def _json(self, text: str, inner: Any, depth: int) -> Build:
        """Hide the strings of JSON in a string one by one; all else stays as it was written."""
        self._numbers(inner)
        pieces: list[Build] = []
        position = 0
        for found in _JSON_STRING.finditer(text):
            pieces.append(_same(text[position : found.start()]))
            pieces.append(self._token(found.group(), depth))
            position = found.end()
        pieces.append(_same(text[position:]))
        return lambda hidden: "".join(piece(hidden) for piece in pieces)

    def _token(self, token: str, depth: int) -> Build:
        plain: str = json.loads(token)
        build = self.value(plain, "", depth + 1, free=True)
        return lambda hidden: token if (new := build(hidden)) == plain else dump(new)

    def _numbers(self, value: Any) -> None:
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                self._numbers(item)
        else:
            self._number(value)

    def _number(self, value: Any) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            digits = str(abs(value)) if isinstance(value, int) else f"{abs(value):.0f}"
            if len(digits) >= MIN_DIGITS:
                self.fixed.append(digits)


def _same(value: Any) -> Build:
    return lambda _hidden: value


def _json_inside(text: str) -> Any:
    """Return the object or array that a string holds as JSON, else None."""
    try:
        return parse(text)
    except ProxyRefusal as refusal:
        if refusal.rule in {"guard.proxy.depth", "guard.proxy.duplicate_key"}:
            raise
        return None


def _strong(findings: Sequence[Hit]) -> bool:
    return any(finding.entity in STRONG for finding in findings)


def hide_body(body: dict[str, Any], guard: TextGuard, session: Session) -> Hidden:
    """Return ``body`` with every string leaf hidden, JSON inside strings leaf by leaf; no I/O.

    Raises:
        ProxyRefusal: personal data where nothing can stand in for it (an identifier, a number).
        TimeoutError: a pattern ran longer than its limit.
    """
    plan = _Plan()
    build = plan.value(body, "", 0, free=False)
    if any(_strong(findings) for findings in guard.detect_many(plan.fixed)):
        _no("identifier", "an identifier or a number holds personal data, which cannot be replaced there")
    hidden = build(session.hide_many(plan.texts))
    store_off = body.get("store") is not None and body.get("store") is not False
    if store_off:
        hidden["store"] = False
    return Hidden(hidden, session.counts.copy(), store_off)
