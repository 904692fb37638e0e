"""``trustplane verify``: check a report bundle with the verifier of this release, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trustplane.cli.console import JsonFlag, emit, talk

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def verify(
        bundle: Annotated[Path, typer.Argument(help="The folder of a report.", metavar="BUNDLE")],
        key: Annotated[
            list[str] | None, typer.Option(help="A key of the log, known from elsewhere.", metavar="VKEY")
        ] = None,
        witness: Annotated[list[str] | None, typer.Option(help="A witness that you trust.", metavar="VKEY")] = None,
        json: JsonFlag = False,
    ) -> None:
        """Check every sentence of a report against its evidence; exit 5 where something does not hold."""
        from trustplane.audit.report.verify_bundle import ProofError, check
        from trustplane.errors import InputError, VerificationError

        if not bundle.is_dir():
            raise InputError(f"{bundle} is not a folder", hint="unpack a .zip first")
        try:
            found = check(bundle, key or (), witness or ())
        except ProofError as error:
            index = int(error.place) if error.file == "entries.jsonl" and error.place.isdecimal() else None
            raise VerificationError(f"the report does not hold: {error}", cause=error.cause, index=index) from None
        number = len(found.pop("sentences"))
        text = f"holds: {number} sentences over entries {found['start']} to {found['stop'] - 1} of {found['origin']}"
        emit({"ok": True, "sentences": number, **found}, as_json=json, text=text)
        if not json:
            talk("\n".join(["not checked, because nobody can from here:", *(f"  {t}" for t in found["not_checked"])]))
