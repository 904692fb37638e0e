"""The prover: one thread turns durable entries into proofs, all that wait together under one checkpoint."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from trustplane.audit.log.integrate import nodes
from trustplane.audit.log.note import Proof
from trustplane.audit.log.tree import inclusion_proof
from trustplane.audit.log.writer import Ack
from trustplane.errors import StoreError, TrustplaneError

if TYPE_CHECKING:
    from trustplane.audit.log.log import AuditLog

__all__ = ["Prover"]

Call = Callable[[str, Exception | None], None]


class Prover:
    """Proves entries of one log in one process, without a thread per waiting caller.

    A checkpoint costs a transaction and a signature, so while one is made the next entries gather, and the next
    checkpoint covers them all.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = weakref.ref(log)
        self._reset()
        me = weakref.ref(self)

        def after_fork() -> None:
            if (prover := me()) is not None:
                prover._reset()

        os.register_at_fork(after_in_child=after_fork)

    def _reset(self) -> None:
        """Start empty: also in a forked child, where the thread is not."""
        self._queue: deque[tuple[int, Call]] = deque()
        self._wake = threading.Event()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def prove(self, ack: Ack, call: Call) -> None:
        """Call back with the proof of the entry behind ``ack`` once it is durable, or with what failed."""

        def durable(ack: Ack) -> None:
            if ack.error is not None:
                call("", ack.error)
            elif self._closed:
                call("", StoreError("the log is closed"))
            else:
                self._queue.append((ack.index, call))
                self._wake.set()

        with self._start:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="trustplane-prover", daemon=True)
                self._thread.start()
        ack.then(durable)

    def close(self) -> None:
        """Prove what waits, then stop the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self) -> None:
        queue = self._queue
        while True:
            self._wake.wait(1)
            self._wake.clear()
            waiting = [queue.popleft() for _ in range(len(queue))]
            if waiting:
                self._prove(waiting)
            elif self._closed or self._log() is None:
                return

    def _prove(self, waiting: list[tuple[int, Call]]) -> None:
        try:
            log = self._log()
            if log is None:
                raise StoreError("the log is closed")
            checkpoint, text = log.checkpoint(covering=max(index for index, _ in waiting), full=False)
            stored = nodes(log.store)
            known: dict[tuple[int, int], bytes] = {}

            def node(level: int, index: int) -> bytes:
                found = known.get((level, index))
                if found is None:
                    found = known[level, index] = stored(level, index)
                return found

            proofs = [
                (call, Proof(index, tuple(inclusion_proof(node, index, checkpoint.size)), text).text)
                for index, call in waiting
            ]
        except Exception as error:  # noqa: BLE001  whoever waits has to be told, whatever it was
            failed = error if isinstance(error, TrustplaneError) else StoreError("no proof could be made")
            for _, call in waiting:
                call("", failed)
            return
        for call, proof in proofs:
            call(proof, None)
