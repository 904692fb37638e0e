"""The human gate: tickets without content, one decision, one use, in time, over processes and kills."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import trustplane
from trustplane.audit.log.keys import Keys
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.store import MemoryStore
from trustplane.audit.review import KEPT_SECONDS, MAX_PENDING, SqliteReviews
from trustplane.errors import InputError, Refused, StoreError
from trustplane.ports import Ticket

FACTS = (("messages[0].content", "own.person"), ("messages[1].content", "own.card"))


def ticket(ident="rev-1", tenant="north", commitment="hmac-sha256:aa"):
    return Ticket(ident, "req-1", tenant, "openai.chat", commitment, FACTS)


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log():
    return AuditLog(MemoryStore(), Keys.generate("example.org/audit"))


@pytest.fixture
def reviews(tmp_path, log, clock):
    return SqliteReviews(tmp_path / "review.db", journal=log, ticket_seconds=600, clock=clock)


def state(reviews, ident="rev-1", tenant="north", commitment="hmac-sha256:aa"):
    return reviews.redeem(ident, tenant=tenant, commitment=commitment).state


def decisions(log):
    return [json.loads(e.data) for e in log.entries() if b'"review.decided"' in e.data]


def test_an_approval_is_used_once(reviews, log):
    assert state(reviews) == "unknown" and reviews.tickets() == []
    reviews.open(ticket())
    assert state(reviews) == "pending"
    (waiting,) = reviews.tickets()
    assert waiting.ticket == ticket() and waiting.expires - waiting.opened == 600
    assert reviews.decide("rev-1", approved=True, by="ada", reason="known client").state == "approved"
    assert reviews.tickets() == []
    found = reviews.redeem("rev-1", tenant="north", commitment="hmac-sha256:aa")
    assert (found.state, found.by, found.reason) == ("approved", "ada", "known client")
    assert state(reviews) == "used" and reviews.show("rev-1").used is not None
    (step,) = decisions(log)
    assert step["result"] == "approved" and "known client" not in json.dumps(step)
    assert step["facts"] == {"approved": True, "by": "ada", "request_id": "req-1", "ticket": "rev-1"}


def test_a_ticket_fits_its_own_body_and_tenant_only(reviews):
    reviews.open(ticket())
    reviews.decide("rev-1", approved=True, by="ada")
    assert state(reviews, commitment="hmac-sha256:ab") == "unknown"
    assert state(reviews, tenant="south") == "unknown"
    assert state(reviews, ident="rev-2") == "unknown"
    assert state(reviews) == "approved"


def test_the_first_of_two_reviewers_counts(reviews, log):
    reviews.open(ticket())
    reviews.decide("rev-1", approved=False, by="ada")
    with pytest.raises(Refused, match="ada rejected it before"):
        reviews.decide("rev-1", approved=True, by="grace")
    assert state(reviews) == "rejected" and len(decisions(log)) == 1


def test_of_many_at_once_one_decides_and_one_uses(reviews, log):
    reviews.open(ticket())

    def decide(number):
        try:
            return reviews.decide("rev-1", approved=True, by=f"r{number}").by
        except Refused:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [who for who in pool.map(decide, range(8)) if who]
        assert len(winners) == 1 and decisions(log)[0]["facts"]["by"] == winners[0] and len(decisions(log)) == 1
        used = list(pool.map(lambda _: state(reviews), range(8)))
    assert used.count("approved") == 1 and set(used) == {"approved", "used"}


def test_tickets_expire(reviews, log, clock):
    reviews.open(ticket("rev-1"))
    reviews.open(ticket("rev-2"))
    reviews.decide("rev-2", approved=True, by="ada")
    clock.now += 600
    assert state(reviews, "rev-1") == state(reviews, "rev-2") == "expired"
    assert reviews.tickets() == [] and len(reviews.tickets(everything=True)) == 2
    with pytest.raises(Refused, match="expired"):
        reviews.decide("rev-1", approved=True, by="ada")
    with pytest.raises(Refused, match="ada approved it before"):
        reviews.decide("rev-2", approved=False, by="grace")
    assert len(decisions(log)) == 1
    clock.now += KEPT_SECONDS + 1
    reviews.open(ticket("rev-3"))
    assert [r.ticket.id for r in reviews.tickets(everything=True)] == ["rev-3"]


def test_what_is_refused(reviews):
    reviews.open(ticket())
    with pytest.raises(InputError):
        reviews.open(ticket())
    for bad in ({"by": " "}, {"by": "a\nb"}, {"by": "a" * 201}, {"by": "a", "reason": "b" * 201}):
        with pytest.raises(InputError):
            reviews.decide("rev-1", approved=True, **bad)
    for call in (reviews.show, lambda ident: reviews.decide(ident, approved=True, by="a")):
        with pytest.raises(InputError, match="no such ticket"):
            call("rev-none")
    assert state(reviews) == "pending"


def test_the_queue_is_bounded(reviews, clock):
    reviews.open(ticket())
    with sqlite3.connect(reviews.path) as db:
        row = db.execute("SELECT * FROM tickets").fetchone()
        db.executemany(f"INSERT INTO tickets VALUES ({','.join('?' * len(row))})",
                       [(f"rev-x{i}", *row[1:]) for i in range(MAX_PENDING - 1)])  # fmt: skip
    with pytest.raises(Refused, match="too many"):
        reviews.open(ticket("rev-last"))
    clock.now += 600
    reviews.open(ticket("rev-last"))


def test_a_log_that_fails_leaves_the_ticket_undecided(tmp_path, clock):
    class Broken:
        def read(self, _request):
            return []

        def write(self, _request, _step):
            raise StoreError("no space left")

    reviews = SqliteReviews(tmp_path / "review.db", journal=Broken(), clock=clock)
    reviews.open(ticket())
    with pytest.raises(StoreError):
        reviews.decide("rev-1", approved=True, by="ada")
    assert state(reviews) == "pending"


def test_a_damaged_file_is_a_store_error(reviews):
    reviews.path.write_bytes(b"no database" * 1000)
    for call in (lambda: state(reviews), lambda: reviews.open(ticket()), reviews.tickets):
        with pytest.raises(StoreError):
            call()


def test_the_file_is_private(reviews):
    reviews.open(ticket())
    assert reviews.path.stat().st_mode & 0o777 == 0o600


KILLED = """
import os, signal, sys, trustplane
plane = trustplane.open(sys.argv[1], environ={})
write = plane.log.write
def then_die(request, step):
    index = write(request, step)
    os.kill(os.getpid(), signal.SIGKILL)
plane.log.write = then_die
plane.reviews.decide("rev-1", approved=True, by="ada")
"""


def test_a_kill_between_log_and_file_is_settled_by_the_log(tmp_path):
    folder = tmp_path / "plane"
    with trustplane.open(folder, environ={}) as plane:
        plane.reviews.open(ticket())
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with trustplane.open(folder, environ={}) as plane:
        assert state(plane.reviews) == "pending"  # what the file does not say does not pass
        with pytest.raises(Refused, match="ada approved it before"):
            plane.reviews.decide("rev-1", approved=False, by="grace")
        assert state(plane.reviews) == "approved" and state(plane.reviews) == "used"
        assert len(decisions(plane.log)) == 1
        plane.log.flush()


USER = """
import sys, trustplane
with trustplane.open(sys.argv[1], environ={}) as plane:
    for number in range(40):
        found = plane.reviews.redeem(f"rev-{number}", tenant="t", commitment="c")
        if found.state == "approved":
            print(number, flush=True)
"""


def test_processes_share_each_approval_once(tmp_path):
    folder = tmp_path / "plane"
    with trustplane.open(folder, environ={}) as plane:
        for number in range(40):
            plane.reviews.open(ticket(f"rev-{number}", "t", "c"))
            plane.reviews.decide(f"rev-{number}", approved=True, by="ada")
    run = [sys.executable, "-c", USER, str(folder)]
    running = [subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    found = []
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found += [int(line) for line in out.split()]
    assert sorted(found) == list(range(40))


def test_a_reader_and_a_writer_that_start_together(tmp_path, log):
    """The file is made by whoever is first; nobody is told that it is locked or half made."""
    for number in range(20):
        reviews = SqliteReviews(tmp_path / f"{number}.db", journal=log)
        errors = []

        def work(call, errors=errors):
            try:
                call()
            except Exception as error:
                errors.append(error)

        calls = [lambda i=i, r=reviews: r.open(ticket(f"rev-{i}")) for i in range(4)] + [reviews.tickets] * 4
        threads = [threading.Thread(target=work, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == [] and len(reviews.tickets()) == 4
