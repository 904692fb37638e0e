"""`trustplane redact`: mask texts, or hide values behind pseudonyms that `trustplane restore` can undo."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustplane.cli.console import JsonFlag, progress, talk
from trustplane.cli.guarded import (
    DirectionOption,
    EntitiesOption,
    LanguageOption,
    LocaleOption,
    NameOption,
    PolicyOption,
    PurposeOption,
    TenantOption,
    ThresholdOption,
    direction_of,
    open_guarded,
    open_policy,
)
from trustplane.cli.sink import Sink, check_out
from trustplane.cli.texts import (
    MAX_BYTES,
    DelimiterOption,
    FileArgument,
    FormatOption,
    MaxBytesOption,
    OutOption,
    ResumeOption,
    Source,
    check_delimiter,
    check_resume,
    format_of,
    parts,
)
from trustplane.cli.vault import Keeper
from trustplane.errors import InputError, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trustplane.guard.text.decide import Decision
    from trustplane.guard.text.guarded import Guarded
    from trustplane.guard.text.policy import Action, Policy

__all__ = ["register"]

VaultOption = Annotated[
    str, typer.Option("--vault", metavar="FILE", help="Keep the values here, sealed; can be undone.")
]
SealedFlag = Annotated[bool, typer.Option("--sealed", help="Keep the values in the pseudonyms, sealed; needs --key.")]
KeyOption = Annotated[str, typer.Option("--key", metavar="FILE", help="Key, made if new; by default VAULT.key.")]
STYLES: dict[str, Action] = {"mask": "mask", "pseudonym": "pseudonymise", "hash": "hash", "shape": "pseudonymise"}
StyleOption = Annotated[
    str, typer.Option("--style", metavar="|".join(STYLES), help="In place of what the policy says for a redaction.")
]


def _styled(policy: Policy, style: str, *, to_pseudonyms: bool) -> Policy:
    """Return the policy with its redacting actions replaced by a style; without a style, as it is."""
    if style:
        return policy.restyled(STYLES[style])
    return policy.restyled("pseudonymise") if to_pseudonyms else policy


def register(app: typer.Typer) -> None:
    """Add ``redact``."""

    @app.command()
    def redact(
        file: FileArgument = "-",
        as_json: JsonFlag = False,
        form: FormatOption = "",
        policy: PolicyOption = "",
        style: StyleOption = "",
        vault: VaultOption = "",
        sealed: SealedFlag = False,
        key: KeyOption = "",
        language: LanguageOption = None,
        locale: LocaleOption = None,
        entities: EntitiesOption = "",
        threshold: ThresholdOption = None,
        name: NameOption = None,
        direction: DirectionOption = "out",
        tenant: TenantOption = "",
        purpose: PurposeOption = "",
        delimiter: DelimiterOption = "",
        out: OutOption = "",
        resume: ResumeOption = False,
        max_bytes: MaxBytesOption = MAX_BYTES,
    ) -> None:
        """Mask personal data and secrets in a text, JSON, JSON Lines or CSV; with --vault, so that it can be restored.

        JSON is read leaf by leaf, CSV cell by cell; what does not change keeps its bytes. A text that the policy
        blocks, or holds for review, is not written: exit code 3, as a record it is left out and named. A number in
        JSON that is hidden becomes a string, and stays one when it is restored.
        """
        if style and style not in STYLES:
            raise InputError("there is no such style", hint=f"one of {', '.join(STYLES)}")
        if resume and style == "shape":
            raise InputError("--resume does not go with --style shape")
        check_delimiter(delimiter)
        flags: dict[str, Any] = {"languages": language, "locales": locale, "entities": entities}
        opened = open_policy(policy, threshold=threshold, names=name, **flags)
        asked: dict[str, Any] = {"direction": direction_of(direction), "tenant": tenant, "purpose": purpose}
        hashes = "hash" in opened.for_(tenant, purpose, strict=True).actions(asked["direction"])
        keeper = Keeper(vault, key, sealed=sealed, style=style, tenant=tenant, hashes=hashes)
        opened = _styled(opened, style, to_pseudonyms=keeper.reversible and not policy)
        kind = format_of(file, form)
        check_resume(file, out, resume=resume)
        if as_json and kind != "text":
            raise InputError("--json is for a plain text", hint="scan text --json lists findings of any format")
        check_out(file, out, *keeper.paths)
        with Source(file, max_bytes) as source, keeper:
            guarded = open_guarded(opened, key=keeper.key)
            keeper.open(guarded.guard)
            if as_json:
                _one(source, guarded, keeper, asked, out)
                return
            settings = json.dumps([opened.digest, guarded.guard.policy_digest, kind, delimiter, style, sealed, asked])
            sink = Sink(
                out, settings, resume=resume, source=source, before_save=keeper.save, whole=kind in {"text", "json"}
            )
            with progress("redact", source.size) as advance, sink:
                counts = Counter[str](sink.state)
                at = source.offset
                for part in parts(source, kind, delimiter, walk=True, done=sink.done):
                    decisions = guarded.decide_many(part.texts, contexts=part.contexts, **asked)
                    if all(decision.goes for decision in decisions):
                        sink.write(part.rebuild(guarded.apply_many(decisions, part.texts, keeper.session)))
                        counts["found"] += sum(d.action != "allow" for decision in decisions for d in decision.hits)
                    else:
                        counts["withheld"] += 1
                        _withheld(part.id, decisions, alone=kind in {"text", "json"})
                    sink.state = dict(counts)
                    sink.next()
                    advance(source.offset - at)
                    at = source.offset
        talk(f"{counts['found']} found")
        if counts["withheld"]:
            raise Refused(f"{counts['withheld']} records were left out", hint="their numbers stand above")


def _withheld(name: str, decisions: Sequence[Decision], *, alone: bool) -> None:
    from trustplane.guard.text.decide import strictest

    verdict = strictest(d.verdict for d in decisions)
    if alone:
        raise Refused(f"the policy does not let this text pass: {verdict}", hint=", ".join(_why(decisions))[:200])
    talk(f"record {name}: {verdict}, left out")


def _why(decisions: Sequence[Decision]) -> list[str]:
    """Return what keeps a text: the findings and judges whose action does, and what could not be decided."""
    held: set[str] = {d.reason for d in decisions} - {""}
    for decision in decisions:
        held |= {d.entity for d in decision.hits if d.action in {"block", "review"}}
        held |= {f"judge {j.judge}: {j.outcome}" for j in decision.judgements if j.action in {"block", "review"}}
    return sorted(held)


def _one(source: Source, guarded: Guarded, keeper: Keeper, asked: dict[str, Any], out: str) -> None:
    """Write one text and its findings as a JSON document."""
    text = source.whole()
    decision = guarded.decide(text, **asked)
    if not decision.goes:
        _withheld(source.path, [decision], alone=True)
    new = guarded.apply(decision, text, keeper.session)
    findings = [
        {"rule": h.rule, "entity": h.entity, "start": h.start, "end": h.end, "score": h.score}
        for h in (d.hit for d in decision.hits if d.action != "allow")
    ]
    found = {"text": new, "findings": findings}
    with Sink(out, "", resume=False, source=source, before_save=keeper.save, whole=True) as sink:
        sink.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    talk(f"{len(findings)} found")
