"""Drive: carries out what an exchange asks for, log and review included; the network is the face's own.

The faces inside a user's own process (:mod:`~trustplane.guard.proxy.faces.transport`,
:mod:`~trustplane.guard.proxy.faces.middleware`) share it. It is written once, as ``async def``: over
:class:`~trustplane.guard.proxy.faces.work.Inline` nothing in it ever waits, so that sync code can run it too.
"""

from __future__ import annotations

import contextlib
import contextvars
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from trustplane.errors import InputError
from trustplane.guard.proxy.events import (
    AnswerData,
    AnswerEnd,
    AnswerHead,
    Decide,
    Failed,
    Gone,
    Head,
    Hold,
    In,
    Note,
    Open,
    Out,
    ReceiptComment,
)  # fmt: skip
from trustplane.guard.proxy.exchange import LOG_RULE, Exchange
from trustplane.guard.proxy.faces.evidence import OpenRequest, RequestLog, committable, encode_receipt
from trustplane.guard.proxy.faces.work import Work
from trustplane.guard.proxy.gate import Caller, Gate
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.review import TICKET, Answered, Held
from trustplane.guard.proxy.route import header
from trustplane.guard.text.guarded import Guarded
from trustplane.ports import Reviews
from trustplane.settings import ProxySettings

__all__ = ["Drive", "GuardedPlane", "Inside", "opened_inside"]

T = TypeVar("T")

KEY_BYTES = 32
RECEIPT = "x-trustplane-receipt"


class GuardedPlane(Protocol):
    """What a face takes of a plane."""

    @property
    def reviews(self) -> Reviews:
        """Requests that wait for a person."""

    @property
    def open_request(self) -> OpenRequest:
        """Opens requests in the log."""

    def gate(self, upstreams: Mapping[str, str]) -> Gate:
        """Return the gate of this plane's policy, settings and keys."""


class Inside(NamedTuple):
    """What a face inside a process works with. ``reviews``: None where requests cannot wait for a person."""

    gate: Gate
    open_request: OpenRequest
    reviews: Reviews | None


def opened_inside(
    plane: GuardedPlane | None,
    guarded: Guarded | None = None,
    open_request: OpenRequest | None = None,
    key: bytes = b"",
    settings: ProxySettings | None = None,
) -> Inside:
    """Return what the plane has, or what is given.

    Raises:
        InputError: neither a plane nor both of ``guarded`` and ``open_request``, or a key that is not 32 bytes long.
    """
    if plane is not None:
        if guarded is not None or key or settings is not None:
            raise InputError("a plane has a policy, a key and settings already", hint="leave them out, or the plane")
        return Inside(plane.gate({"openai": "http://inside"}), open_request or plane.open_request, plane.reviews)
    if guarded is None or open_request is None:
        raise InputError("a guard needs a plane", hint="plane=trustplane.open(), or guarded and open_request")
    if key and len(key) != KEY_BYTES:
        raise InputError(f"the key is not {KEY_BYTES} bytes long")
    guarded.guard.warm_up()  # the first request must not wait for tables, within its time limit
    gate = Gate(guarded, {}, settings or ProxySettings(), key or secrets.token_bytes(KEY_BYTES))
    return Inside(gate, open_request, None)


class Drive:
    """One exchange and its request in the log.

    ``step`` feeds events and returns what is left for the face to do: ``Send``, ``HangUp``, and the answer, whose
    ``AnswerHead`` has its receipt in it. The log comes first: what cannot be recorded is not sent, what cannot be
    decided is not answered. ``close`` has to be called at the end, whatever happened.

    """

    def __init__(self, inside: Inside, gate: Gate, caller: Caller, work: Work) -> None:
        self.request_id = "req-" + secrets.token_hex(12)
        self._exchange = Exchange(gate, caller, self.request_id)
        self._inside, self._caller, self._work = inside, caller, work
        self._prompt = getattr(inside.open_request, "prompt", False) is True
        self._context = contextvars.copy_context()  # one for all calls: the log may keep context variables
        self._stack = contextlib.ExitStack()
        self._log: RequestLog | None = None
        self._receipt = self._given_ticket = self._ticket = ""
        self._decided = self._closed = False
        self.begun = self.over = False
        """Whether the head of the answer was given out, and whether all of it was."""

    def __repr__(self) -> str:
        return f"Drive({self.request_id})"

    async def step(self, *events: In) -> list[Out]:
        """Feed ``events`` in turn, until the answer is complete; never raises for what they hold."""
        left: list[Out] = []
        for event in events:
            if isinstance(event, Head):
                self._given_ticket = header(event.headers, TICKET)
            if self.over:
                break
            for out in await self._fed(event):
                try:
                    left += await self._carried_out(out)
                except Exception:  # noqa: BLE001  the log's error may hold anything; nothing goes on without it
                    return left + self._without_log()
        return left

    async def close(self) -> None:
        """Close the request in the log; one that was not decided counts as cancelled."""
        if self._closed:
            return
        self._closed = True
        if not self._decided:
            await self.step(Gone())
        with contextlib.suppress(Exception):  # the log is broken and there is no one left to tell
            await self._logged(self._stack.close)

    # ── the guard ───────────────────────────────────────────────────────────────────────────────────

    async def _fed(self, event: In) -> Sequence[Out]:
        if isinstance(event, Failed | Gone):  # touches nothing that can hang
            return self._exchange.feed(event)
        try:
            return await self._work.guard(lambda: self._exchange.feed(event))
        except TimeoutError:
            refusal = ProxyRefusal("guard.proxy.guard_time", 503, "the guard took too long")
        except Exception:  # noqa: BLE001  fail closed: the error may hold content
            refusal = ProxyRefusal("guard.proxy.guard_failed", 500, "the guard failed")
        return self._exchange.feed(Failed(refusal))

    # ── the log ─────────────────────────────────────────────────────────────────────────────────────

    async def _logged(self, work: Callable[[], T], *, waits: bool = False) -> T:
        """Call the log; ``waits``: for the disk, even where a log says that it takes what it is given at once."""
        if self._prompt and not waits:
            return self._context.run(work)
        return await self._work.log(lambda: self._context.run(work))

    async def _carried_out(self, out: Out) -> list[Out]:
        match out:
            case Open():
                self._log = await self._logged(lambda: self._open(out))
            case Note():
                await self._logged(lambda: self._record(out))
            case Decide():
                self._decided = True
                self._receipt = await self._logged(lambda: self._decide(out), waits=True)
            case ReceiptComment():
                return [AnswerData(f": {RECEIPT} {encode_receipt(self._receipt)}\n\n".encode())]
            case Hold():
                found = await self._reviewed(out)
                self._ticket = found.ticket
                return await self.step(found.event)
            case AnswerHead():
                self.begun = True
                receipt = ((RECEIPT, encode_receipt(self._receipt)),) if out.receipt and self._receipt else ()
                ticket = ((TICKET, self._ticket),) if self._ticket else ()
                return [AnswerHead(out.status, (*out.headers, *receipt, *ticket), False)]
            case AnswerEnd():
                self.over = True
                return [out]
            case _:
                return [out]
        return []

    def _open(self, out: Open) -> RequestLog:
        mode: dict[str, Any] = {"mode": self._caller.mode} if self._caller.mode else {}
        opened = self._inside.open_request(self.request_id, purpose=out.purpose, input=committable(out.input), **mode)
        return self._stack.enter_context(opened)

    async def _reviewed(self, hold: Hold) -> Answered:
        if self._inside.reviews is None:
            return Answered(Failed(ProxyRefusal("guard.proxy.review", 403, "a person has to approve this request")))
        settings, endpoint = self._inside.gate.settings, self._exchange.endpoint
        held = Held(
            self._inside.reviews,
            hold,
            request_id=self.request_id,
            tenant=self._caller.tenant,
            endpoint=endpoint.name if endpoint is not None else "",
            given=self._given_ticket,
            seconds=settings.review_seconds if settings.review == "hold" else 0,
        )
        while (found := await self._work.log(held.look)) is None:
            await self._work.sleep(held.pause)
        return found

    def _opened(self) -> RequestLog:
        if self._log is None:
            raise RuntimeError("the request is not open")
        return self._log

    def _record(self, note: Note) -> None:
        log = self._opened()
        for step in note.steps:
            log.record(step)

    def _decide(self, decision: Decide) -> str:
        log: Any = self._opened()
        log.decide(None if decision.output is None else committable(decision.output), outcome=decision.outcome)
        promise = self._inside.gate.settings.receipt == "promise" and hasattr(log, "promise")
        return str(log.promise() if promise else log.receipt())

    def _without_log(self) -> list[Out]:
        """Return the end of an exchange whose log did not take an event."""
        self._decided = True  # as far as it goes
        refusal = ProxyRefusal(LOG_RULE, 503, "the audit log cannot take the request now")
        found = self._exchange.feed(Failed(refusal))
        left: list[Out] = [out for out in found if not isinstance(out, Open | Note | Decide | ReceiptComment)]
        self.begun = self.over = True
        return left
