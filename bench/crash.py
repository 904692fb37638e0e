"""kill -9 of the audit log's writer at random points, and many processes on one log: nothing acknowledged is lost."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from harness import finish, row

TESTS = Path(__file__).parents[1] / "tests" / "audit" / "log"
sys.path.insert(0, str(TESTS))

from conftest import ORIGIN, verify  # noqa: E402
from test_log_crash import start, written  # noqa: E402

from trustplane.audit.log.log import AuditLog  # noqa: E402


def reopen(folder):
    return AuditLog.open(folder, origin=ORIGIN, mode="plain", allow=["plain"])


def kills(folder, points, rng):
    """Kill one writer after another on the same log; return per kill what was acknowledged and what is there."""
    acknowledged = {}
    for number in range(points):
        process = start(folder, f"k{number}", 10**7, rng.choice([1, 7, 50, 400, 3000]))
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split("\n")
        process.wait()
        acknowledged[f"k{number}"] = max([int(line) for line in lines[:-1]], default=0)
    began = time.perf_counter()
    log = reopen(folder)
    seconds = time.perf_counter() - began
    samples = []
    there = {name: [] for name in acknowledged}
    for entry in log.entries():  # one pass for all names
        public = entry.public
        if public.action == "work":
            there[public.facts["by"]].append(public.facts["i"])
        elif public.kind == "decision":
            name, _, number = public.request.partition("-")
            there[name].append(int(number))
    for name, count in acknowledged.items():
        found = there[name]
        gaps = sum(a != b for a, b in zip(found, range(len(found)), strict=True))
        samples.append({"acknowledged": count, "there": len(found), "lost": max(0, count - len(found)), "gaps": gaps})
    size = verify(log).size
    log.close()
    return samples, seconds, size


def crowd(folder, processes, steps):
    began = time.perf_counter()
    running = [start(folder, f"p{i}", steps, 500) for i in range(processes)]
    codes = [p.communicate()[0] and p.returncode for p in running]
    seconds = time.perf_counter() - began
    log = reopen(folder)
    missing = sum(written(log, f"p{i}") != list(range(steps)) for i in range(processes)) + sum(map(bool, codes))
    size = verify(log).size
    log.close()
    return missing, size / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    points, processes, steps = (30, 4, 2000) if quick else (200, 8, 10_000)
    with tempfile.TemporaryDirectory() as d:
        samples, opening, size = kills(Path(d) / "plane", points, random.Random(1))
    with tempfile.TemporaryDirectory() as d:
        missing, rate = crowd(Path(d) / "plane", processes, steps)
    lost, gaps = sum(s["lost"] for s in samples), sum(s["gaps"] for s in samples)
    rows = [
        row(f"acknowledged steps lost over {points} kills", lost, unit="steps", better="lower", must=0),
        row("writers with a gap or another order", gaps, unit="writers", better="lower", must=0),
        row("acknowledged steps", sum(s["acknowledged"] for s in samples), unit="steps", better="higher"),
        row("entries that verify after the last kill", size, unit="entries", better="higher"),
        row("opening after the last kill", opening, unit="s", better="lower"),
        row(f"{processes} processes x {steps} steps: not all there", missing, unit="processes", better="lower", must=0),
        row("their entries per second, all processes", rate, unit="1/s", better="higher"),
    ]
    finish("crash", rows, {"kills": samples}, quick=quick)


if __name__ == "__main__":
    main()
