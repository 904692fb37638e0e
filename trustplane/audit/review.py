"""The human gate: tickets for requests that wait for a person, and the decisions on them, each a step of the log.

A ticket holds no content. A decision is written to the log first, under the name of its ticket, then to the file;
a crash in between leaves a ticket that whoever decides next settles by what the log says. Every call opens the file
anew, so that threads, forks and other processes need no care; people are slow, and so are their callers' polls.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from trustplane.errors import InputError, Refused, StoreError
from trustplane.lock import held
from trustplane.ports import Journal, ReviewOutcome, Ticket
from trustplane.step import Step

__all__ = ["Review", "SqliteReviews"]

MAX_PENDING = 10_000
"""Tickets that may wait at once: past it a caller could fill the disk, and nobody reads so many."""
KEPT_SECONDS = 30 * 86_400
"""How long a ticket stays in the file after it expired; its decision stays in the log."""
MAX_WORDS = 200
"""Longest name of a reviewer and longest reason, in characters."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets(
    id TEXT PRIMARY KEY, request TEXT NOT NULL, tenant TEXT NOT NULL, endpoint TEXT NOT NULL,
    commitment TEXT NOT NULL, facts TEXT NOT NULL, opened REAL NOT NULL, expires REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', decided_by TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
    decided REAL, used REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tickets_state ON tickets(state, opened);
"""
_COLUMNS = "id, request, tenant, endpoint, commitment, facts, opened, expires, state, decided_by, reason, decided, used"


State = Literal["pending", "approved", "rejected", "expired", "used"]


class Review(msgspec.Struct, frozen=True):
    """A ticket as a reviewer sees it. Times are seconds since 1970; ``state`` as in :class:`ReviewOutcome`."""

    ticket: Ticket
    state: State
    opened: float
    expires: float
    by: str = ""
    reason: str = ""
    decided: float | None = None
    used: float | None = None


class SqliteReviews:
    """Tickets in one SQLite file; any number of threads and processes may use it at once.

    ``path``: the file. ``journal``: the audit log. ``ticket_seconds``: how long a ticket lives, from its opening to
    its use. ``clock``: seconds since 1970.

    What holds: a decision is in the log before it counts, the first one counts, and an approval is used once; a crash
    between use and sending uses it up. What does not: that the reviewer is who they say, or someone else than the
    caller. Whoever may write into the plane's folder may decide; keep callers out of it.
    """

    def __init__(
        self, path: Path, *, journal: Journal, ticket_seconds: int = 86_400, clock: Callable[[], float] = time.time
    ) -> None:
        self.path, self._journal, self._clock = path, journal, clock
        self._ticket_seconds = ticket_seconds

    # ── what the proxy does ─────────────────────────────────────────────────────────────────────────

    def open(self, ticket: Ticket) -> None:
        """Put a ticket before people, durable on return.

        Raises:
            Refused: too many wait already. InputError: the id is taken. StoreError: it cannot be written.
        """
        now = self._clock()
        with self._changing() as db:
            db.execute("DELETE FROM tickets WHERE expires < ?", (now - KEPT_SECONDS,))
            sql = "SELECT count(*) FROM tickets WHERE state = 'pending' AND expires > ?"
            if db.execute(sql, (now,)).fetchone()[0] >= MAX_PENDING:
                raise Refused("too many requests wait for a person", hint="trustplane review list shows them")
            row = (*msgspec.structs.astuple(ticket)[:5], json.dumps(ticket.facts), now, now + self._ticket_seconds)
            names = _COLUMNS.partition(", state")[0]
            added = db.execute(f"INSERT OR IGNORE INTO tickets({names}) VALUES (?,?,?,?,?,?,?,?)", row)  # noqa: S608
            if not added.rowcount:
                raise InputError("a ticket of this id is there already")

    def redeem(self, ticket_id: str, *, tenant: str, commitment: str) -> ReviewOutcome:
        """Return where a ticket stands; ``approved`` exactly once, which uses it up, for its own tenant and body."""
        now = self._clock()
        mine = "id = ? AND tenant = ? AND commitment = ?"
        values = (ticket_id, tenant, commitment)
        found = self._read(mine, values)
        if not found:
            return ReviewOutcome("unknown")
        if found[0].state != "approved":
            return ReviewOutcome(found[0].state, found[0].by, found[0].reason)
        with self._changing() as db:
            sql = f"UPDATE tickets SET state = 'used', used = ? WHERE {mine} AND state = 'approved' AND expires > ?"  # noqa: S608
            first = db.execute(sql, (now, *values, now)).rowcount
        return ReviewOutcome("approved" if first else "used", found[0].by, found[0].reason)

    # ── what people do ──────────────────────────────────────────────────────────────────────────────

    def tickets(self, *, everything: bool = False) -> list[Review]:
        """Return what waits, oldest first; ``everything``: what was decided and what expired too."""
        found = self._read("1" if everything else "state = 'pending'", ())
        return [review for review in found if everything or review.state == "pending"]

    def show(self, ticket_id: str) -> Review:
        """Return one ticket.

        Raises:
            InputError: there is none of this id.
        """
        found = self._read("id = ?", (ticket_id,))
        if not found:
            raise InputError("there is no such ticket", hint="trustplane review list --all")
        return found[0]

    def decide(self, ticket_id: str, *, approved: bool, by: str, reason: str = "") -> Review:
        """Approve or reject, as a step ``review.decided`` of the log; the first decision counts.

        ``by``: who decides; it goes into the log. ``reason``: their words; they stay in the file.

        Raises:
            Refused: someone decided before, or the ticket expired. InputError: no such ticket, no name, too many words.
        """
        for what, words in (("the name of the reviewer", by), ("the reason", reason)):
            if len(words) > MAX_WORDS or not words.isprintable():
                raise InputError(f"{what} is at most {MAX_WORDS} characters on one line")
        if not by.strip():
            raise InputError("a decision needs a name", hint="--by NAME")
        with self._changing() as db:
            review = self._one(db, ticket_id)
            settled = review.decided is not None or self._settle(db, ticket_id)
            if not settled:
                if review.state == "expired":
                    raise Refused("the ticket expired", hint="the caller has to ask again")
                facts = {"approved": approved, "by": by, "request_id": review.ticket.request, "ticket": ticket_id}
                step = Step("review.decided", "approved" if approved else "rejected", facts=facts)
                self._journal.write(_entry(ticket_id), step)
                self._put(db, ticket_id, facts, reason)
            review = self._one(db, ticket_id)
        if settled:
            said = "rejected" if review.state == "rejected" else "approved"
            raise Refused(f"{review.by} {said} it before", hint=f"trustplane review show {ticket_id}")
        return review

    def _settle(self, db: sqlite3.Connection, ticket_id: str) -> bool:
        """Take over a decision that is in the log and that a killed process did not bring to the file."""
        written = self._journal.read(_entry(ticket_id))
        if written:
            self._put(db, ticket_id, written[0][1].facts, "")
        return bool(written)

    def _put(self, db: sqlite3.Connection, ticket_id: str, facts: dict[str, Any], reason: str) -> None:
        state = "approved" if facts["approved"] else "rejected"
        sql = "UPDATE tickets SET state = ?, decided_by = ?, reason = ?, decided = ? WHERE id = ?"
        db.execute(sql, (state, facts["by"], reason, self._clock(), ticket_id))

    # ── plumbing ────────────────────────────────────────────────────────────────────────────────────

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        db.execute("PRAGMA synchronous=FULL")
        return db

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"the tickets of reviews: {type(error).__name__}", hint="see review.db in the plane"
            ) from None
        except OSError as error:
            raise StoreError(f"the tickets of reviews: {error.strerror}", hint="see review.db in the plane") from None

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file: one transaction, nobody else in any thread or process."""
        with self._errors(), held(self.path.with_suffix(".lock")), closing(self._connect()) as db:
            db.execute("PRAGMA journal_mode=WAL")  # under the lock file: two that switch at once are told "locked"
            db.executescript(_SCHEMA)
            self.path.chmod(0o600)
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _read(self, where: str, values: tuple[str, ...]) -> list[Review]:
        if not self.path.exists():
            return []
        with self._errors(), closing(self._connect()) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'tickets'").fetchone():
                return []
            return self._select(db, where, values)

    def _one(self, db: sqlite3.Connection, ticket_id: str) -> Review:
        found = self._select(db, "id = ?", (ticket_id,))
        if not found:
            raise InputError("there is no such ticket", hint="trustplane review list --all")
        return found[0]

    def _select(self, db: sqlite3.Connection, where: str, values: tuple[str, ...]) -> list[Review]:
        sql = f"SELECT {_COLUMNS} FROM tickets WHERE {where} ORDER BY opened, id"  # noqa: S608
        return [self._review(row) for row in db.execute(sql, values)]

    def _review(self, row: tuple[Any, ...]) -> Review:
        ident, request, tenant, endpoint, commitment, facts, opened, expires, state, by, reason, decided, used = row
        if state in ("pending", "approved") and self._clock() >= expires:
            state = "expired"
        pairs = tuple((str(place), str(rule)) for place, rule in json.loads(facts))
        ticket = Ticket(ident, request, tenant, endpoint, commitment, pairs)
        return Review(ticket, state, opened, expires, by, reason, decided, used)


def _entry(ticket_id: str) -> str:
    """Return the request id under which the decision on a ticket stands in the log."""
    return f"review/{ticket_id}"
