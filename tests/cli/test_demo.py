"""The demo tells its whole story, checks what it shows, and can be run again over itself."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo(tmp_path):
    for _ in range(1):
        done = subprocess.run(
            [sys.executable, "-m", "trustplane", "demo", "--dir", str(tmp_path / "out"), "--json"],
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["proxy"] == {"values": 7, "leaked": 0}
    assert figures["train"]["epsilon_micro"] <= 2_000_000 and figures["train"]["refused_runs"] == 1
    assert figures["robust"]["adaptive_accuracy_micro"] < figures["robust"]["oblivious_accuracy_micro"]
    assert figures["erase"]["hits"] == 0 and figures["purpose"]["refused"] == 1
    assert "entries.jsonl" in figures["report"]["flipped_byte_named"]
    verified = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "out/report/verify_bundle.py")], capture_output=True, text=True
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
    broken = tmp_path / "out/report-with-one-byte-flipped"
    verified = subprocess.run([sys.executable, "-I", str(broken / "verify_bundle.py")], capture_output=True, text=True)
    assert verified.returncode == 5


def test_it_does_not_delete_what_is_not_its_own(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    done = subprocess.run(
        [sys.executable, "-m", "trustplane", "demo", "--dir", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2 and (tmp_path / "mine.txt").read_text() == "keep"
