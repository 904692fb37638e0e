"""An own app that answers like an LLM API, with the guard before it: the app never sees what is personal."""

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import trustplane
from trustplane.guard.proxy.faces.middleware import GuardMiddleware

seen: list[str] = []


async def chat(request: Request) -> JSONResponse:
    """Answer as an LLM would; what arrives here could go to any model, cache or log."""
    text = (await request.json())["messages"][-1]["content"]
    seen.append(text)
    message = {"role": "assistant", "content": f'You wrote: "{text}"'}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return JSONResponse({"id": "c-1", "object": "chat.completion", "model": "m", "choices": [choice]})


async def main() -> None:
    app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
    with trustplane.open("plane") as plane:
        app.add_middleware(GuardMiddleware, plane=plane)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.example") as client:
            body = {"model": "m", "messages": [{"role": "user", "content": "I am Alice Johnson, alice@example.com"}]}
            reply = await client.post("/v1/chat/completions", json=body)
    print("client:", reply.json()["choices"][0]["message"]["content"])
    print("app:   ", seen[0])
    assert "alice@example.com" in reply.text and "alice" not in seen[0].lower()


asyncio.run(main())
