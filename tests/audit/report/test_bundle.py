"""The bundle: typed sentences, same bytes on repeat, what the verifier refuses, hostile words."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pypdf
import pytest

from trustplane import canon
from trustplane.audit.log.note import COSIGN, Key
from trustplane.audit.report import Bundle, archive, verify_bundle, write_bundle
from trustplane.audit.report.paper import covered
from trustplane.audit.report.sentence import CLASSES, load_catalogue
from trustplane.audit.report.verify_bundle import ProofError, check
from trustplane.audit.report.words import visible
from trustplane.errors import InputError, StoreError
from trustplane.step import Step

from .logs import HOSTILE, memory_log, rich_log, some_log, write_register
from .mutation import attack, false_alarms

FILES = {
    "README.txt", "catalogue.json", "checkpoint.txt", "entries.jsonl", "keys.txt", "manifest.json", "manifest.sig",
    "range-proof.txt", "register.json", "report.en.html", "report.en.pdf", "report.json", "report.zh.html",
    "report.zh.pdf", "verify_bundle.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("rich")
    return write_bundle(rich_log(), folder / "bundle", register=write_register(folder))


@pytest.fixture
def copy(rich: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rich.path, tmp_path / "copy"))


def document(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def sentences(folder: Path) -> dict[str, dict]:
    return {s["id"]: s for s in document(folder)["sentences"]}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(folder: Path, *keys: str) -> ProofError:
    with pytest.raises(ProofError) as caught:
        check(folder, keys)
    return caught.value


def test_every_sentence_is_typed_and_in_both_languages(rich: Bundle) -> None:
    found = sentences(rich.path)
    assert len(found) == sum(rich.sentences.values()) == len(document(rich.path)["sentences"])
    articles = set()
    for sentence in found.values():
        assert sentence["class"] in CLASSES
        assert sentence["tone"] in {"ok", "note", "gap"}
        assert set(sentence["text"]) == {"en", "zh"}
        assert re.search("[\u4e00-\u9fff]", sentence["text"]["zh"])
        assert "{" not in sentence["text"]["en"].replace("\\u{", "")
        articles.add(re.match(r"\d*", sentence["article"])[0])
        assert (sentence["class"] == "E1") <= bool(sentence["entries"])
    assert {"5", "6", "9", "13", "15", "17", "20", "22", "25", "28", "30", "32", "33", "35"} <= articles
    assert next(iter(found)) == "limits-1"
    assert all(rich.sentences[kind] for kind in CLASSES)
    assert {path.name for path in rich.path.iterdir()} == FILES


@pytest.mark.parametrize("make", [memory_log, some_log, rich_log])
def test_the_same_log_gives_the_same_bytes(make: object, tmp_path: Path) -> None:
    log = make()
    log.flush()
    size = log.store.size()
    first, second = (write_bundle(log, tmp_path / name) for name in ("a", "b"))
    assert files(first.path) == files(second.path)
    assert log.store.size() == size
    assert check(first.path, [first.vkey])["not_checked"]


def test_figures_are_those_of_the_log(rich: Bundle) -> None:
    found = sentences(rich.path)
    text = {ident: s["text"]["en"] for ident, s in found.items()}
    assert "30 requests were opened" in text["scope-3"]
    assert "email_address 29, nrp 1, phone_number 29" in text["5-1-c-1"]
    assert text["5-1-c-3"].startswith("1 request was sent on by the proxy without")
    assert text["25-4.1"].endswith(
        "limit ε = 2.0; 1 spend was granted and 1 refused; after the last grant ε stood at 1.2345."
    )
    assert "95.3 % accuracy on clean inputs and 67.2 % under" in text["32-1-d"]
    assert text["22-1"] == "30 decisions were recorded: answered 27, blocked 3."
    assert "the old and the new key signed" in text["scope-4"]
    assert found["scope-4"]["class"] == "E3"
    assert found["22-2"]["class"] == "E0"
    assert "“profiling”: observed in 10 requests, not declared" in text["difference-1.2"]


def test_an_empty_log_invents_nothing(tmp_path: Path) -> None:
    bundle = write_bundle(memory_log(), tmp_path / "b")
    found = sentences(bundle.path)
    assert bundle.sentences["E4"] == bundle.sentences["E3"] == 0
    assert found["scope-3"]["text"]["en"] == "No request was opened in the period."
    assert all(s["tone"] == "gap" or s["tone"] == "note" for s in found.values() if s["class"] == "E0")


def test_pages_and_paper_hold_the_sentences(rich: Bundle) -> None:
    for language in ("en", "zh"):
        text = "".join(page.extract_text() for page in pypdf.PdfReader(rich.path / f"report.{language}.pdf").pages)
        squeezed = re.sub(r"\s", "", text)
        for sentence in sentences(rich.path).values():
            assert re.sub(r"\s", "", sentence["text"][language]) in squeezed
    reader = pypdf.PdfReader(rich.path / "report.zh.pdf")
    assert b"pdfaid:part>2" in reader.trailer["/Root"]["/XMP"].get_data() if "/XMP" in reader.trailer["/Root"] else True


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_words_do_no_harm(tmp_path: Path) -> None:
    register = "\n".join(
        f"[[purposes]]\nname = {json.dumps(f'declared {i} {word}')}\nbasis = {json.dumps(word)}"
        for i, word in enumerate(HOSTILE)
        if not any(c in word for c in "\t\U000e0041😀")
    )
    bundle = write_bundle(rich_log(60, hostile=True), tmp_path / "b", register=write_register(tmp_path, register))
    check(bundle.path, [bundle.vkey])
    for path in bundle.path.glob("report.*"):
        if path.suffix == ".pdf":
            text = "".join(page.extract_text() for page in pypdf.PdfReader(path).pages)
            assert "/JavaScript" not in path.read_bytes().decode("latin-1")
        else:
            text = path.read_text()
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufe00-\ufe0f\U000e0000-\U000e0fff]", text)
        assert "[#]" in text
        if path.suffix == ".html":
            page = Text()
            page.feed(text)
            assert not page.tags & {"script", "iframe", "img", "label"}
            assert not any(name.startswith("on") or name in {"style", "src"} for name in page.attributes)
            assert "&lt;/script&gt;" in text and "alert(1)" in text
            assert "{{ 7*7 }}" in text and "49}" not in text


def test_what_cannot_be_seen_is_written_out() -> None:
    assert visible("a\u202eb") == "a\\u{202E}b"
    assert visible("\\u{202E}") == "\\u{005C}u{202E}"
    assert visible("客户 é 😀 “x”") == "客户 é 😀 “x”"
    for number in range(0x110000):
        c = chr(number)
        if "\ud800" <= c <= "\udfff":
            continue
        assert verify_bundle.visible(c) == visible(c)


def test_a_missing_glyph_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ord("证") in covered() and 0x1F600 not in covered()
    from trustplane.audit.report import bundle as module

    catalogue = load_catalogue()
    data = catalogue.data.replace("日志不能证明什么".encode(), "日志不能证明什么😀".encode())
    monkeypatch.setattr(
        module, "load_catalogue", lambda: type(catalogue)(data, hashlib.sha256(data).hexdigest(), json.loads(data))
    )
    with pytest.raises(InputError, match=r"cannot be set.*😀"):
        write_bundle(memory_log(), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_range_stands_on_its_own(tmp_path: Path) -> None:
    log = rich_log()
    for start, stop in ((0, 1), (5, 6), (17, 90), (100, log.store.size())):
        bundle = write_bundle(log, tmp_path / f"{start}", start=start, stop=stop, languages=("en",))
        found = check(bundle.path, [bundle.vkey])
        assert (found["start"], found["stop"], bundle.size) == (start, stop, stop - start)
    for start, stop in ((-1, 4), (3, 3), (5, 4), (0, log.store.size() + 1)):
        with pytest.raises(InputError):
            write_bundle(log, tmp_path / "no", start=start, stop=stop)


def test_the_first_key_leads_to_the_last(tmp_path: Path) -> None:
    log = some_log()
    log.flush()
    first = log.keys.verifiers[0].vkey
    log.rotate()
    log.rotate()
    bundle = write_bundle(log, tmp_path / "b", languages=("en",))
    assert check(bundle.path, [first])["key"] == bundle.vkey
    check(bundle.path, [bundle.vkey])
    other = some_log().keys.verifiers[0].vkey
    assert refused(bundle.path, other).file == "keys.txt"
    assert "THE KEY" in check(bundle.path)["not_checked"][0]


def test_a_witness_attests(tmp_path: Path) -> None:
    log = some_log()
    log.flush()
    witness = Key.generate("witness.example/w", COSIGN)
    checkpoint, text = log.checkpoint()
    cosigned = text + witness.sign(checkpoint.body, now=1_700_000_000) + "\n"
    bundle = write_bundle(log, tmp_path / "b", at=cosigned, witnesses=[witness.vkey], languages=("en",))
    found = sentences(bundle.path)["scope-5"]
    assert found["class"] == "E3" and "witness.example/w" in found["text"]["en"]
    assert check(bundle.path, [bundle.vkey], [witness.vkey])["witnesses"] == ["witness.example/w"]
    with pytest.raises(ProofError):
        check(bundle.path, [bundle.vkey], [Key.generate("witness.example/w", COSIGN).vkey])
    with pytest.raises(InputError):
        write_bundle(log, tmp_path / "c", at=text, witnesses=[witness.vkey])
    with pytest.raises(InputError):
        write_bundle(log, tmp_path / "c", at=text.replace("example.org", "example.com"))


def resign(folder: Path, log: object) -> None:
    """Do what a lying operator can: make digests and signature fit again."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    data = canon.dumps(manifest)
    (folder / "manifest.json").write_bytes(data)
    origin, size, root = (folder / "checkpoint.txt").read_text().split("\n")[:3]
    body = f"trustplane/report/1\n{origin}\n{size}\n{root}\n{hashlib.sha256(data).hexdigest()}\n"
    (folder / "manifest.sig").write_text(body + "\n" + log.keys.sign(body, post_quantum=False))


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("report.json", "30 requests were opened", "31 requests were opened", "scope-3"),
        ("report.json", '"class": "E0"', '"class": "E2"', "scope-5"),
        ("report.json", "15 requests were sent to it", "14 requests were sent to it", "30-d-2.1"),
        ("report.en.html", "Host <bdi>other.example</bdi>", "Host <bdi>api.example</bdi>", "28-5.1"),
        ("report.json", '"tone": "gap"', '"tone": "ok"', "scope-5"),
        ("report.en.html", "each has a decision", "each is fine", "scope-3"),
        ("report.zh.html", '"scope-5">E0</b>', '"scope-5">E2</b>', "scope-5"),
        ("report.en.html", "<main>", "<main><script>x</script>", ""),
        ("report.en.html", "<main>", '<main style="display:none">', ""),
        ("report.en.html", "<main>", "<main><!-- x -->", ""),
        ("report.en.html", ".row {", ".row { display: none;", ""),
        ("report.en.html", "color-scheme", "color-scheme ", ""),
        ("report.en.html", 'http-equiv="Content', 'http-equiv="refresh', ""),
        ("entries.jsonl", "answered", "blocked_", "8"),
        ("entries.jsonl", '"index":3', '"index":4', "3"),
        ("catalogue.json", "No human review stands in the log.", "Human review stands in the log.", ""),
        ("register.json", "6(1)(f)", "6(1)(b)", "scope-6"),
        ("keys.txt", "log example", "log other", ""),
        ("checkpoint.txt", "example.org/audit\n", "example.com/audit\n", "0"),
        ("range-proof.txt", "trustplane/range/1\n0 ", "trustplane/range/1\n1 ", "1"),
    ],
)
def test_a_lying_operator_is_caught(name: str, old: str, new: str, place: str, tmp_path: Path) -> None:
    log = rich_log()
    bundle = write_bundle(log, tmp_path / "b", register=write_register(tmp_path))
    path = bundle.path / name
    data = path.read_text()
    assert old in data
    path.write_text(data.replace(old, new, 1))
    resign(bundle.path, log)
    error = refused(bundle.path, bundle.vkey)
    if place and name != "entries.jsonl":
        assert error.place == place
    assert error.file in {name, "entries.jsonl", "checkpoint.txt", "report.json", "bundle"}


def test_dropped_doubled_and_moved_entries_are_caught(tmp_path: Path) -> None:
    log = rich_log()
    bundle = write_bundle(log, tmp_path / "b", languages=("en",))
    path = bundle.path / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for made in (
        lines[:-1],
        lines[1:],
        [*lines, lines[-1]],
        lines[:9] + lines[10:],
        [*lines[:9], lines[10], lines[9], *lines[11:]],
    ):
        path.write_bytes(b"".join(made))
        resign(bundle.path, log)
        assert refused(bundle.path, bundle.vkey).file in {"entries.jsonl", "checkpoint.txt"}


def test_the_folder_holds_nothing_else(copy: Path, rich: Bundle) -> None:
    extra = copy / "note.txt"
    extra.write_text("read me first")
    assert "not covered" in refused(copy, rich.vkey).cause
    extra.unlink()
    (copy / "sub").mkdir()
    assert refused(copy, rich.vkey).file == "sub"
    (copy / "sub").rmdir()
    for name in FILES:
        data = (copy / name).read_bytes()
        (copy / name).unlink()
        assert refused(copy, rich.vkey).file == name
        (copy / name).symlink_to(rich.path / name)
        if name != "manifest.json" and name != "manifest.sig":
            assert "plain file" in refused(copy, rich.vkey).cause
        (copy / name).unlink()
        os.mkfifo(copy / name)
        refused(copy, rich.vkey)
        (copy / name).unlink()
        (copy / name).write_bytes(b"")
        refused(copy, rich.vkey)
        (copy / name).write_bytes(data)
    check(copy, [rich.vkey])


@pytest.mark.parametrize(
    "data", [b"[" * 200_000, b'{"a":1}', b"[]", b"null", b'{"a":1e999}', b"\xff\xfe", b"9" * 10_000]
)
def test_hostile_files_only_fail(data: bytes, tmp_path: Path) -> None:
    log = some_log()
    bundle = write_bundle(log, tmp_path / "b", languages=("en",))
    for name in sorted(FILES - {"report.zh.html", "report.zh.pdf", "README.txt", "verify_bundle.py"}):
        kept = (bundle.path / name).read_bytes()
        (bundle.path / name).write_bytes(data)
        if name not in ("manifest.json", "manifest.sig", "checkpoint.txt", "report.en.pdf"):
            resign(bundle.path, log)
            refused(bundle.path, bundle.vkey)
        else:
            refused(bundle.path, bundle.vkey)
        (bundle.path / name).write_bytes(kept)
        resign(bundle.path, log)
    check(bundle.path, [bundle.vkey])


def test_targets_and_archives(tmp_path: Path) -> None:
    log = some_log()
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(InputError):
            write_bundle(log, target, force=force)
    (target / "thesis.txt").unlink()
    write_bundle(log, target, languages=("en",))
    with pytest.raises(InputError, match="not empty"):
        write_bundle(log, target)
    bundle = write_bundle(log, target, languages=("zh",), force=True)
    assert not (target / "report.en.html").exists()
    for name in ("a.zip", "b.zip"):
        archive(bundle.path, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes()[100:] != b""
    assert {p.name for p in tmp_path.iterdir()} == {"out", "a.zip", "b.zip"}
    with pytest.raises(InputError):
        write_bundle(log, tmp_path / "x", languages=("fr",))
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, StoreError)):
        write_bundle(log, tmp_path / "file" / "x")


def test_the_verifier_runs_alone(rich: Bundle, tmp_path: Path) -> None:
    run = [sys.executable, "-I", "-S", str(rich.path / "verify_bundle.py"), str(rich.path)]
    done = subprocess.run([*run, "--key", rich.vkey, "--print", "en"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HOLDS" in done.stdout and "[E0] scope-5" in done.stdout and "E4:" in done.stdout
    done = subprocess.run([*run, "--json"], capture_output=True, text=True)
    assert json.loads(done.stdout)["ok"] and "THE KEY" in done.stdout
    broken = Path(shutil.copytree(rich.path, tmp_path / "broken"))
    (broken / "register.json").write_bytes(b"{}")
    done = subprocess.run([*run[:-1], str(broken), "--json"], capture_output=True, text=True)
    assert done.returncode == 5 and json.loads(done.stdout)["file"] == "register.json"
    source = (rich.path / "verify_bundle.py").read_text()
    assert len(source.splitlines()) < 500
    imports = set(re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE))
    assert imports <= sys.stdlib_module_names and not imports & {"socket", "urllib", "http", "ssl", "subprocess"}


@pytest.mark.slow
def test_every_edit_is_caught_and_nothing_else(copy: Path, rich: Bundle) -> None:
    caught, missed = attack(copy, rich.vkey, 600, seed=7)
    assert (caught, missed) == (600, [])
    assert false_alarms(copy, rich.vkey, 60) == 0


def test_the_register_is_strict(tmp_path: Path) -> None:
    for text in (
        "x = 1", "[controller]\nnam = 'x'", "[[purposes]]\nbasis = 'x'", "a", "[[purposes]]\nname = ''",
        "[[purposes]]\nname = 'a'\n[[purposes]]\nname = 'a'", "[[purposes]]\nname = 'a'\nretention_days = -1",
        f"security = ['{'x' * 2001}']",
    ):  # fmt: skip
        with pytest.raises(InputError):
            write_bundle(memory_log(), tmp_path / "b", register=write_register(tmp_path, text))
    with pytest.raises(InputError):
        write_bundle(memory_log(), tmp_path / "b", register=tmp_path / "absent.toml")


def test_recipients_are_told_by_host_with_count_and_time(tmp_path: Path) -> None:
    log = memory_log()
    for number, host in enumerate(["api.model.example", "eu.example", "api.model.example", "once.example"]):
        with log.request(f"r{number}", input="x") as request:
            request.record(Step("guard.proxy.sent", facts={"host": host, "upstream": "main"}))
            if number:
                request.record(Step("guard.proxy.media_passed", facts={"media": 1}))
            request.decide("y", outcome="answered")
    log.flush()
    found = sentences(write_bundle(log, tmp_path / "a", register=write_register(tmp_path)).path)
    twice, late = found["30-d-2.1"], found["30-d-2.3"]
    sent = [e.index for e in log.entries() if b'"guard.proxy.sent"' in e.data]
    assert twice["class"] == "E2" and twice["entries"] == [sent[0], sent[2]]
    assert "Recipient api.model.example, as upstream “main”: 2 requests were sent to it" in twice["text"]["en"]
    assert "Recipient once.example: 1 request was sent to it, in entry" in late["text"]["en"]
    assert "3 requests carry something" in found["5-1-c-5"]["text"]["en"]
    # who is not declared has no country: a log cannot know it
    assert found["28-5.1"]["class"] == "E0" and "Host eu.example" in found["28-5.1"]["text"]["en"]
    assert "28-5.3" not in found and "Host once.example" in found["28-5.2"]["text"]["en"]
    assert "declared country DE" in found["28-4.1"]["text"]["en"]
    undeclared = sentences(write_bundle(log, tmp_path / "b").path)
    assert {f"28-5.{i}" for i in (1, 2, 3)} <= set(undeclared)


def test_a_persons_decision_is_human_review(tmp_path: Path) -> None:
    from trustplane.audit.review import SqliteReviews
    from trustplane.ports import Ticket

    log = memory_log()
    reviews = SqliteReviews(tmp_path / "review.db", journal=log)
    for number in range(3):
        reviews.open(Ticket(f"rev-{number}", f"r{number}", "", "openai.chat", "hmac-sha256:aa"))
        reviews.decide(f"rev-{number}", approved=number > 0, by="ada")
    found = sentences(write_bundle(log, tmp_path / "a").path)["22-2"]
    assert found["class"] == "E2" and "3 requests carry a step of human review" in found["text"]["en"]
    assert "approved 2, rejected 1" in found["text"]["en"]


def test_expiry_is_told_from_the_receipts(tmp_path: Path) -> None:
    log = memory_log(mode="sealed", allow=("sealed",), ttl_seconds=0)
    with log.request("a", input="x") as request:
        request.decide("y")
    log.flush()
    log.append(Step("later"))
    bundle = write_bundle(log, tmp_path / "a", languages=("en",))
    assert sentences(bundle.path)["5-1-e-1"]["tone"] == "gap"
    assert log.expire() > 0
    bundle = write_bundle(log, tmp_path / "b", languages=("en",))
    assert "destruction receipts (last in entry" in sentences(bundle.path)["5-1-e-1"]["text"]["en"]


def test_a_pdf_opens(rich: Bundle) -> None:
    reader = pypdf.PdfReader(io.BytesIO((rich.path / "report.en.pdf").read_bytes()))
    assert reader.metadata.title == "GDPR audit report"
    assert len(reader.pages) > 3


def test_the_register_of_the_docs_is_complete(tmp_path: Path) -> None:
    docs = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "report.md").read_text("utf-8")
    text = re.search(r"```toml\n(.*?)```", docs, re.DOTALL)[1]
    log = some_log()
    bundle = write_bundle(log, tmp_path / "b", register=write_register(tmp_path, text))
    left = {ident for ident, s in sentences(bundle.path).items() if s["class"] == "E0"}
    assert left <= {"scope-5", "5-1-c-1", "15-1-h", "32-1-d", "32-1-d-2", "35-11"}


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import typer
    from typer.testing import CliRunner

    import trustplane
    from trustplane.cli import report, verify
    from trustplane.errors import VerificationError

    with trustplane.open(tmp_path / "plane", environ={}) as plane, plane.request(input="x", purpose="p") as request:
        request.decide("y")
    app = typer.Typer()
    report.register(app)
    verify.register(app)
    run = CliRunner().invoke
    out = str(tmp_path / "out")
    done = run(app, ["report", "gdpr", "--plane", str(tmp_path / "plane"), "--out", out, "--json"])
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    done = run(app, ["verify", out, "--key", data["key"], "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["ok"]
    (tmp_path / "out" / "report.json").write_text("{}")
    done = run(app, ["verify", out, "--key", data["key"]])
    assert isinstance(done.exception, VerificationError) and done.exception.exit_code == 5
    assert isinstance(run(app, ["verify", str(tmp_path / "absent")]).exception, InputError)
