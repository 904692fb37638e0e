"""ContentFilter: says of a text whether a list or the model objects, nothing does, or it cannot judge."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence

from trustplane.canon import digest
from trustplane.errors import InputError
from trustplane.guard.text.content.coverage import MAX_CHARACTERS, blind_spot
from trustplane.guard.text.content.exceptions import exceptions_at
from trustplane.guard.text.content.judgement import (
    CATEGORIES,
    EXCEPTIONS,
    SEVERITIES,
    Category,
    ContentHit,
    Judgement,
    lowered,
)
from trustplane.guard.text.content.search import Searcher
from trustplane.guard.text.content.verify import Found
from trustplane.guard.text.content.words import Entry, WordList, default_list
from trustplane.guard.text.views import fold

__all__ = ["ContentFilter"]

VERSION = "1"
"""Raised when the same lists may give another result."""
MAX_HITS = 1000
"""Most hits that a judgement holds."""
LANGUAGES = ("en", "zh")


class ContentFilter:
    """Judges texts by word lists and value-alignment categories; three outcomes.

    ``lists``: the user's, beside the package's own (see ``load_list``). ``categories``: names of the
    categories that count, or a mapping of name to severity (replacing that of every word of it), None
    for all. ``threshold``: severity from which a hit decides. ``languages``: of ``en`` and ``zh``; their
    own lists are loaded and other text is ``unknown``. ``own_lists``: False leaves only the user's.
    ``model``: also judge by the small linear model (see ``content.model``), with its own card.

    What holds: equal lists find equal places; time is linear in the text, memory bounded by it, and a
    filter is safe to share between threads. What does not: a word list knows no meaning. It misses
    what is said without a listed word and finds words where they are harmless.

    Raises:
        InputError: a category, severity or language is unknown, or the ``guard`` extra is missing.
    """

    def __init__(
        self,
        lists: Sequence[WordList] = (),
        categories: Collection[str] | Mapping[str, str] | None = None,
        threshold: str = "medium",
        languages: Sequence[str] = LANGUAGES,
        *,
        own_lists: bool = True,
        model: bool = False,
    ) -> None:
        if threshold not in SEVERITIES[1:]:
            raise InputError("an unknown threshold", hint="one of " + ", ".join(SEVERITIES[1:]))
        if isinstance(languages, str) or not languages or not set(languages) <= set(LANGUAGES):
            raise InputError("an unknown language", hint='of ("en", "zh")')
        self.threshold = threshold
        self.languages = tuple(languages)
        self.lists = (*lists, *(_default(language) for language in self.languages if own_lists))
        if any(not isinstance(one, WordList) for one in lists):
            raise InputError("a list is not a WordList", hint="load_list(path) or word_list(name, words)")
        self._known = _merged(self.lists)
        self._severities = _chosen(categories, self._known)
        self._model = model

    def __repr__(self) -> str:
        return f"ContentFilter({len(self.lists)} lists, threshold={self.threshold!r}, languages={self.languages!r})"

    @functools.cached_property
    def digest(self) -> str:
        """``sha256:<hex>`` over all that changes a result: version, lists, categories, threshold, model."""
        from trustplane.guard.text.content.model import weights_digest

        return digest(
            {
                "categories": None if self._severities is None else dict(sorted(self._severities.items())),
                "engine": VERSION,
                "languages": list(self.languages),
                "lists": [one.digest for one in self.lists],
                "model": [weights_digest(language) for language in self.languages] if self._model else [],
                "threshold": self.threshold,
            }
        )

    @functools.cached_property
    def _entries(self) -> tuple[tuple[str, Entry], ...]:
        found: dict[Entry, str] = {}
        for one in self.lists:
            for entry in one.entries:
                found.setdefault(entry, one.name)
                for phrase in entry.unless:
                    found.setdefault(Entry(phrase, entry.category, harmless=True), one.name)
        return tuple(
            (name, entry)
            for entry, name in found.items()
            if entry.harmless or self._severities is None or entry.category in self._severities
        )

    @functools.cached_property
    def _searcher(self) -> Searcher:
        return Searcher([entry for _, entry in self._entries])

    def judge(self, text: str) -> Judgement:
        """Return the judgement of ``text``; offsets in code points of it.

        A hit wins over a reason not to know, so an unreadable rest does not hide what was found.
        """
        if len(text) > MAX_CHARACTERS:
            return Judgement("unknown", reason="too_long")
        folded = fold(text)
        places, many = self._places(folded.text)
        hits = []
        for found in places:
            hit = self._hit(folded.text, found)
            start, end = folded.span(found.start, found.end)
            hits.append(hit._replace(start=start, end=end))
        reason = "too_many" if many else blind_spot(folded.text, self.languages)
        if self._model and reason in ("", "too_many"):
            from trustplane.guard.text.content.model import score

            outcome, language = score(folded.text, self.languages)
            if outcome == "hit" and (self._severities is None or "toxicity" in self._severities):
                severity = (self._severities or {}).get("toxicity") or CATEGORIES["toxicity"].severity
                hits.append(ContentHit("toxicity", severity, 0, len(text), f"model/{language}"))
            elif outcome == "unknown":
                reason = reason or "model"
        if any(SEVERITIES.index(hit.severity) >= SEVERITIES.index(self.threshold) for hit in hits):
            return Judgement("hit", tuple(sorted(hits, key=lambda h: (h.start, h.end))))
        return Judgement("unknown" if reason else "clean", tuple(sorted(hits, key=lambda h: (h.start, h.end))), reason)

    def _places(self, text: str) -> tuple[list[Found], bool]:
        """Return places without those in harmless phrases or inside longer ones, and whether there were too many."""
        entries = self._entries
        found: dict[tuple[int, int, int], Found] = {}
        harmless: set[tuple[int, int]] = set()
        many = False
        for place in self._searcher.search(text):
            if entries[place.entry][1].harmless:
                if len(harmless) < MAX_HITS:
                    harmless.add((place.start, place.end))
            elif len(found) < MAX_HITS:
                found.setdefault((place.start, place.end, place.entry), place)
            else:
                many = True
        kept: list[Found] = []
        shields = sorted(harmless)
        for place in sorted(found.values(), key=lambda f: (f.start, -f.end, -self._level(f.entry))):
            if place.form in ("plain", "inflected", "variant") and _inside(place, shields):
                continue
            if kept and any(
                k.start <= place.start and place.end <= k.end and self._level(k.entry) >= self._level(place.entry)
                for k in kept[-4:]
            ):
                continue
            kept.append(place)
        return kept, many

    def _level(self, number: int) -> int:
        return SEVERITIES.index(self._severity(self._entries[number][1]))

    def _severity(self, entry: Entry) -> str:
        if self._severities is not None and (forced := self._severities[entry.category]):
            return forced
        return entry.severity or self._known[entry.category].severity

    def _hit(self, text: str, found: Found) -> ContentHit:
        name, entry = self._entries[found.entry]
        severity, exception = self._severity(entry), None
        category = self._known[entry.category]
        spoken = exceptions_at(text, found.start, found.end, entry.category, reclaimed=entry.reclaimed)
        allowed = [e for e in spoken if e in category.exceptions]
        if allowed:
            exception = max(allowed, key=lambda e: EXCEPTIONS[e])
            severity = lowered(category, severity, exception)
        return ContentHit(entry.category, severity, found.start, found.end, f"{name}/{found.form}", exception)


@functools.lru_cache(maxsize=2)
def _default(language: str) -> WordList:
    return default_list(language)


def _merged(lists: Iterable[WordList]) -> dict[str, Category]:
    known = dict(CATEGORIES)
    for one in lists:
        known |= one.categories
    return known


def _chosen(
    categories: Collection[str] | Mapping[str, str] | None, known: Mapping[str, Category]
) -> dict[str, str] | None:
    if categories is None:
        return None
    chosen = dict(categories) if isinstance(categories, Mapping) else dict.fromkeys(categories, "")
    if isinstance(categories, str) or not set(chosen) <= set(known):
        raise InputError("an unknown category", hint="of " + ", ".join(sorted(known)))
    if not all(severity in ("", *SEVERITIES) for severity in chosen.values()):
        raise InputError("an unknown severity", hint="one of " + ", ".join(SEVERITIES))
    return chosen


def _inside(place: Found, shields: list[tuple[int, int]]) -> bool:
    return any(start <= place.start and place.end <= end for start, end in shields)
