"""Presidio's pattern recognisers compiled: the findings of its AnalyzerEngine, looked for only where they can be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trustplane.errors import InputError, Refused
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.presidio.charset import ANY, char_class, complement
from trustplane.guard.text.presidio.duplicates import remove_duplicates
from trustplane.guard.text.presidio.gates import Gates, encode, scanner
from trustplane.guard.text.presidio.lookahead import take_out
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
            self._search = regex.compile(source, flags)
        except regex.error:
            raise InputError(
                f"pattern {self.name!r} of recogniser {recognizer.name!r} does not compile",
                hint="it must be an expression of the regex module",
            ) from None
        self.prefilter: Prefilter = prefilter(pattern.regex, flags)
        rest = prefilter(source, flags) if self._ahead else self.prefilter
        self._scan = self._scan_ascii = self._stop = None
        self._short = 0 if rest.risky else SHORT
        self._behind = FAR if rest.far_behind and "^" not in source and "\\A" not in source else None
        if rest.any and rest.ascii and rest.alphabet != ANY:
            self._scan, self._scan_ascii = scanner(rest.any.inside), scanner(rest.ascii.inside)
            self._stop = re.compile(_escaped(char_class(complement(rest.alphabet))))

    def __repr__(self) -> str:
        return f"CompiledPattern({self.rule!r}, {self.name!r})"

    @property
    def gates(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """RE2 patterns that all match in every text in which this one is found: for any text, for ASCII texts.

        Empty: the pattern runs on every text.
        """
        either = self.prefilter.any, self.prefilter.ascii
        return tuple(gate.texts if gate else () for gate in either)  # type: ignore[return-value]

    def find(self, text: str, data: bytes) -> Iterator[Hit]:
        """Yield what Presidio's recogniser gives for this pattern in ``text``; ``data`` is ``encode(text)``.

        Raises:
            TimeoutError: the pattern took longer than ``PATTERN_SECONDS``.
            Refused: a check of the recogniser failed.
        """
        last = len(text)
        for ahead in self._ahead:
            found = ahead.search(text, timeout=PATTERN_SECONDS)
            if found is None:
                return
            last = min(last, found.start())
        known: dict[str, float] = {}
        for start, match in self._matches(text, data):
            if start > last:
                return
            if self._by_group:
                yield from self._by_groups(start, match)
                continue
            matched = match.group()
            if (score := known.get(matched)) is None:
                score = self._rate(matched)
                if len(known) < MEMORY_OF_CHECKS:
                    known[matched] = score
            if score > 0:
                yield Hit(self.entity, start, start + len(matched), score, self.rule)

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
        self._gates = tuple(
            Gates((pattern.gates[which] for pattern in self.patterns), sifted=range(len(self.patterns)))
            for which in (0, 1)
        )

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
        # What cannot reach the threshold would be dropped in the end, and drops nothing itself before: of two
        # findings of one entity where one lies within the other, the one with the higher score stays.
        found = [
            hit
            for number in self._gates[is_ascii].open(data, is_ascii)
            if (pattern := self.patterns[number]).score >= score_threshold or not pattern.unchecked
            if _wanted(pattern, entities)
            for hit in pattern.find(text, data)
        ]
        return [hit for hit in remove_duplicates(found) if hit.score >= score_threshold]


def _wanted(pattern: CompiledPattern, entities: Sequence[str] | None) -> bool:
    return not entities or any(entity in entities for entity in pattern.recognizer.supported_entities)


def compile_recognizers(recognizers: Iterable[Any]) -> Compiled:
    """Compile pattern recognisers of Presidio's, the user's included.

    Raises:
        InputError: a pattern does not compile, the set needs too much memory, or a recogniser is not one of
            patterns (its own ``analyze``); the message names the recogniser and the pattern.
    """
    return Compiled(recognizers)
