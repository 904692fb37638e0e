"""Many processes, kill -9, jumping clocks, a deleted and a restored ledger file: never past the limit."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import trustplane
from trustplane.audit.log.verify import verify_log
from trustplane.ports import Dataset, Mechanism
from trustplane.privacy.accounting import RenyiAccountant

SPENDER = Path(__file__).with_name("spender.py")
LIMIT = 2_000_000


def replay(log):
    """Recompute from the log alone what was granted and what came back; check the filter after each."""
    accountant = RenyiAccountant()
    limits = accountant.limits(LIMIT, 5)
    total = [0] * len(limits)
    charges, granted, refused = {}, 0, 0
    for entry in log.entries():
        public = entry.public
        facts = public.facts
        if public.action == "ledger.spend.reserve" and public.result == "granted":
            mechanism = Mechanism(
                facts["noise_multiplier_nano"] / 1e9, facts["sampling_rate_nano"] / 1e9, facts["steps"]
            )
            charge = accountant.charge(mechanism)
            assert list(charge) == facts["charge_micro"]
            charges[facts["reservation"]] = charge
            total = [a + b for a, b in zip(total, charge, strict=True)]
            assert any(t <= limit for t, limit in zip(total, limits, strict=True)), "overspent"
            granted += 1
        elif public.action == "ledger.spend.reserve":
            refused += 1
        elif public.action == "ledger.spend.commit":
            whole = charges.pop(facts["reservation"])
            total = [t - w + u for t, w, u in zip(total, whole, facts["charge_micro"], strict=True)]
    return granted, refused, total


def decided(folder):
    """Return roughly how many attempts the log holds, at little cost: its number of entries."""
    import sqlite3

    db = sqlite3.connect(Path(folder) / "log.db", timeout=30)
    try:
        return db.execute("SELECT count(*) FROM places WHERE request LIKE 'ledger/%'").fetchone()[0] * 2 // 3
    finally:
        db.close()


def attack(folder, *, processes, attempts, seconds, seed=1, kill=0.3, harm=0.1, wanted=None):
    """Run spenders, kill and replace them at random, and delete or restore the ledger's file meanwhile."""
    with trustplane.open(folder) as plane:
        plane.ledger.register_dataset(Dataset("shared", "sha256:" + "ab" * 32, "org", ("research",), LIMIT))
    rng = random.Random(seed)
    running, started, kills, damages = [], 0, 0, 0
    saved = Path(f"{folder}-saved")
    end = time.monotonic() + seconds

    def start():
        nonlocal started
        started += 1
        return subprocess.Popen(
            [sys.executable, str(SPENDER), str(folder), str(started), str(attempts)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    running = [start() for _ in range(processes)]
    while any(p.poll() is None for p in running):
        time.sleep(0.05)
        if time.monotonic() > end or (wanted is not None and decided(folder) >= wanted):
            break
        if rng.random() < kill:
            victim = rng.randrange(len(running))
            if running[victim].poll() is None:
                running[victim].kill()
                running[victim].wait()
                running[victim] = start()
                kills += 1
        if rng.random() < harm:
            path = Path(folder) / "ledger.db"
            if rng.random() < 0.5 or not saved.exists():
                if path.exists():
                    shutil.copy(path, saved)
                    path.unlink(missing_ok=True)
            else:
                shutil.copy(saved, path)
            damages += 1
    for process in running:
        process.kill()
        process.wait()
    return started, kills, damages


def test_nobody_overspends(tmp_path):
    folder = tmp_path / "plane"
    _started, kills, damages = attack(folder, processes=6, attempts=60, seconds=14)
    assert kills and damages
    plane = trustplane.open(folder)
    ledger = plane.rebuild_ledger()
    granted, _refused, total = replay(plane.log)
    assert granted and list(ledger.spent("shared").rdp_micro) == total
    plane.log.checkpoint()
    verify_log(plane.log.store, plane.log.origin, plane.log.keys.verifiers)
    plane.close()
