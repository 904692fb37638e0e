"""The two implementations of the query language and the sentences agree; derived files are fresh."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.audit.report import verify_bundle
from trustplane.audit.report.query import OPS, Rows, evaluate, holds
from trustplane.audit.report.sentence import load_catalogue, sentences
from trustplane.audit.report.words import shown
from trustplane.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
WORDS = st.sampled_from(["a", "b", "ab", "digest", "", "客", "\u202e"])
SCALARS = st.one_of(WORDS, st.integers(-3, 3), st.booleans(), st.none())
ROWS = st.lists(
    st.fixed_dictionaries(
        {"action": WORDS, "kind": st.sampled_from(["open", "decision", "step"])},
        optional={
            "purpose": WORDS,
            "request": WORDS,
            "facts": st.dictionaries(
                st.sampled_from(["n_a", "n_b", "host", "x"]),
                st.one_of(SCALARS, st.lists(SCALARS, max_size=3)),
                max_size=4,
            ),
            "content": st.lists(
                st.fixed_dictionaries({"mode": WORDS}, optional={"expires_us": st.integers(0, 5)}), max_size=3
            ),
        },
    ),
    max_size=12,
).map(lambda rows: [row | {"index": index} for index, row in enumerate(rows)])
PATHS = st.sampled_from(
    [
        "action",
        "kind",
        "purpose",
        "request",
        "facts.host",
        "facts.x",
        "facts.n_*",
        "content.mode",
        "content.expires_us",
        "none",
    ]
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.sampled_from(["$names", "$n", "$absent", "$table.deep"]))


def condition(path: str, op: str, value: object) -> list[object]:
    if op == "exists":
        return [path, op, value is not None]
    if op == "prefix":
        return [path, op, "a"]
    return [path, op, value]


CONDITIONS = st.builds(
    condition, PATHS, st.sampled_from(["=", "!=", "in", "not in", "<=", ">", "prefix", "exists"]), VALUES
)
QUERIES = st.fixed_dictionaries(
    {"op": st.sampled_from(sorted(OPS)), "of": st.one_of(PATHS, st.sampled_from(["$names", "$table.deep"]))},
    optional={
        "where": st.lists(CONDITIONS, max_size=3),
        "keep": CONDITIONS.map(lambda c: c[1:]),
        "except": st.fixed_dictionaries({"of": PATHS, "where": st.lists(CONDITIONS, max_size=1)}),
        "from": st.sampled_from(["$names", "$absent"]),
    },
)
SCOPE = {"names": ["a", "b", "ab"], "n": 2, "table": {"deep": [1, 2, "a"]}}


def answer(run: object) -> object:
    try:
        return run()
    except (TypeError, KeyError, InputError, AttributeError):
        return "error"


@settings(max_examples=1500, deadline=None)
@given(ROWS, QUERIES)
def test_both_implementations_answer_alike(rows: list[dict], query: dict) -> None:
    if query["op"] == "missing":
        query.setdefault("from", "$names")
    if query["of"] == ("$names" if query["op"] == "tally" else "facts.n_*") or query["of"] == "$table.deep":
        query["of"] = "facts.x" if query["op"] == "tally" or query["of"] != "$table.deep" else "$table.deep"
    ours = answer(lambda: evaluate(query, Rows(rows), SCOPE))
    theirs = answer(lambda: verify_bundle.Log(rows).ask(query, SCOPE))
    assert ours == theirs and type(ours) is type(theirs)


@settings(max_examples=500, deadline=None)
@given(st.lists(SCALARS, max_size=4), CONDITIONS)
def test_conditions_mean_the_same(values: list, made: list) -> None:
    wanted = made[2] if isinstance(made[2], list) else [made[2]]
    assert holds(values, made[1], wanted) == verify_bundle.meets(values, made[1], wanted)


@pytest.mark.parametrize("kind", ["", "date", "micro", "percent", "seconds"])
@given(number=st.one_of(st.integers(0, 2**53), st.integers(0, 10**7)))
def test_numbers_are_shown_alike(kind: str, number: int) -> None:
    for units in load_catalogue().document["units"].values():
        assert shown(number, kind, units) == verify_bundle.shown(number, kind, units)


@settings(deadline=None)
@given(
    st.lists(st.text(max_size=8), max_size=60), st.dictionaries(st.text(max_size=5), st.integers(1, 10**6), max_size=60)
)
def test_words_are_shown_alike(words: list[str], tally: dict[str, int]) -> None:
    for units in load_catalogue().document["units"].values():
        for value in (words, tally, "".join(words)):
            assert shown(value, "", units) == verify_bundle.shown(value, "", units)


def test_a_slow_obvious_count_agrees() -> None:
    rows = [{"index": i, "action": "a" if i % 3 else "b", "facts": {"x": i}} for i in range(100)]
    query = {"op": "sum", "of": "facts.x", "where": [["action", "=", "a"], ["facts.x", ">", 50]]}
    assert evaluate(query, Rows(rows), {}) == sum(i for i in range(51, 100) if i % 3)
    with pytest.raises(InputError):
        evaluate({"op": "eval", "of": "x"}, Rows(rows), {})


def test_every_case_of_the_catalogue_reads_well() -> None:
    document = load_catalogue().document
    sections = {s["id"] for s in document["sections"]}
    assert len({c["id"] for c in document["claims"]}) == len(document["claims"])
    for claim in document["claims"]:
        assert claim["section"] in sections and "if" not in claim["cases"][-1]
        for case in claim["cases"]:
            if case.get("omit"):
                continue
            assert case["class"] in document["classes"] and case["en"] and case["zh"]
            assert (case["class"] == "E0") <= (case.get("tone") in {"gap", "note"})
            slots = verify_bundle.SLOT.findall(case["en"]), verify_bundle.SLOT.findall(case["zh"])
            assert {s[0] for s in slots[1]} <= {s[0] for s in slots[0]} <= set(claim.get("let", {}))
            assert "{" not in verify_bundle.SLOT.sub("", case["en"] + case["zh"])


def test_a_thousand_sentences() -> None:
    document = load_catalogue().document
    rows = [
        {"index": i, "kind": "open", "action": "request", "purpose": f"p{i:04}", "mode": "digest", "request": f"r{i}"}
        for i in range(3000)
    ]
    scope = {"start": 0, "last": 2999, "covered": 3000, "outside": 0, "size": 3000, "origin": "o", "from_us": 0,
             "to_us": 1, "declared": {}, "witnesses": [], "register": None}  # fmt: skip
    made = sentences(document, Rows(rows), scope, ["en", "zh"])
    inner = {k: v for k, v in scope.items() if v is not None} | {"law": document["law"]}
    assert [s.document(["en", "zh"]) for s in made] == verify_bundle.sentences(
        document, verify_bundle.Log(rows), inner, ["en", "zh"]
    )
    assert len(made) > 2000 and sum(s.id.startswith("difference-1.") for s in made) == 2000


def test_derived_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "train" / "build_catalogues.py"), "--check"], capture_output=True, text=True
    )
    out = [line for line in done.stdout.splitlines() if "audit/report" in line]
    assert not out, done.stdout + done.stderr


RFC8032 = [  # section 7.1: secret key left out; public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("public", "message", "signature"), RFC8032)
def test_ed25519_is_that_of_rfc_8032(public: str, message: str, signature: str) -> None:
    key, data, signed = (bytes.fromhex(part) for part in (public, message, signature))
    assert verify_bundle.ed25519(key, data, signed)
    for i in range(0, 512, 7):
        wrong = bytearray(signed)
        wrong[i // 8] ^= 1 << i % 8
        assert not verify_bundle.ed25519(key, data, bytes(wrong))
    assert not verify_bundle.ed25519(key, data + b"x", signed)
    s = int.from_bytes(signed[32:], "little") + verify_bundle.L
    assert s >= 2**256 or not verify_bundle.ed25519(key, data, signed[:32] + s.to_bytes(32, "little"))
    assert not verify_bundle.ed25519(bytes(32), data, signed) and not verify_bundle.ed25519(key, data, signed[:63])


def test_ed25519_agrees_with_the_library() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    for i in range(20):
        key = Ed25519PrivateKey.from_private_bytes(bytes([i]) * 32)
        signed = key.sign(b"m%d" % i)
        assert verify_bundle.ed25519(key.public_key().public_bytes_raw(), b"m%d" % i, signed)


def test_the_catalogue_is_dated_json() -> None:
    catalogue = load_catalogue()
    assert catalogue.digest == verify_bundle.CATALOGUE
    assert json.loads(catalogue.data)["date"][:7] == catalogue.document["name"][5:12]
