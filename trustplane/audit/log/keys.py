"""The log's signing keys: a folder with the Ed25519 and ML-DSA-44 keys, and their succession."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

from trustplane.audit.log import note
from trustplane.audit.log.note import Key, Verifier
from trustplane.audit.log.store import Store
from trustplane.errors import InputError, StoreError
from trustplane.files import write_private

__all__ = ["Keys", "open_identity"]


class Keys:
    """What signs checkpoints. ``history`` lists every verifier key the log ever had, oldest first."""

    def __init__(self, origin: str, signing: list[Key], history: list[str], folder: Path | None = None) -> None:
        self.origin, self.signing, self.history, self._folder = origin, signing, history, folder
        self.staged: list[Key] = []
        self._seen: tuple[int, int, int] | None = None

    @classmethod
    def generate(cls, origin: str, *, post_quantum: bool = True) -> Keys:
        """Make keys that live in memory only."""
        note.check_name(origin)
        signing = [Key.generate(origin)]
        if post_quantum and note.HAVE_MLDSA:
            signing.append(Key.generate(origin, note.MLDSA))
        return cls(origin, signing, [k.vkey for k in signing])

    @classmethod
    def open(cls, folder: Path, origin: str = "", *, post_quantum: bool = True) -> Keys:
        """Read the keys in ``folder``, or make them; files are readable by their owner only.

        Raises:
            InputError: the folder belongs to a log of another origin. StoreError: it cannot be used.
        """
        path = folder / "keys.json"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                made = cls.generate(origin or f"trustplane.local/{secrets.token_hex(6)}", post_quantum=post_quantum)
                made._folder = folder
                made._write(new=True)
            found = cls._read(folder)
        except OSError as error:
            raise StoreError(f"the signing keys cannot be used: {error.strerror}") from None
        if origin and found.origin != origin:
            raise InputError(
                f"this log is {found.origin}, not {origin}", hint="an origin is fixed for the life of a log"
            )
        return found

    @classmethod
    def _read(cls, folder: Path) -> Keys:
        try:
            seen = _stamp(folder / "keys.json")
            data = json.loads((folder / "keys.json").read_text())
            found = cls(data["origin"], [Key.parse(k) for k in data["signing"]], list(data["history"]), folder)
            found.staged, found._seen = [Key.parse(k) for k in data.get("staged", ())], seen
            return found
        except (ValueError, KeyError, TypeError):
            raise StoreError("the signing keys are damaged", hint="restore signing/keys.json from its backup") from None

    def _write(self, *, new: bool) -> None:
        assert self._folder is not None
        document = {"origin": self.origin, "signing": [k.text for k in self.signing], "history": self.history}
        if self.staged:
            document["staged"] = [k.text for k in self.staged]
        # of several processes that open a new log at once, the first one's keys count
        write_private(self._folder / "keys.json", json.dumps(document).encode(), new=new)

    def refresh(self) -> None:
        """Take over a rotation that another process made."""
        if self._folder is not None and _stamp(self._folder / "keys.json") != self._seen:
            fresh = self._read(self._folder)
            self.signing, self.history, self.staged = fresh.signing, fresh.history, fresh.staged
            self._seen = fresh._seen

    @property
    def post_quantum(self) -> bool:
        """Whether a second, ML-DSA-44 signature is made."""
        return len(self.signing) > 1

    @property
    def verifiers(self) -> list[Verifier]:
        """The keys that sign now."""
        return [k.verifier for k in self.signing]

    def sign(self, body: str, *, post_quantum: bool = True) -> str:
        """Return the signature lines over a note text."""
        keys = self.signing if post_quantum else self.signing[:1]
        return "".join(key.sign(body) + "\n" for key in keys)

    def stage(self) -> list[Key]:
        """Make the keys that are to follow and keep them beside the ones that sign: a crash loses neither."""
        self.staged = Keys.generate(self.origin, post_quantum=self.post_quantum).signing
        self._save()
        return self.staged

    def adopt(self) -> None:
        """Sign with the staged keys from now on; the old secret keys are forgotten."""
        self.signing, self.staged = self.staged, []
        self.history = self.history + [k.vkey for k in self.signing]
        self._save()

    def unstage(self) -> None:
        """Forget keys whose succession never reached the log."""
        self.staged = []
        self._save()

    def _save(self) -> None:
        if self._folder is not None:
            self._write(new=False)
            self._seen = _stamp(self._folder / "keys.json")


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


def open_identity(store: Store, folder: Path, origin: str, *, post_quantum: bool) -> Keys:
    """Return the keys of a log, and refuse parts that do not belong together.

    The log keeps its origin and a digest of its index key: a missing log.db, keys.db or signing folder beside
    the others is never quietly replaced by a new one.

    Raises:
        StoreError: a part is missing or belongs to another log. InputError: another origin than the log's own.
    """
    lost = "restore it from its backup; a new log needs a new folder"
    known = store.meta("origin")
    made = (folder / "keys.json").exists()
    if known is None and made:
        raise StoreError("the log's entries are gone, its signing keys are not", hint=lost)
    if known is not None and not made and store.size():
        raise StoreError("the signing keys of this log are gone", hint=lost)
    if known is None:  # the log's name is settled before its keys are made: a crash in between leaves both usable
        known = store.meta("origin", note.check_name(origin or f"trustplane.local/{secrets.token_hex(6)}"))
    index_key = hashlib.sha256(b"index key\n" + store.index_key()).hexdigest()
    if store.meta("index_key", index_key) != index_key:
        raise StoreError("keys.db is not the one of this log", hint=lost)
    keys = Keys.open(folder, origin or str(known), post_quantum=post_quantum)
    if keys.origin != known:
        raise StoreError("the signing keys are those of another log", hint=lost)
    return keys
