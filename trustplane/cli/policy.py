"""`trustplane policy`: check a policy file, show what is in force, try it on a text."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, emit, talk
from trustplane.cli.guarded import (
    DirectionOption,
    PurposeOption,
    TenantOption,
    direction_of,
    open_guarded,
    open_policy,
)
from trustplane.cli.texts import read_text

__all__ = ["register"]

PolicyArgument = Annotated[str, typer.Argument(metavar="FILE", help="Policy in TOML, or strict, gdpr, secrets-only.")]
TextOption = Annotated[str, typer.Option("--text", metavar="TEXT|-", help="Say what this text would meet.")]


def register(app: typer.Typer) -> None:
    """Add ``policy``."""
    policy = typer.Typer(name="policy", help="What happens to which finding.", no_args_is_help=True)
    app.add_typer(policy)

    @policy.command()
    def check(
        file: PolicyArgument,
        text: TextOption = "",
        direction: DirectionOption = "out",
        tenant: TenantOption = "",
        purpose: PurposeOption = "",
        as_json: JsonFlag = False,
    ) -> None:
        """Check a policy against the rules that are loaded; with --text, explain what that text would meet.

        Exit code 3 if the text would be blocked, held for review or not be decided.
        """
        asked = direction_of(direction)
        opened = open_policy(file)
        effective = opened.for_(tenant, purpose, strict=True)
        guarded = open_guarded(opened)  # refuses names that no rule finds
        found: dict[str, Any] = {"policy": opened.name, "digest": opened.digest, "status": "fine"}
        if not text:
            emit(found, as_json=as_json, text=f"fine: {opened.name} {opened.digest}")
            return
        given = read_text("-") if text == "-" else text
        decision = guarded.decide(given, direction=asked, tenant=tenant, purpose=purpose)
        found |= {
            "in_force": effective.digest,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "findings": [
                {
                    "entity": d.hit.entity,
                    "rule": d.hit.rule,
                    "start": d.hit.start,
                    "end": d.hit.end,
                    "score": round(d.hit.score, 4),
                    "action": d.action,
                    "why": d.why,
                }
                for d in decision.hits
            ],
            "judges": [
                {"judge": j.judge, "outcome": j.outcome, "score": round(j.score, 4), "action": j.action}
                for j in decision.judgements
            ],
        }
        emit(found, as_json=as_json, text=_told(found))
        if not decision.goes:
            raise typer.Exit(3)

    @policy.command()
    def show(
        file: Annotated[str, typer.Argument(metavar="FILE", help="As for check; without it, the default.")] = "",
        tenant: TenantOption = "",
        purpose: PurposeOption = "",
        as_json: JsonFlag = False,
    ) -> None:
        """Show what a policy does, overlays merged."""
        opened = open_policy(file)
        found = (opened.for_(tenant, purpose, strict=True) if tenant or purpose else opened).explain()
        emit(found, as_json=as_json, text=_shown(found))
        talk(found["digest"])


def _told(found: dict[str, Any]) -> str:
    lines = [f"verdict: {found['verdict']}" + (f" ({found['reason']})" if found["reason"] else "")]
    lines += [
        f"  {f['start']}–{f['end']}  {f['entity']}  {f['action']}  ({f['rule']}, {f['score']:.2f}, {f['why']})"
        for f in found["findings"]
    ]
    lines += [f"  judge {j['judge']}: {j['outcome']} {j['score']:.2f} → {j['action']}" for j in found["judges"]]
    return "\n".join(lines)


def _shown(found: dict[str, Any], title: str = "", indent: str = "") -> str:
    width = max(len(key) for key in found["actions"])
    lines = [f"{indent}{title or found['name']}  threshold {found['threshold']}"]
    lines += [
        f"{indent}  {key:<{width}}  out {a['out']:<13} in {a['in']}" for key, a in sorted(found["actions"].items())
    ]
    lines += [f"{indent}  judge {k}: hit → {j['hit']}, unknown → {j['unknown']}" for k, j in found["judges"].items()]
    for kind in ("tenants", "purposes"):
        lines += [_shown(inner, f"{kind[:-1]} {name}", indent + "  ") for name, inner in found[kind].items()]
    return "\n".join(lines)
