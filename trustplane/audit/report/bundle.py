"""Writing the bundle: a folder with the report, the disclosed entries, the proofs and the verifier."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from trustplane import canon
from trustplane.audit.log.integrate import nodes
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.note import ED25519, Checkpoint, Verifier, verify_note
from trustplane.audit.log.tree import range_proof
from trustplane.audit.report import verify_bundle
from trustplane.audit.report.page import LANGUAGES, html_page, view
from trustplane.audit.report.paper import pdf_paper
from trustplane.audit.report.query import Rows
from trustplane.audit.report.register import load_register
from trustplane.audit.report.sentence import CLASSES, Catalogue, Sentence, load_catalogue, sentences
from trustplane.errors import InputError, StoreError, VerificationError

__all__ = ["Bundle", "archive", "write_bundle"]

README = """\
A GDPR audit report whose every sentence carries its proof.
一份 GDPR 审计报告，每一句都附有证明。

Read 阅读:      report.*.html, report.*.pdf
Check 核验:     python3 verify_bundle.py . --key {vkey}

Take verify_bundle.py from a release of trustplane rather than from here, and compare the key with what the
operator published or told you. 请从 trustplane 发行版取得 verify_bundle.py，并将密钥与运营者公布的密钥核对。
It needs Python 3.9 or later and nothing else, and no network. 只需 Python 3.9 以上，无需网络。

report.json       the sentences, their classes and the entries that they name
entries.jsonl     the public parts of the covered entries, with salts and commitments
range-proof.txt   the hashes beside them; checkpoint.txt: the signed root
register.json     what the operator declared; catalogue.json: duties, queries and words
manifest.json     digests of all files; manifest.sig: signed by the log's key
"""


class Bundle(msgspec.Struct, frozen=True):
    """What was written: where, how many entries it covers, how many sentences of each class."""

    path: Path
    size: int
    sentences: dict[str, int]
    gaps: int
    vkey: str


def write_bundle(
    log: AuditLog,
    target: Path,
    *,
    register: Path | None = None,
    start: int = 0,
    stop: int | None = None,
    languages: Sequence[str] = ("en", "zh"),
    at: str | None = None,
    witnesses: Sequence[str] = (),
    force: bool = False,
) -> Bundle:
    """Write the report over the entries ``[start, stop)`` into the folder ``target``, whole or not at all.

    ``register``: the operator's declarations. ``at``: a signed checkpoint to stand under, with cosignatures
    of ``witnesses`` (verifier keys); by default one over all entries. ``force``: replace an earlier bundle.
    Nothing is written to the log. The same log, arguments and version give the same bytes.

    Raises:
        InputError: a bad range, register, language or checkpoint; ``target`` is not empty.
        StoreError: the folder cannot be written. VerificationError: the log's own parts do not fit together.
    """
    if not languages or not set(languages) <= set(LANGUAGES) or len(set(languages)) != len(languages):
        raise InputError("languages are en, zh or both")
    _check_target(target, force)
    declared = load_register(register)
    catalogue = load_catalogue()
    checkpoint, signed, names = _checkpoint(log, at, witnesses)
    end = checkpoint.size if stop is None else stop
    if not 0 <= start < end <= checkpoint.size:
        raise InputError(f"a report covers entries start..stop within 0..{checkpoint.size}, at least one")
    folder = target.parent / f".{target.name}-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True)
        try:
            bundle = _write(
                log, folder, declared, catalogue, checkpoint, signed, names, (start, end), languages, witnesses
            )
            _publish(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"the bundle cannot be written: {error.strerror}") from None
    return msgspec.structs.replace(bundle, path=target)


def _check_target(target: Path, force: bool) -> None:
    """Never overwrite what is not a bundle."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InputError(f"{target.name} is not a folder")
    if target.exists() and any(target.iterdir()):
        former = (target / "manifest.sig").is_file() and (target / "verify_bundle.py").is_file()
        if not former or not force:
            raise InputError(f"{target.name} is not empty", hint="--force replaces an earlier bundle, and nothing else")


def _publish(folder: Path, target: Path) -> None:
    former = folder.with_suffix(".old")
    if target.exists():
        target.rename(former)
    folder.rename(target)
    shutil.rmtree(former, ignore_errors=True)


def _checkpoint(log: AuditLog, at: str | None, witnesses: Sequence[str]) -> tuple[Checkpoint, str, list[str]]:
    """Return the checkpoint, its note with the Ed25519 and witness lines only, and the witnesses' names.

    The ML-DSA line is left out: it differs each time, and the offline verifier cannot check it.
    """
    log.flush()
    log.keys.refresh()
    if at is None:
        kept = log.store.checkpoints()
        text = kept[-1][1] if kept and kept[-1][0] == log.store.size() else log.checkpoint()[1]
    else:
        text = at
    own = [v for v in log.keys.verifiers if v.kind == ED25519]
    trusted = [Verifier.parse(v) for v in witnesses]
    try:
        body, signed = verify_note(text, [*own, *trusted])
        checkpoint = Checkpoint.parse_body(body)
    except VerificationError as error:
        raise InputError(f"the checkpoint cannot be used: {error.message}") from None
    if checkpoint.origin != log.origin or own[0].vkey not in signed:
        raise InputError("the checkpoint is not signed by this log's present key")
    if missing := [v.name for v in trusted if v.vkey not in signed]:
        raise InputError(f"no cosignature of {missing[0]} is on the checkpoint")
    known = {(v.name, v.id) for v in (*own, *trusted)}
    lines = text.rpartition("\n\n")[2].splitlines()
    kept_lines = [line for line in lines if _signer(line) in known]
    return checkpoint, body + "\n" + "".join(line + "\n" for line in kept_lines), sorted(v.name for v in trusted)


def _signer(line: str) -> tuple[str, bytes]:
    name, _, data = line.removeprefix("— ").partition(" ")
    return name, base64.b64decode(data)[:4]


def _entries(log: AuditLog, path: Path, start: int, stop: int) -> list[dict[str, Any]]:
    """Write the disclosed entries, one line each; return their public parts as rows."""
    rows = []
    with path.open("wb") as file:
        for entry in log.entries(start, stop):
            file.write(canon.dumps(entry.disclosed()) + b"\n")
            rows.append(json.loads(entry.data) | {"index": entry.index})
    if len(rows) != stop - start:
        raise VerificationError("entries are missing", cause="sequence", index=start + len(rows))
    return rows


def _write(
    log: AuditLog, folder: Path, declared: dict[str, Any], catalogue: Catalogue, checkpoint: Checkpoint, signed: str,
    names: list[str], covered: tuple[int, int], languages: Sequence[str], witnesses: Sequence[str],
) -> Bundle:  # fmt: skip
    start, stop = covered
    vkey = log.keys.verifiers[0].vkey
    root = base64.b64encode(checkpoint.root).decode()
    rows = _entries(log, folder / "entries.jsonl", start, stop)
    register = canon.dumps(declared)
    times = [row.get("wall_us", 0) for row in rows]
    scope = {
        "start": start, "last": stop - 1, "covered": stop - start, "outside": checkpoint.size - stop + start,
        "size": checkpoint.size, "origin": log.origin, "from_us": min(times), "to_us": max(times),
        "declared": declared, "witnesses": names,
        "register": "sha256:" + hashlib.sha256(register).hexdigest() if declared else None,
    }  # fmt: skip
    made = sentences(catalogue.document, Rows(rows), scope, languages)
    shown_scope = scope | {"root": root, "date_us": times[-1]}
    report = {
        "format": "trustplane/report/1",
        "catalogue": {"name": catalogue.document["name"], "sha256": catalogue.digest},
        "checkpoint": {"origin": log.origin, "size": checkpoint.size, "root": root},
        "range": {"start": start, "stop": stop},
        "date_us": times[-1],
        "languages": list(languages),
        "register": scope["register"],
        "witnesses": names,
        "sentences": [sentence.document(languages) for sentence in made],
    }
    proof = range_proof(nodes(log.store), start, stop, checkpoint.size)
    lines = ["trustplane/range/1", f"{start} {stop} {checkpoint.size}"]
    lines += [base64.b64encode(item).decode() for item in proof]
    history = [v for v in log.keys.history if Verifier.parse(v).kind == ED25519]
    keys = [f"log {v}\n" for v in history] + [f"witness {v}\n" for v in witnesses]
    files: dict[str, bytes] = {
        "README.txt": README.format(vkey=vkey).encode(),
        "catalogue.json": catalogue.data,
        "checkpoint.txt": signed.encode(),
        "keys.txt": "".join(keys).encode(),
        "range-proof.txt": ("\n".join(lines) + "\n").encode(),
        "register.json": register,
        "report.json": (json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode(),
        "verify_bundle.py": (resources.files("trustplane.audit.report") / "verify_bundle.py").read_bytes(),
    }
    for language in languages:
        contents = view(catalogue, made, shown_scope, vkey, language)
        files[f"report.{language}.html"] = html_page(contents, language).encode()
        files[f"report.{language}.pdf"] = pdf_paper(contents, shown_scope, language)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    _sign(log, folder, files, languages, checkpoint, root)
    try:  # a bundle that does not hold is never published
        verify_bundle.check(folder, [vkey], list(witnesses))
    except verify_bundle.ProofError as error:
        index = int(error.place) if error.place.isdecimal() else None
        raise VerificationError(f"the bundle does not hold: {error}", cause=error.cause, index=index) from None
    return _result(made, folder, stop - start, vkey)


def _sign(
    log: AuditLog, folder: Path, files: Mapping[str, bytes], languages: Sequence[str], checkpoint: Checkpoint, root: str
) -> None:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    with (folder / "entries.jsonl").open("rb") as file:
        digests["entries.jsonl"] = hashlib.file_digest(file, "sha256").hexdigest()
    manifest = canon.dumps({"format": "trustplane/manifest/1", "languages": list(languages), "files": digests})
    digest = hashlib.sha256(manifest).hexdigest()
    body = f"trustplane/report/1\n{log.origin}\n{checkpoint.size}\n{root}\n{digest}\n"
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "manifest.sig").write_text(body + "\n" + log.keys.sign(body, post_quantum=False), "utf-8")


def _result(made: Sequence[Sentence], folder: Path, size: int, vkey: str) -> Bundle:
    counts = {kind: sum(s.kind == kind for s in made) for kind in CLASSES}
    return Bundle(folder, size, counts, sum(s.tone == "gap" for s in made), vkey)


def archive(folder: Path, target: Path) -> None:
    """Write a bundle as a ``.zip`` with fixed times and order: the same bundle gives the same bytes.

    Raises:
        StoreError: the file cannot be written.
    """
    temporary = target.parent / f".{target.name}-{secrets.token_hex(4)}"
    try:
        with zipfile.ZipFile(temporary, "x") as file:
            for path in sorted(folder.iterdir()):
                info = zipfile.ZipInfo(f"{target.stem}/{path.name}", (1980, 1, 1, 0, 0, 0))
                info.external_attr = 0o644 << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                file.writestr(info, path.read_bytes())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"the archive cannot be written: {error.strerror}") from None
