"""The plane: parts put together from settings, and what a user relies on across them."""

import pytest

import trustplane
from trustplane.audit.log.residue import encodings, search
from trustplane.audit.log.verify import verify_log
from trustplane.errors import InputError
from trustplane.step import Step


def test_public_names_are_exact_and_sorted():
    assert list(trustplane.__all__) == sorted(trustplane.__all__)
    for name in trustplane.__all__:
        assert getattr(trustplane, name) is not None
    with pytest.raises(AttributeError):
        trustplane.nothing  # noqa: B018


def test_settings_reach_the_parts(tmp_path):
    (tmp_path / "plane.toml").write_text('[content]\nallow = ["sealed", "redacted"]\nttl_seconds = 77\n')
    with trustplane.open(tmp_path, environ={"TRUSTPLANE_LOG_CHECKPOINT_SECONDS": "3"}) as plane:
        assert plane.log.ttl_seconds == 77 and plane.settings.log.checkpoint_seconds == 3
        with plane.request(input="x", mode="sealed"):
            pass
        with pytest.raises(InputError, match="not allowed"):
            plane.request(input="x", mode="plain")


def test_redacted_mode_keeps_masked_text_only(tmp_path):
    with trustplane.open(tmp_path, content={"mode": "redacted", "allow": ["redacted"]}) as plane:
        with plane.request("r1", input="card 4111 1111 1111 1111 of 张三, mail a.b@example.org") as r:
            r.decide({"答复": "写信到 a.b@example.org"})
        document, evidence = plane.log.export("r1")
        assert "4111" not in document["input_text"] and "card" in document["input_text"]
        assert evidence["content"]["input_text"] == "redacted"
        assert search(tmp_path, ["4111 1111 1111 1111", "a.b@example.org"]) == []


def test_steps_of_all_rooms_land_in_one_log_that_verifies(tmp_path):
    with trustplane.open(tmp_path) as plane:
        plane.ledger.register_dataset(trustplane.Dataset("d", "sha256:" + "ab" * 32, "o", ("p",)))
        plane.record(Step("something.outside", "done"))
        with plane.request(input="x"):
            plane.record(Step("something.inside", "done"))
        plane.log.checkpoint()
        verified = verify_log(plane.log.store, plane.log.origin, plane.log.keys.verifiers)
        places = {e.public.action: e.public.request for e in plane.log.entries()}
    assert verified.requests == 1
    assert places["something.outside"].startswith("boot/") and not places["something.inside"].startswith("boot/")


def test_a_closed_plane_says_so(tmp_path):
    plane = trustplane.open(tmp_path)
    plane.close()
    plane.close()
    with pytest.raises(trustplane.StoreError, match="closed"):
        plane.record(Step("late", "done"))


def test_the_residue_scan_finds_each_encoding(tmp_path):
    text = "李静雯 <canary>"
    for name, patterns in encodings(text).items():
        for place, pattern in enumerate(patterns):
            (tmp_path / f"{name}{place}").write_bytes(b"\x00" * 5000 + pattern + b"\xff" * 9)
    found = search(tmp_path, [text])
    for name, patterns in encodings(text).items():
        for place in range(len(patterns)):
            assert (f"{name}{place}", name) in found
    assert search(tmp_path, ["another text"]) == []


def test_an_export_proves_its_entries(tmp_path):
    from trustplane.audit.log.entry import entry_hash
    from trustplane.audit.log.note import Checkpoint
    from trustplane.audit.log.tree import verify_inclusion

    with trustplane.open(tmp_path) as plane:
        for name in ("r1", "r2"):
            with plane.request(name, input="x") as r:
                r.step("check", "内容")
                r.decide("yes")
        _, evidence = plane.log.export("r1")
        checkpoint, _ = Checkpoint.verify(evidence["checkpoint"], plane.log.keys.verifiers, plane.log.origin)
    assert len(evidence["proof"]) == 3
    for part in evidence["proof"]:
        fields = [bytes.fromhex(f) for f in part.get("fields", [])]
        leaf = entry_hash(part["public"].encode(), bytes.fromhex(part["salt"]), fields)
        path = [bytes.fromhex(item) for item in part["path"]]
        verify_inclusion(leaf, part["index"], checkpoint.size, path, checkpoint.root)
