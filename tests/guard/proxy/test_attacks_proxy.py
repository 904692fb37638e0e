"""What an operator's bad day did to the proxy: a full disk, a stop meanwhile, a mode that is not allowed."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from trustplane.errors import InputError
from trustplane.guard.proxy.faces import evidence as evidence_module
from trustplane.guard.proxy.faces.access import Access
from trustplane.guard.proxy.faces.evidence import Evidence
from trustplane.guard.proxy.faces.transport import guarded_client

from .servers import Start

TENANT = f'[tenants.north]\nkeys = ["sha256:{"0" * 64}"]\ncontent = "sealed"\n'


class FullDisk:
    """A log that takes decisions and never proves them, as on a disk that is full."""

    prompt = True

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    @contextlib.contextmanager
    def __call__(self, request_id: str, **_more: Any) -> Any:
        yield self

    def record(self, step: Any) -> None:
        """Take a step."""

    def decide(self, output: Any = None, *, outcome: str = "decided") -> None:
        """Take the decision."""

    def when_proved(self, call: Any) -> None:
        self.waiting.append(call)


def test_a_decision_that_is_never_proved_does_not_hang(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "PROOF_SECONDS", 0.2)
    body = {"model": "m", "messages": [{"role": "user", "content": "I am Alice Johnson"}]}
    reply = httpx.post(f"{start(log=FullDisk()).url}/v1/chat/completions", json=body, timeout=30)
    assert reply.status_code == 503 and reply.json()["error"]["code"] == "guard.proxy.log"
    assert "alice" not in reply.text.lower()


def test_a_proof_after_the_end_of_the_server_is_dropped() -> None:
    log = FullDisk()

    async def run() -> None:
        evidence = Evidence(log, "req-1")
        await evidence.open("x", "chat")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await evidence.decide("answered", "x")

    asyncio.run(run())
    log.waiting[0]("", None)  # the writer's thread must not die of it


def test_a_content_mode_that_is_not_allowed_is_an_error_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    path.write_text(TENANT)
    access = Access.load(path, key=bytes(32))
    access.check({}, modes={"digest", "sealed"})
    with pytest.raises(InputError, match="north has content = 'sealed'") as refused:
        access.check({}, modes={"digest"})
    assert "content.allow" in refused.value.hint


def test_an_unknown_library_is_named() -> None:
    with pytest.raises(InputError) as refused:
        guarded_client(library="requests")  # type: ignore[arg-type]
    assert "httpx2 or httpx" in refused.value.hint
