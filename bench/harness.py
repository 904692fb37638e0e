"""What the benches share: a table, the last line as JSON, raw samples on disk, the machine described."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

RESULTS = Path(__file__).with_name("results")


def machine() -> str:
    """Return the processor, the cores and the Python, without a host name."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores, CPython {platform.python_version()}"


def row(what, ours, *, unit, better, peer=None, peer_name=None, must=None, goal=None):
    """Return one result; must and goal bound the ratio where there is a peer, else ours."""
    ratio = ours / peer if peer else None
    return {
        "what": what, "ours": round(ours, 4), "peer": None if peer is None else round(peer, 4), "peer_name": peer_name,
        "unit": unit, "ratio": None if ratio is None else round(ratio, 4), "must": must, "goal": goal, "better": better,
    }  # fmt: skip


def holds(entry, bound) -> bool:
    value = entry["ours"] if entry["ratio"] is None else entry["ratio"]
    return value >= bound if entry["better"] == "higher" else value <= bound


def finish(name: str, rows: list[dict], samples: dict, *, quick: bool) -> None:
    """Print the table and the JSON line, keep the samples; exit 1 where a must does not hold."""
    for entry in rows:
        peer = "" if entry["peer"] is None else f"   {entry['peer_name']}: {entry['peer']:,} (ratio {entry['ratio']})"
        marks = [
            f"{bound} {entry[bound]:,}: {'holds' if holds(entry, entry[bound]) else 'MISSED'}"
            for bound in ("must", "goal")
            if entry[bound] is not None
        ]
        print(f"{entry['what']:<52} {entry['ours']:>14,} {entry['unit']:<10}{peer}  {'; '.join(marks)}")
    result = {"bench": name, "machine": machine(), "quick": quick, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result | {"samples": samples}, indent=1) + "\n")
    print(json.dumps(result))
    missed = [e["what"] for e in rows if e["must"] is not None and not holds(e, e["must"])]
    if missed:
        sys.stderr.write(f"missed: {', '.join(missed)}\n")
        sys.exit(1)
