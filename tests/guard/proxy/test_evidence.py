"""No content in evidence, logs, errors: random requests with canaries in every place; and with the real log."""

import base64
import json
import logging
import random
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trustplane
from trustplane.audit.log.note import Proof, verify_note
from trustplane.errors import TrustplaneError
from trustplane.guard.proxy import Caller, Gate, Upstream, build_app
from trustplane.guard.proxy.events import AnswerData, Body, Decide, Head, Note, ReplyData, ReplyEnd, ReplyHead, Send
from trustplane.guard.proxy.exchange import Exchange
from trustplane.guard.proxy.faces.evidence import committable
from trustplane.guard.proxy.faces.upstream import open_upstreams
from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.standin import build_standin
from trustplane.guard.text.guarded import Guarded
from trustplane.settings import ProxySettings
from trustplane.step import Step

from .conftest import KEY
from .servers import ListLog, serve

MAIL = "kanarienvogel@example.com"
PHONE = "13912345678"
leaves = st.sampled_from(
    [MAIL, f"tel {PHONE}", "plain", f"我叫欧阳锋，{MAIL}", json.dumps({"k": MAIL}), "", "\ud83d", "[PERSON_2222]"]
)
values = st.recursive(
    leaves | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(leaves | st.sampled_from(["a", "type", "name"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
bodies = st.builds(
    lambda content, extra, key: {"model": "m", "messages": [{"role": "user", "content": content}], key: extra},
    leaves, values, st.sampled_from(["metadata", "user", "unknown", "tools", "name", "model", "stop"]),
)  # fmt: skip
RUNS = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = (("content-type", "application/json"),)
CANARIES = ("kanarien", PHONE, "欧阳锋")


@RUNS
@given(bodies)
def test_no_canary_gets_out(guarded: Guarded, body: dict[str, Any]) -> None:
    gate = Gate(guarded, {"o": Upstream("o", "openai", "http://localhost")}, ProxySettings(), KEY)
    exchange = Exchange(gate, Caller(), "req-1")
    found = [
        *exchange.feed(Head("POST", "/v1/chat/completions", "", JSON)),
        *exchange.feed(Body(json.dumps(body).encode())),
    ]
    evidence = repr([out for out in found if isinstance(out, Note)]) + repr(exchange) + repr(gate)
    assert not any(canary in evidence for canary in CANARIES)
    sent = [out for out in found if isinstance(out, Send)]
    if not sent:  # an answer too, if it holds nothing
        answer = repr([out for out in found if isinstance(out, AnswerData)])
        assert answer and not any(canary in answer for canary in CANARIES)
        return
    raw = sent[0].body.decode() + json.dumps(json.loads(sent[0].body), ensure_ascii=False)
    assert not any(canary in raw for canary in CANARIES)
    content = json.loads(sent[0].body)["messages"][0]["content"]
    echo = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
    found = [
        out
        for event in (ReplyHead(200, JSON), ReplyData(json.dumps(echo).encode()), ReplyEnd())
        for out in exchange.feed(event)
    ]
    assert [out.outcome for out in found if isinstance(out, Decide)] == ["answered"]
    back = json.loads(b"".join(out.data for out in found if isinstance(out, AnswerData)))
    assert back["choices"][0]["message"]["content"] == body["messages"][0]["content"]


def test_nothing_in_log_records(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    upstream = build_standin()
    log = ListLog()
    with serve(upstream) as up:
        gate = Gate(guarded, open_upstreams({"openai": up}), ProxySettings(), KEY)
        with serve(build_app(gate, open_request=log)) as url:
            for stream in (False, True):
                body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": MAIL}]}
                headers = {"authorization": "Bearer kanarienschluessel"}
                reply = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)
                assert reply.status_code == 200
                assert MAIL in reply.text or stream
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpcore", "asyncio"))]
    assert not any("kanarien" in line for line in ours)
    assert "kanarien" not in repr(log.steps)


def test_committable() -> None:
    assert committable("a\ud83d\ude00b\ud83d") == "a😀b\ufffd"
    rng = random.Random(1)
    text = "".join(chr(rng.randrange(0x110000)) for _ in range(1000))
    committable(text).encode()


def receipt_of(reply: httpx.Response) -> str:
    found = reply.headers.get("x-trustplane-receipt") or re.findall(": x-trustplane-receipt (.*)", reply.text)[0]
    return base64.urlsafe_b64decode(found + "=" * (-len(found) % 4)).decode()


def ask(url: str, **more: Any) -> httpx.Response:
    text = f"write to {MAIL}"
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    headers = {"content-type": "application/json"}
    return httpx.post(f"{url}/v1/chat/completions", content=json.dumps(body), headers=headers, timeout=60)


@pytest.mark.parametrize("receipt", ["proof", "promise"])
def test_with_the_real_log(tmp_path: Path, receipt: str) -> None:
    upstream = build_standin()
    folder = tmp_path / "plane"
    with (
        trustplane.open(folder, proxy={"receipt": receipt}) as plane,
        serve(upstream) as up,
        serve(plane.proxy_app({"openai": up})) as url,
    ):
        replies = [ask(url), ask(url, stream=True)]
        assert replies[0].json()["choices"][0]["message"]["content"] == f'You wrote: "write to {MAIL}"'
        bad = httpx.post(f"{url}/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
        assert bad.status_code == 400
        keys = plane.log.keys.verifiers
        for reply, outcome in zip([*replies, bad], ["answered", "answered", "blocked"], strict=True):
            name = reply.headers["x-trustplane-request-id"]
            text = receipt_of(reply)
            if receipt == "promise":
                body, _ = verify_note(text, keys)
                first, origin, request, said, _digest = body.splitlines()
                assert (first, origin, request, said) == ("trustplane/promise/1", plane.log.origin, name, outcome)
            else:
                proof = Proof.parse(text)
                assert plane.log.entry(proof.index).public.request == name
            plane.log.flush()
            later = plane.receipt(name)
            assert later is not None and plane.log.entry(Proof.parse(later).index).public.result == outcome
        assert plane.receipt("req-" + "0" * 24) is None
    assert all(MAIL not in r["raw"].decode() for r in upstream.state.received)
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"kanarien" not in path.read_bytes(), path.name
    assert (folder / "proxy.key").stat().st_mode & 0o777 == 0o600


def test_many_decisions_are_proved_under_one_checkpoint(tmp_path: Path) -> None:
    with trustplane.open(tmp_path / "plane") as plane:
        found: list[tuple[str, Exception | None]] = []
        done = threading.Event()

        def proved(text: str, error: Exception | None) -> None:
            found.append((text, error))
            if len(found) == 300:
                done.set()

        for number in range(300):
            with plane.log.request(f"req-{number}", input="x") as request:
                request.record(Step("guard.proxy.received"))
                request.decide("y", outcome="answered")
                request.when_proved(proved)
        assert done.wait(60) and all(error is None for _, error in found)
        proofs = [Proof.parse(text) for text, _ in found]
        assert {plane.log.entry(proof.index).public.request for proof in proofs} == {f"req-{n}" for n in range(300)}
        assert len({proof.checkpoint for proof in proofs}) < 100


def test_a_closed_log_proves_nothing_and_says_so(tmp_path: Path) -> None:
    plane = trustplane.open(tmp_path / "plane")
    request = plane.log.request("req-1")
    request.decide("y")
    plane.close()
    told: list[tuple[str, Exception | None]] = []
    request.when_proved(lambda text, error: told.append((text, error)))
    assert told and told[0][0] == "" and isinstance(told[0][1], TrustplaneError)


def test_the_key_is_made_once(tmp_path: Path) -> None:
    with trustplane.open(tmp_path / "plane") as plane, trustplane.open(tmp_path / "plane") as again:
        keys: list[bytes] = []
        threads = [threading.Thread(target=lambda p=p: keys.append(p.proxy_key)) for p in (plane, again)]  # type: ignore[misc]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(keys)) == 1 and len(keys[0]) == 32
        assert issubclass(ProxyRefusal, TrustplaneError)
