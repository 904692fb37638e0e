"""A held request: waits, is answered with a ticket, comes back with it; whatever fails does not pass."""

import asyncio
import threading
import time

import pytest

from trustplane.audit.log.keys import Keys
from trustplane.audit.log.log import AuditLog
from trustplane.audit.log.store import MemoryStore
from trustplane.audit.review import SqliteReviews
from trustplane.errors import Refused, StoreError
from trustplane.guard.proxy.events import Failed, Hold, Reviewed
from trustplane.guard.proxy.review import Held, answered

HOLD = Hold("hmac-sha256:aa", (("messages[0].content", "own.person"),))


@pytest.fixture
def reviews(tmp_path):
    log = AuditLog(MemoryStore(), Keys.generate("example.org/audit"))
    return SqliteReviews(tmp_path / "review.db", journal=log)


def held(reviews, hold=HOLD, *, tenant="north", **options):
    return Held(reviews, hold, request_id="req-1", tenant=tenant, endpoint="openai.chat", **options)


def answered_blocking(waiting):
    while (found := waiting.look()) is None:
        time.sleep(waiting.pause)
    return found


def refused(answer):
    assert isinstance(answer.event, Failed)
    return answer.event.refusal.rule, answer.event.refusal.status


def test_without_time_the_answer_is_a_ticket_that_passes_once(reviews):
    first = answered_blocking(held(reviews))
    assert refused(first) == ("guard.proxy.review", 202) and first.ticket.startswith("rev-")
    (waiting,) = reviews.tickets()
    assert waiting.ticket.id == first.ticket and waiting.ticket.facts == HOLD.facts
    again = answered_blocking(held(reviews, given=first.ticket))
    assert refused(again) == ("guard.proxy.review", 202) and again.ticket == first.ticket
    reviews.decide(first.ticket, approved=True, by="ada")
    for other in ({"tenant": "south"}, {"hold": HOLD._replace(commitment="hmac-sha256:ab")}):
        assert refused(answered_blocking(held(reviews, given=first.ticket, **other))) == ("guard.proxy.ticket", 409)
    assert answered_blocking(held(reviews, given=first.ticket)) == (Reviewed(True, "ada"), "")
    assert refused(answered_blocking(held(reviews, given=first.ticket))) == ("guard.proxy.ticket", 409)
    assert len(reviews.tickets(everything=True)) == 1


@pytest.mark.parametrize("approved", [True, False])
def test_a_request_waits_for_the_decision(reviews, approved):
    def decide():
        while not (waiting := reviews.tickets()):
            pass
        reviews.decide(waiting[0].ticket.id, approved=approved, by="ada")

    async def wait():
        return await answered(held(reviews, seconds=60), asyncio.to_thread)

    for run in (lambda: answered_blocking(held(reviews, seconds=60)), lambda: asyncio.run(wait())):
        person = threading.Thread(target=decide)
        person.start()
        assert run() == (Reviewed(approved, "ada"), "")
        person.join()


def test_a_rejected_ticket_stays_rejected(reviews):
    ticket = answered_blocking(held(reviews)).ticket
    reviews.decide(ticket, approved=False, by="ada", reason="see policy 4")
    for _ in range(2):
        assert answered_blocking(held(reviews, given=ticket)).event == Reviewed(False, "ada")


@pytest.mark.parametrize("given", ["rev-unknown", "rev-" + "f" * 32, "'; DROP TABLE tickets --", "\udcff"])
def test_a_made_up_ticket_is_refused(reviews, given):
    answered_blocking(held(reviews))
    assert refused(answered_blocking(held(reviews, given=given))) == ("guard.proxy.ticket", 409)
    assert len(reviews.tickets()) == 1


@pytest.mark.parametrize(
    ("error", "rule"),
    [(Refused("full"), "review_full"), (StoreError("gone"), "review_store"), (OSError("secret"), "review_store")],
)
def test_whatever_the_port_raises_does_not_pass(error, rule):
    class Broken:
        def open(self, _ticket):
            raise error

        def redeem(self, *_a, **_k):
            raise error

    for given in ("", "rev-" + "0" * 32):
        answer = answered_blocking(held(Broken(), given=given, seconds=60))
        assert refused(answer) == (f"guard.proxy.{rule}", 503) and answer.ticket == ""
        assert "secret" not in answer.event.refusal.message


POLICY = """
name = "clinic"
version = "1"
[defaults]
out = "pseudonymise"
in = "mask"
[rules.EMAIL_ADDRESS]
out = "review"
"""


def test_through_the_guard_with_a_ticket_and_back(tmp_path):
    """The whole way: a policy asks for review, a person approves, the same request passes once."""
    import httpx2

    import trustplane
    from trustplane.guard.proxy.faces.transport import guarded_client
    from trustplane.guard.proxy.standin import build_standin

    (tmp_path / "clinic.toml").write_text(POLICY)
    standin = build_standin()
    body = {"model": "m", "messages": [{"role": "user", "content": "mail alice@example.com on 13800138000"}]}

    async def run(plane):
        inner = httpx2.ASGITransport(standin)
        async with guarded_client(plane, asynchronous=True, inner=inner, base_url="http://api.example") as client:

            async def ask(ticket="", **more):
                headers = {"x-trustplane-ticket": ticket} if ticket else {}
                return await client.post("/v1/chat/completions", json=body | more, headers=headers)

            first = await ask()
            ticket = first.headers["x-trustplane-ticket"]
            assert first.status_code == 202 and first.json()["error"]["code"] == "guard.proxy.review"
            (waiting,) = plane.reviews.tickets()
            assert waiting.ticket.id == ticket and waiting.ticket.facts[0][0] == "messages[0].content"
            assert (await ask(ticket)).status_code == 202 and standin.state.received == []
            plane.reviews.decide(ticket, approved=True, by="ada")
            assert (await ask(ticket, model="other")).status_code == 409
            passed = await ask(ticket)
            assert passed.status_code == 200 and "13800138000" in passed.text and "alice" not in passed.text
            assert (await ask(ticket)).status_code == 409
            rejected = (await ask()).headers["x-trustplane-ticket"]
            plane.reviews.decide(rejected, approved=False, by="ada")
            assert (await ask(rejected)).status_code == 403
            return passed.headers["x-trustplane-request-id"]

    settings = {"guard": {"policy": str(tmp_path / "clinic.toml")}, "proxy": {"review": "ticket"}}
    with trustplane.open(tmp_path / "plane", environ={}, **settings) as plane:
        request = asyncio.run(run(plane))
        steps = plane.log.export(request)[0]["inference_steps"]
    actions = [step["action"] for step in steps]
    assert "guard.proxy.held" in actions and actions.index("guard.proxy.reviewed") < actions.index("guard.proxy.sent")
    assert len(standin.state.received) == 1
    sent = standin.state.received[0]["raw"].decode()
    assert "alice" not in sent and "13800138000" not in sent
    stored = b"".join(path.read_bytes() for path in (tmp_path / "plane").rglob("*") if path.is_file())
    assert b"alice@example.com" not in stored and b"13800138000" not in stored
