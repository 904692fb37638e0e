"""The command line as a user meets it: real processes, exit codes, JSON on stdout, talk on stderr."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMITMENT = "sha256:" + "ab" * 32


def run(*arguments, code=0, cwd=None, stdin="", env=None):
    done = subprocess.run(
        [sys.executable, "-m", "trustplane", *arguments], capture_output=True, text=True, cwd=cwd, input=stdin,
        env={k: v for k, v in os.environ.items() if not k.startswith("TRUSTPLANE_")} | (env or {}), timeout=120,
    )  # fmt: skip
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def make(plane):
    run("ledger", "register", "model", "first", "--digest", COMMITMENT, "--plane", plane)


@pytest.fixture
def plane(tmp_path):
    return str(tmp_path / "plane")


def test_help_and_version_load_nothing_heavy():
    script = (
        "import sys; from trustplane.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'spacy', 'presidio_analyzer', 'httpx', 'cryptography', 'rich', 'jinja2'}\n"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0
    assert run("--version").stdout.startswith("trustplane 0.")
    assert "--show-completion" in run("--help").stdout


def test_the_ledgers_verbs(plane):
    registered = json.loads(
        run("ledger", "register", "dataset", "wards", "--commitment", COMMITMENT, "--purpose", "research", "--purpose",
            "质量管理", "--epsilon", "1.5", "--plane", plane, "--json").stdout
    )  # fmt: skip
    assert registered["dataset"] == "wards" and registered["entry"] > 0
    run("lineage", "register", "model", "m1", "--digest", COMMITMENT, "--plane", plane)
    assert (
        "wards → m1 for 质量管理"
        in run("ledger", "use", "wards", "m1", "--purpose", "质量管理", "--plane", plane).stdout
    )
    refused = run("ledger", "use", "wards", "m1", "--purpose", "ads", "--plane", plane, "--json", code=3)
    assert json.loads(refused.stdout)["error"] == "PurposeNotAllowed" and "hint:" in refused.stderr
    forward = json.loads(run("lineage", "trace", "wards", "--plane", plane, "--json").stdout)
    assert [u["model"] for u in forward["uses"]] == ["m1"]
    assert "← wards" in run("ledger", "trace", "m1", "--backward", "--plane", plane).stdout
    shown = json.loads(run("budget", "show", "--plane", plane, "--json").stdout)
    assert shown == [
        {"dataset": "wards", "epsilon_micro": 0, "limit_micro": 1_500_000, "delta_exp": 5, "reservations": 0}
    ]
    run(
        "budget",
        "set",
        "wards",
        "--epsilon",
        "9",
        "--commitment",
        COMMITMENT,
        "--purpose",
        "x",
        "--plane",
        plane,
        code=2,
    )
    for path in Path(plane).glob("ledger.db*"):
        path.unlink()
    assert "rebuild" in run("budget", "show", "--plane", plane, code=4).stderr
    assert "wards" in run("ledger", "rebuild", "--plane", plane).stdout
    assert "m1" in run("ledger", "trace", "wards", "--plane", plane).stdout


@pytest.mark.parametrize("epsilon", ["two", "nan", "inf", "0", "-1", "1.0000001", "1e99"])
def test_a_bad_limit_is_bad_input(plane, epsilon):
    run(
        "budget",
        "set",
        "d",
        f"--epsilon={epsilon}",
        "--commitment",
        COMMITMENT,
        "--purpose",
        "x",
        "--plane",
        plane,
        code=2,
    )


def test_bad_settings_and_folders_are_bad_input(tmp_path, plane):
    make(plane)
    run("budget", "show", "--plane", plane, env={"TRUSTPLANE_LOG_NOTHING": "1"}, code=2)
    (tmp_path / "plane" / "plane.toml").write_text("[log]\nspeed = 3\n")
    assert "speed" in run("budget", "show", "--plane", plane, code=2).stderr
    (tmp_path / "file").write_text("x")
    run("budget", "show", "--plane", str(tmp_path / "file"), code=2)
    run("nothing", code=2)


def test_two_commands_at_once_share_a_plane(plane):
    make(plane)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "trustplane", "ledger", "register", "model", f"m{i}", "--digest", COMMITMENT,
             "--plane", plane], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for i in range(4)
    ]  # fmt: skip
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, (out, err)
    run("log", "verify", "--plane", plane)


def test_a_closed_pipe_and_an_interrupt_are_quiet(plane):
    make(plane)
    command = f"{sys.executable} -m trustplane log show --plane {plane} --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_no_command_shows_a_traceback_for_a_damaged_store(plane):
    make(plane)
    time.sleep(0.1)
    for path in Path(plane).glob("log.db*"):
        path.write_bytes(b"not a database at all" * 300)
    done = run("budget", "show", "--plane", plane, code=4)
    assert "Traceback" not in done.stderr and "damaged" in done.stderr


def test_json_is_everywhere():
    import typer

    from trustplane.cli import build

    def walk(node, path):
        if hasattr(node, "commands"):
            for name, child in node.commands.items():
                walk(child, f"{path} {name}")
        elif path != "trustplane proxy":  # it runs until it is stopped and prints nothing on stdout
            assert any("--json" in p.opts for p in node.params), path

    walk(typer.main.get_command(build()), "trustplane")


@pytest.mark.parametrize(
    "arguments",
    [
        ["budget", "show"], ["log", "checkpoint"], ["log", "key", "rotate"], ["log", "export", "x"], ["log", "verify"],
        ["log", "erase", "Nobody", "--ground", "x", "--yes"], ["ledger", "rebuild"],
        ["report", "gdpr", "--out", "never"],
    ],
)  # fmt: skip
def test_a_misspelt_plane_is_not_made_anew(tmp_path, arguments):
    run(*arguments, "--plane", str(tmp_path / "typo"), code=2, cwd=tmp_path)
    assert not (tmp_path / "typo").exists() and not (tmp_path / "never").exists()


def test_output_survives_a_terminal_without_unicode(plane):
    make(plane)
    for encoding in ("ascii", "cp1252"):
        run("--help", env={"PYTHONIOENCODING": encoding})
        run("log", "show", "--plane", plane, env={"PYTHONIOENCODING": encoding})


@pytest.mark.parametrize("out", ["missing/x.json", "."])
def test_a_file_that_cannot_be_written_is_bad_input(plane, tmp_path, out):
    make(plane)
    done = run("log", "prove", "0", "--plane", plane, "--out", str(tmp_path / out), code=2)
    assert "Traceback" not in done.stderr
