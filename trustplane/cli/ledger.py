"""``trustplane ledger``: register datasets and models, record uses, trace them, rebuild the file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, existing, talk

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    ledger = typer.Typer(no_args_is_help=True, help="Datasets, models and what they may be used for.")
    register_app = typer.Typer(no_args_is_help=True, help="Register a dataset or a model, once.")
    ledger.add_typer(register_app, name="register")
    app.add_typer(ledger, name="ledger")
    app.add_typer(ledger, name="lineage", help="The same as ledger.")

    @register_app.command("dataset")
    def register_dataset(
        name: str,
        commitment: Annotated[str, typer.Option(help="Digest of the content: sha256:<hex>.", metavar="DIGEST")],
        purpose: Annotated[list[str], typer.Option(help="An allowed purpose; repeat it.")],
        plane: PlaneOption,
        owner: Annotated[str, typer.Option(help="The owning organisation.")] = "operator",
        epsilon: Annotated[str, typer.Option(help="Limit of ε, such as 2 or 1.5.")] = "",
        delta_exp: Annotated[int, typer.Option(help="δ = 10^-N; 0: as the settings say.")] = 0,
        json: JsonFlag = False,
    ) -> None:
        """Register a dataset with its allowed purposes and its ε limit; none of it can change later."""
        import trustplane

        with trustplane.open(plane) as opened:
            budget = opened.settings.budget
            limit = micro(epsilon) if epsilon else budget.epsilon_micro
            dataset = trustplane.Dataset(name, commitment, owner, tuple(purpose), limit, delta_exp or budget.delta_exp)
            index = opened.ledger.register_dataset(dataset)
        emit({"dataset": name, "entry": index}, as_json=json, text=f"dataset {name} is entry {index} of the log")

    @register_app.command("model")
    def register_model(
        name: str,
        digest: Annotated[str, typer.Option(help="Digest of the weights: sha256:<hex>.")],
        plane: PlaneOption,
        json: JsonFlag = False,
    ) -> None:
        """Register a model."""
        import trustplane

        with trustplane.open(plane) as opened:
            index = opened.ledger.register_model(trustplane.Model(name, digest))
        emit({"model": name, "entry": index}, as_json=json, text=f"model {name} is entry {index} of the log")

    @ledger.command()
    def use(
        dataset: str,
        model: str,
        purpose: Annotated[str, typer.Option(help="What the model is for.")],
        plane: PlaneOption,
        json: JsonFlag = False,
    ) -> None:
        """Record that a dataset goes into a model; exit code 3 where its owner did not allow the purpose."""
        import trustplane

        with trustplane.open(existing(plane)) as opened:
            usage = opened.ledger.record_usage(dataset, model, purpose)
        emit(
            {"dataset": dataset, "model": model, "purpose": purpose, "entry": usage.index},
            as_json=json,
            text=f"{dataset} → {model} for {purpose}: entry {usage.index}",
        )

    @ledger.command()
    def trace(
        name: str,
        plane: PlaneOption,
        backward: Annotated[bool, typer.Option(help="From a model to its datasets.")] = False,
        json: JsonFlag = False,
    ) -> None:
        """Show where a dataset went, or with --backward what a model is made of."""
        import trustplane

        with trustplane.open(existing(plane)) as opened:
            found = opened.ledger.trace(name, direction="backward" if backward else "forward")
        emit(found, as_json=json, text=_picture(found))

    @ledger.command()
    def rebuild(plane: PlaneOption, json: JsonFlag = False) -> None:
        """Make the ledger's file anew from the log."""
        import trustplane

        with trustplane.open(existing(plane)) as opened:
            names = opened.rebuild_ledger().datasets()
        talk("rebuilt from the log, every state digest checked")
        emit({"datasets": names}, as_json=json, text="\n".join(names) or "no dataset is registered")


def micro(text: str) -> int:
    """Return a decimal number in millionths; InputError where it is none or has more than six places."""
    from decimal import Decimal, InvalidOperation

    from trustplane.errors import InputError

    try:
        value = Decimal(text) * 1_000_000
        if not value.is_finite() or value != int(value):
            raise InvalidOperation
    except (ArithmeticError, ValueError):
        raise InputError(f"{text!r} is not a number with at most six decimal places") from None
    return int(value)


def _picture(found: dict[str, Any]) -> str:
    lines = [found["name"]]
    uses = found["uses"]
    for place, use in enumerate(uses):
        branch = "└─" if place == len(uses) - 1 else "├─"
        other = use["model"] if found["direction"] == "forward" else use["dataset"]
        arrow = "→" if found["direction"] == "forward" else "←"
        lines.append(f"{branch} {arrow} {other}  ({use['purpose']}, entry {use['entry']})")
    if not uses:
        lines.append("└─ no use recorded")
    return "\n".join(lines)
