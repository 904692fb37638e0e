"""Evidence: the port through which the proxy leaves steps, and its use from async code."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import anyio
from anyio import to_thread

from trustplane.step import Step

__all__ = ["Evidence", "OpenRequest", "RequestLog"]


class RequestLog(Protocol):
    """One open request of the log. Each call may wait for the disk; the proxy calls from a thread."""

    def record(self, step: Step) -> None:
        """Add a step to the request."""

    def decide(self, result: str, output: Any = None) -> None:
        """Close with the decision: ``answered``, ``blocked``, ``failed`` or ``cancelled``."""

    def receipt(self) -> str:
        """Return a compact receipt of what was decided; after ``decide`` only."""


class OpenRequest(Protocol):
    """Opens a request in the log; ``input`` is the prompt, which the log commits to, not keeps."""

    def __call__(self, request_id: str, *, purpose: str, input: Any) -> AbstractContextManager[RequestLog]:
        """Return the context manager of a request; entering it may wait for the disk."""


class Evidence:
    """A :class:`RequestLog` for async code: every call runs in a thread and is finished once begun.

    A call that was begun is waited for even if the client hangs up, so that the log never sees half a
    request. Errors of the log pass through: the caller must then not answer.
    """

    def __init__(self, manager: AbstractContextManager[RequestLog], limiter: anyio.CapacityLimiter) -> None:
        self._manager = manager
        self._limiter = limiter
        self._log: RequestLog | None = None
        self.decided = False

    async def __aenter__(self) -> Evidence:
        self._log = await self._run(self._manager.__enter__)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._run(self._manager.__exit__, None, None, None)

    async def record(self, *steps: Step) -> None:
        """Add ``steps`` in order."""
        log = self._opened()

        def record_all() -> None:
            for step in steps:
                log.record(step)

        await self._run(record_all)

    async def decide(self, result: str, output: Any = None) -> str:
        """Close with a decision and return the receipt."""
        log = self._opened()

        def decide_once() -> str:
            log.decide(result, output)
            return log.receipt()

        self.decided = True
        receipt: str = await self._run(decide_once)
        return receipt

    def _opened(self) -> RequestLog:
        if self._log is None:
            raise RuntimeError("the request is not open")
        return self._log

    async def _run(self, function: Any, *arguments: Any) -> Any:
        with anyio.CancelScope(shield=True):
            return await to_thread.run_sync(function, *arguments, limiter=self._limiter)
