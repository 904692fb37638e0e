"""``trustplane demo``: the main job in one story, each step with its figure, all of it checked as it goes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, emit, talk
from trustplane.errors import InputError, PurposeNotAllowed, TrustplaneError

__all__ = ["register"]

MARK = ".trustplane-demo"
SUBJECT = "李静雯"
PROMPTS = (
    "My name is Maria Schmidt, my card 4111 1111 1111 1111 was charged twice. Mail me at maria.schmidt@example.org.",
    "我叫李静雯,身份证号 11010519491231002X,手机 13800138000,请把账单发到 lijingwen@example.cn。",
)
SECRETS = (
    "Maria Schmidt", "4111 1111 1111 1111", "maria.schmidt@example.org",
    "李静雯", "11010519491231002X", "13800138000", "lijingwen@example.cn",
)  # fmt: skip

REGISTER = """# Declarations of a controller that does not exist, for the demo.
security = ["Disk encryption", "Access on a need-to-know basis"]

[controller]
name = "Example Bank (fictional) 示例银行"
address = "1 Example Street, Example City"
contact = "privacy@bank.example"

[dpo]
name = "Dr. Ada Muster"
contact = "dpo@bank.example"

[[purposes]]
name = "credit decision"
basis = "6(1)(b)"
subjects = ["applicants"]
categories = ["identity", "income"]
retention_days = 30

[[recipients]]
host = "api.model.example"
name = "Model AG (fictional)"
role = "processor"
country = "DE"
safeguard = "none needed (EU)"
contract = "DPA of 2026-01-01"
"""
"""What an operator declares; the report sets it beside what the log shows, differences included."""


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def demo(
        folder: Annotated[Path, typer.Option("--dir", help="Where the demo's plane and report go.")] = Path("demo-out"),
        json: JsonFlag = False,
    ) -> None:
        """Tell the whole story: guard, DP training, attack, decision, purpose, erasure, report, tampering."""
        emit(run(folder, talk if json else print), as_json=json, text="")


def run(folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Play all scenes in ``folder``; return their figures."""
    import os

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import trustplane

    began = time.monotonic()
    _fresh(folder)
    plane = trustplane.open(folder / "plane", content={"mode": "digest", "allow": ["sealed"]})
    figures: dict[str, Any] = {}
    with plane:
        scenes: list[tuple[str, Callable[..., dict[str, Any]]]] = [
            ("1  Prompts pass the proxy; the model never sees a name", _proxy),
            ("2  A model is trained with ε ≤ 2; the run that would pass it is refused", _train),
            ("3  PGD against a classifier, with and without a purifier", _robust),
            ("4  A loan decision, step by step", _loan),
            ("5  A dataset is asked for something its owner did not allow", _purpose),
            ("6  A person asks to be forgotten", _erase),
            ("7  The report proves its sentences; one flipped byte is named", _report),
        ]
        for title, scene in scenes:
            say(f"\n── {title} ──")
            started = time.monotonic()
            figures[scene.__name__[1:]] = scene(plane, folder, say)
            say(f"   ({time.monotonic() - started:.1f} s)")
    figures["seconds"] = round(time.monotonic() - began)
    say(f"\ndone in {figures['seconds']} s. Open {folder / 'report' / 'report.en.html'} or report.zh.html;")
    say(f"an auditor runs: python {folder / 'report' / 'verify_bundle.py'}")
    return figures


def _fresh(folder: Path) -> None:
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise InputError(f"{folder} is not empty and not a former demo", hint="choose another --dir")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def _expect(holds: bool, what: str) -> None:
    """The demo shows nothing that it did not check."""
    if not holds:
        raise TrustplaneError(f"the demo's claim does not hold: {what}", hint="please report this")


# ── 1 ───────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _serving(app: Any) -> Iterator[str]:
    """Serve an ASGI app on a free loopback port."""
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        _expect(thread.is_alive(), "a server on loopback starts")
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def _proxy(plane: Any, _folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    import httpx

    from trustplane.guard.proxy import standin

    model = standin.build_standin()
    with _serving(model) as upstream, _serving(plane.proxy_app({"openai": upstream})) as proxy:
        for streamed, prompt in ((False, PROMPTS[0]), (True, PROMPTS[1])):
            body = {"model": "stand-in", "stream": streamed, "messages": [{"role": "user", "content": prompt}]}
            reply = httpx.post(f"{proxy}/v1/chat/completions", json=body, timeout=30)
            _expect(reply.status_code == 200, "the proxy answers")
            seen = model.state.received[-1]["body"]["messages"][-1]["content"]
            text = _text_of(reply.text) if streamed else reply.json()["choices"][0]["message"]["content"]
            hidden = [s for s in SECRETS if s in prompt]
            _expect(not [s for s in hidden if s in seen], "nothing sensitive reached the stand-in")
            _expect(all(s in text for s in hidden), "the caller's reply is restored")
            say(f"   the caller asks     {prompt}")
            say(f"   the stand-in saw    {seen}")
            say(f"   the caller reads    {text[:150]}")
    say(f"   {len(SECRETS)} values in 2 prompts: 0 reached the stand-in for an LLM, all came back restored")
    return {"values": len(SECRETS), "leaked": 0}


def _text_of(stream: str) -> str:
    import json

    parts = []
    for line in stream.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            choices = json.loads(line[6:]).get("choices", [])
            parts += [choice.get("delta", {}).get("content") or "" for choice in choices]
    return "".join(parts)


# ── 2, 3 ────────────────────────────────────────────────────────────────────────────────────────────


def _train(plane: Any, _folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    from trustplane.cli.demo_train import run as train

    return train(plane.ledger, plane.record, say)


def _robust(plane: Any, _folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    from trustplane.cli.demo_robust import run as robust

    return robust(plane.record, say)


# ── 4, 5 ────────────────────────────────────────────────────────────────────────────────────────────


def _loan(plane: Any, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    import json

    text = f"{SUBJECT} 申请个人贷款 50000 元,月收入 18000 元"
    with plane.request("loan-2026-0001", input=text, purpose="credit decision", subject=SUBJECT, mode="sealed") as r:
        r.step("收入验证", {"月收入": 18000, "来源": "工资流水", "结论": "通过"})
        r.step("负债计算", {"月负债": 5400, "负债率_percent": 30})
        r.step("风险评分", {"评分": 712, "阈值": 650})
        r.step("人工复核条件", "负债率低于 50%,无需复核", outcome="not required")
        r.decide("批准贷款")
    receipt = r.receipt()
    document, evidence = plane.log.export("loan-2026-0001")
    keys = ["request_id", "input_text", "inference_steps", "output_decision"]
    _expect(list(document) == keys and evidence["complete"], "the decision is exported whole")
    (folder / "loan-2026-0001.json").write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    (folder / "loan-2026-0001.tlog-proof").write_text(receipt)
    chain = " → ".join(step["action"] for step in document["inference_steps"])
    say(f"   {chain} → {document['output_decision']}")
    say(f"   exported; the applicant's receipt proves entry {r.index} of the log, also against the operator")
    return {"steps": len(document["inference_steps"]), "entry": r.index}


def _purpose(plane: Any, _folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    import hashlib

    from trustplane import Dataset, Model

    ledger = plane.ledger
    commitment = "sha256:" + hashlib.sha256(b"patient records, a stand-in for a manifest").hexdigest()
    ledger.register_dataset(Dataset("patient-records", commitment, "City Hospital", ("diagnosis support",)))
    ledger.register_model(Model("ad-ranker", "sha256:" + hashlib.sha256(b"ad-ranker weights").hexdigest()))
    try:
        ledger.record_usage("patient-records", "ad-ranker", "advertising")
    except PurposeNotAllowed as refusal:
        say(f"   refused: {refusal.message}; {refusal.hint}")
        return {"refused": 1}
    raise TrustplaneError("the demo's claim does not hold: the purpose is refused")


# ── 6, 7 ────────────────────────────────────────────────────────────────────────────────────────────


def _erase(plane: Any, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    from trustplane.audit.log.note import Proof
    from trustplane.audit.log.residue import search

    erased = plane.log.erase(SUBJECT, ground="GDPR 17(1)(b)")
    document, evidence = plane.log.export("loan-2026-0001")
    _expect(document["input_text"] is None and evidence["content"]["input_text"] == "destroyed", "content is gone")
    plane.log.flush()
    hits = search(plane.folder, [*SECRETS, "个人贷款", "工资流水"])
    _expect(not hits, f"no residue: {hits}")
    proof = Proof.parse((folder / "loan-2026-0001.tlog-proof").read_text())
    proof.verify(plane.log.entry(proof.index).leaf, plane.log.keys.verifiers, plane.log.origin)
    (folder / "loan-2026-0001.json").unlink()
    say(f"   {erased.keys} key and {erased.fields} sealed fields destroyed in {erased.milliseconds} ms")
    say("   a byte search of every file in 8 encodings finds 0; the receipt given before still verifies")
    return {"keys": erased.keys, "fields": erased.fields, "milliseconds": erased.milliseconds, "hits": 0}


def _report(plane: Any, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    from trustplane.audit.report import write_bundle
    from trustplane.audit.report.verify_bundle import ProofError, check

    plane.log.checkpoint()
    target = folder / "report"
    (folder / "register.toml").write_text(REGISTER)
    bundle = write_bundle(plane.log, target, register=folder / "register.toml")
    vkey = plane.log.keys.history[0]
    found = check(target, [vkey])
    say(f"   {sum(bundle.sentences.values())} sentences ({_classes(bundle.sentences)})")
    say(f"   all checked offline from {found['stop'] - found['start']} disclosed entries and one public key")
    broken = folder / "report-with-one-byte-flipped"
    shutil.copytree(target, broken)
    path = broken / "entries.jsonl"
    data = bytearray(path.read_bytes())
    place = data.index(b"ledger.usage.record")
    data[place] ^= 0x02
    path.write_bytes(bytes(data))
    try:
        check(broken, [vkey])
    except ProofError as error:
        say(f"   one byte flipped in a copy, and the verifier says: {error}")
        return {"sentences": bundle.sentences, "flipped_byte_named": str(error)}
    raise TrustplaneError("the demo's claim does not hold: the flipped byte is noticed")


def _classes(sentences: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(sentences.items()))
