"""A Go program over golang.org/x/mod/sumdb, which knows nothing of us, accepts our proofs and refuses wrong ones."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ORIGIN

from trustplane.audit.log.entry import entry_data
from trustplane.audit.log.note import Key
from trustplane.step import Step

MODULE = Path(__file__).with_name("gocheck")


@pytest.fixture(scope="module")
def gocheck(tmp_path_factory):
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    program = tmp_path_factory.mktemp("go") / "gocheck"
    built = subprocess.run(
        ["go", "build", "-mod=readonly", "-o", str(program), "."], cwd=MODULE, capture_output=True, text=True
    )
    if built.returncode and ("dial tcp" in built.stderr or "module lookup disabled" in built.stderr):
        pytest.skip("the Go module golang.org/x/mod cannot be fetched here")
    assert built.returncode == 0, built.stderr

    def run(*arguments):
        done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode in (0, 5), done.stderr
        return done.stdout if done.returncode == 0 else None

    return run


def test_go_accepts_what_is_right_and_refuses_what_is_not(gocheck, open_log, tmp_path):
    log = open_log()
    vkey = log.keys.verifiers[0].vkey
    stranger = Key.generate(ORIGIN).vkey

    def keep(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    old, text = log.checkpoint()
    first = keep("old", text)
    for i in range(700):
        log.record(Step("work", facts={"i": i}))
    log.flush()
    new, text = log.checkpoint()
    second = keep("new", text)
    assert gocheck("checkpoint", vkey, second) == f"{new.size} {base64.b64encode(new.root).decode()}\n"
    assert gocheck("checkpoint", stranger, second) is None
    assert gocheck("checkpoint", vkey, keep("bad", text.replace(f"\n{new.size}\n", f"\n{new.size + 1}\n"))) is None

    for index in (0, 1, 255, 256, 511, 512, new.size - 1):
        entry = log.entry(index)
        data = entry_data(entry.data, entry.salt, list(entry.commitments))
        proof = log.proof(index)
        file = keep("proof", proof.text)
        assert gocheck("proof", vkey, file, data.hex()) == f"entry {index} of {new.size}\n"
        assert gocheck("proof", stranger, file, data.hex()) is None
        assert gocheck("proof", vkey, file, data[:-1].hex() + "00") is None
        other = proof.text.replace(f"index {index}\n", f"index {(index + 1) % new.size}\n")
        assert gocheck("proof", vkey, keep("bad", other), data.hex()) is None
        lines = proof.text.split("\n")
        lines[2], lines[3] = lines[3], lines[2]
        assert gocheck("proof", vkey, keep("bad", "\n".join(lines)), data.hex()) is None

    path = [base64.b64encode(h).decode() for h in log.consistency(old.size, new.size)]
    assert gocheck("growth", vkey, first, second, keep("path", "\n".join(path))) == f"from {old.size} to {new.size}\n"
    assert gocheck("growth", vkey, first, second, keep("path", "\n".join(path[1:]))) is None
    assert gocheck("growth", vkey, first, second, keep("path", "\n".join(reversed(path)))) is None


def test_go_reads_a_receipt(gocheck, open_log, tmp_path):
    log = open_log()
    with log.request("r1", input="中文", subject="Alice") as request:
        request.decide("yes")
    (tmp_path / "receipt").write_text(request.receipt(post_quantum=True))
    log.erase("Alice")
    entry = log.entry(request.index)
    data = entry_data(entry.data, entry.salt, list(entry.commitments))
    assert gocheck("proof", log.keys.verifiers[0].vkey, tmp_path / "receipt", data.hex())
