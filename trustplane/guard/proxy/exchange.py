"""Exchange: one request through the guard and its reply back, as a state machine without I/O."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from trustplane.guard.proxy.events import (
    AnswerData,
    AnswerEnd,
    AnswerHead,
    Body,
    Decide,
    Failed,
    Gone,
    HangUp,
    Head,
    Hold,
    In,
    Note,
    Open,
    Out,
    ReceiptComment,
    ReplyData,
    ReplyEnd,
    ReplyHead,
    Reviewed,
    Send,
)  # fmt: skip
from trustplane.guard.proxy.gate import Caller, Gate
from trustplane.guard.proxy.passed import PassedReply
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.replies import Reply, open_reply
from trustplane.guard.proxy.request import GuardedRequest
from trustplane.guard.proxy.route import choose, find_endpoint
from trustplane.guard.proxy.wire.endpoint import Endpoint
from trustplane.guard.proxy.wire.errors import error_body, error_event
from trustplane.guard.text.reply_view import ReplyView
from trustplane.guard.text.session import Session
from trustplane.step import Step

__all__ = ["LOG_RULE", "REQUEST_ID", "Exchange"]

REQUEST_ID = "x-trustplane-request-id"
LOG_RULE = "guard.proxy.log"
"""Rule of the refusal that a driver feeds where the log did not take an event of the last list."""
_JSON = (("content-type", "application/json"),)
_FAILURES = ("guard.proxy.upstream", "guard.proxy.reply", "guard.proxy.stream", LOG_RULE)
"""Refusals that are nobody's doing: the request failed, it was not blocked."""


class Exchange:
    """Carries one request through: events in, events out (:mod:`trustplane.guard.proxy.events`).

    ``clock``: nanoseconds, of any start. What holds: nothing is sent that the guard has not read, ``Send`` comes after
    the steps about it, and whatever fails ends in a refusal in the API's own form, or in an error event where a stream
    has begun. After ``AnswerEnd`` every event is answered by nothing; the upstream's last bytes may then still come.

    ``Failed`` and ``Gone`` may be fed from another thread while a ``feed`` hangs; what that one returns later is empty.
    Where the log refuses an event, the driver drops the rest of its list and feeds ``Failed`` with ``LOG_RULE``.
    """

    def __init__(
        self, gate: Gate, caller: Caller, request_id: str, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._gate, self._caller, self._id, self._clock = gate, caller, request_id, clock
        self._lock = threading.Lock()
        self._flags = _Flags()
        self._before = _Flags()
        self._head = Head("", "", "", ())
        self._request: GuardedRequest | None = None
        self._reply: Reply | None = None
        self._session: Session | None = None
        self._plain: list[bytes] = []
        self._sent_at = 0
        self._log_broken = self._reply_over = self._gone = False
        self.endpoint: Endpoint | None = None
        """What the request is for, once its head is known; None for what the settings pass through."""
        self.api = ""
        """Whose form errors have."""
        self.upstream = ""
        """Name of the upstream, once the request is sent."""
        self.model = ""
        """The model that the request asks for, if it is a plain word; for metrics."""

    def __repr__(self) -> str:
        return f"Exchange({self._id})"

    @property
    def over(self) -> bool:
        """Whether the answer is complete, or nobody is there to take it."""
        return self._flags.over

    def feed(self, event: In) -> list[Out]:
        """Take the next event, return what is to be done, in order; never raises for what an event holds."""
        if isinstance(event, Failed):
            return self._commit(self._refused, event.refusal)
        if isinstance(event, Gone):
            return self._commit(self._cancelled)
        if self._flags.over:
            return []
        try:
            found: list[Out] = self._taken(event)
        except ProxyRefusal as refusal:
            return self._commit(self._refused, refusal)
        except TimeoutError:
            return self._commit(self._refused, ProxyRefusal("guard.proxy.guard_time", 503, "the guard took too long"))
        except Exception:  # noqa: BLE001  fail closed: a guard that crashes blocks, and its error may hold content
            return self._commit(self._refused, ProxyRefusal("guard.proxy.guard_failed", 500, "the guard failed"))
        return self._commit(lambda: found)

    def _commit(self, make: Callable[..., list[Out]], *arguments: Any) -> list[Out]:
        """Return what is to be done if the exchange goes on, and note it: all that ``Failed`` and ``Gone`` look at."""
        with self._lock:
            if arguments and arguments[0].rule == LOG_RULE and not self._gone:
                self._flags, self._log_broken = self._before, True
            if self._flags.over:
                return []
            found = make(*arguments)
            after = self._flags.after(found)
            logged = any(isinstance(out, Open | Note | Decide) for out in found)
            self._before, self._flags = self._flags if logged else after, after
            return found

    def _taken(self, event: In) -> list[Out]:
        match event:
            case Head():
                return self._on_head(event)
            case Body():
                return self._on_body(event.data)
            case Reviewed():
                return self._on_review(event)
            case ReplyHead():
                return self._on_reply_head(event)
            case ReplyData():
                return self._on_reply_data(event.data)
            case ReplyEnd():
                return self._on_reply_end()
            case _:
                return []

    # ── the request ─────────────────────────────────────────────────────────────────────────────────

    def _on_head(self, head: Head) -> list[Out]:
        self._head = head
        self.api = _form(head)
        self.endpoint = find_endpoint(head, self._gate, self._caller)
        if self.endpoint is not None:
            self.api = self.endpoint.api
        self._request = GuardedRequest(self._gate, self._caller, head, self.endpoint)
        return []

    def _on_body(self, data: bytes) -> list[Out]:
        request = self._request
        if request is None or self._flags.opened:
            raise ProxyRefusal("guard.proxy.internal", 500, "the body came at the wrong time")
        request.read(data)
        request.decide()
        self.model = request.model_word
        opened = Open(request.prompt, self._caller.purpose)
        received, *noted = request.steps()
        if request.verdict == "review":
            held = Step("guard.proxy.held", "review", facts={"findings": len(request.review_facts)})
            return [opened, Note((received, *noted, held)), Hold(request.commitment, request.review_facts)]
        if refusal := request.refusal():
            return [opened, Note((received, *noted)), *self._refused(refusal, opened=True)]
        return [opened, *self._sending(request, (received, *noted), approved=False)]

    def _on_review(self, reviewed: Reviewed) -> list[Out]:
        request = self._request
        if request is None or not self._flags.held or self._flags.sent:
            raise ProxyRefusal("guard.proxy.internal", 500, "a review came at the wrong time")
        facts = {"by": reviewed.by[:64]} if reviewed.by.isascii() and reviewed.by.isprintable() else {}
        step = Step("guard.proxy.reviewed", "approved" if reviewed.approved else "rejected", facts=facts)
        if not reviewed.approved:
            refusal = ProxyRefusal("guard.proxy.review", 403, "a person has not approved this request")
            return [Note((step,)), *self._refused(refusal)]
        return self._sending(request, (step,), approved=True)

    def _sending(self, request: GuardedRequest, before: Sequence[Step], *, approved: bool) -> list[Out]:
        upstream = choose(self._head, self.endpoint, request.model, self._gate, self._caller)
        self._session = session = request.session()
        out = request.rewrite(session, approved=approved)
        facts: dict[str, Any] = {"host": urlsplit(upstream.origin).netloc[:256], "upstream": upstream.name[:64]}
        if self.model:
            facts["model"] = self.model
        steps = (*before, *request.rewrite_steps(), Step("guard.proxy.sent", agents=request.agents, facts=facts))
        self.upstream = upstream.name
        self._sent_at = self._clock()
        method = self._head.method.upper()
        return [Note(steps), Send(upstream.name, method, out.path, out.query, out.headers, out.body)]

    # ── the reply ───────────────────────────────────────────────────────────────────────────────────

    def _on_reply_head(self, head: ReplyHead) -> list[Out]:
        request = self._request
        if request is None or not self._flags.sent or self._reply is not None:
            raise ProxyRefusal("guard.proxy.upstream", 502, "the upstream answered at the wrong time")
        self._reply = self._open_reply(head, request)
        if self._reply.streaming:
            return [self._answer_head(self._reply.status, self._reply.headers, receipt=False)]
        return []

    def _open_reply(self, head: ReplyHead, request: GuardedRequest) -> Reply:
        if self.endpoint is None or self._session is None:
            return PassedReply(head.status, head.headers)
        view = ReplyView(self._gate.guarded, self._caller.tenant, self._caller.purpose)
        settings = self._gate.settings
        return open_reply(
            self.endpoint, head.status, head.headers, self._session, view, request.streams,
            media=settings.media, limit=settings.max_reply_bytes, request_id=self._id,
        )  # fmt: skip

    def _on_reply_data(self, data: bytes) -> list[Out]:
        reply = self._opened_reply()
        out = reply.feed(data)
        if not reply.streaming:
            self._plain.append(out)
            return []
        found: list[Out] = [AnswerData(out)] if out else []
        return [*found, *self._end_stream(reply)] if reply.ended else found

    def _on_reply_end(self) -> list[Out]:
        self._reply_over = True
        reply = self._opened_reply()
        if reply.streaming:
            return self._end_stream(reply)
        self._plain.append(reply.close())
        body = b"".join(self._plain)
        self._plain.clear()
        headers = (*(h for h in reply.headers if h[0] != "content-length"), ("content-length", str(len(body))))
        return [
            *self._replied(reply),
            self._answer_head(reply.status, headers, receipt=True),
            AnswerData(body),
            AnswerEnd(),
        ]

    def _end_stream(self, reply: Reply) -> list[Out]:
        rest = reply.close()
        if not reply.ended:  # what came must not look complete
            raise ProxyRefusal("guard.proxy.upstream_broke", 502, "the upstream's stream ended before its end")
        found = [*self._replied(reply), *([AnswerData(rest)] if rest else []), ReceiptComment()]
        return [*found, *([AnswerData(reply.tail)] if reply.tail else []), AnswerEnd()]

    def _opened_reply(self) -> Reply:
        if self._reply is None:
            raise ProxyRefusal("guard.proxy.upstream", 502, "the upstream answered at the wrong time")
        return self._reply

    def _replied(self, reply: Reply) -> list[Out]:
        result = "answered" if reply.status < 400 else "failed"
        facts = {
            "latency_us": max(0, (self._clock() - self._sent_at) // 1000),
            "masked": reply.masked,
            "restored": reply.restored,
            "status": reply.status,
        }
        return [Note((Step("guard.proxy.replied", result, facts=facts),)), Decide(result, reply.text)]

    def _answer_head(self, status: int, headers: Sequence[tuple[str, str]], *, receipt: bool) -> AnswerHead:
        return AnswerHead(status, (*headers, ("cache-control", "no-store"), (REQUEST_ID, self._id)), receipt)

    # ── no ──────────────────────────────────────────────────────────────────────────────────────────

    def _refused(self, refusal: ProxyRefusal, *, opened: bool = False) -> list[Out]:
        """Return the end of the exchange: decided, and told to the client. Reads nothing that a thread may hold."""
        flags = self._flags
        result = "failed" if refusal.rule.startswith(_FAILURES) else "blocked"
        found: list[Out] = [HangUp()] if flags.sent and not self._reply_over else []
        decided = self._log_broken or flags.decided
        if not decided:
            step = Step("guard.proxy.refused", result, facts={"rule": refusal.rule[:256], "status": refusal.status})
            found += [] if opened or flags.opened else [Open("", self._caller.purpose)]
            found += [Note((step,)), Decide(result, None)]
        if flags.begun:
            found.append(AnswerData(self._event(refusal)))
            return [*found, *([] if decided else [ReceiptComment()]), AnswerEnd()]
        body = error_body(self.api, refusal, self._id, rpc_id=self._rpc_id)
        head = self._answer_head(refusal.status, (*_JSON, ("content-length", str(len(body)))), receipt=not decided)
        return [*found, head, AnswerData(body), AnswerEnd()]

    @property
    def _rpc_id(self) -> str | int | None:
        return self._request.rpc_id if self._request is not None else None

    def _event(self, refusal: ProxyRefusal) -> bytes:
        try:
            return self._reply.error(refusal, self._id) if self._reply is not None else b""
        except Exception:  # noqa: BLE001  the reply may be half-way in another thread
            return error_event(self.api, refusal, self._id)

    def _cancelled(self) -> list[Out]:
        flags = self._flags
        found: list[Out] = [HangUp()] if flags.sent and not self._reply_over else []
        if flags.opened and not flags.decided and not self._log_broken:
            found += [Note((Step("guard.proxy.cancelled", "cancelled"),)), Decide("cancelled", None)]
        self._flags, self._gone = flags.ended(), True
        return found


class _Flags:
    """What was given out so far; made anew, never changed, so that another thread sees all of it or nothing."""

    __slots__ = ("begun", "decided", "held", "opened", "over", "sent")

    def __init__(self) -> None:
        self.opened = self.held = self.sent = self.decided = self.begun = self.over = False

    def __repr__(self) -> str:
        return f"_Flags({', '.join(name for name in self.__slots__ if getattr(self, name))})"

    def _copy(self) -> _Flags:
        made = _Flags()
        for name in self.__slots__:
            setattr(made, name, getattr(self, name))
        return made

    def after(self, given: Sequence[Out]) -> _Flags:
        """Return the flags once ``given`` is given out."""
        made = self._copy()
        for out in given:
            name = _RAISED.get(type(out))
            if name is not None:
                setattr(made, name, True)
        return made

    def ended(self) -> _Flags:
        """Return the flags of an exchange that nobody waits for."""
        made = self._copy()
        made.over = True
        return made


_RAISED: dict[type[Any], str] = {
    Open: "opened", Hold: "held", Send: "sent", Decide: "decided", AnswerHead: "begun", AnswerEnd: "over",
}  # fmt: skip


def _form(head: Head) -> str:
    """Return whose form an error has while the endpoint is not known."""
    from trustplane.guard.proxy.wire.table import find_api

    return find_api(head.headers) or "openai"
