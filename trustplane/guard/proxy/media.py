"""Media: telling images, audio and files from text, by their first bytes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

__all__ = ["is_media", "media_kind"]

_MAGIC = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*",
    b"%PDF-", b"PK\x03\x04", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9", b"OggS",
    b"fLaC", b"\x1aE\xdf\xa3", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"#!AMR",
)  # fmt: skip
"""First bytes of PNG, JPEG, GIF, BMP, TIFF, PDF, ZIP and Office, MP3, AAC, Ogg, FLAC, WebM, old Office, AMR (IANA media
types; PRONOM)."""
_RIFF = (b"WAVE", b"WEBP", b"AVI ")
_DATA_URL = re.compile(r"data:(?:image|audio|video|application)/[A-Za-z0-9.+-]{1,64};base64,", re.IGNORECASE)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/\r\n]*|[A-Za-z0-9_\r\n-]*)={0,2}\s*\Z")
_URL = re.compile(r"(?:https?|gs|s3|file):", re.IGNORECASE)
_LONG = 256
"""From this length on a run of base64 at a place of media counts as media, whatever its first bytes (raw samples)."""


def is_media(data: bytes) -> bool:
    """Return whether ``data`` begins as an image, a sound, a film or a document does."""
    if data.startswith(_MAGIC):
        return not data.startswith(b"BM") or len(data) < 6 or int.from_bytes(data[2:6], "little") == len(data)
    return (data.startswith(b"RIFF") and data[8:12] in _RIFF) or data[4:8] == b"ftyp"


def media_kind(text: str) -> Literal["", "url", "bytes", "blob"]:
    """Return what a string at a place of media is: a ``url``, ``bytes`` of a known form, another ``blob``, or text.

    ``bytes``: base64 of data with a known beginning and nothing else, as it is or as a data URL without parameters.
    """
    if _URL.match(text):
        return "url"
    found = _DATA_URL.match(text)
    coded = text[found.end() :] if found else text
    if not coded or not _BASE64.match(coded):
        return ""
    head = coded[:64].replace("\r", "").replace("\n", "").rstrip("=")
    try:
        data = base64.b64decode(head[: len(head) // 4 * 4].replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return ""
    if len(data) >= 3 and is_media(data):
        return "bytes"
    return "blob" if found or len(coded) >= _LONG else ""
