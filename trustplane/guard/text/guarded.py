"""Guarded: a policy and a guard together; whatever fails or hangs on the way becomes a verdict that blocks."""

from __future__ import annotations

import bisect
import difflib
import functools
import itertools
import queue
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from trustplane.errors import InputError
from trustplane.guard.text.arguments import check_text, check_texts
from trustplane.guard.text.decide import Decision, Judgement, Pseudonymiser, apply, decide, strictest
from trustplane.guard.text.guard import Again, TextGuard, count_facts, people_in
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.memo import Digests, Memo
from trustplane.guard.text.policy import Direction, Policy, check_direction
from trustplane.guard.text.presidio.adopt import ENTITY
from trustplane.guard.text.session import holds_codes
from trustplane.step import Ref, Step

__all__ = ["Guarded", "Judge"]

LIMIT_SECONDS = 10.0
"""How long the user's judges may take over one text."""
MAX_HUNG = 4
"""Threads that may hang at once; past it nothing more is started and every verdict is unknown."""
_RULE_ID = re.compile(r"[A-Za-z0-9_./:@-]{1,128}\Z")
"""What a judge's rule may be called: it stands in decisions, where no text of a judge belongs."""
_ALWAYS = frozenset({"LISTED_NAME", "PERSON", "LOCATION", "ORGANIZATION"})
"""Entities of names, which a policy may speak of whether or not the guard looks for names."""
_CONTEXT = re.compile(r"[^\W\d_]+")


class _Seen(NamedTuple):
    """What was found in a text: its digest, ``b""`` where nothing is kept; hits; whether it may hold codes."""

    key: bytes
    hits: tuple[Hit, ...]
    codes: bool


_NOTHING = _Seen(b"", (), True)


class Judge(Protocol):
    """Judges a whole text; the result has ``outcome`` (``hit``, ``clean``, ``unknown``) and ``rules`` or ``hits``."""

    def judge(self, text: str) -> Any:
        """Return what is thought of ``text``; a judge of injection also takes ``source`` by name."""


class Guarded:
    """Decides about texts by a policy: detection, judges, decision, one step per call.

    ``guard``: by default a :class:`TextGuard` with the policy's languages, locales, names and recognisers.
    ``judges``: by name, in place of the package's own ``injection`` and ``content``; each may take
    ``limit_seconds``. ``key``: for the action ``hash``. ``record``: takes a step per call (counts, never content).

    What holds: a detector or judge that raises, hangs or gives a span out of range leads to ``unknown``, which blocks.
    Safe to share between threads if the recognisers and judges are. What was found in a text is remembered for a while,
    the text is not (:mod:`trustplane.guard.text.memo`).

    Raises:
        InputError: the policy names an entity or rule that the guard does not know, or a judge that is not there.
    """

    def __init__(
        self,
        policy: Policy,
        guard: TextGuard | None = None,
        *,
        judges: Mapping[str, Judge] | None = None,
        key: bytes = b"",
        record: Callable[[Step], None] | None = None,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        self.policy = policy
        self.guard = guard if guard is not None else open_guard(policy)
        self._judges: dict[Any, Judge] = {}
        for variant in policy.variants:
            for name, table in variant.judges.items():
                if (name, table) not in self._judges:
                    self._judges[name, table] = (judges or {}).get(name) or open_judge(name, variant)
        self._key, self._record, self.limit_seconds = key, record, limit_seconds
        self._foreign = bool(judges)
        keeps = not self.guard.custom  # what a user's recogniser finds may change at any time
        self._digests = Digests()
        self._seen: Memo[_Seen] | None = Memo() if keeps else None
        self._repeated: Memo[tuple[Hit, ...]] | None = Memo() if keeps else None
        self._decided: Memo[Decision] | None = Memo() if keeps else None
        self._hung: list[threading.Thread] = []
        rules = self.guard.explain_rules()
        self._secrets = frozenset(rule["id"] for rule in rules if rule["kind"] == "secret")
        _check_names(policy, rules)

    def __repr__(self) -> str:
        return f"Guarded({self.policy!r})"

    def decide(
        self,
        text: str,
        *,
        direction: Direction = "out",
        tenant: str = "",
        purpose: str = "",
        context: str = "",
        source: str = "",
    ) -> Decision:
        """Return the verdict on ``text``; ``context``: words that say what it is, such as a column's name.

        ``source``: who wrote it, for the judge of injection: ``user``, ``tool`` or ``document``; by default ``user``
        for what goes out, ``tool`` for what comes in.
        """
        return self.decide_many(
            [text], direction=direction, tenant=tenant, purpose=purpose, contexts=[context], source=source
        )[0]

    def decide_many(
        self,
        texts: Sequence[str],
        *,
        direction: Direction = "out",
        tenant: str = "",
        purpose: str = "",
        contexts: Sequence[str] = (),
        source: str = "",
        sources: Sequence[str] = (),
        joined: Sequence[Sequence[int]] = (),
        counts: Callable[[int, Hit], bool] | None = None,
    ) -> list[Decision]:
        """Return a decision for each part of one document; a name found in one part is found in all.

        Judges are asked once, about all parts together, or once for each of ``sources``, which then has one for each
        part, ``""`` for a part that is not judged; what they say is in each decision. ``joined``: numbers of parts
        that a reader puts together without a gap: a value that is cut by their borders is found in each of them.
        ``counts``: whether a finding in a part counts, given the part's number.

        Raises:
            InputError: not texts, a direction that is neither ``in`` nor ``out``, or a heavy finder in an event loop.
        """
        check_texts(texts)
        check_text(tenant, purpose, source, *contexts)
        check_direction(direction)
        shown = [_prefix(context) for context in contexts] or [""] * len(texts)
        seen: Sequence[_Seen]
        try:
            seen, reason = self._find(texts, shown, joined), ""
        except InputError:  # the guard is used in a way that it cannot serve
            raise
        except TimeoutError:
            seen, reason = [_NOTHING for _ in texts], "guard.text.timeout"
        except Exception:  # noqa: BLE001 - whatever a detector raises, the answer is no
            seen, reason = [_NOTHING for _ in texts], "guard.text.detector"
        effective = self.policy.for_(tenant, purpose)
        written = sources or [source or ("user" if direction == "out" else "tool")] * len(texts)
        judged = [] if reason else self._judge_all(texts, written, effective)

        def decided(number: int) -> Decision:
            text, (key, hits, codes) = texts[number], seen[number]
            if counts is not None and hits:
                hits = tuple(hit for hit in hits if counts(number, hit))
            known = (key, hits, effective.digest, direction, tenant, purpose)
            keep = self._decided is not None and hits and key and not judged and not reason
            if keep and self._decided is not None and (made := self._decided.get(known)) is not None:
                return made
            made = decide(
                text, hits, judged, self.policy, direction, tenant, purpose,
                kind=self._kind, reason=reason, codes=codes,
            )  # fmt: skip
            if keep and self._decided is not None:
                self._decided.put(known, made, 2 * len(hits))
            return made

        decisions = [decided(number) for number in range(len(texts))]
        if self._record is not None:
            self._record(self._step(decisions, effective))
        return decisions

    def apply(
        self, decision: Decision, text: str, session: Pseudonymiser | None = None, *, approved: bool = False
    ) -> str:
        """Return the text that may go on; see :func:`trustplane.guard.text.decide.apply`."""
        return self.apply_many([decision], [text], session, approved=approved)[0]

    def apply_many(
        self,
        decisions: Sequence[Decision],
        texts: Sequence[str],
        session: Pseudonymiser | None = None,
        *,
        approved: bool = False,
        whole: bool = False,
    ) -> list[str]:
        """Return the parts of one document that may go on, all or none; ``whole``: as :func:`decide.apply` takes it."""
        return apply(decisions, texts, session, key=self._key, approved=approved, whole=whole)

    # ── looking ─────────────────────────────────────────────────────────────────────────────────────

    def _find(self, texts: Sequence[str], prefixes: Sequence[str], joined: Sequence[Sequence[int]]) -> list[_Seen]:
        whole = ["".join(texts[number] for number in group) for group in joined]
        seen = self._look([*texts, *whole], [*prefixes, *([""] * len(whole))])
        found = seen[: len(texts)]
        for group, across in zip(joined, seen[len(texts) :], strict=True):
            for number, hits in _cut(texts, group, across.hits).items():
                found[number] = found[number]._replace(hits=(*found[number].hits, *hits))
        people = people_in(texts, [one.hits for one in found]) if len(texts) > 1 else frozenset()
        if not people:
            return found
        again = Again(people)
        name = self._digests.of(*sorted(people))
        return [self._with_again(text, one, again, name) for text, one in zip(texts, found, strict=True)]

    def _with_again(self, text: str, one: _Seen, again: Again, name: bytes) -> _Seen:
        """Return ``one`` with the people, known by ``name``, who stand in the text."""
        key = (one.key, name)
        hits = self._repeated.get(key) if self._repeated is not None and one.key else None
        if hits is None:
            hits = tuple(again.find(text, ()))
            if self._repeated is not None and one.key:
                self._repeated.put(key, hits, len(hits))
        there = {(h.start, h.end) for h in one.hits if h.entity == "PERSON"}
        new = [hit for hit in hits if (hit.start, hit.end) not in there]
        return one._replace(hits=(*one.hits, *new)) if new else one

    def _look(self, texts: Sequence[str], prefixes: Sequence[str]) -> list[_Seen]:
        """Return what is found in each text behind its prefix; what is remembered is not looked for again."""
        shown = [prefix + text for prefix, text in zip(prefixes, texts, strict=True)]
        if self._seen is None:
            looked = self._searched(shown, prefixes)
            return [_Seen(b"", hits, holds_codes(text)) for text, hits in zip(texts, looked, strict=True)]
        keys = [self._digests.of(f"{len(prefix)} {text}") for prefix, text in zip(prefixes, shown, strict=True)]
        found = {key: known for key in keys if (known := self._seen.get(key)) is not None}
        new = {key: number for number, key in enumerate(keys) if key not in found}
        looked = self._searched([shown[n] for n in new.values()], [prefixes[n] for n in new.values()])
        for (key, number), hits in zip(new.items(), looked, strict=True):
            found[key] = one = _Seen(key, hits, holds_codes(texts[number]))
            self._seen.put(key, one, len(hits))
        return [found[key] for key in keys]

    def _searched(self, shown: Sequence[str], prefixes: Sequence[str]) -> list[tuple[Hit, ...]]:
        looked = self.guard.candidates_many(shown) if shown else []
        return [
            tuple(h._replace(start=max(h.start - cut, 0), end=h.end - cut) if cut else h for h in hits if h.end > cut)
            for cut, hits in zip(map(len, prefixes), looked, strict=True)
        ]

    def _judge_all(self, texts: Sequence[str], sources: Sequence[str], policy: Policy) -> list[Judgement]:
        if not policy.judges:
            return []
        found: list[Judgement] = []
        for source in dict.fromkeys(source for source in sources if source):
            parts = [text for text, written in zip(texts, sources, strict=True) if written == source]
            found += self._judge("\n".join(parts), policy, source)
        return found

    def _judge(self, text: str, policy: Policy, source: str) -> list[Judgement]:
        found: list[Judgement] = []
        for name, table in policy.judges.items() if text.strip() else ():
            judge = self._judges[name, table]
            try:
                named = {"source": source} if name == "injection" else {}
                work = functools.partial(judge.judge, text, **named)
                said = self._bounded(work) if self._foreign else work()
                outcome, score = said.outcome, float(getattr(said, "score", 0.0))
                rules = _rules(said)
                if not 0.0 <= score <= 1.0 or not all(_RULE_ID.match(rule) for rule in rules):
                    outcome, score, rules = "unknown", 0.0, ()
            except Exception:  # noqa: BLE001 - whatever a judge raises, it could not judge
                outcome, score, rules = "unknown", 0.0, ()
            if outcome == "clean":
                found.append(Judgement(name, "clean", score, rules))
            elif outcome == "hit":
                found.append(Judgement(name, "hit", score, rules, table.hit or "block"))
            else:
                found.append(Judgement(name, "unknown", score, rules, table.unknown or "block"))
        return found

    def _kind(self, hit: Hit) -> str:
        return "secret" if hit.rule in self._secrets else "personal"

    def _bounded(self, work: Callable[[], Any]) -> Any:
        """Run ``work`` in a thread of its own, since foreign code may hang."""
        self._hung = [thread for thread in self._hung if thread.is_alive()]
        if len(self._hung) >= MAX_HUNG:
            raise TimeoutError
        answer: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def run() -> None:
            try:
                answer.put((True, work()))
            except BaseException as error:  # noqa: BLE001 - it is raised again by whoever waits
                answer.put((False, error))

        thread = threading.Thread(target=run, name="trustplane-guard", daemon=True)
        thread.start()
        try:
            fine, value = answer.get(timeout=self.limit_seconds)
        except queue.Empty:
            self._hung.append(thread)
            raise TimeoutError from None
        if not fine:  # an exit or an interrupt in there ends the judge, not the caller
            raise value if isinstance(value, Exception) else RuntimeError(type(value).__name__)
        return value

    def _step(self, decisions: Sequence[Decision], policy: Policy) -> Step:
        hits = [d for decision in decisions for d in decision.hits]
        facts: dict[str, Any] = {
            "texts": len(decisions),
            "findings": sum(d.action != "allow" for d in hits),
            "allowed": sum(d.action == "allow" for d in hits),
            **count_facts(Counter(d.hit.entity for d in hits if d.action != "allow")),
            **{f"judge_{j.judge}": j.outcome for decision in decisions for j in decision.judgements},
        }
        reasons = sorted({d.reason for d in decisions} - {""})
        if reasons:
            facts["reason"] = ",".join(reasons)
        verdict = strictest(d.verdict for d in decisions)
        agents: tuple[Ref, ...] = (policy.ref, *self.guard.refs)
        return Step("guard.text.scan", verdict, agents=agents, facts=facts)


def _cut(texts: Sequence[str], group: Sequence[int], hits: Sequence[Hit]) -> dict[int, list[Hit]]:
    """Return, by text of ``group``, the pieces of those ``hits`` that lie across the borders of its texts."""
    found: dict[int, list[Hit]] = {}
    starts = list(itertools.accumulate((len(texts[number]) for number in group), initial=0))
    for hit in hits:
        first = bisect.bisect_right(starts, hit.start) - 1
        if hit.end <= starts[first + 1]:
            continue
        for place in range(first, len(group)):
            start, end = max(hit.start, starts[place]), min(hit.end, starts[place + 1])
            if start < end:
                piece = hit._replace(start=start - starts[place], end=end - starts[place])
                found.setdefault(group[place], []).append(piece)
    return found


def open_guard(policy: Policy) -> TextGuard:
    """Return the guard that a policy asks for; what no table of it looks for is not searched."""
    file = policy.file
    if not file.recognizers:
        wanted = _wanted(policy)
        try:
            return _guard(file.languages, file.locales, policy.lowest_threshold, file.names, wanted)
        except InputError:
            if wanted is None:
                raise
            return _guard(file.languages, file.locales, policy.lowest_threshold, file.names, None)  # says what is amiss
    yaml = (".yaml", ".yml")
    own = [policy.path(name) if name.endswith(yaml) else name for name in file.recognizers]
    return TextGuard(file.languages, file.locales or None, policy.lowest_threshold, own, file.names)


def _wanted(policy: Policy) -> frozenset[str] | None:
    """Return all entities that count for anyone, ``None`` where all do or a rule is named by its id."""
    lists = [variant.file.entities for variant in policy.variants]
    found = frozenset(entity for entities in lists for entity in entities)
    if not all(lists) or policy.rule_keys - found or not all(ENTITY.match(entity) for entity in found):
        return None
    return found if policy.file.names else found - {"LISTED_NAME"}


@functools.lru_cache(maxsize=4)
def _guard(
    languages: tuple[str, ...],
    locales: tuple[str, ...],
    threshold: float,
    names: tuple[str, ...],
    entities: frozenset[str] | None,
) -> TextGuard:
    """Return a guard without recognisers of the user's; it keeps nothing of a text, so equal settings share one."""
    return TextGuard(languages, locales or None, threshold, names=names, entities=entities)


def _prefix(context: str) -> str:
    """Return a column's name or a key as words before the value: letters only, so that it can hide nothing."""
    words = _CONTEXT.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", context[:64]))
    return " ".join(words) + ": " if words else ""


def _check_names(policy: Policy, rules: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a policy that names what no rule finds: a misspelt entity would let it through unseen."""
    known = {rule["id"] for rule in rules} | {entity for rule in rules for entity in rule["entities"]} | _ALWAYS
    for key in sorted(policy.rule_keys - known):
        close = difflib.get_close_matches(key, known, 1, 0.6)
        hint = (
            f"did you mean {close[0]}?"
            if close
            else "scan text --explain-rules lists them; is its country among the locales?"
        )
        raise InputError(f"policy: no rule that is loaded finds {key}", hint=hint)


def _rules(said: Any) -> tuple[str, ...]:
    """Return the rules of a judgement, or the categories of its hits."""
    rules = getattr(said, "rules", None)
    return tuple(rules) if rules is not None else tuple(sorted({hit.category for hit in said.hits}))


def open_judge(name: str, policy: Policy) -> Judge:
    """Return the package's own judge."""
    if name == "content":
        from trustplane.guard.text.content.filter import LANGUAGES, ContentFilter
        from trustplane.guard.text.content.words import load_list

        table = policy.file.judges.content
        assert table is not None
        return ContentFilter(
            [load_list(policy.path(path)) for path in table.lists],
            categories=table.categories or None,
            threshold=table.severity or "medium",
            languages=[language for language in policy.file.languages if language in LANGUAGES] or LANGUAGES,
        )
    try:
        from trustplane.guard.text.injection import InjectionJudge

        return InjectionJudge()
    except (ImportError, OSError):
        raise InputError("the judge injection is not installed whole", hint="install trustplane[guard] again") from None
