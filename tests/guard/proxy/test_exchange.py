"""The exchange without a network: round trips, refusals, reviews, failures in every state, junk of every kind."""

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    Note,
    Open,
    ReceiptComment,
    ReplyData,
    ReplyEnd,
    ReplyHead,
    Reviewed,
    Send,
)  # fmt: skip
from trustplane.guard.proxy.exchange import LOG_RULE, Exchange
from trustplane.guard.proxy.gate import Caller, Gate
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.text import TextGuard
from trustplane.guard.text.policy import Policy

from .exchanges import CHAT, JSON, Run, make_gate

MAIL, PHONE = "alice.canary@example.com", "13800138000"
EVENTS = (("content-type", "text/event-stream"),)
RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
DOWN = ProxyRefusal("guard.proxy.upstream", 502, "the upstream cannot be reached or broke off")


@pytest.fixture(scope="module")
def gate(guard: TextGuard) -> Gate:
    return make_gate(guard)


def ask(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": content}], **more}


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


def content(sent: Send | None) -> str:
    assert sent is not None
    found: str = json.loads(sent.body)["messages"][-1]["content"]
    return found


def test_plain_round_trip(gate: Gate) -> None:
    run = Run(gate)
    sent = run.ask(ask(f"I am {MAIL}, tel {PHONE}"))
    hidden = content(sent)
    assert MAIL not in hidden and PHONE not in hidden
    assert sent is not None and (sent.upstream, sent.method, sent.path) == ("openai", "POST", CHAT)
    run.reply(completion(f"You are {hidden}"))
    answer = json.loads(run.answer)
    assert answer["choices"][0]["message"]["content"] == f"You are I am {MAIL}, tel {PHONE}"
    assert [type(out) for out in run.outs] == [Open, Note, Send, Note, Decide, AnswerHead, AnswerData, AnswerEnd]
    assert [step.action for step in run.steps] == [
        "guard.proxy.received", "guard.text.detect", "guard.text.hide", "guard.proxy.sent", "guard.proxy.replied",
    ]  # fmt: skip
    assert run.steps[1].facts == {"n_email_address": 1, "n_phone_number": 1}
    assert run.steps[2].facts == {"masked": 2, "n_email_address": 1, "n_phone_number": 1}
    assert run.steps[3].facts == {"host": "openai.test", "upstream": "openai", "model": "gpt-4o"}
    assert run.steps[4].facts["restored"] == 2 and run.steps[4].facts["latency_us"] == 0
    head = next(out for out in run.outs if isinstance(out, AnswerHead))
    assert head.receipt and dict(head.headers)["content-length"] == str(len(run.answer))
    assert MAIL not in repr(run.steps) and PHONE not in repr(run.exchange)
    run.check()


@pytest.mark.parametrize("size", [1, 3, 50])
def test_streamed_round_trip(gate: Gate, size: int) -> None:
    run = Run(gate)
    hidden = content(run.ask(ask(f"I am {MAIL}", stream=True)))
    data = (
        b"".join(chunk(hidden[i : i + 2]) for i in range(0, len(hidden), 2)) + chunk("", "stop") + b"data: [DONE]\n\n"
    )
    first = run.feed(ReplyHead(200, EVENTS))
    assert [type(out) for out in first] == [AnswerHead] and not first[0].receipt  # type: ignore[union-attr]
    for start in range(0, len(data), size):
        run.feed(ReplyData(data[start : start + size]))
    run.feed(ReplyEnd())
    lines = [json.loads(line[6:]) for line in run.answer.decode().splitlines() if line.startswith("data: {")]
    assert "".join(c["delta"].get("content") or "" for line in lines for c in line["choices"]) == f"I am {MAIL}"
    assert run.answer.endswith(b"data: [DONE]\n\n")
    assert [type(out) for out in run.outs[-3:]] == [ReceiptComment, AnswerData, AnswerEnd]
    names = [type(out) for out in run.outs]
    assert names.index(Decide) < names.index(ReceiptComment)
    run.check()


def test_a_benign_body_goes_out_byte_for_byte(gate: Gate) -> None:
    data = (
        b'{ "model":"gpt-4o",\n"messages":[{"content":"hi \\u4f60 \\/","role":"user"}], "temperature":1.50, "x":1e3 }'
    )
    sent = Run(gate).ask(data)
    assert sent is not None and sent.body == data


def test_what_was_hidden_in_an_earlier_turn_is_hidden_the_same_way_again(gate: Gate) -> None:
    history = [{"role": "user", "content": f"I am {MAIL}"}, {"role": "assistant", "content": f"Hello {MAIL}"}]
    first = Run(gate).ask({"model": "m", "messages": history[:1]})
    again = Run(gate).ask({"model": "m", "messages": [*history, {"role": "user", "content": "go on"}]})
    assert first is not None and again is not None
    one, two = (json.loads(sent.body)["messages"][0]["content"] for sent in (first, again))
    assert one == two
    other = Run(gate, Caller(tenant="other")).ask({"model": "m", "messages": history[:1]})
    assert other is not None and json.loads(other.body)["messages"][0]["content"] != one


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "rule"),
    [
        ("/v1/unknown", b"{}", JSON, 404, "guard.proxy.route"),
        (CHAT, b"{", JSON, 400, "guard.proxy.json"),
        (CHAT, b'{"a": 1, "a": 2}', JSON, 400, "guard.proxy.json"),
        (CHAT, b"[" * 100_000, JSON, 400, "guard.proxy.json"),
        (CHAT, b"\xff", JSON, 400, "guard.proxy.json"),
        (CHAT, b"[1]", JSON, 400, "guard.proxy.shape"),
        (CHAT, b"{}", (("content-type", "text/plain"),), 415, "guard.proxy.content_type"),
        (CHAT, b"{}", (*JSON, ("content-encoding", "gzip")), 415, "guard.proxy.content_encoding"),
        (CHAT, b"{}", (*JSON, ("x-trustplane-upstream", "nobody")), 404, "guard.proxy.upstream_name"),
        (CHAT, b"{}", (*JSON, ("openai-project", "a\u00e9")), 400, "guard.proxy.header"),
    ],
)  # fmt: skip
def test_refusals(gate: Gate, path: str, body: bytes, headers: Any, status: int, rule: str) -> None:
    run = Run(gate)
    assert run.ask(body, path, headers=headers) is None
    assert (run.status, run.rule) == (status, rule)
    error = json.loads(run.answer)["error"]
    assert error["code"] == rule and error["request_id"] == "req-1"
    assert type(run.outs[0]) is Open and type(run.outs[-1]) is AnswerEnd
    run.check()


def test_each_api_has_its_own_errors(gate: Gate) -> None:
    claude = Run(gate)
    claude.ask(b"{", "/v1/messages", headers=(*JSON, ("anthropic-version", "2023-06-01")))
    assert json.loads(claude.answer)["type"] == "error"
    tools = Run(gate)
    tools.ask(
        {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "x", "arguments": {"a": "\ud800"}}},
        "/mcp",
    )
    tools.feed(Failed(DOWN))
    error = json.loads(tools.answer)
    assert (error["id"], error["error"]["data"]["rule"]) == (7, "guard.proxy.upstream")


def test_the_upstream_is_chosen(gate: Gate) -> None:
    def upstream(model: str, path: str = CHAT, caller: Caller = Caller(), **headers: str) -> str:  # noqa: B008
        sent = Run(gate, caller).ask(
            {**ask("x"), "model": model}, path, headers=(*JSON, *((k.replace("_", "-"), v) for k, v in headers.items()))
        )
        return sent.upstream if sent else ""

    assert upstream("gpt-4o") == "openai"
    assert upstream("mini-1") == "cheap"
    assert upstream("claude-x", "/v1/messages", anthropic_version="2023-06-01") == "claude"
    assert upstream("gpt-4o", x_trustplane_upstream="cheap") == "cheap"
    assert upstream("gpt-4o", caller=Caller(upstreams=("cheap",))) == "cheap"
    assert upstream("gpt-4o", caller=Caller(upstreams=("cheap",)), x_trustplane_upstream="openai") == ""


def test_a_policy_that_blocks_names_its_rules(guard: TextGuard) -> None:
    run = Run(make_gate(guard, Policy.parse('[defaults]\nout = "pseudonymise"\n[rules.EMAIL_ADDRESS]\nout = "block"')))
    assert run.ask(ask(f"I am {MAIL}")) is None
    assert (run.status, run.rule) == (403, "guard.proxy.policy")
    assert b"email" in run.answer.lower() and MAIL.encode() not in run.answer
    assert [type(out) for out in run.outs] == [Open, Note, Note, Decide, AnswerHead, AnswerData, AnswerEnd]
    assert Decide("blocked", None) in run.outs


def test_review(guard: TextGuard) -> None:
    gate = make_gate(guard, Policy.parse('[defaults]\nout = "pseudonymise"\n[rules.EMAIL_ADDRESS]\nout = "review"'))
    held = Run(gate)
    assert held.ask(ask(f"I am {MAIL}, tel {PHONE}")) is None
    hold = held.outs[-1]
    assert isinstance(hold, Hold) and hold.facts[0][0] == "messages[0].content" and "email" in hold.facts[0][1].lower()
    again = Run(gate)
    again.ask(ask(f"I am {MAIL}, tel {PHONE}"))
    assert again.outs[-1] == hold and MAIL not in repr(hold)
    held.feed(Reviewed(True, "officer-1"))
    hidden = content(held.sent)
    assert MAIL not in hidden and PHONE not in hidden
    assert [s.result for s in held.steps if s.action == "guard.proxy.reviewed"] == ["approved"]
    again.feed(Reviewed(False, "officer-1"))
    assert (again.sent, again.status, again.rule) == (None, 403, "guard.proxy.review")
    held.check()
    again.check()


class Raising:
    """A guard that fails as guards of users may."""

    def __init__(self, guard: TextGuard, error: BaseException) -> None:
        self._guard, self._error = guard, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guard, name)

    def candidates_many(self, _texts: Any) -> Any:
        raise self._error


@pytest.mark.parametrize("error", [ValueError(MAIL), TimeoutError(), MemoryError(), RecursionError(MAIL)])
def test_a_guard_that_fails_blocks(guard: TextGuard, error: Exception) -> None:
    run = Run(make_gate(Raising(guard, error)))  # type: ignore[arg-type]
    assert run.ask(ask(MAIL)) is None
    assert (run.status, run.rule) == (503, "guard.proxy.undecided")
    assert MAIL not in repr(run.outs[1:])
    run.check()


def test_store_media_and_passed_paths(guard: TextGuard) -> None:
    stored = Run(make_gate(guard))
    sent = stored.ask(ask("x", store=True, metadata={"store": "true"}))
    assert sent is not None and json.loads(sent.body) == ask("x", store=False, metadata={"store": "true"})
    assert "guard.proxy.store_turned_off" in {step.action for step in stored.steps}
    for body, wanted in (
        ({}, {"store": False}),
        ({"store": None}, {"store": False}),
        ({"store": False}, {"store": False}),
    ):
        kept = Run(make_gate(guard))
        sent = kept.ask({**body, "model": "m", "input": "x"}, path="/v1/responses")  # it keeps unless told otherwise
        assert sent is not None and json.loads(sent.body) == {"model": "m", "input": "x", **wanted}
    refused = Run(make_gate(guard, store="refuse"))
    assert refused.ask(ask("x", store=True)) is None and refused.rule == "guard.proxy.store"
    png = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60)).decode()
    parts = [{"type": "image_url", "image_url": {"url": png}}]
    refused = Run(make_gate(guard))
    assert refused.ask(ask(parts)) is None and refused.rule == "guard.proxy.media"
    let = Run(make_gate(guard, media="pass"))
    sent = let.ask(ask(parts))
    assert sent is not None and png.encode() in sent.body
    assert [step.facts for step in let.steps if step.action == "guard.proxy.media_passed"] == [{"media": 1}]
    faked = Run(make_gate(guard, media="pass"))
    sent = faked.ask(ask([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,iVBORw0KGgo {MAIL}"}}]))
    assert sent is not None and MAIL.encode() not in sent.body
    passed = Run(make_gate(guard, passed=("/v1/fine_tuning/*",)))
    sent = passed.ask(b"raw", "/v1/fine_tuning/jobs", headers=(("content-type", "text/x"),))
    assert sent is not None and sent.body == b"raw" and "guard.proxy.passed" in {s.action for s in passed.steps}
    passed.reply(b"back", headers=(("content-type", "text/x"),))
    assert passed.answer == b"back"
    passed.check()
    assert Run(make_gate(guard, passed=("/v1/fine_tuning/*",))).ask(b"x", "/v1/fine_tuning/../files") is None


# ── failures in every state ─────────────────────────────────────────────────────────────────────────


def script(stream: bool) -> list[Any]:
    data = chunk("hello ") + chunk("world", "stop") + b"data: [DONE]\n\n"
    return [
        Head("POST", CHAT, "", JSON),
        Body(json.dumps(ask(f"I am {MAIL}", stream=stream)).encode()),
        ReplyHead(200, EVENTS if stream else JSON),
        ReplyData(data if stream else json.dumps(completion("hello")).encode()),
        ReplyEnd(),
    ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", range(5))
def test_failed_and_gone_in_any_state(gate: Gate, after: int, stream: bool) -> None:
    for event in (Failed(DOWN), Gone()):
        run = Run(gate)
        run.feed(*script(stream)[:after])
        before = len(run.outs)
        complete = run.exchange.over
        run.feed(event)
        new = run.outs[before:]
        assert run.exchange.over
        if complete:
            assert new == []
        elif isinstance(event, Failed):
            assert type(new[-1]) is AnswerEnd and Decide in map(type, new)
            assert (HangUp in map(type, new)) == (after >= 2)
            if stream and after >= 3:
                assert b'"guard.proxy.upstream"' in run.answer and AnswerHead not in map(type, new)
            else:
                assert run.status == 502
        else:
            assert AnswerEnd not in map(type, new) and (Decide("cancelled", None) in new) == (after >= 2)
        run.feed(*script(stream), Failed(DOWN), Gone())
        assert run.outs[before:] == new  # nothing comes out afterwards
        run.check()


def test_a_stream_cut_off_does_not_look_complete(gate: Gate) -> None:
    run = Run(gate)
    run.feed(*script(True)[:3], ReplyData(chunk("hello ")), ReplyEnd())
    assert b"[DONE]" not in run.answer and b"guard.proxy." in run.answer
    assert run.rule.startswith("guard.proxy.")
    run.check()


def test_a_log_that_takes_nothing_is_not_asked_again(gate: Gate) -> None:
    broken = Failed(ProxyRefusal(LOG_RULE, 503, "the audit log cannot take the request now"))
    for after in (2, 5):  # the events of the last list were not carried out
        run = Run(gate)
        for event in script(False)[:after]:
            last = run.feed(event)
        assert any(isinstance(out, Note) for out in last)
        new = run.feed(broken)
        assert not any(isinstance(out, Open | Note | Decide) for out in new)
        assert type(new[-1]) is AnswerEnd and not next(o for o in new if isinstance(o, AnswerHead)).receipt


def test_a_feed_that_hangs_says_nothing_once_it_was_given_up(gate: Gate) -> None:
    exchange = Exchange(gate, Caller(), "req-1", clock=lambda: 0)
    exchange.feed(script(False)[0])
    inner = exchange._taken

    def hung(event: Any) -> Any:
        found = inner(event)
        assert type(exchange.feed(Failed(DOWN))[-1]) is AnswerEnd  # fed by another thread meanwhile
        return found

    exchange._taken = hung  # type: ignore[method-assign]
    assert exchange.feed(script(False)[1]) == []


# ── junk ────────────────────────────────────────────────────────────────────────────────────────────

headers = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "content-encoding", "x-trustplane-upstream", "accept", "openai-beta"]),
        st.sampled_from(["application/json", "text/event-stream", "gzip", "openai", "multipart/form-data; boundary=b"])
        | st.text(max_size=8),
    ),
    max_size=4,
).map(tuple)
junk = st.one_of(
    st.builds(
        Head,
        st.sampled_from(["POST", "GET", "DELETE", "post", ""]) | st.text(max_size=3),
        st.sampled_from([CHAT, "/v1/messages", "/v1/files", "/v1/files/a%2e", "/v1/batches", "/mcp", "/v1/x"])
        | st.text(max_size=12),
        st.sampled_from(["", "a=b", "limit=%ff", "x=%E4%BD%A0&y"]) | st.text(max_size=8),
        headers,
    ),
    st.builds(Body, st.binary(max_size=30) | st.sampled_from([b"{}", json.dumps(ask(MAIL, stream=True)).encode()])),
    st.builds(ReplyHead, st.sampled_from([200, 404, 500, 302, 0]), headers),
    st.builds(ReplyData, st.binary(max_size=30) | st.sampled_from([chunk("x"), b"data: [DONE]\n\n", b"{}"])),
    st.builds(Reviewed, st.booleans(), st.text(max_size=4)),
    st.sampled_from([ReplyEnd(), Gone(), Failed(DOWN), Failed(ProxyRefusal(LOG_RULE, 503, "x"))]),
)


@RUNS
@given(st.lists(junk, max_size=8))
def test_it_never_raises(gate: Gate, events: list[Any]) -> None:
    run = Run(gate)
    run.feed(*events)
    if not any(isinstance(event, Failed) and event.refusal.rule == LOG_RULE for event in events):
        run.check()


@RUNS
@given(st.integers(0, 4), st.binary(max_size=40))
def test_whatever_the_upstream_sends_ends_well(gate: Gate, position: int, data: bytes) -> None:
    events = script(True)
    good = events[3].data
    cut = len(good) * position // 4
    run = Run(gate)
    run.feed(*events[:3], ReplyData(good[:cut]), ReplyData(data), ReplyData(good[cut:]), ReplyEnd())
    assert type(run.outs[-1]) is AnswerEnd
    run.check()
