"""Building the tree: leaf hashes become tiles of 256, tiles become a root, a root becomes a checkpoint."""

from __future__ import annotations

from collections.abc import Callable

from trustplane.audit.log.store import Head, Store
from trustplane.audit.log.tree import EMPTY_ROOT, node_hash, root_of
from trustplane.errors import VerificationError

__all__ = ["TILE", "integrate", "nodes"]

TILE = 256
"""Hashes per tile: height 8, as in c2sp.org/tlog-tiles."""
_BYTES = TILE * 32


def nodes(store: Store) -> Callable[[int, int], bytes]:
    """Return ``node(level, index)`` over the store's tiles, keeping the tiles of one proof at hand."""
    cache: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        height, inner = divmod(level, 8)
        first = index << inner
        place = (height, first // TILE)
        tile = cache.get(place)
        if tile is None:
            if len(cache) > 512:
                cache.clear()
            tile = cache[place] = store.tile(*place)
        start = first % TILE * 32
        part = tile[start : start + (32 << inner)]
        if len(part) != 32 << inner:
            raise VerificationError("a tile is missing or too short", cause="tile", index=index << level)
        return root_of([part[i : i + 32] for i in range(0, len(part), 32)]) if inner else part

    return node


def integrate(store: Store, upto: int | None = None) -> tuple[Head, dict[tuple[int, int], bytes]]:
    """Return the head after taking in all entries, and the tiles that change; the caller holds the lock.

    Raises:
        VerificationError: a gap in the sequence, or a batch whose parts do not fit together.
    """
    old = store.head() or Head(0, EMPTY_ROOT)
    tiles: dict[tuple[int, int], bytearray] = {}

    def load(level: int, index: int) -> bytearray:
        if (level, index) not in tiles:
            tiles[level, index] = bytearray(store.tile(level, index))
        return tiles[level, index]

    def add(level: int, at: int, data: bytes) -> int:
        """Append hashes at position ``at`` of a level; pass the roots of full tiles upwards."""
        while data:
            tile = load(level, at // TILE)
            if len(tile) < at % TILE * 32:
                raise VerificationError("a tile is missing or too short", cause="tile", index=at)
            del tile[at % TILE * 32 :]
            take = data[: _BYTES - len(tile)]
            tile += take
            data, at = data[len(take) :], at + len(take) // 32
            if len(tile) == _BYTES:
                root = root_of([bytes(tile[i : i + 32]) for i in range(0, _BYTES, 32)])
                add(level + 1, at // TILE - 1, root)
        return at

    if _root(load, old.size) != old.root:  # never sign on top of a tree that was changed
        raise VerificationError("the stored tree is not the one that was built", cause="head", index=old.size - 1)
    size = old.size
    for row in store.rows(old.size, 2**62 if upto is None else upto):
        if row.first > size or len(row.leaves) != 32 * row.size:
            raise VerificationError("the sequence has a gap", cause="sequence", index=size)
        size = add(0, size, row.leaves[(size - row.first) * 32 :])
    return Head(size, _root(load, size)), {k: bytes(v) for k, v in tiles.items()}


def _root(load: Callable[[int, int], bytearray], size: int) -> bytes:
    """Fold the unfinished tile of each level, from the right, into the root."""
    if size == 0:
        return EMPTY_ROOT
    root: bytes | None = None
    level = 0
    while size:
        rest = size % TILE
        if rest:
            tile = load(level, size // TILE)
            at = rest
            while at:  # the complete subtrees of the unfinished tile, smallest first
                width = at & -at
                part = [bytes(tile[i * 32 : i * 32 + 32]) for i in range(at - width, at)]
                left = root_of(part)
                root = left if root is None else node_hash(left, root)
                at -= width
        size //= TILE
        level += 1
    assert root is not None
    return root
