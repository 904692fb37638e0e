"""The vendors' own SDKs, unchanged, through the proxy, the transport and the middleware."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from pydantic import BaseModel

from trustplane.guard.proxy.standin import build_standin
from trustplane.guard.text.guarded import Guarded

from .fronts import CANARIES, LIBRARIES, PROMPT, Front, front

QUOTED = f'You wrote: "{PROMPT}"'
ASK: Any = [{"role": "user", "content": PROMPT}]
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "description": "of alice.canary@example.com"}}}
TOOLS: Any = [{"type": "function", "function": {"name": "save", "description": PROMPT, "parameters": SCHEMA}}]
MAIL = "alice.canary@example.com"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(24)


@pytest.fixture(scope="module", params=["proxy", "transport", "middleware"])
def face(request: Any, guarded: Guarded) -> Iterator[Front]:
    with front(request.param, guarded, build_standin(), media="pass", max_body_bytes=1 << 20) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_leaked(face: Front) -> Iterator[None]:
    face.received.clear()
    face.log.requests.clear()
    yield
    face.nothing_leaked()
    for request in face.log.requests.values():
        assert request["decision"] in {"answered", "blocked", "failed"}, request


@pytest.fixture(params=["httpx2", "httpx"])
def client(request: Any, face: Front) -> Iterator[openai.OpenAI]:
    with face.openai(LIBRARIES[request.param]) as made:
        yield made


@pytest.fixture
def claude(face: Front) -> Iterator[anthropic.Anthropic]:
    with face.anthropic() as made:
        yield made


# ── OpenAI ──────────────────────────────────────────────────────────────────────────────────────────────


def test_chat(client: Any, face: Front) -> None:
    made = client.chat.completions.create(model="stand-in", messages=ASK, tools=TOOLS, user=MAIL, stop=[MAIL])
    assert made.choices[0].message.content == QUOTED
    call = made.choices[0].message.tool_calls[0]
    assert call.function.name == "save" and json.loads(call.function.arguments) == {"text": PROMPT}
    history: Any = [
        {"role": "system", "content": f"You serve {MAIL}."},
        *ASK,
        made.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"saved": PROMPT}, ensure_ascii=False)},
        {"role": "user", "content": [{"type": "text", "text": PROMPT}]},
    ]
    again = client.chat.completions.create(model="stand-in", messages=history, metadata={MAIL: MAIL})
    assert again.choices[0].message.content == QUOTED
    raw = client.chat.completions.with_raw_response.create(model="stand-in", messages=ASK)
    assert raw.headers["x-trustplane-receipt"] and raw.headers["x-trustplane-request-id"].startswith("req-")
    assert raw.parse().choices[0].message.content == QUOTED


def test_chat_streamed(client: Any) -> None:
    with client.chat.completions.create(model="stand-in", messages=ASK, tools=TOOLS, stream=True) as stream:
        chunks = list(stream)
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    assert "".join(d.content or "" for d in deltas) == QUOTED
    arguments = "".join(t.function.arguments or "" for d in deltas for t in d.tool_calls or ())
    assert json.loads(arguments) == {"text": PROMPT}
    with client.chat.completions.stream(model="stand-in", messages=ASK) as stream:
        assert stream.get_final_completion().choices[0].message.content == QUOTED


class Saved(BaseModel):
    text: str


def test_chat_parsed_and_logprobs(client: Any) -> None:
    tools: Any = [openai.pydantic_function_tool(Saved)]
    made = client.chat.completions.parse(model="stand-in", messages=ASK, tools=tools)
    assert made.choices[0].message.tool_calls[0].function.parsed_arguments == Saved(text=PROMPT)
    made = client.chat.completions.create(model="stand-in", messages=[{"role": "user", "content": "hi"}], logprobs=True)
    assert made.choices[0].message.content == 'You wrote: "hi"'


def test_completions(client: Any) -> None:
    assert client.completions.create(model="stand-in", prompt=PROMPT).choices[0].text == QUOTED
    chunks = client.completions.create(model="stand-in", prompt=PROMPT, stream=True)
    assert "".join(c.choices[0].text for c in chunks if c.choices) == QUOTED


def test_responses(client: Any) -> None:
    tools: Any = [{"type": "function", "name": "save", "parameters": SCHEMA, "strict": False}]
    made = client.responses.create(model="stand-in", input=PROMPT, instructions=PROMPT, tools=tools, store=True)
    assert made.output_text == QUOTED
    assert json.loads(made.output[1].arguments) == {"text": PROMPT}
    with client.responses.stream(model="stand-in", input=ASK, tools=tools) as stream:
        events = list(stream)
        assert stream.get_final_response().output_text == QUOTED
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == QUOTED
    arguments = "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
    assert json.loads(arguments) == {"text": PROMPT}
    stream = client.responses.create(model="stand-in", input=PROMPT, stream=True)
    assert [e.response.output_text for e in stream if e.type == "response.completed"] == [QUOTED]
    assert client.responses.input_tokens.count(model="stand-in", input=PROMPT).input_tokens > 0


def test_small_endpoints(client: Any) -> None:
    assert len(client.embeddings.create(model="stand-in", input=[PROMPT, "b"]).data) == 2
    assert client.moderations.create(input=PROMPT).results[0].flagged is False
    assert client.images.generate(prompt=PROMPT, model="stand-in").data[0].revised_prompt == QUOTED
    made = client.images.edit(image=("a.png", PNG, "image/png"), prompt=PROMPT, model="stand-in")
    assert made.data[0].revised_prompt == QUOTED
    file = ("a.wav", WAV, "audio/wav")
    assert client.audio.transcriptions.create(model="stand-in", file=file, prompt=PROMPT).text == QUOTED
    events = client.audio.transcriptions.create(model="stand-in", file=file, prompt=PROMPT, stream=True)
    assert "".join(e.delta for e in events if e.type == "transcript.text.delta") == QUOTED
    assert client.audio.translations.create(model="stand-in", file=file, prompt=PROMPT).text == QUOTED
    assert client.audio.speech.create(model="stand-in", input=PROMPT, voice="alloy").read()[:4] == b"RIFF"
    assert [m.id for m in client.models.list()] == ["stand-in"]


def test_files_and_batches(client: Any, face: Front) -> None:
    lines = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "stand-in", "messages": ASK}}
        for number in range(2)
    ]  # fmt: skip
    data = "".join(json.dumps(line, ensure_ascii=bool(n)) + "\n" for n, line in enumerate(lines)).encode()
    made = client.files.create(file=("requests.jsonl", data), purpose="batch")
    batch = client.batches.create(
        input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"of": MAIL}
    )
    assert batch.metadata == {"of": MAIL}
    found = client.batches.retrieve(batch.id)
    assert found.status == "completed"
    output = [json.loads(line) for line in client.files.content(found.output_file_id).text.splitlines()]
    assert [line["response"]["body"]["choices"][0]["message"]["content"] for line in output] == [QUOTED, QUOTED]
    assert made.id in {f.id for f in client.files.list()} and client.files.delete(made.id).deleted


def test_kept_objects(client: Any) -> None:
    conversation = client.conversations.create(metadata={"of": MAIL})
    assert client.conversations.retrieve(conversation.id).metadata == {"of": MAIL}
    assert client.conversations.items.create(conversation.id, items=[{"type": "message", **ASK[0]}]).data
    store = client.vector_stores.create(name=f"notes of {MAIL}")
    assert next(iter(client.vector_stores.search(store.id, query=PROMPT))).content[0].text == QUOTED


def test_benign_calls_are_unchanged(client: Any, face: Front) -> None:
    messages: Any = [{"role": "user", "content": "Which planets have rings? 哪些行星有光环？"}]
    asked = {"model": "stand-in", "messages": messages, "temperature": 0.5, "max_tokens": 100, "seed": 1391111222}
    made = client.chat.completions.create(**asked, tools=[{"type": "function", "function": {"name": "f"}}])
    assert made.choices[0].message.content == 'You wrote: "Which planets have rings? 哪些行星有光环？"'
    assert face.received[-1]["body"] == {**asked, "tools": [{"type": "function", "function": {"name": "f"}}]}


def test_errors(client: Any, face: Front) -> None:
    with pytest.raises(openai.RateLimitError, match="no answer to") as limited:
        client.chat.completions.create(model="error-429", messages=ASK)
    assert MAIL in str(limited.value) and limited.value.response.headers["retry-after"] == "1"
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve("conv_0")
    seen = len(face.received)
    with pytest.raises(openai.APIStatusError) as refused:
        client.post("/fine_tuning/nothing", body={"x": MAIL}, cast_to=object)
    if face.kind != "middleware":  # there the path is the app's own
        assert refused.value.status_code == 404 and refused.value.code == "guard.proxy.route"
        assert MAIL not in str(refused.value) and len(face.received) == seen
    else:
        face.received.clear()
        client.embeddings.create(model="stand-in", input="a")
    with pytest.raises(openai.APIStatusError) as large:
        client.embeddings.create(model="stand-in", input="x" * (1 << 20))
    assert large.value.status_code == 413 and large.value.code == "guard.proxy.size"


# ── OpenAI, async ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("library", [httpx2, httpx])
def test_async_openai(face: Front, library: Any) -> None:
    async def one(client: Any, number: int) -> None:
        mine = f"{PROMPT} number {number}"
        asked: Any = [{"role": "user", "content": mine}]
        if number % 2:
            made = await client.chat.completions.create(model="stand-in", messages=asked)
            assert made.choices[0].message.content == f'You wrote: "{mine}"'
        else:
            stream = await client.chat.completions.create(model="stand-in", messages=asked, stream=True)
            text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
            assert text == f'You wrote: "{mine}"'

    async def everything() -> None:
        async with face.async_openai(library) as client:
            async with asyncio.TaskGroup() as group:
                for number in range(10):
                    group.create_task(one(client, number))
            made = await client.responses.create(model="stand-in", input=PROMPT)
            assert made.output_text == QUOTED
            async with client.responses.stream(model="stand-in", input=PROMPT) as stream:
                assert (await stream.get_final_response()).output_text == QUOTED
            assert len((await client.embeddings.create(model="stand-in", input=PROMPT)).data) == 1
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(model="error-429", messages=ASK)

    asyncio.run(everything())


# ── Anthropic ───────────────────────────────────────────────────────────────────────────────────────────

CLAUDE_TOOLS: Any = [{"name": "save", "description": PROMPT, "input_schema": SCHEMA}]


def test_messages(claude: Any) -> None:
    made = claude.messages.create(
        model="stand-in", messages=ASK, max_tokens=99, tools=CLAUDE_TOOLS, system=PROMPT, metadata={"user_id": MAIL}
    )
    assert made.content[0].text == QUOTED and made.content[1].input == {"text": PROMPT}
    history: Any = [
        *ASK,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in made.content]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": made.content[1].id, "content": [{"type": "text", "text": PROMPT}]},
            {"type": "text", "text": PROMPT},
        ]},
    ]  # fmt: skip
    again = claude.messages.create(model="stand-in", messages=history, max_tokens=99, stop_sequences=[MAIL])
    assert again.content[0].text == f'You wrote: "{PROMPT} {PROMPT}"'
    assert claude.messages.count_tokens(model="stand-in", messages=history, system=PROMPT).input_tokens > 0
    assert [m.id for m in claude.models.list()] == ["stand-in"]


def test_messages_streamed(claude: Any) -> None:
    with claude.messages.stream(model="stand-in", messages=ASK, max_tokens=99, tools=CLAUDE_TOOLS) as stream:
        assert "".join(stream.text_stream) == QUOTED
        assert stream.get_final_message().content[1].input == {"text": PROMPT}
    events = list(claude.messages.create(model="stand-in", messages=ASK, max_tokens=99, stream=True))
    text = "".join(e.delta.text for e in events if e.type == "content_block_delta" and e.delta.type == "text_delta")
    assert text == QUOTED and events[-1].type == "message_stop"


def test_message_batches(claude: Any) -> None:
    params: Any = {"model": "stand-in", "max_tokens": 9, "messages": ASK}
    batch = claude.messages.batches.create(requests=[{"custom_id": "1", "params": params}])
    assert claude.messages.batches.retrieve(batch.id).processing_status == "ended"
    results = list(claude.messages.batches.results(batch.id))
    assert results[0].result.message.content[0].text == QUOTED


def test_anthropic_errors(claude: Any, face: Front) -> None:
    with pytest.raises(anthropic.RateLimitError, match="no answer to") as limited:
        claude.messages.create(model="error-429", messages=ASK, max_tokens=9)
    assert MAIL in str(limited.value)
    with pytest.raises(anthropic.APIStatusError) as large:
        claude.messages.create(model="stand-in", messages=[{"role": "user", "content": "x" * (1 << 20)}], max_tokens=9)
    assert large.value.status_code == 413 and large.value.body["error"]["type"] == "request_too_large"
    assert "guard.proxy.size" in str(large.value)


def test_async_anthropic(face: Front) -> None:
    async def everything() -> None:
        async with face.async_anthropic() as client:
            made = await client.messages.create(model="stand-in", messages=ASK, max_tokens=9)
            assert made.content[0].text == QUOTED  # type: ignore[union-attr]
            async with client.messages.stream(model="stand-in", messages=ASK, max_tokens=9) as stream:
                assert "".join([text async for text in stream.text_stream]) == QUOTED

    asyncio.run(everything())


# ── MCP ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("events", [False, True])
def test_mcp(face: Front, events: bool) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def call() -> None:
        face.standin.state.mcp_events = events
        async with (
            face.async_client(api="mcp") as http,
            streamable_http_client(f"{face.url}/mcp", http_client=http) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            assert [t.name for t in (await session.list_tools()).tools] == ["echo", "lookup"]
            result: Any = await session.call_tool("echo", {"text": PROMPT, "deep": {"list": [MAIL]}})
            assert result.structured_content == {"text": PROMPT, "deep": {"list": [MAIL]}}
            assert all(canary in result.content[0].text for canary in CANARIES)
            prompt: Any = await session.get_prompt("quote", {"text": PROMPT})
            assert all(canary in prompt.messages[0].content.text for canary in CANARIES)

    asyncio.run(call())
