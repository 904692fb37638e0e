"""``trustplane report``: the GDPR report of a plane, as a bundle that proves itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, existing, progress, talk

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    report = typer.Typer(no_args_is_help=True, help="Reports whose every sentence carries its proof.")
    app.add_typer(report, name="report")

    @report.callback()
    def top() -> None:
        """Reports whose every sentence carries its proof."""

    @report.command()
    def gdpr(
        plane: PlaneOption,
        out: Annotated[Path, typer.Option(help="Folder to write; new or empty.", metavar="DIR")],
        declared: Annotated[
            Path | None, typer.Option("--register", help="The operator's declarations, TOML.", metavar="FILE")
        ] = None,
        start: Annotated[int, typer.Option("--from", help="First entry.")] = 0,
        stop: Annotated[int | None, typer.Option("--to", help="One past the last entry; all where left out.")] = None,
        language: Annotated[list[str] | None, typer.Option("--lang", help="en or zh; repeat it. Both.")] = None,
        checkpoint: Annotated[
            Path | None, typer.Option(help="A cosigned checkpoint to stand under.", metavar="FILE")
        ] = None,
        witness: Annotated[
            list[str] | None, typer.Option(help="Key of a witness that cosigned it; repeat it.", metavar="VKEY")
        ] = None,
        zip_file: Annotated[Path | None, typer.Option("--zip", help="Also write a .zip.", metavar="FILE")] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace an earlier bundle.")] = False,
        json: JsonFlag = False,
    ) -> None:
        """Write the GDPR report over a plane's log: HTML, PDF, JSON, the proofs and their verifier."""
        import trustplane
        from trustplane.audit.report import archive, write_bundle
        from trustplane.errors import InputError

        try:
            at = checkpoint.read_text("utf-8") if checkpoint else None
        except (OSError, UnicodeDecodeError):
            raise InputError(f"the checkpoint file {checkpoint} cannot be read") from None
        with trustplane.open(existing(plane)) as opened, progress("report"):
            if declared is None and opened.settings.report.register:
                declared = opened.folder / opened.settings.report.register
            bundle = write_bundle(
                opened.log,
                out,
                register=declared,
                start=start,
                stop=stop,
                languages=tuple(language or ("en", "zh")),
                at=at,
                witnesses=tuple(witness or ()),
                force=force,
            )
        if zip_file is not None:
            archive(out, zip_file)
        counts = ", ".join(f"{kind} {number}" for kind, number in bundle.sentences.items() if kind != "L")
        data = {
            "path": str(bundle.path),
            "entries": bundle.size,
            "sentences": bundle.sentences,
            "to_act_on": bundle.gaps,
            "key": bundle.vkey,
        }
        text = f"{out}: {sum(bundle.sentences.values())} sentences over {bundle.size} entries ({counts})"
        emit(data, as_json=json, text=text)
        if not json:
            talk(f"{bundle.gaps} sentences need somebody to act\nnext: trustplane verify {out} --key {bundle.vkey}")
