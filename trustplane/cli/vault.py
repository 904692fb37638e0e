"""What redact keeps so that restore can undo it: a sealed file of values, or sealed tokens; and their key."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from trustplane.cli.sink import writing
from trustplane.cli.texts import read_bytes
from trustplane.errors import InputError, StoreError
from trustplane.files import write_private
from trustplane.lock import held

if TYPE_CHECKING:
    from trustplane.guard.text import Session, TextGuard
    from trustplane.guard.text.restore import Pseudonyms

__all__ = ["Back", "Keeper", "restorer"]

_LOOKS = re.compile(r"\[[A-Z][A-Z0-9_]{1,60}_(?:[2-9B-DF-HJ-NP-TV-XZ]{4,12}|0[A-Z2-7]{28,400})\]")
"""What looks like a pseudonym or a sealed token as they were written."""


def _read_key(path: str) -> bytes:
    from trustplane.guard.text.vault import read_key

    return read_key(
        read_bytes(path, "the key", "--key FILE names it; redact makes one with a new vault").decode("ascii", "replace")
    )


class Back:
    """Puts values back into texts, and counts."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self.restored, self.strange = 0, 0
        """Pseudonyms put back, and texts that look like one and are not of this vault or key."""

    def __call__(self, text: str) -> str:
        """Return ``text`` with the values in their places."""
        places, _ = self._pseudonyms.find(text)
        self.restored += len(places)
        pieces: list[str] = []
        position = 0
        for place in places:
            pieces += (self._passed(text[position : place.start]), place.value)
            position = place.end
        return "".join(pieces) + self._passed(text[position:])

    def _passed(self, between: str) -> str:
        self.strange += sum(1 for _ in _LOOKS.finditer(between))
        return between


def restorer(vault: str, key: str, *, tenant: str) -> Back:
    """Return what puts values back into a text, from a vault or from sealed tokens; loads no rules."""
    from trustplane.guard.text.restore import Pseudonyms
    from trustplane.guard.text.vault import unseal

    secret = _read_key(key or vault + ".key")
    if not vault:
        from trustplane.guard.text.tokens import Sealer

        return Back(Pseudonyms(Sealer(secret, tenant)))
    pseudonyms = Pseudonyms()
    for shown, value in unseal(read_bytes(vault, "the vault", "--vault FILE, as redact was given"), secret).items():
        if shown.startswith("["):
            pseudonyms.add(shown[1:-1], value)
        else:
            pseudonyms.add_shaped("CREDIT_CARD" if shown.startswith("9999") else "", shown, value)
    return Back(pseudonyms)


class Keeper:
    """The key, the session and the vault of one run; each new key goes to disk before anything is hidden with it.

    A context, in which no other run can use the vault; ``hashes``: the policy asks for hashes, which need a key.
    """

    def __init__(self, vault: str, key: str, *, sealed: bool, style: str, tenant: str, hashes: bool = False) -> None:
        if sealed and vault:
            raise InputError("--sealed and --vault exclude each other", hint="sealed tokens need no vault")
        if (sealed or style == "hash") and not (key or vault):
            raise InputError("--sealed and --style hash need a key", hint="--key FILE; it is made if new")
        if key and not (sealed or vault or style == "hash" or (hashes and not style)):
            raise InputError(
                "--key without --vault", hint="masks cannot be undone; --vault keeps what undoes pseudonyms"
            )
        if style in {"pseudonym", "shape"} and not (sealed or vault):
            raise InputError(
                "pseudonyms need --vault or --sealed", hint="without, nothing could undo them: --style mask"
            )
        self._vault, self._sealed, self._style, self._tenant = vault, sealed, style, tenant
        self._path = key or (vault + ".key" if vault else "")
        self.session: Session | None = None
        self.key = b""
        self._held = ExitStack()

    def __enter__(self) -> Keeper:
        with ExitStack() as stack:
            if self._vault:
                folder = Path(self._vault).resolve().parent
                if not folder.is_dir():
                    raise InputError("the folder of the vault is not there")
                lock = Path(self._vault).resolve()
                if not stack.enter_context(held(lock.with_name(lock.name + ".lock"), wait=False)):
                    raise StoreError("the vault is in use by another process", hint="wait for it, or use another vault")
            self.key = self._key() if self._path else b""
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def paths(self) -> tuple[str, str, str]:
        """Names of the files that the run keeps: vault, its lock and key, ``""`` for one that it does not."""
        return self._vault, self._vault and self._vault + ".lock", self._path

    @property
    def reversible(self) -> bool:
        """Whether pseudonyms can be undone."""
        return bool(self._vault) or self._sealed

    def _key(self) -> bytes:
        from trustplane.guard.text.vault import new_key

        path = Path(self._path)
        if not path.exists() and not Path(self._vault or self._path).exists():
            with writing("the key"):
                write_private(path, new_key().encode(), new=True)
        return _read_key(self._path)

    def open(self, guard: TextGuard) -> None:
        """Make the session, with what the vault knows already."""
        from trustplane.guard.text import Session
        from trustplane.guard.text.vault import unseal

        if not self.reversible:
            return
        if self._sealed:
            self.session = Session(guard, key=self.key, tenant=self._tenant, sealed=True)
            return
        path = Path(self._vault)
        if self._style == "shape":
            from trustplane.guard.text.shapes import SHAPED

            if path.exists():
                raise InputError("--style shape needs a new vault", hint="an older one may hold other stand-ins")
            shapes = (*SHAPED, "EMAIL_ADDRESS")
            self.session = Session(guard, key=self.key, tenant=self._tenant, shapes=shapes)
            return
        known = unseal(read_bytes(self._vault, "the vault"), self.key) if path.exists() else {}
        self.session = Session.from_values(guard, known, key=self.key, tenant=self._tenant)

    def save(self) -> None:
        """Write the vault, in one step."""
        from trustplane.guard.text.vault import seal

        if not self._vault or self.session is None:
            return
        with writing("the vault"):
            write_private(Path(self._vault), seal(self.session.values(), self.key))
