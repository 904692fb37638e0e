"""``trustplane log``: show, export, prove, verify, sign, cosign, erase, rotate, and publish as tiles."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, existing, progress, talk
from trustplane.cli.log_verify import reading, trusted_keys, verify
from trustplane.errors import InputError, Refused

if TYPE_CHECKING:
    from trustplane.audit.log.log import AuditLog
    from trustplane.audit.log.read import Entry

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

    with reading(plane) as (store, _keys):
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
    from trustplane.audit.log.rotate import verifiers_at
    from trustplane.audit.log.witness import Witness

    made = Witness(witness, name)
    with trustplane.open(existing(plane)) as opened:
        log = opened.log
        found, text = log.checkpoint()
        seen = made.seen().get(log.origin, (0, ""))[0]
        path = log.consistency(seen, found.size) if 0 < seen <= found.size else []
        trusted = verifiers_at(log.store, log.origin, trusted_keys(key, log.keys), found.size)
        cosigned = made.cosign(text, trusted, log.origin, path)
    emit({"size": found.size, "witness": made.key.vkey, "note": cosigned}, as_json=json, text=cosigned)


def key_show(plane: PlaneOption, json: JsonFlag = False) -> None:
    """Show the verifier keys that sign now, and all the log ever had."""
    with reading(plane) as (_store, keys):
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
    if not done.keys:
        talk("nothing was ever bound to this subject: is the name spelt as the requests gave it?")
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
