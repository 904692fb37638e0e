"""``trustplane log verify``: the whole log, one entry, or that one checkpoint extends another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, progress, talk
from trustplane.errors import InputError

if TYPE_CHECKING:
    from trustplane.audit.log.keys import Keys
    from trustplane.audit.log.note import Checkpoint, Verifier
    from trustplane.audit.log.sqlite import SqliteStore

__all__ = ["reading", "trusted_keys", "verify"]


@contextmanager
def reading(plane: str) -> Iterator[tuple[SqliteStore, Keys]]:
    """Open the files of a plane without ever signing: who looks at a damaged log must not put a seal on it."""
    from trustplane.audit.log.keys import Keys
    from trustplane.audit.log.sqlite import SqliteStore

    folder = Path(plane)
    if not (folder / "log.db").is_file() or not (folder / "signing" / "keys.json").is_file():
        raise InputError(f"there is no plane in {plane}", hint="name its folder with --plane")
    store = SqliteStore(folder)
    try:
        yield store, Keys.open(folder / "signing")
    finally:
        store.close()


def text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {type(error).__name__}") from None


def verify(
    plane: PlaneOption,
    key: Annotated[list[str], typer.Option("--key", help="A verifier key you trust; repeat it.", metavar="VKEY")] = [],  # noqa: B006
    against: Annotated[
        list[Path], typer.Option("--against", help="A receipt or checkpoint kept elsewhere; repeat it.", metavar="FILE")
    ] = [],  # noqa: B006
    entry: Annotated[int | None, typer.Option("--entry", help="Verify one entry; needs --proof.")] = None,
    proof: Annotated[Path | None, typer.Option("--proof", help="The entry's .tlog-proof.", metavar="FILE")] = None,
    earlier: Annotated[Path | None, typer.Option("--from", help="A signed checkpoint.", metavar="FILE")] = None,
    later: Annotated[Path | None, typer.Option("--to", help="A later signed checkpoint.", metavar="FILE")] = None,
    json: JsonFlag = False,
) -> None:
    """Verify the whole log, one entry, or that one checkpoint extends another. Exit code 5 where it fails."""
    if (entry is None) != (proof is None) or (earlier is None) != (later is None):
        raise InputError("--entry goes with --proof, and --from with --to")
    with reading(plane) as (store, keys):
        trusted = trusted_keys(key, keys)
        if entry is not None and proof is not None:
            found = _verify_entry(store, keys.origin, trusted, entry, proof)
        elif earlier is not None and later is not None:
            found = _verify_growth(store, keys.origin, trusted, earlier, later)
        else:
            found = _verify_all(store, keys.origin, trusted, against)
    text = "verified: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items())
    emit({"verified": True} | found, as_json=json, text=text)


def trusted_keys(given: list[str], keys: Keys) -> list[Verifier]:
    """Return the verifier keys that were given, else the whole history of the plane's own, and say so."""
    from trustplane.audit.log.note import Verifier

    if not given:
        talk("the keys are the plane's own: against its operator, give the one you were told with --key")
    return [Verifier.parse(vkey) for vkey in given or keys.history]


def _verify_all(store: SqliteStore, origin: str, trusted: list[Verifier], against: list[Path]) -> dict[str, Any]:
    from trustplane.audit.log.verify import verify_against, verify_log

    with progress("entries", store.size()) as advance:
        result = verify_log(store, origin, trusted, advance=advance)
    for path in against:
        verify_against(store, origin, trusted, text_of(path))
    if result.signed < result.size:
        talk(f"entries {result.signed} to {result.size - 1} are under no signed checkpoint yet")
    if result.unfinished_erasures:
        talk("an erasure was announced and not finished: erase that subject again")
    return {
        "entries": result.size,
        "signed": result.signed,
        "root": result.root.hex(),
        "checkpoints": result.checkpoints,
        "requests": result.requests,
        "open_requests": result.open_requests,
        "opened_fields": result.contents,
        "unfinished_erasures": result.unfinished_erasures,
        "receipts": len(against),
    }


def _verify_entry(store: SqliteStore, origin: str, trusted: list[Verifier], index: int, path: Path) -> dict[str, Any]:
    from trustplane.audit.log.note import Checkpoint, Proof
    from trustplane.audit.log.read import entry_at
    from trustplane.audit.log.rotate import verifiers_at
    from trustplane.errors import VerificationError

    found = Proof.parse(text_of(path))
    trusted = verifiers_at(store, origin, trusted, Checkpoint.claimed(found.checkpoint).size)
    if found.index != index:
        raise VerificationError(f"the proof is for entry {found.index}", cause="index", index=index)
    checkpoint = found.verify(entry_at(store, index).leaf, trusted, origin)
    return {"entry": index, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _verify_growth(
    store: SqliteStore, origin: str, trusted: list[Verifier], earlier: Path, later: Path
) -> dict[str, Any]:
    from trustplane.audit.log.integrate import nodes
    from trustplane.audit.log.tree import consistency_proof, verify_consistency

    old, new = (_signed(store, origin, trusted, text_of(path)) for path in (earlier, later))
    head = store.head()
    if not 0 < old.size <= new.size <= (head.size if head else 0):
        raise InputError("two checkpoints of this log, the smaller first", hint="the log has fewer entries?")
    path = consistency_proof(nodes(store), old.size, new.size)
    verify_consistency(old.size, new.size, path, old.root, new.root)
    return {"from": old.size, "to": new.size}


def _signed(store: SqliteStore, origin: str, trusted: list[Verifier], text: str) -> Checkpoint:
    """Return a checkpoint that is signed by the keys in force at its size."""
    from trustplane.audit.log.note import Checkpoint
    from trustplane.audit.log.rotate import verifiers_at

    return Checkpoint.verify(text, verifiers_at(store, origin, trusted, Checkpoint.claimed(text).size), origin)[0]
