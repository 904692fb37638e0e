"""Recorded bodies: their places, what is planted there, and their bytes."""

import base64
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BODIES = Path(__file__).with_name("bodies")
BOUNDARY = "5f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5"
Path_ = tuple[int | str, ...]
STREAMED = {
    "chat.completions", "completions", "responses", "messages", "complete", "audio.transcriptions", "mcp",
}  # fmt: skip

# ── places ──────────────────────────────────────────────────────────────────────────────────────────

_WORD = re.compile(r"[a-z0-9_.:-]+\Z", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]+\Z")
_FORM_KEYS = {"name", "type", "base64"}


class Place(NamedTuple):
    """A string leaf of a body, or a key. ``role``: of the message that it is in."""

    path: Path_
    text: str
    role: str
    key: bool = False

    @property
    def shown(self) -> str:
        """The place with its indexes blanked."""
        text = "".join("[]" if isinstance(step, int) else f".{step}" for step in self.path).lstrip(".")
        return f"{text} (key)" if self.key else text


def places(value: Any, path: Path_ = (), role: str = "", *, form: bool = False) -> Iterator[Place]:
    """Yield every string leaf and every free-form key of ``value``."""
    if isinstance(value, str):
        if not (form and path[-1] in _FORM_KEYS):
            yield Place(path, value, role)
    elif isinstance(value, dict):
        role = value["role"] if isinstance(value.get("role"), str) else role
        for key, item in value.items():
            if not _PLAIN_KEY.match(key) and not form:
                yield Place((*path, key), key, role, key=True)
            yield from places(item, (*path, key), role, form=form)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index), role, form=form)


def at(value: Any, path: Path_) -> Any:
    """Return what stands at ``path``, None if nothing does."""
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def planted(value: Any, place: Place, text: str) -> tuple[Any, str]:
    """Return ``value`` with ``text`` planted at ``place``, and the whole string that now stands there."""
    made = copy.deepcopy(value)
    parent = at(made, place.path[:-1])
    if place.key:
        parent[text] = parent.pop(place.path[-1])
        return made, text
    whole = _inside(place.text, text)
    if not place.path:
        return whole, whole
    parent[place.path[-1]] = whole
    return made, whole


def _inside(before: str, text: str) -> str:
    """Return ``text``, or the JSON that the string held with ``text`` as its first string."""
    if before[:1] not in "{[" or not before:
        return text
    try:
        inner = json.loads(before)
    except ValueError:
        return text
    first = next(places(inner), None)
    return text if first is None else json.dumps(planted(inner, first, text)[0], ensure_ascii=False)


# ── bodies ──────────────────────────────────────────────────────────────────────────────────────────


class Recorded(NamedTuple):
    """A recorded exchange. ``request`` and ``reply``: trees; ``kind`` says how a tree becomes bytes."""

    title: str
    endpoint: str
    api: str
    method: str
    path: str
    request: Any
    request_kind: str
    reply: Any
    reply_kind: str
    streams: bool

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that a client of that API sends."""
        own = {
            "anthropic": (("anthropic-version", "2023-06-01"), ("x-api-key", "test-key")),
            "mcp": (("mcp-protocol-version", "2025-06-18"), ("accept", "application/json, text/event-stream")),
        }.get(self.api, (("authorization", "Bearer test-key"),))
        if self.request_kind == "none":
            return own
        kind = f"multipart/form-data; boundary={BOUNDARY}" if self.request_kind == "form" else "application/json"
        return (*own, ("content-type", kind))

    @property
    def ways(self) -> tuple[bool, ...]:
        """Whether it is asked for unstreamed, streamed or both."""
        return (False, True) if self.streams and self.endpoint in STREAMED else (False,)

    def request_bytes(self, tree: Any, *, streamed: bool = False) -> bytes:
        """Return the body of the request that ``tree`` is."""
        if self.request_kind == "none":
            return b""
        if self.request_kind == "form":
            more = [{"name": "stream", "text": "true"}] if streamed else []
            return form_bytes([*tree, *more])
        if streamed and self.api != "mcp":
            tree = {**tree, "stream": True}
        return json.dumps(tree, ensure_ascii=False).encode()

    def reply_bytes(self, tree: Any) -> tuple[str, bytes]:
        """Return content type and body of the reply that ``tree`` is."""
        if self.reply_kind == "lines":
            return "application/octet-stream", lines_bytes(tree)
        if self.reply_kind == "text":
            return "text/plain; charset=utf-8", tree.encode()
        if self.reply_kind == "none":
            return "", b""
        return "application/json", json.dumps(tree, ensure_ascii=False).encode()


def recorded() -> list[Recorded]:
    """Return all recorded bodies."""
    found = []
    for file in sorted(BODIES.glob("*.json")):
        made = json.loads(file.read_text())
        kind = "json" if "request" in made else "form" if "form" in made else "none"
        reply = next((k for k in ("reply", "reply_lines", "reply_text") if made.get(k) is not None), "none")
        found.append(
            Recorded(
                file.stem, made["endpoint"], made["api"], made["method"], made["path"],
                made.get("request", made.get("form")), kind, made.get(reply),
                reply.replace("reply_", "").replace("reply", "json"), made["streams"],
            )
        )  # fmt: skip
    return found


def lines_bytes(lines: Any) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def form_bytes(parts: Any) -> bytes:
    """Return a form as httpx writes it."""
    pieces = []
    for part in parts:
        file = f'; filename="{_filename(part["filename"])}"' if "filename" in part else ""
        kind = f"\r\nContent-Type: {part['type']}" if "type" in part else ""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part["name"]}"{file}{kind}\r\n\r\n'
        data = (
            base64.b64decode(part["base64"])
            if "base64" in part
            else lines_bytes(part["lines"])
            if "lines" in part
            else part["text"].encode()
        )
        pieces += [head.encode(), data, b"\r\n"]
    return b"".join([*pieces, f"--{BOUNDARY}--\r\n".encode()])


def _filename(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def is_bare(place: Place) -> bool:
    """Return whether a place holds one word, where prose would be strange."""
    return not place.key and _WORD.match(place.text) is not None
