"""The store port: where entries, keys, content and tiles live; and the memory store, its simplest form."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

from trustplane.errors import StoreError

__all__ = ["Batch", "ContentRow", "Head", "KeyRow", "MemoryStore", "Row", "Store"]


class KeyRow(NamedTuple):
    """One secret: it guards the content of one request for one subject.

    ``owner``: keyed digest of the subject, or None while the subject is unknown. ``expires_us``: when
    the secret must be gone, microseconds since the epoch, or None.
    """

    id: bytes
    secret: bytes
    owner: bytes | None
    request: str
    expires_us: int | None


class ContentRow(NamedTuple):
    """One stored content field, by key, step and name: whatever its mode, AES-256-GCM under the key."""

    key: bytes
    step: int
    name: str
    mode: str
    value: bytes


class Batch(NamedTuple):
    """What one commit adds. ``publics`` joins the public parts by newlines (canonical JSON has none)."""

    size: int
    publics: bytes
    salts: bytes
    commitments: bytes
    leaves: bytes
    requests: Sequence[str]
    keys: Sequence[KeyRow] = ()
    contents: Sequence[ContentRow] = ()


class Row(NamedTuple):
    """A stored batch: entries ``first`` to ``first + size - 1``."""

    first: int
    size: int
    publics: bytes
    salts: bytes
    commitments: bytes
    leaves: bytes


class Head(NamedTuple):
    """How far the tree is built."""

    size: int
    root: bytes


class Store(Protocol):
    """Keeps a log. What a method acknowledges by returning is durable; it is all or nothing.

    Any number of processes may call any method at any time. StoreError: nothing was changed.
    """

    def append(self, batch: Batch) -> int:
        """Add a batch at the end and return its first index. Keys are durable before entries are."""

    def size(self) -> int:
        """Return the number of entries."""

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """Yield, in order, the batches that overlap ``[start, stop)``."""

    def find(self, request: str) -> list[int]:
        """Return the first index of each batch that holds entries of a request."""

    def head(self) -> Head | None:
        """Return how far the tree is built."""

    def tile(self, level: int, index: int) -> bytes:
        """Return up to 256 hashes of the complete subtrees of ``256**level`` leaves; b"" if none."""

    def save_head(self, head: Head, tiles: dict[tuple[int, int], bytes], checkpoint: tuple[str, int] | None) -> None:
        """Advance the tree and keep a signed checkpoint (note, wall time in microseconds)."""

    def checkpoints(self) -> list[tuple[int, str, int]]:
        """Return the kept checkpoints as (size, note, wall time), ascending."""

    def integration(self, *, wait: bool) -> AbstractContextManager[bool]:
        """Hold the right to build the tree; yields False if another holder has it and ``wait`` is false."""

    def meta(self, name: str, default: str | None = None) -> str | None:
        """Return a named value; with ``default``, keep that value first if there is none."""

    def set_meta(self, name: str, value: str) -> None:
        """Keep a named value, durable."""

    def key(self, ident: bytes) -> KeyRow | None:
        """Return a secret."""

    def keys_of(self, owner: bytes) -> list[KeyRow]:
        """Return the secrets of a subject."""

    def bind(self, ident: bytes, owner: bytes) -> None:
        """Give a secret its subject."""

    def content(self, key: bytes, step: int, name: str) -> ContentRow | None:
        """Return one stored content field."""

    def destroy(self, idents: Sequence[bytes]) -> int:
        """Destroy secrets and the content under them, leaving no copy in any file; return how many fields."""

    def begin_erasure(self, owner: bytes, ident: str) -> str:
        """Remember under which id a subject is being erased; return the id of one that was cut off, if any."""

    def end_erasure(self, owner: bytes) -> None:
        """Forget it, leaving no copy in any file."""

    def expired(self, now_us: int) -> list[bytes]:
        """Return the ids of secrets whose time is over."""

    def index_key(self) -> bytes:
        """Return the 32-byte key of the subject index."""

    def close(self) -> None:
        """Release files."""


class MemoryStore:
    """A store that lives and dies with the process: for tests and for logs nobody keeps."""

    def __init__(self) -> None:
        import secrets

        self._lock = threading.RLock()
        self._building = threading.RLock()
        self._rows: list[Row] = []
        self._firsts: list[int] = []
        self._places: dict[str, list[int]] = {}
        self._tiles: dict[tuple[int, int], bytes] = {}
        self._head: Head | None = None
        self._checkpoints: list[tuple[int, str, int]] = []
        self._meta: dict[str, str] = {}
        self._keys: dict[bytes, KeyRow] = {}
        self._contents: dict[tuple[bytes, int, str], ContentRow] = {}
        self._destroyed: set[bytes] = set()
        self._index_key = secrets.token_bytes(32)
        self._erasing: dict[bytes, str] = {}

    def append(self, batch: Batch) -> int:
        """See :class:`Store`."""
        with self._lock:
            first = self.size()
            for key in batch.keys:
                if key.id not in self._destroyed:
                    self._keys.setdefault(key.id, key)
            for row in batch.contents:
                if row.key in self._keys:
                    self._contents[row.key, row.step, row.name] = row
            self._rows.append(Row(first, batch.size, batch.publics, batch.salts, batch.commitments, batch.leaves))
            self._firsts.append(first)
            for request in batch.requests:
                self._places.setdefault(request, []).append(first)
            return first

    def size(self) -> int:
        """See :class:`Store`."""
        with self._lock:
            return self._rows[-1].first + self._rows[-1].size if self._rows else 0

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """See :class:`Store`."""
        with self._lock:
            low = max(0, bisect_right(self._firsts, start) - 1)
            found = [r for r in self._rows[low:] if r.first < stop and r.first + r.size > start]
        return iter(found)

    def find(self, request: str) -> list[int]:
        """See :class:`Store`."""
        with self._lock:
            return list(self._places.get(request, ()))

    def head(self) -> Head | None:
        """See :class:`Store`."""
        return self._head

    def tile(self, level: int, index: int) -> bytes:
        """See :class:`Store`."""
        return self._tiles.get((level, index), b"")

    def save_head(self, head: Head, tiles: dict[tuple[int, int], bytes], checkpoint: tuple[str, int] | None) -> None:
        """See :class:`Store`."""
        with self._lock:
            self._head = head
            self._tiles.update(tiles)
            if checkpoint:
                self._checkpoints = [c for c in self._checkpoints if c[0] != head.size]
                self._checkpoints.append((head.size, *checkpoint))

    def checkpoints(self) -> list[tuple[int, str, int]]:
        """See :class:`Store`."""
        return list(self._checkpoints)

    @contextmanager
    def integration(self, *, wait: bool) -> Iterator[bool]:
        """See :class:`Store`."""
        held = self._building.acquire(blocking=wait)
        try:
            yield held
        finally:
            if held:
                self._building.release()

    def meta(self, name: str, default: str | None = None) -> str | None:
        """See :class:`Store`."""
        with self._lock:
            return self._meta.setdefault(name, default) if default is not None else self._meta.get(name)

    def set_meta(self, name: str, value: str) -> None:
        """See :class:`Store`."""
        self._meta[name] = value

    def key(self, ident: bytes) -> KeyRow | None:
        """See :class:`Store`."""
        return self._keys.get(ident)

    def keys_of(self, owner: bytes) -> list[KeyRow]:
        """See :class:`Store`."""
        with self._lock:
            return [k for k in self._keys.values() if k.owner == owner]

    def bind(self, ident: bytes, owner: bytes) -> None:
        """See :class:`Store`."""
        with self._lock:
            if ident not in self._keys:
                raise StoreError("the key to bind is gone")
            self._keys[ident] = self._keys[ident]._replace(owner=owner)

    def content(self, key: bytes, step: int, name: str) -> ContentRow | None:
        """See :class:`Store`."""
        return self._contents.get((key, step, name))

    def destroy(self, idents: Sequence[bytes]) -> int:
        """See :class:`Store`."""
        with self._lock:
            gone = [k for k in self._contents if k[0] in set(idents)]
            for place in gone:
                del self._contents[place]
            for ident in idents:
                self._destroyed.add(ident)
                self._keys.pop(ident, None)
            return len(gone)

    def begin_erasure(self, owner: bytes, ident: str) -> str:
        """See :class:`Store`."""
        return self._erasing.setdefault(owner, ident)

    def end_erasure(self, owner: bytes) -> None:
        """See :class:`Store`."""
        self._erasing.pop(owner, None)

    def expired(self, now_us: int) -> list[bytes]:
        """See :class:`Store`."""
        with self._lock:
            return [k.id for k in self._keys.values() if k.expires_us is not None and k.expires_us <= now_us]

    def index_key(self) -> bytes:
        """See :class:`Store`."""
        return self._index_key

    def close(self) -> None:
        """See :class:`Store`."""
