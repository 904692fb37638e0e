"""The tree against public probes, a naive tree, and attacks on proofs."""

import base64
import json
import random
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.audit.log import tree
from trustplane.errors import VerificationError

PROBES = Path(__file__).parents[4] / "shared/data/merkle_probes/probes.jsonl"
GOLDEN = Path(__file__).with_name("golden_tree.json")


def naive(leaves):
    """RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive(leaves[:k]) + naive(leaves[k:])).digest()


def leaves_of(size, seed=b""):
    return [tree.leaf_hash(seed + str(i).encode()) for i in range(size)]


def node_of(leaves):
    cache = {}

    def node(level, index):
        if level == 0:
            return leaves[index]
        if (level, index) not in cache:
            cache[level, index] = tree.node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))
        return cache[level, index]

    return node


def run_probe(p):
    b64 = lambda s: base64.b64decode(s) if s else b""  # noqa: E731
    proof = [b64(h) for h in p["proof"] or []]
    if p["kind"] == "inclusion":
        tree.verify_inclusion(b64(p["leafHash"]), p["leafIdx"], p["treeSize"], proof, b64(p["root"]))
    elif p["kind"] == "consistency":
        tree.verify_consistency(p["size1"], p["size2"], proof, b64(p["root1"]), b64(p["root2"]))
    elif p["kind"] == "subtreeinclusion":
        tree.verify_subtree_inclusion(b64(p["leafHash"]), p["leafIdx"], p["start"], p["end"], proof, b64(p["root"]))
    else:
        tree.verify_subtree_consistency(p["start"], p["end"], p["size"], proof, b64(p["root1"]), b64(p["root2"]))


@pytest.mark.skipif(not PROBES.exists(), reason="the public Merkle probes are not beside the project")
def test_all_public_probes():
    wrong, causes, total = [], {}, 0
    for line in PROBES.read_text().splitlines():
        p = json.loads(line)
        total += 1
        try:
            run_probe(p)
            refused = False
        except VerificationError as error:
            refused = True
            causes.setdefault(error.cause, []).append(p["name"])
        if refused != p["wantErr"]:
            wrong.append(p["name"])
    assert total == 518 and not wrong
    # each way of being wrong has a cause of its own
    assert set(causes) >= {
        "index-range",
        "hash-length",
        "proof-length",
        "root-mismatch",
        "size-zero",
        "size-order",
    }
    assert not [n for n in causes["proof-length"] if "random-root" in n or "swapped" in n]


def test_golden_vectors_are_accepted_and_their_mutants_refused():
    golden = json.loads(GOLDEN.read_text())
    assert len(golden["vectors"]) >= 40
    for p in golden["vectors"]:
        if p["wantErr"]:
            with pytest.raises(VerificationError) as caught:
                run_probe(p)
            assert caught.value.cause == p["cause"], p["name"]
        else:
            run_probe(p)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2000), st.data())
def test_proofs_against_a_naive_tree(size, data):
    leaves = leaves_of(size)
    node = node_of(leaves)
    root = naive(leaves)
    assert tree.root_of(leaves) == root == tree.tree_hash(node, 0, size)
    index = data.draw(st.integers(0, size - 1))
    tree.verify_inclusion(leaves[index], index, size, tree.inclusion_proof(node, index, size), root)
    old = data.draw(st.integers(1, size))
    proof = tree.consistency_proof(node, old, size)
    tree.verify_consistency(old, size, proof, naive(leaves[:old]), root)
    end = data.draw(st.integers(index + 1, size))
    ranged = tree.range_proof(node, index, end, size)
    assert tree.range_root(leaves[index:end], index, size, ranged) == root
    # attacks: another leaf, another index, a dropped, doubled or flipped hash
    with pytest.raises(VerificationError):
        tree.verify_inclusion(tree.leaf_hash(b"x"), index, size, tree.inclusion_proof(node, index, size), root)
    if proof:
        i = data.draw(st.integers(0, len(proof) - 1))
        flipped = [*proof[:i], bytes([proof[i][0] ^ 1]) + proof[i][1:], *proof[i + 1 :]]
        for bad in (proof[:i] + proof[i + 1 :], [*proof, proof[0]], flipped):
            with pytest.raises(VerificationError):
                tree.verify_consistency(old, size, bad, naive(leaves[:old]), root)


def test_every_small_tree_completely():
    for size in range(1, 34):
        leaves = leaves_of(size)
        node, root = node_of(leaves), naive(leaves)
        for index in range(size):
            proof = tree.inclusion_proof(node, index, size)
            tree.verify_inclusion(leaves[index], index, size, proof, root)
            for other in range(size):
                if other != index:
                    with pytest.raises(VerificationError):
                        tree.verify_inclusion(leaves[index], other, size, proof, root)
        for old in range(1, size + 1):
            tree.verify_consistency(old, size, tree.consistency_proof(node, old, size), naive(leaves[:old]), root)


def test_a_forked_history_has_no_consistency_proof():
    rng = random.Random(7)
    for _ in range(50):
        size = rng.randrange(2, 300)
        old = rng.randrange(1, size)
        honest, forked = leaves_of(size), leaves_of(size)
        forked[rng.randrange(old)] = tree.leaf_hash(b"forged")
        proof = tree.consistency_proof(node_of(forked), old, size)
        with pytest.raises(VerificationError):
            tree.verify_consistency(old, size, proof, naive(honest[:old]), naive(forked))
