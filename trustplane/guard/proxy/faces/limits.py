"""Limits: guard work with a time limit, rates per tenant."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from trustplane.guard.proxy.refusal import ProxyRefusal

__all__ = ["Bucket", "GuardThreads"]

T = TypeVar("T")

THREADS = 4
"""How many texts are searched at once in threads: they share one interpreter lock."""
MAX_HUNG = 8
"""Threads that may hang at once; past it the guard counts as down."""


class Bucket:
    """A token bucket: ``per_minute`` requests a minute, of which ``per_minute / 6`` may come at once (at least one)."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = per_minute / 60, clock
        self._most = max(per_minute / 6, 1.0)
        self._left, self._at = self._most, clock()

    def take(self) -> float:
        """Take one token and return 0, or return the seconds until there is one."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


def _late() -> ProxyRefusal:
    return ProxyRefusal("guard.proxy.guard_time", 503, "the guard took too long")


class GuardThreads:
    """Runs guard work in a few threads, each call within a time limit.

    Work that is over its limit cannot be stopped: its thread is left to itself, another takes its place, and past
    :data:`MAX_HUNG` of those nothing is started until one comes back. They are daemons, so that a process can end.
    """

    def __init__(self, threads: int = THREADS, hung: int = MAX_HUNG) -> None:
        self._most, self._max_hung = threads, hung
        self._turns: asyncio.Semaphore | None = None
        self._idle: list[_Worker] = []
        self._hung: list[_Worker] = []

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """Return ``work()``, run in a thread.

        Raises:
            ProxyRefusal: ``guard_time``, 503: it took longer than ``seconds``, its turn to come included.
        """
        if self._turns is None:
            self._turns = asyncio.Semaphore(self._most)
        self._hung = [worker for worker in self._hung if not worker.ended]
        if len(self._hung) >= self._max_hung:
            raise _late()
        try:
            async with asyncio.timeout(seconds), self._turns:
                return await self._on_a_thread(work)
        except TimeoutError:
            raise _late() from None

    async def _on_a_thread(self, work: Callable[[], T]) -> T:
        worker = self._idle.pop() if self._idle else _Worker()
        answer = worker.start(work, asyncio.get_running_loop())
        try:
            found: T = await answer
        except asyncio.CancelledError:
            if not answer.done() or answer.cancelled():
                worker.leave()
                self._hung.append(worker)
            raise
        except BaseException:
            self._idle.append(worker)
            raise
        self._idle.append(worker)
        return found

    def close(self) -> None:
        """Let the idle threads end."""
        while self._idle:
            self._idle.pop().leave()


class _Worker:
    """A thread that does one piece of work after another."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended = False
        threading.Thread(target=self._run, name="trustplane-guard", daemon=True).start()

    def start(self, work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> asyncio.Future[T]:
        answer: asyncio.Future[T] = loop.create_future()
        self._work.put((work, loop, answer))
        return answer

    def leave(self) -> None:
        """End when the work at hand is done."""
        self._work.put(None)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, loop, answer = item
            value, error = None, None
            try:
                value = work()
            except BaseException as raised:  # noqa: BLE001  it is raised again by whoever waits
                error = raised if isinstance(raised, Exception) else RuntimeError(type(raised).__name__)
            try:
                loop.call_soon_threadsafe(_settle, answer, value, error)
            except RuntimeError:  # the loop is closed: no one waits any more
                break
            del item, work, value, error, answer
        self.ended = True


def _settle(answer: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if not answer.done():
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)
