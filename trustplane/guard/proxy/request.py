"""Request: what of a request is looked at, what the policy says about it, and the request as it may be sent."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from trustplane.guard.proxy.address import Address
from trustplane.guard.proxy.bare import bare, is_strong
from trustplane.guard.proxy.events import Head, Headers
from trustplane.guard.proxy.gate import Caller, Gate
from trustplane.guard.proxy.payload import Field, Payload, open_payload
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.route import UPSTREAM, header
from trustplane.guard.proxy.sources import source_of
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.text.decide import Decision, Verdict, strictest
from trustplane.guard.text.guard import count_facts
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.session import Session
from trustplane.step import Ref, Step

__all__ = ["GuardedRequest", "Sendable"]

_PART = re.compile(r"(.*)\[\d+\]\.text\Z", re.DOTALL)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}\Z")
_RULES_NAMED = 8
"""How many rules a refusal names at most."""


class Sendable(NamedTuple):
    """A request as it goes to the upstream."""

    path: str
    query: str
    headers: Headers
    body: bytes


class GuardedRequest:
    """One request on its way through the guard: :meth:`read` its body, :meth:`decide`, then :meth:`rewrite`.

    ``endpoint``: None for a path that the settings pass through; nothing is then looked at but how it is addressed.
    Everything is looked at: ids in the path, the query, the headers that go along, every string, free-form key and
    long number of the body. Text gets pseudonyms in brackets, a name of the API gets one without, and only for what is
    surely personal.

    Raises:
        ProxyRefusal: each method, for what the proxy does not know or the settings do not allow.
    """

    def __init__(self, gate: Gate, caller: Caller, head: Head, endpoint: Endpoint | None) -> None:
        self._gate, self._caller, self._endpoint = gate, caller, endpoint
        self._settings = gate.settings
        content_type = header(head.headers, "content-type")
        if header(head.headers, "content-encoding").lower() not in {"", "identity"}:
            raise ProxyRefusal("guard.proxy.content_encoding", 415, "a compressed body is not let through")
        self._content_type = content_type
        self._upstream = header(head.headers, UPSTREAM)
        self._address = Address(head, endpoint)
        self._payload = Payload(b"", content_type)
        self._decisions: list[Decision] = []
        self._fields: list[Field] = []
        self._body = b""
        self._streams_by_head = "text/event-stream" in header(head.headers, "accept")

    def __repr__(self) -> str:
        return f"GuardedRequest({self._endpoint.name if self._endpoint else 'passed'!r}, {len(self._fields)} fields)"

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────

    def read(self, data: bytes) -> None:
        """Take the whole body."""
        self._body = data
        if self._endpoint is None:
            self._payload = Payload(data, self._content_type)
            return
        self._payload = open_payload(data, self._content_type, self._endpoint)
        self._fields = [*self._address.fields, *self._payload.fields]
        if self._payload.media and self._settings.media != "pass":
            raise ProxyRefusal("guard.proxy.media", 403, "images, audio and files are not let through")
        if self._payload.stored and self._settings.store == "refuse":
            raise ProxyRefusal("guard.proxy.store", 403, "store is not let through: send it as false")

    @property
    def _value(self) -> Any:
        return self._payload.values[0] if len(self._payload.values) == 1 else None

    def _top(self, key: str) -> Any:
        return self._value.get(key) if isinstance(self._value, dict) else None

    @property
    def model(self) -> str:
        """The model that the request asks for, ``""`` if it does not say."""
        found = self._top("model")
        if found is None:
            found = next((f.text for f in self._fields if f.place == "model"), "")
        return found if isinstance(found, str) else ""

    @property
    def model_word(self) -> str:
        """The same where it is a plain word in which nothing was found, so that it may stand in steps."""
        if not _WORD.match(self.model):
            return ""
        own = [d for f, d in zip(self._fields, self._decisions, strict=False) if f.place == "model"]
        return "" if any(d.hits for d in own) or not own else self.model

    @property
    def streams(self) -> bool:
        """Whether the client asks for a stream of events."""
        if self._endpoint is None or not self._endpoint.streams:
            return False
        if self._endpoint.api == "mcp":
            return self._streams_by_head
        return self._top("stream") is True or any(f.place == "stream" and f.text == "true" for f in self._fields)

    @property
    def rpc_id(self) -> str | int | None:
        """The id of a JSON-RPC request, for the error that answers it."""
        found = self._top("id") if self._endpoint is not None and self._endpoint.api == "mcp" else None
        if type(found) is str:
            return found[:128]
        return int(found) if isinstance(found, str) and re.fullmatch(r"-?\d{1,15}", found) else None

    @property
    def prompt(self) -> str:
        """The texts of the request, one a line: what the log commits to as its input."""
        return "\n".join(field.text for field in self._payload.fields if field.kind == "text")

    # ── deciding ────────────────────────────────────────────────────────────────────────────────────

    def decide(self) -> None:
        """Ask the guard and the policy about every field."""
        if self._endpoint is None:
            return
        guarded, caller = self._gate.guarded, self._caller
        judged = bool(guarded.policy.for_(caller.tenant, caller.purpose).judges)
        values, endpoint = self._payload.values, self._endpoint
        self._decisions = guarded.decide_many(
            [field.text for field in self._fields],
            direction="out",
            tenant=caller.tenant,
            purpose=caller.purpose,
            contexts=[field.context for field in self._fields],
            sources=[source_of(field, values, endpoint) for field in self._fields] if judged else (),
            joined=list(_joined(self._fields)),
            counts=self._counts,
        )

    def _counts(self, number: int, hit: Hit) -> bool:
        field = self._fields[number]
        return field.kind in ("text", "key") or is_strong(hit, field)

    @property
    def verdict(self) -> Verdict:
        """The strictest verdict on any field."""
        return strictest(decision.verdict for decision in self._decisions)

    def refusal(self) -> ProxyRefusal | None:
        """Return why the request may not go on, None if it may."""
        verdict = self.verdict
        if verdict in ("allow", "redact"):
            return None
        if verdict == "unknown":
            return ProxyRefusal("guard.proxy.undecided", 503, "the guard could not decide about this request")
        rules = sorted(set(self._rules(verdict)))
        named = ", ".join(rules[:_RULES_NAMED]) + (", ..." if len(rules) > _RULES_NAMED else "")
        return ProxyRefusal("guard.proxy.policy", 403, f"the policy does not let this request through: {named}")

    def _rules(self, action: str) -> Iterator[str]:
        for decision in self._decisions:
            yield from (d.hit.rule for d in decision.hits if d.action == action)
            yield from (f"{j.judge}/{rule}" for j in decision.judgements if j.action == action for rule in j.rules)

    @property
    def review_facts(self) -> tuple[tuple[str, str], ...]:
        """Place and rule of each finding that asks for review; below a field of the caller's own the place ends."""
        found: dict[tuple[str, str], None] = {}
        for field, decision in zip(self._fields, self._decisions, strict=True):
            for decided in decision.hits:
                if decided.action == "review":
                    own = field.context or field.kind == "key"
                    place = re.split(r"[.\[]", field.place, maxsplit=1)[0] + ".*" if own else field.place[:200]
                    found[place, decided.hit.rule] = None
        for decision in self._decisions[:1]:
            for judgement in decision.judgements:
                if judgement.action == "review":
                    found.update({("", f"{judgement.judge}/{rule}"): None for rule in judgement.rules or ("",)})
        return tuple(found)

    @property
    def commitment(self) -> str:
        """Keyed digest of who asks whom for what, by which the same request is known again."""
        caller = self._caller
        words = (caller.tenant, caller.purpose, caller.session, self._upstream, self._content_type, self._address.shown)
        parts = (*(word.encode("utf-8", "surrogatepass") for word in words), self._body)
        framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        key = hmac.digest(self._gate.key, b"trustplane/proxy/review/1", hashlib.sha256)
        return "hmac-sha256:" + hmac.new(key, framed, hashlib.sha256).hexdigest()

    # ── rewriting ───────────────────────────────────────────────────────────────────────────────────

    @property
    def sealed(self) -> bool:
        """Whether pseudonyms have to outlive the request: what is kept is read again by a later one."""
        endpoint = self._endpoint
        if endpoint is None:
            return False
        kept = endpoint.name.startswith("responses") and self._top("store") is not False
        return endpoint.stored or (kept and not (self._payload.stored and self._settings.store == "rewrite"))

    def session(self) -> Session:
        """Return a new session of this caller: the same values get the same pseudonyms in each."""
        gate, caller = self._gate, self._caller
        found: Session = gate.guarded.guard.session(
            key=gate.key, tenant=caller.tenant, session=caller.session, sealed=self.sealed
        )
        return found

    def rewrite(self, session: Session, *, approved: bool = False) -> Sendable:
        """Return what may be sent; ``approved``: a person has let it pass."""
        texts = self._hidden(session, approved=approved) if self._decisions else []
        own = len(self._address.fields) if self._endpoint is not None else 0
        content_type, body = self._payload.rewritten(texts[own:], unstore=self._settings.store == "rewrite")
        path, query, headers = self._address.rewritten(texts[:own])
        if content_type and (body or self._content_type):
            headers = (*headers, ("content-type", content_type))
        return Sendable(path, query, headers, body)

    def _hidden(self, session: Session, *, approved: bool) -> list[str]:
        texts = [field.text for field in self._fields]
        names = [n for n, field in enumerate(self._fields) if field.kind == "name"]
        for number in names:
            session.notice(texts[number], [])
        others = [n for n, field in enumerate(self._fields) if field.kind != "name"]
        self._apply(others, texts, session, approved=approved)
        found = [n for n in names if self._decisions[n].hits]
        before = [texts[n] for n in found]
        self._apply(found, texts, session, approved=approved)
        for number, old in zip(found, before, strict=True):
            if texts[number] != old:
                texts[number] = bare(texts[number])
        return texts

    def _apply(self, numbers: Sequence[int], texts: list[str], session: Session, *, approved: bool) -> None:
        decisions = [self._decisions[n] for n in numbers]
        new = self._gate.guarded.apply_many(
            decisions, [texts[n] for n in numbers], session, approved=approved, whole=not session.sealed
        )
        for number, text in zip(numbers, new, strict=True):
            texts[number] = text

    # ── steps ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def agents(self) -> tuple[Ref, ...]:
        """The policy and the detectors."""
        guarded = self._gate.guarded
        policy = guarded.policy.for_(self._caller.tenant, self._caller.purpose)
        return (policy.ref, *guarded.guard.refs)

    def steps(self) -> tuple[Step, ...]:
        """Return what was received and found."""
        facts = {
            "bytes": len(self._body),
            "endpoint": self._endpoint.name if self._endpoint else "passed",
            "streamed": self.streams,
        }
        received = Step("guard.proxy.received", facts=facts)
        if self._endpoint is None:
            return (received, Step("guard.proxy.passed", "passed"))
        counts = count_facts(self._found())
        judged = {f"judge_{j.judge}": j.outcome for d in self._decisions[:1] for j in d.judgements}
        found = Step("guard.text.detect", "found" if counts else "clean", agents=self.agents, facts=counts | judged)
        return (received, found)

    def rewrite_steps(self) -> tuple[Step, ...]:
        """Return what was hidden, turned off and passed."""
        if self._endpoint is None:
            return ()
        counts = self._found()
        facts = {"masked": counts.total(), **count_facts(counts)}
        steps = [Step("guard.text.hide", "masked" if counts else "clean", facts=facts)]
        if self._payload.stored:
            off = self._settings.store == "rewrite"
            steps.append(Step("guard.proxy.store_turned_off" if off else "guard.proxy.store_passed"))
        if self._payload.media:
            steps.append(Step("guard.proxy.media_passed", facts={"media": self._payload.media}))
        return tuple(steps)

    def _found(self) -> Counter[str]:
        return Counter(d.hit.entity for decision in self._decisions for d in decision.hits if d.action != "allow")


def _joined(fields: Sequence[Field]) -> Iterator[list[int]]:
    """Yield the numbers of the text parts of one message, which a model reads as one text."""
    groups: dict[tuple[int, str], list[int]] = {}
    for number, field in enumerate(fields):
        if field.kind == "text" and field.place.endswith(".text") and (found := _PART.match(field.place)):
            groups.setdefault((field.tree, found[1]), []).append(number)
    return (group for group in groups.values() if len(group) > 1)
