"""Forms with files: multipart/form-data taken apart and put together again (RFC 7578, RFC 2046 section 5.1)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = ["Form", "Part"]

MAX_PARTS = 256
MAX_HEADER = 4096
"""Longest head of a part, in bytes."""
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]\Z")
_MADE_BY_CHANCE = re.compile(
    r"[0-9a-f]{32}|-{24}[0-9A-Za-z]{16,22}|-{4}WebKitFormBoundary[0-9A-Za-z]{16}"
    r"|-{4}geckoformboundary[0-9a-f]{30,34}|-{4}formdata-[a-z]+-0?[0-9]{11,12}"
)
"""Boundaries of httpx, aiohttp, requests, curl, browsers, Node; any other one could say something and is replaced."""
_PARAMETER = re.compile(r';[ \t]*([A-Za-z*]+)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))')
_NAME = re.compile(r"(?!(?:[^0-9]*[0-9]){7})[A-Za-z_][A-Za-z0-9_.\[\]-]{0,63}\Z")
_TYPE = re.compile(
    r"(?!(?:[^0-9]*[0-9]){7})[A-Za-z0-9.+-]{1,64}/[A-Za-z0-9.+-]{1,64}(?:;[ \t]*charset=\"?(?:utf-?8|us-ascii)\"?)?\Z",
    re.IGNORECASE,
)
"""Names and types have too few digits for a number of someone; UTF-8, since that is how the guard reads."""
_QUOTED = {'"': "%22", "\r": "%0D", "\n": "%0A"}
"""How browsers and httpx write these three in a name (WHATWG HTML, multipart form data)."""


class Part(NamedTuple):
    """One field. ``filename``: None for a field without a file. ``kind``: its media type. ``head``: as it came."""

    name: str
    filename: str | None
    kind: str
    data: bytes
    head: bytes


class Form:
    """A form, part by part, and its bytes again with some parts replaced; what is not replaced keeps its bytes.

    Text outside the parts, heads other than Content-Disposition and Content-Type, codings, ``filename*`` and names
    that are none are refused: nothing may travel where nobody looks.

    Raises:
        ProxyRefusal: not such a form, too many parts, a head too long.
    """

    def __init__(self, content_type: str, body: bytes) -> None:
        self.boundary = _boundary(content_type)
        self._body = body
        self.parts: tuple[Part, ...] = tuple(_split(body, self.boundary.encode()))

    def __repr__(self) -> str:
        return f"Form({len(self.parts)} parts)"

    def rewritten(
        self, data: Mapping[int, bytes] | None = None, filenames: Mapping[int, str] | None = None
    ) -> tuple[str, bytes]:
        """Return content type and bytes with the data, or the file name, of some parts replaced by their number."""
        data, filenames = data or {}, filenames or {}
        changed = [
            part._replace(
                data=data.get(number, part.data),
                head=_renamed(part, filenames[number]) if number in filenames else part.head,
            )
            for number, part in enumerate(self.parts)
        ]
        boundary = self.boundary
        if not _MADE_BY_CHANCE.fullmatch(boundary) or any(f"--{boundary}".encode() in part.data for part in changed):
            boundary = _fresh(self._body, changed)
        if boundary == self.boundary and changed == list(self.parts):
            return f"multipart/form-data; boundary={boundary}", self._body
        line = f"--{boundary}\r\n".encode()
        pieces = [b"".join((line, part.head, b"\r\n\r\n", part.data, b"\r\n")) for part in changed]
        return f"multipart/form-data; boundary={boundary}", b"".join(pieces) + f"--{boundary}--\r\n".encode()


def _no(message: str, status: int = 400) -> NoReturn:
    raise ProxyRefusal("guard.proxy.multipart", status, message)


def _boundary(content_type: str) -> str:
    kind, _, _ = content_type.partition(";")
    found: list[str] = [q or bare for name, q, bare in _PARAMETER.findall(content_type) if name.lower() == "boundary"]
    if kind.strip().lower() != "multipart/form-data" or len(found) != 1 or not _BOUNDARY.match(found[0]):
        _no("the form has no valid boundary")
    return found[0]


def _split(body: bytes, boundary: bytes) -> list[Part]:
    delimiter = b"\r\n--" + boundary
    text = b"\r\n" + body.removeprefix(b"\r\n")
    pieces = text.split(delimiter)
    if pieces[0]:
        _no("the form has text before its first part")
    if len(pieces) < 2 or pieces[-1] not in (b"--", b"--\r\n"):
        _no("the form does not end as it should")
    if len(pieces) - 2 > MAX_PARTS:
        _no(f"the form has more than {MAX_PARTS} parts", 413)
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    if not piece.startswith(b"\r\n"):
        _no("a delimiter of the form is followed by text")
    head, found, data = piece[2:].partition(b"\r\n\r\n")
    if not found or len(head) > MAX_HEADER:
        _no("a part of the form has no head, or one that is too long")
    try:
        lines = head.decode().split("\r\n")
    except UnicodeDecodeError:
        _no("a part's head is not UTF-8")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name.lower() in headers or "\r" in line or "\n" in line:
            _no("a part's head cannot be read")
        headers[name.lower()] = value.strip()
    if headers.pop("content-length", str(len(data))) != str(len(data)):
        _no("a part is not as long as it says")
    if headers.pop("content-transfer-encoding", "binary").lower() not in {"binary", "8bit", "7bit"}:
        _no("a part's transfer encoding is not let through")
    disposition, kind = headers.pop("content-disposition", ""), headers.pop("content-type", "")
    if headers:
        _no("a part has a header that is not let through")
    if kind and not _TYPE.match(kind):
        _no("a part's content type cannot be read")
    name, filename = _names(disposition)
    return Part(name, filename, kind.lower(), data, head)


def _names(disposition: str) -> tuple[str, str | None]:
    kind, _, _ = disposition.partition(";")
    rest = disposition[len(kind) :]
    found = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
    if kind.strip().lower() != "form-data" or _PARAMETER.sub("", rest).strip() or not {"name"} <= set(found):
        _no("a part does not say which field it is")
    if set(found) - {"name", "filename"} or len(found) != len(_PARAMETER.findall(rest)):
        _no("a part's disposition has a parameter that is not let through")
    if not _NAME.match(found["name"]):
        _no("a field of the form has no plain name")
    filename = found.get("filename")
    if filename is not None:
        filename = filename.replace('\\"', '"')
        for character, coded in _QUOTED.items():
            filename = filename.replace(coded, character)
    return found["name"], filename


def _renamed(part: Part, filename: str) -> bytes:
    """Return the head of ``part`` with another file name."""
    safe = "".join(_QUOTED.get(c, c) for c in filename).replace("\\", "_")
    lines = [f'Content-Disposition: form-data; name="{part.name}"; filename="{safe}"']
    if part.kind:
        lines.append(f"Content-Type: {part.kind}")
    return "\r\n".join(lines).encode()


def _fresh(body: bytes, parts: list[Part]) -> str:
    """Return a boundary that says nothing and is in no part."""
    number = 0
    while True:
        made = hashlib.sha256(number.to_bytes(4, "big") + body).hexdigest()[:32]
        if not any(made.encode() in part.data for part in parts):
            return made
        number += 1
