"""Vaults: sessions kept in memory for a time, and the pseudonyms of one as a sealed file; no I/O."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from trustplane.errors import InputError, VerificationError

if TYPE_CHECKING:
    from trustplane.guard.text.session import Session

__all__ = ["MemoryVault", "new_key", "read_key", "seal", "unseal"]

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
        raise InputError("the file is not a vault") from None
    try:
        values: dict[str, str] = json.loads(AESGCM(key).decrypt(nonce, sealed, _FORM))
    except InvalidTag:
        raise VerificationError("the vault does not open: another key, or it was changed", cause="seal") from None
    return values


class MemoryVault:
    """Keeps sessions by tenant and session name for a time, in memory only.

    ``ttl``: seconds after its last use that a session is kept. ``capacity``: most sessions held; past it the
    one used longest ago is let go. ``clock``: a monotonic clock in seconds. Threads may share a vault.

    A session that is let go is dropped, values and all, as soon as nobody who got it holds it any more;
    a stream that restores with it goes on to its end. :meth:`forget` empties it at once. Made again with
    the same key, tenant and name, a session gives the same pseudonyms to the same values.

    Raises:
        InputError: ``ttl`` or ``capacity`` is not above 0.
    """

    def __init__(
        self, ttl: float = 3600.0, capacity: int = 10_000, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not ttl > 0 or capacity < 1:
            raise InputError("the vault's time to live and capacity must be above 0")
        self._ttl = ttl
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[float, Session]] = OrderedDict()

    def __repr__(self) -> str:
        return f"MemoryVault({len(self._kept)} sessions)"

    def __len__(self) -> int:
        self.purge()
        return len(self._kept)

    def session(self, tenant: str, session: str, make: Callable[[], Session]) -> Session:
        """Return the session of ``tenant`` under that name, made by ``make`` if none is kept.

        ``make`` runs under the vault's lock, so that two threads never make two.
        """
        with self._lock:
            now = self._purged()
            found = self._kept.pop((tenant, session), None)
            made = make() if found is None else found[1]
            self._kept[tenant, session] = (now + self._ttl, made)
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
            return made

    def forget(self, tenant: str, session: str) -> bool:
        """Drop a session and all its values now; return whether there was one."""
        with self._lock:
            found = self._kept.pop((tenant, session), None)
        if found is not None:
            found[1].forget()
        return found is not None

    def purge(self) -> None:
        """Let go of what has expired; :meth:`session` does so too."""
        with self._lock:
            self._purged()

    def _purged(self) -> float:
        now = self._clock()
        while self._kept:  # in order of last use, so in order of expiry
            expires, _ = next(iter(self._kept.values()))
            if expires > now:
                break
            self._kept.popitem(last=False)
        return now
