"""The Merkle tree of RFC 9162 section 2.1: hashes, proofs and their verification, over hashlib alone.

A proof is a list of 32-byte hashes from the bottom up. Subtrees ``[start, end)`` follow the Merkle Tree
Certificates draft (section 4): ``start`` is a multiple of the smallest power of two >= ``end - start``.
Generators take ``node(level, index)``, the hash of the complete subtree of ``2**level`` leaves that starts
at leaf ``index * 2**level``; where those hashes are kept is the store's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import NoReturn

from trustplane.errors import VerificationError

__all__ = [
    "EMPTY_ROOT",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "range_proof",
    "range_root",
    "root_of",
    "tree_hash",
    "verify_consistency",
    "verify_inclusion",
    "verify_subtree_consistency",
    "verify_subtree_inclusion",
]

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
MAX_SIZE = 2**63

Node = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """Return the largest power of two smaller than ``size`` (>= 2)."""
    return 1 << ((size - 1).bit_length() - 1)


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash over leaf hashes; of none, SHA-256 of the empty string."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:  # pairing from the left with an odd last node carried up is MTH's shape
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


def tree_hash(node: Node, start: int, end: int) -> bytes:
    """Return the hash of the leaves ``[start, end)``, ``start`` aligned as a subtree's is."""
    size = end - start
    if size == 0:
        return EMPTY_ROOT
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, start >> level)
    k = split(size)
    return node_hash(tree_hash(node, start, start + k), tree_hash(node, start + k, end))


# ── generation ──────────────────────────────────────────────────────────────────────────────────────


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf ``index`` in the tree of ``size`` leaves, lowest sibling first."""
    return _inclusion(node, index, 0, size)


def _inclusion(node: Node, index: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    k = start + split(end - start)
    if index < k:
        return [*_inclusion(node, index, start, k), tree_hash(node, k, end)]
    return [*_inclusion(node, index, k, end), tree_hash(node, start, k)]


def consistency_proof(node: Node, size1: int, size2: int) -> list[bytes]:
    """Return the proof that the tree of ``size1`` >= 1 leaves is a prefix of the tree of ``size2``."""
    return [] if size1 == size2 else _consistency(node, size1, 0, size2, True)


def _consistency(node: Node, end: int, low: int, high: int, known: bool) -> list[bytes]:
    if end == high:
        return [] if known else [tree_hash(node, low, high)]
    k = low + split(high - low)
    if end <= k:
        return [*_consistency(node, end, low, k, known), tree_hash(node, k, high)]
    return [*_consistency(node, end, k, high, False), tree_hash(node, low, k)]


def range_proof(node: Node, start: int, end: int, size: int) -> list[bytes]:
    """Return the hashes that, with the leaves ``[start, end)``, give the root; left to right."""

    def walk(low: int, high: int) -> Iterator[bytes]:
        if end <= low or high <= start:
            yield tree_hash(node, low, high)
        elif high - low > 1 and not (start <= low and high <= end):
            k = low + split(high - low)
            yield from walk(low, k)
            yield from walk(k, high)

    return list(walk(0, size)) if size and start < end else []


# ── verification ────────────────────────────────────────────────────────────────────────────────────


def _fail(cause: str, message: str) -> NoReturn:
    raise VerificationError(message, cause=cause)


def _hashes(proof: Sequence[bytes], *roots: bytes) -> None:
    for root in roots:
        if len(root) != HASH_BYTES:
            _fail("hash-length", "a root or leaf hash is not 32 bytes long")
    if any(len(item) != HASH_BYTES for item in proof):
        _fail("hash-length", "a hash of the proof is not 32 bytes long")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` (a leaf hash) stands at ``index`` of the tree of ``size`` leaves under ``root``.

    Raises:
        VerificationError: cause ``index-range``, ``hash-length``, ``proof-length`` or ``root-mismatch``.
    """
    if not 0 <= index < size < MAX_SIZE:
        _fail("index-range", "the index is not inside the tree")
    _hashes(proof, leaf, root)
    inner = (index ^ (size - 1)).bit_length()
    if len(proof) != inner + (index >> inner).bit_count():
        _fail("proof-length", "the inclusion proof has the wrong number of hashes")
    current = leaf
    for level, sibling in enumerate(proof[:inner]):
        current = node_hash(sibling, current) if index >> level & 1 else node_hash(current, sibling)
    for sibling in proof[inner:]:
        current = node_hash(sibling, current)
    if current != root:
        _fail("root-mismatch", "the inclusion proof leads to another root")


def _check_subtree(start: int, end: int, size: int) -> None:
    if not 0 <= start <= end <= size < MAX_SIZE:
        _fail("subtree-range", "the subtree is not inside the tree")
    if end > start and start & ((1 << (end - start - 1).bit_length()) - 1):
        _fail("subtree-alignment", "the subtree's start is not a multiple of its rounded-up size")


def verify_subtree_inclusion(
    leaf: bytes, index: int, start: int, end: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that ``leaf`` stands at ``index`` of the log inside the subtree ``[start, end)``."""
    _check_subtree(start, end, end)
    verify_inclusion(leaf, index - start, end - start, proof, root)


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """Check that the tree of ``size1`` leaves is a prefix of the tree of ``size2`` leaves.

    A proof from the empty tree says nothing and is refused.

    Raises:
        VerificationError: cause ``size-zero``, ``size-order``, ``hash-length``, ``proof-length`` or
            ``root-mismatch``.
    """
    if size1 == 0:
        _fail("size-zero", "nothing can be proved from the empty tree")
    if not 0 < size1 <= size2 < MAX_SIZE:
        _fail("size-order", "the first tree is larger than the second")
    _subtree_consistency(0, size1, size2, proof, root1, root2)


def verify_subtree_consistency(
    start: int, end: int, size: int, proof: Sequence[bytes], root1: bytes, root2: bytes
) -> None:
    """Check that the subtree ``[start, end)`` with ``root1`` is part of the tree with ``root2``.

    An empty subtree is part of every tree, with an empty proof.
    """
    _check_subtree(start, end, size)
    if start == end:
        if proof:
            _fail("proof-length", "a proof for the empty subtree has hashes")
        if root1 != EMPTY_ROOT:
            _fail("root-mismatch", "the empty subtree has another root")
        return
    _subtree_consistency(start, end, size, proof, root1, root2)


def _subtree_consistency(start: int, end: int, size: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    _hashes(proof)  # a root of another length matches nothing but itself, as in the public probes
    rest = list(reversed(proof))

    def take() -> bytes:
        if not rest:
            _fail("proof-length", "the consistency proof has too few hashes")
        return rest.pop()

    def walk(low: int, high: int, size: int, known: bool) -> tuple[bytes, bytes]:
        """Return the hash of the part of the subtree in here, and of all of it."""
        if low == 0 and high == size:
            whole = root1 if known else take()
            return whole, whole
        k = split(size)
        if high <= k:
            part, whole = walk(low, high, k, known)
            return part, node_hash(whole, take())
        if k <= low:
            part, whole = walk(low - k, high - k, size - k, known)
            return part, node_hash(take(), whole)
        part, whole = walk(0, high - k, size - k, False)
        left = take()
        return node_hash(left, part), node_hash(left, whole)

    found1, found2 = walk(start, end, size, True)
    if rest:
        _fail("proof-length", "the consistency proof has too many hashes")
    if found1 != root1 or found2 != root2:
        _fail("root-mismatch", "the consistency proof leads to another root")


def range_root(leaves: Sequence[bytes], start: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that the leaf hashes ``[start, start + len(leaves))`` and a range proof lead to."""
    end = start + len(leaves)
    if not leaves or not 0 <= start < end <= size < MAX_SIZE:
        _fail("index-range", "the range is empty or not inside the tree")
    _hashes(proof)
    rest = list(reversed(proof))

    def walk(low: int, high: int) -> bytes:
        if end <= low or high <= start:
            if not rest:
                _fail("proof-length", "the range proof has too few hashes")
            return rest.pop()
        if start <= low and high <= end:
            return root_of(leaves[low - start : high - start])
        k = low + split(high - low)
        left = walk(low, k)
        return node_hash(left, walk(k, high))

    root = walk(0, size)
    if rest:
        _fail("proof-length", "the range proof has too many hashes")
    return root
