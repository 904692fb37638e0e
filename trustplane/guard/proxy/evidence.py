"""Evidence: the port through which the proxy leaves steps, and its use from async code."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol, TypeVar

import anyio
from anyio import to_thread

from trustplane.step import Step

__all__ = ["Evidence", "OpenRequest", "RequestLog", "committable"]

T = TypeVar("T")


def committable(text: str) -> str:
    """Return ``text`` with surrogate pairs joined and lone surrogates as U+FFFD: what a log can commit to."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class RequestLog(Protocol):
    """One open request of the log. Each call may wait for the disk; the proxy calls from a thread."""

    def record(self, step: Step) -> None:
        """Add a step to the request."""

    def decide(self, output: Any = None, *, outcome: str = "decided") -> None:
        """Close with the decision: ``answered``, ``blocked``, ``failed`` or ``cancelled``."""

    def receipt(self) -> str:
        """Return a compact receipt of what was decided; after ``decide`` only."""


class OpenRequest(Protocol):
    """Opens a request in the log; ``input`` is the prompt, which the log commits to, not keeps."""

    def __call__(self, request_id: str, *, purpose: str, input: Any) -> AbstractContextManager[RequestLog]:  # noqa: A002
        """Return the context manager of a request; entering it may wait for the disk."""


class Evidence:
    """A :class:`RequestLog` for async code: every call runs in a thread and is finished once begun.

    A call that was begun is waited for even if the client hangs up, so that the log never sees half a
    request. Errors of the log pass through: the caller must then not answer.
    """

    def __init__(
        self, open_it: Callable[[], AbstractContextManager[RequestLog]], limiter: anyio.CapacityLimiter
    ) -> None:
        self._open_it = open_it
        self._limiter = limiter
        self._context = contextvars.copy_context()
        self._stack = ExitStack()
        self._log: RequestLog | None = None
        self.decided = False

    async def __aenter__(self) -> Evidence:
        self._log = await self._run(lambda: self._stack.enter_context(self._open_it()))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._run(self._stack.close)

    async def record(self, *steps: Step) -> None:
        """Add ``steps`` in order."""
        log = self._opened()

        def record_all() -> None:
            for step in steps:
                log.record(step)

        await self._run(record_all)

    async def decide(self, outcome: str, output: str | None = None) -> str:
        """Close with a decision and return the receipt."""
        log = self._opened()

        def decide_once() -> str:
            log.decide(None if output is None else committable(output), outcome=outcome)
            return log.receipt()

        self.decided = True
        return await self._run(decide_once)

    def _opened(self) -> RequestLog:
        if self._log is None:
            raise RuntimeError("the request is not open")
        return self._log

    async def _run(self, function: Callable[[], T]) -> T:
        with anyio.CancelScope(shield=True):  # one context for all calls: the log may keep context variables
            found = await to_thread.run_sync(lambda: self._context.run(function), limiter=self._limiter)
        return found  # noqa: RET504  the type checker thinks that the scope may swallow
