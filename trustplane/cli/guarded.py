"""The options that scan, redact and policy share, and the guard that they describe."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trustplane.cli.console import talk
from trustplane.cli.texts import without_torch
from trustplane.errors import InputError

if TYPE_CHECKING:
    from trustplane.guard.text.guarded import Guarded
    from trustplane.guard.text.policy import Direction, Policy

__all__ = [
    "DirectionOption",
    "EntitiesOption",
    "JudgeOption",
    "LanguageOption",
    "LocaleOption",
    "NameOption",
    "PolicyOption",
    "PurposeOption",
    "TenantOption",
    "ThresholdOption",
    "direction_of",
    "open_guarded",
    "open_policy",
]

PolicyOption = Annotated[
    str, typer.Option("--policy", metavar="FILE", help="Policy in TOML, or strict, gdpr, secrets-only.")
]
LanguageOption = Annotated[list[str] | None, typer.Option("--language", help="Language of the texts; repeat.")]
LocaleOption = Annotated[list[str] | None, typer.Option("--locale", help="Country whose IDs count, as DE; repeat.")]
ThresholdOption = Annotated[float | None, typer.Option("--threshold", help="Lowest score that counts, 0..1.")]
EntitiesOption = Annotated[str, typer.Option("--entities", metavar="A,B", help="Look for these only.")]
NameOption = Annotated[list[str] | None, typer.Option("--name", help="A name to find wherever it stands; repeat.")]
DirectionOption = Annotated[str, typer.Option("--direction", metavar="out|in", help="Which actions of the policy.")]
TenantOption = Annotated[str, typer.Option("--tenant", help="Tenant whose tables of the policy count.")]
PurposeOption = Annotated[str, typer.Option("--purpose", help="Purpose whose tables of the policy count.")]
JudgeOption = Annotated[
    list[str] | None, typer.Option("--judge", metavar="injection|content", help="Ask this judge too; repeat.")
]


def direction_of(given: str) -> Direction:
    """Return a direction, or say which there are."""
    from trustplane.guard.text.policy import check_direction

    return check_direction(given)


def open_policy(
    given: str,
    *,
    languages: Iterable[str] | None = None,
    locales: Iterable[str] | None = None,
    threshold: float | None = None,
    entities: str = "",
    names: Sequence[str] | None = None,
    judges: Iterable[str] | None = None,
) -> Policy:
    """Return the policy of a file or preset with the flags laid over it."""
    import msgspec

    from trustplane.guard.text.policy import PRESETS, Policy
    from trustplane.guard.text.policy_file import ContentActions, InjectionActions

    if given in PRESETS:
        policy = Policy.preset(given)
    elif given and not Path(given).exists() and (close := difflib.get_close_matches(given, PRESETS, 1, 0.6)):
        raise InputError("there is no such policy, neither file nor preset", hint=f"did you mean {close[0]}?")
    else:
        policy = Policy.load(given) if given else Policy.default()
    changes: dict[str, Any] = {}
    if languages:
        changes["languages"] = tuple(languages)
    if locales:
        changes["locales"] = tuple(locale.upper() for locale in locales)
    if threshold is not None:
        if not 0.0 <= threshold <= 1.0:
            raise InputError("the threshold is outside 0..1", hint="such as --threshold 0.4")
        changes["threshold"] = threshold
    if entities:
        changes["entities"] = tuple(e for e in (part.strip() for part in entities.split(",")) if e)
        if not changes["entities"]:
            raise InputError("--entities names none", hint="such as --entities PERSON,EMAIL_ADDRESS")
    if names:
        if not all(name.strip() for name in names):
            raise InputError("--name is empty")
        changes["names"] = (*policy.file.names, *names)
    kinds = {"injection": InjectionActions, "content": ContentActions}
    for name in judges or ():
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, 1)
            raise InputError("there is no such judge", hint=f"did you mean {close[0]}?" if close else ", ".join(kinds))
        tables = changes.get("judges", policy.file.judges)
        changes["judges"] = msgspec.structs.replace(tables, **{name: getattr(tables, name) or kinds[name]()})
    return policy.with_(**changes) if changes else policy


def open_guarded(policy: Policy, **options: Any) -> Guarded:
    """Return the guard of a policy, and say of which languages no names are found."""
    without_torch()
    from trustplane.guard.text.guarded import Guarded
    from trustplane.guard.text.known import unnamed

    made = Guarded(policy, **options)
    if missing := unnamed(policy.file.languages):
        talk(f"note: names of people are not found in {', '.join(missing)}; only identifiers and contact data are")
    return made
