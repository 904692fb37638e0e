"""``trustplane review``: list, show, approve, reject; exit codes and both output forms."""

import json
import subprocess
import sys

import pytest

import trustplane
from trustplane.ports import Ticket


@pytest.fixture
def plane(tmp_path):
    folder = tmp_path / "plane"
    with trustplane.open(folder, environ={}) as opened:
        for number in (1, 2):
            facts = (("messages[0].content", "own.person"),)
            opened.reviews.open(
                Ticket(f"rev-{number}", f"req-{number}", "north", "openai.chat", "hmac-sha256:aa", facts)
            )
    return str(folder)


def run(plane, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "trustplane", "review", *arguments, "--plane", plane], capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return done


def test_a_person_decides(plane):
    listed = run(plane, "list")
    assert listed.returncode == 0 and listed.stdout.count("pending") == 2 and "own.person" in listed.stdout
    shown = run(plane, "show", "rev-1")
    assert shown.returncode == 0 and "own.person in messages[0].content" in shown.stdout and "req-1" in shown.stdout
    done = run(plane, "approve", "rev-1", "--by", "ada", "--reason", "called the client", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["state"] == "approved" and document["by"] == "ada" and document["reason"] == "called the client"
    done = run(plane, "reject", "rev-1", "--by", "grace", "--json")
    assert done.returncode == 3 and json.loads(done.stdout)["message"] == "ada approved it before"
    done = run(plane, "reject", "rev-2")
    assert done.returncode == 0 and "rejected" in done.stdout
    assert run(plane, "list").stdout == "nothing waits for a person\n"
    everything = json.loads(run(plane, "list", "--all", "--json").stdout)
    assert [item["state"] for item in everything] == ["approved", "rejected"] and everything[1]["by"]
    log = subprocess.run(
        [sys.executable, "-m", "trustplane", "log", "show", "--plane", plane, "--json"], capture_output=True, text=True
    )
    assert log.stdout.count("review.decided") == 2 and "called the client" not in log.stdout
    assert subprocess.run([sys.executable, "-m", "trustplane", "log", "verify", "--plane", plane]).returncode == 0


def test_bad_arguments(plane, tmp_path):
    assert run(plane, "show", "rev-none").returncode == 2
    assert run(plane, "approve", "rev-1", "--by", "two\nlines").returncode == 2
    assert run(str(tmp_path / "none"), "list").returncode == 2
    assert not (tmp_path / "none").exists()
