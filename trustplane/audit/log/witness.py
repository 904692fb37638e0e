"""A witness: remembers the last checkpoint of each log, cosigns only what extends it, refuses a fork."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from trustplane.audit.log.note import COSIGN, Checkpoint, Key, Verifier
from trustplane.audit.log.tree import verify_consistency
from trustplane.errors import InputError, StoreError, VerificationError
from trustplane.files import write_private
from trustplane.lock import held

__all__ = ["Witness"]


class Witness:
    """A key and a file of last-seen checkpoints in a folder of its own, on another machine than the log."""

    def __init__(self, folder: Path | str, name: str = "") -> None:
        self.folder = Path(folder)
        path = self.folder / "witness.key"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                if not name:
                    raise InputError("a new witness needs a name", hint="such as witness.example/audit")
                write_private(path, (Key.generate(name, COSIGN).text + "\n").encode(), new=True)
            self.key = Key.parse(path.read_text())
        except OSError as error:
            raise StoreError(f"the witness folder cannot be used: {error.strerror}") from None

    def seen(self) -> dict[str, tuple[int, str]]:
        """Return per origin the size and root (hex) cosigned last."""
        path = self.folder / "seen.json"
        try:
            return {k: (v[0], v[1]) for k, v in json.loads(path.read_text()).items()} if path.exists() else {}
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                "the witness's memory is damaged", hint="restore seen.json; never start it empty"
            ) from None

    def cosign(
        self,
        text: str,
        trusted: Sequence[Verifier],
        origin: str,
        proof: Sequence[bytes],
        *,
        now: int | None = None,
    ) -> str:
        """Check a signed checkpoint against what was seen last; return it with the cosignature added.

        ``proof``: the consistency proof from the last seen size, empty the first time.

        Raises:
            VerificationError: cause ``forked``, ``rolled-back``, or one of the signature.
        """
        checkpoint, _ = Checkpoint.verify(text, trusted, origin)
        with held(self.folder / "lock"):
            seen = self.seen()
            if origin in seen:
                size, root = seen[origin]
                if checkpoint.size < size:
                    raise VerificationError(
                        f"the log shows {checkpoint.size} entries after {size}",
                        cause="rolled-back",
                        index=checkpoint.size,
                    )
                if size:
                    try:
                        verify_consistency(size, checkpoint.size, proof, bytes.fromhex(root), checkpoint.root)
                    except VerificationError:
                        raise VerificationError(
                            f"the log of {checkpoint.size} entries does not extend the {size} seen before",
                            cause="forked",
                        ) from None
            line = self.key.sign(checkpoint.body, now=now)
            seen[origin] = (checkpoint.size, checkpoint.root.hex())
            try:
                write_private(self.folder / "seen.json", json.dumps(seen).encode())
            except OSError as error:
                raise StoreError(f"the witness cannot remember, so it does not sign: {error.strerror}") from None
        return text + line + "\n"
