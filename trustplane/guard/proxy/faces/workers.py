"""Workers: several processes that serve one socket and share a guard, started again where one dies."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Any, Literal

from trustplane.errors import StoreError
from trustplane.guard.proxy.faces.metrics import MULTIPROCESS, forget_worker
from trustplane.guard.proxy.faces.server import NO_TLS, OpenApp, Tls, serve
from trustplane.settings import ProxySettings

__all__ = ["serve_workers", "start_method"]

FAST_DEATHS = 5
"""So many workers in a row that die within a second of their start mean that none will ever run."""


def start_method() -> Literal["fork", "spawn"]:
    """Return how workers start: by fork, which shares the guard's memory, or anew where a fork is not safe."""
    safe = hasattr(os, "fork") and sys.platform != "darwin" and threading.active_count() == 1
    return "fork" if safe else "spawn"


def serve_workers(
    open_app: OpenApp, listener: socket.socket, settings: ProxySettings, workers: int, *,
    ready: Callable[[], None], tls: Tls = NO_TLS, method: Literal["fork", "spawn"] = "fork",
) -> None:  # fmt: skip
    """Serve by ``workers`` processes on one socket until SIGTERM or SIGINT; one that dies is started again.

    What this process has loaded is shared by forked workers. ``open_app`` has to be picklable for ``spawn``.

    Raises:
        StoreError: the workers die as soon as they start.
    """
    folder = tempfile.mkdtemp(prefix="trustplane-metrics-")
    before = os.environ.get(MULTIPROCESS)
    os.environ[MULTIPROCESS] = folder
    try:
        import prometheus_client  # noqa: F401  before the fork, so that workers share it

        gc.collect()
        gc.freeze()  # the collector would write to every shared page
        _Parent(open_app, listener, settings, workers, ready, tls, method).run()
    finally:
        gc.unfreeze()
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ[MULTIPROCESS]
        else:
            os.environ[MULTIPROCESS] = before


class _Parent:
    """Starts the workers and keeps their number."""

    def __init__(
        self, open_app: OpenApp, listener: socket.socket, settings: ProxySettings, workers: int,
        ready: Callable[[], None], tls: Tls, method: Literal["fork", "spawn"],
    ) -> None:  # fmt: skip
        self._context: Any = multiprocessing.get_context(method)
        self._arguments = (open_app, listener, settings, tls)
        self._settings, self._count, self._ready = settings, workers, ready
        self._processes: dict[int, tuple[Any, float]] = {}
        self._receiver, self._sender = self._context.Pipe(duplex=False)
        self._stop = False

    def run(self) -> None:
        """Start all, tell when all are ready, start again what dies, until a signal comes."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for _ in range(self._count):
                self._start()
            self._watch()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: Any) -> None:
        self._stop = True

    def _start(self) -> None:
        process = self._context.Process(target=_work, args=(*self._arguments, self._sender, os.getpid()))
        process.start()
        self._processes[process.sentinel] = process, time.monotonic()

    def _watch(self) -> None:
        waiting, deaths = self._count, 0
        while not self._stop:
            found = connection.wait([self._receiver, *self._processes], timeout=0.2)
            if self._receiver in found:
                self._receiver.recv_bytes()
                deaths = 0
                waiting -= 1
                if waiting == 0:
                    self._ready()
            for sentinel in found:
                if isinstance(sentinel, int) and not self._stop:
                    process, begun = self._processes.pop(sentinel)
                    process.join()
                    forget_worker(process.pid)
                    deaths = deaths + 1 if time.monotonic() - begun < 1 else 0
                    if deaths >= FAST_DEATHS or (waiting > 0 and process.exitcode not in (0, None) and deaths > 1):
                        raise StoreError("the workers end as soon as they start", hint="try it with --workers 1")
                    self._start()

    def _end(self) -> None:
        """Let the workers drain, then kill what is left."""
        for process, _ in self._processes.values():
            process.terminate()
        end = time.monotonic() + self._settings.drain_seconds + 5
        for process, _ in self._processes.values():
            process.join(max(0.1, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _work(
    open_app: OpenApp, listener: socket.socket, settings: ProxySettings, tls: Tls, sender: Any, parent: int
) -> None:
    """Be a worker."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the parent's: it would end the other workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(open_app, listener, settings, ready=lambda: sender.send_bytes(b"1"), tls=tls, parent=parent)
