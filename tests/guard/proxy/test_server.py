"""The server as a process: workers that share a socket, die, are replaced and drain; heads within limits."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

TINY = Path(__file__).with_name("tiny.py")


class Tiny:
    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"

    def pid(self, path: str = "/") -> int:
        return int(httpx.get(self.url + path, timeout=30).text)

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return err


@contextlib.contextmanager
def tiny(method: str, workers: int = 1, **settings: object) -> Iterator[Tiny]:
    more = [f"{key}={value}" for key, value in settings.items()]
    process = subprocess.Popen(
        [sys.executable, str(TINY), method, str(workers), *more], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("listening "), line + process.stderr.read()
        yield Tiny(process, int(line.split()[1]))
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def children(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")
def test_a_killed_worker_is_replaced_and_the_others_serve_on() -> None:
    with tiny("fork", 2) as server:
        first = children(server.process.pid)
        assert len(first) == 2 and server.pid() in first
        victim = next(iter(first))
        os.kill(victim, signal.SIGKILL)
        end = time.monotonic() + 30
        while len(now := children(server.process.pid) - {victim}) < 2 and time.monotonic() < end:
            assert server.pid() > 0
            time.sleep(0.05)
        assert len(now) == 2 and now != first
        for _ in range(20):
            assert server.pid() in children(server.process.pid)
        server.stop()


@pytest.mark.parametrize("method", ["one", "fork"])
def test_a_signal_lets_requests_end(method: str) -> None:
    with tiny(method, 2) as server:
        found: list[int] = []
        asking = threading.Thread(target=lambda: found.append(server.pid("/slow")))
        asking.start()
        time.sleep(0.5)
        server.stop()
        asking.join()
        assert found and found[0] > 0


def test_workers_that_are_spawned() -> None:
    with tiny("spawn", 2) as server:
        assert server.pid() != server.process.pid
        server.stop()


def test_workers_end_with_a_killed_parent() -> None:
    with tiny("fork", 1) as server:
        worker = server.pid()
        server.process.kill()
        server.process.wait()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                os.kill(worker, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
    raise AssertionError("the worker lives on")


def test_workers_that_never_start_end_the_server() -> None:
    done = subprocess.run(
        [sys.executable, str(TINY), "fork", "2", "open=die"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 4 and "the workers end as soon as they start" in done.stderr


def test_an_error_says_nothing_of_its_content() -> None:
    with tiny("one") as server:
        assert httpx.get(server.url + "/crash").status_code == 500
        err = server.stop()
    assert "ValueError" in err and "canary" not in err and "Traceback" not in err


def talk(port: int, data: bytes, *, pause: float = 0.0) -> bytes:
    """Send ``data`` and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        if pause:
            for i in range(len(data)):
                try:
                    client.sendall(data[i : i + 1])
                except OSError:
                    break
                time.sleep(pause)
        else:
            with contextlib.suppress(OSError):
                client.sendall(data)
        found = b""
        with contextlib.suppress(OSError):
            while piece := client.recv(65536):
                found += piece
        return found


def test_heads_within_limits() -> None:
    with tiny("one", max_headers=20, max_header_bytes=4096, head_seconds=1) as server:
        start = b"GET / HTTP/1.1\r\nhost: x\r\n"
        many = b"".join(b"x-%d: y\r\n" % i for i in range(50))
        assert b" 431 " in talk(server.port, start + many + b"\r\n").splitlines()[0]
        assert b" 431 " in talk(server.port, start + b"x: " + b"y" * 5000 + b"\r\n\r\n").splitlines()[0]
        assert b" 414 " in talk(server.port, b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\n\r\n").splitlines()[0]
        slow = talk(server.port, start + many, pause=0.02)
        assert b" 408 " in slow.splitlines()[0] and b"guard.proxy.head_time" in slow
        assert b" 408 " in talk(server.port, b"").splitlines()[0]  # a connection on which nothing comes
        assert server.pid() > 0
        with httpx.Client() as client:  # a connection may rest between requests
            assert client.get(server.url).status_code == 200
            time.sleep(1.5)
            assert client.get(server.url).status_code == 200
        server.stop()
