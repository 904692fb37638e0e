"""The command line: one short file per verb, put together here."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

__all__ = ["build", "main"]

VERBS = ("log", "ledger", "budget", "scan", "redact", "restore", "policy", "proxy", "report", "verify", "demo")
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
        from trustplane.cli.console import fail

        sys.exit(fail(error, as_json="--json" in given))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to write goes nowhere
        sys.exit(0)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"error: {error.strerror or type(error).__name__}{where}\n")
        sys.exit(2)
    except UnicodeError:
        sys.stderr.write("error: an argument is not valid UTF-8\n")
        sys.exit(2)
