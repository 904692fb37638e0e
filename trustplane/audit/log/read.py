"""Reading: entries out of stored batches, content out of its seals, a request as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from trustplane import canon
from trustplane.audit.log import seal
from trustplane.audit.log.entry import SALT_BYTES, Public, decode, entry_hash, open_field
from trustplane.audit.log.store import Row, Store
from trustplane.errors import InputError, VerificationError

__all__ = ["Entry", "entries", "entry_at", "export", "open_content", "unpack"]


class Entry(msgspec.Struct, frozen=True):
    """One entry as stored: its index, the bytes of its public part, its salt, its field commitments."""

    index: int
    data: bytes
    salt: bytes
    commitments: tuple[bytes, ...]
    stored_leaf: bytes

    @property
    def public(self) -> Public:
        """The public part; VerificationError where it is not canonical."""
        return decode(self.data, self.index)

    @property
    def leaf(self) -> bytes:
        """The leaf hash, computed from the parts."""
        return entry_hash(self.data, self.salt, list(self.commitments))

    def disclosed(self) -> dict[str, Any]:
        """Return what lets others recompute the leaf: text form of :class:`Entry`, for JSON lines."""
        found: dict[str, Any] = {"index": self.index, "public": self.data.decode(), "salt": self.salt.hex()}
        found["leaf"] = self.stored_leaf.hex()  # names a changed entry; the root is what counts
        if self.commitments:
            found["fields"] = [c.hex() for c in self.commitments]
        return found


def unpack(row: Row) -> Iterator[Entry]:
    """Yield the entries of a stored batch.

    Raises:
        VerificationError: cause ``batch-form``: the parts of the batch do not fit together.
    """
    publics = row.publics.split(b"\n") if row.size else []
    if (
        len(publics) != row.size
        or len(row.salts) != SALT_BYTES * row.size
        or len(row.leaves) != 32 * row.size
        or len(row.commitments) % 32
    ):
        raise VerificationError("a stored batch is malformed", cause="batch-form", index=row.first)
    used = 0
    for i, data in enumerate(publics):
        fields: tuple[bytes, ...] = ()
        if b'"content":[' in data:
            count = len(decode(data, row.first + i).content)
            part = row.commitments[used * 32 : (used + count) * 32]
            if len(part) != count * 32:
                raise VerificationError("a field commitment is missing", cause="batch-form", index=row.first + i)
            fields = tuple(part[j : j + 32] for j in range(0, len(part), 32))
            used += count
        yield Entry(
            row.first + i,
            data,
            row.salts[i * SALT_BYTES : (i + 1) * SALT_BYTES],
            fields,
            row.leaves[i * 32 : i * 32 + 32],
        )
    if used * 32 != len(row.commitments):
        raise VerificationError("a field commitment belongs to no entry", cause="batch-form", index=row.first)


def _unchanged(entry: Entry) -> Entry:
    """Return an entry whose parts give the hash that stands in the log; nothing else is ever shown."""
    if entry.leaf != entry.stored_leaf:
        raise VerificationError("an entry was changed", cause="leaf-mismatch", index=entry.index)
    return entry


def entries(store: Store, start: int, stop: int) -> Iterator[Entry]:
    """Yield the entries ``[start, stop)``."""
    for row in store.rows(start, stop):
        for entry in unpack(row):
            if start <= entry.index < stop:
                yield _unchanged(entry)


def entry_at(store: Store, index: int) -> Entry:
    """Return one entry; InputError where there is none."""
    if 0 <= index < 2**62:
        for entry in entries(store, index, index + 1):
            return entry
    raise InputError(f"there is no entry {index}", hint="trustplane log show lists them")


def of_request(store: Store, request: str) -> list[list[tuple[Entry, Public]]]:
    """Return the runs of a request, oldest first, each in the order of its steps.

    A run is what one process did under the id from one opening on; mostly there is one.
    """
    runs: list[list[tuple[Entry, Public]]] = []
    newest: dict[str, list[tuple[Entry, Public]]] = {}
    for first in store.find(request):
        for row in store.rows(first, first + 1):
            for entry in unpack(row):
                public = entry.public
                if public.request != request:
                    continue
                _unchanged(entry)
                if public.step == 0 or public.boot not in newest:
                    newest[public.boot] = []
                    runs.append(newest[public.boot])
                newest[public.boot].append((entry, public))
    return [sorted(run, key=lambda pair: pair[1].step) for run in runs]


def open_content(store: Store, entry: Entry, public: Public, name: str) -> tuple[Any, str, bytes | None]:
    """Return a content field as (value, state, salt).

    State: ``absent``, ``digest`` (only a commitment was kept), ``redacted``, ``open`` (checked against its
    commitment), ``expired``, ``destroyed`` or ``missing`` (an erasure was cut off). The salt opens the
    commitment.

    Raises:
        VerificationError: kept content that is not what was committed to.
    """
    for place, content in enumerate(public.contents):
        if content.name != name:
            continue
        ident = bytes.fromhex(content.key)
        key = store.key(ident)
        if key is None:
            return None, "destroyed", None
        ends = content.expires_us or key.expires_us  # the entry's word counts: nobody can change it
        if ends is not None and ends <= time.time_ns() // 1000:
            return None, "expired", None
        salt = seal.salt_of(key.secret, public.step, name)
        if content.mode == "digest":
            return None, "digest", salt
        row = store.content(ident, public.step, name)
        if row is None:
            return None, "missing", salt
        if row.mode != content.mode:
            raise VerificationError("content kept in another mode", cause="content-mode", index=entry.index)
        value = canon.loads(seal.unseal(key.secret, ident, public.step, name, row.value))
        if content.mode == "redacted":
            return value, "redacted", salt
        try:
            open_field(name, value, salt, entry.commitments[place])
        except VerificationError as error:
            raise VerificationError(error.message, cause=error.cause, index=entry.index) from None
        return value, "open", salt
    return None, "absent", None


def export(store: Store, request: str, *, salts: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a request as the exported JSON and, beside it, its evidence.

    The first holds exactly ``request_id``, ``input_text``, ``inference_steps`` and ``output_decision``.
    The second says per field whether content was kept, and which entries it came from; with ``salts`` it
    also opens the commitments, for whoever must prove the content to others. Of an id that was used again,
    after a crash or a decision, this is the newest of its ``runs``.

    Raises:
        InputError: there is no such request.
    """
    runs = of_request(store, request)
    if not runs:
        raise InputError(f"there is no request {request}", hint="trustplane log show lists requests")
    found = runs[-1]
    states: dict[str, str] = {}
    opened: dict[str, str] = {}

    def field(entry: Entry, public: Public, name: str, label: str) -> Any:
        value, state, salt = open_content(store, entry, public, name)
        states[label] = state
        if salts and salt is not None:
            opened[label] = salt.hex()
        return value

    text: Any = None
    decision: Any = None
    steps: list[dict[str, Any]] = []
    for entry, public in found:
        if public.kind == "open":
            text = field(entry, public, "input", "input_text")
        elif public.kind == "decision":
            decision = field(entry, public, "output", "output_decision")
            if states["output_decision"] == "absent":
                decision = public.result
                states["output_decision"] = "public"
        else:
            label = f"inference_steps[{len(steps)}].result"
            value = field(entry, public, "result", label)
            if states[label] == "absent":
                value, states[label] = public.result, "public"
            steps.append({"step": public.step, "action": public.action, "result": value})
    numbers = [public.step for _, public in found]
    document = {
        "request_id": request,
        "input_text": text,
        "inference_steps": steps,
        "output_decision": decision,
    }
    evidence: dict[str, Any] = {
        "content": states,
        "mode": found[0][1].mode,
        "complete": numbers == list(range(len(numbers))) and found[-1][1].kind == "decision",
        "entries": [entry.index for entry, _ in found],
        "purpose": found[0][1].purpose,
        "runs": len(runs),
    }
    if salts:
        evidence["salts"] = opened
    return document, evidence
