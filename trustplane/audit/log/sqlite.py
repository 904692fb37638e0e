"""The SQLite store: entries in log.db, secrets in keys.db, kept content in content.db, locks beside them.

The rows of log.db are the sequence: a commit is the acknowledgement. A commit takes a file lock before it
begins (a queue instead of SQLite's polling), then makes keys durable, then content, then entries, so that a
crash in between leaves at most a key that nothing uses. All files run WAL with synchronous=FULL. Destroying
overwrites secrets in place and truncates the WAL: a destroyed secret is in no file. Kept content is
ciphertext under such a secret, so that what SQLite leaves of it in free space says nothing. Longer than most
files here since it is one port, whose three databases are written in one order under one lock.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trustplane.audit.log.store import Batch, ContentRow, Head, KeyRow, Row
from trustplane.errors import StoreError
from trustplane.lock import held

__all__ = ["SqliteStore"]

_LOG = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches(
    first INTEGER PRIMARY KEY, count INTEGER NOT NULL,
    publics BLOB NOT NULL, salts BLOB NOT NULL, commitments BLOB NOT NULL, leaves BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS places(
    request TEXT NOT NULL, first INTEGER NOT NULL, PRIMARY KEY(request, first)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tiles(
    level INTEGER NOT NULL, idx INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY(level, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS head(id INTEGER PRIMARY KEY CHECK(id = 1), size INTEGER NOT NULL, root BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL, wall_us INTEGER NOT NULL);
"""
_KEYS = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys(
    slot INTEGER PRIMARY KEY, alive INTEGER NOT NULL DEFAULT 1, id BLOB NOT NULL UNIQUE, secret BLOB NOT NULL,
    owner BLOB NOT NULL, request TEXT NOT NULL, expires_us INTEGER, bucket INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS keys_bucket ON keys(bucket) WHERE bucket >= 0;
CREATE TABLE IF NOT EXISTS erasing(slot INTEGER PRIMARY KEY, owner BLOB NOT NULL, ident TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS keys_expiry ON keys(expires_us) WHERE alive AND expires_us IS NOT NULL;
"""
# Secrets and owners stand in rows that are only added at the end and overwritten in place, and in no index:
# where SQLite moves rows between pages, secure_delete leaves copies of the moved rows in the gaps. The index that
# finds a subject holds twelve bits of the keyed owner: among many subjects such a bucket points at nobody.
_NOBODY = bytes(32)
_CONTENT = """
CREATE TABLE IF NOT EXISTS content(
    key BLOB NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, mode TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY(key, step, name)) WITHOUT ROWID;
"""
_ADD_KEYS = "INSERT OR IGNORE INTO keys(id, secret, owner, request, expires_us, bucket) VALUES"
_GET_KEYS = "SELECT id, secret, nullif(owner, zeroblob(32)), request, expires_us FROM keys WHERE alive AND "
_WIPE_KEY = (
    "UPDATE keys SET alive = 0, secret = ?, owner = ?, bucket = -1,"
    " request = replace(hex(zeroblob(length(request))), '00', '-') WHERE id = ?"
)  # of the same length, so that the row stays where it is
_CHUNK = 256
"""Rows per multi-row INSERT: one call into SQLite, so that busy threads do not cut in at every row."""
CHECKPOINT_KEPT_US = 3_600_000_000
"""Of the checkpoints signed within an hour only the newest is kept; callers keep the ones they got."""


def _clear(error: sqlite3.Error, what: str) -> StoreError:
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return StoreError(
            f"{what}: no space left, or the disk fails",
            hint="nothing acknowledged is lost; free space and go on",
        )
    if "locked" in text or "busy" in text:
        return StoreError(f"{what}: another process holds the database", hint="try again")
    if "malformed" in text or "not a database" in text:
        return StoreError(f"{what}: the file is damaged", hint="restore it, then run: trustplane log verify")
    return StoreError(f"{what}: {type(error).__name__}", hint="see the store's file permissions")


class SqliteStore:
    """A folder with three databases; any number of processes and threads may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._write = threading.RLock()
        self._read = threading.RLock()
        self._connections: dict[str, sqlite3.Connection] = {}
        _stores.add(self)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._write, held(self.folder / "commit.lock"):
                for name, schema in (("log", _LOG), ("keys", _KEYS), ("content", _CONTENT)):
                    self._connect(name).executescript(schema)
                self._connect("keys").execute(
                    "INSERT OR IGNORE INTO meta VALUES ('index_key', ?)", (secrets.token_bytes(32),)
                )
        except sqlite3.Error as error:
            raise _clear(error, "the store cannot be opened") from None
        except OSError as error:
            raise StoreError(f"the store cannot be opened: {error.strerror}", hint=f"folder {folder}") from None

    # ── plumbing ────────────────────────────────────────────────────────────────────────────────────

    def _before_fork(self) -> None:
        """Leave no connection for a child to inherit: SQLite would take the parent's locks for its own."""
        self._write.acquire()
        self._read.acquire()
        self._disconnect()

    def _after_fork_in_parent(self) -> None:
        self._read.release()
        self._write.release()

    def _after_fork_in_child(self) -> None:
        self._write, self._read = threading.RLock(), threading.RLock()

    def _disconnect(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections = {}

    def _connect(self, name: str) -> sqlite3.Connection:
        """Return the connection to ``<name>.db``; ``log-read`` and ``log-tree`` are further ones to log.db."""
        found = self._connections.get(name)
        if found is None:
            path = self.folder / f"{name.partition('-')[0]}.db"
            existed = path.exists()
            found = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            if not existed:
                path.chmod(0o600)
            found.execute("PRAGMA journal_mode=WAL")
            found.execute(f"PRAGMA synchronous={'NORMAL' if name == 'log-tree' else 'FULL'}")
            if name in ("keys", "content"):
                found.execute("PRAGMA secure_delete=ON")
            self._connections[name] = found
        return found

    @contextmanager
    def _transaction(self, name: str) -> Iterator[sqlite3.Connection]:
        connection = self._connect(name)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _query(self, name: str, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._read:
            try:
                return self._connect(name).execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise _clear(error, "the store cannot be read") from None

    @contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        try:
            with self._write, held(self.folder / "commit.lock"):
                yield
        except sqlite3.Error as error:
            raise _clear(error, what) from None
        except OSError as error:
            raise StoreError(f"{what}: {error.strerror}", hint="nothing acknowledged is lost") from None

    # ── entries ─────────────────────────────────────────────────────────────────────────────────────

    def append(self, batch: Batch) -> int:
        """See :class:`trustplane.audit.log.store.Store`."""
        with self._changing("steps could not be written"):
            if batch.keys:
                with self._transaction("keys") as db:
                    _insert(db, _ADD_KEYS, [_placed(k) for k in batch.keys])
            if batch.contents:
                alive = self._alive({row.key for row in batch.contents})
                with self._transaction("content") as db:
                    _insert(
                        db,
                        "INSERT OR REPLACE INTO content VALUES",
                        [r for r in batch.contents if r.key in alive],
                    )
            with self._transaction("log") as db:
                row = db.execute("SELECT first + count FROM batches ORDER BY first DESC LIMIT 1").fetchone()
                first = int(row[0]) if row else 0
                db.execute(
                    "INSERT INTO batches VALUES (?,?,?,?,?,?)",
                    (first, batch.size, batch.publics, batch.salts, batch.commitments, batch.leaves),
                )
                _insert(db, "INSERT OR IGNORE INTO places VALUES", [(r, first) for r in batch.requests])
            return first

    def _alive(self, idents: set[bytes]) -> set[bytes]:
        """Return those keys that were not destroyed meanwhile: their content must not come back."""
        found: set[bytes] = set()
        wanted = list(idents)
        for i in range(0, len(wanted), _CHUNK):
            part = wanted[i : i + _CHUNK]
            marks = ",".join("?" * len(part))
            sql = f"SELECT id FROM keys WHERE alive AND id IN ({marks})"  # noqa: S608
            found |= {r[0] for r in self._connect("keys").execute(sql, part)}
        return found

    def size(self) -> int:
        """See :class:`trustplane.audit.log.store.Store`."""
        rows = self._query("log-read", "SELECT first + count FROM batches ORDER BY first DESC LIMIT 1")
        return int(rows[0][0]) if rows else 0

    def rows(self, start: int, stop: int) -> Iterator[Row]:
        """See :class:`trustplane.audit.log.store.Store`."""
        low = self._query("log-read", "SELECT max(first) FROM batches WHERE first <= ?", (start,))[0][0]
        at = -1 if low is None else int(low) - 1
        while True:
            found = self._query(
                "log-read",
                "SELECT first, count, publics, salts, commitments, leaves FROM batches"
                " WHERE first > ? AND first < ? ORDER BY first LIMIT 64",
                (at, stop),
            )
            if not found:
                return
            yield from (Row(*r) for r in found)
            at = found[-1][0]

    def find(self, request: str) -> list[int]:
        """See :class:`trustplane.audit.log.store.Store`."""
        rows = self._query("log-read", "SELECT first FROM places WHERE request = ? ORDER BY first", (request,))
        return [int(r[0]) for r in rows]

    # ── tree ────────────────────────────────────────────────────────────────────────────────────────

    def head(self) -> Head | None:
        """See :class:`trustplane.audit.log.store.Store`."""
        rows = self._query("log-read", "SELECT size, root FROM head")
        return Head(*rows[0]) if rows else None

    def tile(self, level: int, index: int) -> bytes:
        """See :class:`trustplane.audit.log.store.Store`."""
        rows = self._query("log-read", "SELECT hashes FROM tiles WHERE level = ? AND idx = ?", (level, index))
        return bytes(rows[0][0]) if rows else b""

    def save_head(self, head: Head, tiles: dict[tuple[int, int], bytes], checkpoint: tuple[str, int] | None) -> None:
        """See :class:`trustplane.audit.log.store.Store`."""
        # head and tiles follow from durable rows, so only a checkpoint to be kept waits for the disk
        name = "log" if checkpoint else "log-tree"
        with self._changing("the tree could not be written"), self._transaction(name) as db:
            db.executemany("INSERT OR REPLACE INTO tiles VALUES (?,?,?)", [(*k, v) for k, v in tiles.items()])
            db.execute("INSERT OR REPLACE INTO head VALUES (1,?,?)", head)
            if checkpoint:
                note, wall_us = checkpoint
                newest = db.execute("SELECT size, wall_us FROM checkpoints ORDER BY size DESC LIMIT 2").fetchall()
                if len(newest) == 2 and newest[0][1] // CHECKPOINT_KEPT_US == wall_us // CHECKPOINT_KEPT_US:
                    db.execute("DELETE FROM checkpoints WHERE size = ?", (newest[0][0],))
                db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?,?,?)", (head.size, note, wall_us))

    def checkpoints(self) -> list[tuple[int, str, int]]:
        """See :class:`trustplane.audit.log.store.Store`."""
        return [tuple(r) for r in self._query("log-read", "SELECT size, note, wall_us FROM checkpoints ORDER BY size")]

    @contextmanager
    def integration(self, *, wait: bool) -> Iterator[bool]:
        """See :class:`trustplane.audit.log.store.Store`."""
        with held(self.folder / "integrate.lock", wait=wait) as taken:
            yield taken

    def meta(self, name: str, default: str | None = None) -> str | None:
        """See :class:`trustplane.audit.log.store.Store`."""
        if default is not None:
            with self._changing("a setting could not be written"), self._transaction("log") as db:
                db.execute("INSERT OR IGNORE INTO meta VALUES (?,?)", (name, default))
        rows = self._query("log-read", "SELECT value FROM meta WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """See :class:`trustplane.audit.log.store.Store`."""
        with self._changing("a setting could not be written"), self._transaction("log") as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, value))

    # ── secrets and content ─────────────────────────────────────────────────────────────────────────

    def key(self, ident: bytes) -> KeyRow | None:
        """See :class:`trustplane.audit.log.store.Store`."""
        rows = self._query("keys", _GET_KEYS + "id = ?", (ident,))
        return KeyRow(*rows[0]) if rows else None

    def keys_of(self, owner: bytes) -> list[KeyRow]:
        """See :class:`trustplane.audit.log.store.Store`."""
        rows = self._query("keys", _GET_KEYS + "bucket = ? AND owner = ?", (_bucket(owner), owner))
        return [KeyRow(*r) for r in rows]

    def bind(self, ident: bytes, owner: bytes) -> None:
        """See :class:`trustplane.audit.log.store.Store`."""
        with self._changing("a subject could not be bound"), self._transaction("keys") as db:
            sql = "UPDATE keys SET owner = ?, bucket = ? WHERE id = ? AND alive"
            if not db.execute(sql, (owner, _bucket(owner), ident)).rowcount:
                raise StoreError("the key to bind is gone", hint="its subject was erased, or its time is over")

    def content(self, key: bytes, step: int, name: str) -> ContentRow | None:
        """See :class:`trustplane.audit.log.store.Store`."""
        sql = "SELECT key, step, name, mode, value FROM content WHERE key = ? AND step = ? AND name = ?"
        rows = self._query("content", sql, (key, step, name))
        return ContentRow(*rows[0]) if rows else None

    def destroy(self, idents: Sequence[bytes]) -> int:
        """See :class:`trustplane.audit.log.store.Store`."""
        gone = 0
        with self._changing("secrets could not be destroyed"):
            with self._transaction("content") as db:
                for ident in idents:
                    gone += db.execute("DELETE FROM content WHERE key = ?", (ident,)).rowcount
            with self._transaction("keys") as db:
                db.executemany(_WIPE_KEY, [(_NOBODY, _NOBODY, i) for i in idents])
            for name in ("content", "keys"):
                self._truncate(name)
        return gone

    def begin_erasure(self, owner: bytes, ident: str) -> str:
        """See :class:`trustplane.audit.log.store.Store`."""
        with self._changing("an erasure could not begin"), self._transaction("keys") as db:
            row = db.execute("SELECT ident FROM erasing WHERE owner = ?", (owner,)).fetchone()
            if row is None:
                db.execute("INSERT INTO erasing(owner, ident) VALUES (?,?)", (owner, ident))
            return str(row[0]) if row else ident

    def end_erasure(self, owner: bytes) -> None:
        """See :class:`trustplane.audit.log.store.Store`."""
        with self._changing("an erasure could not end"):
            with self._transaction("keys") as db:
                db.execute("UPDATE erasing SET owner = ? WHERE owner = ?", (_NOBODY, owner))
            self._truncate("keys")

    def _truncate(self, name: str) -> None:
        """Empty the WAL: until then old pages with destroyed secrets stand in it."""

        def once() -> bool:
            with self._read:
                return not self._connect(name).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

        if not _until(once, seconds=30):
            raise StoreError(
                "a reader keeps destroyed secrets in the write-ahead log", hint="close it, then erase again"
            )

    def expired(self, now_us: int) -> list[bytes]:
        """See :class:`trustplane.audit.log.store.Store`."""
        sql = "SELECT id FROM keys WHERE alive AND expires_us IS NOT NULL AND expires_us <= ?"
        return [bytes(r[0]) for r in self._query("keys", sql, (now_us,))]

    def index_key(self) -> bytes:
        """See :class:`trustplane.audit.log.store.Store`."""
        return bytes(self._query("keys", "SELECT value FROM meta WHERE name = 'index_key'")[0][0])

    def close(self) -> None:
        """See :class:`trustplane.audit.log.store.Store`."""
        with self._write, self._read:
            self._disconnect()


def _bucket(owner: bytes) -> int:
    return int.from_bytes(owner[:2], "big") >> 4


def _placed(key: KeyRow) -> tuple[Any, ...]:
    """Return the row of a secret: one without a subject is in no bucket."""
    return (*key, _bucket(key.owner)) if key.owner else (*key._replace(owner=_NOBODY), -1)


def _insert(db: sqlite3.Connection, head: str, rows: Sequence[Sequence[Any]]) -> None:
    for i in range(0, len(rows), _CHUNK):
        part = rows[i : i + _CHUNK]
        marks = ",".join(["(" + ",".join("?" * len(part[0])) + ")"] * len(part))
        db.execute(f"{head} {marks}", [value for row in part for value in row])


def _until(once: Callable[[], bool], *, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not once():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


# ── fork ────────────────────────────────────────────────────────────────────────────────────────────

_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()
_forks = threading.Lock()
"""One fork at a time; held from before a fork until after it."""
_still: list[SqliteStore] = []


def _before_fork() -> None:
    _forks.acquire()
    for store in list(_stores):
        store._before_fork()
        _still.append(store)


def _after_fork(in_child: bool) -> None:
    for store in _still:
        store._after_fork_in_child() if in_child else store._after_fork_in_parent()
    _still.clear()
    _forks.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=lambda: _after_fork(in_child=False),
    after_in_child=lambda: _after_fork(in_child=True),
)
