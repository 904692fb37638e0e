"""Writes golden_tree.json: proofs of small trees and their mutants, each with its expected cause."""

import base64
import json
from hashlib import sha256
from pathlib import Path

TARGET = Path(__file__).with_name("golden_tree.json")


def mth(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def sub(m, leaves, known):
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if m <= k:
        return [*sub(m, leaves[:k], known), mth(leaves[k:])]
    return [*sub(m - k, leaves[k:], False), mth(leaves[:k])]


def b64(data):
    return base64.b64encode(data).decode()


def build():
    vectors = []
    for size in (1, 2, 3, 5, 7, 8, 13):
        leaves = [sha256(b"\x00leaf %d" % i).digest() for i in range(size)]
        root = mth(leaves)
        for index in sorted({0, size // 2, size - 1}):
            proof = [b64(h) for h in path(index, leaves)]
            good = {
                "kind": "inclusion",
                "leafHash": b64(leaves[index]),
                "leafIdx": index,
                "treeSize": size,
                "proof": proof,
                "root": b64(root),
            }
            name = f"inclusion/{size}/{index}"
            vectors += [
                good | {"name": name, "wantErr": False},
                good
                | {
                    "name": name + "/trailing",
                    "proof": [*proof, b64(root)],
                    "wantErr": True,
                    "cause": "proof-length",
                },
                good | {"name": name + "/index", "leafIdx": size, "wantErr": True, "cause": "index-range"},
                good
                | {
                    "name": name + "/leaf",
                    "leafHash": b64(sha256(b"x").digest()),
                    "wantErr": True,
                    "cause": "root-mismatch",
                },
                good
                | {
                    "name": name + "/short-root",
                    "root": b64(root[:31]),
                    "wantErr": True,
                    "cause": "hash-length",
                },
            ]
        for old in sorted({1, size // 2 or 1, size}):
            proof = [b64(h) for h in sub(old, leaves, True)] if old < size else []
            good = {
                "kind": "consistency",
                "size1": old,
                "size2": size,
                "proof": proof,
                "root1": b64(mth(leaves[:old])),
                "root2": b64(root),
            }
            name = f"consistency/{old}/{size}"
            vectors += [
                good | {"name": name, "wantErr": False},
                good | {"name": name + "/zero", "size1": 0, "wantErr": True, "cause": "size-zero"},
                good | {"name": name + "/shrinks", "size1": size + 1, "wantErr": True, "cause": "size-order"},
                good
                | {
                    "name": name + "/trailing",
                    "proof": [*proof, b64(root)],
                    "wantErr": True,
                    "cause": "proof-length",
                },
            ]
    return {"about": "written by make_golden_tree.py", "vectors": vectors}


if __name__ == "__main__":
    TARGET.write_text(json.dumps(build(), indent=1) + "\n")
