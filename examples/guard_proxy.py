"""The proxy as a server before a stand-in for an LLM API: what an SDK sees, what went out, what is logged."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from openai import OpenAI

import trustplane
from trustplane.guard.proxy.standin import build_standin


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an app on a free port of this machine; on the command line it is ``trustplane proxy``."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


standin = build_standin()
with trustplane.open("plane") as plane, served(standin) as upstream:
    with served(plane.proxy_app({"openai": upstream})) as proxy:
        client = OpenAI(base_url=f"{proxy}/v1", api_key="k")
        question = {"role": "user", "content": "I am Alice Johnson, alice@example.com"}
        reply = client.chat.completions.with_raw_response.create(model="m", messages=[question])
    request_id = reply.headers["x-trustplane-request-id"]
    document, _ = plane.log.export(request_id)

answer = reply.parse().choices[0].message.content
sent = standin.state.received[0]["body"]["messages"][0]["content"]
print("client:  ", answer)
print("upstream:", sent)
for step in document["inference_steps"]:
    print("step:    ", step["action"], step["result"])
assert "alice@example.com" in answer and "alice" not in sent.lower()
