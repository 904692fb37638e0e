"""`trustplane restore`: put the values of a map back into a text."""

from __future__ import annotations

from typing import Annotated

import typer

from trustplane.cli.console import JsonFlag, emit
from trustplane.cli.redact import read_bytes, read_text, write_text
from trustplane.errors import InputError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add ``restore``."""

    @app.command()
    def restore(
        map_file: Annotated[str, typer.Option("--map", metavar="FILE", help="The map that redact kept.")],
        file: Annotated[str, typer.Argument(metavar="FILE", help="Text in UTF-8; - reads standard input.")] = "-",
        key: Annotated[str, typer.Option("--key", metavar="FILE", help="Its key; by default MAP.key.")] = "",
        as_json: JsonFlag = False,
    ) -> None:
        """Put back what `redact --map` hid, in the same text or in one that quotes it."""
        from trustplane.guard.text.restore import Pseudonyms
        from trustplane.guard.text.vault import read_key, unseal

        secret = read_key(read_bytes(key or map_file + ".key", "the key").decode("ascii", "replace"))
        pseudonyms = Pseudonyms()
        for shown, value in unseal(read_bytes(map_file, "the map"), secret).items():
            if len(shown) < 3:
                raise InputError("the map holds a pseudonym of an unknown form")
            pseudonyms.add(shown[1:-1], value)
        text = pseudonyms.restore(read_text(file))
        if as_json:
            emit({"text": text}, as_json=True)
        else:
            write_text(text)
