"""Rules for prompt injection: the table beside this module, as one RE2 set and its patterns."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from trustplane.errors import InputError, missing_extra

__all__ = ["RULES", "InjectionRule", "lift", "search"]

MOST: Final = 16
"""How many places of one rule are reported."""

_LEAST_LIFT, _MOST_LIFT = -1.0, 1.2


class InjectionRule(NamedTuple):
    """A rule: ``pattern`` (RE2, on normalised text), what it shows (``kind``), and whether it decides alone.

    A rule that does not decide adds ``weight`` to the margin of the model; rules of kind ``mention`` (talk about
    attacks) take away. ``sources``: where it counts.
    """

    id: str
    kind: str
    pattern: str
    decides: bool = False
    weight: float = 0.3
    sources: tuple[str, ...] = ("user", "tool", "document")


def _load() -> tuple[InjectionRule, ...]:
    table = tomllib.loads(Path(__file__).with_name("rules.toml").read_text("utf-8"))
    lists: dict[str, str] = table.pop("words")
    found = []
    for name, row in table.items():
        pattern = str(row["pattern"])
        for word, alternatives in lists.items():
            pattern = pattern.replace(f"<{word}>", f"(?:{alternatives})")
        found.append(
            InjectionRule(
                id=name,
                kind=str(row["kind"]),
                pattern=pattern,
                decides=bool(row.get("decides", False)),
                weight=float(row.get("weight", 0.0)),
                sources=tuple(row.get("sources", ("user", "tool", "document"))),
            )
        )
    return tuple(found)


RULES: Final = _load()


def lift(weights: Mapping[str, float]) -> float:
    """Return what the rules that matched, by id, add to the margin: their weights together, -1 to 1.2."""
    return max(_LEAST_LIFT, min(_MOST_LIFT, sum(sorted(weights.values()))))


def search(text: str, source: str) -> list[tuple[InjectionRule, int, int]]:
    """Return which rules of ``source`` match the normalised ``text`` and where, MOST places a rule; linear."""
    patterns, gate = _compiled()
    data = text.encode("utf-8", "replace")
    numbers = gate.Match(data)
    found: list[tuple[InjectionRule, int, int]] = []
    for number in sorted(numbers or ()):
        rule = RULES[number]
        if source in rule.sources:
            places = patterns[number].finditer(text)
            found += [(rule, *match.span()) for match, _ in zip(places, range(MOST), strict=False)]
    return found


@functools.cache
def _compiled() -> tuple[list[Any], Any]:
    try:
        import re2
    except ModuleNotFoundError:
        raise missing_extra("google-re2", "guard") from None
    options = re2.Options()
    options.max_mem = 128 << 20
    gate = re2.Set.SearchSet(options)
    patterns = []
    for rule in RULES:
        try:
            patterns.append(re2.compile(rule.pattern, options))
        except re2.error:
            raise InputError(f"the injection rule {rule.id} does not compile") from None
        gate.Add(rule.pattern)
    gate.Compile()
    return patterns, gate
