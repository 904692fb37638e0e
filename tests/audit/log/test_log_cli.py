"""The command line of the log: data on stdout, talk on stderr, exit codes by class of error."""

import io
import json
import sys
from types import SimpleNamespace

import pytest
import typer
from conftest import residue

import trustplane
from trustplane.cli import log
from trustplane.cli.console import fail
from trustplane.errors import TrustplaneError


@pytest.fixture
def plane(tmp_path):
    folder = tmp_path / "plane"
    content = {"mode": "sealed", "allow": ["sealed", "plain"]}
    with trustplane.open(folder, environ={}, content=content) as opened:
        for i in range(300):
            with opened.request(f"r{i}", input=f"in {i}", purpose="test", subject=f"Person {i % 3}") as request:
                request.step("work [bold]", f"result {i}")
                request.decide("yes")
    (folder / "plane.toml").write_text('[content]\nmode = "sealed"\nallow = ["sealed", "plain"]\n')
    return folder


@pytest.fixture
def run(plane, capsys, monkeypatch):
    app = typer.Typer()
    log.register(app)
    app.command("unused")(lambda: None)  # so that "log" is a verb and not the program

    def call(*arguments, code=0, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        given = ["log", *map(str, arguments), "--plane", str(plane)]
        try:
            app(given)
            found = 0
        except TrustplaneError as error:
            found = fail(error, as_json="--json" in given)
        except SystemExit as end:
            found = end.code or 0
        done = SimpleNamespace(**dict(zip(("stdout", "stderr"), capsys.readouterr(), strict=True)))
        assert found == code, (found, done.stdout, done.stderr)
        return done

    return call


def test_reading_and_proving(run, plane, tmp_path):
    table = run("show").stdout
    assert "r299" in table and "[bold]" in table and "r1 " not in table
    rows = json.loads(run("show", "--request", "r7", "--json").stdout)
    assert [r["kind"] for r in rows] == ["open", "step", "decision"]
    run("show", "--request", "nobody", code=2)

    exported = run("export", "r7")
    data = json.loads(exported.stdout)
    assert list(data["document"]) == ["request_id", "input_text", "inference_steps", "output_decision"]
    assert data["document"]["input_text"] == "in 7" and "salts" not in data["evidence"]
    opening = json.loads(run("show", "--newest", 1, "--json").stdout)[0]
    assert (opening["action"], opening["facts"]["request"]) == ("content.open", "r7")
    assert data["evidence"]["opening"] == opening["index"]
    assert json.loads(run("export", "r7", "--salts").stdout)["evidence"]["salts"]

    proof = tmp_path / "entry.tlog-proof"
    run("prove", 5, "--out", proof)
    assert "entry 5" in run("verify", "--entry", 5, "--proof", proof).stdout
    run("verify", "--entry", 6, "--proof", proof, code=5)
    run("verify", "--entry", 5, code=2)
    run("prove", 10**6, code=2)


def test_verifying(run, plane, tmp_path):
    vkeys = run("key", "show").stdout.split()
    found = json.loads(run("verify", "--key", vkeys[0], "--json").stdout)
    assert found["verified"] and found["entries"] == found["signed"] and found["requests"] == 300
    assert "the keys are the plane's own" in run("verify").stderr

    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text(run("checkpoint").stdout)
    run("export", "r1")
    new.write_text(run("checkpoint").stdout)
    run("verify", "--from", old, "--to", new)
    run("verify", "--from", new, "--to", old, code=2)
    run("verify", "--against", old, "--against", new)
    new.write_text(new.read_text().replace("\n9", "\n8", 1))
    run("verify", "--against", new, code=5)

    import sqlite3

    connection = sqlite3.connect(plane / "log.db")
    salts = connection.execute(
        "SELECT salts FROM batches WHERE first = (SELECT max(first) FROM batches WHERE first < 400)"
    )
    ((value,),) = salts.fetchall()
    connection.execute("UPDATE batches SET salts = ? WHERE salts = ?", (b"\0" * len(value), value))
    connection.commit()
    connection.close()
    failed = run("verify", "--json", code=5)
    report = json.loads(failed.stdout)
    assert report["cause"] == "leaf-mismatch" and 0 < report["index"] < 400 and "error:" in failed.stderr


def test_signing_and_erasing(run, plane, tmp_path):
    note = run("cosign", "--witness", tmp_path / "w", "--name", "witness.example/w", code=0).stdout
    assert note.count("\n— ") >= 3 and "witness.example/w" in note
    run("cosign", "--witness", tmp_path / "w2", code=2)

    run("erase", "Person 1", "--ground", "GDPR 17(1)", code=2)  # nobody there to say yes
    done = json.loads(run("erase", "-", "--ground", "GDPR 17(1)", "--yes", "--json", stdin="Person 1\n").stdout)
    assert done["keys"] == 100 and done["fields"] == 300 - 0
    assert json.loads(run("export", "r1").stdout)["document"]["input_text"] is None
    assert residue(plane, ["Person 1"]) == []
    assert json.loads(run("expire", "--json").stdout) == {"keys": 0}

    old = run("key", "show").stdout.split()
    assert run("key", "rotate").stdout.strip() not in old
    run("cosign", "--witness", tmp_path / "w")
    run("verify", "--key", old[0])
    (tmp_path / "early").write_text(note)
    (tmp_path / "late").write_text(run("cosign", "--witness", tmp_path / "w", "--key", old[0]).stdout)
    run("verify", "--key", old[0], "--from", tmp_path / "early", "--to", tmp_path / "late")
    run("verify", "--key", old[0], "--against", tmp_path / "early", "--against", tmp_path / "late")
    run("verify", "--key", run("key", "show").stdout.split()[0], code=5)


def test_tiles_are_what_the_standard_says(run, plane, tmp_path):
    from trustplane.audit.log.tree import leaf_hash, root_of

    out = tmp_path / "public"
    found = json.loads(run("tiles", "--out", out, "--json").stdout)
    size = found["size"]
    assert size > 900
    leaves = []
    for number in range((size + 255) // 256):
        width = min(256, size - 256 * number)
        name = f"{number:03d}" + ("" if width == 256 else f".p/{width}")
        data = (out / "tile/entries" / name).read_bytes()
        hashes = (out / "tile/0" / name).read_bytes()
        assert len(data) == 47 * width and len(hashes) == 32 * width
        for i in range(width):
            assert data[47 * i : 47 * i + 2] == b"\0\x2d"
            leaves.append(leaf_hash(data[47 * i + 2 : 47 * i + 47]))
            assert hashes[32 * i : 32 * i + 32] == leaves[-1]
    level1 = (out / "tile/1" / f"000.p/{size // 256}").read_bytes()
    assert level1 == b"".join(root_of(leaves[i : i + 256]) for i in range(0, size // 256 * 256, 256))
    import base64

    assert (out / "checkpoint").read_text().split("\n")[1:3] == [str(size), base64.b64encode(root_of(leaves)).decode()]
    assert len([p for p in out.rglob("*") if p.is_file()]) == found["files"]


def test_bad_input(run, tmp_path):
    run("verify", "--key", "nonsense", code=2)
    run("verify", "--against", tmp_path / "nowhere", code=2)
    with pytest.raises(TrustplaneError, match="no plane"):
        log.show(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
