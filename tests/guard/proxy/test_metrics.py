"""What operators see: health, the start-up page, metrics, receipts, spans; behind a token and without content."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from trustplane.errors import InputError
from trustplane.guard.proxy import Gate
from trustplane.guard.proxy.faces.metrics import Metrics
from trustplane.guard.proxy.faces.pages import Pages, read_token
from trustplane.guard.proxy.faces.spans import Spans
from trustplane.guard.proxy.faces.upstream import open_upstreams
from trustplane.guard.text.guarded import Guarded
from trustplane.settings import ProxySettings

from .conftest import KEY
from .servers import House, Start

TOKEN = "operators-token-000001"
MAIL, CARD = "alice.canary@example.com", "4111 1111 1111 1111"


def ask(house: House, **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": f"{MAIL} pays by {CARD}"}], **more}
    headers = {"authorization": "Bearer key-canary-0001"}
    return httpx.post(f"{house.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def pages(guarded: Guarded, token: str = TOKEN, receipt: Any = None) -> Pages:
    gate = Gate(guarded, open_upstreams({"openai": "https://llm.example"}), ProxySettings(), KEY)
    return Pages(gate, token=token, receipt=receipt)


def get(house: House, path: str, token: str = TOKEN) -> httpx.Response:
    return httpx.get(house.url + path, headers={"authorization": f"Bearer {token}"}, timeout=30)


def test_pages_need_the_token(start: Start, guarded: Guarded) -> None:
    house = start(pages=pages(guarded))
    assert httpx.get(f"{house.url}/healthz").json() == {"status": "ok"}
    for path in ("/trustplane/", "/trustplane/metrics", "/trustplane/receipts/req-" + "0" * 24):
        for wrong in ("wrong", TOKEN + "x"):
            reply = get(house, path, wrong)
            assert reply.status_code == 401 and "www-authenticate" in reply.headers
        assert httpx.get(house.url + path).status_code == 401
    assert httpx.get(f"{house.url}/trustplane/", auth=("anyone", TOKEN)).status_code == 200
    assert get(house, "/trustplane/other").status_code == 404
    closed = start()
    for path in ("/trustplane", "/trustplane/", "/trustplane/metrics"):
        assert get(closed, path).status_code == 404 and httpx.get(closed.url + path).status_code == 404
    assert house.log.requests == {} and house.received == []


def test_the_page_says_what_is_on(start: Start, guarded: Guarded) -> None:
    house = start(pages=pages(guarded))
    ask(house)
    text = get(house, "/trustplane/").text
    for said in (guarded.policy.digest, "llm.example", "The filtering proxy is on", "过滤代理已开启", "zh-Hans"):
        assert said in text
    until(lambda: "chat.completions answered" in get(house, "/trustplane/").text)
    assert "canary" not in get(house, "/trustplane/").text


def until(done: Any) -> None:
    """Wait until ``done()``: some is counted when the answer is out already."""
    end = time.monotonic() + 10
    while not done() and time.monotonic() < end:
        time.sleep(0.01)
    assert done()


def values(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_and_hold_no_content(start: Start, guarded: Guarded) -> None:
    house = start(pages=pages(guarded))
    for stream in (False, True, False):
        assert ask(house, stream=stream).status_code == 200
    assert httpx.post(f"{house.url}/v1/unknown/alice.canary@example.com", json={}).status_code == 404
    until(lambda: values(get(house, "/trustplane/metrics").text)["trustplane_in_flight"] == 0)
    reply = get(house, "/trustplane/metrics")
    found = values(reply.text)
    assert found['trustplane_requests_total{endpoint="chat.completions",outcome="answered"}'] == 3
    assert found['trustplane_requests_total{endpoint="none",outcome="blocked"}'] == 1
    assert found['trustplane_findings_total{entity="EMAIL_ADDRESS"}'] == 3
    assert found['trustplane_findings_total{entity="CREDIT_CARD"}'] == 3
    assert found['trustplane_masked_total{where="request"}'] == 6 and found["trustplane_restored_total"] == 6
    assert found['trustplane_guard_seconds_count{part="request"}'] == 3
    assert found['trustplane_upstream_seconds_count{part="head"}'] == 3
    assert "canary" not in reply.text and "4111" not in reply.text and "key-" not in reply.text


def test_tenants_are_counted_only_if_asked_for(start: Start, guarded: Guarded) -> None:
    house = start(pages=pages(guarded), metrics=Metrics(tenants=True))
    ask(house)
    until(lambda: 'tenant="key-' in get(house, "/trustplane/metrics").text)


def test_receipts(start: Start, guarded: Guarded) -> None:
    known = "req-" + "a" * 24
    house = start(pages=pages(guarded, receipt=lambda name: "proof" if name == known else None))
    assert get(house, f"/trustplane/receipts/{known}").text == "proof"
    assert get(house, "/trustplane/receipts/req-" + "b" * 24).status_code == 404
    assert get(house, "/trustplane/receipts/../metrics").status_code in {200, 404}


def test_tokens(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    assert read_token(path) == TOKEN
    path.write_text("short")
    for bad in (path, tmp_path / "none"):
        with pytest.raises(InputError):
            read_token(bad)


def test_spans_follow_the_conventions_without_content(start: Start) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider, kept = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    house = start(spans=Spans(provider))
    assert ask(house).status_code == 200
    assert ask(house, model="error-429").status_code == 429
    until(lambda: len(kept.get_finished_spans()) == 2)
    fine, failed = kept.get_finished_spans()
    assert fine.name == "chat m" and fine.kind.name == "CLIENT"
    facts = dict(fine.attributes or {})
    assert facts["gen_ai.operation.name"] == "chat" and facts["gen_ai.provider.name"] == "openai"
    assert facts["gen_ai.request.model"] == "m" and facts["server.address"] == "127.0.0.1"
    assert facts["http.response.status_code"] == 200 and facts["trustplane.restored"] == 2
    assert failed.status.status_code.name == "ERROR" and dict(failed.attributes or {})["trustplane.outcome"] == "failed"
    assert "canary" not in fine.to_json() + failed.to_json() and "4111" not in fine.to_json()
