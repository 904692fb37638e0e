"""Erasing one subject of 100,000, and what a dictionary still finds afterwards."""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from harness import finish, row

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit" / "log"))

from conftest import ORIGIN, raw_bytes, trusted_keys, verify

from trustplane.audit.log import seal
from trustplane.audit.log.log import AuditLog


def fill(folder, subjects):
    log = AuditLog.open(folder, origin=ORIGIN)
    for i in range(subjects):
        with log.request(input=f"+49 170 {i:07d}", subject=f"subject {i}") as request:
            request.decide("yes")
    log.flush()
    return log


def erase_with_vacuum(folder):
    """The usual way to leave no copy behind: DELETE, then rewrite the database."""
    with tempfile.TemporaryDirectory() as d:
        for name in ("keys.db", "content.db"):
            shutil.copy(folder / name, d)
        connection = sqlite3.connect(Path(d) / "keys.db", isolation_level=None)
        ((ident,),) = connection.execute("SELECT id FROM keys WHERE alive LIMIT 1").fetchall()
        began = time.perf_counter()
        connection.execute("DELETE FROM keys WHERE id = ?", (ident,))
        connection.execute("VACUUM")
        seconds = time.perf_counter() - began
        connection.close()
        return seconds


def dictionary(log, guesses, erased, secrets):
    """Try every guess against every commitment with the salts at hand; return hits on erased and on live ones.

    Someone with all files has the secrets of live subjects (that is what they are for) and none of erased ones.
    Someone with all files but keys.db has none at all. Both try what is left: no salt, the public parts' salts.
    """
    commitments, salts = set(), [b"", bytes(16)]
    for entry in log.entries(0, 3000):
        commitments |= set(entry.commitments)
        if len(salts) < 4:
            salts.append(entry.salt)
    hits = 0
    for guess in range(guesses):
        value = b'input\x00"+49 170 %07d"' % guess
        for salt in salts:
            hits += sha256(b"\x00" + salt + value).digest() in commitments
    control = sum(
        sha256(b"\x00" + seal.salt_of(s, 0, "input") + b'input\x00"+49 170 %07d"' % number).digest() in commitments
        for number, s in secrets
    )
    return hits, control


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    subjects, guesses, rounds = (10_000, 100_000, 10) if quick else (100_000, 1_000_000, 30)
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d) / "plane"
        log = fill(folder, subjects)
        proof = log.proof(5)
        leaf = log.entry(5).leaf
        secrets, samples = [], []
        for i in range(rounds):
            number = i * (subjects // rounds)
            secret = log.store.keys_of(log.owner_of(f"subject {number}"))[0].secret
            began = time.perf_counter()
            assert log.erase(f"subject {number}").keys == 1
            samples.append((time.perf_counter() - began) * 1000)
            secrets.append((number, secret))
        raw = raw_bytes(folder)
        left = sum(secret in raw for _, secret in secrets)
        del raw
        proof.verify(leaf, trusted_keys(log), ORIGIN)
        hits, control = dictionary(log, guesses, None, secrets[:1])
        log.checkpoint()
        verified = verify(log)
        vacuum = erase_with_vacuum(folder) * 1000
        log.close()
    median = sorted(samples)[len(samples) // 2]
    rows = [
        row(f"erase one of {subjects:,} subjects, median", median, unit="ms", better="lower",
            peer=vacuum, peer_name="DELETE + VACUUM of keys.db"),
        row("the slowest", max(samples), unit="ms", better="lower"),
        row("destroyed secrets found in any file", left, unit="secrets", better="lower", must=0),
        row(f"values recovered by {guesses:,} guesses", hits, unit="values", better="lower", must=0),
        row("the same attack with the secret that is gone", control, unit="values", better="higher", must=1),
        row("entries that still verify", verified.size, unit="entries", better="higher"),
    ]  # fmt: skip
    finish("erasure", rows, {"erase_ms": samples}, quick=quick)


if __name__ == "__main__":
    main()
