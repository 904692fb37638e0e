"""What redact keeps so that restore can undo it: a sealed file of values, or sealed tokens; and their key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trustplane.cli.texts import read_bytes
from trustplane.errors import InputError
from trustplane.files import write_private

if TYPE_CHECKING:
    from trustplane.guard.text import Session, TextGuard

__all__ = ["Keeper", "restorer"]


def _read_key(path: str) -> bytes:
    from trustplane.guard.text.vault import read_key

    return read_key(read_bytes(path, "the key").decode("ascii", "replace"))


def restorer(vault: str, key: str, *, tenant: str) -> Callable[[str], str]:
    """Return what puts values back into a text, from a vault or from sealed tokens; loads no rules."""
    from trustplane.guard.text.restore import Pseudonyms
    from trustplane.guard.text.vault import unseal

    secret = _read_key(key or vault + ".key")
    if not vault:
        from trustplane.guard.text.tokens import Sealer

        return Pseudonyms(Sealer(secret, tenant)).restore
    pseudonyms = Pseudonyms()
    for shown, value in unseal(read_bytes(vault, "the vault"), secret).items():
        if shown.startswith("["):
            pseudonyms.add(shown[1:-1], value)
        else:
            pseudonyms.add_shaped("CREDIT_CARD" if shown.startswith("9999") else "", shown, value)
    return pseudonyms.restore


class Keeper:
    """The key, the session and the vault of one run; each new key goes to disk before anything is hidden with it."""

    def __init__(self, vault: str, key: str, *, sealed: bool, style: str, tenant: str) -> None:
        if sealed and vault:
            raise InputError("--sealed and --vault exclude each other", hint="sealed tokens need no vault")
        if (sealed or style == "hash") and not (key or vault):
            raise InputError("--sealed and --style hash need --key")
        if key and not (sealed or vault or style == "hash"):
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
        self.key = self._key() if self._path else b""

    @property
    def reversible(self) -> bool:
        """Whether pseudonyms can be undone."""
        return bool(self._vault) or self._sealed

    def _key(self) -> bytes:
        from trustplane.guard.text.vault import new_key

        path = Path(self._path)
        if not path.exists() and not Path(self._vault or self._path).exists():
            try:
                write_private(path, new_key().encode(), new=True)
            except OSError as error:
                raise InputError(f"the key cannot be written: {error.strerror}") from None
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
        known = unseal(path.read_bytes(), self.key) if path.exists() else {}
        self.session = Session.from_values(guard, known, key=self.key, tenant=self._tenant)

    def save(self) -> None:
        """Write the vault, in one step."""
        from trustplane.guard.text.vault import seal

        if not self._vault or self.session is None:
            return
        try:
            write_private(Path(self._vault), seal(self.session.values(), self.key))
        except OSError as error:
            raise InputError(f"the vault cannot be written: {error.strerror}") from None
