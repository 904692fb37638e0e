"""The stand-in: the vendors' own SDKs take what it answers, whole and streamed."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import anyio
import openai
import pytest

from trustplane.guard.proxy.standin import build_standin

from .servers import serve

TOOL = {"type": "object", "properties": {"text": {"type": "string"}}}
QUOTED = 'You wrote: "hello 你好"'
ASK: Any = [{"role": "user", "content": "hello 你好"}]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Any]]:
    app = build_standin()
    with serve(app) as url:
        yield url, app


@pytest.fixture(scope="module")
def client(served: tuple[str, Any]) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{served[0]}/v1", api_key="sk-test", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def claude(served: tuple[str, Any]) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=served[0], api_key="sk-test", max_retries=0) as made:
        yield made


def test_chat(client: Any) -> None:
    tools: Any = [{"type": "function", "function": {"name": "save", "parameters": TOOL}}]
    made = client.chat.completions.create(model="stand-in", messages=ASK, tools=tools, logprobs=True)
    assert made.choices[0].message.content == QUOTED
    assert json.loads(made.choices[0].message.tool_calls[0].function.arguments) == {"text": "hello 你好"}
    assert "".join(t.token for t in made.choices[0].logprobs.content) == QUOTED
    chunks = list(client.chat.completions.create(model="stand-in", messages=ASK, tools=tools, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == QUOTED


def test_completions(client: Any) -> None:
    made = client.completions.create(model="stand-in", prompt="hello 你好")
    assert made.choices[0].text == QUOTED
    chunks = client.completions.create(model="stand-in", prompt="hello 你好", stream=True)
    assert "".join(c.choices[0].text for c in chunks) == QUOTED


def test_responses(client: Any) -> None:
    tools: Any = [{"type": "function", "name": "save", "parameters": TOOL, "strict": True}]
    made = client.responses.create(model="stand-in", input="hello 你好", tools=tools)
    assert made.output_text == QUOTED and made.output[1].name == "save"
    with client.responses.stream(model="stand-in", input=ASK, tools=tools) as stream:
        events = list(stream)
        assert stream.get_final_response().output_text == QUOTED
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == QUOTED
    assert client.responses.input_tokens.count(model="stand-in", input="hello").input_tokens > 0


def test_small_ones(client: Any) -> None:
    assert len(client.embeddings.create(model="stand-in", input=["a", "b"]).data) == 2
    assert client.moderations.create(input="hello").results[0].flagged is False
    assert client.images.generate(prompt="a cat", model="stand-in").data[0].revised_prompt == 'You wrote: "a cat"'
    made = client.images.edit(image=("a.png", b"\x89PNG\r\n\x1a\n", "image/png"), prompt="a cat")
    assert made.data[0].revised_prompt == 'You wrote: "a cat"'
    assert client.audio.speech.create(model="stand-in", input="hello", voice="alloy").read()[:4] == b"RIFF"
    file = ("a.wav", b"RIFF", "audio/wav")
    assert client.audio.transcriptions.create(model="m", file=file, prompt="hello").text == 'You wrote: "hello"'
    events = client.audio.transcriptions.create(model="m", file=file, prompt="hello", stream=True)
    assert "".join(e.delta for e in events if e.type == "transcript.text.delta") == 'You wrote: "hello"'
    assert [m.id for m in client.models.list()] == ["stand-in"]


def test_files_and_batches(client: Any) -> None:
    line = {
        "custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "stand-in", "messages": ASK},
    }  # fmt: skip
    made = client.files.create(file=("b.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
    )
    assert client.batches.retrieve(batch.id).status == "completed"
    output = json.loads(client.files.content(batch.output_file_id).text)
    assert output["response"]["body"]["choices"][0]["message"]["content"] == QUOTED
    assert made.id in {f.id for f in client.files.list()}
    assert client.files.delete(made.id).deleted
    upload = client.uploads.create(bytes=3, filename="a.txt", mime_type="text/plain", purpose="assistants")
    part = client.uploads.parts.create(upload.id, data=b"abc")
    assert client.uploads.complete(upload.id, part_ids=[part.id]).id == upload.id


def test_kept_objects(client: Any) -> None:
    conversation = client.conversations.create(metadata={"a": "b"})
    assert client.conversations.retrieve(conversation.id).metadata == {"a": "b"}
    assert client.conversations.items.create(conversation.id, items=[{"type": "message", **ASK[0]}]).data
    store = client.vector_stores.create(name="notes")
    found = client.vector_stores.search(store.id, query="hello 你好")
    assert next(iter(found)).content[0].text == QUOTED
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve("conv_0")


def test_errors(client: Any, claude: Any) -> None:
    with pytest.raises(openai.RateLimitError, match="no answer to 'hello 你好'"):
        client.chat.completions.create(model="error-429", messages=ASK)
    with pytest.raises(anthropic.InternalServerError, match="no answer to 'hello 你好'"):
        claude.messages.create(model="error-500", messages=ASK, max_tokens=10)


def test_messages(claude: Any) -> None:
    tools: Any = [{"name": "save", "input_schema": TOOL}]
    made = claude.messages.create(model="stand-in", messages=ASK, max_tokens=99, tools=tools)
    assert made.content[0].text == QUOTED and made.content[1].input == {"text": "hello 你好"}
    with claude.messages.stream(model="stand-in", messages=ASK, max_tokens=99, tools=tools) as stream:
        assert "".join(stream.text_stream) == QUOTED
        assert stream.get_final_message().content[1].input == {"text": "hello 你好"}
    assert claude.messages.count_tokens(model="stand-in", messages=ASK).input_tokens > 0
    assert [m.id for m in claude.models.list()] == ["stand-in"]


def test_message_batches(claude: Any) -> None:
    params: Any = {"model": "stand-in", "max_tokens": 9, "messages": ASK}
    batch = claude.messages.batches.create(requests=[{"custom_id": "1", "params": params}])
    results = list(claude.messages.batches.results(batch.id))
    assert results[0].result.message.content[0].text == QUOTED
    assert claude.messages.batches.delete(batch.id).id == batch.id


@pytest.mark.parametrize("mcp_events", [False, True])
def test_mcp(mcp_events: bool) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def call(url: str) -> None:
        async with streamable_http_client(f"{url}/mcp") as streams, ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            assert [t.name for t in (await session.list_tools()).tools] == ["echo", "lookup"]
            result = await session.call_tool("echo", {"text": "hello"})
            assert "hello" in result.content[0].text  # type: ignore[union-attr]
            prompt = await session.get_prompt("quote", {"text": "hello"})
            assert "hello" in prompt.messages[0].content.text  # type: ignore[union-attr]
            assert "memo://1" in (await session.read_resource("memo://1")).contents[0].text  # type: ignore[union-attr,arg-type]

    with serve(build_standin(mcp_events=mcp_events)) as url:
        anyio.run(call, url)
