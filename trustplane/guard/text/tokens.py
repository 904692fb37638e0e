"""Sealed tokens: a pseudonym that carries its value encrypted, so that restoring needs a key and no table."""

from __future__ import annotations

import base64
import binascii

from trustplane.errors import InputError
from trustplane.guard.text.pseudonym import label_of

__all__ = ["BASE32", "MARK", "PIECE", "Sealer", "token_length"]

MARK = "SEALED"
"""First word of a sealed token: ``[SEALED_EMAIL_ADDRESS_0FD...]``."""
START = "0"
"""First letter of the word that holds the sealed bytes; no base32 letter and no entity begins with it."""
PIECE = 224
"""Most bytes of UTF-8 in one token; a longer value becomes several tokens side by side."""
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
"""Base32 (RFC 4648) without padding; case carries nothing."""
_TAG = 16
_NONCE = bytes(12)
_CONTEXT = b"trustplane/token/1"


def token_length(size: int) -> int:
    """Return how many base32 letters seal a value of ``size`` bytes: one byte of length, the value, a tag of 16."""
    return -(-(1 + size + _TAG) * 8 // 5)


class Sealer:
    """Seals values with AES-256-GCM-SIV (RFC 8452); tenant and session are in the associated data.

    The nonce is fixed, which that cipher allows: it then is deterministic, and all it shows is which
    sealed values are equal, which the same token for the same value shows anyway. A value of ``n`` bytes
    gives ``token_length(n)`` letters, 55 for an address of 17, so a token shows how long its value is.
    It survives a change of case, brackets, emphasis, line breaks, blanks and hyphens inside it; one wrong
    letter and it stays as it is. Another key, tenant or session opens none.

    ``key``: 32 bytes or more; 32 are derived from it, so one key may serve pseudonyms and tokens.

    Raises:
        InputError: the key is too short.
    """

    __slots__ = ("_cipher", "_context")

    def __init__(self, key: bytes, tenant: str = "", session: str = "") -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        if len(key) < 32:
            raise InputError("the key of sealed tokens has fewer than 32 bytes")
        self._cipher = AESGCMSIV(HKDF(SHA256(), 32, None, _CONTEXT).derive(key))
        parts = (part.encode("utf-8", "surrogatepass") for part in (tenant, session))
        self._context = _CONTEXT + b"".join(len(part).to_bytes(8, "big") + part for part in parts)

    def __repr__(self) -> str:
        return "Sealer()"

    def seal(self, entity: str, value: str) -> str:
        """Return the token of a non-empty value, or several side by side for one over ``PIECE`` bytes."""
        pieces: list[bytes] = [b""]
        for character in value:
            data = character.encode("utf-8", "surrogatepass")
            if len(pieces[-1]) + len(data) > PIECE:
                pieces.append(b"")
            pieces[-1] += data
        return "".join(f"[{MARK}_{label_of(entity)}_{START}{self._token(piece)}]" for piece in pieces)

    def _token(self, piece: bytes) -> str:
        sealed = self._cipher.encrypt(_NONCE, piece, self._context)
        return base64.b32encode(bytes([len(piece)]) + sealed).decode().rstrip("=")

    @staticmethod
    def length(first: str) -> int:
        """Return how many letters the token has that begins with two upper-case letters, 0 if none can."""
        size = BASE32.index(first[0]) << 3 | BASE32.index(first[1]) >> 2
        return token_length(size) if 0 < size <= PIECE else 0

    def open(self, letters: str) -> str | None:
        """Return the value of a token's upper-case letters, None if they are not one of this key and context."""
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.b32decode(letters + "=" * (-len(letters) % 8))
            if not data or base64.b32encode(data).decode().rstrip("=") != letters:
                return None
            value = self._cipher.decrypt(_NONCE, data[1:], self._context).decode("utf-8", "surrogatepass")
        except (binascii.Error, InvalidTag, UnicodeDecodeError):
            return None
        return value if data[0] == len(data) - 1 - _TAG else None
