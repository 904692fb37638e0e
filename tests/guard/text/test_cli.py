"""`redact` and `restore` on the command line: exact bytes, private files, clear errors."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from trustplane.cli import policy, proxy, redact, restore, scan
from trustplane.errors import InputError, Refused, StoreError, VerificationError
from trustplane.guard.text.vault import new_key, read_key, seal, unseal

TEXT = "My name is Alice Johnson, alice@example.com\r\n我叫张伟 no newline at the end"


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    for verb in (scan, redact, restore, policy, proxy):
        verb.register(made)
    return made


def run(app: typer.Typer, *arguments: str, text: str | None = None, code: int = 0) -> bytes:
    found = CliRunner().invoke(app, list(arguments), input=None if text is None else text.encode())
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == code, found.output
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
    hidden = run(app, "redact", str(source), "--vault", str(vault)).decode()
    assert "Alice" not in hidden and "alice" not in vault.read_text() and "[EMAIL_ADDRESS_" in hidden
    key = tmp_path / "map.key"
    assert stat.S_IMODE(vault.stat().st_mode) == stat.S_IMODE(key.stat().st_mode) == 0o600
    assert run(app, "restore", "--vault", str(vault), text=hidden).decode() == TEXT
    again = run(app, "redact", str(source), "--vault", str(vault)).decode()
    assert again == hidden  # the same map gives the same pseudonyms
    other = run(app, "redact", "-", "--vault", str(vault), text="bob@example.com").decode()
    assert run(app, "restore", "--vault", str(vault), "--json", text=hidden + other)
    assert json.loads(run(app, "restore", "--vault", str(vault), "--json", text=other))["text"] == "bob@example.com"


def test_errors(app: typer.Typer, tmp_path: Path) -> None:
    vault = tmp_path / "map"
    run(app, "redact", "-", "--vault", str(vault), text=TEXT)
    wrong = tmp_path / "wrong.key"
    wrong.write_text(new_key())
    with pytest.raises(VerificationError):
        run(app, "restore", "--vault", str(vault), "--key", str(wrong), text="x")
    wrong.write_text("short")
    with pytest.raises(InputError):
        run(app, "restore", "--vault", str(vault), "--key", str(wrong), text="x")
    with pytest.raises(InputError):
        run(app, "restore", "--vault", str(tmp_path / "none"), text="x")
    with pytest.raises(InputError):
        run(app, "redact", str(tmp_path / "none"))
    with pytest.raises(InputError):
        run(app, "redact", "-", "--key", str(wrong), text="x")
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(InputError):
        run(app, "redact", str(tmp_path / "latin"))


def lines(out: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_scan(app: typer.Typer, tmp_path: Path) -> None:
    (one,) = lines(run(app, "scan", "text", "-", "--json", text=TEXT))
    assert (one["id"], one["verdict"]) == ("-", "redact")
    assert [f["entity"] for f in one["findings"]] == ["PERSON", "EMAIL_ADDRESS", "PERSON"]
    assert all(set(f) == {"rule", "entity", "start", "end", "score"} for f in one["findings"])
    assert TEXT[one["findings"][1]["start"] : one["findings"][1]["end"]] == "alice@example.com"
    source = tmp_path / "in.jsonl"
    texts = [{"id": "a", "text": "😀 alice@example.com"}, {"id": 7, "text": "nothing"}, {"text": "张 bob@example.com"}]
    source.write_text("\ufeff" + "\n\n".join(json.dumps(t, ensure_ascii=i > 0) for i, t in enumerate(texts)), "utf-8")
    found = lines(run(app, "scan", "text", str(source), "--json"))
    assert [(f["id"], f["verdict"], len(f["findings"])) for f in found] == [
        ("a", "redact", 1), ("7", "allow", 0), ("5", "redact", 1)
    ]  # fmt: skip
    assert (found[0]["findings"][0]["start"], found[0]["findings"][0]["end"]) == (2, 19)
    only = lines(run(app, "scan", "text", "-", "--json", "--entities", "PERSON", text=TEXT))[0]["findings"]
    assert {f["entity"] for f in only} == {"PERSON"}
    assert lines(run(app, "scan", "text", "-", "--json", "--threshold", "1", text="我叫张伟"))[0]["findings"] == []
    shown = run(app, "scan", "text", "-", text="to\x1b[2J \u202ealice@example.com\n").decode()
    assert "alice@example.com⟨EMAIL_ADDRESS mask⟩" in shown and "redact" in shown
    assert "\x1b" not in shown and "\u202e" not in shown  # a text cannot steer the terminal
    assert run(app, "scan", "text", str(source)).decode().split()[:2] == ["a", "redact"]


def test_scan_follows_the_policy(app: typer.Typer, tmp_path: Path) -> None:
    rules = tmp_path / "p.toml"
    rules.write_text(
        "[allow]\nvalues = ['alice@example.com']\n[rules.EMAIL_ADDRESS]\nout = 'block'\nin = 'allow'\n"
        "[rules.PERSON]\nout = 'review'\n[tenants.t.rules.EMAIL_ADDRESS]\nout = 'mask'\n"
    )

    def verdict(text: str, code: int, *more: str) -> str:
        out = run(app, "scan", "text", "-", "--json", "--policy", str(rules), *more, text=text, code=code)
        return str(lines(out)[0]["verdict"])

    assert verdict("bob@example.com", 3) == "block" and verdict("alice@example.com", 0) == "allow"
    assert verdict("bob@example.com", 0, "--direction", "in") == "allow"
    assert verdict("bob@example.com", 0, "--tenant", "t") == "redact" and verdict("我叫张伟", 3) == "review"
    source = tmp_path / "a.csv"
    source.write_text("who,note\nbob@example.com,x\n1,y\n")
    with pytest.raises(Refused):
        run(app, "redact", "-", "--policy", str(rules), text="see bob@example.com")
    out = tmp_path / "out.csv"
    with pytest.raises(Refused):
        run(app, "redact", str(source), "--policy", str(rules), "-o", str(out))
    assert out.read_text() == "who,note\n1,y\n"  # a record that is blocked is left out, the others go
    told = run(app, "policy", "check", str(rules), "--text", "bob@example.com", code=3).decode()
    assert "verdict: block" in told and "bob" not in told
    assert json.loads(run(app, "policy", "check", str(rules), "--json"))["status"] == "fine"
    assert json.loads(run(app, "policy", "show", str(rules), "--json"))["actions"]["PERSON"]["out"] == "review"
    assert "purpose" not in run(app, "policy", "show", "strict").decode()
    rules.write_text("[rules.EMAIL]\nuot = 'block'")
    with pytest.raises(InputError, match="uot"):
        run(app, "policy", "check", str(rules))
    rules.write_text("[rules.EMAIL_ADRESS]\nout = 'block'")  # would let addresses through unseen
    with pytest.raises(InputError) as refused:
        run(app, "policy", "check", str(rules))
    assert refused.value.hint == "did you mean EMAIL_ADDRESS?"


def test_bad_input(app: typer.Typer, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"text": "x"}\n{"text": "\xff"}\n')
    for verb in (("scan", "text"), ("redact",)):
        with pytest.raises(InputError, match="not UTF-8 at byte 24"):
            run(app, *verb, str(bad))
        with pytest.raises(InputError, match="longer than 10 bytes"):
            run(app, *verb, "-", "--max-bytes", "10", text="x" * 11)
        with pytest.raises(InputError, match="line at byte 0 is longer"):
            run(app, *verb, str(bad), "--max-bytes", "10")
    for content, what in (
        ("[", "record 1"),
        ('{"text": "x"}\n{"text": 3}', "record 2"),
        ('{"a": 1, "a": 2}', "record 1"),
    ):
        bad.write_text(content)
        with pytest.raises(InputError, match=what):
            run(app, "scan", "text", str(bad))
    (tmp_path / "bad.csv").write_text('a,"b')
    with pytest.raises(InputError, match="record 1"):
        run(app, "redact", str(tmp_path / "bad.csv"))
    for arguments in (
        ["scan", "text", "-", "--format", "xml"],
        ["scan", "text", "-", "--direction", "up"],
        ["scan", "text", "-", "--threshold", "2"],
        ["scan", "text", "-", "--judge", "content", "--judge", "injectio"],
        ["scan", "text", "-", "--policy", str(tmp_path / "absent")],
        ["scan", "text", "-", "--resume"],
        ["redact", "-", "--style", "loud"],
        ["redact", "-", "--style", "hash"],
        ["redact", "-", "--style", "pseudonym"],
        ["redact", "-", "--sealed"],
        ["restore", "-"],
    ):
        with pytest.raises(InputError):
            run(app, *arguments, text="x")
    assert lines(run(app, "scan", "text", "-", "--json", text=""))[0]["verdict"] == "allow"


CSV = (
    '\ufeffnumber;name;mail;note\r\n1;"Alice Johnson";alice@example.com;"said ""hi""\nto 张伟"\r\n'
    "2;;bob@example.com;see https://x.example\r\n\r\n3;1.50;;\r\n"
)
JSON = (
    '{"to": {"alice@example.com": "My name is Alice Johnson"}, "n": 1.50,\n'
    ' "args": "{\\"mail\\": \\"alice@example.com\\"}", "card": 4111111111111111, "u": "\\u4f60\\/"}\n'
)


@pytest.mark.parametrize("keep", [["--vault"], ["--sealed", "--key"]])
def test_documents_come_back(app: typer.Typer, tmp_path: Path, keep: list[str]) -> None:
    jsonl = json.dumps({"id": 1, "text": "alice@example.com"}) + "\r\n\n" + json.dumps(["bob@example.com", 1.0])
    kept = [*keep, str(tmp_path / "kept")]
    for name, content in (("a.csv", CSV), ("a.json", JSON), ("a.jsonl", jsonl)):
        source, hidden = tmp_path / name, tmp_path / f"hidden-{name}"
        source.write_bytes(content.encode())
        run(app, "redact", str(source), "-o", str(hidden), *kept)
        text = hidden.read_bytes().decode()
        assert not any(value in text for value in ("alice", "Alice", "bob", "4111"))
        back = run(app, "restore", str(hidden), *kept).decode()
        assert back == content.replace("4111111111111111", '"4111111111111111"')  # a hidden number is a string
    masked = run(app, "redact", str(tmp_path / "a.csv")).decode()
    assert masked.startswith("\ufeffnumber;name;mail;note\r\n1;") and masked.endswith("\r\n\r\n3;1.50;;\r\n")
    hashed = run(app, "redact", str(tmp_path / "a.json"), "--style", "hash", "--key", str(tmp_path / "k")).decode()
    assert hashed.count(hashed.split("<EMAIL_ADDRESS#")[1][:12]) == 2  # the same value, the same hash


def test_shapes(app: typer.Typer, tmp_path: Path) -> None:
    vault = str(tmp_path / "v")
    text = "card 4111 1111 1111 1111, alice@example.com"
    hidden = run(app, "redact", "-", "--vault", vault, "--style", "shape", text=text).decode()
    assert "4111" not in hidden and "alice" not in hidden and "[" not in hidden
    assert run(app, "restore", "-", "--vault", vault, text=hidden).decode() == text
    with pytest.raises(InputError, match="new vault"):
        run(app, "redact", "-", "--vault", vault, "--style", "shape", text=text)


def test_resume_after_kill(app: typer.Typer, tmp_path: Path) -> None:
    """A run is killed (-9) at some point, goes on, and its output is the one of a run that was not."""
    source, out, whole = tmp_path / "in.csv", tmp_path / "out.csv", tmp_path / "whole.csv"
    rows = "".join(f'{i},user{i}@example.com,"a\n{i}"\n' for i in range(1200))
    source.write_text("number,mail,note\n" + rows)
    run(app, "redact", str(source), "-o", str(whole))
    command = [sys.executable, "-m", "trustplane", "redact", str(source), "-o", str(out), "--resume"]
    state = tmp_path / "out.csv.resume"
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and not state.exists():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and state.exists()
    saved = json.loads(state.read_text())
    assert "user" not in state.read_text() and 0 < saved["records"] < 1201
    changed = state.read_text().replace(saved["in_sha256"], "0" * 64)
    arguments = ["redact", str(source), "-o", str(out), "--resume"]
    kept = state.read_text(), out.read_bytes()
    for broken, what in (
        (changed, "not the one"),
        ("{", "damaged"),
        (kept[0].replace('"settings": "', '"settings": "x'), "settings"),
    ):
        state.write_text(broken)
        with pytest.raises(InputError, match=what):
            run(app, *arguments)
    with pytest.raises(InputError, match="other settings"):
        state.write_text(kept[0])
        run(app, *arguments, "--entities", "PERSON")
    out.write_bytes(kept[1] + b"half a rec")
    run(app, *arguments)
    assert out.read_bytes() == whole.read_bytes() and not state.exists()


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "csv"])
def test_a_line_without_end_takes_bounded_memory(app: typer.Typer, tmp_path: Path, form: str) -> None:
    """A gigabyte without a line end is refused after --max-bytes of it, not after all of it."""
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="longer than 1,000,000 bytes"):
            run(app, "redact", str(huge), "--format", form, "--max-bytes", "1000000")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


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
