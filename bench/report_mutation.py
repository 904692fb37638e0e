"""The report's proofs: random edits against the offline verifier, untouched runs, and its speed.

    python bench/report_mutation.py [--quick]

No peer gives a report whose sentences can be checked, so ``must`` bounds our own figure.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "audit"))

from harness import finish, row  # noqa: E402
from report.logs import memory_log, rich_log, write_register  # noqa: E402
from report.mutation import attack, false_alarms  # noqa: E402

from trustplane.audit.report import write_bundle  # noqa: E402
from trustplane.audit.report.verify_bundle import check  # noqa: E402
from trustplane.step import Step  # noqa: E402

QUICK = "--quick" in sys.argv


def edits(folder: Path, rows: list[dict]) -> None:
    """Edit every file of a full bundle at random; then leave it alone."""
    rounds = 1_200 if QUICK else 10_000
    untouched = 60 if QUICK else 1_000
    big = write_bundle(rich_log(), folder / "big", register=write_register(folder))
    caught, missed = attack(big.path, big.vkey, rounds, seed=20261122)
    rows.append(row(f"edits caught, of {rounds:,}", 100 * caught / rounds, unit="%", better="higher", must=100))
    if missed:
        print("missed:", sorted(set(missed)))
    alarms = false_alarms(big.path, big.vkey, untouched)
    rows.append(row(f"alarms on {untouched:,} untouched runs", alarms, unit="runs", better="lower", must=0))


def speed(folder: Path, rows: list[dict]) -> None:
    """A report of 1,000 sentences over 2,000 entries; a report over 10^5 (quick: 2·10^4) entries."""
    log = memory_log()
    for i in range(1000):
        log.request(f"r{i}", purpose=f"purpose {i:04}").decide(outcome="answered")
    log.flush()
    bundle = write_bundle(log, folder / "many", languages=("en",))
    best = min(_timed(bundle.path, bundle.vkey) for _ in range(3))
    number = sum(bundle.sentences.values())
    rows.append(row(f"check {number:,} sentences", best, unit="s", better="lower", must=1))
    count = 20_000 if QUICK else 100_000
    log = memory_log()
    step = Step("guard.text.detect", facts={"n_email_address": 1})
    for i in range(count // 5):
        with log.request(f"q{i}", purpose="support", input="x") as request:
            request.record(step)
            request.record(step)
            request.record(Step("guard.proxy.sent", facts={"host": "api.model.example"}))
            request.decide("y", outcome="answered")
    log.flush()
    began = time.perf_counter()
    bundle = write_bundle(log, folder / "long", languages=("en",))
    written = time.perf_counter() - began
    rows.append(row(f"write, {bundle.size:,} entries", written, unit="s", better="lower", must=60))
    taken = _timed(bundle.path, bundle.vkey)
    rows.append(row(f"check, {bundle.size:,} entries", taken, unit="s", better="lower", must=30, goal=6))


def _timed(folder: Path, key: str) -> float:
    began = time.perf_counter()
    check(folder, [key])
    return time.perf_counter() - began


def main() -> None:
    """Run; exit 1 where a bound is missed."""
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        speed(Path(name), rows)
        edits(Path(name), rows)
    finish("report_mutation", rows, {}, quick=QUICK)


if __name__ == "__main__":
    main()
