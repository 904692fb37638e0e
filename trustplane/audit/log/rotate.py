"""Key rotation: a succession entry that the old and the new key sign, so that a verifier can follow."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trustplane.audit.log.note import ED25519, Verifier, verify_note
from trustplane.audit.log.read import unpack
from trustplane.errors import InputError, VerificationError
from trustplane.step import Step

if TYPE_CHECKING:
    from trustplane.audit.log.log import AuditLog
    from trustplane.audit.log.store import Store

__all__ = ["finish_rotation", "rotate_keys", "succession_body", "successors", "verifiers_at"]

_CHUNK = 240


def succession_body(origin: str, old: list[str], new: list[str]) -> str:
    """Return the note text that old and new key sign: from here on ``new`` sign this log, ``old`` no more."""
    lines = ["trustplane/succession/1", origin, *(f"old {v}" for v in old), *(f"new {v}" for v in new)]
    return "\n".join(lines) + "\n"


def rotate_keys(log: AuditLog) -> str:
    """Write the succession under the old keys, then sign with new ones only.

    The new keys are on disk before the entry that names them; :func:`finish_rotation` settles what a crash
    leaves.
    """
    with log._signing, log.store.integration(wait=True):
        log.keys.refresh()
        _settle(log)
        old, new = log.keys.signing, log.keys.stage()
        body = succession_body(log.origin, [k.vkey for k in old], [k.vkey for k in new])
        signatures = old[0].sign(body) + "\n" + new[0].sign(body) + "\n"
        text = base64.b64encode((body + "\n" + signatures).encode()).decode()
        parts = [text[i : i + _CHUNK] for i in range(0, len(text), _CHUNK)]
        log.write(_name(new[0].vkey), Step("key.succession", "rotated", facts={"note": parts}))
        log.keys.adopt()
    log.checkpoint()
    return log.keys.signing[0].vkey


def finish_rotation(log: AuditLog) -> None:
    """After a crash in a rotation: adopt the staged keys if the log names them, else forget them."""
    if log.keys.staged:
        with log._signing, log.store.integration(wait=True):
            log.keys.refresh()
            _settle(log)


def _settle(log: AuditLog) -> None:
    if log.keys.staged:
        if log.read(_name(log.keys.staged[0].vkey)):
            log.keys.adopt()
        else:
            log.keys.unstage()


def _name(vkey: str) -> str:
    """Return the request id of the succession to a key."""
    return "succession/" + hashlib.sha256(vkey.encode()).hexdigest()[:16]


def successors(facts: dict[str, Any], known: list[Verifier], origin: str, index: int) -> list[Verifier]:
    """Return the keys that hold after a succession entry: those known, less the old, plus the new.

    Raises:
        VerificationError: cause ``succession``: malformed, not signed by both, or by no known key.
    """
    wrong = VerificationError("a key succession does not hold", cause="succession", index=index)
    try:
        text = base64.b64decode("".join(facts["note"]), validate=True).decode()
        lines = text.partition("\n\n")[0].split("\n")[2:]
        old = [Verifier.parse(line[4:]) for line in lines if line.startswith("old ")]
        new = [Verifier.parse(line[4:]) for line in lines if line.startswith("new ")]
        signers = [v for v in (old[0], new[0]) if v.kind == ED25519]
        body, signed = verify_note(text, signers)
    except (KeyError, TypeError, ValueError, IndexError, InputError, VerificationError):
        raise wrong from None
    if (
        body != succession_body(origin, [v.vkey for v in old], [v.vkey for v in new])
        or len(signers) != 2
        or not {v.vkey for v in signers} <= set(signed)
        or old[0].vkey not in {v.vkey for v in known}
    ):
        raise wrong
    gone = {v.vkey for v in old}
    return [v for v in known if v.vkey not in gone] + new


def verifiers_at(store: Store, origin: str, trusted: Sequence[Verifier], size: int) -> list[Verifier]:
    """Return the keys that sign a log of ``size`` entries, from those of its beginning (or its whole history).

    Successions carry the signatures of both keys, so that they need no tree around them to be believed.

    Raises:
        VerificationError: cause ``succession``: one of them does not hold.
    """
    known = list(trusted)
    for row in store.rows(0, min(size, store.size())):
        if b'"key.succession"' in row.publics:
            for entry in unpack(row):
                if entry.index < size and b'"key.succession"' in entry.data:
                    public = entry.public
                    if public.action == "key.succession" and public.kind == "log":
                        known = successors(public.facts, known, origin, entry.index)
    return known
