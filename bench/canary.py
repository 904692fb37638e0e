"""Canaries in prompts, answers and subject names, searched for in every file of a plane in eight encodings."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from harness import finish, row

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit" / "log"))

from conftest import ORIGIN, raw_bytes, residue

from trustplane.audit.log.log import AuditLog

MODES = ("digest", "redacted", "sealed", "plain")


def fill(folder, mode, requests, canaries):
    log = AuditLog.open(folder, origin=ORIGIN, mode=mode, allow=MODES[1:], redact=lambda _text: "*")
    for i in range(requests):
        canary = canaries[i % len(canaries)]
        with log.request(input={"prompt": canary, canary: 1}, purpose="bench", subject=canary) as request:
            request.step("work", [canary, i])
            request.decide(f"answer: {canary}")
    log.flush()
    log.checkpoint()
    return log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    requests, number = (1000, 20) if quick else (10_000, 100)
    canaries = [f"kanari-{i:03d}-größe-中文" for i in range(number)]
    rows, samples = [], {}
    for mode in MODES:
        with tempfile.TemporaryDirectory() as d:
            log = fill(Path(d) / "plane", mode, requests, canaries)
            began = time.perf_counter()
            hits = residue(d, canaries)  # while it runs
            log.erase(canaries[0])
            log.close()
            hits += residue(d, canaries)
            samples[mode] = {"bytes": len(raw_bytes(d)), "hits": hits, "search_s": time.perf_counter() - began}
            rows.append(
                row(f"{mode}: hits in {samples[mode]['bytes'] >> 10:,} KiB, {requests:,} requests", len(hits),
                    unit="hits", better="lower", must=0)
            )  # fmt: skip
    with tempfile.TemporaryDirectory() as d:  # the search does find what is there
        (Path(d) / "file").write_bytes(b"x" + canaries[0].encode("utf-16-le") + b"x" + canaries[0].encode()[::-1])
        rows.append(
            row("control: planted canaries found", len(residue(d, canaries)), unit="hits", better="higher", must=2)
        )
    finish("canary", rows, samples, quick=quick)


if __name__ == "__main__":
    main()
