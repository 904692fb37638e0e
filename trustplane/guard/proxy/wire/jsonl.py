"""JSON lines: a file of batches or of training data, line by line a document."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from trustplane.errors import InputError
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.text.document import At, JsonDocument, Leaf

__all__ = ["JsonLines", "looks_like_jsonl"]

MAX_LINES = 100_000
"""Most lines of one file; OpenAI's and Anthropic's batches hold half of it at most."""
_LINE = re.compile(rb"[^\r\n]+")


def looks_like_jsonl(data: bytes) -> bool:
    """Return whether the first line that is not blank begins an object or an array."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start[:1] in (b"{", b"[")


class JsonLines:
    """Lines of JSON as one document: ``leaves`` of all lines in order, and the bytes again with some replaced.

    Line ends, blank lines and whatever is not replaced keep their bytes.

    Raises:
        ProxyRefusal: a line that is not JSON in UTF-8, too many lines.
    """

    def __init__(self, data: bytes, *, watch: str = "") -> None:
        self._data = data
        self.leaves: list[Leaf] = []
        self.documents: list[JsonDocument] = []
        self._spans: list[tuple[int, int]] = []
        for found in _LINE.finditer(data):
            start, end = found.span()
            if start == 0 and data.startswith(b"\xef\xbb\xbf"):
                start = 3
            if not data[start:end].strip():
                continue
            if len(self.documents) >= MAX_LINES:
                raise ProxyRefusal("guard.proxy.lines", 413, f"the file has more than {MAX_LINES} lines")
            try:
                document = JsonDocument(data[start:end].decode(), watch=watch)
            except (InputError, UnicodeDecodeError):
                raise ProxyRefusal("guard.proxy.jsonl", 400, "a line of the file is not valid JSON in UTF-8") from None
            self.documents.append(document)
            self._spans.append((start, end))
            self.leaves += document.leaves

    def __repr__(self) -> str:
        return f"JsonLines({len(self.documents)} lines, {len(self.leaves)} leaves)"

    def rewritten(self, values: Sequence[str], switched: Mapping[int, Mapping[At, str]] | None = None) -> bytes:
        """Return the file with leaf ``i`` as ``values[i]``, and the switches of some lines as given, by line."""
        if len(values) != len(self.leaves):
            raise InputError("there are not as many values as leaves")
        pieces: list[bytes] = []
        position = taken = 0
        for number, (document, (start, end)) in enumerate(zip(self.documents, self._spans, strict=True)):
            count = len(document.leaves)
            new = document.rewritten(values[taken : taken + count], (switched or {}).get(number))
            taken += count
            pieces += (self._data[position:start], new.encode())
            position = end
        return b"".join(pieces) + self._data[position:]
