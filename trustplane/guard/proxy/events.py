"""The words between the core and its drivers: what goes into an exchange and what comes out of it."""

from __future__ import annotations

from typing import NamedTuple

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.step import Step

__all__ = [
    "AnswerData", "AnswerEnd", "AnswerHead", "Body", "Decide", "Failed", "Gone", "HangUp", "Head", "Headers", "Hold",
    "In", "Note", "Open", "Out", "ReceiptComment", "ReplyData", "ReplyEnd", "ReplyHead", "Reviewed", "Send",
]  # fmt: skip

Headers = tuple[tuple[str, str], ...]
"""Names in lower case and values, in order."""


class Head(NamedTuple):
    """In, first: the head of a request. ``path`` as it came, percent-coded; ``query`` without ``?``."""

    method: str
    path: str
    query: str
    headers: Headers


class Body(NamedTuple):
    """In, second: the whole body of the request."""

    data: bytes


class Reviewed(NamedTuple):
    """In, after ``Hold``: what a person decided; ``by`` names who, as the review port gives it."""

    approved: bool
    by: str


class ReplyHead(NamedTuple):
    """In, after ``Send``: the head of the upstream's reply."""

    status: int
    headers: Headers


class ReplyData(NamedTuple):
    """In: bytes of the reply, cut anywhere, as they came (still compressed if they are)."""

    data: bytes


class ReplyEnd(NamedTuple):
    """In: the reply is complete."""


class Failed(NamedTuple):
    """In, at any time: the driver cannot go on (no upstream, too slow, the guard hangs, the body too long)."""

    refusal: ProxyRefusal


class Gone(NamedTuple):
    """In, at any time: the client hung up."""


In = Head | Body | Reviewed | ReplyHead | ReplyData | ReplyEnd | Failed | Gone


class Open(NamedTuple):
    """Out: open the request in the log; ``input`` is committed to, not kept. Comes before every ``Note``."""

    input: str
    purpose: str


class Note(NamedTuple):
    """Out: record these steps before anything that follows."""

    steps: tuple[Step, ...]


class Hold(NamedTuple):
    """Out: a person has to decide; answer with ``Reviewed``. No content: what was found, by rule."""

    commitment: str
    """Keyed digest of the body, by which a later request is known to be the same."""
    facts: tuple[tuple[str, str], ...]
    """Place and rule of each finding that asks for review."""


class Send(NamedTuple):
    """Out: send this to the upstream of that name. ``path`` begins with a slash."""

    upstream: str
    method: str
    path: str
    query: str
    headers: Headers
    body: bytes


class Decide(NamedTuple):
    """Out: close the request in the log: ``answered``, ``blocked``, ``failed`` or ``cancelled``."""

    outcome: str
    output: str | None


class AnswerHead(NamedTuple):
    """Out: begin the answer; with ``receipt`` the driver adds the receipt of the decision before it as a header."""

    status: int
    headers: Headers
    receipt: bool


class AnswerData(NamedTuple):
    """Out: bytes of the answer's body."""

    data: bytes


class ReceiptComment(NamedTuple):
    """Out: write the receipt of the decision before it as a comment of the event stream."""


class AnswerEnd(NamedTuple):
    """Out: the answer is complete."""


class HangUp(NamedTuple):
    """Out: end the call to the upstream now, nothing more of it will be read."""


Out = Open | Note | Hold | Send | Decide | AnswerHead | AnswerData | ReceiptComment | AnswerEnd | HangUp
