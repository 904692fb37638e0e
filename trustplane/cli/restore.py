"""`trustplane restore`: put the values of a vault or of sealed tokens back into a text."""

from __future__ import annotations

from typing import Annotated

import typer

from trustplane.cli.console import JsonFlag, emit, talk
from trustplane.cli.sink import Sink, check_out
from trustplane.cli.texts import (
    MAX_BYTES,
    DelimiterOption,
    FileArgument,
    FormatOption,
    MaxBytesOption,
    OutOption,
    Source,
    check_delimiter,
    format_of,
    parts,
)
from trustplane.cli.vault import Back, restorer
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
        delimiter: DelimiterOption = "",
        tenant: Annotated[str, typer.Option("--tenant", help="With --sealed: the tenant that redact was given.")] = "",
        out: OutOption = "",
        max_bytes: MaxBytesOption = MAX_BYTES,
        as_json: JsonFlag = False,
    ) -> None:
        """Put back what `redact --vault` or `redact --sealed` hid, in the same text or in one that quotes it."""
        if bool(vault) == sealed:
            raise InputError("restore needs --vault or --sealed", hint="as redact was given")
        if sealed and not key:
            raise InputError("--sealed needs a key", hint="--key FILE, as redact was given")
        check_delimiter(delimiter)
        check_out(file, out, vault, key or (vault and vault + ".key"))
        put_back = restorer(vault, key, tenant=tenant)
        kind = format_of(file, form)
        with Source(file, max_bytes) as source:
            if as_json:
                emit({"text": put_back(source.whole())}, as_json=True)
                _told(put_back)
                return
            with Sink(out, "", resume=False, source=source, whole=kind in {"text", "json"}) as sink:
                for part in parts(source, kind, delimiter, walk=True):
                    sink.write(part.rebuild([put_back(text) for text in part.texts]))
                    sink.next()
        _told(put_back)


def _told(put_back: Back) -> None:
    """Say how many pseudonyms were put back, and how many look like one and could not be."""
    strange = f"; {put_back.strange} that look like pseudonyms are not of this vault or key" if put_back.strange else ""
    talk(f"{put_back.restored} restored{strange}")
