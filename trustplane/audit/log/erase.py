"""Erasure and retention: destroying secrets so that content, salts and index entries say nothing any more.

The log keeps only hashes under destroyed salts; every old proof stays valid. The order is: announce the
erasure in the log, destroy, write the receipt. A crash in between leaves an announcement without a receipt,
which ``log verify`` counts; erasing again finishes the work under the same id.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from trustplane.errors import InputError
from trustplane.step import MAX_TEXT, Step

if TYPE_CHECKING:
    from trustplane.audit.log.log import AuditLog

__all__ = ["Erasure", "erase_subject", "expire_content"]


class Erasure(msgspec.Struct, frozen=True):
    """What an erasure did: how many secrets and kept fields went, the receipt's index, how long it took."""

    id: str
    keys: int
    fields: int
    index: int
    milliseconds: int


def erase_subject(log: AuditLog, subject: str, ground: str) -> Erasure:
    """Erase a subject; the log names neither the subject nor which requests were theirs.

    A list of those requests would keep them linked to one person after the link should be gone, so the
    announcement and the receipt carry counts only, under a random id.
    """
    if not ground or len(ground) > MAX_TEXT:
        raise InputError("an erasure names its ground, such as 'GDPR 17(1)(b)'")
    started = time.monotonic_ns()
    log.flush()
    owner = log.owner_of(subject)
    found = log.store.keys_of(owner)
    ident = log.store.begin_erasure(owner, secrets.token_hex(8))
    log.append(Step("subject.erase", "announced", facts={"erasure": ident, "ground": ground, "keys": len(found)}))
    fields = 0
    destroyed = 0
    while found:  # another process may open one more request of this subject meanwhile
        fields += log.store.destroy([key.id for key in found])
        destroyed += len(found)
        found = log.store.keys_of(owner)
    facts = {"erasure": ident, "ground": ground, "keys": destroyed, "fields": fields}
    (index,) = log.append(Step("subject.erase", "erased", facts=facts))
    log.store.end_erasure(owner)
    return Erasure(ident, destroyed, fields, index, (time.monotonic_ns() - started) // 1_000_000)


def expire_content(log: AuditLog, now_us: int) -> int:
    """Destroy expired secrets; the receipt says up to which time nothing sealed is left."""
    gone = log.store.expired(now_us)
    if gone:
        fields = log.store.destroy(gone)
        facts = {"keys": len(gone), "fields": fields, "until_us": now_us}
        log.append(Step("content.expire", "destroyed", facts=facts))
    return len(gone)
