"""Content: salts derived from a destroyable secret, sealing with AES-256-GCM, the keyed subject index."""

from __future__ import annotations

import hmac
import os
import time
import unicodedata

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trustplane.audit.log.entry import SALT_BYTES
from trustplane.errors import InputError, VerificationError

__all__ = ["MODES", "new_key_id", "owner_of", "salt_of", "seal", "unseal"]

MODES = ("digest", "redacted", "sealed", "plain")
"""Content modes: a salted commitment only; the masked text; the whole until an end; the whole."""


def new_key_id() -> bytes:
    """Return 16 bytes, the first six a time: neighbours in time are neighbours on disk (as UUIDv7)."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


def salt_of(secret: bytes, step: int, name: str) -> bytes:
    """Return the salt of one field. Who destroys ``secret`` destroys every salt that came from it."""
    return hmac.digest(secret, b"salt/%d/%s" % (step, name.encode()), "sha256")[:SALT_BYTES]


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(hmac.digest(secret, b"seal", "sha256"))


def _bound_to(key: bytes, step: int, name: str) -> bytes:
    return b"%s/%d/%s" % (key, step, name.encode())


def seal(secret: bytes, key: bytes, step: int, name: str, value: bytes) -> bytes:
    """Return nonce || ciphertext, bound to its place: it opens nowhere else."""
    nonce = os.urandom(12)
    return nonce + _cipher(secret).encrypt(nonce, value, _bound_to(key, step, name))


def unseal(secret: bytes, key: bytes, step: int, name: str, sealed: bytes) -> bytes:
    """Return the content.

    Raises:
        VerificationError: cause ``sealed-content``: changed, moved or under another key.
    """
    try:
        return _cipher(secret).decrypt(sealed[:12], sealed[12:], _bound_to(key, step, name))
    except (InvalidTag, ValueError):
        raise VerificationError("sealed content does not open", cause="sealed-content") from None


def owner_of(index_key: bytes, subject: str) -> bytes:
    """Return the keyed digest under which a subject's secrets are found; without the key it says nothing."""
    name = " ".join(unicodedata.normalize("NFKC", subject).split())  # full-width or NFD: the same person
    if not name:
        raise InputError("a subject has a name")
    return hmac.digest(index_key, b"subject/" + name.encode("utf-8", "surrogatepass"), "sha256")
