"""Rotation, witnesses, and what only an outsider can notice: forks and rollbacks."""

import base64
import shutil
import time

import pytest
from conftest import ORIGIN, trusted_keys, verify

from trustplane.audit.log.keys import Keys
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.note import COSIGN, MLDSA, Checkpoint, Key, Proof, Verifier, parse_note, verify_note
from trustplane.audit.log.rotate import succession_body, successors
from trustplane.audit.log.verify import verify_against, verify_log
from trustplane.audit.log.witness import Witness
from trustplane.errors import InputError, StoreError, VerificationError
from trustplane.step import Step


def fill(log, count=10):
    for i in range(count):
        log.record(Step("work", facts={"i": i}))
    log.flush()


def refused(cause, call, *arguments, **options):
    with pytest.raises(VerificationError) as caught:
        call(*arguments, **options)
    assert caught.value.cause == cause, caught.value.cause


# ── rotation ────────────────────────────────────────────────────────────────────────────────────────


def test_old_proofs_verify_after_a_rotation_and_both_histories_count(open_log):
    log = open_log()
    fill(log)
    first_key = log.keys.verifiers
    proofs = [(log.entry(i).leaf, log.proof(i)) for i in range(5)]
    vkey = log.rotate()
    assert vkey == log.keys.verifiers[0].vkey != first_key[0].vkey
    fill(log)
    log.rotate()
    fill(log)
    log.checkpoint()
    for leaf, proof in proofs:
        proof.verify(leaf, first_key, ORIGIN)
        proof.verify(leaf, trusted_keys(log), ORIGIN)
    fresh = log.proof(log.store.size() - 1)
    refused("unsigned", fresh.verify, log.entry(fresh.index).leaf, first_key, ORIGIN)
    for trusted in (first_key, trusted_keys(log)):  # from the first key alone, or from all of them
        result = verify_log(log.store, ORIGIN, trusted)
        assert result.size == result.signed and set(result.keys) >= {v.vkey for v in log.keys.verifiers}
    refused("unsigned", verify_log, log.store, ORIGIN, log.keys.verifiers[:1])  # the newest alone


def test_rotating_while_the_writer_wants_to_sign_does_not_hang(open_log):
    log = open_log(checkpoint_seconds=0.01)
    for _ in range(15):
        fill(log, 3)
        time.sleep(0.02)  # the next commit is due for a checkpoint
        started = time.monotonic()
        log.rotate()
        assert time.monotonic() - started < 5
    verify(log)


def test_the_old_key_counts_no_more(open_log):
    log = open_log()
    fill(log)
    old = log.keys.signing[0]
    log.rotate()
    fill(log)
    checkpoint, _ = log.checkpoint()
    forged = checkpoint.body + "\n" + old.sign(checkpoint.body) + "\n"
    log.store.save_head(log.store.head(), {}, (forged, 0))
    for trusted in (trusted_keys(log), [old.verifier]):
        refused("unsigned", verify_log, log.store, ORIGIN, trusted)


def test_a_forged_succession_is_refused(open_log):
    log = open_log()
    fill(log)
    old, thief = log.keys.signing[0], Key.generate(ORIGIN)
    body = succession_body(ORIGIN, [old.vkey], [thief.vkey])

    def facts(note):
        text = base64.b64encode(note.encode()).decode()
        return {"note": [text[i : i + 240] for i in range(0, len(text), 240)]}

    other = succession_body("log.example/other", [old.vkey], [thief.vkey])
    good = body + "\n" + old.sign(body) + "\n" + thief.sign(body) + "\n"
    assert successors(facts(good), [old.verifier], ORIGIN, 7) == [thief.verifier]
    for note in (
        body + "\n" + thief.sign(body) + "\n",  # only the new key
        body + "\n" + old.sign(body) + "\n",  # only the old key
        good.replace("succession/1", "succession/2"),
        other + "\n" + old.sign(other) + "\n" + thief.sign(other) + "\n",  # of another log
        "",
        "x",
    ):
        with pytest.raises(VerificationError) as caught:
            successors(facts(note), [old.verifier], ORIGIN, 7)
        assert (caught.value.cause, caught.value.index) == ("succession", 7)
    stranger = Key.generate(ORIGIN)
    body = succession_body(ORIGIN, [stranger.vkey], [thief.vkey])
    note = body + "\n" + stranger.sign(body) + "\n" + thief.sign(body) + "\n"
    refused("succession", successors, facts(note), [old.verifier], ORIGIN, 7)
    for bad in ({}, {"note": 1}, {"note": [1]}, {"note": ["!"]}):
        refused("succession", successors, bad, [old.verifier], ORIGIN, 7)
    log.append(Step("key.succession", "rotated", facts=facts(body + "\n" + thief.sign(body) + "\n")))
    refused("succession", verify, log)


def test_nobody_but_the_log_can_write_a_succession(open_log):
    """A caller's step of the same name changes no keys."""
    log = open_log()
    fill(log)
    log.record(Step("key.succession", "rotated", facts={"note": ["AAAA"]}))
    log.checkpoint()
    assert verify(log).keys == [v.vkey for v in log.keys.verifiers]


def test_another_process_takes_over_a_rotation(tmp_path):
    one = AuditLog.open(tmp_path, origin=ORIGIN)
    two = AuditLog.open(tmp_path, origin=ORIGIN)
    fill(one)
    fill(two)
    one.rotate()
    fill(two)
    _, text = two.checkpoint()
    verify_note(text, one.keys.verifiers)
    verify(two)
    one.close()
    two.close()


def test_signing_keys_are_private_and_bound_to_one_origin(tmp_path):
    keys = Keys.open(tmp_path / "signing", ORIGIN)
    assert (tmp_path / "signing" / "keys.json").stat().st_mode & 0o077 == 0
    assert Keys.open(tmp_path / "signing", ORIGIN).history == keys.history
    with pytest.raises(InputError):
        Keys.open(tmp_path / "signing", "log.example/other")
    (tmp_path / "signing" / "keys.json").write_text("{")
    with pytest.raises(StoreError):
        Keys.open(tmp_path / "signing", ORIGIN)


# ── notes ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [1, COSIGN, MLDSA])
def test_signatures_of_every_type_hold_and_break(kind):
    key = Key.generate(ORIGIN, kind)
    body = Checkpoint(ORIGIN, 7, b"r" * 32).body
    text = body + "\n" + key.sign(body, now=1_700_000_000) + "\n"
    _, signed = verify_note(text, [Verifier.parse(key.vkey)])
    assert signed == {key.vkey: 0 if kind == 1 else 1_700_000_000}
    assert Key.parse(key.text).vkey == key.vkey and key.text not in repr(key)
    refused("signature", verify_note, text.replace("\n7\n", "\n8\n"), [key.verifier])
    refused("unsigned", verify_note, text, [Key.generate(ORIGIN, kind).verifier])
    _, ((name, ident, raw),) = parse_note(text)
    for at in {0, 7, 8, len(raw) - 1}:
        bad = bytearray(raw)
        bad[at % len(raw)] ^= 1
        line = f"— {name} {base64.b64encode(ident + bytes(bad)).decode()}\n"
        refused("signature", verify_note, body + "\n" + line, [key.verifier])


def test_malformed_notes_checkpoints_and_proofs_are_refused():
    key = Key.generate(ORIGIN)
    body = Checkpoint(ORIGIN, 7, b"r" * 32).body
    good = body + "\n" + key.sign(body) + "\n"
    for text in (
        "",
        "x",
        body,
        good[:-1],
        good.replace("— ", "- "),
        good + "x\n",
        "a\x00" + good,
        good.replace("=", ""),
    ):
        with pytest.raises(VerificationError):
            verify_note(text, [key.verifier])
    root = base64.b64encode(b"r" * 32).decode()
    for bad in ("a\n07\n" + root + "\n", "a\n-1\n" + root + "\n", "a\n7\n" + root[:-1] + "\n", "a\n7\nAAAA\n",
                "\n7\n" + root + "\n", "a\n7\n" + root + "\next\n", "a\n٧\n" + root + "\n"):  # fmt: skip
        refused("checkpoint-form", Checkpoint.parse_body, bad)
    refused("origin", Checkpoint.verify, good, [key.verifier], "log.example/other")
    proof = Proof(3, (b"h" * 32,), good, b"extra").text
    assert Proof.parse(proof).text == proof
    for bad in (proof.replace("@v1", "@v2"), proof.replace("index 3", "index 03"), proof.replace("index 3", "index"),
                proof.replace("index 3", "index 99999999999999999999"), good, "",
                proof.replace("extra ", "extra !")):  # fmt: skip
        refused("proof-form", Proof.parse, bad)


# ── outsiders ───────────────────────────────────────────────────────────────────────────────────────


def test_a_restored_older_copy_is_noticed(tmp_path, open_log):
    log = open_log()
    fill(log)
    log.close()
    shutil.copytree(tmp_path / "plane", tmp_path / "backup")
    log = open_log()
    trusted = trusted_keys(log)
    with log.request("r1", input="x") as request:
        request.decide("yes")
    receipt = request.receipt()
    _, checkpoint = log.checkpoint()
    for kept in (receipt, checkpoint):
        verify_against(log.store, ORIGIN, trusted, kept)
    log.close()
    back = open_log(tmp_path / "backup")
    verify(back)  # in itself it is whole
    for kept in (receipt, checkpoint):
        refused("rolled-back", verify_against, back.store, ORIGIN, trusted, kept)
    fill(back, 50)
    verify(back)
    for kept in (receipt, checkpoint):  # grown past the receipt, but another history
        refused("forked", verify_against, back.store, ORIGIN, trusted, kept)
    refused("unsigned", verify_against, back.store, ORIGIN, [Key.generate(ORIGIN).verifier], receipt)


def test_a_witness_cosigns_what_extends_and_nothing_else(tmp_path, open_log):
    log = open_log()
    fill(log)
    trusted = log.keys.verifiers
    witness = Witness(tmp_path / "witness", "witness.example/w1")
    first, text = log.checkpoint()
    cosigned = witness.cosign(text, trusted, ORIGIN, [], now=1_700_000_000)
    _, signed = verify_note(cosigned, [*trusted, witness.key.verifier])
    assert signed[witness.key.vkey] == 1_700_000_000
    fill(log)
    second, text2 = log.checkpoint()
    proof = log.consistency(first.size, second.size)
    witness = Witness(tmp_path / "witness")  # it remembers
    refused("forked", witness.cosign, text2, trusted, ORIGIN, proof[:-1])
    witness.cosign(text2, trusted, ORIGIN, proof)
    witness.cosign(text2, trusted, ORIGIN, [])  # the same again
    refused("rolled-back", witness.cosign, text, trusted, ORIGIN, [])
    # a fork, signed by the log's own key
    forged = Checkpoint(ORIGIN, second.size, b"f" * 32)
    note = forged.body + "\n" + log.keys.sign(forged.body)
    refused("forked", witness.cosign, note, trusted, ORIGIN, [])
    forged = Checkpoint(ORIGIN, second.size + 5, b"f" * 32)
    note = forged.body + "\n" + log.keys.sign(forged.body)
    refused("forked", witness.cosign, note, trusted, ORIGIN, proof)
    refused("unsigned", witness.cosign, text2, [Key.generate(ORIGIN).verifier], ORIGIN, [])
    assert witness.seen()[ORIGIN][0] == second.size
    (tmp_path / "witness" / "seen.json").write_text("[")
    with pytest.raises(StoreError):
        witness.cosign(text2, trusted, ORIGIN, [])
    with pytest.raises(InputError):
        Witness(tmp_path / "nameless")


def test_receipts_and_checkpoints_follow_the_succession(open_log):
    """Whoever was told the first key only can still check what was signed before and after a rotation."""
    log = open_log()
    first = [log.keys.signing[0].verifier]
    with log.request("r1", input="x") as request:
        request.decide("yes")
    before, (_, early) = request.receipt(), log.checkpoint()
    old = log.keys.signing[0]
    log.rotate()
    with log.request("r2", input="y") as request:
        request.decide("no")
    after, (checkpoint, late) = request.receipt(), log.checkpoint()
    for kept in (before, early, after, late):
        verify_against(log.store, ORIGIN, first, kept)
    forged = checkpoint.body + "\n" + old.sign(checkpoint.body) + "\n"  # the old key signs no more after it
    refused("unsigned", verify_against, log.store, ORIGIN, first, forged)
