"""One entry: its public part, its salted fields, and the one hash that the log commits to.

field leaf  = SHA-256(0x00 || salt || name || 0x00 || canonical JSON)      salt: 16 random bytes
fields root = RFC 9162 tree over [public leaf, content leaves in the order that the public part names]
entry data  = "trustplane/1\\n" || fields root
log leaf    = SHA-256(0x00 || entry data)
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec

from trustplane import canon
from trustplane.audit.log.tree import root_of
from trustplane.errors import InputError, VerificationError
from trustplane.step import Ref

__all__ = [
    "ENTRY_TAG",
    "SALT_BYTES",
    "SCHEMA",
    "Content",
    "Public",
    "decode",
    "encode",
    "entry_data",
    "field_leaf",
]

SCHEMA = "trustplane/step/1"
ENTRY_TAG = b"trustplane/1\n"
SALT_BYTES = 16
LEAF_TAG = b"\x00" + ENTRY_TAG


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """One content field of an entry: its name, its content mode and the id of the key that guards it.

    ``name``: ``input``, ``result``, ``output`` or ``subject``. ``expires_us``: when sealed content ends,
    in microseconds since the Unix epoch; 0: no end.
    """

    key: str
    mode: str
    name: str
    expires_us: int = 0

    def evidence(self) -> dict[str, Any]:
        """Return the canonical form, keys in order."""
        found: dict[str, Any] = {"expires_us": self.expires_us} if self.expires_us else {}
        return found | {"key": self.key, "mode": self.mode, "name": self.name}


class Public(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The part of an entry that holds no content; fields in the order of canonical JSON.

    ``boot``: random id of the writing process, which ``mono_us`` (monotonic clock) belongs to.
    ``kind``: ``open``, ``step``, ``decision`` or ``log``. ``mode``: content mode of the request.
    ``step``: position in the request, from 0, without gaps. Times in microseconds.
    """

    action: str
    agents: tuple[Ref, ...] = ()
    boot: str = ""
    content: tuple[dict[str, Any], ...] = ()
    facts: dict[str, Any] = {}
    findings: tuple[dict[str, Any], ...] = ()
    inputs: tuple[Ref, ...] = ()
    kind: str = ""
    mode: str = ""
    mono_us: int = 0
    origin: str = ""
    outputs: tuple[Ref, ...] = ()
    parent: str = ""
    purpose: str = ""
    request: str = ""
    result: str = ""
    schema: str = ""
    step: int = 0
    wall_us: int = 0

    @property
    def contents(self) -> tuple[Content, ...]:
        """The content fields, in the order of their leaves."""
        return tuple(msgspec.convert(item, Content) for item in self.content)


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Public)
encode = _encoder.encode
"""Public -> canonical bytes: its fields are declared in order, its dictionaries get sorted."""


def decode(data: bytes, index: int | None = None) -> Public:
    """Read a public part; anything but the canonical form of a known schema is refused.

    Raises:
        VerificationError: cause ``public-form`` or ``schema``.
    """
    try:
        public = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        public = None
    if public is None or encode(public) != data:
        raise VerificationError("an entry's public part is not canonical", cause="public-form", index=index)
    if public.schema != SCHEMA:
        raise VerificationError("an entry has an unknown schema", cause="schema", index=index)
    return public


def field_leaf(salt: bytes, name: str, value: bytes) -> bytes:
    """Return the commitment to one field; ``value`` is canonical JSON."""
    return sha256(b"\x00" + salt + name.encode() + b"\x00" + value).digest()


def entry_data(public: bytes, salt: bytes, commitments: list[bytes]) -> bytes:
    """Return the 45 bytes that stand in the log for an entry."""
    leaf = sha256(b"\x00" + salt + b"public\x00" + public).digest()
    return ENTRY_TAG + (root_of([leaf, *commitments]) if commitments else leaf)


def entry_hash(public: bytes, salt: bytes, commitments: list[bytes]) -> bytes:
    """Return the log's leaf hash of an entry."""
    return sha256(b"\x00" + entry_data(public, salt, commitments)).digest()


def open_field(name: str, value: Any, salt: bytes, commitment: bytes) -> None:
    """Check that a disclosed value is the one that was committed to.

    Raises:
        VerificationError: cause ``field-mismatch``.
    """
    try:
        data = canon.dumps(value)
    except InputError:
        data = None
    if data is None or field_leaf(salt, name, data) != commitment:
        raise VerificationError(f"the disclosed {name} is not what was logged", cause="field-mismatch")
