"""Memo: what was found in texts seen lately, by keyed digest, so that a conversation's old turns are not searched."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Digests", "Memo"]

V = TypeVar("V")

ENTRIES = 20_000
"""Texts remembered at most: 400 conversations of 50 turns, about 5 MB."""
WEIGHT = 50_000
"""Hits remembered at most, over all texts: about 10 MB."""


class Digests:
    """Names texts by BLAKE2b (RFC 7693) under a key of this object, 128 bits: of use to nobody without the key."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def __repr__(self) -> str:
        return "Digests()"

    def of(self, *texts: str) -> bytes:
        """Return the digest of a list of texts."""
        if len(texts) == 1:
            data = texts[0].encode("utf-8", "surrogatepass")
        else:
            parts = [text.encode("utf-8", "surrogatepass") for text in texts]
            data = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hashlib.blake2b(data, digest_size=16, key=self._key).digest()


class Memo(Generic[V]):
    """Remembers values by keys that hold no text; those used longest ago are forgotten first. Threads may share it."""

    def __init__(self, entries: int = ENTRIES, weight: int = WEIGHT) -> None:
        self._entries, self._most = entries, weight
        self._lock = threading.Lock()
        self._found: dict[Hashable, tuple[V, int]] = {}
        self._weight = 0

    def __repr__(self) -> str:
        return f"Memo({len(self._found)} entries)"

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: Hashable) -> V | None:
        """Return what is remembered, None if nothing is."""
        with self._lock:
            found = self._found.pop(key, None)
            if found is None:
                return None
            self._found[key] = found  # the youngest again
            return found[0]

    def put(self, key: Hashable, value: V, weight: int) -> None:
        """Remember ``value``; ``weight``: how many hits it holds."""
        if weight > self._most:
            return
        with self._lock:
            old = self._found.pop(key, None)
            self._weight += weight - (old[1] if old is not None else 0)
            self._found[key] = (value, weight)
            while len(self._found) > self._entries or self._weight > self._most:
                self._weight -= self._found.pop(next(iter(self._found)))[1]
