"""JSON documents, leaf by leaf: what is to be looked at, and the document again with some leaves replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NoReturn

from trustplane.errors import InputError

__all__ = ["MAX_DEPTH", "At", "JsonDocument", "Leaf", "Switch"]

MAX_DEPTH = 64
"""Deepest nesting, JSON inside strings included."""
MIN_DIGITS = 9
"""Shortest number that is looked at: a social security number, a phone or a card written as a number."""
MAX_EXPONENT = 40
"""A number with a larger exponent is a quantity, no identifier."""

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(r'[^\s{}\[\]:,"]++')
"""A number or a word, where no string stands."""
_UNIT = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL)
"""A character of a JSON string as it is written."""
_PLAIN_KEY = re.compile(r"[A-Za-z_]{1,40}\Z")
"""A key that is a name of the schema; any other key is looked at like a value."""


class Leaf(NamedTuple):
    """A part of a document. ``place``: ``messages[0].content``, a free-form key as ``*``. ``context``: nearest key.

    ``inside``: it stands in JSON that is itself a string of the document.
    """

    text: str
    place: str
    context: str
    kind: Literal["text", "key", "number"]
    inside: bool = False


class Switch(NamedTuple):
    """A value of the watched key that is neither a string nor an object or array, as it is written."""

    place: str
    token: str
    at: At


class At(NamedTuple):
    """Where a token stands: string number ``string`` of the text, or of the scalars before that one number ``gap``."""

    string: int
    gap: int = -1


class _Slot(NamedTuple):
    """Where a leaf, or a string with JSON inside, stands; ``owner`` is the object of a key."""

    at: At
    leaf: int
    inner: JsonDocument | None = None
    owner: dict[str, Any] | None = None


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


class JsonDocument:
    """A JSON text and its leaves: strings, free-form keys, numbers of nine digits or more, JSON inside strings.

    What is not replaced keeps its bytes: order, spaces, number spelling, escapes. A string that holds no strict JSON,
    or one nested too deep, is a text like any other. ``watch``: a key whose numbers and words are ``switches``.

    Raises:
        InputError: not JSON, a key twice in one object, NaN or Infinity, nested deeper than ``MAX_DEPTH``.
    """

    def __init__(self, text: str, *, watch: str = "") -> None:
        self.leaves: list[Leaf] = []
        self.switches: list[Switch] = []
        """Values of the key ``watch``, those of JSON inside strings left out."""
        self._read(text, "", "", 0, self.leaves, watch)

    def __repr__(self) -> str:
        return f"JsonDocument({len(self.leaves)} leaves)"

    @classmethod
    def _inside(cls, text: str, place: str, context: str, depth: int, leaves: list[Leaf]) -> JsonDocument:
        made = cls.__new__(cls)
        made._read(text, place, context, depth, leaves)
        return made

    def _read(self, text: str, place: str, context: str, depth: int, leaves: list[Leaf], watch: str = "") -> None:
        self.value: Any = _parsed(text)
        """The document as JSON values; numbers as they are written."""
        self._text = text
        self._slots: list[_Slot] = []
        _Walk(self, leaves, depth > 0, watch).value(self.value, place, context, depth)

    def rewritten(self, values: Sequence[str], switched: Mapping[At, str] | None = None) -> str:
        """Return the document with leaf ``i`` as ``values[i]``, and what is written for some switches by their place.

        A number that changes becomes a string. Keys of one object that would become equal get ``#2``, ``#3``.
        """
        if len(values) != len(self.leaves):
            raise InputError("there are not as many values as leaves")
        return self._rebuild(values, self.leaves, switched or {})

    def _rebuild(self, values: Sequence[str], leaves: Sequence[Leaf], switched: Mapping[At, str]) -> str:
        changes = [s for s in self._slots if s.inner is not None or values[s.leaf] != leaves[s.leaf].text]
        if not changes and not switched:
            return self._text
        spans = [found.span() for found in _STRING.finditer(self._text)]
        gaps: dict[int, list[tuple[int, int]]] = {}
        taken = _Taken(self._slots, values, leaves)
        new: list[tuple[int, int, str]] = []
        for slot in changes:
            start, end = self._span(slot.at, spans, gaps)
            if slot.inner is None:
                value = taken.free(slot.owner, values[slot.leaf])
            elif (value := slot.inner._rebuild(values, leaves, {})) == slot.inner._text:
                continue
            new.append((start, end, _string(value, self._text[start:end])))
        new += [(*self._span(at, spans, gaps), word) for at, word in switched.items()]
        pieces: list[str] = []
        position = 0
        for start, end, token in sorted(new):
            pieces += (self._text[position:start], token)
            position = end
        return "".join(pieces) + self._text[position:]

    def _span(
        self, at: At, spans: Sequence[tuple[int, int]], gaps: dict[int, list[tuple[int, int]]]
    ) -> tuple[int, int]:
        """Return where ``at`` stands; ``gaps``: the scalars before a string, once they were looked for."""
        if at.gap < 0:
            return spans[at.string]
        if at.string not in gaps:
            start = spans[at.string - 1][1] if at.string else 0
            end = spans[at.string][0] if at.string < len(spans) else len(self._text)
            gaps[at.string] = [found.span() for found in _SCALAR.finditer(self._text, start, end)]
        return gaps[at.string][at.gap]


class _Taken:
    """Keys that an object has already; made when a key is replaced, which is rare."""

    def __init__(self, slots: Sequence[_Slot], values: Sequence[str], leaves: Sequence[Leaf]) -> None:
        self._slots, self._values, self._leaves = slots, values, leaves
        self._own: dict[int, list[int]] = {}
        """Leaves that are keys, by their object; filled when the first key is replaced."""
        self._keys: dict[int, set[str]] = {}
        self._numbers: dict[tuple[int, str], int] = {}

    def free(self, owner: dict[str, Any] | None, key: str) -> str:
        """Return ``key`` or, where its object has it, that with a number; from then on the object has it."""
        if owner is None:
            return key
        taken = self._keys.get(id(owner))
        if taken is None:
            own = self._of(owner)
            replaced = {self._leaves[leaf].text for leaf in own if self._values[leaf] != self._leaves[leaf].text}
            taken = self._keys[id(owner)] = owner.keys() - replaced
        found, number = key, self._numbers.get((id(owner), key), 1)  # no key gets free again
        while found in taken:
            number += 1
            found = f"{key}#{number}"
        self._numbers[id(owner), key] = number
        taken.add(found)
        return found

    def _of(self, owner: dict[str, Any]) -> list[int]:
        if not self._own:
            for slot in self._slots:
                if slot.owner is not None:
                    self._own.setdefault(id(slot.owner), []).append(slot.leaf)
        return self._own[id(owner)]


class _Walk:
    """One pass over the values of a document, counting strings and what stands between them as the text has them."""

    def __init__(self, document: JsonDocument, leaves: list[Leaf], inside: bool, watch: str) -> None:
        self._document, self._leaves, self._inside, self._watch = document, leaves, inside, watch
        self._slots = document._slots
        self._strings = self._gap = 0

    def value(self, value: Any, place: str, context: str, depth: int) -> None:
        """Look at one value and what is in it."""
        if depth > MAX_DEPTH:
            _no(f"it is nested deeper than {MAX_DEPTH}")
        kind = type(value)
        if kind is str:
            self._string(value, place, context, depth)
        elif kind is dict:
            self._object(value, place, depth)
        elif kind is list:
            for number, item in enumerate(value):
                self.value(item, f"{place}[{number}]", context, depth + 1)
        else:
            at = At(self._strings, self._gap)
            self._gap += 1
            if kind is _Number and len(shown := _digits(value)) >= MIN_DIGITS:
                self._leaf(at, Leaf(shown, place, context, "number", self._inside))
            if self._watch and context == self._watch:
                token = value if kind is _Number else json.dumps(value)
                self._document.switches.append(Switch(place, token, at))

    def _object(self, value: dict[str, Any], place: str, depth: int) -> None:
        for key, item in value.items():
            plain = _PLAIN_KEY.match(key)
            here = f"{place}.{key if plain else '*'}" if place else key if plain else "*"
            if not plain:
                self._leaf(At(self._strings), Leaf(key, here, "", "key", self._inside), value)
            self._strings += 1
            self._gap = 0
            self.value(item, here, key if len(key) <= 64 else "", depth + 1)

    def _string(self, value: str, place: str, context: str, depth: int) -> None:
        at = At(self._strings)
        self._strings += 1
        self._gap = 0
        inner = None
        if "{" in (start := value[:1]) or "[" in start or (start.isspace() and value.lstrip()[:1] in {"{", "["}):
            inner = self._opened(value, place, context, depth + 1)
        if inner is not None:
            self._slots.append(_Slot(at, -1, inner))
        else:
            self._leaf(at, Leaf(value, place, context, "text", self._inside))

    def _opened(self, value: str, place: str, context: str, depth: int) -> JsonDocument | None:
        """Return a string read as JSON, ``None`` where it is no strict JSON or too deep: it is looked at as a text."""
        before = len(self._leaves)
        try:
            return JsonDocument._inside(value, place, context, depth, self._leaves)
        except InputError:
            del self._leaves[before:]
            return None

    def _leaf(self, at: At, leaf: Leaf, owner: dict[str, Any] | None = None) -> None:
        self._slots.append(_Slot(at, len(self._leaves), None, owner))
        self._leaves.append(leaf)


def _no(what: str) -> NoReturn:
    raise InputError(f"the JSON cannot be used: {what}")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        _no("the same key stands twice in one object")
    return made


def _constant(_text: str) -> NoReturn:
    _no("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_int=_Number, parse_float=_Number)
"""Refuses what is not strict JSON; numbers stay texts, so that none is too long or out of range."""


def _parsed(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except RecursionError:
        _no(f"it is nested deeper than {MAX_DEPTH}")
    except json.JSONDecodeError as error:
        _no(f"line {error.lineno}, column {error.colno}")


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
