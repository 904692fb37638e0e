"""The audit log: requests and steps go in, receipts and proofs come out."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from trustplane.audit.log import seal
from trustplane.audit.log.erase import Erasure, erase_subject, expire_content
from trustplane.audit.log.integrate import integrate, nodes
from trustplane.audit.log.keys import Keys, open_identity
from trustplane.audit.log.note import Checkpoint, Proof
from trustplane.audit.log.prover import Prover
from trustplane.audit.log.read import Entry, entries, entry_at, export, of_request
from trustplane.audit.log.request import Request, check_mode, current, new_id
from trustplane.audit.log.rotate import finish_rotation, rotate_keys
from trustplane.audit.log.sqlite import SqliteStore
from trustplane.audit.log.store import Store
from trustplane.audit.log.tree import consistency_proof, inclusion_proof
from trustplane.audit.log.writer import Ack, Item, Standing, Writer
from trustplane.errors import InputError, TrustplaneError, VerificationError
from trustplane.ports import Redactor
from trustplane.step import Step

__all__ = ["AuditLog"]

_time_ns, _mono_ns = time.time_ns, time.monotonic_ns
META_MODE = "mode"


class AuditLog:
    """A tamper-evident log over a store and a key pair.

    ``record`` and requests return at once; :meth:`flush`, a request's ``receipt`` and ``index`` return when
    the steps are on disk. Everything is safe to call from any thread, task or process.

    ``mode``, ``allow``, ``ttl_seconds``: the content modes (see :mod:`trustplane.settings`). ``redact``: the
    redactor for mode ``redacted``.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        *,
        mode: str = "digest",
        allow: Sequence[str] = (),
        ttl_seconds: int = 30 * 24 * 3600,
        redact: Redactor | None = None,
        checkpoint_seconds: float = 1,
        queue_steps: int = 65_536,
    ) -> None:
        self.store, self.keys = store, keys
        self.origin = keys.origin
        self.redact = redact
        self.mode, self.allow = check_mode(mode, tuple(allow), redact), tuple(allow)
        self.ttl_seconds = ttl_seconds
        self._checkpoint_seconds = checkpoint_seconds
        self._last_kept = time.monotonic()
        self._newest: tuple[Checkpoint, str] | None = None
        self._signing = threading.RLock()
        self._warned = ""
        self._index_key = store.index_key()
        self._named: dict[str, Request] = {}  # undecided requests whose ids the caller chose
        self.writer = Writer(store, self.origin, limit=queue_steps, on_commit=self._after_commit)
        self.put: Callable[[Item], None] = self.writer.put
        self.prover = Prover(self)
        me = weakref.ref(self)

        def at_exit() -> None:
            if (log := me()) is not None:
                try:
                    log.close()
                except TrustplaneError as error:
                    sys.stderr.write(f"trustplane: closing the log at exit: {error.message}\n")

        self._at_exit = at_exit
        atexit.register(at_exit)
        _fork_between_signatures(self)
        finish_rotation(self)
        self._note_mode()

    @classmethod
    def open(cls, folder: Path | str, *, origin: str = "", post_quantum: bool = True, **options: Any) -> AuditLog:
        """Open or create the log in ``folder``; options as for the class.

        Raises:
            StoreError: the folder cannot be used. InputError: another origin than the log's own.
        """
        path = Path(folder)
        store = SqliteStore(path)
        keys = open_identity(store, path / "signing", origin, post_quantum=post_quantum)
        return cls(store, keys, **options)

    @property
    def boot(self) -> str:
        """Random id of this process in this log."""
        return self.writer.boot

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────

    def record(self, step: Step) -> None:
        """Add a step to the current request, or to the process's own; return at once."""
        request = current()
        if type(step) is not Step:
            raise InputError("a step is a trustplane.Step")
        outside = request is None or request._log is not self or request._decided
        state: Any = self.writer.standing if outside else request
        self.put(("step", step, state, _time_ns(), _mono_ns(), None, None, None))

    def request(
        self,
        request_id: str | None = None,
        *,
        input: Any = None,  # noqa: A002 - the exported name
        purpose: str = "",
        subject: str | None = None,
        mode: str | None = None,
        ttl_seconds: int | None = None,
    ) -> Request:
        """Open a request; use it as a context manager.

        ``input``: what came in, canonical JSON or text. ``purpose``: a word, public. ``subject``: whom it
        is about; kept nowhere, but found again by the keyed index. ``mode``: a content mode that the
        settings allow, by default that of the log.

        Raises:
            InputError: a malformed id, a mode that is not allowed, an input without canonical form.
            StoreError: the store takes nothing now.
        """
        wanted = self.mode if mode is None else check_mode(mode, self.allow, self.redact)
        other = None if request_id is None else self._named.get(request_id)
        if other is not None and not other._decided and other.boot == self.boot:
            raise InputError("a request of this id is open already", hint="steps of two requests would mix")
        parent = current()
        request = Request(
            self,
            new_id() if request_id is None else request_id,
            mode=wanted,
            purpose=purpose,
            subject=subject,
            parent=parent.id if parent is not None and parent._log is self else "",
            ttl_seconds=self.ttl_seconds if ttl_seconds is None else ttl_seconds,
            redact=self.redact,
        )
        request.opened(input)
        if request_id is not None:
            self._named[request_id] = request
        if wanted != self.mode:
            facts = {"before": self.mode, "scope": "request", "request": request.id}
            step = Step("content.mode", wanted, facts=facts)
            self.put(("log", step, self.writer.standing, _time_ns(), _mono_ns(), None, None, None))
        return request

    def closed(self, request: Request) -> None:
        """Forget a decided request: its id may be used again."""
        self._named.pop(request.id, None)

    def append(self, *steps: Step, kind: str = "log") -> list[int]:
        """Write steps of the log's own and wait until they are on disk; return their indexes."""
        acks = [Ack() for _ in steps]
        for step, ack in zip(steps, acks, strict=True):
            self.put((kind, step, self.writer.standing, _time_ns(), _mono_ns(), None, None, ack))
        self.flush()
        for ack in acks:
            ack.wait(60)
        return [ack.index for ack in acks]

    def write(self, request: str, step: Step) -> int:
        """Write the one step of a request of its own, past the queue; see :class:`trustplane.ports.Journal`."""
        state = Standing(request, self.writer.boot)
        item = ("log", step, state, _time_ns(), _mono_ns(), None, None, None)
        with self.writer.building:
            batch, _ = self.writer.build([item])
        return self.store.append(batch)

    def read(self, request: str) -> list[tuple[int, Step]]:
        """Read such steps back; see :class:`trustplane.ports.Journal`."""
        found = []
        for entry, public in (pair for run in of_request(self.store, request) for pair in run if pair[1].kind == "log"):
            if entry.leaf != entry.stored_leaf:
                raise VerificationError("an entry was changed", cause="leaf-mismatch", index=entry.index)
            step = Step(public.action, public.result, public.inputs, public.outputs, public.agents, (), public.facts)
            found.append((entry.index, step))
        return found

    def flush(self) -> None:
        """Return when all that this thread recorded is on disk."""
        self.writer.flush()

    def close(self) -> None:
        """Flush, sign a last checkpoint and release everything."""
        atexit.unregister(self._at_exit)
        if self.writer._closed:
            return
        try:
            self.writer.close()
            self.prover.close()
            if self.store.size() > self._kept():
                self._integrate(wait=True, full=True)
        finally:
            self.store.close()

    def _note_mode(self) -> None:
        """Log the first and each later content mode of the log."""
        before = self.store.meta(META_MODE)
        if before != self.mode:
            self.append(
                Step("content.mode", self.mode, facts={"before": before or "none", "scope": "log",
                     "ttl_seconds": self.ttl_seconds})
            )  # fmt: skip
            self.store.set_meta(META_MODE, self.mode)

    # ── tree and proofs ─────────────────────────────────────────────────────────────────────────────

    def _after_commit(self) -> None:
        """Integrate now and then, from the writer's thread; whoever else does it already saves the work."""
        if time.monotonic() - self._last_kept < self._checkpoint_seconds:
            return
        self._last_kept = time.monotonic()
        try:
            if self.store.size() > self._kept():
                self._integrate(wait=False, full=True)
        except TrustplaneError as error:  # steps go on; a checkpoint or receipt that is asked for will raise
            if self._warned != error.message:
                self._warned = error.message
                sys.stderr.write(f"trustplane: no checkpoint was signed: {error.message}\n")

    def _kept(self) -> int:
        """Return the size under the newest checkpoint that is kept; those made for a proof alone are not."""
        kept = self.store.checkpoints()
        return kept[-1][0] if kept else 0

    def _integrate(self, *, wait: bool, full: bool) -> None:
        # the writer's thread must not wait for a thread that holds the lock and waits for the writer
        if not self._signing.acquire(blocking=wait):
            return
        try:
            with self.store.integration(wait=wait) as held:
                if not held:
                    return
                self.keys.refresh()
                head, tiles = integrate(self.store)
                checkpoint = Checkpoint(self.origin, head.size, head.root)
                text = checkpoint.body + "\n" + self.keys.sign(checkpoint.body, post_quantum=full)
                self.store.save_head(head, tiles, (text, _time_ns() // 1000) if full else None)
                self._newest = (checkpoint, text)
                if full:
                    self._last_kept = time.monotonic()
        finally:
            self._signing.release()

    def checkpoint(self, *, covering: int | None = None, full: bool = True) -> tuple[Checkpoint, str]:
        """Flush and sign a checkpoint over all entries, or reuse one that covers entry ``covering``; ``full``: kept."""
        if covering is None:
            self.flush()
        with self._signing:
            newest = self._newest
            if covering is not None and newest is not None and newest[0].size > covering:  # noqa: SIM102
                if not full or newest[1].count("\n— ") >= 2 or not self.keys.post_quantum:
                    return newest
            self._integrate(wait=True, full=full)
            assert self._newest is not None
            return self._newest

    def proof(self, index: int, *, post_quantum: bool = True, at: tuple[Checkpoint, str] | None = None) -> Proof:
        """Return the ``.tlog-proof`` of an entry under a signed checkpoint.

        Raises:
            InputError: there is no such entry.
        """
        if not 0 <= index < self.store.size():
            raise InputError(f"there is no entry {index}", hint="trustplane log show lists them")
        checkpoint, text = at or self.checkpoint(covering=index, full=post_quantum)
        path = inclusion_proof(nodes(self.store), index, checkpoint.size)
        return Proof(index, tuple(path), text)

    def consistency(self, size1: int, size2: int) -> list[bytes]:
        """Return the proof that the log of ``size1`` entries is a prefix of that of ``size2``."""
        if not 0 < size1 <= size2 <= self.store.size():
            raise InputError("a consistency proof needs two sizes of this log, the smaller first")
        self.checkpoint(covering=size2 - 1, full=False)
        return consistency_proof(nodes(self.store), size1, size2)

    # ── erasing, rotating ───────────────────────────────────────────────────────────────────────────

    def erase(self, subject: str, *, ground: str = "GDPR 17(1)") -> Erasure:
        """Destroy every secret of a subject and the content under it; see :mod:`.erase`."""
        return erase_subject(self, subject, ground)

    def expire(self, now_us: int | None = None) -> int:
        """Destroy the sealed content whose time is over; return how many secrets went."""
        return expire_content(self, _time_ns() // 1000 if now_us is None else now_us)

    def rotate(self) -> str:
        """Replace the signing keys; return the new verifier key. Old and new sign the succession."""
        return rotate_keys(self)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Yield entries in order."""
        return entries(self.store, start, self.store.size() if stop is None else stop)

    def entry(self, index: int) -> Entry:
        """Return one entry; InputError where there is none."""
        return entry_at(self.store, index)

    def export(self, request_id: str, *, salts: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        """Flush, then return a request as the exported JSON and its evidence; see :func:`.read.export`.

        The evidence also proves each entry: ``checkpoint`` is signed, ``proof`` holds per entry the parts that
        give its leaf hash (index, public, salt, fields) and the audit path from there to the checkpoint's root.
        """
        self.flush()
        document, evidence = export(self.store, request_id, salts=salts)
        checkpoint, text = self.checkpoint(covering=max(evidence["entries"]), full=False)
        node = nodes(self.store)
        evidence["checkpoint"] = text
        evidence["proof"] = [
            self.entry(index).disclosed()
            | {"path": [item.hex() for item in inclusion_proof(node, index, checkpoint.size)]}
            for index in evidence["entries"]
        ]
        return document, evidence

    def owner_of(self, subject: str) -> bytes:
        """Return the keyed digest of a subject."""
        return seal.owner_of(self._index_key, subject)


def _fork_between_signatures(log: AuditLog) -> None:
    """Fork while no thread signs or seals: a child would wait forever for the cryptography library's locks."""
    me = weakref.ref(log)
    held: list[AuditLog] = []

    def before() -> None:
        if (log := me()) is not None:
            log._signing.acquire()
            log.writer.building.acquire()
            held.append(log)

    def in_parent() -> None:
        while held:
            forked = held.pop()
            forked.writer.building.release()
            forked._signing.release()

    def in_child() -> None:
        while held:
            held.pop()._signing = threading.RLock()  # the writer makes its own anew

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)
