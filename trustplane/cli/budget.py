"""``trustplane budget``: what a dataset has spent of its ε, and setting its limit, once."""

from __future__ import annotations

from typing import Annotated

import typer

from trustplane.cli.console import JsonFlag, PlaneOption, emit, existing

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    budget = typer.Typer(no_args_is_help=True, help="Privacy budgets: ε spent and left.")
    app.add_typer(budget, name="budget")

    @budget.command()
    def show(
        plane: PlaneOption,
        dataset: Annotated[str, typer.Argument(help="One dataset; all where left out.")] = "",
        json: JsonFlag = False,
    ) -> None:
        """Show ε spent, the limit and δ. A limit is set once, when a dataset is registered."""
        import trustplane

        rows = []
        with trustplane.open(existing(plane)) as opened:
            for name in [dataset] if dataset else opened.ledger.datasets():
                spent = opened.ledger.spent(name)
                rows.append(
                    {
                        "dataset": name,
                        "epsilon_micro": spent.epsilon_micro,
                        "limit_micro": spent.limit_micro,
                        "delta_exp": spent.delta_exp,
                        "reservations": spent.reservations,
                    }
                )
        lines = [
            f"{r['dataset']}: ε = {int(str(r['epsilon_micro'])) / 1e6:.4f} of {int(str(r['limit_micro'])) / 1e6:.4f}"
            f" at δ = 1e-{r['delta_exp']}, {r['reservations']} runs"
            for r in rows
        ]
        emit(rows, as_json=json, text="\n".join(lines) or "no dataset is registered")

    @budget.command("set")
    def set_limit(
        name: str,
        epsilon: Annotated[str, typer.Option(help="Limit of ε, such as 2 or 1.5.")],
        commitment: Annotated[str, typer.Option(help="Digest of the content: sha256:<hex>.", metavar="DIGEST")],
        purpose: Annotated[list[str], typer.Option(help="An allowed purpose; repeat it.")],
        plane: PlaneOption,
        delta_exp: Annotated[int, typer.Option(help="δ = 10^-N.")] = 5,
        owner: Annotated[str, typer.Option(help="The owning organisation.")] = "operator",
        json: JsonFlag = False,
    ) -> None:
        """Set the limit of a dataset by registering it; a limit that is set cannot be changed."""
        import trustplane
        from trustplane.cli.ledger import micro

        with trustplane.open(plane) as opened:
            index = opened.ledger.register_dataset(
                trustplane.Dataset(name, commitment, owner, tuple(purpose), micro(epsilon), delta_exp)
            )
        emit({"dataset": name, "entry": index}, as_json=json, text=f"{name}: ε ≤ {epsilon}, fixed in entry {index}")
