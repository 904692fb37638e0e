"""The matrix: every string of recorded bodies, in every spelling, through the core; what leaks is counted."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from trustplane.guard.proxy.events import AnswerData, AnswerHead, Body, Head, ReplyData, ReplyEnd, ReplyHead, Send
from trustplane.guard.proxy.standin import reply_of, streams

from .matrix_bodies import Place, Recorded, at, is_bare, places, planted, recorded
from .matrix_values import LISTED, SPELLINGS, VALUES, leaked, spelled

__all__ = [
    "LISTED",
    "SPELLINGS",
    "VALUES",
    "Cell",
    "Outcome",
    "Result",
    "cells",
    "control",
    "leaked",
    "recorded",
    "run",
    "spelled",
]

REQUEST_ID = "req-matrix"

# ── what a client reads ─────────────────────────────────────────────────────────────────────────────

_NUMBERED = ("index", "output_index", "content_index", "summary_index", "type")


def strings(value: Any) -> list[str]:
    """Return every string and key in ``value``."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *strings(item))]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return []


def stream_values(data: bytes) -> list[Any]:
    """Return the JSON of all events of a stream."""
    lines = data.decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def joined(values: list[Any]) -> list[str]:
    """Return what a client joins of a stream: strings at the same place of events of the same kind, in order.

    What is the same in all events, such as an id, counts once.
    """
    found: dict[Any, list[str]] = {}

    def walk(value: Any, key: Any) -> None:
        if isinstance(value, str):
            found.setdefault(key, []).append(value)
        elif isinstance(value, dict):
            marks = tuple(value.get(name) for name in _NUMBERED if isinstance(value.get(name), int | str))
            for name, item in value.items():
                walk(item, (*key, *marks, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                appended = isinstance(item, dict) and ("index" in item or "token" in item)
                walk(item, key if appended else (*key, index))

    for value in values:
        walk(value, ())
    return ["".join(pieces) if len(set(pieces)) > 1 else pieces[0] for pieces in found.values()]


# ── one exchange ────────────────────────────────────────────────────────────────────────────────────

Answer = Callable[[Send], tuple[int, str, bytes]]
"""What the upstream answers: status, content type, body."""


class Outcome(NamedTuple):
    """What came of an exchange: what the upstream got (None: nothing), what the client got."""

    sent: Send | None
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def upstream_texts(self) -> list[str]:
        """Everything that the upstream read."""
        if self.sent is None:
            return []
        names = [f"{name}: {value}" for name, value in self.sent.headers]
        text = self.sent.body.decode("utf-8", "replace")
        return [self.sent.path, self.sent.query, *names, text, *_strings_of(text)]

    @property
    def client_texts(self) -> list[str]:
        """Everything that the client read, streams also joined."""
        text = self.body.decode("utf-8", "replace")
        heads = [f"{name}: {value}" for name, value in self.headers]
        if self.streamed:
            values = stream_values(self.body)
            return [text, *heads, *joined(values), *(t for value in values for t in strings(value))]
        return [text, *heads, *_strings_of(text)]

    @property
    def streamed(self) -> bool:
        """Whether the answer is an event stream."""
        return dict(self.headers).get("content-type", "").startswith("text/event-stream")

    @property
    def rule(self) -> str:
        """The rule of a refusal of ours, ``""`` if there is none, ``malformed`` if it is not in the API's form."""
        if self.streamed:
            return next((rule for value in stream_values(self.body) if (rule := _rule_of(value))), "")
        if self.status < 400 and self.sent is not None:
            return ""
        try:
            return _rule_of(json.loads(self.body)) or ("" if self.sent is not None else "malformed")
        except ValueError:
            return "malformed"


_RULE = re.compile(r"guard\.[a-z_.]+")


def _rule_of(value: Any) -> str:
    """Return the rule of an error of ours, which names the request beside it."""
    if not isinstance(value, dict):
        return ""
    error = value["error"] if isinstance(value.get("error"), dict) else value
    data = error["data"] if isinstance(error.get("data"), dict) else {}
    names = [value.get("request_id"), error.get("request_id"), data.get("request_id")]
    if not any(isinstance(name, str) and name.startswith("req-") for name in names):
        return ""
    found = _RULE.search(json.dumps(value))
    return found.group() if found and isinstance(error.get("message"), str) else "malformed"


def _strings_of(text: str) -> list[str]:
    found = []
    for line in [text, *text.splitlines()] if "\n" in text else [text]:
        try:
            found += strings(json.loads(line))
        except ValueError:
            continue
    return found


def drive(gate: Any, case: Recorded, body: bytes, answer: Answer) -> Outcome:
    """Carry one request through the core, the upstream's part played by ``answer``."""
    from trustplane.guard.proxy.exchange import Exchange
    from trustplane.guard.proxy.gate import Caller

    exchange = Exchange(gate, Caller(tenant="matrix"), REQUEST_ID)
    out = exchange.feed(Head(case.method, case.path, "", case.headers))
    out += exchange.feed(Body(body)) if not exchange.over else []
    sent = next((event for event in out if isinstance(event, Send)), None)
    if sent is not None:
        status, kind, data = answer(sent)
        out += exchange.feed(ReplyHead(status, (("content-type", kind),) if kind else ()))
        half = len(data) // 2
        for piece in (data[:half], data[half:]):
            out += exchange.feed(ReplyData(piece)) if piece else []
        out += exchange.feed(ReplyEnd())
    head = next((event for event in out if isinstance(event, AnswerHead)), AnswerHead(0, (), False))
    data = b"".join(event.data for event in out if isinstance(event, AnswerData))
    return Outcome(sent, head.status, head.headers, data)


def open_gate() -> Any:
    """Return a gate with the default policy, the listed names, upstreams of all APIs; images and sounds pass."""
    from trustplane.guard.proxy.gate import Gate, Upstream
    from trustplane.guard.text import TextGuard
    from trustplane.guard.text.guarded import Guarded
    from trustplane.guard.text.policy import Policy
    from trustplane.settings import ProxySettings

    key = bytes(range(32))
    guarded = Guarded(Policy.preset("proxy"), TextGuard(names=LISTED), key=key)
    upstreams = {api: Upstream(api, api, "http://127.0.0.1:1") for api in ("openai", "anthropic", "mcp", "rerank")}
    return Gate(guarded, upstreams, ProxySettings(media="pass"), key)


# ── cells ───────────────────────────────────────────────────────────────────────────────────────────


class Cell(NamedTuple):
    """One cell of the matrix."""

    case: Recorded
    direction: str
    streamed: bool
    place: Place
    spelling: str
    kind: str
    number: int

    @property
    def shown(self) -> str:
        """The cell in words, without its value."""
        way = "stream" if self.streamed else "plain"
        role = f" as {self.place.role}" if self.place.role else ""
        return f"{self.case.title} {self.direction} {way} {self.place.shown}{role} {self.spelling} {self.kind}"


class Result(NamedTuple):
    """``verdict``: ``masked``, ``blocked``, ``leaked``, ``unrestored`` or ``malformed``; ``rule`` of a block."""

    verdict: str
    rule: str = ""


def cells(kinds: tuple[str, ...] = tuple(VALUES), spellings: tuple[str, ...] = tuple(SPELLINGS)) -> list[Cell]:
    """Return all cells: each place of each body, each spelling, each kind of value."""
    found: list[Cell] = []
    for case in recorded():
        for direction in ("request", "reply"):
            tree = case.request if direction == "request" else case.reply
            if tree is None:
                continue
            form = direction == "request" and case.request_kind == "form"
            for streamed in case.ways:
                found += [
                    Cell(case, direction, streamed, place, spelling, kind, len(found))
                    for place in places(tree, form=form)
                    for spelling in spellings
                    for kind in kinds
                ]
    return [cell._replace(number=number) for number, cell in enumerate(found)]


QUOTING = {
    "chat.completions", "completions", "responses", "messages", "complete", "images.generations", "images.edits",
    "audio.transcriptions",
}  # fmt: skip
"""Endpoints whose replies hold text of the model; the others quote in an error."""


def run(gate: Any, cell: Cell) -> tuple[Result, str, Outcome]:
    """Return what became of a cell, the value that was planted, and the exchange."""
    made = prepared(cell)
    outcome = drive(gate, cell.case, made.body, made.answer)
    return judge(cell, made.value, made.whole, outcome), made.value, outcome


class Prepared(NamedTuple):
    """A cell ready to be sent. ``whole``: the string that holds the value, which the caller must read again."""

    value: str
    whole: str
    body: bytes
    answer: Answer


def prepared(cell: Cell) -> Prepared:
    """Return the request of a cell and what the upstream answers to it."""
    case, place, streamed = cell.case, cell.place, cell.streamed
    value = VALUES[cell.kind](cell.number)
    text = spelled(cell.spelling, value, bare=is_bare(place))
    if cell.direction == "request":
        tree, whole = planted(case.request, place, text)

        def quoted(sent: Send) -> tuple[int, str, bytes]:
            return quote(case, _received(case, place, sent.body), streamed=streamed)

        return Prepared(value, whole, case.request_bytes(tree, streamed=streamed), quoted)
    tree, whole = planted(case.reply, place, text)
    made = said(case, tree, streamed=streamed)
    return Prepared(value, whole, case.request_bytes(case.request, streamed=streamed), lambda _sent: made)


def judge(cell: Cell, value: str, whole: str, outcome: Outcome) -> Result:
    """Return the verdict; ``whole``: the string that held the value, which the caller must read again."""
    rule = outcome.rule
    seen = outcome.upstream_texts if cell.direction == "request" else outcome.client_texts
    if leaked(seen, value):
        return Result("leaked")
    if rule == "malformed":
        return Result("malformed")
    if rule:
        return Result("blocked", rule)
    if cell.direction == "request" and not any(whole in text for text in outcome.client_texts):
        return Result("unrestored")
    return Result("masked")


def _received(case: Recorded, place: Place, body: bytes) -> str:
    """Return what the upstream got at ``place``."""
    tree = read_form(body) if case.request_kind == "form" else json.loads(body)
    if place.key:  # a renamed key goes to the end of its object
        parent = at(tree, place.path[:-1])
        return list(parent)[-1] if parent else ""
    got = at(tree, place.path)
    return got if isinstance(got, str) else json.dumps(got)


def read_form(body: bytes) -> list[dict[str, Any]]:
    """Return a form as the tree that recorded forms are."""
    from trustplane.guard.proxy.wire.multipart import Form

    boundary = body[2 : body.index(b"\r\n")].decode()
    tree: list[dict[str, Any]] = []
    for part in Form(f"multipart/form-data; boundary={boundary}", body).parts:
        made: dict[str, Any] = {"name": part.name}
        if part.filename is not None:
            made["filename"] = part.filename
        try:
            text = part.data.decode()
            made["text"] = text
            if part.kind == "application/jsonl":
                made["lines"] = [json.loads(line) for line in text.splitlines() if line]
        except ValueError:
            made["base64"] = base64.b64encode(part.data).decode()
        tree.append(made)
    return tree


def quote(case: Recorded, text: str, *, streamed: bool) -> tuple[int, str, bytes]:
    """Return an upstream's answer that quotes ``text``: as the model, or in an error where there is none."""
    if case.api == "mcp":
        content = {"content": [{"type": "text", "text": f"You wrote: {text}"}], "isError": False}
        value: Any = {"jsonrpc": "2.0", "id": 1, "result": content}
        if streamed:
            return 200, "text/event-stream", b"".join(streams.events("mcp", value, 3))
        return 200, "application/json", json.dumps(value, ensure_ascii=False).encode()
    if case.endpoint in QUOTING:
        value = reply_of(case.endpoint, {"messages": "", "input": "", "model": "m"}, f"You wrote: {text}")
        if streamed:
            return 200, "text/event-stream", b"".join(streams.events(case.endpoint, value, 3))
        return 200, "application/json", json.dumps(value, ensure_ascii=False).encode()
    error = {"message": f"Cannot take: {text}", "type": "invalid_request_error", "param": None, "code": None}
    value = {"type": "error", "error": error} if case.api == "anthropic" else {"error": error}
    return 400, "application/json", json.dumps(value, ensure_ascii=False).encode()


def said(case: Recorded, tree: Any, *, streamed: bool) -> tuple[int, str, bytes]:
    """Return the recorded reply as the upstream sends it."""
    if streamed:
        return 200, "text/event-stream", b"".join(streams.events(case.endpoint, tree, 3))
    kind, data = case.reply_bytes(tree)
    return 202 if case.reply_kind == "none" else 200, kind, data


# ── benign controls ─────────────────────────────────────────────────────────────────────────────────


def control(gate: Any, case: Recorded, *, streamed: bool) -> str:
    """Return what is wrong with a body that holds nothing personal, ``""`` if it passed both ways unchanged."""
    body = case.request_bytes(case.request, streamed=streamed)
    made = said(case, case.reply, streamed=streamed)
    outcome = drive(gate, case, body, lambda _sent: made)
    if outcome.sent is None:
        return f"refused: {outcome.rule}"
    if outcome.sent.body != body:
        return "the request changed"
    if outcome.status != made[0] or outcome.rule:
        return f"the reply was refused: {outcome.rule or outcome.status}"
    if streamed:
        before, after = stream_values(made[2]), stream_values(outcome.body)
        return "" if sorted(joined(before)) == sorted(joined(after)) else "the stream changed"
    if made[1] == "application/json":
        return "" if json.loads(outcome.body) == json.loads(made[2]) else "the reply changed"
    return "" if outcome.body == made[2] else "the reply changed"
