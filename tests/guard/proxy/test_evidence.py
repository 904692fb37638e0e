"""No content in evidence, logs, errors: random requests with canaries in every place; and with the real log."""

import json
import logging
import random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trustplane
from trustplane.errors import TrustplaneError
from trustplane.guard.proxy import build_app
from trustplane.guard.proxy.body import check_shape, hide_body, parse, prompt_text
from trustplane.guard.proxy.evidence import committable
from trustplane.guard.proxy.refusal import ProxyRefusal, error_bytes
from trustplane.guard.proxy.reply import clean_reply
from trustplane.guard.proxy.standin import build_standin
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guard import count_facts
from trustplane.settings import ProxySettings
from trustplane.step import Step

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


@RUNS
@given(bodies)
def test_no_canary_gets_out(guard: TextGuard, body: dict[str, Any]) -> None:
    session = guard.session()
    raw = json.dumps(body).encode()
    try:
        parsed = check_shape(parse(raw))
        hidden = hide_body(parsed, guard, session)
    except ProxyRefusal as refusal:  # an answer too, if it holds nothing
        assert "kanarien" not in error_bytes(refusal, "req-1").decode() + repr(refusal) + str(refusal.__dict__)
        return
    sent = json.dumps(hidden.body) + json.dumps(hidden.body, ensure_ascii=False)
    assert not any(canary in sent for canary in ("kanarien", PHONE, "欧阳锋"))
    step = Step("guard.text.detect", facts=count_facts(hidden.counts), agents=guard.refs)
    shown = repr(step) + repr(session) + repr(session.counts) + repr(guard)
    assert not any(canary in shown for canary in ("kanarien", PHONE, "欧阳锋"))
    echo = {"choices": [{"index": 0, "message": {"content": json.dumps(hidden.body["messages"][0]["content"])}}]}
    back, _ = clean_reply(json.dumps(echo).encode(), session)
    assert json.loads(back["choices"][0]["message"]["content"]) == parsed["messages"][0]["content"]


def test_nothing_in_log_records(guard: TextGuard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    upstream = build_standin()
    log = ListLog()
    with serve(upstream) as up:
        app = build_app(upstreams={"s": up}, guard=guard, open_request=log, settings=ProxySettings())
        with serve(app) as url:
            for stream in (False, True):
                body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": MAIL}]}
                headers = {"authorization": "Bearer kanarienschluessel"}
                reply = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30)
                assert MAIL in reply.text.replace('"}}]}', "") or stream
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpcore", "asyncio"))]
    assert not any("kanarien" in line for line in ours)
    assert "kanarien" not in repr(log.steps)


def test_committable() -> None:
    assert committable("a\ud83d\ude00b\ud83d") == "a😀b\ufffd"
    rng = random.Random(1)
    text = "".join(chr(rng.randrange(0x110000)) for _ in range(1000))
    committable(text).encode()


def test_with_the_real_log(tmp_path: Any) -> None:
    upstream = build_standin()
    with (
        trustplane.open(tmp_path / "plane") as plane,
        serve(upstream) as up,
        serve(plane.proxy_app({"s": up})) as url,
    ):
        for stream in (False, True):
            text = f"write to {MAIL} \ud83d"
            body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}
            reply = httpx.post(
                f"{url}/v1/chat/completions",
                content=json.dumps(body),
                headers={"content-type": "application/json"},
                timeout=60,
            )
            assert reply.status_code == 200 and "error" not in reply.text
            if not stream:
                assert reply.json()["choices"][0]["message"]["content"] == f'You wrote: "{text}"'
                assert len(reply.headers["x-trustplane-receipt"]) > 100
        bad = httpx.post(f"{url}/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
        assert bad.status_code == 400
    assert all(MAIL not in r["raw"].decode() for r in upstream.state.received)
    for path in (tmp_path / "plane").rglob("*"):
        if path.is_file():
            assert b"kanarien" not in path.read_bytes(), path.name


def test_prompt_text() -> None:
    body = {"messages": [{"content": "a"}, {"content": None}, {"content": [{"type": "text", "text": "b"}]}]}
    assert prompt_text(body) == "a\nb"
    assert issubclass(ProxyRefusal, TrustplaneError)
