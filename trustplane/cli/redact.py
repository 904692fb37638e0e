"""`trustplane redact`: mask a text, or hide it behind pseudonyms that `trustplane restore` can undo."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, emit, talk
from trustplane.errors import InputError

__all__ = ["read_bytes", "read_text", "register", "write_text"]

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="Text in UTF-8; - reads standard input.")]
MapOption = Annotated[str, typer.Option("--map", metavar="FILE", help="Keep the values here, sealed; can be undone.")]
KeyOption = Annotated[str, typer.Option("--key", metavar="FILE", help="Key of the map; by default MAP.key.")]
NameOption = Annotated[list[str] | None, typer.Option("--name", help="A name to find wherever it stands; repeat.")]


def read_bytes(path: str, what: str) -> bytes:
    """Return the bytes of a file, or of standard input for ``-``."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}") from None


def read_text(path: str) -> str:
    """Return a text in UTF-8 with its line ends as they are."""
    try:
        return read_bytes(path, "the text").decode()
    except UnicodeDecodeError:
        raise InputError("the text is not UTF-8") from None


def write_text(text: str) -> None:
    """Write ``text`` to standard output exactly as it is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _private(path: Path, data: bytes, *, fresh: bool) -> None:
    """Write a file that only its owner reads, in one step."""
    made = path if fresh else path.with_name(path.name + ".new")
    try:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if fresh else os.O_TRUNC)
        with os.fdopen(os.open(made, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not fresh:
            made.replace(path)
    except OSError as error:
        raise InputError(f"{path.name} cannot be written: {error.strerror}") from None


def _redact(file: str, vault: str, key_file: str, names: list[str]) -> tuple[str, list[dict[str, Any]]]:
    if "torch" not in sys.modules:  # spaCy's thinc would import it, for seconds, and no rule here uses it
        sys.modules["torch"] = None  # type: ignore[assignment]  # this process does nothing else
    from trustplane.guard.text import Session, TextGuard
    from trustplane.guard.text.vault import new_key, read_key, seal, unseal

    text = read_text(file)
    guard = TextGuard(names=names)
    findings = [
        {"rule": f.rule, "entity": f.entity, "start": f.start, "end": f.end, "score": f.score}
        for f in guard.detect(text)
    ]
    if not vault:
        return guard.mask(text), findings
    map_path, key_path = Path(vault), Path(key_file or vault + ".key")
    session = guard.session()
    if map_path.exists():
        key = read_key(read_bytes(str(key_path), "the key").decode("ascii", "replace"))
        session = Session.from_values(guard, unseal(map_path.read_bytes(), key))
    elif key_path.exists():
        key = read_key(read_bytes(str(key_path), "the key").decode("ascii", "replace"))
    else:
        shown = new_key()
        _private(key_path, shown.encode(), fresh=True)
        key = read_key(shown)
    hidden = session.hide(text)
    _private(map_path, seal(session.values(), key), fresh=False)
    return hidden, findings


def register(app: typer.Typer) -> None:
    """Add ``redact``."""

    @app.command()
    def redact(
        file: FileArgument = "-",
        map_file: MapOption = "",
        key: KeyOption = "",
        name: NameOption = None,
        as_json: JsonFlag = False,
    ) -> None:
        """Mask personal data and secrets in a text; with --map, so that it can be restored."""
        if key and not map_file:
            raise InputError("--key without --map", hint="masks cannot be undone; --map keeps what undoes pseudonyms")
        text, findings = _redact(file, map_file, key, list(name or ()))
        if as_json:
            emit({"text": text, "findings": findings}, as_json=True)
        else:
            write_text(text)
        talk(f"{len(findings)} found")
