"""How the command line talks: data on stdout, talk and progress on stderr, readable without colour."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from trustplane.errors import InputError, TrustplaneError, VerificationError

__all__ = ["JsonFlag", "PlaneOption", "emit", "existing", "fail", "progress", "talk"]

from typing import Annotated

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
PlaneOption = Annotated[
    str, typer.Option("--plane", envvar="TRUSTPLANE_PLANE", help="Folder of the plane.", metavar="DIR")
]


def emit(data: Any, *, as_json: bool, text: str = "") -> None:
    """Write the result: ``data`` as JSON, or ``text`` for people."""
    if as_json:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2) + "\n")
    else:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def existing(plane: str) -> str:
    """Return the folder of a plane that is there: a misspelt name must not make a new one and report success."""
    if not (Path(plane) / "log.db").is_file():
        raise InputError(
            f"there is no plane in {plane}", hint="name its folder; the proxy and the register verbs make a new one"
        )
    return plane


def talk(text: str) -> None:
    """Say something on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fail(error: TrustplaneError, *, as_json: bool) -> int:
    """Say what went wrong on stderr (and as JSON on stdout); return the exit code."""
    if as_json:
        found: dict[str, Any] = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        if isinstance(error, VerificationError):
            found |= {"cause": error.cause, "index": error.index}
        emit(found, as_json=True)
    talk(f"error: {error}")
    return error.exit_code


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Any]:
    """Show a progress bar on stderr when it is a terminal; yield ``advance(n)``."""
    if not sys.stderr.isatty():
        yield lambda _n=1: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n=1: bar.advance(task, n)
