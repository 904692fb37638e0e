"""The residue scan: does any file of a folder still hold a text, in any of eight encodings?"""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

__all__ = ["encodings", "search"]

_CHUNK = 1 << 20


def encodings(text: str) -> dict[str, list[bytes]]:
    """Return what to look for: UTF-8, UTF-16 (both ends), base64 at its three offsets, hex, percent and JSON
    escapes, and reversed. Texts under four bytes are found everywhere and should not be asked for."""
    raw = text.encode("utf-8", "surrogatepass")
    shifted = []
    for offset in range(3):  # the characters that depend on this text alone
        coded = base64.b64encode(b"\x00" * offset + raw)
        shifted.append(coded[{0: 0, 1: 2, 2: 3}[offset] : len(coded) - (4 if (offset + len(raw)) % 3 else 0) or None])
    return {
        "utf-8": [raw],
        "utf-16-le": [text.encode("utf-16-le", "surrogatepass")],
        "utf-16-be": [text.encode("utf-16-be", "surrogatepass")],
        "base64": [s for s in shifted if len(s) > 4],
        "hex": [raw.hex().encode(), raw.hex().upper().encode()],
        "percent": [urllib.parse.quote(text, safe="", errors="surrogatepass").encode()],
        "json": [json.dumps(text)[1:-1].encode()],
        "reversed": [raw[::-1]],
    }


def search(folder: Path, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return (file below ``folder``, encoding) for each hit; reads raw bytes, free pages included."""
    wanted = [(name, pattern) for text in texts for name, found in encodings(text).items() for pattern in found]
    longest = max((len(pattern) for _, pattern in wanted), default=1)
    hits: set[tuple[str, str]] = set()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        with path.open("rb") as handle:
            tail = b""
            while block := handle.read(_CHUNK):
                data = tail + block
                hits |= {(str(path.relative_to(folder)), name) for name, pattern in wanted if pattern in data}
                tail = data[-longest:]
    return sorted(hits)
