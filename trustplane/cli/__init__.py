"""The command line: one short file per verb, put together here."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trustplane.errors import TrustplaneError

__all__ = ["build", "main"]

VERBS = (
    "log",
    "ledger",
    "budget",
    "scan",
    "redact",
    "restore",
    "policy",
    "proxy",
    "review",
    "report",
    "verify",
    "demo",
)
"""Modules beside this one; each has ``register(app)`` and imports what is heavy inside its functions."""


def build() -> Any:
    """Return the application with all verbs."""
    import importlib

    import typer

    app = typer.Typer(
        name="trustplane",
        help="AI security, privacy and compliance: each claim carries its proof, each defence its honest number.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich costs a third of a second at every start
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def top(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
        if version:
            from trustplane import __version__

            sys.stdout.write(f"trustplane {__version__}\n")
            raise typer.Exit

    for verb in VERBS:
        importlib.import_module(f"trustplane.cli.{verb}").register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the code of :mod:`trustplane.errors`."""
    from trustplane.errors import TrustplaneError

    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show ε or 中文 gets their numbers
    try:
        build()(given)
    except TrustplaneError as error:
        code = _failed(error, given)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    except BrokenPipeError:
        code = 0
    except OSError as error:
        from trustplane.cli.sink import disk_trouble

        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"error: {error.strerror or type(error).__name__}{where}\n")
        code = 4 if disk_trouble(error) else 2
    except UnicodeError:
        sys.stderr.write("error: an argument is not valid UTF-8\n")
        code = 2
    else:
        return
    try:
        sys.stdout.flush()
    except OSError:  # a closed pipe or a full disk: what is left to write goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _failed(error: TrustplaneError, given: list[str]) -> int:
    """Say what went wrong; return the exit code."""
    from trustplane.cli.console import fail, talk

    try:
        if "--json" in given and given[:1] == ["scan"]:  # its output is JSON Lines, so this is one line too
            found = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
            talk(f"error: {error}")
            return error.exit_code
        return fail(error, as_json="--json" in given)
    except OSError:  # standard output takes nothing any more
        talk(f"error: {error}")
        return error.exit_code
