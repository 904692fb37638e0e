"""``trustplane log``: show, export, prove, verify, sign, cosign, erase, rotate, and publish as tiles."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, existing, progress, talk
from trustplane.errors import InputError, Refused

if TYPE_CHECKING:
    from trustplane.audit.log.keys import Keys
    from trustplane.audit.log.log import AuditLog
    from trustplane.audit.log.note import Verifier
    from trustplane.audit.log.read import Entry
    from trustplane.audit.log.sqlite import SqliteStore

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    log = typer.Typer(no_args_is_help=True, help="The audit log: read, prove, verify, erase.")
    app.add_typer(log, name="log")
    log.command()(show)
    log.command()(export)
    log.command()(prove)
    log.command()(verify)
    log.command()(checkpoint)
    log.command()(cosign)
    log.command()(erase)
    log.command()(expire)
    log.command()(tiles)
    key = typer.Typer(no_args_is_help=True, help="The signing keys: show or rotate.")
    log.add_typer(key, name="key")
    key.command("show")(key_show)
    key.command("rotate")(key_rotate)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _reading(plane: str) -> Iterator[tuple[SqliteStore, Keys]]:
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


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {type(error).__name__}") from None


def _row(entry: Entry) -> dict[str, Any]:
    public = entry.public
    return {
        "index": entry.index,
        "time": _time(public.wall_us),
        "request": public.request,
        "step": public.step,
        "kind": public.kind,
        "action": public.action,
        "result": public.result,
        "facts": public.facts,
    }


def _time(wall_us: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(wall_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show(
    plane: PlaneOption,
    request: Annotated[str, typer.Option("--request", help="Only this request.", metavar="ID")] = "",
    newest: Annotated[int, typer.Option("--newest", help="How many entries.", min=1, max=100_000)] = 20,
    json: JsonFlag = False,
) -> None:
    """Show the newest entries, or those of one request. Content is not opened."""
    from trustplane.audit.log.read import entries, of_request

    with _reading(plane) as (store, _keys):
        if request:
            rows = [_row(entry) for run in of_request(store, request) for entry, _ in run]
            if not rows:
                raise InputError(f"there is no request {request}", hint="trustplane log show lists requests")
        else:
            size = store.size()
            rows = [_row(entry) for entry in entries(store, max(0, size - newest), size)]
    if json:
        emit(rows, as_json=True)
    else:
        _table(rows)


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from trustplane.audit.report.words import visible

    table = Table(box=None, pad_edge=False)
    names = ["index", "time", "request", "step", "kind", "action", "result"]
    for name in names:
        table.add_column(name, justify="right" if name in ("index", "step") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(visible(str(row[name]))) for name in names))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200).print(table)


def export(
    request: Annotated[str, typer.Argument(help="The request's id.")],
    plane: PlaneOption,
    salts: Annotated[bool, typer.Option("--salts", help="Also give the salts that open the commitments.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write to a file.", metavar="FILE")] = None,
    json: JsonFlag = True,
) -> None:
    """Export a request as JSON, with evidence and proof beside it. Opening sealed content is logged first."""
    import json as text_of

    import trustplane

    with trustplane.open(existing(plane)) as opened:
        log = opened.log
        document, evidence = log.export(request, salts=salts)
        if salts or (evidence["mode"] == "sealed" and "open" in evidence["content"].values()):
            facts = {"request": request, "salts": salts}
            evidence["opening"] = log.append(trustplane.Step("content.open", "opened", facts=facts))[0]
            talk(f"the opening is entry {evidence['opening']}")
    data = {"document": document, "evidence": evidence}
    if out is None:
        emit(data, as_json=json)
    else:
        out.write_text(text_of.dumps(data, ensure_ascii=False, indent=2) + "\n", "utf-8")
        talk(f"written to {out}")


def prove(
    index: Annotated[int, typer.Argument(help="The entry.")],
    plane: PlaneOption,
    out: Annotated[Path | None, typer.Option("--out", help="Write the .tlog-proof here.", metavar="FILE")] = None,
    json: JsonFlag = False,
) -> None:
    """Give the .tlog-proof of an entry; with --json also the entry's parts, from which its hash follows."""
    import trustplane

    with trustplane.open(existing(plane)) as opened:
        text = opened.log.proof(index).text
        parts = opened.log.entry(index).disclosed()
    if out is not None:
        out.write_text(text, "utf-8")
        talk(f"written to {out}")
    if json:
        emit({"proof": text, "entry": parts}, as_json=True)
    elif out is None:
        emit(None, as_json=False, text=text)


# ── verifying ───────────────────────────────────────────────────────────────────────────────────────


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
    with _reading(plane) as (store, keys):
        trusted = _trusted(key, keys)
        if entry is not None and proof is not None:
            found = _verify_entry(store, keys.origin, trusted, entry, proof)
        elif earlier is not None and later is not None:
            found = _verify_growth(store, keys.origin, trusted, earlier, later)
        else:
            found = _verify_all(store, keys.origin, trusted, against)
    text = "verified: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items())
    emit({"verified": True} | found, as_json=json, text=text)


def _trusted(given: list[str], keys: Keys) -> list[Verifier]:
    from trustplane.audit.log.note import Verifier

    if not given:
        talk("the keys are the plane's own: against its operator, give the one you were told with --key")
    return [Verifier.parse(vkey) for vkey in given or keys.history]


def _verify_all(store: SqliteStore, origin: str, trusted: list[Verifier], against: list[Path]) -> dict[str, Any]:
    from trustplane.audit.log.verify import verify_against, verify_log

    with progress("entries", store.size()) as advance:
        result = verify_log(store, origin, trusted, advance=advance)
    for path in against:
        verify_against(store, origin, trusted, _text_of(path))
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
    from trustplane.audit.log.note import Proof
    from trustplane.audit.log.read import entry_at
    from trustplane.errors import VerificationError

    found = Proof.parse(_text_of(path))
    if found.index != index:
        raise VerificationError(f"the proof is for entry {found.index}", cause="index", index=index)
    checkpoint = found.verify(entry_at(store, index).leaf, trusted, origin)
    return {"entry": index, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _verify_growth(
    store: SqliteStore, origin: str, trusted: list[Verifier], earlier: Path, later: Path
) -> dict[str, Any]:
    from trustplane.audit.log.integrate import nodes
    from trustplane.audit.log.note import Checkpoint
    from trustplane.audit.log.tree import consistency_proof, verify_consistency

    old, _ = Checkpoint.verify(_text_of(earlier), trusted, origin)
    new, _ = Checkpoint.verify(_text_of(later), trusted, origin)
    head = store.head()
    if not 0 < old.size <= new.size <= (head.size if head else 0):
        raise InputError("two checkpoints of this log, the smaller first", hint="the log has fewer entries?")
    path = consistency_proof(nodes(store), old.size, new.size)
    verify_consistency(old.size, new.size, path, old.root, new.root)
    return {"from": old.size, "to": new.size}


# ── signing ─────────────────────────────────────────────────────────────────────────────────────────


def checkpoint(plane: PlaneOption, json: JsonFlag = False) -> None:
    """Sign a checkpoint over all entries and print the note."""
    import trustplane

    with trustplane.open(existing(plane)) as opened:
        found, text = opened.log.checkpoint()
    emit({"size": found.size, "root": found.root.hex(), "note": text}, as_json=json, text=text)


def cosign(
    plane: PlaneOption,
    witness: Annotated[Path, typer.Option("--witness", help="The witness's own folder.", metavar="DIR")],
    name: Annotated[str, typer.Option("--name", help="Its name, the first time.")] = "",
    key: Annotated[list[str], typer.Option("--key", help="A verifier key it trusts; repeat it.", metavar="VKEY")] = [],  # noqa: B006
    json: JsonFlag = False,
) -> None:
    """Let a witness check that the log only grew, and add its signature to the checkpoint."""
    import trustplane
    from trustplane.audit.log.witness import Witness

    made = Witness(witness, name)
    with trustplane.open(existing(plane)) as opened:
        log = opened.log
        found, text = log.checkpoint()
        seen = made.seen().get(log.origin, (0, ""))[0]
        path = log.consistency(seen, found.size) if 0 < seen <= found.size else []
        cosigned = made.cosign(text, _trusted(key, log.keys), log.origin, path)
    emit({"size": found.size, "witness": made.key.vkey, "note": cosigned}, as_json=json, text=cosigned)


def key_show(plane: PlaneOption, json: JsonFlag = False) -> None:
    """Show the verifier keys that sign now, and all the log ever had."""
    with _reading(plane) as (_store, keys):
        data = {"origin": keys.origin, "signing": [v.vkey for v in keys.verifiers], "history": keys.history}
    emit(data, as_json=json, text="\n".join(data["signing"]))


def key_rotate(plane: PlaneOption, json: JsonFlag = False) -> None:
    """Replace the signing keys; the succession is an entry that old and new key sign."""
    import trustplane

    with trustplane.open(existing(plane)) as opened:
        vkey = opened.log.rotate()
    emit({"key": vkey}, as_json=json, text=vkey)


# ── erasing ─────────────────────────────────────────────────────────────────────────────────────────


def erase(
    subject: Annotated[str, typer.Argument(help="Whom; '-' reads the name from stdin, out of the shell's history.")],
    ground: Annotated[str, typer.Option("--ground", help="Such as 'GDPR 17(1)(b)'. Public.")],
    plane: PlaneOption,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonFlag = False,
) -> None:
    """Destroy every secret of a subject and the content under it. This cannot be undone."""
    import trustplane

    if subject == "-" and yes:
        subject = sys.stdin.readline().rstrip("\n")
    elif not yes:
        if subject == "-" or not sys.stdin.isatty():
            raise InputError("an erasure cannot be undone and wants a yes", hint="add --yes")
        if not typer.confirm("Erase this subject? It cannot be undone.", err=True):
            raise Refused("nothing was erased")
    with trustplane.open(existing(plane)) as opened:
        done = opened.log.erase(subject, ground=ground)
    data = {
        "erasure": done.id,
        "keys": done.keys,
        "fields": done.fields,
        "entry": done.index,
        "milliseconds": done.milliseconds,
    }
    emit(
        data, as_json=json, text=f"{done.keys} secrets and {done.fields} fields destroyed; receipt: entry {done.index}"
    )


def expire(plane: PlaneOption, json: JsonFlag = False) -> None:
    """Destroy the sealed content whose time is over."""
    import trustplane

    with trustplane.open(existing(plane)) as opened:
        gone = opened.log.expire()
    emit({"keys": gone}, as_json=json, text=f"{gone} secrets destroyed")


# ── tiles ───────────────────────────────────────────────────────────────────────────────────────────


def tiles(
    plane: PlaneOption,
    out: Annotated[Path, typer.Option("--out", help="Folder to publish, static files only.", metavar="DIR")],
    json: JsonFlag = False,
) -> None:
    """Write the log as c2sp.org/tlog-tiles: tile/<L>/<N>, tile/entries/<N> and the checkpoint, last."""
    import trustplane

    with trustplane.open(existing(plane)) as opened:
        log = opened.log
        found, text = log.checkpoint()
        with progress("entries", found.size) as advance:
            count = _hash_tiles(log, found.size, out) + _entry_tiles(log, found.size, out, advance)
    (out / "checkpoint").write_text(text, "utf-8")
    emit({"size": found.size, "files": count + 1}, as_json=json, text=f"{found.size} entries in {count + 1} files")


def _put(out: Path, kind: str, number: int, width: int, data: bytes) -> None:
    """Write a tile under its C2SP path: groups of three digits, ``.p/<width>`` where it is not full."""
    digits = f"{number % 1000:03d}"
    while number := number // 1000:
        digits = f"x{number % 1000:03d}/{digits}"
    path = out / "tile" / kind / (digits if width == 256 else f"{digits}.p/{width}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _hash_tiles(log: AuditLog, size: int, out: Path) -> int:
    count, level = 0, 0
    while size >> 8 * level:
        hashes = size >> 8 * level
        for number in range((hashes + 255) // 256):
            width = min(256, hashes - 256 * number)
            _put(out, str(level), number, width, log.store.tile(level, number)[: 32 * width])
            count += 1
        level += 1
    return count


def _entry_tiles(log: AuditLog, size: int, out: Path, advance: Any) -> int:
    from trustplane.audit.log.entry import entry_data

    count, bundle = 0, []
    for entry in log.entries(0, size):
        data = entry_data(entry.data, entry.salt, list(entry.commitments))
        bundle.append(len(data).to_bytes(2, "big") + data)
        if len(bundle) == 256 or entry.index == size - 1:
            _put(out, "entries", entry.index // 256, len(bundle), b"".join(bundle))
            advance(len(bundle))
            count, bundle = count + 1, []
    return count
