"""A second verifier, written from the format document, must agree with ours on good logs and on damaged ones."""

import random
import sqlite3

import independent_verifier
import pytest
from conftest import EVERY_MODE, ORIGIN, verify
from test_log_mutation import Copy, damage, flipped, original  # noqa: F401 - fixtures

from trustplane.audit.log.keys import Keys
from trustplane.audit.log.note import Verifier
from trustplane.audit.log.sqlite import SqliteStore
from trustplane.audit.log.verify import verify_log
from trustplane.errors import VerificationError
from trustplane.step import Finding, Ref, Step


def test_it_agrees_on_a_real_log(open_log, tmp_path):
    log = open_log(allow=EVERY_MODE, redact=str.upper)
    policy = Ref("sha256:" + "0" * 64, "policy", "house rules", "1.0")
    for i in range(700):
        mode = ("digest", *EVERY_MODE)[i % 4]
        with log.request(input={"n": i, "\U0001f600": "中", "\ufb01": "\x7f\n"}, subject=f"p{i % 5}", mode=mode) as r:
            r.record(
                Step(
                    "収入验证",
                    'odd "result" \\ \u2028',
                    inputs=(policy,),
                    agents=(policy, Ref("x", "y")),
                    findings=(Finding("r", 0.5, 0, 9, "input"), Finding("q", 0)),
                    facts={"a": -1, "b": None, "c": [1, "x", True], "d": False},
                )
            )
            r.decide("yes")
        if i == 300:
            log.rotate()
    log.erase("p2")
    log.checkpoint()
    ours = verify(log)
    for keys in (log.keys.history[:2], log.keys.history[:1], log.keys.history):
        theirs = independent_verifier.verify(tmp_path / "plane", ORIGIN, keys)
        assert theirs == {
            "size": ours.size,
            "requests": ours.requests,
            "contents": ours.contents,
            "signed": ours.signed,
        }
    with pytest.raises(independent_verifier.Wrong):
        independent_verifier.verify(tmp_path / "plane", ORIGIN, log.keys.history[-2:])
    with pytest.raises(independent_verifier.Wrong):
        independent_verifier.verify(tmp_path / "plane", "log.example/other", log.keys.history)


CELLS = [
    *[("log", "batches", c) for c in ("publics", "salts", "commitments", "leaves", "first", "count")],
    ("log", "tiles", "hashes"),
    ("log", "head", "size"),
    ("log", "head", "root"),
    ("log", "checkpoints", "note"),
    ("log", "checkpoints", "size"),
    ("content", "content", "value"),
    ("content", "content", "mode"),
    ("keys", "keys", "secret"),
]


@pytest.mark.parametrize("cell", CELLS, ids=["-".join(c) for c in CELLS])
def test_both_verifiers_say_the_same_about_a_damaged_log(damage, cell):  # noqa: F811
    database, table, column = cell
    rng = random.Random(column + table)
    for _ in range(4):
        copy = damage()
        key = "rowid" if table in ("batches", "head", "checkpoints", "keys") else None
        values = copy.run(
            database, f"SELECT DISTINCT {key or column}, {column} FROM {table} WHERE length({column}) > 1"
        )
        place, value = rng.choice(values)
        try:
            copy.run(
                database,
                f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {key or column} = ?",
                (flipped(value, rng), place),
            )
        except sqlite3.IntegrityError:
            continue
        keys = Keys.open(copy.folder / "signing", ORIGIN)
        store = SqliteStore(copy.folder)
        try:
            verify_log(store, ORIGIN, [Verifier.parse(v) for v in keys.history])
            ours = "fine"
        except VerificationError as error:
            ours = error.cause
        store.close()
        try:
            independent_verifier.verify(copy.folder, ORIGIN, keys.history)
            theirs = "fine"
        except independent_verifier.Wrong as error:
            theirs = error.cause
        assert (ours == "fine") == (theirs == "fine"), (ours, theirs)
