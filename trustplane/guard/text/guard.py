"""TextGuard: finds sensitive parts of a text and masks them; makes sessions that can undo it."""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trustplane.canon import digest, dumps
from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.names.cues import NAME_RULES, listed, name_pattern
from trustplane.guard.text.overlap import resolve
from trustplane.guard.text.presidio.patterns import PatternSet, pattern_recognizers, presidio_version, run_recognizer
from trustplane.guard.text.rules import RULES
from trustplane.guard.text.views import fold, latin
from trustplane.step import Ref, Step

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

    from trustplane.guard.text.session import Session

__all__ = ["TextGuard", "count_facts"]

VERSION = "1"
"""Raised when the same rules may give another result: folding, overlaps, context."""
_SEPARATOR = "\n\x00\n"
"""Stands between texts that are searched in one go; no pattern crosses it."""
_RULE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}\Z")


class TextGuard:
    """Detects personal data and secrets in text by rules: Presidio's patterns and own ones, no model.

    ``languages``: of ``en`` and ``zh`` (name cues), or any language Presidio has patterns for.
    ``threshold``: lowest score that counts, 0..1. ``recognizers``: Presidio EntityRecognizer objects of
    the user's; they see the original text. ``names``: names to find wherever they stand, as rule
    ``LISTED_NAME``. ``record``: takes a step per ``mask`` (counts, never content).

    What holds: equal settings find equal places, and a pattern that runs too long is an error, never
    skipped. What does not: names without a cue, other languages' names, encoded text (base64, percent)
    and images are not found. A guard is safe to share between threads if its recognisers are.

    Raises:
        InputError: presidio-analyzer is missing, or a threshold or name is unusable.
    """

    def __init__(
        self,
        languages: Sequence[str] = ("en", "zh"),
        threshold: float = 0.4,
        recognizers: Sequence[EntityRecognizer] = (),
        names: Iterable[str] = (),
        record: Callable[[Step], None] | None = None,
    ) -> None:
        if not 0.0 <= threshold <= 1.0:
            raise InputError("the threshold is outside 0..1")
        if not languages:
            raise InputError("the guard needs a language", hint='languages=("en", "zh")')
        self.languages = tuple(languages)
        self.threshold = threshold
        self._record = record
        self._recognizers = tuple(recognizers)
        for recognizer in self._recognizers:
            if not all(_RULE_ID.match(entity) for entity in recognizer.supported_entities):
                raise InputError("a recogniser's entity is not of the form [A-Za-z][A-Za-z0-9_]*, 48 at most")
        self._known = tuple(names)
        self._listed = name_pattern(self._known)
        self._presidio_version = presidio_version()
        predefined = pattern_recognizers(self.languages)
        self._presidio = PatternSet(predefined)
        self._rules = RULES + tuple(NAME_RULES[lang] for lang in self.languages if lang in NAME_RULES)
        self._described = _describe(predefined)

    def __repr__(self) -> str:
        return f"TextGuard(languages={self.languages!r}, threshold={self.threshold}, policy={self.policy_digest!r})"

    @property
    def custom(self) -> bool:
        """Whether the user's own recognisers run beside the built-in rules."""
        return bool(self._recognizers)

    @property
    def longest_name(self) -> int:
        """Length in characters of the longest listed name, 0 without any."""
        return max((len(name) for name in self._known), default=0)

    @functools.cached_property
    def policy_digest(self) -> str:
        """``sha256:<hex>`` over all that changes a result: rules, versions, threshold, languages, names.

        Listed names enter through a slow hash, since names can be guessed; a user's recogniser enters
        with its class, name and version.
        """
        return digest(
            {
                "engine": VERSION,
                "languages": list(self.languages),
                "names": _slow_digest(self._known),
                "own": [[rule.id, rule.version] for rule in self._rules],
                "predefined": self._described,
                "presidio": self._presidio_version,
                "recognizers": _describe(self._recognizers),
                "threshold_milli": round(self.threshold * 1000),
            }
        )

    @functools.cached_property
    def refs(self) -> tuple[Ref, ...]:
        """The policy and the detectors as agents of a step."""
        own = digest([[rule.id, rule.version] for rule in self._rules])
        return (
            Ref(digest=self.policy_digest, kind="policy", name="guard.text", version=VERSION),
            Ref(digest=own, kind="detector", name="trustplane-rules", version=VERSION),
            Ref(
                digest=digest(self._described),
                kind="detector",
                name="presidio-patterns",
                version=self._presidio_version,
            ),
        )

    def detect(self, text: str, *, skip: Container[str] = ()) -> list[Hit]:
        """Return what is found in ``text``: disjoint, in order, offsets in characters of ``text``.

        ``skip``: rules that do not count; what they share with another rule is still found by that one.

        Raises:
            TimeoutError: a pattern ran longer than its limit.
        """
        hits = (*self._built_in(text), *self._custom(text))
        return self._resolve(hit for hit in hits if hit.entity not in skip)

    def detect_many(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Return ``detect`` of each text, searched in one go, which is faster for many short texts."""
        if len(texts) < 2 or any("\x00" in text for text in texts):
            return [self.detect(text) for text in texts]
        found: list[list[Hit]] = [[] for _ in texts]
        starts: list[int] = []
        position = 0
        for text in texts:
            starts.append(position)
            position += len(text) + len(_SEPARATOR)
        index = 0
        joined = _SEPARATOR.join(texts)
        for hit in sorted(self._built_in(joined), key=lambda h: h.start):
            while index + 1 < len(texts) and hit.start >= starts[index + 1]:
                index += 1
            start = hit.start - starts[index]
            end = min(hit.end - starts[index], len(texts[index]))
            if start < end:
                found[index].append(hit._replace(start=start, end=end))
        for number, text in enumerate(texts):
            found[number].extend(self._custom(text))
        return [self._resolve(hits) for hits in found]

    def mask(self, text: str) -> str:
        """Return ``text`` with each finding replaced by its rule, as ``<EMAIL_ADDRESS>``; not reversible."""
        findings = self.detect(text)
        if self._record is not None:
            facts = {"findings": len(findings), **count_facts(Counter(f.entity for f in findings))}
            self._record(Step("guard.text.mask", "masked" if findings else "clean", agents=self.refs, facts=facts))
        pieces: list[str] = []
        position = 0
        for found in findings:
            pieces += (text[position : found.start], f"<{found.entity}>")
            position = found.end
        return "".join(pieces) + text[position:]

    def session(self) -> Session:
        """Return a new session: reversible pseudonyms, kept in memory and nowhere else."""
        from trustplane.guard.text.session import Session

        return Session(self)

    def _built_in(self, text: str) -> list[Hit]:
        folded = fold(text)
        hits = [hit._replace(rule=rule.id) for rule in self._rules for hit in rule.search(folded.text)]
        hits += self._presidio.search(latin(folded.text), self.threshold)
        hits = [hit for hit in hits if hit.score >= self.threshold]
        people = {folded.text[h.start : h.end] for h in hits if h.entity == "PERSON"}
        hits += listed(name_pattern(p for p in people if len(p) > 1), "PERSON", folded.text, self.threshold)
        hits += listed(self._listed, "LISTED_NAME", folded.text)
        return [h._replace(start=s, end=e) for h in hits for s, e in (folded.span(h.start, h.end),)]

    def _custom(self, text: str) -> list[Hit]:
        return [hit for recognizer in self._recognizers for hit in run_recognizer(recognizer, text)]

    def _resolve(self, hits: Iterable[Hit]) -> list[Hit]:
        return resolve(hit for hit in hits if hit.score >= self.threshold)


def _slow_digest(names: Iterable[str]) -> str:
    """Return a scrypt digest (RFC 7914) of the listed names, ``""`` without any: about 50 ms a guess."""
    listing = dumps(sorted({fold(name).text for name in names}))
    if listing == b"[]":
        return ""
    return "scrypt:" + hashlib.scrypt(listing, salt=b"trustplane/guard.text/names", n=2**14, r=8, p=1).hex()


def _describe(recognizers: Iterable[Any]) -> list[list[str]]:
    return [
        [
            type(r).__module__ + "." + type(r).__qualname__,
            str(r.name),
            str(r.version),
            *map(str, r.supported_entities),
        ]
        for r in recognizers
    ]


def count_facts(counts: Counter[str]) -> dict[str, int]:
    """Return counts per rule as facts, ``EMAIL_ADDRESS`` as ``n_email_address``."""
    facts: Counter[str] = Counter()
    for rule, count in counts.items():
        facts["n_" + rule.lower() if _RULE_ID.match(rule) else "n_other"] += count
    return dict(sorted(facts.items()))
