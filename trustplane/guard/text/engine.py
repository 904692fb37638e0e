"""Engine: all rules and patterns behind one RE2 set; on a text only those run whose gates it opens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from trustplane.errors import InputError, Refused, TrustplaneError
from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.presidio.compiled import CompiledPattern, islands
from trustplane.guard.text.presidio.gates import Gates, encode
from trustplane.guard.text.presidio.patterns import locale_of
from trustplane.guard.text.rules.windows import margin_behind
from trustplane.guard.text.views import latin

__all__ = ["Engine", "run_one"]

CONTEXT_BOOST = 0.35
CONTEXT_FLOOR = 0.4
"""How a context word lifts a score: the values of Presidio's LemmaContextAwareEnhancer."""
CONTEXT_CHARS = 64
CONTEXT_WORDS = 5
"""How far before a match a context word may stand, in characters and in words (Presidio counts words)."""
PATTERN_REACH = 256
"""What is taken as the reach of a Presidio pattern."""
_TOKEN = re.compile(r"[A-Za-z]+")
_LETTERS = bytes(byte | 32 if chr(byte).isalpha() and byte < 128 else 32 for byte in range(256))


class Engine:
    """Runs own rules and Presidio's patterns on the text of a view.

    ``rules``: own rules. ``patterns``: of Presidio's recognisers; they run on the Latin view. ``user``: patterns of
    the user's recognisers; they run on the view's text as it is. ``threshold``: lowest score that is wanted; a
    pattern that cannot reach it (no check of its own, no context word in the text) is not run.

    The engine is immutable and safe in many threads; it keeps nothing of a text.

    Raises:
        InputError: a gate does not compile, two rules share an id, or the set needs too much memory.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        patterns: Sequence[CompiledPattern] = (),
        user: Sequence[CompiledPattern] = (),
        *,
        threshold: float = 0.0,
    ) -> None:
        ids = [rule.id for rule in rules]
        if len(set(ids)) < len(ids):
            raise InputError("two rules of the guard have the same id")
        self.rules = tuple(rules)
        self.patterns = tuple(patterns)
        self.user = tuple(user)
        self._threshold = threshold
        # Three sets: all of it for ASCII texts, where the Latin view is the text itself and closer gates hold;
        # else one for the text and one for its Latin view.
        folded = [i for i, rule in enumerate(rules) if rule.view != "latin"]
        blanked = [i for i, rule in enumerate(rules) if rule.view == "latin"]
        own, close = [_any_of(rule) for rule in rules], [p.gates[1] for p in self.patterns]
        self._ascii = _Plan(self, range(len(rules)), own, close, [p.gates[1] for p in self.user], is_ascii=True)
        self._text = _Plan(self, folded, own, [], [p.gates[0] for p in self.user], is_ascii=False)
        self._latin = _Plan(self, blanked, own, [p.gates[0] for p in self.patterns], [], is_ascii=False)
        self._latin_ascii = _Plan(self, blanked, own, close, [], is_ascii=True)

    def __repr__(self) -> str:
        return f"Engine({len(self.rules)} rules, {len(self.patterns)} + {len(self.user)} patterns)"

    @property
    def reach(self) -> int:
        """The farthest reach of a rule, in characters."""
        reaches = [rule.reach for rule in self.rules] + [PATTERN_REACH] * bool(self.patterns or self.user)
        return max(reaches, default=0)

    def search(self, text: str) -> list[Hit]:
        """Return the candidates in ``text`` (folded), each with the id of its rule, in no order.

        Raises:
            TimeoutError: a pattern took longer than its limit.
            Refused: a rule or a recogniser's check failed, or RE2 ran out of memory.
        """
        data = encode(text)
        if len(data) == len(text):
            return self._ascii.search(text, data)
        found = self._text.search(text, data)
        shown = latin(text)
        data = encode(shown)
        return found + (self._latin_ascii if len(data) == len(shown) else self._latin).search(shown, data)

    def search_user(self, text: str) -> list[Hit]:
        """Return what the patterns of the user's recognisers find in ``text``, for a text that is not folded."""
        data = encode(text)
        words = _Words(text)
        return [hit for pattern in self.user for hit in self._lifted(text, pattern, words, pattern.find(text, data))]

    def _too_low(self, pattern: CompiledPattern, words: _Words) -> bool:
        """Return whether ``pattern`` cannot reach the threshold in a text of ``words``."""
        if not pattern.unchecked or pattern.score >= self._threshold:
            return False
        return not pattern.context or pattern.context.isdisjoint(words.all())

    def _lifted(self, text: str, pattern: CompiledPattern, words: _Words, hits: Iterable[Hit]) -> Iterable[Hit]:
        """Yield ``hits`` of a pattern, which are looked for only now, lifted by its words and over the threshold."""
        if self._too_low(pattern, words):
            return
        threshold = self._threshold
        for hit in hits:
            score = hit.score
            if score < 1 and pattern.context and _in_context(text, hit.start, pattern.context):
                score = min(1.0, max(score + CONTEXT_BOOST, CONTEXT_FLOOR))
            if score >= threshold:
                yield _trimmed(text, hit, score)

    def explain(self) -> list[dict[str, Any]]:
        """Return what each rule and pattern is: ``id``, ``pattern``, ``version``, ``entities``, ``engine``, ...

        ``engine``: ``gated`` (runs on texts that the set lets through), ``always`` (an own rule without a gate),
        ``as it is`` (a pattern that RE2 cannot take, with ``reason``).
        """
        own = [
            {
                "id": rule.id,
                "pattern": "",
                "version": rule.version,
                "entities": list(rule.entities),
                "engine": "gated" if rule.gate else "always",
                "kind": rule.kind,
                "locales": sorted(rule.locales),
                "source": rule.source,
                "reason": "",
            }
            for rule in self.rules
        ]
        return own + [_explained(pattern) for pattern in (*self.patterns, *self.user)]


class _Plan:
    """What may run on one kind of text, behind one set."""

    def __init__(
        self,
        engine: Engine,
        rules: Iterable[int],
        own: Sequence[Sequence[str]],
        patterns: Sequence[Sequence[str]],
        user: Sequence[Sequence[str]],
        *,
        is_ascii: bool,
    ) -> None:
        self._engine = engine
        self._rules = [engine.rules[i] for i in rules]
        self._run: list[Rule | CompiledPattern] = [*self._rules]
        gates = [own[i] for i in rules]
        if patterns:
            self._run += engine.patterns
            gates += patterns
        if user:
            self._run += engine.user
            gates += user
        first = len(self._rules)
        self._patterns = [what for what in self._run if isinstance(what, CompiledPattern)]
        self._islands = islands(self._patterns, is_ascii=is_ascii, first=first)
        held = self._islands.held
        left = [None if number in held else gate for number, gate in enumerate(gates)]
        self._gates = Gates(left, sifted=range(first, len(gates)))

    def search(self, text: str, data: bytes) -> list[Hit]:
        if not self._run:
            return []
        found: list[Hit] = []
        words = _Words(text)
        for number in self._gates.open(data, len(data) == len(text)):
            what = self._run[number]
            if isinstance(what, Rule):
                found += _ruled(what, text)
            else:
                found += self._engine._lifted(text, what, words, what.find(text, data))
        places = self._islands.places(data)
        patterns, first = self._patterns, len(self._rules)
        for number, where in places.search.items():
            pattern = patterns[number - first]
            found += self._engine._lifted(text, pattern, words, pattern.find(text, data, where))
        for number, spans in places.spans.items():
            pattern = patterns[number - first]
            found += self._engine._lifted(text, pattern, words, pattern.at(text, spans))
        return found


def run_one(engine: Engine, what: Rule | CompiledPattern, text: str, since: int = 0) -> Iterable[Hit]:
    """Return what one rule or pattern of ``engine`` finds in ``text``, of its view, whether or not its gate is open.

    ``since``: hits that end before it may be left out.
    """
    if isinstance(what, Rule):
        if since and margin_behind(what) is not None:
            search: Any = what.search
            what = what._replace(search=lambda text: search(text, since))
        return _ruled(what, text)
    words = _Words(text)
    if engine._too_low(what, words):
        return ()
    return engine._lifted(text, what, words, what.find(text, encode(text)))


class _Words:
    """The words of a text in lower case, gathered when first asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words: set[str] | None = None

    def all(self) -> set[str]:
        if self._words is None:
            if self._text.isascii():
                self._words = set(self._text.encode("ascii").translate(_LETTERS).decode("ascii").split())
            else:
                self._words = set(_TOKEN.findall(self._text.lower()))
        return self._words


def _any_of(rule: Rule) -> tuple[str, ...]:
    """Return the gates of a rule as one: a rule runs when any of them matches."""
    return ("|".join(f"(?:{gate})" for gate in rule.gate),) if rule.gate else ()


def _ruled(rule: Rule, text: str) -> list[Hit]:
    try:
        found = rule.search(text)
        return [h if h.rule else Hit(h.entity, h.start, h.end, h.score, rule.id) for h in found]
    except (TrustplaneError, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001 - its message may hold a part of the text
        raise Refused(f"rule {rule.id} failed ({type(error).__name__})") from None


def _in_context(text: str, start: int, context: frozenset[str]) -> bool:
    """Return whether one of the five words before ``start`` is a word of a recogniser's context."""
    before = _TOKEN.findall(text, max(0, start - CONTEXT_CHARS), start)[-CONTEXT_WORDS:]
    return not context.isdisjoint([word.lower() for word in before])


def _trimmed(text: str, hit: Hit, score: float) -> Hit:
    """Return ``hit`` with ``score`` and without the blanks that some patterns take along."""
    matched = text[hit.start : hit.end]
    start = hit.start + len(matched) - len(matched.lstrip())
    end = max(start + 1, hit.start + len(matched.rstrip()))
    return Hit(hit.entity, start, end, score, hit.rule)


def _explained(pattern: CompiledPattern) -> dict[str, Any]:
    recognizer = pattern.recognizer
    country = locale_of(recognizer)
    return {
        "id": pattern.rule,
        "pattern": pattern.name,
        "version": str(recognizer.version),
        "entities": [str(entity) for entity in recognizer.supported_entities],
        "engine": "gated" if pattern.prefilter.any else "as it is",
        "kind": "personal",
        "locales": [country] if country else [],
        "source": f"{type(recognizer).__module__}.{type(recognizer).__qualname__}",
        "reason": pattern.prefilter.reason,
    }
