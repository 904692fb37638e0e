"""Driving an exchange without a network: what a driver would feed, and what came out."""

import json
from typing import Any

from trustplane.guard.proxy.events import (
    AnswerData,
    AnswerHead,
    Body,
    Head,
    In,
    Note,
    Out,
    ReceiptComment,
    ReplyData,
    ReplyEnd,
    ReplyHead,
    Send,
)
from trustplane.guard.proxy.exchange import Exchange
from trustplane.guard.proxy.gate import Caller, Gate, Upstream
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy
from trustplane.settings import ProxySettings
from trustplane.step import Step

KEY = bytes(range(32))
CHAT = "/v1/chat/completions"
JSON = (("content-type", "application/json"),)


def make_gate(guard: TextGuard, policy: Policy | None = None, passed: tuple[str, ...] = (), **settings: Any) -> Gate:
    upstreams = {
        "openai": Upstream("openai", "openai", "https://openai.test"),
        "cheap": Upstream("cheap", "openai", "https://cheap.test", ("mini-*",)),
        "claude": Upstream("claude", "anthropic", "https://anthropic.test"),
        "tools": Upstream("tools", "mcp", "https://tools.test"),
    }
    guarded = Guarded(policy or Policy.preset("proxy"), guard)
    return Gate(guarded, upstreams, ProxySettings(**settings), KEY, passed)


class Run:
    """One exchange and all that came out of it."""

    def __init__(self, gate: Gate, caller: Caller = Caller(purpose="chat"), request_id: str = "req-1") -> None:  # noqa: B008
        self.exchange = Exchange(gate, caller, request_id, clock=lambda: 0)
        self.outs: list[Out] = []

    def feed(self, *events: In) -> list[Out]:
        found = [out for event in events for out in self.exchange.feed(event)]
        self.outs += found
        return found

    def ask(
        self, body: Any, path: str = CHAT, method: str = "POST", query: str = "", headers: Any = JSON
    ) -> Send | None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.feed(Head(method, path, query, tuple(headers)), Body(data))
        return self.sent

    def reply(self, body: Any, status: int = 200, headers: Any = JSON) -> list[Out]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.feed(ReplyHead(status, tuple(headers)), ReplyData(data), ReplyEnd())

    @property
    def sent(self) -> Send | None:
        return next((out for out in self.outs if isinstance(out, Send)), None)

    @property
    def steps(self) -> list[Step]:
        return [step for out in self.outs if isinstance(out, Note) for step in out.steps]

    @property
    def status(self) -> int:
        return next(out.status for out in self.outs if isinstance(out, AnswerHead))

    @property
    def answer(self) -> bytes:
        return b"".join(out.data for out in self.outs if isinstance(out, AnswerData))

    @property
    def rule(self) -> str:
        facts = [step.facts["rule"] for step in self.steps if step.action == "guard.proxy.refused"]
        return str(facts[0]) if facts else ""

    def check(self) -> None:
        """Check that what came out is one well-formed exchange."""
        names = [type(out).__name__ for out in self.outs]
        assert names.count("Open") <= 1 and names.count("Decide") <= 1 and names.count("AnswerHead") <= 1, names
        assert names.count("AnswerEnd") <= 1 and names.count("Send") <= 1 and names.count("Hold") <= 1, names
        if "Note" in names or "Decide" in names:
            assert names[0] in ("Open", "HangUp") or "Open" in names[: names.index("Note")], names
        if "AnswerHead" in names:
            head = next(out for out in self.outs if isinstance(out, AnswerHead))
            if head.receipt:
                assert "Decide" in names[: names.index("AnswerHead")], names
        if "AnswerEnd" in names:
            assert names[-1] == "AnswerEnd" or names[-1] == "HangUp"
            assert "AnswerHead" in names and "Decide" in names
            assert self.exchange.over
        for out in self.outs:
            if isinstance(out, AnswerData):
                assert "AnswerHead" in names
        if "Send" in names:
            assert "Note" in names[: names.index("Send")]
        assert all(not isinstance(out, ReceiptComment) or "Decide" in names for out in self.outs)
