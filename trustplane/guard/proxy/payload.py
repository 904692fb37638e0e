"""Payload: the body of a request as a list of fields to look at, and the body again with some of them replaced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from trustplane.errors import InputError
from trustplane.guard.proxy.media import is_media, media_kind
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.proxy.wire.jsonl import JsonLines, looks_like_jsonl
from trustplane.guard.proxy.wire.multipart import Form
from trustplane.guard.text.document import At, JsonDocument, Leaf, Switch

__all__ = ["Field", "Payload", "open_payload"]

STORE = "store"
KEEPING = frozenset({"responses"})
"""Endpoints that keep what they get unless ``store`` is false (OpenAI API reference, Responses)."""
MAX_PARAMETER = 10
"""Digits of a number that may be a parameter of the API (seeds, times in seconds)."""
_LIMITS = frozenset(str((1 << bits) - less) for bits in (31, 32, 53, 63, 64) for less in (0, 1))
"""Bounds of integers, which schemas are full of."""
_INDEX = re.compile(r"\[\d+\]")
_SUFFIX = re.compile(
    r"\.(?:jsonl?|txt|md|csv|tsv|html?|xml|pdf|docx?|xlsx?|pptx?|png|jpe?g|webp|gif|bmp|mp3|mp4|mpeg|mpga|m4a|wav|webm"
    r"|flac|ogg|opus|py|js|ts|c|cpp|h|java|go|rs|zip|tar|gz)\Z",
    re.IGNORECASE,
)
_ADDRESS_END = re.compile(r"(?:[@\uff20\ufe6b]|%40).*\.(?:md|py|rs|zip)\Z", re.IGNORECASE | re.DOTALL)
"""A file's name that may end as an address does: these ends are also top-level domains (IANA root zone)."""
_WORDS = frozenset(
    {"application/json", "assistant", "auto", "developer", "function", "image_url", "input_text", "json_object"}
    | {"json_schema", "low", "medium", "high", "message", "none", "object", "output_text", "required", "string"}
    | {"system", "text", "tool", "tool_result", "tool_use", "user"}
)
"""Words of the APIs, at places where names stand: the most common ones need no guard."""


class Field(NamedTuple):
    """A string to look at. ``kind``: ``text``; ``key``: the same, a key; ``name``: the API reads it as a name;
    ``number``. ``context``: word that says what it is. ``tree``: number of the JSON value that it is in.
    """

    text: str
    place: str
    kind: Literal["text", "key", "name", "number"] = "text"
    context: str = ""
    tree: int = -1


class Payload:
    """A body without fields; what all payloads have.

    ``values``: the JSON values in it. ``media``: how many images, sounds and files are in it. ``stored``: how many
    times it asks the API to keep it (``store: true``).
    """

    def __init__(self, data: bytes, content_type: str) -> None:
        self._data, self._content_type = data, content_type
        self.fields: list[Field] = []
        self.values: list[Any] = []
        self.media = self.stored = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.fields)} fields)"

    def rewritten(self, texts: Sequence[str], *, unstore: bool) -> tuple[str, bytes]:  # noqa: ARG002  there is nothing
        """Return content type and body with field ``i`` as ``texts[i]``; ``unstore``: with ``store`` turned off."""
        return self._content_type, self._data


class _Json(Payload):
    """One JSON document, or lines of them."""

    def __init__(self, data: bytes, content_type: str, endpoint: Endpoint, form: JsonDocument | JsonLines) -> None:
        super().__init__(data, content_type)
        self._form = form
        self._sorter = _Sorter(endpoint)
        self._numbers: list[int] = []
        self._switches: list[tuple[int, Switch]] = []
        documents = [form] if isinstance(form, JsonDocument) else form.documents
        number = 0
        for tree, document in enumerate(documents):
            self.values.append(document.value)
            _check_store(document.value)
            for leaf in document.leaves:
                self._take(leaf, number, tree)
                number += 1
            self._switches += [(tree, s) for s in document.switches if self._sorter.is_store(s)]
        self.media = self._sorter.media
        self.stored = sum(switch.token not in ("false", "null") for _, switch in self._switches)
        value = form.value if isinstance(form, JsonDocument) and endpoint.name in KEEPING else None
        self._keeps = isinstance(value, dict) and value.get(STORE) is None
        self.stored += self._keeps

    def _take(self, leaf: Leaf, number: int, tree: int) -> None:
        kind = self._sorter.kind(leaf)
        if kind != "skip":
            context = leaf.context if kind == "number" or self._sorter.is_free(leaf) else ""
            self.fields.append(Field(leaf.text, leaf.place, kind, context, tree))
            self._numbers.append(number)

    def rewritten(self, texts: Sequence[str], *, unstore: bool) -> tuple[str, bytes]:
        changed = any(field.text != text for field, text in zip(self.fields, texts, strict=True))
        if not changed and not (unstore and self.stored):
            return self._content_type, self._data
        values = [leaf.text for leaf in self._form.leaves]
        for number, text in zip(self._numbers, texts, strict=True):
            values[number] = text
        kept = ("false",) if self._keeps else ("false", "null")
        on = [(tree, s.at) for tree, s in self._switches if s.token not in kept] if unstore else []
        if isinstance(self._form, JsonDocument):
            body = self._form.rewritten(values, {at: "false" for _, at in on}).encode("utf-8", "surrogatepass")
            if unstore and self._keeps and STORE not in self._form.value:
                body = _with_store(body)
        else:
            off: dict[int, dict[At, str]] = {}
            for tree, at in on:
                off.setdefault(tree, {})[at] = "false"
            body = self._form.rewritten(values, off)
        return self._content_type, body


def _check_store(value: Any) -> None:
    """Refuse a ``store`` that is a string or worse: some upstreams read ``"true"`` as true."""
    for body in (value, value.get("body") if isinstance(value, dict) else None):
        if isinstance(body, dict) and isinstance(body.get(STORE), dict | list) | (type(body.get(STORE)) is str):
            raise ProxyRefusal("guard.proxy.shape", 400, "store is neither true nor false")


def _with_store(body: bytes) -> bytes:
    """Return a JSON object with ``store: false`` as its first member."""
    at = body.index(b"{") + 1
    comma = b"" if body[at:].lstrip().startswith(b"}") else b", "
    return body[:at] + b'"store": false' + comma + body[at:]


class _Sorter:
    """Says of each leaf of an endpoint's bodies what it is; what it knows of a place is kept for this body only."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._known: dict[str, tuple[bool, bool, bool]] = {}
        self.media = 0

    def _of(self, place: str) -> tuple[bool, bool, bool]:
        """Return whether a place is below a free one, a name of the API, one of media."""
        plain = _INDEX.sub("[]", place) if "[" in place else place
        found = self._known.get(plain)
        if found is None:
            e = self._endpoint
            found = self._known[plain] = (e.free.covers(plain), plain in e.identifiers, plain in e.media)
        return found

    def is_free(self, leaf: Leaf) -> bool:
        """Return whether the leaf is the caller's own."""
        return leaf.inside or self._of(leaf.place)[0]

    def is_store(self, switch: Switch) -> bool:
        """Return whether a switch is the API's ``store``."""
        return not self._of(switch.place)[0] and switch.place.endswith(STORE)

    def kind(self, leaf: Leaf) -> Literal["text", "key", "name", "number", "skip"]:
        """Return how a leaf is looked at; ``skip``: a parameter, or media that passes."""
        free, name, media = (True, False, False) if leaf.inside else self._of(leaf.place)
        if leaf.kind == "number":
            parameter = name and not free and len(leaf.text) <= MAX_PARAMETER
            return "skip" if parameter or leaf.text in _LIMITS else "number"
        if media and leaf.kind == "text" and leaf.text and (kind := media_kind(leaf.text)):
            self.media += 1
            if kind == "bytes":
                return "skip"
        if leaf.kind == "key":
            return "key"
        if name and not free:
            return "skip" if leaf.text in _WORDS else "name"
        return "text"


class _Form(Payload):
    """A form with files."""

    def __init__(self, data: bytes, content_type: str, endpoint: Endpoint) -> None:
        super().__init__(data, content_type)
        self._form = Form(content_type, data)
        self._inner: dict[int, _Json] = {}
        self._texts: dict[int, int] = {}
        self._names: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        for number, part in enumerate(self._form.parts):
            if part.filename:
                self._names[number] = len(self.fields)
                address = _ADDRESS_END.search(part.filename)
                name = part.filename if address else part.filename.removesuffix(self._suffix(number))
                self.fields.append(Field(name, f"{part.name}.filename"))
            self._read(number, part.name, part.data, endpoint)

    def _read(self, number: int, name: str, data: bytes, endpoint: Endpoint) -> None:
        if is_media(data):
            self.media += 1
            return
        if looks_like_jsonl(data) and (inner := _json_inside(data, endpoint)) is not None:
            self._inner[number], self._starts[number] = inner, len(self.fields)
            self.fields += [field._replace(tree=field.tree + len(self.values)) for field in inner.fields]
            self.values += inner.values
            self.media += inner.media
            self.stored += inner.stored
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise ProxyRefusal("guard.proxy.file", 415, "a file is neither text in UTF-8 nor of a known form") from None
        if "\0" in text:  # UTF-16 or UTF-32 without a mark at its start
            raise ProxyRefusal("guard.proxy.file", 415, "a file is neither text in UTF-8 nor of a known form")
        self._texts[number] = len(self.fields)
        self.fields.append(Field(text, name, "name" if name in endpoint.identifiers else "text"))

    def rewritten(self, texts: Sequence[str], *, unstore: bool) -> tuple[str, bytes]:
        data = {n: texts[i].encode("utf-8", "surrogatepass") for n, i in self._texts.items() if self._differs(i, texts)}
        for number, inner in self._inner.items():
            start = self._starts[number]
            data[number] = inner.rewritten(texts[start : start + len(inner.fields)], unstore=unstore)[1]
        changed = {n: texts[i] for n, i in self._names.items() if self._differs(i, texts)}
        names = {n: text.removesuffix(self._suffix(n)) + self._suffix(n) for n, text in changed.items()}
        return self._form.rewritten(data, names)

    def _suffix(self, number: int) -> str:
        """Return how a file's name ends, by which an API knows its form and a guard would take it for a domain."""
        found = _SUFFIX.search(self._form.parts[number].filename or "")
        return found.group() if found else ""

    def _differs(self, index: int, texts: Sequence[str]) -> bool:
        return texts[index] != self.fields[index].text


def _json_inside(data: bytes, endpoint: Endpoint) -> _Json | None:
    """Return a file's lines of JSON, or its one document; None where it is neither, and then it is text."""
    try:
        return _Json(data, "", endpoint, JsonLines(data, watch=STORE))
    except ProxyRefusal:
        pass
    try:
        return _Json(data, "", endpoint, JsonDocument(data.decode(), watch=STORE))
    except (InputError, UnicodeDecodeError):
        return None


def open_payload(data: bytes, content_type: str, endpoint: Endpoint) -> Payload:
    """Return the body of a request to ``endpoint``.

    Raises:
        ProxyRefusal: a content type that the endpoint does not take, or a body that is not what its type says.
    """
    kind, _, more = content_type.partition(";")
    kind = kind.strip().lower()
    if not data:
        return Payload(data, content_type if kind in ("", "application/json") else "application/json")
    if endpoint.request == "none":
        raise ProxyRefusal("guard.proxy.body", 400, "this path takes no body")
    if kind == "multipart/form-data" and endpoint.request == "multipart":
        return _Form(data, content_type, endpoint)
    charset = more.replace(" ", "").replace('"', "").lower()
    if kind != "application/json" or charset not in {"", "charset=utf-8"}:
        raise ProxyRefusal("guard.proxy.content_type", 415, "the content type is not one that this path takes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ProxyRefusal("guard.proxy.json", 400, "the body is not JSON in UTF-8") from None
    try:
        document = JsonDocument(text, watch=STORE)
    except InputError as error:
        raise ProxyRefusal("guard.proxy.json", 400, error.message) from None
    if not isinstance(document.value, dict) and not (endpoint.api == "mcp" and isinstance(document.value, list)):
        raise ProxyRefusal("guard.proxy.shape", 400, "the body is not a JSON object")
    return _Json(data, "application/json", endpoint, document)
