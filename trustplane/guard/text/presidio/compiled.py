"""Presidio's pattern recognisers compiled: the findings of its AnalyzerEngine, looked for only where they can be."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trustplane.errors import InputError, Refused
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.presidio.charset import ANY, char_class, complement
from trustplane.guard.text.presidio.duplicates import remove_duplicates
from trustplane.guard.text.presidio.gates import Gates, encode, scanner
from trustplane.guard.text.presidio.islands import BETWEEN, Islands, Member, Place
from trustplane.guard.text.presidio.lookahead import take_out, take_runs
from trustplane.guard.text.presidio.patterns import validator
from trustplane.guard.text.presidio.prefilter import Prefilter, prefilter
from trustplane.guard.text.presidio.translate import FAR

__all__ = ["DIFFERENCES", "Compiled", "CompiledPattern", "compile_recognizers", "is_pattern_recognizer"]

PATTERN_SECONDS = 2.0
"""Longest time one pattern may take on one text; past it detection fails, it never skips the pattern."""
SHORT = 256
"""Characters of a run in which a pattern without repeats inside repeats needs no limit on its time."""
DENSE = 64
"""After so many runs with less than so many characters each, the next are searched as if they were one."""
MEMORY_OF_CHECKS = 1024
"""Checks of equal matches that are remembered within one text."""
DIFFERENCES: dict[str, str] = {
    "time limit": "Presidio skips a pattern that runs longer than REGEX_TIMEOUT_SECONDS (60) and reports the rest; "
    "here such a pattern is an error, since what it would have found is not known.",
    "public suffix list": "Presidio's e-mail check downloads the public-suffix list; here the snapshot inside "
    "tldextract is used, so a suffix registered after that release may decide differently.",
    "look-behind without end": "A look-behind that can go back without end (the label before a claim or prescription "
    f"number, with any number of blanks) sees {FAR} characters: with more, its time grows with their square.",
    "order of equals": "Presidio puts findings of different types with the same score and span in the order of their "
    "hash; here they are in the order of their names.",
}
"""Each difference from Presidio's findings: what, and why it is right."""


def is_pattern_recognizer(recognizer: Any) -> bool:
    """Return whether ``recognizer`` is one that can be compiled: its ``analyze`` is Presidio's own."""
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import IbanRecognizer

    own = (PatternRecognizer.analyze, IbanRecognizer.analyze)
    return isinstance(recognizer, PatternRecognizer) and type(recognizer).analyze in own


class CompiledPattern:
    """One pattern of a recogniser: its gate, and how it is verified with Presidio's own expression."""

    def __init__(self, recognizer: Any, pattern: Any) -> None:
        import regex  # type: ignore[import-untyped]
        from presidio_analyzer import PatternRecognizer
        from presidio_analyzer.predefined_recognizers import IbanRecognizer

        flags = int(recognizer.global_regex_flags)
        self.recognizer = recognizer
        self.entity = str(recognizer.supported_entities[0])
        self.name = str(pattern.name)
        self.rule = f"presidio/{recognizer.name}"
        self.score = float(pattern.score)
        self.context = frozenset(word.lower() for word in recognizer.context or () if " " not in word)
        self._validate = validator(recognizer)
        self.unchecked = self._validate is None
        own = getattr(recognizer.invalidate_result, "__func__", recognizer.invalidate_result)
        self._invalidates = own is not PatternRecognizer.invalidate_result
        self._by_group = type(recognizer).analyze is IbanRecognizer.analyze
        try:
            regex.compile(pattern.regex, flags)
            source, self._ahead = take_out(pattern.regex, flags)
            source, self._runs = take_runs(source, flags)
            self._search = regex.compile(source, flags)
        except regex.error:
            raise InputError(
                f"pattern {self.name!r} of recogniser {recognizer.name!r} does not compile",
                hint="it must be an expression of the regex module",
            ) from None
        self.prefilter: Prefilter = prefilter(pattern.regex, flags)
        rest = prefilter(source, flags) if source != pattern.regex else self.prefilter
        self._scan = self._scan_ascii = self._stop = None
        self._short = 0 if rest.risky else SHORT
        self._label = functools.cache(self._close)
        self._further = BETWEEN + self.prefilter.spread.ahead + 2  # two: the end of a line before the end of the text
        self._behind = FAR if rest.far_behind and "^" not in source and "\\A" not in source else None
        if rest.any and rest.ascii and rest.alphabet != ANY:
            self._scan, self._scan_ascii = scanner(rest.any.inside), scanner(rest.ascii.inside)
            self._stop = re.compile(_escaped(char_class(complement(rest.alphabet))))

    def _close(self) -> Any:
        """Return the gate for ASCII texts, which holds what a look-behind asks for."""
        return scanner(self.prefilter.ascii.texts[0] if self.prefilter.ascii else "")

    def __repr__(self) -> str:
        return f"CompiledPattern({self.rule!r}, {self.name!r})"

    @property
    def member(self) -> Member | None:
        """What islands need to know of it; nothing where a part of it is answered from all that follows a match."""
        return None if self._ahead or self._runs or self._by_group else Member(self.prefilter, self._search)

    @property
    def gates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """RE2 patterns that all match in every text in which this one is found: for any text, for ASCII texts.

        Empty: the pattern runs on every text.
        """
        either = self.prefilter.any, self.prefilter.ascii
        return tuple(gate.texts if gate else () for gate in either)  # type: ignore[return-value]

    def find(self, text: str, data: bytes, places: Sequence[Place] | None = None) -> Iterator[Hit]:
        """Yield what Presidio's recogniser gives for this pattern in ``text``; ``data`` is ``encode(text)``.

        ``places``: those of the islands where it may match (see ``Islands``); without them the whole is searched.

        Raises:
            TimeoutError: the pattern took longer than ``PATTERN_SECONDS``.
            Refused: a check of the recogniser failed.
        """
        if places and self._behind is not None and len(text) == len(data) and not self._label().search(data):
            return
        last = len(text)
        for ahead in self._ahead:
            found = ahead.search(text, timeout=PATTERN_SECONDS)
            if found is None:
                return
            last = min(last, found.start())
        runs = [run.holds(text) for run in self._runs]
        known: dict[str, float] = {}
        for start, match in self._matches(text, data) if places is None else self._at(text, places):
            if start > last:
                return
            if not all(holds(start) for holds in runs):
                continue
            if self._by_group:
                yield from self._by_groups(start, match)
                continue
            end = start + match.end() - match.start()
            if score := self._known(text[start:end], known):
                yield Hit(self.entity, start, end, score, self.rule)

    def at(self, text: str, spans: Iterable[Place]) -> Iterator[Hit]:
        """Yield what Presidio's recogniser gives for this pattern's matches in ``text``, which are at ``spans``."""
        known: dict[str, float] = {}
        for start, end in spans:
            if score := self._known(text[start:end], known):
                yield Hit(self.entity, start, end, score, self.rule)

    def _known(self, matched: str, known: dict[str, float]) -> float:
        if (score := known.get(matched)) is None:
            score = self._rate(matched)
            if len(known) < MEMORY_OF_CHECKS:
                known[matched] = score
        return max(score, 0.0)

    def _matches(self, text: str, data: bytes) -> Iterator[tuple[int, Any]]:
        """Yield start and match of ``finditer`` over the whole text, found run by run, without empty ones.

        Why none is missed and none is new. The gate matches every span that the pattern matches. So in a scan
        for leftmost gate spans the start of each match lies inside one of them: between them nothing starts.
        From there all characters that a match or its look-aheads can go through are of the alphabet, so whatever
        starts in this run of alphabet characters is decided by the run and the character behind it (two, for a
        ``$`` before a final line end). Searching the run with the end set there gives the same matches in the
        same order as a search of the whole text; look-behinds see the text before it. No match and no gate span
        crosses the run's end, so the next span that matters starts behind it. A stretch of several runs that ends
        where a run ends may be searched in one go for the same reason.
        """
        ascii_text = len(text) == len(data)
        scan = self._scan_ascii if ascii_text else self._scan
        if scan is None or self._stop is None:
            for match in self._search.finditer(text, timeout=PATTERN_SECONDS):
                if match.end() > match.start():
                    yield match.start(), match
            return
        search, stop, short, size = self._search.search, self._stop.search, self._short, len(text)
        place = byte = runs = first = 0
        spans = scan.finditer(data)
        while (span := next(spans, None)) is not None:
            low, high = span.span()
            if low < byte:
                continue
            start = place + (low - byte if ascii_text else len(data[byte:low].decode()))
            width = high - low if ascii_text else len(data[low:high].decode())
            runs += 1
            if runs % DENSE == 1:
                first = start
            elif runs % DENSE == 0 and start - first < DENSE * DENSE:  # runs stand close: one search for many
                width = min(size - start, DENSE * DENSE)
                high = low + (width if ascii_text else len(encode(text[start : start + width])))
            behind = stop(text, start + width)
            end = behind.start() if behind else size
            if end - start <= short and self._behind is None:
                found = search(text, start, end + 2)
                if found is not None and ascii_text and (at := found.start()) < end:
                    yield at, found  # the next is looked for by the gate, which is quicker
                    place = byte = found.end()
                    spans = scan.finditer(data, byte)
                    continue
                while found is not None and (at := found.start()) < end:
                    yield at, found
                    found = search(text, found.end(), end + 2)
            else:
                yield from self._in_run(text, start, end)
            if end >= size:
                return
            place, byte = end, high + (end - start - width if ascii_text else len(encode(text[start + width : end])))
            if byte - high > short:  # many spans may lie in a long run
                spans = scan.finditer(data, byte)

    def _at(self, text: str, places: Iterable[Place]) -> Iterator[tuple[int, Any]]:
        """Yield what ``_matches`` does, from the islands alone; ``Islands`` says why there is no more."""
        search, done, further, far = self._search.search, 0, self._further, self._behind
        least = self.prefilter.least - self.prefilter.spread.behind
        for low, end in places:
            if done < low:
                done = low
            while done + least <= end:  # else what is left is too short
                if far is None or done <= far:
                    shift, found = 0, search(text, done, end + further)
                else:
                    shift = done - far
                    found = search(text[shift : end + further], far)
                if found is None or (start := found.start() + shift) >= end:
                    break
                yield start, found
                done = found.end() + shift

    def _in_run(self, text: str, start: int, end: int) -> Iterator[tuple[int, Any]]:
        """Search a run under a limit on the time, which costs more than the search of a short run itself."""
        shift = 0
        if self._behind is not None and start > self._behind:
            shift = start - self._behind
            text = text[shift : end + 2]
            start, end = self._behind, end - shift
        for match in self._search.finditer(text, start, end + 2, timeout=PATTERN_SECONDS):
            if match.start() >= end:
                return
            yield match.start() + shift, match

    def _by_groups(self, start: int, match: Any) -> Iterator[Hit]:
        """Rate a match as the IBAN recogniser does, which drops the last groups one by one."""
        for group in range(match.re.groups, 0, -1):
            end = match.end(group) if match.end(group) > 0 else match.end()
            matched = match.string[match.start() : end]
            score = self._rate(matched, invalidate=False) if matched else 0.0
            if score > 0:
                yield Hit(self.entity, start, start + len(matched), score, self.rule)
                return

    def _rate(self, matched: str, *, invalidate: bool = True) -> float:
        """Apply the recogniser's own checks, as its analyze() does."""
        try:
            valid = self._validate(matched) if self._validate else None
            score = self.score if valid is None else float(bool(valid))
            return 0.0 if invalidate and self._invalidates and self.recognizer.invalidate_result(matched) else score
        except Exception:  # noqa: BLE001 - a check of the user's may raise anything, with content in its message
            raise Refused(f"a check of recogniser {self.recognizer.name!r} failed") from None


def _escaped(char_class_source: str) -> str:
    """Return a class in RE2's notation in that of ``re``."""
    return re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: f"\\U{int(m.group(1), 16):08x}", char_class_source) or "(?!)"


class Compiled:
    """Compiled recognisers; ``analyze`` gives the findings of Presidio's engine with the same recognisers."""

    def __init__(self, recognizers: Iterable[Any]) -> None:
        self.recognizers = tuple(recognizers)
        for recognizer in self.recognizers:
            if not is_pattern_recognizer(recognizer):
                raise InputError(f"recogniser {recognizer.name!r} has its own analyze() and cannot be compiled")
        self.patterns: tuple[CompiledPattern, ...] = tuple(
            CompiledPattern(recognizer, pattern) for recognizer in self.recognizers for pattern in recognizer.patterns
        )
        self._islands = tuple(islands(self.patterns, is_ascii=is_ascii) for is_ascii in (False, True))
        self._gates = tuple(
            Gates(
                (None if n in self._islands[which].held else p.gates[which] for n, p in enumerate(self.patterns)),
                sifted=range(len(self.patterns)),
            )
            for which in (False, True)
        )
        self._skipped = functools.lru_cache(64)(self._not_wanted)

    def __repr__(self) -> str:
        return f"Compiled({len(self.recognizers)} recognisers, {len(self.patterns)} patterns)"

    def analyze(self, text: str, entities: Sequence[str] | None = None, score_threshold: float = 0.0) -> list[Hit]:
        """Return what ``AnalyzerEngine.analyze`` returns for ``text``, without words of context.

        ``entities``: only recognisers that support one of them run. Order: score, start, longest, entity.
        The differences are listed in ``DIFFERENCES``.

        Raises:
            TimeoutError: a pattern took longer than ``PATTERN_SECONDS``.
            Refused: a check of a recogniser failed, or RE2 ran out of memory.
        """
        data = encode(text)
        is_ascii = len(data) == len(text)
        skipped = self._skipped(score_threshold, tuple(entities) if entities else ())
        places = self._islands[is_ascii].places(data, skipped)
        found: list[Hit] = []
        for number in self._gates[is_ascii].open(data, is_ascii, skipped):
            found += self.patterns[number].find(text, data)
        for number, where in places.search.items():
            found += self.patterns[number].find(text, data, where)
        for number, spans in places.spans.items():
            found += self.patterns[number].at(text, spans)
        return [hit for hit in remove_duplicates(found) if hit.score >= score_threshold]

    def _not_wanted(self, score_threshold: float, entities: tuple[str, ...]) -> frozenset[int]:
        """Return the patterns that are not to run: none of ``entities``, or below the threshold whatever they find.

        What cannot reach the threshold would be dropped in the end, and drops nothing itself before: of two
        findings of one entity where one lies within the other, the one with the higher score stays.
        """
        return frozenset(
            number
            for number, pattern in enumerate(self.patterns)
            if (pattern.unchecked and pattern.score < score_threshold)
            or (entities and not any(entity in entities for entity in pattern.recognizer.supported_entities))
        )


def islands(patterns: Iterable[CompiledPattern], *, is_ascii: bool, first: int = 0) -> Islands:
    """Return the islands of those of ``patterns`` that stay close to digits, numbered from ``first`` on."""
    numbered = enumerate(patterns, first)
    members = {n: pattern.member for n, pattern in numbered if pattern.member is not None}
    return Islands(members, is_ascii)


def compile_recognizers(recognizers: Iterable[Any]) -> Compiled:
    """Compile pattern recognisers of Presidio's, the user's included.

    Raises:
        InputError: a pattern does not compile, the set needs too much memory, or a recogniser is not one of
            patterns (its own ``analyze``); the message names the recogniser and the pattern.
    """
    return Compiled(recognizers)
