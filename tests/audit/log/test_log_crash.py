"""Killed writers, many writers, a full disk: what was acknowledged is there, and the log verifies."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ORIGIN, trusted_keys, verify

from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.verify import verify_log
from trustplane.errors import StoreError
from trustplane.step import Step

PROCESS = Path(__file__).with_name("writer_process.py")


def start(folder, name, count, batch, **options):
    command = [sys.executable, str(PROCESS), str(folder), name, str(count), str(batch)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def written(log, name):
    """Return the numbers that a process wrote, in the order of the log."""
    found = []
    for entry in log.entries():
        public = entry.public
        if public.action == "work" and public.facts["by"] == name:
            found.append(public.facts["i"])
        elif public.kind == "decision" and public.request.startswith(f"{name}-"):
            found.append(int(public.request.rpartition("-")[2]))
    return found


def test_kill_at_random_points(tmp_path):
    rng = random.Random(5)
    folder = tmp_path / "plane"
    acknowledged = {}
    for round_ in range(15):
        name = f"w{round_}"
        process = start(folder, name, 10**6, rng.choice([1, 7, 50, 400]))
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.random() * 0.12)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split("\n")
        process.wait()
        acknowledged[name] = max([int(line) for line in lines[:-1]], default=0)  # a cut line does not count
    assert sum(acknowledged.values()) > 100
    log = AuditLog.open(folder, origin=ORIGIN, mode="plain", allow=["plain"])  # no repair, no replay of ours
    for name, count in acknowledged.items():
        found = written(log, name)
        assert found == list(range(len(found))) and len(found) >= count, name
    assert verify(log).size == log.store.size()
    log.record(Step("after"))
    verify(log)
    log.close()


def test_many_processes_write_at_once(tmp_path):
    folder = tmp_path / "plane"
    processes = [start(folder, f"w{i}", 500, 25) for i in range(4)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    log = AuditLog.open(folder, origin=ORIGIN, mode="plain", allow=["plain"])
    for i in range(4):
        assert written(log, f"w{i}") == list(range(500))
    result = verify(log)
    assert result.requests == 200 and result.contents == 400
    assert [e.index for e in log.entries()] == list(range(result.size))
    log.close()


def test_verifying_while_others_write_raises_no_alarm(tmp_path):
    folder = tmp_path / "plane"
    log = AuditLog.open(folder, origin=ORIGIN, mode="plain", allow=["plain"])
    process = start(folder, "w", 4000, 20)
    sizes = []
    while process.poll() is None:
        sizes.append(verify_log(log.store, ORIGIN, trusted_keys(log)).size)
    process.communicate()
    assert process.returncode == 0 and len(sizes) > 3 and sizes == sorted(sizes)
    log.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a file system of limited size needs the right to mount one")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk(small_disk):
    log = AuditLog.open(small_disk / "plane", origin=ORIGIN, checkpoint_seconds=0.05)
    filler = small_disk / "filler"
    enqueued, acknowledged = 0, 0
    for _ in range(50):
        log.record(Step("work", facts={"i": enqueued}))
        enqueued += 1
    log.flush()
    acknowledged = enqueued
    with filler.open("wb") as handle:
        try:
            while True:
                handle.write(b"\0" * 65536)
                handle.flush()
        except OSError:
            pass
    with pytest.raises(StoreError) as caught:
        for _ in range(20_000):
            log.record(Step("work", facts={"i": enqueued, "filler": "x" * 200}))
            enqueued += 1
            if enqueued % 100 == 0:
                log.flush()
                acknowledged = enqueued
    assert caught.value.exit_code == 4 and "space" in caught.value.message
    assert "acknowledged" in caught.value.hint
    with pytest.raises(StoreError):
        log.record(Step("refused"))
    with pytest.raises(StoreError):
        log.flush()
    filler.unlink()
    deadline = time.monotonic() + 10
    while True:
        try:
            log.record(Step("work", facts={"i": enqueued}))
            enqueued += 1
            break
        except StoreError:
            assert time.monotonic() < deadline, "the log does not recover"
            time.sleep(0.05)
    log.flush()
    found = [p.facts["i"] for e in log.entries() if (p := e.public).action == "work"]
    assert found == list(range(enqueued)) and acknowledged <= enqueued
    assert "refused" not in {e.public.action for e in log.entries()}
    verify(log)
    log.checkpoint()
    log.close()
    log = AuditLog.open(small_disk / "plane", origin=ORIGIN)
    verify(log)
    log.close()


def test_a_folder_that_cannot_be_used_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError) as caught:
        AuditLog.open(tmp_path / "file" / "plane")
    assert caught.value.exit_code == 4


def test_what_was_written_after_close_is_refused(open_log):
    log = open_log()
    log.close()
    with pytest.raises(StoreError):
        log.record(Step("late"))
    log.close()
