"""Verification of a whole log, from its stored parts alone; the first wrong index and its cause.

1. the sequence has no gap                         4. the stored tree equals the recomputed one
2. each entry's leaf hash follows from its parts   5. each checkpoint is signed, and its root recomputed
3. each request's steps are gap-free and ordered   6. kept content is what was committed to
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from trustplane.audit.log.entry import Public
from trustplane.audit.log.integrate import TILE
from trustplane.audit.log.note import Checkpoint, Proof, Verifier
from trustplane.audit.log.read import Entry, open_content, unpack
from trustplane.audit.log.rotate import successors, verifiers_at
from trustplane.audit.log.store import Head, Store
from trustplane.audit.log.tree import EMPTY_ROOT, node_hash, root_of
from trustplane.errors import VerificationError

__all__ = ["Verified", "verify_against", "verify_log"]


class Verified(msgspec.Struct, frozen=True):
    """What was checked. ``open_requests`` have no decision (yet): running, or cut off by a crash.

    ``signed``: how many entries the newest checkpoint covers. Whoever can write to the files could have
    changed those after it, and could have dropped newer checkpoints: see :func:`verify_against`.
    """

    size: int
    root: bytes
    checkpoints: int
    requests: int
    open_requests: int
    contents: int
    unfinished_erasures: int
    keys: list[str]
    signed: int


class _Tree:
    """A compact range: the roots of the complete subtrees so far, largest first."""

    def __init__(self) -> None:
        self.size, self._peaks = 0, list[tuple[int, bytes]]()

    def add(self, leaf: bytes) -> None:
        width, current = 1, leaf
        while self._peaks and self._peaks[-1][0] == width:
            current = node_hash(self._peaks.pop()[1], current)
            width *= 2
        self._peaks.append((width, current))
        self.size += 1

    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        current = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            current = node_hash(peak, current)
        return current


class _Tiles:
    """Rebuilds the tiles of every level and holds the stored ones, up to the stored head, to them."""

    def __init__(self, store: Store, head: Head | None) -> None:
        self._store, self._built, self._size = store, head.size if head else 0, 0
        self._levels: list[list[bytes]] = [[]]
        # the unfinished tiles grow while others write: these were read together with the head
        self._tails = [store.tile(level, at // TILE) for level, at in enumerate(_shifted(self._built))]

    def add(self, leaf: bytes) -> None:
        self._size += 1
        self._levels[0].append(leaf)
        if len(self._levels[0]) == TILE:
            self._finish(0)
        if self._size == self._built:
            for level, at in enumerate(_shifted(self._built)):
                self._same(level, at // TILE, self._tails[level], b"".join(self._levels[level]))

    def _finish(self, level: int) -> None:
        hashes, self._levels[level] = self._levels[level], []
        index = (self._size >> 8 * level) // TILE - 1
        if self._size <= self._built:
            self._same(level, index, self._store.tile(level, index), b"".join(hashes))
        if len(self._levels) == level + 1:
            self._levels.append([])
        self._levels[level + 1].append(root_of(hashes))
        if len(self._levels[level + 1]) == TILE:
            self._finish(level + 1)

    @staticmethod
    def _same(level: int, index: int, stored: bytes, found: bytes) -> None:
        if stored != found:
            raise VerificationError(
                "a stored tile differs from the entries", cause="tile", index=index * TILE << 8 * level
            )


def _shifted(size: int) -> list[int]:
    """Return how many hashes each level of tiles has, from the leaves up."""
    found = []
    while size:
        found.append(size)
        size //= TILE
    return found


class _Requests:
    """Follows the steps of each request in each process; memory holds the undecided ones only."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], int] = {}
        self.decided = 0

    def see(self, public: Public, index: int) -> None:
        place = public.request, public.boot
        alone = public.kind == "log" and not public.request.startswith("boot/")  # one step, nothing to follow
        expected = 0 if alone else self.open.get(place, 0)
        if public.step != expected:
            raise VerificationError(
                f"step {expected} of a request is missing or out of order", cause="step-gap", index=index
            )
        if public.kind == "decision":
            if public.facts.get("steps") != public.step - 1:
                raise VerificationError("a decision counts other steps than there are", cause="step-gap", index=index)
            self.open.pop(place, None)
            self.decided += 1
        elif not alone:
            self.open[place] = expected + 1


def verify_log(
    store: Store,
    origin: str,
    trusted: Sequence[Verifier],
    *,
    content: bool = True,
    advance: Callable[[int], None] = lambda _n: None,
) -> Verified:
    """Verify a log against the verifier keys that the caller trusts.

    ``trusted``: the key of the log's beginning, or its whole history; successions are followed, and after
    one the old keys count no more.
    ``content``: also open what was kept. ``advance``: called with the number of entries done.

    Raises:
        VerificationError: with ``index`` of the first wrong entry and the ``cause``: ``sequence``,
            ``batch-form``, ``leaf-mismatch``, ``public-form``, ``schema``, ``origin``, ``step-gap``,
            ``sealed-content``, ``field-mismatch``, ``content-mode``, ``content-missing``, ``succession``,
            ``signature``, ``unsigned``, ``root-mismatch``, ``tile``, ``head``, ``truncated``.
    """
    checkpoints, head, tiles = _standing(store)
    pending = list(reversed(checkpoints))
    size = store.size()  # read last: others may write meanwhile
    if head is not None and head.size > size:
        raise VerificationError("entries under the tree are gone from the end", cause="truncated", index=size)
    if checkpoints and (head is None or head.size < checkpoints[-1][0]):
        built = head.size if head else 0
        raise VerificationError("the stored tree is older than a checkpoint", cause="head", index=built)
    verifiers = list(trusted)
    tree, requests = _Tree(), _Requests()
    opened, missing = 0, -1
    erasures: set[object] = set()
    at = 0

    def check_points() -> None:
        while pending and pending[-1][0] <= at:
            number, text, _ = pending.pop()
            checkpoint, _ = Checkpoint.verify(text, verifiers, origin)
            if number != at or checkpoint.size != at or checkpoint.root != tree.root():
                raise VerificationError(
                    f"the checkpoint of {number} entries has another root",
                    cause="root-mismatch",
                    index=number - 1,
                )
        if head is not None and head.size == at and head.root != tree.root():
            raise VerificationError("the stored tree has another root", cause="head", index=at - 1)

    stops = sorted({c[0] for c in checkpoints} | ({head.size} if head else set()))
    for row in store.rows(0, size):
        if row.first != at or row.size < 1:
            raise VerificationError("entries are missing or doubled", cause="sequence", index=at)
        for entry in unpack(row):
            public = _check_entry(entry, origin)
            requests.see(public, entry.index)
            if public.content and content:
                found = _check_content(store, entry, public)
                opened += found.count("open")
                if "missing" in found and missing < 0:
                    missing = entry.index
            if public.action == "key.succession" and public.kind == "log":
                verifiers = successors(public.facts, verifiers, origin, entry.index)
            elif public.action == "subject.erase" and public.kind == "log":
                ident = public.facts.get("erasure")
                erasures = erasures | {ident} if public.result == "announced" else erasures - {ident}
            tree.add(entry.stored_leaf)
            tiles.add(entry.stored_leaf)
            at += 1
            if at in stops:
                check_points()
        advance(row.size)
    if at != size:
        raise VerificationError("entries are missing at the end", cause="sequence", index=at)
    if pending:
        raise VerificationError(
            f"a checkpoint signs {pending[-1][0]} entries, the log has {size}", cause="truncated", index=size
        )
    if missing >= 0 and not erasures:
        raise VerificationError("kept content is gone without an erasure", cause="content-missing", index=missing)
    return Verified(
        size,
        tree.root(),
        len(checkpoints),
        requests.decided,
        len([r for r, _ in requests.open if not r.startswith("boot/")]),
        opened,
        len(erasures),
        [v.vkey for v in verifiers],
        checkpoints[-1][0] if checkpoints else 0,
    )


def _check_entry(entry: Entry, origin: str) -> Public:
    if entry.leaf != entry.stored_leaf:
        raise VerificationError("an entry was changed", cause="leaf-mismatch", index=entry.index)
    public = entry.public
    if public.origin != origin:
        raise VerificationError("an entry of another log", cause="origin", index=entry.index)
    return public


def _check_content(store: Store, entry: Entry, public: Public) -> list[str]:
    try:
        return [open_content(store, entry, public, content.name)[1] for content in public.contents]
    except VerificationError as error:
        raise VerificationError(error.message, cause=error.cause, index=entry.index) from None


def _standing(store: Store) -> tuple[list[tuple[int, str, int]], Head | None, _Tiles]:
    """Read the checkpoints, the head and the unfinished tiles as they belong together."""
    while True:
        head = store.head()
        checkpoints = store.checkpoints()
        tiles = _Tiles(store, head)
        if store.head() == head:
            return checkpoints, head, tiles


def verify_against(store: Store, origin: str, trusted: Sequence[Verifier], receipt: str) -> Checkpoint:
    """Check that this log still holds what a receipt or checkpoint from outside says: no rollback, no fork.

    ``receipt``: a ``.tlog-proof`` or a signed checkpoint. ``trusted``: as for :func:`verify_log`; successions up to
    the receipt's size are followed. Nothing inside a plane can show that the whole
    plane was put back to an earlier state; only what someone else kept can.

    Raises:
        VerificationError: cause ``rolled-back`` (the log is shorter than it was) or ``forked``.
    """
    proof = Proof.parse(receipt) if receipt.startswith("c2sp.org/tlog-proof") else None
    text = proof.checkpoint if proof else receipt
    verifiers = verifiers_at(store, origin, trusted, Checkpoint.claimed(text).size)
    checkpoint, _ = Checkpoint.verify(text, verifiers, origin)
    size = store.size()
    if size < checkpoint.size:
        raise VerificationError(
            f"the log has {size} entries; the receipt was given when it had {checkpoint.size}",
            cause="rolled-back",
            index=size,
        )
    tree = _Tree()
    leaf = b""
    for row in store.rows(0, checkpoint.size):
        for entry in unpack(row):
            if entry.index >= checkpoint.size:
                break
            tree.add(entry.leaf)
            if proof and entry.index == proof.index:
                leaf = entry.leaf
    if tree.size != checkpoint.size or tree.root() != checkpoint.root:
        raise VerificationError("the log is not the one that the receipt was given for", cause="forked")
    if proof:
        proof.verify(leaf, verifiers, origin)
    return checkpoint
