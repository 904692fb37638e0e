"""JSON documents, leaf by leaf: what is to be looked at, and the document again with some leaves replaced."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, NoReturn

from trustplane.errors import InputError

__all__ = ["MAX_DEPTH", "JsonDocument", "Leaf"]

MAX_DEPTH = 64
"""Deepest nesting, JSON inside strings included."""
MIN_DIGITS = 9
"""Shortest number that is looked at: a social security number, a phone or a card written as a number."""
MAX_EXPONENT = 40
"""A number with a larger exponent is a quantity, no identifier."""

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]|[^\s{}\[\]:,"]++')
_UNIT = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL)
"""A character of a JSON string as it is written."""
_PLAIN_KEY = re.compile(r"[A-Za-z_]{1,40}\Z")
"""A key that is a name of the schema; any other key is looked at like a value."""


class Leaf(NamedTuple):
    """A part of a document. ``place``: ``messages[0].content``, a free-form key as ``*``. ``context``: nearest key."""

    text: str
    place: str
    context: str
    kind: Literal["text", "key", "number"]


class _Slot(NamedTuple):
    """Where a leaf, or a string with JSON inside, stands in the text; ``owner`` numbers the object of a key."""

    start: int
    end: int
    leaf: int
    inner: JsonDocument | None
    owner: int


class JsonDocument:
    """A JSON text and its leaves: strings, free-form keys, numbers of nine digits or more, JSON inside strings.

    What is not replaced keeps its bytes: order, spaces, number spelling, escapes. A string that holds no strict JSON,
    or one nested too deep, is a text like any other.

    Raises:
        InputError: not JSON, a key twice in one object, NaN or Infinity, nested deeper than ``MAX_DEPTH``.
    """

    def __init__(self, text: str) -> None:
        self.leaves: list[Leaf] = []
        self._read(text, "", "", 0, self.leaves)

    def __repr__(self) -> str:
        return f"JsonDocument({len(self.leaves)} leaves)"

    @classmethod
    def _inside(cls, text: str, place: str, context: str, depth: int, leaves: list[Leaf]) -> JsonDocument:
        made = cls.__new__(cls)
        made._read(text, place, context, depth, leaves)
        return made

    def _read(self, text: str, place: str, context: str, depth: int, leaves: list[Leaf]) -> None:
        _validate(text)
        self._text = text
        self._slots: list[_Slot] = []
        self._plain_keys: Counter[tuple[int, str]] = Counter()
        _Walk(self, text, leaves, depth).run(place, context)

    def rewritten(self, values: Sequence[str]) -> str:
        """Return the document with leaf ``i`` as ``values[i]``.

        A number that changes becomes a string. Keys of one object that would become equal get ``#2``, ``#3``.
        """
        if len(values) != len(self.leaves):
            raise InputError("there are not as many values as leaves")
        return self._rebuild(values, self.leaves)

    def _rebuild(self, values: Sequence[str], leaves: Sequence[Leaf]) -> str:
        taken: set[tuple[int, str]] = set(self._plain_keys)
        taken |= {(s.owner, values[s.leaf]) for s in self._slots if s.owner and values[s.leaf] == leaves[s.leaf].text}
        pieces: list[str] = []
        position = 0
        for slot in self._slots:
            token = self._text[slot.start : slot.end]
            pieces += (self._text[position : slot.start], self._again(slot, token, values, leaves, taken))
            position = slot.end
        return "".join(pieces) + self._text[position:]

    def _again(
        self, slot: _Slot, token: str, values: Sequence[str], leaves: Sequence[Leaf], taken: set[tuple[int, str]]
    ) -> str:
        if slot.inner is not None:
            new = slot.inner._rebuild(values, leaves)
            return token if new == slot.inner._text else _string(new, token)
        new = values[slot.leaf]
        if new == leaves[slot.leaf].text:
            return token
        if slot.owner:
            key, number = new, 1
            while (slot.owner, key) in taken:
                number += 1
                key = f"{new}#{number}"
            taken.add((slot.owner, key))
            new = key
        return _string(new, token)


class _Walk:
    """One pass over the tokens of a valid document."""

    def __init__(self, document: JsonDocument, text: str, leaves: list[Leaf], depth: int) -> None:
        self._document, self._leaves, self._depth = document, leaves, depth
        self._tokens = _TOKEN.finditer(text)
        self._objects = 0

    def run(self, place: str, context: str) -> None:
        self._value(next(self._tokens), place, context, self._depth)

    def _value(self, token: re.Match[str], place: str, context: str, depth: int) -> None:
        first = token.group()[0]
        if depth > MAX_DEPTH:
            _no(f"it is nested deeper than {MAX_DEPTH}")
        if first == "{":
            self._object(place, depth)
        elif first == "[":
            self._array(place, context, depth)
        elif first == '"':
            self._string(token, place, context, depth)
        elif first in "-0123456789" and len(shown := _digits(token.group())) >= MIN_DIGITS:
            self._leaf(token, Leaf(shown, place, context, "number"))

    def _object(self, place: str, depth: int) -> None:
        self._objects += 1
        owner = self._objects
        while (token := next(self._tokens)).group() != "}":
            if token.group() == ",":
                continue
            key: str = json.loads(token.group())
            plain = _PLAIN_KEY.match(key)
            here = f"{place}.{key if plain else '*'}" if place else key if plain else "*"
            if plain:
                self._document._plain_keys[owner, key] += 1
            else:
                self._leaf(token, Leaf(key, here, "", "key"), owner)
            next(self._tokens)
            self._value(next(self._tokens), here, key if len(key) <= 64 else "", depth + 1)

    def _array(self, place: str, context: str, depth: int) -> None:
        number = 0
        while (token := next(self._tokens)).group() != "]":
            if token.group() == ",":
                continue
            self._value(token, f"{place}[{number}]", context, depth + 1)
            number += 1

    def _string(self, token: re.Match[str], place: str, context: str, depth: int) -> None:
        value: str = json.loads(token.group())
        inner = self._inside(value, place, context, depth + 1) if value.lstrip()[:1] in {"{", "["} else None
        if inner is not None:
            self._document._slots.append(_Slot(*token.span(), -1, inner, 0))
        else:
            self._leaf(token, Leaf(value, place, context, "text"))

    def _inside(self, value: str, place: str, context: str, depth: int) -> JsonDocument | None:
        """Return a string read as JSON, ``None`` where it is no strict JSON or too deep: it is looked at as a text."""
        before = len(self._leaves)
        try:
            return JsonDocument._inside(value, place, context, depth, self._leaves)
        except InputError:
            del self._leaves[before:]
            return None

    def _leaf(self, token: re.Match[str], leaf: Leaf, owner: int = 0) -> None:
        self._document._slots.append(_Slot(*token.span(), len(self._leaves), None, owner))
        self._leaves.append(leaf)


def _no(what: str) -> NoReturn:
    raise InputError(f"the JSON cannot be used: {what}")


def _pairs(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        _no("the same key stands twice in one object")


def _constant(_text: str) -> NoReturn:
    _no("NaN and Infinity are not JSON")


def _validate(text: str) -> None:
    """Refuse what is not strict JSON; numbers stay texts, so that none is too long or out of range."""
    try:
        json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_as_it_is, parse_float=_as_it_is)
    except RecursionError:
        _no(f"it is nested deeper than {MAX_DEPTH}")
    except json.JSONDecodeError as error:
        _no(f"line {error.lineno}, column {error.colno}")


def _as_it_is(text: str) -> str:
    return text


def _digits(token: str) -> str:
    """Return the whole part of a number in plain digits, ``""`` where its exponent is out of reach."""
    token = token.lstrip("-")
    if token.isdigit():
        return token
    mantissa, _, exponent = token.replace("E", "e").partition("e")
    if len(exponent) > 5 or abs(int(exponent or 0)) > MAX_EXPONENT or len(mantissa) > 4 * MAX_EXPONENT:
        return ""
    return format(Decimal(token), "f").partition(".")[0]


def _string(value: str, before: str) -> str:
    """Return ``value`` as a JSON string; what it has in common with the one before at both ends keeps its escapes."""
    head = tail = 0
    units: list[str] = []
    if before.startswith('"') and "\\" in before:
        old: str = json.loads(before)
        units = _UNIT.findall(before, 1, len(before) - 1)
        head = _common(old, value)
        tail = _common(old[head:][::-1], value[head:][::-1])
    middle = _escaped(value[head : len(value) - tail], before)
    return f'"{"".join(units[:head])}{middle}{"".join(units[len(units) - tail :])}"'


def _common(one: str, other: str) -> int:
    """Return how many characters two texts share at the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


def _escaped(value: str, before: str) -> str:
    """Return the inside of a JSON string, escaped to ASCII where the one before was."""
    plain = not before.isascii() or "\\u" not in before
    if plain:
        try:
            value.encode()
        except UnicodeEncodeError:  # a lone surrogate can only be written as an escape
            plain = False
    return json.dumps(value, ensure_ascii=not plain)[1:-1]
