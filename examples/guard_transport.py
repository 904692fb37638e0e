"""The OpenAI SDK guarded inside the process, before a stand-in for the API: what it returns, what went out."""

import asyncio

import httpx2
from openai import AsyncOpenAI

import trustplane
from trustplane.guard.proxy.faces.transport import guarded_client
from trustplane.guard.proxy.standin import build_standin


async def main() -> None:
    standin = build_standin()
    with trustplane.open("plane") as plane:
        # Leave `inner` out and requests go to the real API.
        http = guarded_client(plane, asynchronous=True, inner=httpx2.ASGITransport(standin))
        client = AsyncOpenAI(http_client=http, api_key="k", base_url="http://api.example/v1")
        question = [{"role": "user", "content": "I am Alice Johnson, alice@example.com"}]

        answer = await client.chat.completions.create(model="m", messages=question)
        print("client:  ", answer.choices[0].message.content)

        stream = await client.chat.completions.create(model="m", messages=question, stream=True)
        streamed = "".join([event.choices[0].delta.content or "" async for event in stream if event.choices])
        assert streamed == answer.choices[0].message.content
        await http.aclose()
    sent = standin.state.received[0]["body"]["messages"][0]["content"]
    print("upstream:", sent)
    assert "alice@example.com" in streamed and "alice" not in sent.lower()


asyncio.run(main())
