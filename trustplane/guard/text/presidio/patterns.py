"""Presidio without a model: its pattern recognisers run here, with no spaCy pipeline and no network."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trustplane.errors import InputError, missing_extra
from trustplane.guard.text.hit import Hit

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

__all__ = ["PatternSet", "pattern_recognizers", "presidio_version", "run_recognizer"]

PATTERN_SECONDS = 2.0
"""Longest time one pattern may take on one text; past it detection fails, it never skips the pattern."""
WINDOW = 2048
OVERLAP = 256
"""A pattern sees windows of so many characters that overlap by so many: some of them take quadratic time."""
CONTEXT_BOOST = 0.35
CONTEXT_FLOOR = 0.4
"""How a context word lifts a score: the values of Presidio's LemmaContextAwareEnhancer."""
CONTEXT_CHARS = 64
"""How far before a match a context word may stand; Presidio counts five words."""
_TOKEN = re.compile(r"[A-Za-z]+")


def presidio_version() -> str:
    """Return the version of presidio-analyzer, or raise for the missing extra."""
    try:
        return importlib.metadata.version("presidio-analyzer")
    except importlib.metadata.PackageNotFoundError:
        raise missing_extra("presidio-analyzer", "guard") from None


def pattern_recognizers(languages: Sequence[str]) -> list[Any]:
    """Return one instance of each predefined pattern recogniser for ``languages``, in order of name.

    The generic ones (cards, e-mail, IBAN, IP, URL, ...) belong to every language.

    Raises:
        InputError: presidio-analyzer is not installed.
    """
    try:
        import presidio_analyzer.predefined_recognizers as predefined
        import tldextract
        from presidio_analyzer import PatternRecognizer
    except ImportError:
        raise missing_extra("presidio-analyzer", "guard") from None
    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    found: list[Any] = []
    for name in sorted(dir(predefined)):
        kind: Any = getattr(predefined, name)
        if not (inspect.isclass(kind) and issubclass(kind, PatternRecognizer)) or kind is PatternRecognizer:
            continue
        recognizer: Any = kind()
        if ".generic." not in kind.__module__ and recognizer.supported_language not in languages:
            continue
        if name == "EmailRecognizer":  # its check would fetch the public-suffix list
            recognizer.validate_result = lambda text: bool(offline(text).fqdn)
        found.append(recognizer)
    return found


class PatternSet:
    """Compiled patterns of pattern recognisers, run with a time limit that fails instead of skipping."""

    def __init__(self, recognizers: Iterable[Any]) -> None:
        import regex  # type: ignore[import-untyped]  # comes with presidio-analyzer
        from presidio_analyzer import PatternRecognizer

        self._compiled: list[tuple[Any, str, frozenset[str], list[tuple[Any, float]]]] = []
        self._whole: list[Any] = []
        self._no_check = PatternRecognizer.validate_result
        for recognizer in recognizers:
            if type(recognizer).analyze is not PatternRecognizer.analyze:
                self._whole.append(recognizer)
                continue
            patterns = [
                (regex.compile(p.regex, recognizer.global_regex_flags), float(p.score)) for p in recognizer.patterns
            ]
            context = frozenset(word.lower() for word in recognizer.context or () if " " not in word)
            self._compiled.append((recognizer, recognizer.supported_entities[0], context, patterns))

    def search(self, text: str, threshold: float = 0.0) -> Iterator[Hit]:
        """Yield candidates in the Latin view ``text``, weak ones included.

        A pattern that cannot reach ``threshold`` (no check of its own, no context word in the text) is
        not run.

        Raises:
            TimeoutError: a pattern took longer than ``PATTERN_SECONDS``.
        """
        words = {word.lower() for word in _TOKEN.findall(text)}
        for recognizer, entity, context, patterns in self._compiled:
            plain = type(recognizer).validate_result is self._no_check and context.isdisjoint(words)
            for pattern, score in patterns:
                if plain and score < threshold:
                    continue
                for start, end in _places(pattern, text):
                    rated = _rate(recognizer, text[start:end], score)
                    if rated > 0:
                        if rated < 1 and context:
                            rated = _in_context(text, start, context, rated)
                        yield _trimmed(text, Hit(entity, start, end, rated, "presidio/" + recognizer.name))
        for recognizer in self._whole:
            yield from run_recognizer(recognizer, text)


def _trimmed(text: str, hit: Hit) -> Hit:
    """Return ``hit`` without the blanks that some patterns take along."""
    matched = text[hit.start : hit.end]
    start = hit.start + len(matched) - len(matched.lstrip())
    return hit._replace(start=start, end=max(start + 1, hit.start + len(matched.rstrip())))


def _places(pattern: Any, text: str) -> Iterator[tuple[int, int]]:
    """Yield where ``pattern`` matches; a match cut by a window's end is left to the next window."""
    for first in range(0, max(1, len(text) - OVERLAP), WINDOW - OVERLAP):
        last = min(len(text), first + WINDOW)
        for found in pattern.finditer(text, first, last, timeout=PATTERN_SECONDS):
            start, end = found.span()
            if start < end and (end < last or last == len(text) or end - start > OVERLAP):
                yield start, end


def _rate(recognizer: Any, matched: str, score: float) -> float:
    """Apply the recogniser's own checks, as its analyze() does."""
    valid = recognizer.validate_result(matched)
    if valid is not None:
        score = 1.0 if valid else 0.0
    return 0.0 if recognizer.invalidate_result(matched) else score


def _in_context(text: str, start: int, context: frozenset[str], score: float) -> float:
    words = {word.lower() for word in _TOKEN.findall(text, max(0, start - CONTEXT_CHARS), start)[-5:]}
    if words.isdisjoint(context):
        return score
    return min(1.0, max(score + CONTEXT_BOOST, CONTEXT_FLOOR))


def run_recognizer(recognizer: EntityRecognizer, text: str) -> Iterator[Hit]:
    """Yield what any Presidio EntityRecognizer finds in ``text``; it is called as Presidio calls it.

    Raises:
        InputError: a result lies outside the text or has a score outside 0..1.
    """
    for result in recognizer.analyze(text, recognizer.supported_entities, None) or ():
        start, end, score = int(result.start), int(result.end), float(result.score)
        if not (0 <= start <= end <= len(text) and 0.0 <= score <= 1.0):
            raise InputError("a recogniser gave a place outside the text or a score outside 0..1")
        if start < end and score > 0:
            yield Hit(str(result.entity_type), start, end, score, "presidio/" + recognizer.name)
