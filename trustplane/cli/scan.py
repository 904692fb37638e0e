"""`trustplane scan text`: what the guard finds in texts, and what the policy makes of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustplane.cli.console import progress, talk
from trustplane.cli.guarded import (
    DirectionOption,
    EntitiesOption,
    JudgeOption,
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
    Part,
    ResumeOption,
    Source,
    check_delimiter,
    check_resume,
    format_of,
    parts,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trustplane.guard.text.decide import Decision
    from trustplane.guard.text.guarded import Guarded

__all__ = ["register"]

LinesFlag = Annotated[bool, typer.Option("--json", help="One JSON line a text.")]
ExplainFlag = Annotated[bool, typer.Option("--explain-rules", help="Show every rule that is loaded, and stop.")]
STYLES = {"block": "bold white on red", "review": "bold black on yellow", "allow": "underline green"}
"""Colour of a finding by its action; any other action is ``REDACTED``."""
REDACTED = "bold underline cyan"


def line_of(part: Part, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Return the JSON line of one text; in documents each finding has its place."""
    from trustplane.guard.text.decide import strictest

    findings = []
    for place, decision in zip(part.places, decisions, strict=True):
        for item in decision.hits:
            hit = item.hit
            if item.why != "policy":
                continue  # an allow list says that it is no finding
            found = {"rule": hit.rule, "entity": hit.entity, "start": hit.start, "end": hit.end}
            found["score"] = round(hit.score, 4)
            findings.append(found | ({"place": place} if place else {}))
    line: dict[str, Any] = {"id": part.id, "verdict": strictest(d.verdict for d in decisions), "findings": findings}
    judged = {j.judge: j.outcome for d in decisions for j in d.judgements}
    reasons = sorted({d.reason for d in decisions} - {""})
    return line | ({"judges": judged} if judged else {}) | ({"reason": reasons[0]} if reasons else {})


def register(app: typer.Typer) -> None:
    """Add ``scan``."""
    scan = typer.Typer(name="scan", help="Look for trouble without changing anything.", no_args_is_help=True)
    app.add_typer(scan)

    @scan.callback()
    def only() -> None:
        """Look for trouble without changing anything."""

    @scan.command()
    def text(
        file: FileArgument = "-",
        as_json: LinesFlag = False,
        form: FormatOption = "",
        policy: PolicyOption = "",
        language: LanguageOption = None,
        locale: LocaleOption = None,
        entities: EntitiesOption = "",
        threshold: ThresholdOption = None,
        name: NameOption = None,
        judge: JudgeOption = None,
        direction: DirectionOption = "out",
        tenant: TenantOption = "",
        purpose: PurposeOption = "",
        delimiter: DelimiterOption = "",
        out: OutOption = "",
        resume: ResumeOption = False,
        max_bytes: MaxBytesOption = MAX_BYTES,
        explain_rules: ExplainFlag = False,
    ) -> None:
        """Say what is found in a text, and whether it may pass.

        FILE is plain text, JSON Lines ({"id", "text"}), JSON or CSV. Offsets count code points of the text. Exit
        code 3 if any verdict is block, review or unknown, else 0.
        """
        opened = open_policy(
            policy,
            languages=language,
            locales=locale,
            entities=entities,
            threshold=threshold,
            names=name,
            judges=judge,
        )
        if explain_rules:
            _explain(open_guarded(opened), as_json=as_json)
            return
        kind = format_of(file, form)
        check_delimiter(delimiter)
        check_out(file, out)
        asked: dict[str, Any] = {"direction": direction_of(direction), "tenant": tenant, "purpose": purpose}
        check_resume(file, out, resume=resume)
        opened.for_(tenant, purpose, strict=True)
        guarded = open_guarded(opened)
        settings = json.dumps([guarded.policy.digest, guarded.guard.policy_digest, kind, delimiter, as_json, asked])
        with (
            Source(file, max_bytes) as source,
            progress("scan", source.size) as advance,
            Sink(out, settings, resume=resume, source=source, whole=kind in {"text", "json"}) as sink,
        ):
            verdicts = Counter[str](sink.state)
            at = source.offset
            for part in parts(source, kind, delimiter, walk=False, done=sink.done):
                decisions = guarded.decide_many(part.texts, contexts=part.contexts, **asked)
                line = line_of(part, decisions)
                verdicts[line["verdict"]] += 1
                sink.write(_written(line, part, decisions, as_json=as_json, picture=kind == "text", terminal=not out))
                sink.state = dict(verdicts)
                sink.next()
                advance(source.offset - at)
                at = source.offset
        talk(", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())) or "no text")
        if verdicts.keys() & {"block", "review", "unknown"}:
            raise typer.Exit(3)


def _written(
    line: dict[str, Any], part: Part, decisions: Sequence[Decision], *, as_json: bool, picture: bool, terminal: bool
) -> str:
    if as_json:
        try:
            (shown := json.dumps(line, ensure_ascii=False)).encode()
        except UnicodeEncodeError:  # a lone surrogate in an id can only be written as an escape
            shown = json.dumps(line)
        return shown + "\n"
    if picture:
        return _picture(part.texts[0], decisions[0], colour=terminal)
    counts = Counter(f["entity"] for f in line["findings"])
    shown = " ".join(f"{entity}×{count}" for entity, count in sorted(counts.items()))
    return f"{_printable(part.id):<12} {line['verdict']:<8} {shown}".rstrip() + "\n"


def _printable(text: str) -> str:
    """Return ``text`` without what could steer a terminal or reorder what it shows."""
    return "".join(c if c in "\n\t" or c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)


def _picture(text: str, decision: Decision, *, colour: bool) -> str:
    """Return the text with each finding underlined and labelled, and the verdict below."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    shown = Text()
    position = 0
    for item in decision.hits:
        hit = item.hit
        shown.append(_printable(text[position : hit.start]))
        style = STYLES.get(item.action, REDACTED)
        shown.append(_printable(text[hit.start : hit.end]), style=style)
        shown.append(f"⟨{hit.entity} {item.action}⟩", style="dim")
        position = hit.end
    shown.append(_printable(text[position:]))
    if not shown.plain.endswith("\n"):
        shown.append("\n")
    style = {"allow": "green", "redact": "cyan", "review": "yellow"}.get(decision.verdict, "red")
    shown.append(f"— {decision.verdict}{f' ({decision.reason})' if decision.reason else ''}\n", style=style)
    for judged in decision.judgements:
        shown.append(f"— {judged.judge}: {judged.outcome} {judged.score:.2f} {' '.join(judged.rules)}\n", style="dim")
    out = StringIO()
    console = Console(file=out, force_terminal=colour and sys.stdout.isatty(), soft_wrap=True, highlight=False)
    console.print(shown, end="")
    return out.getvalue()


def _explain(guarded: Guarded, *, as_json: bool) -> None:
    rules = guarded.guard.explain_rules()
    if as_json:
        sys.stdout.write(json.dumps(rules, ensure_ascii=False, indent=2, default=sorted) + "\n")
        return
    columns = list(rules[0]) if rules else []
    rows = [[", ".join(v) if isinstance(v := rule[c], list | tuple) else str(v) for c in columns] for rule in rules]
    widths = [max(len(column), *(min(len(row[i]), 40) for row in rows)) for i, column in enumerate(columns)]
    for row in [columns, *rows]:
        sys.stdout.write("  ".join(f"{cell[:40]:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() + "\n")
    talk(f"{len(rules)} rules")
