"""Answering ``Hold``: a ticket is put before a person, and the request waits, comes back later or is refused."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from trustplane.errors import Refused, TrustplaneError
from trustplane.guard.proxy.events import Failed, Hold, Reviewed
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.ports import ReviewOutcome, Reviews, Ticket

__all__ = ["TICKET", "Answered", "Held", "answered"]

TICKET = "x-trustplane-ticket"
"""Header of a 202 that names the ticket, and of the request that comes back with it."""
_FORM = re.compile(r"rev-[0-9a-f]{32}\Z")
PAUSE_SECONDS = (0.1, 1.0)
"""First and longest time between two looks at a ticket: people are slow, a look costs about 200 µs."""


class Answered(NamedTuple):
    """What the exchange is fed, and the ticket that the answer's header names, ``""`` for none."""

    event: Reviewed | Failed
    ticket: str = ""


class Held:
    """One held request. :meth:`look` waits for the disk, so async drivers call it in a thread.

    ``hold``: what the exchange said. ``request_id``, ``tenant``, ``endpoint``: as in the log. ``given``: the ticket in
    the request's header, ``""`` for none. ``seconds``: how long the request waits; 0: answer 202 at once.
    """

    def __init__(
        self,
        reviews: Reviews,
        hold: Hold,
        *,
        request_id: str,
        tenant: str,
        endpoint: str,
        given: str = "",
        seconds: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviews, self._hold, self._tenant = reviews, hold, tenant
        self._open_as = "" if given else "rev-" + secrets.token_hex(16)
        self._request_id, self._endpoint = request_id, endpoint
        self.ticket = given or self._open_as
        self._clock, self._until = clock, clock() + seconds
        self.pause = PAUSE_SECONDS[0]
        """Seconds until the next look."""

    def look(self) -> Answered | None:
        """Return the answer, or None where the person has time left to decide; never raises."""
        try:
            if not _FORM.match(self.ticket):
                return self._answer(ReviewOutcome("unknown"))
            if self._open_as:
                hold, self._open_as = self._hold, ""
                ticket = Ticket(
                    self.ticket, self._request_id, self._tenant, self._endpoint, hold.commitment, hold.facts
                )
                self._reviews.open(ticket)
            found = self._reviews.redeem(self.ticket, tenant=self._tenant, commitment=self._hold.commitment)
        except Refused:
            return _no("guard.proxy.review_full", 503, "too many requests wait for a person")
        except TrustplaneError:
            return _no("guard.proxy.review_store", 503, "the tickets of reviews cannot be read or written now")
        except Exception:  # noqa: BLE001  fail closed: whoever implements the port may raise anything
            return _no("guard.proxy.review_store", 503, "the review failed")
        return self._answer(found)

    def _answer(self, found: ReviewOutcome) -> Answered | None:
        if found.state in ("approved", "rejected"):
            return Answered(Reviewed(found.state == "approved", found.by))
        if found.state != "pending":
            return _no(
                "guard.proxy.ticket",
                409,
                f"the ticket is {found.state}: it is for one use, one body and one tenant, in time",
            )
        left = self._until - self._clock()
        if left <= 0:
            said = f"a person has to decide about this request; send it again later with the header {TICKET}"
            return _no("guard.proxy.review", 202, said)._replace(ticket=self.ticket)
        self.pause = min(self.pause * 1.5, PAUSE_SECONDS[1], left)
        return None


def _no(rule: str, status: int, message: str) -> Answered:
    return Answered(Failed(ProxyRefusal(rule, status, message)))


async def answered(held: Held, run: Callable[[Callable[[], Answered | None]], Awaitable[Answered | None]]) -> Answered:
    """Wait for the answer; ``run`` runs a function in a thread. Cancel it when the client hangs up."""
    import anyio

    while (found := await run(held.look)) is None:
        await anyio.sleep(held.pause)
    return found
