"""Evidence: the port through which the proxy leaves steps, and its use from async code."""

from __future__ import annotations

import asyncio
import base64
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, Protocol, TypeVar

from trustplane.step import Step

__all__ = ["Evidence", "OpenRequest", "PromptLog", "RequestLog", "committable", "encode_receipt"]

T = TypeVar("T")

LOG_THREADS = 64
PROOF_SECONDS = 30.0
"""How long an answer waits for its receipt: a disk that is full takes the decision later, or never."""


def committable(text: str) -> str:
    """Return ``text`` with surrogate pairs joined and lone surrogates as U+FFFD: what a log can commit to."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encode_receipt(receipt: str) -> str:
    """Return a receipt as it stands in a header: base64url without padding."""
    return base64.urlsafe_b64encode(receipt.encode()).rstrip(b"=").decode()


class RequestLog(Protocol):
    """One open request of the log. Each call may wait for the disk, so async code calls from a thread."""

    def record(self, step: Step) -> None:
        """Add a step to the request."""

    def decide(self, output: Any = None, *, outcome: str = "decided") -> None:
        """Close with the decision: ``answered``, ``blocked``, ``failed`` or ``cancelled``."""

    def receipt(self) -> str:
        """Return a compact receipt of what was decided; after ``decide`` only."""


class PromptLog(RequestLog, Protocol):
    """A log whose ``record`` and ``decide`` only enqueue, so that async code needs no thread for them.

    A log is taken for one if it has :meth:`when_proved`.
    """

    def when_proved(self, call: Callable[[str, Exception | None], None]) -> None:
        """Call back from any thread, once: the receipt when the decision is durable and signed, or what failed."""

    def promise(self) -> str:
        """Return the log's signed promise that the decision will be in it; does not wait."""


class OpenRequest(Protocol):
    """Opens a request in the log; ``input`` is the prompt, which the log commits to, not keeps.

    A content mode is given as ``mode=`` where a tenant has one of its own.
    """

    def __call__(self, request_id: str, *, purpose: str, input: Any) -> AbstractContextManager[RequestLog]:  # noqa: A002
        """Return the context manager of a request; entering it may wait for the disk."""


class Evidence:
    """The log of one exchange, for async code. Errors of the log pass through: the caller must then not answer.

    Calls of a log that may wait run in a thread, one after the other, and are finished once begun, even if the
    client hangs up, so that the log never sees half a request. ``promise``: receipts are promises where the log can
    give them.
    """

    def __init__(self, open_request: OpenRequest, request_id: str, *, promise: bool = False, mode: str = "") -> None:
        self._open_request, self._id, self._promise, self._mode = open_request, request_id, promise, mode
        self._prompt = getattr(open_request, "prompt", False) is True
        self._context: contextvars.Context | None = None
        self._stack: ExitStack | None = None
        self._log: Any = None
        self.decided = False

    def __repr__(self) -> str:
        return f"Evidence({self._id})"

    async def open(self, text: str, purpose: str) -> None:
        """Open the request."""
        stack = self._stack = ExitStack()
        more = {"mode": self._mode} if self._mode else {}

        def enter() -> Any:
            return stack.enter_context(self._open_request(self._id, purpose=purpose, input=committable(text), **more))

        self._log = await self._run(enter)

    async def note(self, steps: Sequence[Step]) -> None:
        """Add steps in order."""
        log = self._opened()
        if self._prompt:
            for step in steps:
                log.record(step)
        else:
            await self._run(lambda: [log.record(step) for step in steps])

    async def decide(self, outcome: str, output: str | None, *, receipt: bool = True) -> str:
        """Close with a decision and return the receipt, ``""`` where nobody waits for it.

        Raises:
            TimeoutError: the log does not prove the decision in time.
        """
        log = self._opened()
        self.decided = True
        value = None if output is None else committable(output)
        if not self._prompt:

            def decide() -> str:
                log.decide(value, outcome=outcome)
                return str(log.receipt()) if receipt else ""

            return await self._run(decide)
        log.decide(value, outcome=outcome)
        if not receipt:
            return ""
        if self._promise:
            return str(log.promise())
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[str] = loop.create_future()

        def proved(receipt: str, error: Exception | None) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
                loop.call_soon_threadsafe(_settle, waiting, receipt, error)

        log.when_proved(proved)
        async with asyncio.timeout(PROOF_SECONDS):
            return await waiting

    async def close(self) -> None:
        """Leave the request; one without a decision is recorded as such."""
        if self._stack is not None:
            await self._run(self._stack.close)

    def _opened(self) -> Any:
        if self._log is None:
            raise RuntimeError("the request is not open")
        return self._log

    async def _run(self, function: Callable[[], T]) -> T:
        if self._prompt:
            return function()
        if self._context is None:  # one for all calls: the log may keep context variables
            self._context = contextvars.copy_context()
        context, loop = self._context, asyncio.get_running_loop()
        return await _finished(loop.run_in_executor(_threads(), lambda: context.run(function)))


def _settle(waiting: asyncio.Future[str], receipt: str, error: Exception | None) -> None:
    if not waiting.done():
        if error is None:
            waiting.set_result(receipt)
        else:
            waiting.set_exception(error)


async def _finished(work: asyncio.Future[T]) -> T:
    """Wait for ``work`` to its end, then let a cancellation through that came meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
        if work.done():
            break
    if cancelled is not None:
        raise cancelled
    return work.result()


_pool: list[ThreadPoolExecutor] = []


def _threads() -> ThreadPoolExecutor:
    """Return the threads of logs that wait, made where they are first needed: not before a fork."""
    if not _pool:
        _pool.append(ThreadPoolExecutor(LOG_THREADS, "trustplane-evidence"))
    return _pool[0]
