"""Checkpoints are kept while every caller asks for a proof, and one covers all when the log is closed."""

import time
from pathlib import Path

from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.store import Store


def kept(store: Store) -> int:
    found = store.checkpoints()
    return found[-1][0] if found else 0


def prove(log: AuditLog, number: int) -> None:
    with log.request(f"r-{number}", input="x", purpose="test") as request:
        request.decide("y")
    request.receipt()


def test_proofs_do_not_keep_checkpoints_from_being_kept(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path, origin="test.example/log", checkpoint_seconds=0)
    before = kept(log.store)
    for number in range(20):
        prove(log, number)
    log.flush()
    deadline = time.monotonic() + 10
    while kept(log.store) <= before and time.monotonic() < deadline:
        prove(log, log.store.size() + 100)
        log.flush()
    assert kept(log.store) > before
    log.close()


def test_the_last_checkpoint_covers_what_was_proved(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path, origin="test.example/log", checkpoint_seconds=3600)
    prove(log, 1)
    size = log.store.size()
    log.close()
    with AuditLog.open(tmp_path, origin="test.example/log") as again:
        assert kept(again.store) >= size
