"""The transports by themselves: what they take, how they fail, what they leave in the log."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

import trustplane
from trustplane.errors import InputError
from trustplane.guard.proxy.faces.transport import AsyncGuardTransport, GuardTransport, guarded_client
from trustplane.guard.proxy.standin import build_standin, reply_of
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy
from trustplane.settings import ProxySettings

from .faulty import Fault, faulty
from .fronts import API_KEY, KEY, LIBRARIES, PROMPT
from .servers import ListLog, serve

MAIL = "alice.canary@example.com"
ASK: Any = [{"role": "user", "content": f"write to {MAIL}"}]
URL = "http://upstream.example/v1"
Made = Callable[..., dict[str, Any]]


@pytest.fixture(params=LIBRARIES)
def library(request: Any) -> ModuleType:
    return LIBRARIES[request.param]  # type: ignore[no-any-return]


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture
def options(guarded: Guarded, log: ListLog) -> dict[str, Any]:
    return {"guarded": guarded, "open_request": log, "key": KEY}


class Inner:
    """The network: takes what is sent, answers with what is given."""

    def __init__(self, library: Any, answer: Callable[[Any], Any]) -> None:
        self.library, self.answer = library, answer
        self.requests: list[Any] = []

    def handle_request(self, request: Any) -> Any:
        self.requests.append(request)
        return self.answer(request)

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)

    def close(self) -> None: ...


def echo(library: Any) -> Inner:
    """A network that quotes the last message."""

    def answer(request: Any) -> Any:
        asked = json.loads(request.content)
        return library.Response(200, json=reply_of("chat.completions", asked, asked["messages"][-1]["content"]))

    return Inner(library, answer)


def sdk(library: Any, transport: Any, **more: Any) -> openai.OpenAI:
    client = library.Client(transport=transport)
    return openai.OpenAI(base_url=URL, api_key=API_KEY, max_retries=0, http_client=client, **more)


def test_what_it_needs(guarded: Guarded, log: ListLog) -> None:
    for missing in ({}, {"guarded": guarded}, {"open_request": log}):
        with pytest.raises(InputError, match="plane"):
            GuardTransport(**missing)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="32 bytes"):
        GuardTransport(guarded=guarded, open_request=log, key=b"short")
    for past in ("mounts", "proxy", "transport"):
        with pytest.raises(InputError, match=past):
            guarded_client(guarded=guarded, open_request=log, **{past: {"http://": None}})
    assert "canary" not in repr(GuardTransport(guarded=guarded, open_request=log))


def test_both_libraries_and_what_is_sent(library: Any, options: dict[str, Any], log: ListLog) -> None:
    inner = echo(library)
    with sdk(library, GuardTransport(inner=inner, **options), timeout=7.5, default_headers={"x-note": MAIL}) as client:
        made = client.chat.completions.create(model="m", messages=ASK)
    assert made.choices[0].message.content == f"write to {MAIL}"
    sent = inner.requests[0]
    assert type(sent).__module__.partition(".")[0] == library.__name__
    assert "canary" not in repr(sent.headers) and sent.headers["authorization"] == f"Bearer {API_KEY}"
    assert sent.extensions["timeout"]["read"] == 7.5 and str(sent.url) == f"{URL}/chat/completions"
    assert b"canary" not in sent.content and sent.headers["content-length"] == str(len(sent.content))
    assert log.last["decision"] == "answered" and log.last["input"].endswith(MAIL)


def test_a_guarded_client(options: dict[str, Any], library: Any) -> None:
    with serve(build_standin()) as url:
        client = guarded_client(library=library.__name__, timeout=30, **options)
        with openai.OpenAI(base_url=f"{url}/v1", api_key=API_KEY, http_client=client) as made:
            found = made.chat.completions.create(model="m", messages=ASK)
        assert MAIL in str(found.choices[0].message.content)

        async def ask() -> None:
            client = guarded_client(library=library.__name__, asynchronous=True, **options)
            async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=API_KEY, http_client=client) as made:
                found = await made.chat.completions.create(model="m", messages=ASK)
            assert MAIL in str(found.choices[0].message.content)

        asyncio.run(ask())


def test_a_body_that_comes_in_pieces(library: Any, options: dict[str, Any]) -> None:
    inner = echo(library)
    data = json.dumps({"model": "m", "messages": ASK}).encode()
    pieces = (data[i : i + 3] for i in range(0, len(data), 3))
    headers = {"content-type": "application/json"}
    with library.Client(transport=GuardTransport(inner=inner, **options)) as client:
        reply = client.post(f"{URL}/chat/completions", content=pieces, headers=headers)
    assert reply.status_code == 200 and b"canary" not in inner.requests[0].content

    async def later() -> None:
        async def each() -> Any:
            for start in range(0, len(data), 3):
                yield data[start : start + 3]

        transport = AsyncGuardTransport(inner=inner, **options)
        async with library.AsyncClient(transport=transport) as client:
            reply = await client.post(f"{URL}/chat/completions", content=each(), headers=headers)
            assert reply.status_code == 200

    inner.aclose = lambda: asyncio.sleep(0)  # type: ignore[attr-defined]
    asyncio.run(later())
    assert b"canary" not in inner.requests[1].content


def test_the_same_value_has_the_same_pseudonym_in_every_turn(library: Any, options: dict[str, Any]) -> None:
    inner = echo(library)
    with sdk(library, GuardTransport(inner=inner, **options)) as client:
        for _ in range(2):
            client.chat.completions.create(model="m", messages=ASK)
    assert inner.requests[0].content == inner.requests[1].content


def test_a_policy_that_blocks(library: Any, guarded: Guarded, log: ListLog) -> None:
    text = 'name = "p"\nversion = "1"\n[defaults]\nout = "block"\nin = "mask"\n'
    inner = echo(library)
    transport = GuardTransport(guarded=Guarded(Policy.parse(text), guarded.guard), open_request=log, inner=inner)
    with sdk(library, transport) as client, pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(model="m", messages=ASK)
    assert str(refused.value.code).startswith("guard.") and MAIL not in str(refused.value)
    with (
        anthropic.Anthropic(
            base_url=URL[:-3], api_key=API_KEY, http_client=httpx2.Client(transport=transport)
        ) as claude,
        pytest.raises(anthropic.PermissionDeniedError) as refused_too,
    ):
        claude.messages.create(model="m", messages=ASK, max_tokens=9)
    assert "guard." in str(refused_too.value) and MAIL not in str(refused_too.value)
    assert inner.requests == [] and log.last["decision"] == "blocked"


@pytest.mark.parametrize("call", ["open", "record", "record:guard.proxy.sent", "record:guard.proxy.replied", "decide"])
def test_no_log_no_answer(call: str, library: Any, options: dict[str, Any], log: ListLog) -> None:
    inner = echo(library)
    log.fail = call
    with sdk(library, GuardTransport(inner=inner, **options)) as client:
        with pytest.raises(openai.InternalServerError) as refused:
            client.chat.completions.create(model="m", messages=ASK)
        assert refused.value.status_code == 503 and refused.value.code == "guard.proxy.log"
        assert "canary" not in str(refused.value)
        assert bool(inner.requests) == (call in {"record:guard.proxy.replied", "decide"})
        log.fail = ""
        assert client.chat.completions.create(model="m", messages=ASK).choices[0].message.content


def test_an_upstream_that_is_not_there(library: Any, options: dict[str, Any], log: ListLog) -> None:
    def fail(error: Exception) -> Any:
        def answer(_request: Any) -> Any:
            raise error

        return Inner(library, answer)

    cases: list[tuple[Exception, type[Exception]]] = [
        (library.ConnectError(f"no {MAIL}"), openai.APIConnectionError),
        (library.ReadTimeout(f"no {MAIL}"), openai.APITimeoutError),
        (ValueError(f"no {MAIL}"), openai.APIConnectionError),
    ]
    for error, expected in cases:
        with sdk(library, GuardTransport(inner=fail(error), **options)) as client, pytest.raises(expected) as raised:
            client.chat.completions.create(model="m", messages=ASK)
        cause: BaseException | None = raised.value
        while cause is not None:
            assert "canary" not in str(cause)
            cause = cause.__cause__ or cause.__context__
        assert log.last["decision"] == "failed"


CHUNK = {
    "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m",
    "choices": [{"index": 0, "delta": {"content": "hi "}}],
}  # fmt: skip
EVENT = b"data: " + json.dumps(CHUNK).encode() + b"\n\n"
STREAM = Fault([EVENT] * 2000, headers=(("content-type", "text/event-stream"),), pause=0.01)


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    assert what()


def test_hanging_up_ends_the_call(library: Any, options: dict[str, Any], log: ListLog) -> None:
    with faulty(STREAM) as upstream:
        client = library.Client(transport=GuardTransport(**options), timeout=30)
        with openai.OpenAI(base_url=f"{upstream.url}/v1", api_key=API_KEY, http_client=client) as made:
            with made.chat.completions.create(model="m", messages=ASK, stream=True) as stream:
                assert next(text for chunk in stream if (text := chunk.choices[0].delta.content)).startswith("hi")
            assert log.last["decision"] == "cancelled"
            wait_for(upstream.ended.is_set)


def test_cancelling_ends_the_call(library: Any, options: dict[str, Any], log: ListLog) -> None:
    async def ask(url: str) -> None:
        client = library.AsyncClient(transport=AsyncGuardTransport(**options), timeout=30)
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=API_KEY, http_client=client) as made:

            async def read() -> None:
                async with await made.chat.completions.create(model="m", messages=ASK, stream=True) as stream:
                    async for _ in stream:
                        begun.set()

            begun = asyncio.Event()
            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with faulty(STREAM) as upstream:
        asyncio.run(ask(upstream.url))
        assert log.last["decision"] == "cancelled"
        wait_for(upstream.ended.is_set)
    slow = Fault([b"x"], pause=30, length=1)

    async def give_up(url: str) -> None:
        client = library.AsyncClient(transport=AsyncGuardTransport(**options), timeout=30)
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=API_KEY, http_client=client) as made:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await made.chat.completions.create(model="m", messages=ASK)

    with faulty(slow) as upstream:
        asyncio.run(give_up(upstream.url))
        assert log.last["decision"] == "cancelled"


def test_many_threads_share_one_transport(library: Any, options: dict[str, Any], log: ListLog) -> None:
    inner, wrong = echo(library), []
    with sdk(library, GuardTransport(inner=inner, **options)) as client:

        def work(number: int) -> None:
            for turn in range(5):
                text = f"write to user{number}x{turn}.canary@example.com"
                asked: Any = [{"role": "user", "content": text}]
                made = client.chat.completions.create(model="m", messages=asked)
                if made.choices[0].message.content != text:
                    wrong.append(text)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == [] and len(log.requests) == 40
    assert all(b"canary" not in request.content for request in inner.requests)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: Any) -> Iterator[trustplane.Plane]:
    with trustplane.open(tmp_path_factory.mktemp("plane")) as opened:
        yield opened


def test_a_plane_is_all_it_takes(plane: Any, library: Any) -> None:
    inner = echo(library)
    with sdk(library, GuardTransport(plane, inner=inner)) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": PROMPT}]
        )
    assert raw.parse().choices[0].message.content == PROMPT
    assert b"canary" not in inner.requests[0].content
    receipt = raw.headers["x-trustplane-receipt"]
    assert base64.urlsafe_b64decode(receipt + "=" * (-len(receipt) % 4))
    plane.log.flush()
    for path in plane.folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert b"canary" not in data and API_KEY.encode() not in data and "欧阳".encode() not in data, path
    with pytest.raises(InputError, match="a plane has"):
        GuardTransport(plane, settings=ProxySettings())


def test_a_fork_gets_threads_of_its_own(options: dict[str, Any]) -> None:
    import os
    import warnings

    transport = GuardTransport(inner=echo(httpx2), **options)
    with sdk(httpx2, transport) as client:
        client.chat.completions.create(model="m", messages=ASK)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            fine = False
            try:
                made = client.chat.completions.create(model="m", messages=ASK)
                fine = made.choices[0].message.content == f"write to {MAIL}"
            finally:
                os._exit(0 if fine else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_requests_of_neither_library(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="neither"):
        GuardTransport(**options).handle_request(object())
    assert httpx.__name__ == "httpx"
