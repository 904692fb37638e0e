"""Deciding: findings and judgements become one verdict by a policy, and the text that may go on."""

from __future__ import annotations

import bisect
import hashlib
import hmac
import itertools
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from trustplane.errors import InputError, Refused
from trustplane.guard.text.allow import plain
from trustplane.guard.text.arguments import check_text
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.policy import Action, Direction, Policy, check_direction

__all__ = ["Decided", "Decision", "Judgement", "Pseudonymiser", "Verdict", "apply", "decide", "strictest"]

Verdict = Literal["allow", "redact", "block", "review", "unknown"]
"""``unknown``: it could not be decided; it blocks like ``block``."""

VERDICTS: tuple[Verdict, ...] = ("block", "unknown", "review", "redact", "allow")
"""Strictest first."""
_STRICT: tuple[Action, ...] = ("block", "review", "mask", "hash", "pseudonymise", "allow")
"""Where findings overlap, the first of these acts on all of them."""
_SALT = secrets.token_bytes(16)
HOSTS = frozenset({"URL", "DOMAIN_NAME"})
"""Entities that are part of the e-mail address in which they stand: its host, not a finding of its own."""
HASH_DIGITS = 12
"""Hexadecimal digits of a hash: 48 bits, so that a million values of a tenant meet with 0.2 % probability."""


class Decided(NamedTuple):
    """A finding and what happens to it; ``why``: ``policy``, ``allow.values`` or ``allow.domains``."""

    hit: Hit
    action: Action
    why: str = "policy"

    @property
    def entity(self) -> str:
        """What was found."""
        return self.hit.entity

    @property
    def rule(self) -> str:
        """Id of the rule that found it."""
        return self.hit.rule

    @property
    def start(self) -> int:
        """Where it begins, in code points."""
        return self.hit.start

    @property
    def end(self) -> int:
        """Where it ends, in code points."""
        return self.hit.end

    @property
    def score(self) -> float:
        """How sure the rule is, 0..1."""
        return self.hit.score


class Judgement(NamedTuple):
    """What a judge of the whole text said: outcome ``hit``, ``clean`` or ``unknown``, and what it leads to."""

    judge: str
    outcome: Literal["hit", "clean", "unknown"]
    score: float = 0.0
    rules: tuple[str, ...] = ()
    action: Action = "allow"


class Decision(NamedTuple):
    """The verdict on one text, without the text.

    ``hits``: disjoint, in order. ``length``: of the text in code points. ``bound``: keyed
    hash that binds it to the text, of use in this process only. ``reason``: id of what kept the guard
    from deciding (``guard.text.timeout``, ``guard.text.detector``, ``guard.text.span``), ``""`` if nothing did.
    """

    verdict: Verdict
    hits: tuple[Decided, ...]
    judgements: tuple[Judgement, ...]
    policy: str
    direction: Direction
    tenant: str
    purpose: str
    length: int
    reason: str = ""
    bound: int = 0
    codes: bool = True
    """Whether the text may hold what looks like a pseudonym."""

    @property
    def goes(self) -> bool:
        """Whether the text may go on now, as it is or redacted."""
        return self.verdict in {"allow", "redact"}


class Pseudonymiser(Protocol):
    """What :func:`apply` needs of a session."""

    def notice(self, text: str, hits: Sequence[Hit]) -> None:
        """Remember the names in ``text`` and the codes that it holds already."""

    def known(self, text: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return ``hits`` with names of the session and forged pseudonyms, disjoint and in order."""

    def replace(self, text: str, hits: Sequence[Hit]) -> str:
        """Return ``text`` with disjoint hits replaced by their pseudonyms."""


def decide(
    text: str,
    hits: Iterable[Hit],
    judgements: Sequence[Judgement],
    policy: Policy,
    direction: Direction = "out",
    tenant: str = "",
    purpose: str = "",
    *,
    kind: Callable[[Hit], str] = lambda _hit: "personal",
    reason: str = "",
    codes: bool = True,
) -> Decision:
    """Return the verdict on ``text``; pure.

    ``hits``: candidates, overlaps allowed: an action that is stricter covers what it overlaps, so that a value which
    may pass does not carry out one that may not. ``kind``: whether a finding is ``personal`` or ``secret``.
    ``reason``: why the text could not be looked at, where it could not. ``codes``: see :class:`Decision`.

    Precedence: block > unknown > review > redact > allow.

    Raises:
        InputError: not a text, or a direction that is neither ``in`` nor ``out``.
    """
    check_text(text)
    check_direction(direction)
    effective = policy.for_(tenant, purpose)
    found = list(hits)
    if not found and not judgements and not reason:
        digest, length, bound = effective.digest, len(text), _bound(text)
        return Decision("allow", (), (), digest, direction, tenant, purpose, length, "", bound, codes)
    length = len(text)
    for _, start, end, score, _ in found:
        if not 0 <= start < end <= length or not 0.0 <= score <= 1.0:
            found, reason = [], reason or "guard.text.span"
            break
    counted = [h for h in found if effective.counts(h, kind(h))]
    if any(h.entity in HOSTS for h in counted):
        mails = _Cover(h for h in counted if h.entity == "EMAIL_ADDRESS")
        counted = [h for h in counted if h.entity not in HOSTS or not mails.holds(h)]
    decided = _settle(_actions(text, counted, effective, direction, kind))
    actions = {d.action for d in decided} | {j.action for j in judgements}
    if any(j.action == "block" and j.outcome == "hit" for j in judgements) or any(d.action == "block" for d in decided):
        verdict: Verdict = "block"
    elif reason or "block" in actions:
        verdict = "unknown"
    elif "review" in actions:
        verdict = "review"
    else:
        verdict = "redact" if any(d.action != "allow" for d in decided) else "allow"
    return Decision(
        verdict,
        decided,
        tuple(judgements),
        effective.digest,
        direction,
        tenant,
        purpose,
        len(text),
        reason,
        _bound(text),
        codes,
    )


class _Cover:
    """Places, ready to be asked whether one of them holds another place whole."""

    def __init__(self, hits: Iterable[Hit]) -> None:
        places = sorted((h.start, h.end) for h in hits)
        self._starts = [start for start, _ in places]
        self._ends = list(itertools.accumulate((end for _, end in places), max))

    def holds(self, hit: Hit) -> bool:
        number = bisect.bisect_right(self._starts, hit.start)
        return number > 0 and self._ends[number - 1] >= hit.end


def _actions(
    text: str, hits: Sequence[Hit], policy: Policy, direction: Direction, kind: Callable[[Hit], str]
) -> list[Decided]:
    allowed = policy.allowed
    if not allowed:
        return [Decided(h, policy.action(h, direction, kind(h))) for h in hits]
    whole = _Cover(h for h in hits if allowed.covers(text[h.start : h.end]))
    found = []
    for hit in hits:
        if whole.holds(hit):
            found.append(Decided(hit, "allow", "allow.values"))
        elif allowed.domain(hit.entity, text[hit.start : hit.end]):
            found.append(Decided(hit, "allow", "allow.domains"))
        else:
            found.append(Decided(hit, policy.action(hit, direction, kind(hit))))
    return found


def _settle(candidates: Iterable[Decided]) -> tuple[Decided, ...]:
    """Return disjoint decisions in order: clusters of what does not pass, then what passes and touches none."""
    strict: list[Decided] = []
    open_: list[Decided] = []
    for candidate in candidates:
        (open_ if candidate.action == "allow" else strict).append(candidate)
    settled = _clusters(strict)
    if not open_:
        return tuple(settled)
    ends = [d.hit.end for d in settled]
    kept = [c for c in _clusters(open_) if not _touches(c.hit, settled, ends)]
    return tuple(sorted([*settled, *kept], key=lambda d: d.hit.start))


def _clusters(candidates: list[Decided]) -> list[Decided]:
    found: list[Decided] = []
    last = -1
    for candidate in sorted(candidates, key=_order):
        _, start, end, _, _ = candidate.hit
        if start < last:
            before = found[-1]
            best = before if _rank(before) <= _rank(candidate) else candidate
            last = max(last, end)
            entity, _, _, score, rule = best.hit
            found[-1] = Decided(Hit(entity, before.hit.start, last, score, rule), best.action, best.why)
        else:
            found.append(candidate)
            last = end
    return found


def _order(decided: Decided) -> tuple[int, int, str, str]:
    entity, start, end, _, rule = decided.hit
    return (start, end, entity, rule)


def _rank(decided: Decided) -> tuple[int, int, float, str]:
    entity, start, end, score, _ = decided.hit
    return (_STRICT.index(decided.action), start - end, -score, entity)


def _touches(hit: Hit, settled: Sequence[Decided], ends: Sequence[int]) -> bool:
    number = bisect.bisect_right(ends, hit.start)  # the first that ends after the hit's start
    return number < len(settled) and settled[number].hit.start < hit.end


def _bound(text: str) -> int:
    return hash((_SALT, text))


def apply(
    decisions: Sequence[Decision],
    texts: Sequence[str],
    session: Pseudonymiser | None = None,
    *,
    key: bytes = b"",
    approved: bool = False,
    whole: bool = False,
) -> list[str]:
    """Return the texts that may go on, one for each decision; the texts are parts of one document.

    ``session`` makes the pseudonyms; what looks like one of its pseudonyms is hidden too, and so are names that it
    knows. ``key``: 16 bytes or more for ``hash``, as ``<EMAIL_ADDRESS#3f9a2c…>``: HMAC-SHA-256 (RFC 2104) of the folded
    value under a key of the tenant, 48 bits. ``approved``: a person has let texts under review pass; the places of
    review are masked. ``whole``: the decisions were made together, about all texts that ``session`` has seen or will
    see, so that names need not be looked for again.

    Raises:
        Refused: a verdict is block or unknown, or review without approval; then nothing is returned of any text.
        InputError: another text than the one decided about, or no session or key where an action needs one.
    """
    for decision, text in zip(decisions, texts, strict=True):
        if len(text) != decision.length or decision.bound != _bound(text):
            raise InputError("the decision is about another text")
        if not decision.goes and not (approved and decision.verdict == "review"):
            raise Refused(f"the policy does not let this text pass: {decision.verdict}", hint=decision.reason)
    if session is None:
        return [_redacted(d, text, None, key) for d, text in zip(decisions, texts, strict=True)]
    calm = [whole and not decision.codes for decision in decisions]
    for decision, text, quiet in zip(decisions, texts, calm, strict=True):
        if not quiet:
            session.notice(text, [d.hit for d in decision.hits if d.action == "pseudonymise"])
    return [
        _redacted(decision, text, session, key, quiet=quiet)
        for decision, text, quiet in zip(decisions, texts, calm, strict=True)
    ]


def _redacted(decision: Decision, text: str, session: Pseudonymiser | None, key: bytes, *, quiet: bool = False) -> str:
    decided = [d for d in decision.hits if d.action != "allow"]
    if session is not None and not quiet:
        decided = _clusters([*decided, *(Decided(hit, "pseudonymise") for hit in session.known(text, []))])
    if not decided:
        return text
    pieces: list[str] = []
    position, waiting = 0, list[Hit]()

    def passed(end: int) -> str:
        if not waiting:
            return text[position:end]
        if session is None:
            raise InputError(
                "the policy asks for pseudonyms, which need a session",
                hint="session=guard.session(); on the command line --vault FILE, --sealed or --style mask",
            )
        return session.replace(
            text[position:end], [h._replace(start=h.start - position, end=h.end - position) for h in waiting]
        )

    for item in decided:
        if item.action == "pseudonymise":
            waiting.append(item.hit)
            continue
        pieces += (passed(item.hit.start), _stand_in(item, text[item.hit.start : item.hit.end], key, decision.tenant))
        position, waiting = item.hit.end, []
    return "".join(pieces) + passed(len(text))


def _stand_in(item: Decided, value: str, key: bytes, tenant: str) -> str:
    if item.action != "hash":
        return f"<{item.hit.entity}>"
    if len(key) < 16:
        raise InputError(
            "the policy asks for hashes, which need a key of 16 bytes or more", hint="on the command line --key FILE"
        )
    own = hmac.digest(key, b"trustplane/guard.text/hash/1\0" + tenant.encode(), hashlib.sha256)
    shown = f"{item.hit.entity}\0{plain(value)}".encode("utf-8", "surrogatepass")
    return f"<{item.hit.entity}#{hmac.new(own, shown, hashlib.sha256).hexdigest()[:HASH_DIGITS]}>"


def strictest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the strictest of verdicts, ``allow`` of none."""
    return min(verdicts, key=VERDICTS.index, default="allow")
