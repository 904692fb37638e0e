"""Vault: the pseudonyms of a session as one sealed file, for those who must restore later; no I/O."""

from __future__ import annotations

import base64
import binascii
import json
import secrets

from trustplane.errors import InputError, VerificationError

__all__ = ["new_key", "read_key", "seal", "unseal"]

_FORM = b"trustplane/vault/1"
_KEY_BYTES = 32
_NONCE_BYTES = 12


def new_key() -> str:
    """Return a new key: 32 random bytes in base64, one line."""
    return base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n"


def read_key(text: str) -> bytes:
    """Return the bytes of a key.

    Raises:
        InputError: not a key that :func:`new_key` makes.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise InputError("the key file does not hold a key")
    return key


def seal(values: dict[str, str], key: bytes) -> bytes:
    """Return pseudonym → value sealed with AES-256-GCM (NIST SP 800-38D), as a JSON document."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, json.dumps(values).encode(), _FORM)
    fields = {"form": _FORM.decode(), "nonce": nonce, "sealed": sealed}
    shown = {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in fields.items()}
    return (json.dumps(shown) + "\n").encode()


def unseal(data: bytes, key: bytes) -> dict[str, str]:
    """Return what :func:`seal` sealed.

    Raises:
        InputError: not a vault.
        VerificationError: another key, or a vault that was changed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        fields = json.loads(data)
        if fields["form"] != _FORM.decode():
            raise ValueError
        nonce, sealed = (base64.b64decode(fields[name], validate=True) for name in ("nonce", "sealed"))
        if len(nonce) != _NONCE_BYTES:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise InputError("the map is not a vault") from None
    try:
        values: dict[str, str] = json.loads(AESGCM(key).decrypt(nonce, sealed, _FORM))
    except InvalidTag:
        raise VerificationError("the map does not open: another key, or it was changed", cause="seal") from None
    return values
