"""Traffic for bench/proxy.py: an upstream that costs next to nothing, and an open-loop load generator.

Argument ``upstream`` prints its port; ``load`` reads a job as JSON on standard input and prints latencies in seconds
as JSON. A latency counts from the moment at which the request was due,
so a server that stalls is charged for those that had to wait (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from typing import Any

import uvloop

PROSE = (
    "please summarise the report about our project the team met on monday to discuss the plan for the next quarter and "
    "agreed that the budget needs another review before the board meets again in spring we should compare the figures "
    "with those of last year and explain why the costs of transport rose while the number of visitors fell slightly"
)
WORDS = PROSE.split()


# ── the upstream ────────────────────────────────────────────────────────────────────────────────────────


class Upstream(asyncio.Protocol):
    """Answers every POST with a chat completion that quotes the end of the last message."""

    served = 0

    def __init__(self, delay: float) -> None:
        self._held, self._delay = bytearray(), delay

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._held[:end]).lower()
            size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(self._held) < end + 4 + size:
                return
            body = bytes(self._held[end + 4 : end + 4 + size])
            del self._held[: end + 4 + size]
            reply = self._reply(head, body)
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._transport.write, reply)
            else:
                self._transport.write(reply)

    def _reply(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"get"):
            data = str(Upstream.served).encode()
        else:
            Upstream.served += 1
            last = json.loads(body)["messages"][-1]["content"]
            message = {"role": "assistant", "content": "You wrote: " + last[-160:]}
            data = json.dumps({
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }).encode()  # fmt: skip
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


async def upstream(delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# ── the load ────────────────────────────────────────────────────────────────────────────────────────────


def luhn(prefix: str) -> str:
    digits = [int(d) for d in prefix]
    total = sum(d if i % 2 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits)))
    return prefix + str(-total % 10)


def text(r: random.Random, size: int, findings: int) -> str:
    """Return about ``size`` characters of prose with ``findings`` values of five kinds in it."""
    values = [
        [
            f"anna.{r.randrange(10**6)}@example.com", f"+1 202 555 0{r.randrange(100, 200)}",
            luhn(f"4{r.randrange(10**14):014d}"), f"536-{r.randrange(10, 99)}-{r.randrange(1000, 9999)}",
            f"203.0.113.{r.randrange(256)}",
        ][number % 5] for number in range(findings)
    ]  # fmt: skip
    words = [r.choice(WORDS) for _ in range(size // 6)]
    for value in values:
        words.insert(r.randrange(len(words)), value)
    return " ".join(words)[:size] + " " + " ".join(values[:2])


def bodies(kind: str, count: int, seed: int) -> list[bytes]:
    """Return request bodies, each different: ``2k`` (five findings), ``clean`` (none), ``history`` (50 turns)."""
    r = random.Random(seed)
    made = []
    history = [
        {"role": "assistant" if n % 2 else "user", "content": text(r, 400, n % 3)} for n in range(49)
    ]  # fmt: skip
    for _ in range(count):
        last = {"role": "user", "content": text(r, 2000, 0 if kind == "clean" else 5)}
        messages = [*history, last] if kind == "history" else [last]
        made.append(json.dumps({"model": "gpt-4o", "messages": messages}).encode())
    return made


class Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self) -> None:
        self._held, self.waiter, self.open = bytearray(), None, True

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(False)

    def data_received(self, data: bytes) -> None:
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._held[:end]).lower()
        size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
        if len(self._held) >= end + 4 + size:
            fine = head.startswith(b"http/1.1 200") and b"You wrote" in self._held
            self._held.clear()
            if self.waiter is not None and not self.waiter.done():
                self.waiter.set_result(fine)


async def load(job: dict[str, Any]) -> dict[str, Any]:
    """Send ``rate`` requests a second for ``seconds``; with ``rate`` 0 as fast as ``streams`` connections go."""
    loop = asyncio.get_running_loop()
    rate, count = job["rate"], job["count"]
    made = bodies(job["kind"], min(count, 4000), job["seed"])
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {job['key']}\r\n"
        "content-type: application/json\r\ncontent-length: "
    ).encode()
    idle: list[Client] = []
    taken: list[float] = []
    failed = 0

    async def connection() -> Client:
        while idle:
            client = idle.pop()
            if client.open:
                return client
        _, client = await loop.create_connection(Client, "127.0.0.1", job["port"])
        return client

    async def one(number: int, due: float) -> None:
        nonlocal failed
        try:
            client = await connection()
        except OSError:
            failed += 1
            return
        body = made[number % len(made)]
        client.waiter = loop.create_future()
        client.transport.write(head + str(len(body)).encode() + b"\r\n\r\n" + body)
        fine = await client.waiter
        if fine:
            taken.append(time.perf_counter() - due)
            idle.append(client)
        else:
            failed += 1
            client.transport.close()

    gc.disable()
    begun = time.perf_counter()
    if rate:
        tasks = set()
        for number in range(count):
            due = begun + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            tasks.add(task := loop.create_task(one(number, due)))
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=60)
            failed += len(tasks)
    else:
        numbers = iter(range(count))

        async def stream() -> None:
            for number in numbers:
                await one(number, time.perf_counter())

        await asyncio.gather(*(stream() for _ in range(job["streams"])))
    return {"taken": taken, "failed": failed, "seconds": time.perf_counter() - begun}


def main() -> None:
    if len(sys.argv) < 2:
        print(__doc__)
    elif sys.argv[1] == "upstream":
        uvloop.run(upstream(float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
    else:
        json.dump(uvloop.run(load(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
