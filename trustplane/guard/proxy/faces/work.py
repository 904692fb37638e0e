"""Work: where the guard and the log run, for async and for sync code, and what happens to a guard that hangs."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import anyio
from anyio import to_thread

__all__ = ["Inline", "Threads", "Work", "now"]

T = TypeVar("T")

MAX_HUNG = 8
"""Threads in which a guard may hang at once; past it every further call is refused at once."""
LOG_THREADS = 64
GUARD_THREADS = 8


class Work(Protocol):
    """Where work is done that may take long."""

    def guard(self, work: Callable[[], T]) -> Awaitable[T]:
        """Return what ``work`` returns; TimeoutError where it hangs, and then it may still run."""

    def log(self, work: Callable[[], T]) -> Awaitable[T]:
        """Return what ``work`` returns; once begun it is finished, whoever hangs up."""

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait."""


class _Hung:
    """How many threads hang, over all exchanges of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def add(self, number: int) -> None:
        with self._lock:
            self._count += number

    def check(self) -> None:
        if self._count >= MAX_HUNG:
            raise TimeoutError


_HUNG = _Hung()


class _Watched:
    """Work that may be given up: if it was, its thread counts as hung until it ends."""

    def __init__(self, work: Callable[[], Any]) -> None:
        _HUNG.check()
        self._work, self._lock = work, threading.Lock()
        self._ended = self._left = False

    def __call__(self) -> Any:
        try:
            return self._work()
        finally:
            with self._lock:
                self._ended = True
                if self._left:
                    _HUNG.add(-1)

    def leave(self) -> None:
        with self._lock:
            if not self._ended:
                self._left = True
                _HUNG.add(1)


class Threads:
    """Work for async code (asyncio or trio), in threads; ``seconds``: the guard's time limit."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._limits: tuple[anyio.CapacityLimiter, anyio.CapacityLimiter] | None = None

    def _limiters(self) -> tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]:
        if self._limits is None:  # made in the event loop that uses it
            self._limits = anyio.CapacityLimiter(GUARD_THREADS), anyio.CapacityLimiter(LOG_THREADS)
        return self._limits

    async def guard(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; TimeoutError where it hangs."""
        watched = _Watched(work)
        try:
            with anyio.fail_after(self._seconds):
                found: T = await to_thread.run_sync(watched, abandon_on_cancel=True, limiter=self._limiters()[0])
        except BaseException:
            watched.leave()
            raise
        return found

    async def log(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns, cancelled or not."""
        with anyio.CancelScope(shield=True):
            found = await to_thread.run_sync(work, limiter=self._limiters()[1])
        return found  # noqa: RET504  the type checker thinks that the scope may swallow

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)


class Inline:
    """Work for sync code: the log's in the caller's thread, the guard's in one that can be given up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._idle: list[_Lane] = []
        self._pid = os.getpid()

    async def guard(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; TimeoutError where it hangs."""
        watched = _Watched(work)
        if self._pid != os.getpid():  # threads do not live on in a fork
            self._idle, self._pid = [], os.getpid()
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = _Lane()
        try:
            fine, found = lane.run(watched, self._seconds)
        except queue.Empty:
            watched.leave()
            lane.end()
            raise TimeoutError from None
        except BaseException:  # an interrupt
            watched.leave()
            lane.end()
            raise
        self._idle.append(lane)
        if not fine:
            raise found
        value: T = found
        return value

    async def log(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns."""
        return work()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def close(self) -> None:
        """End the threads that wait for work."""
        while self._idle:
            self._idle.pop().end()


class _Lane:
    """A thread that does one thing after the other."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        threading.Thread(target=_serve, args=(self._asked, self._answers), name="trustplane-guard", daemon=True).start()

    def run(self, work: Callable[[], Any], seconds: float) -> tuple[bool, Any]:
        """Return whether ``work`` returned, and what it returned or raised; queue.Empty if it did neither in time."""
        self._asked.put(work)
        return self._answers.get(timeout=seconds)

    def end(self) -> None:
        """End the thread as soon as it is done; it may hang until then."""
        self._asked.put(None)


def _serve(asked: queue.SimpleQueue[Callable[[], Any] | None], answers: queue.SimpleQueue[tuple[bool, Any]]) -> None:
    while (work := asked.get()) is not None:
        try:
            answers.put((True, work()))
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            answers.put((False, error if isinstance(error, Exception) else RuntimeError(type(error).__name__)))
        del work


def now(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, as those over :class:`Inline`, and return its result."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("sync code waits for something that only an event loop can give")
