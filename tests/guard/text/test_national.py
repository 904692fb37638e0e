"""National identifiers: every kind of the table finds valid values and rejects bad check digits."""

import importlib
import random
import re
from collections.abc import Callable

import pytest
import re2

from trustplane.guard.text.rules.national import KINDS, RULES, Kind

BY_KIND = dict(zip(KINDS, RULES, strict=True))
CLASSES = ("0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def like(character: str) -> str:
    """Return the characters of the same class."""
    return next((c for c in CLASSES if character.upper() in c), character)


def search(kind: Kind, rng: random.Random, wanted: int) -> tuple[list[str], list[str]]:
    """Return valid and invalid values: random changes, then the last characters tried until the check holds."""
    is_valid: Callable[[str], bool] = importlib.import_module(f"stdnum.{kind.module}").is_valid
    shape = re.compile(kind.pattern, re.IGNORECASE | re.ASCII)
    good, bad = [kind.example], []
    for _ in range(60):
        i = rng.randrange(len(kind.example))
        changed = kind.example[:i] + rng.choice(like(kind.example[i])) + kind.example[i + 1 :]
        (good if is_valid(changed) else bad).append(changed)
        for j in range(len(changed) - 1, max(-1, len(changed) - 4), -1):
            good += [v for c in like(changed[j]) if is_valid(v := changed[:j] + c + changed[j + 1 :])]
        if len(good) > wanted and len(bad) > wanted:
            break
    return [v for v in dict.fromkeys(good) if shape.fullmatch(v)][:wanted], bad[:wanted]


def test_the_table_is_wide() -> None:
    assert len(KINDS) >= 150 and len({kind.country for kind in KINDS}) >= 60
    assert len({rule.id for rule in RULES}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind(kind: Kind) -> None:
    rule = BY_KIND[kind]
    good, bad = search(kind, random.Random(kind.module), 6)
    gate = re2.compile(rule.gate[0])
    assert good
    for value in good:
        text = f"The {kind.words[0]} is {value}, he said."
        hits = [h for h in rule.search(text) if h.score >= 0.6]
        assert [(text[h.start : h.end], h.entity) for h in hits] == [(value, kind.entity)]
        assert gate.search(text)
    for value in bad:
        text = f"The {kind.words[0]} is {value}, he said."
        assert value not in [text[h.start : h.end] for h in rule.search(text)]
    assert bad or kind.check == "none"


def counts_alone(kind: Kind) -> bool:
    """Return whether a value without a word is a finding: a strong check, or letters beside a check digit."""
    digits_only = re.sub(r"\W", "", kind.example).isdigit()
    return kind.check in ("strong", "fair") or (kind.check == "weak" and not digits_only)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_weak_checks_want_a_word(kind: Kind) -> None:
    scores = [h.score for h in BY_KIND[kind].search(f"zzz {kind.example} zzz")]
    assert (max(scores, default=0.0) >= 0.4) == counts_alone(kind)


def test_locales_are_the_countries() -> None:
    for kind, rule in BY_KIND.items():
        assert rule.locales == (frozenset() if kind.country == "EU" else frozenset({kind.country}))
