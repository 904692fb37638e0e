"""Real servers on loopback, and a request log that keeps its steps in a list."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import uvicorn

from trustplane.step import Step


@contextlib.contextmanager
def serve(app: Any) -> Iterator[str]:
    """Run an ASGI app on a free port of loopback; yield its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="auto", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


current: ContextVar[str] = ContextVar("current")


class ListLog:
    """The request log's port over lists; ``fail`` names a call that raises."""

    def __init__(self) -> None:
        self.requests: dict[str, dict[str, Any]] = {}
        self.fail = ""

    def __call__(self, request_id: str, *, purpose: str, input: Any) -> AbstractContextManager["Opened"]:  # noqa: A002
        return self._open(request_id, purpose, input)

    @contextlib.contextmanager
    def _open(self, request_id: str, purpose: str, text: Any) -> Iterator["Opened"]:
        self.check("open")
        token = current.set(request_id)  # as the real log does: leaving must happen in the same context
        self.requests[request_id] = {"purpose": purpose, "input": text, "steps": [], "decision": None, "output": None}
        try:
            yield Opened(self, self.requests[request_id], request_id)
        finally:
            current.reset(token)

    def check(self, call: str) -> None:
        if self.fail == call:
            raise OSError("disk full: canary")

    @property
    def steps(self) -> list[Step]:
        return [step for request in self.requests.values() for step in request["steps"]]

    @property
    def last(self) -> dict[str, Any]:
        return list(self.requests.values())[-1]


class Opened:
    def __init__(self, log: ListLog, request: dict[str, Any], request_id: str) -> None:
        self.log, self.request, self.request_id = log, request, request_id

    def record(self, step: Step) -> None:
        self.log.check("record:" + step.action)
        self.log.check("record")
        self.request["steps"].append(step)

    def decide(self, output: Any = None, *, outcome: str = "decided") -> None:
        self.log.check("decide")
        assert self.request["decision"] is None, "decided twice"
        self.request["decision"], self.request["output"] = outcome, output

    def receipt(self) -> str:
        assert self.request["decision"] is not None
        return f"receipt of {self.request_id}\n"


class House:
    """A proxy before an upstream app, both served."""

    def __init__(self, url: str, upstream: Any, upstream_url: str, log: ListLog) -> None:
        self.url, self.upstream, self.upstream_url, self.log = url, upstream, upstream_url, log

    @property
    def received(self) -> list[dict[str, Any]]:
        return self.upstream.state.received  # type: ignore[no-any-return]


Start = Callable[..., House]
