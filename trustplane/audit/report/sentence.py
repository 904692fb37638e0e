"""From claims to sentences: each claim's queries are computed, its first fitting case is filled in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec

from trustplane.audit.report.query import Rows, evaluate, holds, resolve, walk
from trustplane.audit.report.words import Part, fill
from trustplane.errors import InputError

__all__ = ["CATALOGUE", "CLASSES", "Catalogue", "Sentence", "load_catalogue", "sentences"]

CATALOGUE = "gdpr-2026-11"
"""The duties and claims in force; the file's name is its date."""
CLASSES = ("E0", "E1", "E2", "E3", "E4", "L")
TONES = ("ok", "note", "gap")
MAX_EACH = 2000
"""Most sentences that one claim makes: a stream of invented purposes must not drown the report."""


class Catalogue(msgspec.Struct, frozen=True):
    """The law file: its bytes, their SHA-256, and the parsed document."""

    data: bytes
    digest: str
    document: dict[str, Any]


class Sentence(msgspec.Struct, frozen=True):
    """One sentence. ``tone``: ``ok``, ``note`` or ``gap`` (somebody has to act). ``entries``: those it names.

    ``parts``: per language the text, values apart from our own words.
    """

    id: str
    section: str
    article: str
    kind: str
    tone: str
    entries: tuple[int, ...]
    parts: dict[str, tuple[Part, ...]]

    def text(self, language: str) -> str:
        """The sentence in a language."""
        return "".join(text for _, text in self.parts[language])

    def document(self, languages: Sequence[str]) -> dict[str, Any]:
        """The form in ``report.json``."""
        return {
            "article": self.article,
            "class": self.kind,
            "entries": list(self.entries),
            "id": self.id,
            "section": self.section,
            "text": {language: self.text(language) for language in languages},
            "tone": self.tone,
        }


def load_catalogue(name: str = CATALOGUE) -> Catalogue:
    """Read a law file of the package."""
    data = (resources.files("trustplane.audit.report") / "law" / f"{name}.json").read_bytes()
    return Catalogue(data, hashlib.sha256(data).hexdigest(), json.loads(data))


def _values(claim: Mapping[str, Any], rows: Rows, scope: dict[str, Any]) -> dict[str, Any]:
    """Compute a claim's queries in order; later ones may refer to earlier ones. Nothing found: no value."""
    found: dict[str, Any] = {}
    for name, query in claim.get("let", {}).items():
        value = evaluate(query, rows, scope | found)
        if value is not None and value != {} and value != []:
            found[name] = value
    return found


def _case(claim: Mapping[str, Any], scope: Mapping[str, Any]) -> Mapping[str, Any]:
    for case in claim["cases"]:
        conditions = case.get("if", [])
        if all(holds(walk(dict(scope), name), op, resolve(wanted, scope)) for name, op, wanted in conditions):
            found: Mapping[str, Any] = case
            return found
    raise InputError(f"the catalogue's claim {claim['id']} has no case that fits")


def _sentence(
    claim: Mapping[str, Any], ident: str, rows: Rows, scope: dict[str, Any], units: Mapping[str, Any],
    languages: Sequence[str],
) -> Sentence | None:  # fmt: skip
    values = _values(claim, rows, scope)
    case = _case(claim, scope | values)
    if case.get("omit"):
        return None
    kinds = claim.get("as", {})
    parts = {lang: tuple(fill(case[lang], values, kinds, units[lang])) for lang in languages}
    named = {
        values[name]
        for name, query in claim.get("let", {}).items()
        if isinstance(query, dict) and query["op"] in ("first", "last") and name in values
    }
    return Sentence(
        ident, claim["section"], claim["article"], case["class"], case.get("tone", "ok"), tuple(sorted(named)), parts
    )


def sentences(
    catalogue: Mapping[str, Any], rows: Rows, scope: Mapping[str, Any], languages: Sequence[str]
) -> list[Sentence]:
    """Return the report's sentences, in the order of the catalogue.

    ``scope``: what claims may refer to: ``start last covered outside size origin from_us to_us declared
    register witnesses``; ``law`` is added here. A claim with ``each`` makes one sentence per item.

    Raises:
        InputError: the catalogue is not of the language.
    """
    known = {k: v for k, v in scope.items() if v is not None} | {"law": catalogue["law"]}
    units = catalogue["units"]
    found: list[Sentence] = []
    for claim in catalogue["claims"]:
        if "each" not in claim:
            made = _sentence(claim, claim["id"], rows, known, units, languages)
            found += [made] if made else []
            continue
        each = claim["each"]
        items = resolve(each, known) if isinstance(each, str) else evaluate(each, rows, known)
        for number, item in enumerate(items[:MAX_EACH], 1):
            made = _sentence(claim, f"{claim['id']}.{number}", rows, known | {"item": item}, units, languages)
            found += [made] if made else []
    return found
