"""`redact` and `restore` on the command line: exact bytes, private files, clear errors."""

import json
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from trustplane.cli import proxy, redact, restore
from trustplane.errors import InputError, Refused, StoreError, VerificationError
from trustplane.guard.text.vault import new_key, read_key, seal, unseal

TEXT = "My name is Alice Johnson, alice@example.com\r\n我叫张伟 no newline at the end"


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    for verb in (redact, restore, proxy):
        verb.register(made)
    return made


def run(app: typer.Typer, *arguments: str, text: str | None = None) -> bytes:
    found = CliRunner().invoke(app, list(arguments), input=None if text is None else text.encode())
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.stdout_bytes


def test_mask(app: typer.Typer) -> None:
    out = run(app, "redact", "-", text=TEXT).decode()
    assert out == "My name is <PERSON>, <EMAIL_ADDRESS>\r\n我叫<PERSON> no newline at the end"
    found = json.loads(run(app, "redact", "-", "--json", text=TEXT))
    assert [f["entity"] for f in found["findings"]] == ["PERSON", "EMAIL_ADDRESS", "PERSON"]
    assert found["text"] == out and set(found["findings"][0]) == {"rule", "entity", "start", "end", "score"}
    assert run(app, "redact", "-", "--name", "Zed", text="Zed").decode() == "<LISTED_NAME>"


def test_round_trip(app: typer.Typer, tmp_path: Path) -> None:
    source, vault = tmp_path / "in.txt", tmp_path / "map"
    source.write_bytes(TEXT.encode())
    hidden = run(app, "redact", str(source), "--map", str(vault)).decode()
    assert "Alice" not in hidden and "alice" not in vault.read_text() and "[EMAIL_ADDRESS_" in hidden
    key = tmp_path / "map.key"
    assert stat.S_IMODE(vault.stat().st_mode) == stat.S_IMODE(key.stat().st_mode) == 0o600
    assert run(app, "restore", "--map", str(vault), text=hidden).decode() == TEXT
    again = run(app, "redact", str(source), "--map", str(vault)).decode()
    assert again == hidden  # the same map gives the same pseudonyms
    other = run(app, "redact", "-", "--map", str(vault), text="bob@example.com").decode()
    assert run(app, "restore", "--map", str(vault), "--json", text=hidden + other)
    assert json.loads(run(app, "restore", "--map", str(vault), "--json", text=other))["text"] == "bob@example.com"


def test_errors(app: typer.Typer, tmp_path: Path) -> None:
    vault = tmp_path / "map"
    run(app, "redact", "-", "--map", str(vault), text=TEXT)
    wrong = tmp_path / "wrong.key"
    wrong.write_text(new_key())
    with pytest.raises(VerificationError):
        run(app, "restore", "--map", str(vault), "--key", str(wrong), text="x")
    wrong.write_text("short")
    with pytest.raises(InputError):
        run(app, "restore", "--map", str(vault), "--key", str(wrong), text="x")
    with pytest.raises(InputError):
        run(app, "restore", "--map", str(tmp_path / "none"), text="x")
    with pytest.raises(InputError):
        run(app, "redact", str(tmp_path / "none"))
    with pytest.raises(InputError):
        run(app, "redact", "-", "--key", str(wrong), text="x")
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(InputError):
        run(app, "redact", str(tmp_path / "latin"))


def test_vault() -> None:
    key = read_key(new_key())
    sealed = seal({"[A_2222]": "value \ud83d"}, key)
    assert unseal(sealed, key) == {"[A_2222]": "value \ud83d"} and b"value" not in sealed
    assert seal({}, key) != seal({}, key)
    with pytest.raises(InputError):
        unseal(b"[]", key)
    changed = json.loads(sealed)
    changed["sealed"] = "A" * 64
    with pytest.raises(VerificationError):
        unseal(json.dumps(changed).encode(), key)


def test_listen_and_upstreams(app: typer.Typer, tmp_path: Path) -> None:
    assert proxy.parse_listen("127.0.0.1:0", public=False) == ("127.0.0.1", 0)
    assert proxy.parse_listen("[::1]:80", public=False) == ("::1", 80)
    assert proxy.parse_listen("0.0.0.0:80", public=True) == ("0.0.0.0", 80)
    for bad in ("0.0.0.0:80", "example.com:80", "[::]:80"):
        with pytest.raises(Refused):
            proxy.parse_listen(bad, public=False)
    for bad in ("80", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999"):
        with pytest.raises(InputError):
            proxy.parse_listen(bad, public=False)
    assert proxy.parse_upstreams(["a=http://x", "b=http://y"]) == {"a": "http://x", "b": "http://y"}
    for given in (["a"], ["=x"], ["a=x", "a=y"]):
        with pytest.raises(InputError):
            proxy.parse_upstreams(given)
    assert StoreError.exit_code == 4
    with pytest.raises(Refused):
        run(app, "proxy", "--upstream", "a=http://127.0.0.1:1", "--listen", "0.0.0.0:0", "--plane", str(tmp_path / "p"))
    assert not (tmp_path / "p").exists()


def test_proxy_serves_and_stops_clean(tmp_path: Path) -> None:
    code = "import typer; from trustplane.cli import proxy, redact; a = typer.Typer(); proxy.register(a); "
    code += "redact.register(a); a()"
    arguments = [
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "a=http://127.0.0.1:9",
        "--plane",
        str(tmp_path / "p"),
    ]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        url = process.stderr.readline().removeprefix("listening ").strip()
        with urllib.request.urlopen(url + "/healthz", timeout=10) as reply:
            assert json.load(reply) == {"status": "ok"}
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
