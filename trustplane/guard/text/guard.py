"""TextGuard: finds sensitive parts of a text and masks them; makes sessions that can undo it."""

from __future__ import annotations

import bisect
import functools
import hashlib
import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trustplane.canon import digest, dumps
from trustplane.errors import InputError, Refused, TrustplaneError
from trustplane.guard.text.arguments import check_text, check_texts, listed_of
from trustplane.guard.text.encodings import in_digest
from trustplane.guard.text.engine import Engine
from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.known import countries_of, languages_of
from trustplane.guard.text.names import built_in_finders
from trustplane.guard.text.names.cues import NAME_RULES
from trustplane.guard.text.names.listed import listed, name_pattern
from trustplane.guard.text.overlap import resolve
from trustplane.guard.text.presidio.adopt import ENTITY, adopt
from trustplane.guard.text.presidio.compiled import CompiledPattern, is_pattern_recognizer
from trustplane.guard.text.presidio.outside import Outside
from trustplane.guard.text.presidio.patterns import pattern_recognizers, presidio_version
from trustplane.guard.text.rules import rules_for
from trustplane.guard.text.views import View, fold, views
from trustplane.step import Ref, Step

if TYPE_CHECKING:
    from trustplane.guard.text.names.port import NameFinder
    from trustplane.guard.text.session import Session

__all__ = ["Again", "TextGuard", "count_facts", "people_in"]

VERSION = "3"
"""Raised when the same rules may give another result: folding, overlaps, context."""
RECOGNIZER_SECONDS = 5.0
"""Longest time a recogniser of the user's with code of its own may take over one text."""
LISTED, AGAIN = "own/listed_name", "own/person_again"
"""Rules of names that the user listed, and of people found once and found again in the same text."""
_SEPARATOR = "\n" * 64 + "\x00" + "\n" * 64
"""Stands between texts that are searched in one go; no pattern crosses it, no rule looks for context beyond it."""


_BETWEEN = re.compile("[^\x00]+")


class TextGuard:
    """Detects personal data and secrets in text: own rules, Presidio's patterns, names by cue and by a small tagger.

    ``languages``: whose name cues and countries are on. ``locales``: countries (ISO 3166) whose identifiers are
    looked for, by default those of the languages. ``threshold``: lowest score that counts, 0..1.
    ``recognizers``: the user's: Presidio ``EntityRecognizer`` objects, a ``RecognizerRegistry``, a Presidio YAML
    file, or ``package.module:Class``; each may take ``recognizer_seconds`` over a text. ``names``: names to find
    wherever they stand, as entity ``LISTED_NAME``. ``entities``: look for these only. ``finders``: of names
    (:class:`~trustplane.guard.text.names.port.NameFinder`), by default the package's own, ``()`` for none; heavy
    ones must not run in an event loop's thread, so there ``adetect`` is the way. ``record``: takes a step per
    ``mask`` (counts, never content).

    What holds: equal settings find equal places; a pattern, recogniser or finder that fails or runs too long is an
    error, never skipped. What does not: every name is found. A guard is safe to share
    between threads if its recognisers and finders are; nothing of a text is kept.

    Raises:
        InputError: presidio-analyzer is missing, a setting is unusable, or a rule does not compile.
    """

    def __init__(
        self,
        languages: Sequence[str] = ("en", "zh"),
        locales: Sequence[str] | None = None,
        threshold: float = 0.4,
        recognizers: Sequence[Any] = (),
        names: Iterable[str] = (),
        *,
        entities: Iterable[str] | None = None,
        finders: Sequence[NameFinder] | None = None,
        record: Callable[[Step], None] | None = None,
        recognizer_seconds: float = RECOGNIZER_SECONDS,
    ) -> None:
        if not 0.0 <= threshold <= 1.0:
            raise InputError("the threshold is outside 0..1")
        if not recognizer_seconds > 0:
            raise InputError("recognizer_seconds is not above 0")
        self.languages = languages_of(languages)
        self.locales = countries_of(self.languages, locales)
        self.threshold = threshold
        self.entities = None if entities is None else frozenset(listed_of(entities, "entities"))
        self._record = record
        chosen = built_in_finders(self.languages) if finders is None else tuple(finders)
        self._finders = tuple(finder for finder in chosen if self._wants(finder.entities))
        self._known = listed_of(names, "names")
        if not all(fold(name).text.strip() for name in self._known):
            raise InputError("names holds one of invisible characters only")
        self._listed = name_pattern(self._known)
        self._presidio_version = presidio_version()
        if isinstance(recognizers, str):
            raise InputError("recognizers is not a list", hint='recognizers=["package.module:Class"]')
        self._recognizers, self._left_out = adopt(recognizers)
        compiled = [r for r in self._recognizers if is_pattern_recognizer(r)]
        others = [r for r in self._recognizers if not is_pattern_recognizer(r)]
        self._outside = Outside([r for r in others if self._wants(r.supported_entities)], recognizer_seconds)
        predefined = [r for r in pattern_recognizers(self.locales) if self._wants(r.supported_entities)]
        self._described = _describe(predefined)
        users = {r.name for r in self._recognizers}
        self._presidio_rules = {f"presidio/{r.name}" for r in predefined if r.name not in users}
        self._engine = Engine(
            [rule for rule in self._own_rules() if self._wants(rule.entities)],
            _patterns(predefined),
            _patterns(r for r in compiled if self._wants(r.supported_entities)),
            threshold=threshold,
        )
        if self.entities is not None:
            self._check_entities(self.entities)

    def _own_rules(self) -> list[Rule]:
        return [*rules_for(self.locales), *(NAME_RULES[name] for name in self.languages if name in NAME_RULES)]

    def _wants(self, entities: Iterable[str]) -> bool:
        return self.entities is None or not self.entities.isdisjoint(entities)

    def _check_entities(self, wanted: frozenset[str]) -> None:
        known = {entity for rule in self.explain_rules() for entity in rule["entities"]}
        if unknown := sorted(wanted - known):
            raise InputError(f"no rule of this guard finds {unknown[0]}", hint="see explain_rules()")

    def __repr__(self) -> str:
        return f"TextGuard(languages={self.languages!r}, threshold={self.threshold}, policy={self.policy_digest!r})"

    @property
    def custom(self) -> bool:
        """Whether the user's own recognisers run beside the built-in rules."""
        return bool(self._recognizers)

    @property
    def heavy(self) -> bool:
        """Whether a finder is on that must not run in an event loop's thread."""
        return any(finder.heavy for finder in self._finders)

    @property
    def longest_name(self) -> int:
        """Length in characters of the longest listed name, 0 without any."""
        return max((len(name) for name in self._known), default=0)

    @property
    def reach(self) -> int:
        """How many characters a hit of a rule and the context that it looks at span at most."""
        return self._engine.reach

    @functools.cached_property
    def policy_digest(self) -> str:
        """``sha256:<hex>`` over all that changes a result: rules, versions, threshold, languages, names.

        Listed names enter through a slow hash, since names can be guessed; a user's recogniser enters
        with its class, name, version, patterns and words of context.
        """
        return digest(
            {
                "engine": VERSION,
                "entities": sorted(self.entities) if self.entities is not None else "all",
                "finders": [[f.name, f.version, getattr(f, "digest", "")] for f in self._finders],
                "languages": list(self.languages),
                "locales": list(self.locales),
                "names": _slow_digest(self._known),
                "own": self._own,
                "predefined": self._described,
                "presidio": self._presidio_version,
                "recognizers": _describe(self._recognizers, inside=True),
                "threshold_milli": round(self.threshold * 1000),
            }
        )

    @property
    def _own(self) -> list[list[str]]:
        return [[rule.id, rule.version] for rule in self._engine.rules]

    @functools.cached_property
    def refs(self) -> tuple[Ref, ...]:
        """The policy and the detectors as agents of a step."""
        return (
            Ref(digest=self.policy_digest, kind="policy", name="guard.text", version=VERSION),
            Ref(digest=digest(self._own), kind="detector", name="trustplane-rules", version=VERSION),
            Ref(
                digest=digest(self._described),
                kind="detector",
                name="presidio-patterns",
                version=self._presidio_version,
            ),
        )

    def explain_rules(self) -> list[dict[str, Any]]:
        """Return a row for each rule, pattern, finder and recogniser: what it finds and how it runs.

        Keys: ``id``, ``pattern``, ``version``, ``entities``, ``engine``, ``kind``, ``locales``, ``source``,
        ``reason``. ``engine``: ``gated`` (only on texts that one pass of RE2 lets through), ``always``, ``as it is``
        (code or a pattern that is not gated; ``reason`` says why), ``left out`` (needs an NLP engine).
        """
        rows = self._engine.explain()
        rows += [_row(LISTED, ["LISTED_NAME"])] if self._listed is not None else []
        rows += [_row(AGAIN, ["PERSON"])] if self._wants(["PERSON"]) else []
        rows += [
            _row(f"names/{f.name}", f.entities, version=f.version, source=type(f).__module__) for f in self._finders
        ]
        for recognizer in self._recognizers:
            if not is_pattern_recognizer(recognizer):
                rows.append(_recognizer_row(recognizer, "as it is", "it has its own analyze()"))
        return rows + [_recognizer_row(r, "left out", "it reads the tokens of an NLP engine") for r in self._left_out]

    def detect(self, text: str, *, skip: Container[str] = ()) -> list[Hit]:
        """Return what is found in ``text``: disjoint, in order, offsets in characters of ``text``.

        ``skip``: entities that do not count; what they share with another entity is still found by that one.

        Raises:
            TimeoutError: a pattern ran longer than its limit.
            Refused: a rule, recogniser or finder failed or hangs; nothing is known of the text.
            InputError: not a text, or a heavy finder is on and an event loop runs in this thread.
        """
        check_text(text)
        return resolve(hit for hit in self.candidates(text) if hit.entity not in skip)

    async def adetect(self, text: str, *, skip: Container[str] = ()) -> list[Hit]:
        """Return ``detect(text)``, which runs in a worker thread where a heavy finder is on."""
        if not self.heavy:
            return self.detect(text, skip=skip)
        import asyncio

        return await asyncio.to_thread(self.detect, text, skip=skip)

    def candidates(self, text: str) -> list[Hit]:
        """Return all hits of at least the threshold before overlaps are resolved, in no order; as ``detect``."""
        return [*self._built_in(text), *self._custom(text)]

    def candidates_many(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Return ``candidates`` of each text, searched in one go, which is faster for many short texts."""
        check_texts(texts)
        found: list[list[Hit]] = [[] for _ in texts]
        joinable = [number for number, text in enumerate(texts) if "\x00" not in text]
        for plain in (True, False):  # texts that need folding do not slow down the others
            group = [number for number in joinable if texts[number].isascii() == plain]
            if len(group) > 1:
                for number, hits in zip(group, self._joined([texts[n] for n in group]), strict=True):
                    found[number] += hits
            elif group:
                found[group[0]] += self._built_in(texts[group[0]])
        for number in set(range(len(texts))).difference(joinable):
            found[number] += self._built_in(texts[number])
        for number, text in enumerate(texts):
            found[number] += self._custom(text)
        return found

    def _joined(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Return what is found in ``texts`` put one behind the other."""
        starts = list(itertools.accumulate((len(text) + len(_SEPARATOR) for text in texts[:-1]), initial=0))
        found: list[list[Hit]] = [[] for _ in texts]
        for hit in self._built_in(_SEPARATOR.join(texts), starts):
            number = bisect.bisect_right(starts, hit.start) - 1
            start, end = hit.start - starts[number], min(hit.end - starts[number], len(texts[number]))
            if start < end:
                found[number].append(hit._replace(start=start, end=end))
        return found

    def detect_many(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Return ``detect`` of each text, searched in one go; a person found in one of them is found in all."""
        found = self.candidates_many(texts)
        _spread(texts, found, self.threshold)
        return [resolve(hits) for hits in found]

    def mask(self, text: str) -> str:
        """Return ``text`` with each finding replaced by its entity, as ``<EMAIL_ADDRESS>``; not reversible."""
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

    def warm_up(self) -> None:
        """Load now what is else loaded with the first text that needs it (tables, plans, dictionaries): seconds.

        For servers, before they take requests: a first text that waits for it could pass its time limit.
        """
        samples = [example for rule in self._engine.rules for example in rule.examples[:1]]
        self._built_in("\n".join(samples))
        self._built_in("联系人：张伟，电话13800138000。 Ada Lovelace of London said so.")

    def session(self, **settings: Any) -> Session:
        """Return a new session: reversible pseudonyms; ``settings`` as :class:`Session` takes them."""
        from trustplane.guard.text.session import Session

        return Session(self, **settings)

    def _built_in(self, text: str, starts: Sequence[int] = ()) -> list[Hit]:
        """Run the engine, the finders and the names on each view of ``text``.

        ``starts``: where the texts begin that it was put together from; a person is looked for again in the own text.
        """
        found: list[Hit] = []
        for view in views(text):
            parts = _parts(view, starts) if starts else [(0, len(view.text))]
            hits = self._in_view(view, parts)
            if self.entities is not None:
                hits = [hit for hit in hits if hit.entity in self.entities]
            if view.text is text:  # nothing is rewritten
                found += hits
                continue
            for hit in hits:
                if view.rewritten(hit.start, hit.end):  # else an earlier view has shown it
                    start, end = view.span(hit.start, hit.end)
                    found.append(Hit(hit.entity, start, end, hit.score, hit.rule))
        return found

    def _in_view(self, view: View, parts: Sequence[tuple[int, int]]) -> list[Hit]:
        text = view.text
        hits = self._engine.search(text)
        for low, high in parts if self._finders else ():  # what finders say of a name depends on the whole text
            own = text[low:high]
            hits += [_moved(hit, low) for finder in self._finders for hit in self._names(finder, own)]
        hits = [hit for hit in hits if hit.score >= self.threshold and not self._is_digest(text, hit)]
        hits += _again(text, hits, parts, self.threshold)
        return hits + [hit._replace(rule=LISTED) for hit in listed(self._listed, "LISTED_NAME", text)]

    def _is_digest(self, text: str, hit: Hit) -> bool:
        """Return whether ``hit`` is a part of a digest in hex; some of Presidio's patterns know no word boundaries."""
        return hit.rule in self._presidio_rules and in_digest(text, hit.start, hit.end)

    def _names(self, finder: NameFinder, text: str) -> list[Hit]:
        if finder.heavy and (asyncio := sys.modules.get("asyncio")) and asyncio._get_running_loop() is not None:
            raise InputError(
                "a heavy name finder must not run in an event loop's thread", hint="await guard.adetect(text)"
            )
        try:
            return [hit if hit.rule else hit._replace(rule=f"names/{finder.name}") for hit in finder.find(text)]
        except TrustplaneError:
            raise
        except Exception as error:  # noqa: BLE001 - a model may raise anything, with the text in its message
            raise Refused(f"name finder {finder.name!r} failed ({type(error).__name__})") from None

    def _custom(self, text: str) -> list[Hit]:
        """Run the user's recognisers on the original, where their authors expect them to run."""
        if not self._recognizers:
            return []
        hits = self._outside.search(text)
        if not text.isascii():  # else the first view was the text itself
            hits += self._engine.search_user(text)
        wanted = self.entities
        return [h for h in hits if h.score >= self.threshold and (wanted is None or h.entity in wanted)]


def _parts(view: View, starts: Sequence[int]) -> list[tuple[int, int]]:
    """Return which parts of a view come from which of the texts put together, those of one text as one."""
    parts: list[tuple[int, int]] = []
    last = 0
    for found in _BETWEEN.finditer(view.text):
        low = found.start() + len(found[0]) - len(found[0].lstrip("\n"))
        if low == found.end():
            continue
        number = bisect.bisect_right(starts, view.span(low, low + 1)[0])
        if number == last:
            parts[-1] = (parts[-1][0], found.end())
        else:
            parts.append(found.span())
        last = number
    return parts


def _moved(hit: Hit, by: int) -> Hit:
    return Hit(hit.entity, hit.start + by, hit.end + by, hit.score, hit.rule) if by else hit


def _again(text: str, hits: Sequence[Hit], parts: Sequence[tuple[int, int]], threshold: float) -> list[Hit]:
    """Return where the people of each part of a text stand again in it."""
    people = [hit for hit in hits if hit.entity == "PERSON"]
    if not people:
        return []
    places = {(hit.start, hit.end) for hit in people}
    ends = [high for _, high in parts]
    by_part: dict[int, set[str]] = {}
    for hit in people:
        number = bisect.bisect_left(ends, hit.end)
        if hit.end - hit.start > 1 and number < len(parts):
            by_part.setdefault(number, set()).add(text[hit.start : hit.end])
    found = []
    for number, names in by_part.items():
        low, high = parts[number]
        again = (_moved(hit, low) for hit in listed(name_pattern(names), "PERSON", text[low:high], threshold))
        found += [hit._replace(rule=AGAIN) for hit in again if (hit.start, hit.end) not in places]
    return found


def _spread(texts: Sequence[str], found: Sequence[list[Hit]], score: float) -> None:
    """Add to the hits of each text the people that were found in another one; ``score`` of the new hits."""
    again = Again(people_in(texts, found), score)
    if len(texts) > 1:
        for text, hits in zip(texts, found, strict=True):
            hits += again.find(text, hits)


def people_in(texts: Sequence[str], found: Sequence[Sequence[Hit]]) -> frozenset[str]:
    """Return the people that were found."""
    return frozenset(
        text[h.start : h.end]
        for text, hits in zip(texts, found, strict=True)
        for h in hits
        if h.entity == "PERSON" and h.end - h.start > 1
    )


class Again:
    """Finds people again who were found elsewhere."""

    def __init__(self, people: frozenset[str], score: float = 1.0) -> None:
        self._names, self._score = name_pattern(people), score

    def find(self, text: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return where they stand in ``text``, those in ``hits`` left out."""
        if self._names is None:
            return []
        there = {(h.start, h.end) for h in hits if h.entity == "PERSON"}
        folded = fold(text)
        places = (folded.span(h.start, h.end) for h in listed(self._names, "PERSON", folded.text))
        return [Hit("PERSON", start, end, self._score, AGAIN) for start, end in places if (start, end) not in there]


def _patterns(recognizers: Iterable[Any]) -> list[CompiledPattern]:
    return [CompiledPattern(recognizer, pattern) for recognizer in recognizers for pattern in recognizer.patterns]


def _row(name: str, entities: Iterable[str], *, version: str = VERSION, source: str = "") -> dict[str, Any]:
    return {
        "id": name, "pattern": "", "version": version, "entities": list(entities), "engine": "always",
        "kind": "personal", "locales": [], "source": source, "reason": "",
    }  # fmt: skip


def _recognizer_row(recognizer: Any, engine: str, reason: str) -> dict[str, Any]:
    source = f"{type(recognizer).__module__}.{type(recognizer).__qualname__}"
    row = _row(f"presidio/{recognizer.name}", recognizer.supported_entities, version=str(recognizer.version))
    return row | {"source": source, "engine": engine, "reason": reason}


def _slow_digest(names: Iterable[str]) -> str:
    """Return a scrypt digest (RFC 7914) of the listed names, ``""`` without any: about 50 ms a guess."""
    listing = dumps(sorted({fold(name).text for name in names}))
    if listing == b"[]":
        return ""
    return "scrypt:" + hashlib.scrypt(listing, salt=b"trustplane/guard.text/names", n=2**14, r=8, p=1).hex()


def _describe(recognizers: Iterable[Any], *, inside: bool = False) -> list[list[str]]:
    return [
        [
            type(r).__module__ + "." + type(r).__qualname__,
            str(r.name),
            str(r.version),
            *map(str, r.supported_entities),
            *([_inside(r)] if inside else []),
        ]
        for r in recognizers
    ]


def _inside(recognizer: Any) -> str:
    patterns = [[p.name, p.regex, repr(p.score)] for p in getattr(recognizer, "patterns", ())]
    flags = int(getattr(recognizer, "global_regex_flags", 0) or 0)
    return digest([patterns, [str(word) for word in recognizer.context or ()], flags])


def count_facts(counts: Counter[str]) -> dict[str, int]:
    """Return counts per entity as facts, ``EMAIL_ADDRESS`` as ``n_email_address``."""
    facts: Counter[str] = Counter()
    for entity, count in counts.items():
        facts["n_" + entity.lower() if ENTITY.match(entity) else "n_other"] += count
    return dict(sorted(facts.items()))
