"""Requests: what is exported, what each content mode keeps, and what is refused with nothing recorded."""

import asyncio
import json
import math
import os
import threading
import time

import pytest
from conftest import EVERY_MODE, ORIGIN, raw_bytes, residue, trusted_keys, verify

from trustplane import canon
from trustplane.audit.log import read
from trustplane.audit.log.entry import open_field
from trustplane.audit.log.note import Proof
from trustplane.audit.log.request import current
from trustplane.errors import InputError
from trustplane.step import Finding, Ref, Step

CREDIT = {"name": "Alice Weber", "income": 52_000, "city": "杭州"}


def fill(log, ident="r1", **options):
    with log.request(ident, input=CREDIT, purpose="credit", subject="Alice Weber", **options) as request:
        request.step("收入验证", {"verified": True, "by": "Alice's bank"}, latency_us=1200)
        request.record(Step("guard.text.mask", "masked", findings=(Finding("person", 0.987, 3, 8, "input"),)))
        request.decide("approved for Alice", score_milli=870)
    log.flush()
    return request


def public_of(log, index):
    return log.entry(index).public


@pytest.mark.parametrize("mode", ["digest", *EVERY_MODE])
def test_the_exported_json_has_exactly_four_keys(log, mode):
    fill(log, mode=mode)
    document, evidence = read.export(log.store, "r1")
    assert list(document) == ["request_id", "input_text", "inference_steps", "output_decision"]
    assert document["request_id"] == "r1"
    assert [list(s) for s in document["inference_steps"]] == [["step", "action", "result"]] * 2
    assert [(s["step"], s["action"]) for s in document["inference_steps"]] == [(1, "收入验证"), (2, "guard.text.mask")]
    assert document["inference_steps"][1]["result"] == "masked"
    assert evidence["complete"] and evidence["mode"] == mode and evidence["purpose"] == "credit"
    assert json.loads(json.dumps(document, ensure_ascii=False)) == document
    kept = {
        "digest": (None, None, None),
        "redacted": (
            {"name": "<PERSON> Weber", "income": 52_000, "city": "杭州"},
            {"verified": True, "by": "<PERSON>'s bank"},
            "approved for <PERSON>",
        ),
        "sealed": (CREDIT, {"verified": True, "by": "Alice's bank"}, "approved for Alice"),
        "plain": (CREDIT, {"verified": True, "by": "Alice's bank"}, "approved for Alice"),
    }[mode]
    assert (document["input_text"], document["inference_steps"][0]["result"], document["output_decision"]) == kept
    state = {"digest": "digest", "redacted": "redacted", "sealed": "open", "plain": "open"}[mode]
    assert evidence["content"] == {
        "input_text": state,
        "inference_steps[0].result": state,
        "inference_steps[1].result": "public",
        "output_decision": state,
    }
    assert verify(log).requests == 1


def test_salts_open_the_commitments_for_whoever_knows_the_content(log):
    fill(log)
    document, evidence = read.export(log.store, "r1", salts=True)
    assert document["input_text"] is None  # digest mode keeps no content, but what was said can be proved
    entry = log.entry(evidence["entries"][0])
    names = [c.name for c in entry.public.contents]
    commitment = entry.commitments[names.index("input")]
    salt = bytes.fromhex(evidence["salts"]["input_text"])
    open_field("input", CREDIT, salt, commitment)
    for wrong in (CREDIT | {"income": 52_001}, {}, None):
        with pytest.raises(Exception, match="not what was logged"):
            open_field("input", wrong, salt, commitment)


def test_the_subject_is_committed_to_and_never_kept(log):
    fill(log, mode="plain")
    entry = next(e for e in log.entries() if e.public.request == "r1")
    contents = {c.name: c for c in entry.public.contents}
    assert contents["subject"].mode == "digest" and contents["input"].mode == "plain"
    assert log.store.content(bytes.fromhex(contents["subject"].key), 0, "subject") is None


def test_a_change_of_mode_is_an_entry(open_log, tmp_path):
    log = open_log(allow=EVERY_MODE, redact=str)
    with log.request("r1", input="x", mode="plain"):
        pass
    log.close()
    log = open_log(mode="sealed", allow=EVERY_MODE, ttl_seconds=77)
    log.close()
    log = open_log(mode="sealed", allow=EVERY_MODE, ttl_seconds=77)
    found = [(p.result, p.facts) for e in log.entries() if (p := e.public).action == "content.mode" and p.kind == "log"]
    assert found == [
        ("digest", {"before": "none", "scope": "log", "ttl_seconds": 30 * 86_400}),
        ("plain", {"before": "digest", "scope": "request", "request": "r1"}),
        ("sealed", {"before": "digest", "scope": "log", "ttl_seconds": 77}),
    ]


def test_a_mode_that_is_not_allowed_is_refused(open_log):
    log = open_log()
    before = log.store.size()
    for mode in (*EVERY_MODE, "everything"):
        with pytest.raises(InputError):
            log.request("r1", input="secret", mode=mode)
    log.flush()
    assert log.store.size() == before
    with pytest.raises(InputError):
        open_log(mode="plain")
    with pytest.raises(InputError):  # redacted needs somebody who redacts
        open_log(mode="redacted", allow=["redacted"])


def test_a_request_inside_another_names_its_parent(log):
    with log.request("outer") as outer:
        with log.request("inner") as inner:
            assert current() is inner
            log.record(Step("deep"))
        assert current() is outer
        log.record(Step("shallow"))
    assert current() is None
    log.record(Step("outside"))
    log.flush()
    found = {p.action: (p.request, p.parent) for e in log.entries() if (p := e.public).kind == "step"}
    assert found["deep"] == ("inner", "outer") and found["shallow"] == ("outer", "")
    assert found["outside"][0] == f"boot/{log.boot}"
    verify(log)


def test_threads_and_tasks_keep_their_own_request(log):
    def work(name):
        with log.request(name, input=name):
            for i in range(20):
                assert current().id == name
                log.record(Step(f"step.{name}", facts={"i": i}))
                time.sleep(0.0002)
        assert current() is None

    async def task(name):
        with log.request(name, input=name):
            for i in range(20):
                await asyncio.sleep(0)
                assert current().id == name
                log.record(Step(f"step.{name}", facts={"i": i}))

    async def tasks():
        await asyncio.gather(*(task(f"task-{i}") for i in range(10)))

    threads = [threading.Thread(target=work, args=(f"thread-{i}",)) for i in range(6)]
    for t in threads:
        t.start()
    asyncio.run(tasks())
    for t in threads:
        t.join()
    assert verify(log).requests == 16
    for name in [f"task-{i}" for i in range(10)] + [f"thread-{i}" for i in range(6)]:
        document, evidence = read.export(log.store, name)
        assert evidence["complete"] and len(document["inference_steps"]) == 20
        assert {s["action"] for s in document["inference_steps"]} == {f"step.{name}"}


def test_an_exception_leaves_failed_and_no_message(open_log, tmp_path):
    log = open_log()
    with pytest.raises(ValueError, match="kanarienvogel"), log.request("r1", input="x"):
        raise ValueError("kanarienvogel")
    with log.request("r2"):
        pass
    log.flush()
    decided = {p.request: p for e in log.entries() if (p := e.public).kind == "decision"}
    assert (decided["r1"].result, decided["r1"].facts) == ("failed", {"error": "ValueError", "steps": 0})
    assert decided["r2"].result == "undecided"
    log.close()
    assert residue(tmp_path, ["kanarienvogel"]) == []


def test_a_request_is_decided_once(log):
    with log.request("r1") as request:
        with pytest.raises(InputError):
            request.receipt()
        with pytest.raises(InputError):
            _ = request.index
        request.decide("yes")
        with pytest.raises(InputError):
            request.decide("no")
    assert public_of(log, request.index).kind == "decision"
    assert verify(log).requests == 1


BAD_CONTENT = [
    math.nan,
    1.5,
    {"a": math.inf},
    "\ud800",
    {"\udfff": 1},
    2**53,
    [-(2**53)],
    {1: "x"},
    {"a": b"x"},
    object(),
]


@pytest.mark.parametrize("value", BAD_CONTENT, ids=[str(i) for i in range(len(BAD_CONTENT))])
def test_content_without_canonical_form_is_refused_and_nothing_recorded(log, value):
    with log.request("r1", input="fine") as request:
        log.flush()
        before = log.store.size()
        for attempt in (
            lambda: request.step("a", value),
            lambda: request.decide(value),
            lambda: log.request("r2", input=value),
        ):
            with pytest.raises(InputError):
                attempt()
        log.flush()
        assert log.store.size() == before
        request.step("a", "fine")
        request.decide("fine")
    verify(log)


BAD_STEPS = [
    lambda: Step("\ud800"),
    lambda: Step("a", "\udfff"),
    lambda: Step("a", facts={"x": "\ud800"}),
    lambda: Step("a", facts={"x": ["ok", "\ud800"]}),
    lambda: Step("a", inputs=(Ref("sha256:\ud800", "text"),)),
    lambda: Step("a", agents=(Ref("sha256:00", "model", "\ud800"),)),
    lambda: Step("a", findings=(Finding("r", math.nan),)),
    lambda: Step("a", findings=(Finding("r", math.inf),)),
    lambda: Step("a", findings=(Finding("\ud800", 0.5),)),
    lambda: Step("a", findings=(Finding("r", 0.5, 0, 2**70),)),
]


@pytest.mark.parametrize("number", range(len(BAD_STEPS)))
def test_a_step_that_cannot_be_encoded_is_refused_and_harms_nobody(log, number):
    """One bad step must neither stop the log nor take its neighbours along."""
    log.record(Step("before"))
    with pytest.raises(InputError):
        log.record(BAD_STEPS[number]())
    log.record(Step("after"))
    log.writer.flush(5)
    actions = [e.public.action for e in log.entries()]
    assert actions[-2:] == ["before", "after"]
    verify(log)


def test_facts_that_change_after_recording_do_not_change_the_log(log):
    facts = {"count": 1}
    step = Step("a", facts=facts)
    log.record(step)
    facts["count"] = math.nan
    facts["more"] = "\ud800"
    log.record(Step("after"))
    log.writer.flush(5)
    found = {e.public.action: e.public.facts for e in log.entries()}
    assert found["a"] == {"count": 1} and "after" in found


def test_bad_facts_and_ids_are_refused(log):
    with log.request("r1") as request:
        for facts in ({"x": 1.5}, {"x": "y" * 257}, {"x": 2**53}, {"X": 1}, {"x": {"y": 1}}):
            with pytest.raises(InputError):
                request.step("a", "content", **facts)
        request.decide("yes")
    for ident in ("", "-a", "a b", "ä", "a" * 129, "a\n"):
        with pytest.raises(InputError):
            log.request(ident)
    with pytest.raises(InputError):
        log.request("r2", purpose="p" * 257)
    log.flush()
    document, evidence = read.export(log.store, "r1")
    assert evidence["complete"] and document["inference_steps"] == []


@pytest.mark.parametrize(
    "value", ["", "中文：收入验证 😀", {}, [], 0, False, "x" * 1_000_000, {"k": ["v" * 500_000] * 2}]
)
def test_every_kind_of_input_comes_back(log, value):
    with log.request("r1", input=value, mode="sealed") as request:
        request.step("a", value)
        request.decide(value)
    log.flush()
    document, _ = read.export(log.store, "r1")
    assert document["input_text"] == value == document["output_decision"]
    assert type(document["input_text"]) is type(value)
    assert verify(log).contents == 3


def test_a_receipt_proves_the_decision_to_an_outsider(log):
    for i in range(300):
        with log.request(f"r{i}", input="x") as request:
            request.decide("yes")
    receipt = request.receipt(post_quantum=True)
    proof = Proof.parse(receipt)
    assert proof.index == request.index and proof.text == receipt
    entry = log.entry(proof.index)
    proof.verify(entry.leaf, trusted_keys(log), ORIGIN)
    with pytest.raises(Exception, match="another root"):
        proof.verify(log.entry(proof.index - 1).leaf, trusted_keys(log), ORIGIN)


def test_a_subject_can_be_bound_later(log):
    with log.request("r1", input="call me later", mode="sealed") as request:
        request.bind("Bob")
        with pytest.raises(InputError):
            request.bind("Carol")
        request.step("a", "about Bob")
        request.decide("yes")
    log.flush()
    assert log.erase("Bob").keys == 1
    document, evidence = read.export(log.store, "r1")
    assert set(evidence["content"].values()) == {"destroyed", "public"}  # the binding itself
    assert document["input_text"] is None
    verify(log)


def test_binding_reaches_the_content_that_waits_in_the_queue(log):
    """Between bind() and the commit nothing may stay without its owner."""
    for i in range(30):
        with log.request(f"r{i}", input="x", mode="plain") as request:
            request.bind("Bob")
            request.decide("yes")
    log.flush()
    assert log.erase("Bob").keys == 30


def test_two_subjects_in_one_record(log):
    with log.request("r1", input="Alice sues Bob", subject="Alice", mode="sealed") as request:
        request.step("assess", "about Alice")
        request.step("assess", "about Bob", subject="Bob")
        request.decide("both heard")
    log.flush()
    assert log.erase("Alice").keys == 1
    document, evidence = read.export(log.store, "r1")
    assert [s["result"] for s in document["inference_steps"]] == [None, "about Bob"]
    assert evidence["content"]["input_text"] == "destroyed"
    assert verify(log).contents == 1
    log.erase("Bob")
    assert verify(log).contents == 0


def test_subjects_are_the_same_person_in_any_unicode_form(log):
    with log.request("r1", input="x", subject="  Zoe\u0308 ") as request:
        request.decide("yes")
    assert log.erase("Zo\u00eb").keys == 1
    with pytest.raises(InputError):
        log.request("r2", subject="   ", input="x")


def test_an_id_used_again_after_a_crash_or_a_decision_raises_no_alarm(open_log, tmp_path):
    log = open_log()
    log.request("job-17", input="first")  # never decided, as if the process had died here
    log.close()
    log = open_log()
    for text in ("second", "third"):
        with log.request("job-17", input=text) as request:
            request.step("work", text)
            request.decide(text)
    assert verify(log).requests == 2
    document, evidence = read.export(log.store, "job-17")
    assert evidence["complete"] and evidence["runs"] == 3 and len(document["inference_steps"]) == 1
    assert evidence["entries"] == [request.index - 2, request.index - 1, request.index]


def test_an_id_cannot_be_open_twice_at_once(log):
    with log.request("r1"), pytest.raises(InputError):
        log.request("r1")
    with log.request("r1"):
        pass
    assert verify(log).requests == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_in_the_middle_of_a_request(open_log):
    log = open_log(checkpoint_seconds=0.01)
    children = []
    with log.request("r1", input="x") as request:
        for n in range(12):
            for _ in range(200):
                log.record(Step("parent"))
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    log.record(Step("child", facts={"n": n}))
                    with log.request(f"child-{n}", input="y") as own:
                        own.decide("yes")
                    log.flush()
                    own.receipt()
                    code = 0
                finally:
                    os._exit(code)
            children.append(pid)
        request.decide("done")
    log.flush()
    for pid in children:
        for _ in range(2000):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.01)
        else:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            pytest.fail("a forked child hangs")
        assert status == 0
    result = verify(log)
    assert result.requests == 13
    actions = [e.public for e in log.entries()]
    assert sum(p.action == "parent" for p in actions) == 2400
    assert sorted(p.facts["n"] for p in actions if p.action == "child") == list(range(12))
    assert {p.parent for p in actions if p.action == "child"} == {"r1"}


def test_nothing_of_content_can_be_found_in_any_file_by_default(open_log, tmp_path):
    log = open_log()
    canaries = [f"kanari-{i:02d}-größe-中文" for i in range(20)]
    for i in range(1000):
        canary = canaries[i % 20]
        with log.request(input={"prompt": canary, canary: 1}, purpose="test", subject=canary) as request:
            request.step("work", [canary])
            request.decide(canary)
    log.flush()
    log.checkpoint()
    assert residue(tmp_path, canaries) == []  # while it runs, write-ahead logs and all
    log.erase(canaries[0])
    log.close()
    assert residue(tmp_path, canaries) == []
    assert len(raw_bytes(tmp_path)) > 500_000


def test_kept_content_is_ciphertext_on_disk_whatever_the_mode(open_log, tmp_path):
    log = open_log(allow=EVERY_MODE, redact=lambda t: t.replace("Alice", "<PERSON>"))
    canary = "kanarienvogel im bergwerk"
    for mode in EVERY_MODE:
        with log.request(input=canary, mode=mode) as request:
            request.decide(canary)
    log.flush()
    assert residue(tmp_path, [canary]) == []
    assert verify(log).contents == 4


def test_reprs_and_errors_hold_no_content(log):
    canary = "kanarienvogel"
    request = log.request("r1", input=canary, subject=canary, mode="sealed")
    assert canary not in repr(request) + repr(log) + repr(log.keys)
    for attempt in (
        lambda: request.step("a", {canary: 1.5}),
        lambda: request.step("a", [canary, "\ud800"]),
        lambda: request.step("a", "x", **{canary.title(): 1}),
        lambda: request.step("a", "x", fact=canary * 50),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        assert canary not in str(caught.value).lower()


def test_public_parts_are_canonical_json_of_the_documented_fields(log):
    fill(log)
    for entry in log.entries():
        value = canon.loads(entry.data)
        assert canon.dumps(value) == entry.data
