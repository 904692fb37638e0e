"""`trustplane restore`: put the values of a vault or of sealed tokens back into a text."""

from __future__ import annotations

from typing import Annotated

import typer

from trustplane.cli.console import JsonFlag, emit
from trustplane.cli.guarded import TenantOption
from trustplane.cli.texts import (
    MAX_BYTES,
    FileArgument,
    FormatOption,
    MaxBytesOption,
    OutOption,
    Sink,
    Source,
    format_of,
    parts,
)
from trustplane.cli.vault import restorer
from trustplane.errors import InputError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add ``restore``."""

    @app.command()
    def restore(
        file: FileArgument = "-",
        vault: Annotated[str, typer.Option("--vault", metavar="FILE", help="The vault that redact kept.")] = "",
        sealed: Annotated[bool, typer.Option("--sealed", help="The values are in the text, sealed.")] = False,
        key: Annotated[str, typer.Option("--key", metavar="FILE", help="Its key; by default VAULT.key.")] = "",
        form: FormatOption = "",
        tenant: TenantOption = "",
        out: OutOption = "",
        max_bytes: MaxBytesOption = MAX_BYTES,
        as_json: JsonFlag = False,
    ) -> None:
        """Put back what `redact --vault` or `redact --sealed` hid, in the same text or in one that quotes it."""
        if bool(vault) == sealed:
            raise InputError("restore needs --vault or --sealed", hint="as redact was given")
        if sealed and not key:
            raise InputError("--sealed needs --key")
        put_back = restorer(vault, key, tenant=tenant)
        kind = format_of(file, form)
        with Source(file, max_bytes) as source:
            if as_json:
                emit({"text": put_back(source.whole())}, as_json=True)
                return
            sink = Sink(out, "", resume=False, source=source, before_save=lambda: None)
            for part in parts(source, kind, walk=True):
                sink.write(part.rebuild([put_back(text) for text in part.texts]))
                sink.next()
            sink.close()
