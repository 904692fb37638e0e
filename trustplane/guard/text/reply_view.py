"""Reply view: what a policy looks for in what comes back, on a guard that runs no rule beside it."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from trustplane.errors import Refused
from trustplane.guard.text.decide import decide
from trustplane.guard.text.engine import Engine
from trustplane.guard.text.guard import TextGuard
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.reply import REPLY_SKIPS, Looker
from trustplane.guard.text.screen import Screen, screen_of

if TYPE_CHECKING:
    from trustplane.guard.text.guarded import Guarded
    from trustplane.guard.text.policy import Policy

__all__ = ["STRONG", "ReplyStopped", "ReplyView", "narrowed", "plain_view", "warm_up"]

STRONG = frozenset(
    {"API_KEY", "CN_RESIDENT_ID", "CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "JWT", "LISTED_NAME", "PHONE_NUMBER"}
    | {"PRIVATE_KEY", "US_SSN"}
)
"""Entities that count in an identifier of the API; others are found in random letters and digits by chance."""

Wanted = Callable[[str, Iterable[str]], bool]
"""Whether a rule, given its id and the entities that it may find, is to run."""

_PLAIN: weakref.WeakKeyDictionary[TextGuard, Any] = weakref.WeakKeyDictionary()
_NARROWED: weakref.WeakKeyDictionary[TextGuard, dict[frozenset[str], TextGuard]] = weakref.WeakKeyDictionary()


_VIEWS: weakref.WeakKeyDictionary[Guarded, dict[tuple[str, frozenset[str]], _Variant]] = weakref.WeakKeyDictionary()


class ReplyStopped(Refused):
    """The policy does not let a reply pass. ``rule``: of what was found; ``verdict``: block, review or unknown."""

    def __init__(self, rule: str, verdict: str) -> None:
        super().__init__(f"the policy does not let this reply pass: {verdict}")
        self.rule = rule
        self.verdict = verdict


def narrowed(guard: Any, wanted: Wanted) -> Any:
    """Return ``guard`` with those of its rules and finders alone that are wanted; guards of another kind as they are.

    What is wanted is found as before, since no rule looks at the findings of another one.
    """
    if type(guard) is not TextGuard:
        return guard
    engine = guard._engine
    rules = [r for r in engine.rules if wanted(r.id, r.entities)]
    patterns = [p for p in engine.patterns if wanted(p.rule, p.recognizer.supported_entities)]
    user = [p for p in engine.user if wanted(p.rule, p.recognizer.supported_entities)]
    finders = tuple(f for f in guard._finders if wanted(f"names/{f.name}", f.entities))
    chosen = frozenset(
        [r.id for r in rules] + [f"{p.rule}:{p.name}" for p in (*patterns, *user)] + [f.name for f in finders]
    )
    known = _NARROWED.setdefault(guard, {})
    if chosen not in known:
        made = copy.copy(guard)
        made._engine = Engine(rules, patterns, user, threshold=guard.threshold)
        made._finders = finders
        known[chosen] = made
    return known[chosen]


def plain_view(guard: Any) -> Any:
    """Return what finds all that counts in a reply where no policy says otherwise."""
    if type(guard) is not TextGuard:
        return guard
    if guard not in _PLAIN:
        _PLAIN[guard] = narrowed(guard, lambda _rule, entities: not REPLY_SKIPS.issuperset(entities))
    return _PLAIN[guard]


class _Judging(NamedTuple):
    """As much of a policy as the asking of judges reads."""

    judges: Mapping[str, Any]


class _Variant(NamedTuple):
    """What is derived from a policy for one of its tenants and purposes."""

    named: frozenset[str]
    guard: Any
    screen: Screen | None
    counted: dict[tuple[str, str], bool]
    custom: bool
    longest_name: int
    reach: int


class ReplyView:
    """What :class:`~trustplane.guard.text.reply.Cleaner` asks, by a policy, for one tenant and purpose.

    A finding counts if its action for ``in`` is not ``allow``; entities of ``REPLY_SKIPS`` count only where a rule
    table of the policy names them. Every other action masks, but for ``block`` and ``review``, which stop the reply.
    """

    def __init__(
        self, guarded: Guarded, tenant: str = "", purpose: str = "", *, only: frozenset[str] = frozenset()
    ) -> None:
        self._guarded, self._tenant, self._purpose = guarded, tenant, purpose
        self._only = only
        self._policy = guarded.policy.for_(tenant, purpose)
        known = _VIEWS.setdefault(guarded, {})
        key = (self._policy.digest, only)
        if key not in known:
            known[key] = self._made()
        self._named, self._guard, screen, self._known, self.custom, self.longest_name, self.reach = known[key]
        self.screen = screen if type(self).detect is ReplyView.detect else None
        """What tells where nothing can be found; None where all is to be looked at."""
        self.judges = tuple(name for name in self._policy.judges)
        """The judges that the policy has."""

    def __repr__(self) -> str:
        return f"ReplyView({self._policy!r})"

    @functools.cached_property
    def identifiers(self) -> Looker:
        """The same for identifiers of the API, where ``STRONG`` entities alone count."""
        return ReplyView(self._guarded, self._tenant, self._purpose, only=STRONG)

    def detect(self, text: str, *, skip: Container[str] = REPLY_SKIPS) -> list[Hit]:
        """Return what is to be masked in ``text``: disjoint, in order.

        Raises:
            ReplyStopped: the policy blocks what was found, or wants a person to see it.
            TimeoutError, Refused: the guard could not look.
        """
        return self.decided(text, self._guard.candidates(text), skip=skip)

    def decided(self, text: str, hits: Iterable[Hit], *, skip: Container[str] = REPLY_SKIPS) -> list[Hit]:
        """Return what of ``hits``, found in ``text``, is to be masked, as ``detect`` does."""
        found = [hit for hit in hits if self._counted(hit, skip)]
        if not found:
            return []
        decision = decide(text, found, (), self._policy, "in", kind=self._kind)
        if not decision.goes:
            rule = next((d.rule for d in decision.hits if d.action == decision.verdict), decision.reason)
            raise ReplyStopped(rule, decision.verdict)
        return [d.hit for d in decision.hits if d.action != "allow"]

    def judge(self, text: str, *, source: str) -> None:
        """Ask the judge of content about ``text``, and the one of injection where it comes from a ``tool``.

        Raises:
            ReplyStopped: what they say blocks or asks for review.
        """
        names = {"content", "injection"} if source == "tool" else {"content"}
        if names.isdisjoint(self.judges):
            return
        judging = _Judging({name: table for name, table in self._policy.judges.items() if name in names})
        for judgement in self._guarded._judge(text, cast("Policy", judging), source):
            if judgement.action != "allow":
                raise ReplyStopped(judgement.judge, judgement.action)

    def _made(self) -> _Variant:
        self._named = frozenset(k for k, table in self._policy.file.rules.items() if table.in_ not in {None, "allow"})
        guard = narrowed(self._guarded.guard, self._wanted)
        screen = None if self._stops(guard) else screen_of(guard)
        return _Variant(self._named, guard, screen, {}, bool(guard.custom), int(guard.longest_name), int(guard.reach))

    def _stops(self, guard: Any) -> bool:
        """Return whether a finding may stop a reply; every finding is then looked at, wherever it stands."""
        if type(guard) is not TextGuard:
            return True
        rows = [(rule.id, rule.entities) for rule in guard._engine.rules]
        rows += [(p.rule, p.recognizer.supported_entities) for p in guard._engine.patterns]
        hits = [Hit(str(entity), 0, 0, 1.0, rule) for rule, entities in rows for entity in entities]
        return any(self._policy.action(hit, "in", self._kind(hit)) in {"block", "review"} for hit in hits)

    def _wanted(self, rule: str, entities: Iterable[str]) -> bool:
        return any(self._counts(rule, entity, REPLY_SKIPS) for entity in entities)

    def _counted(self, hit: Hit, skip: Container[str]) -> bool:
        if skip is not REPLY_SKIPS:
            return self._counts(hit.rule, hit.entity, skip)
        key = hit.rule, hit.entity
        if key not in self._known:
            self._known[key] = self._counts(*key, skip)
        return self._known[key]

    def _counts(self, rule: str, entity: str, skip: Container[str]) -> bool:
        if self._only and entity not in self._only:
            return False
        if entity in skip and entity not in self._named and rule not in self._named:
            return False
        hit = Hit(entity, 0, 0, 1.0, rule)
        return self._policy.action(hit, "in", self._kind(hit)) != "allow"

    def _kind(self, hit: Hit) -> str:
        return self._guarded._kind(hit)


def warm_up(guarded: Guarded) -> None:
    """Build now what the first reply of each tenant and purpose would wait for: a few tenths of a second each."""
    policy = guarded.policy
    for tenant in ("", *policy.tenants):
        for purpose in ("", *policy.purposes):
            view = ReplyView(guarded, tenant, purpose)
            for looker in (view, view.identifiers):
                looker.detect("x 1 \u4e2d")
