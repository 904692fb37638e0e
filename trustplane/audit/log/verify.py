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
from trustplane.audit.log.rotate import successors
from trustplane.audit.log.store import Store
from trustplane.audit.log.tree import EMPTY_ROOT, node_hash, root_of
from trustplane.errors import VerificationError

__all__ = ["Verified", "verify_against", "verify_log"]


class Verified(msgspec.Struct, frozen=True):
    """What was checked. ``open_requests`` have no decision (yet): running, or cut off by a crash."""

    size: int
    root: bytes
    checkpoints: int
    requests: int
    open_requests: int
    contents: int
    unfinished_erasures: int
    keys: list[str]


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


class _Requests:
    """Follows each request's steps; memory holds the undecided ones only."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        self.decided = 0

    def see(self, public: Public, index: int) -> None:
        expected = self.open.get(public.request, 0)
        if public.step != expected:
            raise VerificationError(
                f"step {expected} of a request is missing or out of order", cause="step-gap", index=index
            )
        if public.kind == "decision":
            if public.facts.get("steps") != public.step - 1:
                raise VerificationError("a decision counts other steps than there are", cause="step-gap", index=index)
            self.open.pop(public.request, None)
            self.decided += 1
        else:
            self.open[public.request] = expected + 1


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
            ``sealed-content``, ``field-mismatch``, ``succession``, ``signature``, ``unsigned``,
            ``root-mismatch``, ``tile``, ``head``, ``truncated``.
    """
    size = store.size()
    checkpoints = store.checkpoints()
    pending = list(reversed(checkpoints))
    head = store.head()
    if head is not None and head.size > size:
        raise VerificationError("entries under the tree are gone from the end", cause="truncated", index=size)
    verifiers = list(trusted)
    tree, requests = _Tree(), _Requests()
    opened = 0
    erasures: set[object] = set()
    leaves: list[bytes] = []
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
                opened += _check_content(store, entry, public)
            if public.action == "key.succession" and public.kind == "log":
                verifiers = successors(public.facts, verifiers, origin, entry.index)
            elif public.action == "subject.erase":
                ident = public.facts.get("erasure")
                erasures = erasures | {ident} if public.result == "announced" else erasures - {ident}
            tree.add(entry.stored_leaf)
            leaves.append(entry.stored_leaf)
            at += 1
            if len(leaves) == TILE:
                _check_tile(store, at, leaves, head.size if head else 0)
                leaves = []
            if at in stops:
                check_points()
        advance(row.size)
    if at != size:
        raise VerificationError("entries are missing at the end", cause="sequence", index=at)
    if pending:
        raise VerificationError(
            f"a checkpoint signs {pending[-1][0]} entries, the log has {size}", cause="truncated", index=size
        )
    if size == 0 and head is not None and head.size == 0:
        check_points()
    return Verified(
        size,
        tree.root(),
        len(checkpoints),
        requests.decided,
        len([r for r in requests.open if not r.startswith("boot/")]),
        opened,
        len(erasures),
        [v.vkey for v in verifiers],
    )


def _check_entry(entry: Entry, origin: str) -> Public:
    if entry.leaf != entry.stored_leaf:
        raise VerificationError("an entry was changed", cause="leaf-mismatch", index=entry.index)
    public = entry.public
    if public.origin != origin:
        raise VerificationError("an entry of another log", cause="origin", index=entry.index)
    return public


def _check_content(store: Store, entry: Entry, public: Public) -> int:
    opened = 0
    for content in public.contents:
        try:
            _, state, _ = open_content(store, entry, public, content.name)
        except VerificationError as error:
            raise VerificationError(error.message, cause=error.cause, index=entry.index) from None
        opened += state == "open"
    return opened


def _check_tile(store: Store, end: int, leaves: list[bytes], built: int) -> None:
    """Compare the finished tile with the stored one, and its root with the level above."""
    if end > built:
        return
    index = end // TILE - 1
    if store.tile(0, index) != b"".join(leaves):
        raise VerificationError("a stored tile differs from the entries", cause="tile", index=end - TILE)
    above = store.tile(1, index // TILE)[index % TILE * 32 : index % TILE * 32 + 32]
    if above != root_of(leaves):
        raise VerificationError("a stored tile differs from those below it", cause="tile", index=end - TILE)


def verify_against(store: Store, origin: str, trusted: Sequence[Verifier], receipt: str) -> Checkpoint:
    """Check that this log still holds what a receipt or checkpoint from outside says: no rollback, no fork.

    ``receipt``: a ``.tlog-proof`` or a signed checkpoint. Nothing inside a plane can show that the whole
    plane was put back to an earlier state; only what someone else kept can.

    Raises:
        VerificationError: cause ``rolled-back`` (the log is shorter than it was) or ``forked``.
    """
    proof = Proof.parse(receipt) if receipt.startswith("c2sp.org/tlog-proof") else None
    checkpoint, _ = Checkpoint.verify(proof.checkpoint if proof else receipt, trusted, origin)
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
        proof.verify(leaf, trusted, origin)
    return checkpoint
