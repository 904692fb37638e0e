"""The proxy's price: latency that it adds, throughput and memory, with LiteLLM's proxy beside it in the same run.

Everything runs on this machine at once: upstream, load generator and proxy share its cores. Added latency is a quantile
through the proxy less the same quantile without it, rounds of both in turn. ``--quick`` leaves the peer out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litellm_peer
from harness import finish, row

TRAFFIC = Path(__file__).with_name("proxy_traffic.py")
TRUSTPLANE = Path(sys.executable).with_name("trustplane")
PATTERNS_ONLY = 'name = "patterns"\nentities = ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IP_ADDRESS", "IBAN_CODE", "API_KEY"]\n[defaults]\nout = "pseudonymise"\n'  # noqa: E501
"""What the peer's patterns find, no names of people: the like beside the like."""
KEY = "sk-bench"


@contextlib.contextmanager
def upstream(delay: float = 0.0) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, str(TRAFFIC), "upstream", str(delay)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def proxy(
    port: int, folder: Path, *options: str, tmpdir: Path | None = None, **settings: str
) -> Iterator[tuple[int, int]]:
    """Run ``trustplane proxy``; yield its port and its process id."""
    environment = {**os.environ, **{f"TRUSTPLANE_PROXY_{k.upper()}": v for k, v in settings.items()}}
    if tmpdir is not None:
        environment["TMPDIR"] = str(tmpdir)
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(str(TRUSTPLANE), "proxy", "--upstream", f"openai=http://127.0.0.1:{port}"),
                *("--listen", "127.0.0.1:0", "--plane", str(folder / "plane"), *options),
            ],
            stderr=subprocess.PIPE, stdout=log, env=environment, text=True,
        )  # fmt: skip
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("listening"):
            break
    else:
        raise SystemExit("the proxy did not start:\n" + "".join(said))
    try:
        yield int(said[-1].split()[1].rstrip("/").rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def load(port: int, *, rate: float, count: int, kind: str, seed: int, key: str = KEY, streams: int = 16) -> dict:
    job = {"port": port, "rate": rate, "count": count, "kind": kind, "seed": seed, "key": key, "streams": streams}
    done = subprocess.run(
        [sys.executable, str(TRAFFIC), "load"], input=json.dumps(job), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def quantile(values: list[float], q: float) -> float:
    found = sorted(values)
    return found[min(len(found) - 1, int(q * len(found)))]


def added(direct: int, through: int, *, rate: float, seconds: float, kind: str, rounds: int, key: str = KEY) -> dict:
    """Return added milliseconds at p50 and p99 as medians over rounds, both ways in turn, and the raw samples."""
    count = max(20, int(rate * seconds))
    load(through, rate=rate, count=max(10, count // 4), kind=kind, seed=0, key=key)  # connections, caches
    found: dict[str, Any] = {"p50": [], "p99": [], "direct": [], "through": [], "failed": 0}
    for number in range(rounds):
        plain = load(direct, rate=rate, count=count, kind=kind, seed=2 * number + 1)
        guarded = load(through, rate=rate, count=count, kind=kind, seed=2 * number + 2, key=key)
        found["failed"] += guarded["failed"]
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            value = quantile(guarded["taken"], q) if guarded["taken"] else 60.0
            found[name].append(1000 * (value - quantile(plain["taken"], q)))
        found["direct"] += [round(1e6 * t) for t in plain["taken"][:2000]]
        found["through"] += [round(1e6 * t) for t in guarded["taken"][:2000]]
    found["rounds"] = {name: [round(v, 3) for v in found[name]] for name in ("p50", "p99")}
    found["p50"], found["p99"] = statistics.median(found["p50"]), statistics.median(found["p99"])
    return found


def most(through: int, rates: list[int], *, seconds: float, key: str = KEY) -> tuple[int, list[dict]]:
    """Return the highest of ``rates`` at which p99 stays within 20 ms and nothing fails."""
    best, seen = 0, []
    for number, rate in enumerate(rates):
        done = load(through, rate=rate, count=int(rate * seconds), kind="2k", seed=100 + number, key=key)
        p99 = 1000 * quantile(done["taken"], 0.99) if done["taken"] else float("inf")
        seen.append({"rate": rate, "p99_ms": round(p99, 3), "failed": done["failed"]})
        if done["failed"] or p99 > 20:
            break
        best = rate
    return best, seen


def memory(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of the largest process of a server, in MiB (PSS: shared pages by share)."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    found = []
    for one in pids:
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
        found.append((kib["Rss"] / 1024, kib["Pss"] / 1024))
    return max(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--requests", type=int, default=100_000, help="of the memory row")
    options = parser.parse_args()
    quick = options.quick
    seconds, rounds = (2.0, 1) if quick else (5.0, 3)
    rows: list[dict] = []
    samples: dict[str, Any] = {}

    def keep(name: str, found: dict) -> dict:
        samples[name] = found
        print(f"  {name}: p50 +{found['p50']:.2f} ms, p99 +{found['p99']:.2f} ms, {found['failed']} failed", flush=True)
        return found

    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        port = stack.enter_context(upstream())
        (folder / "patterns.toml").write_text(PATTERNS_ONLY)
        (folder / "one.toml").write_text('name = "one"\nentities = ["MAC_ADDRESS"]\n')

        def ours(name: str, *more: str, **settings: str) -> contextlib.AbstractContextManager[tuple[int, int]]:
            (folder / name).mkdir()
            return proxy(port, folder / name, *more, **settings)

        like = ("--policy", str(folder / "patterns.toml"))
        peer_at: dict[int, dict] = {}
        peer_most = 0
        if not (options.no_peer or quick):
            with litellm_peer.litellm(f"http://127.0.0.1:{port}", folder) as peer:
                at = int(peer.origin.rpartition(":")[2])
                for rate in (20, 50):
                    peer_at[rate] = keep(f"peer {rate}/s", added(
                        port, at, rate=rate, seconds=seconds, kind="2k", rounds=rounds, key=peer.key))  # fmt: skip
                peer_most, seen = most(at, [20, 30, 40, 50, 60, 80, 100], seconds=seconds, key=peer.key)
                samples["peer throughput"] = seen
                rows.append(row("peer: resident memory of its worker", memory(peer.pid)[0], unit="MiB", better="lower"))
        with ours("promise", *like, receipt="promise") as (at, pid):
            for rate in (20, 50):
                found = keep(f"patterns, promise, {rate}/s", added(
                    port, at, rate=rate, seconds=seconds, kind="2k", rounds=rounds))  # fmt: skip
                for q in ("p50", "p99"):
                    beside = {"peer": peer_at[rate][q], "peer_name": "LiteLLM", "must": 0.125} if peer_at else {}
                    rows.append(row(f"added {q} at {rate}/s", found[q], unit="ms", better="lower", **beside))
            for rate in (200, 500):
                found = keep(f"patterns, promise, {rate}/s", added(
                    port, at, rate=rate, seconds=seconds, kind="2k", rounds=rounds))  # fmt: skip
                bounds = {"p50": {"must": 2.0, "goal": 1.0}, "p99": {"must": 6.0, "goal": 3.0}} if rate == 500 else {}
                for q in ("p50", "p99"):
                    more = bounds.get(q, {})
                    rows.append(
                        row(f"added {q} at {rate}/s, guard and log on", found[q], unit="ms", better="lower", **more)
                    )
            found = keep("patterns, promise, 50 turns, 50/s", added(
                port, at, rate=50, seconds=seconds, kind="history", rounds=rounds))  # fmt: skip
            rows += [row(f"added {q} at 50/s, 50 turns", found[q], unit="ms", better="lower") for q in ("p50", "p99")]
            best, seen = most(at, [100, 200, 300, 400, 500, 600, 700, 800, 1000, 1200], seconds=seconds)
            samples["throughput"] = seen
            beside = {"peer": peer_most, "peer_name": "LiteLLM", "must": 8.0} if peer_most else {}
            rows.append(row("most requests/s at p99 <= 20 ms", best, unit="/s", better="higher", **beside))
            total = 2_000 if quick else options.requests
            readings = []
            for number in range(5):
                load(at, rate=0, count=total // 5, kind="2k", seed=200 + number, streams=8)
                readings.append(memory(pid))
            samples["memory"] = readings
            rows += [
                row(f"memory after {total:,} requests", readings[-1][0], unit="MiB", better="lower", must=150.0),
                row("the same, shared pages by share", readings[-1][1], unit="MiB", better="lower"),
                row("growth since the first fifth", readings[-1][0] - readings[0][0], unit="MiB",
                    better="lower", must=16.0),
            ]  # fmt: skip
        variants = (
            ("patterns, proof", like, {}),
            ("names of people too, promise", (), {"receipt": "promise"}),
            ("one rule only, promise", ("--policy", str(folder / "one.toml")), {"receipt": "promise"}),
        )
        for name, more, settings in variants:
            with ours(name.replace(" ", "-").replace(",", ""), *more, **settings) as (at, _pid):
                for rate in (50, 200):
                    found = keep(f"{name}, {rate}/s", added(
                        port, at, rate=rate, seconds=seconds, kind="2k", rounds=rounds))  # fmt: skip
                    rows += [row(f"{name}: added {q} at {rate}/s", found[q], unit="ms", better="lower")
                             for q in ("p50", "p99")]  # fmt: skip
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/count") as answer:
            samples["served by the upstream"] = int(answer.read())
    finish("proxy", rows, samples, quick=quick)


if __name__ == "__main__":
    main()
