"""The writer: callers enqueue in under a microsecond, one thread hashes, seals and commits in batches.

Life of a step: enqueued (the caller goes on), encoded and hashed (writer thread), committed (acknowledged:
:meth:`Writer.flush` returns), integrated (under a signed checkpoint). What was not committed when a process
dies is lost, what was committed is not. When the store cannot take a batch, the batch is kept, every further
call raises StoreError, and the writer tries again until there is room.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from trustplane.audit.log import seal
from trustplane.audit.log.entry import (
    LEAF_TAG,
    SALT_BYTES,
    SCHEMA,
    Content,
    Public,
    encode,
    entry_hash,
    field_leaf,
)
from trustplane.audit.log.store import Batch, ContentRow, KeyRow, Store
from trustplane.errors import StoreError, TrustplaneError
from trustplane.step import Step

__all__ = ["Ack", "Item", "Standing", "Writer"]

MAX_BATCH = 1000
"""Steps per commit: past this, a flush costs less than a tenth of the hashing."""
RETRY_SECONDS = 0.1
DECIDED = -1
POLL_SECONDS, POLLS = 0.002, 50
"""After work the writer looks for more every 2 ms for 0.1 s before it sleeps until a caller wakes it."""


class Ack:
    """Filled when its entry is durable: the entry's index, and its leaf hash."""

    __slots__ = ("_calls", "_done", "error", "index", "leaf")

    def __init__(self) -> None:
        self._done = threading.Event()
        self._calls: deque[Callable[[Ack], None]] = deque()
        self.index = -1
        self.leaf = b""
        self.error: TrustplaneError | None = None

    def done(self) -> bool:
        """Say whether the entry is durable or has failed."""
        return self._done.is_set()

    def set(self) -> None:
        """Wake those who wait."""
        self._done.set()
        self._call()

    def then(self, call: Callable[[Ack], None]) -> None:
        """Call back when the entry is durable or has failed: from the writer's thread, or now if it is so already.

        ``call`` must neither wait nor raise.
        """
        self._calls.append(call)
        if self._done.is_set():
            self._call()

    def _call(self) -> None:
        while self._calls:
            try:
                call = self._calls.popleft()
            except IndexError:  # the other thread, the writer's or the caller's, took it
                return
            call(self)

    def wait(self, timeout: float | None = None) -> None:
        """Return when the entry is on disk; raise StoreError when that failed or took too long."""
        if not self._done.wait(timeout):
            raise StoreError("the step is not on disk yet", hint="the store is slow or full; it is tried again")
        if self.error is not None:
            raise self.error


Item = tuple[Any, ...]
"""(kind, step, request, wall ns, monotonic ns, contents, new keys, Ack or None), or (Ack,) for a flush."""


class Standing:
    """A request that nobody opened: the process's own steps, or those of a forked child."""

    __slots__ = ("boot", "id", "mode", "parent", "purpose", "steps")

    def __init__(self, ident: str, boot: str, parent: str = "", mode: str = "digest") -> None:
        self.id, self.boot, self.parent, self.mode = ident, boot, parent, mode
        self.purpose, self.steps = "", 0


class Writer:
    """Owns the queue and the thread of one log in one process."""

    def __init__(self, store: Store, origin: str, *, limit: int, on_commit: Any = None) -> None:
        self._store, self._origin, self._limit, self._on_commit = store, origin, limit, on_commit
        self._reset()
        me = weakref.ref(self)

        def after_fork() -> None:
            if (writer := me()) is not None:
                writer._reset()

        os.register_at_fork(after_in_child=after_fork)

    def _reset(self) -> None:
        """Start empty: also in a forked child, whose queue, thread and clock belong to its parent."""
        self.queue: deque[Item] = deque()
        self.boot = os.urandom(8).hex()
        self.standing = Standing(f"boot/{self.boot}", self.boot)
        self._adopted: dict[str, Standing] = {}
        self._wake = threading.Event()
        self._room = threading.Condition()
        self._start = threading.Lock()
        self.building = threading.Lock()
        self._thread: threading.Thread | None = None
        self._idle = False
        self._closed = False
        self._attention = True  # not started, refusing or closed: look closer
        self.error: StoreError | None = None

    # ── callers' side ───────────────────────────────────────────────────────────────────────────────

    def put(self, item: Item) -> None:
        """Enqueue. Raises StoreError while the store refuses; blocks while the queue is full."""
        if self._attention:
            if self.error is not None:
                raise self.error
            self._begin()
        queue = self.queue
        queue.append(item)
        if self._idle or item[-1] is not None:  # someone waits for this one
            self._wake.set()
        if len(queue) > self._limit:
            self._wait_for_room()

    def _begin(self) -> None:
        with self._start:
            if self._closed:
                raise StoreError("the log is closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="trustplane-log", daemon=True)
                self._thread.start()
                self._attention = False

    def _wait_for_room(self) -> None:
        with self._room:
            while len(self.queue) > self._limit:
                if self.error is not None:
                    raise self.error
                self._room.wait(0.05)

    def flush(self, timeout: float | None = 60) -> None:
        """Return when everything that this thread enqueued before is on disk.

        Raises:
            StoreError: the store cannot take it (yet); nothing acknowledged is lost.
        """
        if self.error is None and not self.queue and (self._idle or self._thread is None):
            return
        ack = Ack()
        self.queue.append((ack,))
        self._begin()
        self._wake.set()
        end = None if timeout is None else time.monotonic() + timeout
        while not ack.done():
            if self.error is not None:
                raise self.error
            if end is not None and time.monotonic() > end:
                raise StoreError("steps are not on disk yet", hint="the store is slow; try again")
            ack._done.wait(0.05)
        ack.wait()

    def close(self) -> None:
        """Flush and stop the thread."""
        try:
            if self._thread is not None:
                self.flush()
        finally:
            self._closed = True
            self.error, self._attention = StoreError("the log is closed"), True
            self._wake.set()
            if self._thread is not None:
                self._thread.join(10)

    # ── writer's side ───────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        """Run; whatever ends the thread against its will makes every later call fail, none may hang."""
        try:
            self._run()
        except BaseException as error:
            self.error = StoreError(f"the log's writer stopped: {type(error).__name__}", hint="please report this")
            self._attention = True
            raise

    def _run(self) -> None:
        queue, quiet = self.queue, 0
        while True:
            items: list[Item] = []
            while queue and len(items) < MAX_BATCH:
                items.append(queue.popleft())
            if items:
                quiet = 0
                self._commit(items)
                if len(queue) < self._limit:
                    with self._room:
                        self._room.notify_all()
            elif self._closed:
                return
            elif quiet < POLLS:  # steps were here a moment ago: look again soon, callers need not wake us
                quiet += 1
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()
                continue
            else:
                self._idle = True
                if not queue:
                    self._wake.wait(0.5)
                self._idle = False
                self._wake.clear()
            if self._on_commit is not None:
                self._on_commit()

    def _commit(self, items: list[Item]) -> None:
        with self.building:
            batch, leaves = self.build([i for i in items if len(i) > 1])
        first = 0
        while batch.size:
            try:
                first = self._store.append(batch)
                if self.error is not None and not self._closed:
                    self.error, self._attention = None, False
                break
            except StoreError as error:
                if self._closed:
                    self._settle(items, 0, leaves, error)
                    return
                self.error, self._attention = error, True
                time.sleep(RETRY_SECONDS)
        self._settle(items, first, leaves, None)

    def _settle(self, items: list[Item], first: int, leaves: list[bytes], error: TrustplaneError | None) -> None:
        at = 0
        for item in items:
            ack = item[-1]
            if ack is not None:
                ack.error = error
                if len(item) > 1:
                    ack.index, ack.leaf = first + at, leaves[at]
                ack.set()
            if len(item) > 1:
                at += 1

    def _adopt(self, state: Any) -> Standing:
        """Give late steps, and a forked child's steps in its parent's request, a sequence of their own."""
        found = self._adopted.get(state.id)
        if found is None:
            if len(self._adopted) > 1024:
                self._adopted.clear()
            ident = f"boot/{self.boot}/{len(self._adopted)}/{os.urandom(4).hex()}"
            found = self._adopted[state.id] = Standing(ident, self.boot, state.id, state.mode)
        return found

    def build(self, items: list[Item]) -> tuple[Batch, list[bytes]]:
        """Encode and hash a batch. Every value was checked when it was enqueued."""
        salts = os.urandom(SALT_BYTES * len(items))
        publics: list[bytes] = []
        leaves: list[bytes] = []
        commitments: list[bytes] = []
        keys: list[KeyRow] = []
        rows: list[ContentRow] = []
        requests: dict[str, None] = {}
        origin, boot = self._origin, self.boot
        at = 0
        for kind, step, state, wall, mono, contents, new_keys, _ack in items:
            if state.steps < 0 or (state.boot is not boot and state.boot != boot):  # decided, or of a forked parent
                state = self._adopt(state)
            number = state.steps
            state.steps = number + 1
            fields: list[bytes] = []
            named: tuple[dict[str, Any], ...] = ()
            if contents:
                named = tuple(content.evidence() for content, _value, _secret in contents)
                for content, value, secret in contents:
                    _keep(content, value, secret, number, fields, rows)
                commitments += fields
            if new_keys:
                keys += new_keys
            public = encode(_public(kind, step, state, number, wall, mono, named, origin, boot))
            salt = salts[at : at + SALT_BYTES]
            at += SALT_BYTES
            publics.append(public)
            if kind == "decision":
                state.steps = DECIDED
            if fields:
                leaves.append(entry_hash(public, salt, fields))
            else:  # entry_hash, written out: this line is the log's hot path
                leaf = sha256(b"\x00" + salt + b"public\x00" + public).digest()
                leaves.append(sha256(LEAF_TAG + leaf).digest())
            requests[state.id] = None
        batch = Batch(
            len(items),
            b"\n".join(publics),
            salts,
            b"".join(commitments),
            b"".join(leaves),
            list(requests),
            keys,
            rows,
        )
        return batch, leaves


def _public(
    kind: str, step: Step, state: Any, number: int, wall: int, mono: int, named: Any, origin: str, boot: str
) -> Public:
    findings = step.findings
    return Public(
        step.action,
        step.agents,
        boot,
        named,
        step.facts if kind != "decision" else step.facts | {"steps": number - 1},
        tuple([f.evidence() for f in findings]) if findings else (),
        step.inputs,
        kind,
        state.mode,
        mono // 1000,
        origin,
        step.outputs,
        state.parent,
        state.purpose,
        state.id,
        step.result,
        SCHEMA,
        number,
        wall // 1000,
    )


def _keep(
    content: Content, value: tuple[bytes, bytes | None], secret: bytes, step: int, fields: list[bytes],
    rows: list[ContentRow],
) -> None:  # fmt: skip
    """Commit to one content field and, where its mode keeps something, keep it."""
    committed, kept = value
    fields.append(field_leaf(seal.salt_of(secret, step, content.name), content.name, committed))
    if kept is not None:
        key = bytes.fromhex(content.key)
        sealed = seal.seal(secret, key, step, content.name, kept)
        rows.append(ContentRow(key, step, content.name, content.mode, sealed))
