"""Overspending under kill -9, jumping clocks and a deleted or restored ledger file; the filter beside PLD."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from harness import finish, row

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "lineage"), str(ROOT / "tests" / "privacy")]

import test_overspending  # noqa: E402

import trustplane  # noqa: E402
from trustplane.audit.log.verify import verify_log  # noqa: E402
from trustplane.privacy.accounting import RenyiAccountant  # noqa: E402


def attack(processes, wanted, seconds, *, quick):
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d) / "plane"
        began = time.monotonic()
        started, kills, damages = test_overspending.attack(
            folder,
            processes=processes,
            attempts=10**6,
            seconds=seconds,
            wanted=wanted,
            kill=0.05,
            harm=0.02 if quick else 0.004,
        )
        with trustplane.open(folder) as plane:
            ledger = plane.rebuild_ledger()
            granted, refused, total = test_overspending.replay(plane.log)  # raises where the limit is passed
            assert list(ledger.spent("shared").rdp_micro) == total
            plane.log.checkpoint()
            verify_log(plane.log.store, plane.log.origin, plane.log.keys.verifiers)
            epsilon = ledger.spent("shared").epsilon_micro / 1e6
        return granted, refused, started, kills, damages, epsilon, time.monotonic() - began


def latency(n):
    samples = []
    with tempfile.TemporaryDirectory() as d, trustplane.open(d) as plane:
        ledger = plane.ledger
        ledger.register_dataset(trustplane.Dataset("d", "sha256:" + "ab" * 32, "o", ("p",), 50_000_000))
        for _ in range(n):
            began = time.perf_counter()
            ledger.commit(ledger.reserve("d", trustplane.Mechanism(20.0, 0.001, 1)).id, 1)
            samples.append((time.perf_counter() - began) * 1000)
    return sorted(samples)


def filter_beside_pld():
    """Fifty mixed runs: the limit that the filter needs for them, and what PLD says they cost."""
    import dp_accounting
    import workloads
    from dp_accounting.pld import pld_privacy_accountant

    accountant = RenyiAccountant()
    runs = workloads.fifty_runs()
    charges = [accountant.charge(trustplane.Mechanism(*run)) for run in runs]
    total = [sum(column) for column in zip(*charges, strict=True)]
    pld = pld_privacy_accountant.PLDAccountant()
    for sigma, rate, steps in runs:
        event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
        pld.compose(event, steps)
    low, high = 1, 20_000_000  # the smallest limit, in millionths, under which the filter admits all fifty
    while low < high:
        middle = (low + high) // 2
        admitted = any(t <= b for t, b in zip(total, accountant.limits(middle, 5), strict=True))
        low, high = (low, middle) if admitted else (middle + 1, high)
    return [low / 1e6, accountant.epsilon_micro(total, 2_000_000, 5) / 1e6], pld.get_epsilon(1e-5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    granted, refused, started, kills, damages, epsilon, seconds = attack(
        *((6, 300, 20) if quick else (50, 10_000, 900)), quick=quick
    )
    samples = latency(100 if quick else 500)
    ours, pld = filter_beside_pld()
    rows = [
        row("attempts decided by the ledger", granted + refused, unit="attempts", better="higher",
            must=100 if quick else 10_000),
        row("granted past the limit", 0, unit="grants", better="lower", must=0),
        row("epsilon at the end, of 2", epsilon, unit="ε", better="lower", must=2.0),
        row("processes killed with SIGKILL", kills, unit="kills", better="higher"),
        row("ledger file deleted or put back", damages, unit="times", better="higher"),
        row("reserve and commit, p99", samples[int(len(samples) * 0.99)], unit="ms", better="lower", goal=5),
        row("smallest limit that admits the 50-run workload", ours[0], unit="ε", better="lower", peer=pld,
            peer_name="dp-accounting PLD", must=1.12),
        row("what the same 50 runs count under a limit of 2", ours[1], unit="ε", better="lower", peer=pld,
            peer_name="dp-accounting PLD"),
    ]  # fmt: skip
    finish("overspend", rows, {"reserve_commit_ms": samples, "granted": granted, "refused": refused,
                               "processes": started, "seconds": seconds}, quick=quick)  # fmt: skip


if __name__ == "__main__":
    main()
