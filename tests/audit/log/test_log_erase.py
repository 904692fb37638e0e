"""Erasure and retention: what is destroyed is in no file, what was proved stays proved."""

import secrets
import time

import pytest
from conftest import EVERY_MODE, ORIGIN, raw_bytes, trusted_keys, verify

from trustplane.audit.log import read, seal
from trustplane.audit.log.entry import field_leaf
from trustplane.audit.log.note import Proof
from trustplane.audit.log.sqlite import SqliteStore
from trustplane.audit.log.store import Batch, ContentRow, KeyRow
from trustplane.errors import InputError, StoreError, VerificationError


def secrets_of(log, subject):
    return [k.secret for k in log.store.keys_of(log.owner_of(subject))]


@pytest.mark.parametrize("mode", ["digest", *EVERY_MODE])
def test_key_bytes_are_in_no_file_and_every_proof_still_verifies(open_log, tmp_path, mode):
    log = open_log(mode=mode, allow=EVERY_MODE, redact=str)
    for i in range(60):
        with log.request(f"r{i}", input=f"input {i}", subject=f"person {i % 6}") as request:
            request.step("work", f"result {i}")
            request.decide(f"output {i}")
    log.flush()
    proofs = [(log.entry(i).leaf, log.proof(i).text) for i in range(0, log.store.size(), 7)]
    doomed, owner = secrets_of(log, "person 3"), log.owner_of("person 3")
    assert len(doomed) == 10 and all(s in raw_bytes(tmp_path) for s in doomed)
    erasure = log.erase("person 3", ground="GDPR 17(1)(b)")
    assert (erasure.keys, erasure.fields) == (10, 0 if mode == "digest" else 30)
    raw = raw_bytes(tmp_path)  # keys.db, content.db, their write-ahead logs and shared memory, the log
    for secret in doomed:
        assert secret not in raw and secret.hex().encode() not in raw
    assert owner not in raw
    assert all(s in raw for s in secrets_of(log, "person 4"))
    for index, (leaf, text) in enumerate(proofs):
        assert Proof.parse(text).verify(leaf, trusted_keys(log), ORIGIN).size > index
    result = verify(log)
    assert result.unfinished_erasures == 0 and result.requests == 60
    receipt = log.entry(erasure.index).public
    assert receipt.action == "subject.erase" and receipt.result == "erased"
    assert receipt.facts == {
        "erasure": erasure.id,
        "ground": "GDPR 17(1)(b)",
        "keys": 10,
        "fields": 0 if mode == "digest" else 30,
    }
    document, evidence = read.export(log.store, "r3", salts=True)
    assert document["input_text"] is None and evidence["salts"] == {}
    assert log.erase("person 3").keys == 0  # once more is no error


def test_destroyed_secrets_leave_no_copy_where_pages_were_rearranged(tmp_path):
    """Many rows of many sizes come and go: no page of any file may keep a copy of a destroyed one.

    SQLite's secure_delete alone does not hold this: rows that move to a neighbour page stay behind in the gap.
    """
    import random

    rng = random.Random(11)
    store = SqliteStore(tmp_path)
    live, gone, number = [], [], 0
    for _ in range(12):
        for _ in range(6):
            keys = [
                KeyRow(
                    (number + rng.randrange(40)).to_bytes(6, "big") + secrets.token_bytes(10),
                    secrets.token_bytes(32),
                    None if rng.random() < 0.3 else secrets.token_bytes(32),
                    "r" * rng.randrange(1, 120),
                    rng.choice([None, rng.randrange(10**9)]),
                )
                for _ in range(40)
            ]
            number += 40
            live += keys
            rows = [ContentRow(k.id, 0, "input", "plain", b"c" * rng.choice([9, 90, 900, 9000])) for k in keys]
            store.append(Batch(1, b"x", b"", b"", b"", ["r"], keys, rows))
        for k in rng.sample([k for k in live if k.owner is None], 10):
            bound = k._replace(owner=secrets.token_bytes(32))
            store.bind(k.id, bound.owner)
            live[live.index(k)] = bound
        doomed = rng.sample(live, rng.choice([1, 40, 150]))
        live = [k for k in live if k not in doomed]
        store.destroy([k.id for k in doomed])
        gone += doomed
    raw = raw_bytes(tmp_path)
    for k in gone:
        assert k.secret[4:20] not in raw
        assert k.owner is None or k.owner[4:20] not in raw
    assert all(k.secret in raw for k in live)
    store.close()


def test_sealed_content_ends_at_its_time(log):
    for i, ttl in enumerate([100, 200, None]):
        with log.request(f"r{i}", input="x", mode="sealed" if ttl else "plain", ttl_seconds=ttl) as request:
            request.decide("y")
    log.flush()
    now = time.time_ns() // 1000
    assert log.expire(now) == 0
    assert log.expire(now + 150_000_000) == 1 == log.expire(now + 250_000_000)
    assert log.expire(now + 10**15) == 0
    states = [read.export(log.store, f"r{i}")[1]["content"]["input_text"] for i in range(3)]
    assert states == ["destroyed", "destroyed", "open"]
    receipts = [p.facts for e in log.entries() if (p := e.public).action == "content.expire"]
    assert [(f["keys"], f["fields"], f["until_us"]) for f in receipts] == [
        (1, 2, now + 150_000_000),
        (1, 2, now + 250_000_000),
    ]
    verify(log)


def test_content_is_not_opened_after_its_time_even_if_nobody_swept(log):
    with log.request("r0", input="x", mode="sealed", ttl_seconds=0) as request:
        request.decide("y")
    log.flush()
    document, evidence = read.export(log.store, "r0", salts=True)
    assert document["input_text"] is None and evidence["content"]["input_text"] == "expired"
    assert evidence["salts"] == {}
    assert verify(log).contents == 0


def test_an_erasure_needs_a_ground(log):
    for ground in ("", "g" * 257):
        with pytest.raises(InputError):
            log.erase("Alice", ground=ground)


def test_an_erasure_that_was_cut_off_is_named_and_can_be_finished(open_log):
    log = open_log(mode="plain", allow=EVERY_MODE)
    with log.request("r1", input="x", subject="Alice") as request:
        request.decide("y")
    log.flush()
    # the crash: content is gone, the secrets are not yet
    connection = log.store._connect("content")
    destroy = log.store.destroy

    def dies(_idents):
        connection.execute("DELETE FROM content")
        raise StoreError("the machine is gone")

    log.store.destroy = dies
    with pytest.raises(StoreError):
        log.erase("Alice")
    log.store.destroy = destroy
    assert verify(log).unfinished_erasures == 1
    log.erase("Alice")
    log.erase("Alice")
    assert read.export(log.store, "r1")[1]["content"]["input_text"] == "destroyed"


def test_a_reader_in_the_middle_of_a_transaction_cannot_keep_secrets(open_log, tmp_path):
    """Destroying waits for the reader or fails; it never says done while the old pages are in the file."""
    import sqlite3
    import threading

    log = open_log()
    with log.request("r1", input="x", subject="Alice") as request:
        request.decide("y")
    log.flush()
    (secret,) = secrets_of(log, "Alice")
    reader = sqlite3.connect(tmp_path / "plane" / "keys.db", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM keys").fetchone()
    threading.Timer(0.5, reader.close).start()
    log.erase("Alice")
    assert secret not in raw_bytes(tmp_path)


def test_a_dictionary_recovers_nothing_from_commitments(open_log, tmp_path):
    """10^5 guesses against live and erased commitments, by someone who has every file but keys.db, and after
    the erasure by someone who has all of them."""
    log = open_log()
    guesses = [f"+49 170 {i:07d}" for i in range(100_000)]
    for i, name in enumerate(["live", "erased"]):
        with log.request(name, input=guesses[777 + i], subject=name) as request:
            request.decide("y")
    log.flush()
    (secret,) = secrets_of(log, "erased")
    log.erase("erased")
    targets, salts = set(), {bytes(16)}
    for entry in log.entries():
        targets |= set(entry.commitments)
        salts.add(entry.salt)
    hits = 0
    values = [b'"' + g.encode() + b'"' for g in guesses]
    for salt in [bytes(16), b""]:
        hits += sum(field_leaf(salt, "input", v) in targets for v in values)
    for salt in salts:  # the salts of the public parts open nothing else
        hits += sum(field_leaf(salt, "input", v) in targets for v in values[700:800])
    assert hits == 0
    # the attack itself works: with the secret that was destroyed it finds the value
    entry = next(e for e in log.entries() if e.public.request == "erased")
    salt = seal.salt_of(secret, 0, "input")
    assert [g for g, v in zip(guesses, values, strict=True) if field_leaf(salt, "input", v) in entry.commitments] == [
        guesses[778]
    ]


def test_the_subject_index_dies_with_the_key(open_log, tmp_path):
    log = open_log()
    owner = log.owner_of("Alice")
    with log.request("r1", input="x", subject="Alice") as request:
        request.decide("y")
    log.flush()
    assert owner in raw_bytes(tmp_path)
    log.erase("Alice")
    assert owner not in raw_bytes(tmp_path)
    assert log.store.keys_of(owner) == []


def test_sealed_content_opens_only_in_its_place():
    secret, key = secrets.token_bytes(32), seal.new_key_id()
    sealed = seal.seal(secret, key, 3, "result", b"content")
    assert seal.unseal(secret, key, 3, "result", sealed) == b"content"
    for arguments in (
        (secrets.token_bytes(32), key, 3, "result", sealed),
        (secret, seal.new_key_id(), 3, "result", sealed),
        (secret, key, 4, "result", sealed),
        (secret, key, 3, "input", sealed),
        (secret, key, 3, "result", sealed[:-1]),
        (secret, key, 3, "result", sealed[:5]),
        (secret, key, 3, "result", bytes([sealed[0] ^ 1]) + sealed[1:]),
    ):
        with pytest.raises(VerificationError):
            seal.unseal(*arguments)
