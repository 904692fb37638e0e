"""What a stranger broke once: ordinary mistakes must not poison a log, and lost parts must not be replaced."""

import asyncio
import shutil
import threading

import pytest

import trustplane
from trustplane.audit.log.residue import search
from trustplane.audit.log.verify import verify_log
from trustplane.audit.report import write_bundle
from trustplane.audit.report.verify_bundle import check
from trustplane.errors import InputError, StoreError, VerificationError
from trustplane.step import Ref, Step


def holds(plane, tmp_path):
    plane.log.checkpoint()
    verify_log(plane.log.store, plane.log.origin, plane.log.keys.verifiers)
    write_bundle(plane.log, tmp_path / "report", languages=("en",))
    return check(tmp_path / "report", [plane.log.keys.history[0]])


def test_steps_after_the_decision(tmp_path):
    with trustplane.open(tmp_path / "p") as plane:
        with plane.request("r1", input="x") as r:
            r.decide("yes")
            for late in (lambda: r.step("notify"), lambda: r.step("notify", "sent"), lambda: r.record(Step("late"))):
                with pytest.raises(InputError, match="decided"):
                    late()
            plane.record(Step("of.the.process"))  # goes to the process's own request

        async def task():
            with plane.request("r2", input="x") as r:
                later = asyncio.create_task(record_later())
                r.decide("yes")
                await later

        async def record_later():
            await asyncio.sleep(0)
            plane.record(Step("from.a.task"))

        asyncio.run(task())
        with plane.request("r3", input="x") as r:  # a race that the check cannot see: the writer sorts it out
            plane.log.put(("decision", Step("decision"), r, 1, 1, None, None, None))
            plane.log.put(("step", Step("late"), r, 1, 1, None, None, None))
            r._decided = True
        holds(plane, tmp_path)


def test_an_id_used_again(tmp_path):
    with trustplane.open(tmp_path / "p") as plane:
        for _ in range(2):
            with plane.request("r1", input="x") as r:
                r.decide("y")
        dropped = plane.request("job-1", input="x")
        dropped.step("a")
        del dropped
        with pytest.raises(InputError, match="open already"):
            plane.request("job-1", input="x")
        holds(plane, tmp_path)


@pytest.mark.parametrize("ident", ["ledger/000000000001", "boot/abc", "succession/x", "", "a b", "é", 5, None])
def test_ids_that_are_not_the_callers(tmp_path, ident):
    with trustplane.open(tmp_path / "p") as plane:
        if ident is None:
            plane.request(ident).decide("generated")
        else:
            with pytest.raises(InputError):
                plane.request(ident, input="x")
        assert plane.ledger.datasets() == []


@pytest.mark.parametrize(
    "options",
    [
        {"purpose": "\ud800"}, {"purpose": ["credit"]}, {"purpose": 5}, {"subject": 5}, {"subject": ""},
        {"subject": "\ud800"}, {"ttl_seconds": 10**14}, {"ttl_seconds": 0.5}, {"ttl_seconds": -1}, {"mode": "loud"},
        {"ttl_seconds": True},
    ],
)  # fmt: skip
def test_arguments_are_checked_before_anything_is_written(tmp_path, options):
    with trustplane.open(tmp_path / "p", content={"allow": ["sealed"]}) as plane:
        with pytest.raises(InputError):
            plane.request("r", input="x", **({"mode": "sealed"} | options))
        with plane.request("r", input="x") as r:
            r.decide("still works")
        holds(plane, tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step(b"load"), lambda: Step("load", inputs=("sha256:00",)),
        lambda: Step("load", inputs=[Ref("a", "b")]),
        lambda: Step("load", findings=("x",)), lambda: Step("load", facts=[1]), lambda: Step("load", result=3),
    ],
)  # fmt: skip
def test_steps_are_made_of_the_right_parts(make):
    with pytest.raises(InputError):
        make()


def test_what_is_no_step_is_refused(tmp_path):
    with trustplane.open(tmp_path / "p") as plane:
        for wrong in ("text", None, {"action": "x"}):
            with pytest.raises(InputError):
                plane.record(wrong)
        holds(plane, tmp_path)


def test_a_request_left_in_another_thread_still_ends(tmp_path):
    with trustplane.open(tmp_path / "p") as plane:

        def steps():
            with plane.request("r1", input="x"):
                yield

        generator = steps()
        next(generator)
        thread = threading.Thread(target=generator.close)
        thread.start()
        thread.join()
        assert plane.log.export("r1")[1]["complete"]
        holds(plane, tmp_path)


@pytest.mark.parametrize("lost", ["signing", "log.db", "keys.db"])
def test_a_lost_part_is_not_replaced(tmp_path, lost):
    with trustplane.open(tmp_path / "p") as plane, plane.request(input="x") as r:
        r.decide("y")
    for path in (tmp_path / "p").glob(f"{lost}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for _ in range(2):  # nor does the first refusal make the second try succeed
        with pytest.raises(StoreError) as refused:
            trustplane.open(tmp_path / "p")
        assert "restore" in refused.value.hint


def test_a_changed_entry_is_never_shown(tmp_path):
    import sqlite3

    with trustplane.open(tmp_path / "p") as plane, plane.request("r1", input="x") as r:
        r.step("收入验证")
        r.decide("y")
    with sqlite3.connect(tmp_path / "p/log.db") as db:
        rows = db.execute("SELECT first, publics FROM batches").fetchall()
        for first, publics in rows:
            changed = publics.replace("收入验证".encode(), "伪造步骤".encode())
            db.execute("UPDATE batches SET publics = ? WHERE first = ?", (changed, first))
    with trustplane.open(tmp_path / "p") as plane:
        with pytest.raises(VerificationError):
            plane.log.export("r1")
        with pytest.raises(VerificationError):
            list(plane.log.entries())


def test_spellings_of_one_subject_and_what_their_rows_say_afterwards(tmp_path):
    with trustplane.open(tmp_path / "p") as plane:
        with plane.request("visible-request-id", input="x", subject="Ｍａｒｉａ   Schmidt") as r:
            r.decide("y")
        assert plane.log.erase("Maria Schmidt").keys == 1
        plane.log.flush()
        assert not [hit for hit in search(tmp_path / "p", ["visible-request-id"]) if hit[0].startswith("keys.db")]


def test_a_page_that_hides_its_sentences_is_refused(tmp_path):
    from trustplane.audit.report.verify_bundle import ProofError, page

    with trustplane.open(tmp_path / "p") as plane:
        holds(plane, tmp_path)
        import json

        text = (tmp_path / "report/report.en.html").read_text()
        given = json.loads((tmp_path / "report/report.json").read_text())["sentences"]
        page(text, given, "en", "report.en.html")
        hidden = text.replace("<main", "<title><main", 1).replace("</main>", "</main></title>", 1)
        moved = text.replace("<title>GDPR audit report</title>", "", 1).replace("<main", "<title><main", 1)
        for bad in (hidden, moved.replace("</main>", "</main></title>", 1)):
            with pytest.raises(ProofError):
                page(bad, given, "en", "report.en.html")
