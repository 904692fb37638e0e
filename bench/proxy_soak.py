"""Soak: mixed sessions at once over four workers, a byte search for the fixture values, the log reconciled.

Rows: replies with another session's value or without their own (crossed), values found in any file of the plane, in
what the server said, in its temporary folder or its metrics; requests in the log beside those that the upstream served.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import aiohttp
from harness import finish, row
from proxy import TRUSTPLANE, proxy
from proxy_traffic import Upstream as Quoting
from proxy_traffic import luhn, text

import trustplane

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit" / "log"))

from conftest import residue

WORKERS = 4
ANSWER = '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[%s]}'


class Upstream(Quoting):
    """Answers with the whole last message, plain or as a stream; counts those with a raw fixture value."""

    raw = 0

    def _reply(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"get"):
            count = json.dumps([Upstream.served, Upstream.raw]).encode()
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(count), count)
        Upstream.served += 1
        Upstream.raw += b"kanari" in body
        request = json.loads(body)
        said = request["messages"][-1]["content"]
        return self._stream(said) if request.get("stream") else self._plain(said)

    @staticmethod
    def _plain(said: str) -> bytes:
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        data = (ANSWER % json.dumps(choice)).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)

    @staticmethod
    def _stream(said: str) -> bytes:
        out = []
        for start in range(0, len(said), 7):
            choice = {"index": 0, "delta": {"content": said[start : start + 7]}, "finish_reason": None}
            out.append(f"data: {ANSWER % json.dumps(choice)}\n\n".replace("completion", "completion.chunk", 1))
        end = json.dumps({"index": 0, "delta": {}, "finish_reason": "stop"})
        data = ("".join(out) + f"data: {ANSWER % end}\n\ndata: [DONE]\n\n").encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data)


def message(number: int, r: random.Random) -> str:
    """Return a text with values of one session only; the mark ``kanari`` is in the e-mail address."""
    card, mail = luhn(f"4{number:014d}"), f"kanari{number}@example.com"
    return f"{text(r, 300, 0)} session {number} {mail} card {card} 手机号13800{number % 10**6:06d}。"


async def ask(client: aiohttp.ClientSession, origin: str, number: int, turn: int) -> bool:
    """Send one turn of a session; return whether its own text came back, and nothing else."""
    said = message(number, random.Random(number))
    streamed = (number + turn) % 4 == 0
    body = {"model": "gpt-4o", "stream": streamed, "messages": [{"role": "user", "content": said}]}
    headers = {"authorization": f"Bearer sk-tenant{number % 97}", "x-trustplane-session": f"s{number}"}
    async with client.post(f"{origin}/v1/chat/completions", json=body, headers=headers) as response:
        raw = await response.text()
    if response.status != 200:
        return False
    if not streamed:
        return json.loads(raw)["choices"][0]["message"]["content"] == said
    found = ""
    for line in raw.splitlines():
        if line.startswith("data: {"):
            found += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
    return found == said


async def soak(origin: str, sessions: int, total: int, at_once: int) -> tuple[int, float]:
    """Send ``total`` turns of ``sessions`` sessions, ``at_once`` at a time; return how many did not come back whole."""
    wrong = 0
    numbers = iter(range(total))
    begun = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as client:

        async def stream() -> None:
            nonlocal wrong
            for number in numbers:
                wrong += not await ask(client, origin, number % sessions, number // sessions)

        await asyncio.gather(*(stream() for _ in range(at_once)))
    return wrong, time.perf_counter() - begun


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(0.0), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def logged(plane: Path) -> dict[str, int]:
    """Return how many requests the log says were sent, and how many decided, by outcome."""
    found: Counter[str] = Counter()
    with trustplane.open(plane) as opened:
        for entry in opened.log.entries():
            public = entry.public
            if public.action in {"guard.proxy.sent", "decision"}:
                found[f"{public.action} {public.result}".strip()] += 1
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--upstream", action="store_true", help="be the upstream")
    options = parser.parse_args()
    if options.upstream:
        asyncio.run(serve())
        return
    quick = options.quick
    sessions, total = (300, 900) if quick else (10_000, 100_000)
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "tmp").mkdir()
        token = folder / "token"
        token.write_text("admin-token-of-this-bench-0123456789")
        token.chmod(0o600)
        upstream = subprocess.Popen([sys.executable, __file__, "--upstream"], stdout=subprocess.PIPE, text=True)
        assert upstream.stdout is not None
        port = int(upstream.stdout.readline())
        try:
            settings = {"receipt": "promise", "admin_token_file": str(token)}
            with proxy(port, folder, "--workers", str(WORKERS), tmpdir=folder / "tmp", **settings) as (at, _pid):
                origin = f"http://127.0.0.1:{at}"
                wrong, seconds = asyncio.run(soak(origin, sessions, total, 64 if quick else 256))
                request = urllib.request.Request(
                    f"{origin}/trustplane/metrics", headers={"authorization": f"Bearer {token.read_text()}"}
                )
                with urllib.request.urlopen(request) as answer:
                    (folder / "metrics.txt").write_bytes(answer.read())
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/count") as answer:
                    served, raw = json.loads(answer.read())
        finally:
            upstream.kill()
        values = [v for n in range(0, sessions, max(1, sessions // 50))
                  for v in (f"kanari{n}@", luhn(f"4{n:014d}"), f"手机号13800{n % 10**6:06d}")]  # fmt: skip
        hits = residue(scratch, ["kanari", *values])
        control = folder / "control"
        control.write_bytes(b"x" + "kanari7@".encode("utf-16-le"))
        found = residue(scratch, ["kanari"])
        verified = subprocess.run(
            [str(TRUSTPLANE), "log", "verify", "--plane", str(folder / "plane"), "--json"],
            capture_output=True, text=True,
        )  # fmt: skip
        log = logged(folder / "plane")
        samples = {
            "seconds": seconds, "sessions": sessions, "requests": total, "verify": verified.stdout[-2000:],
            "log": log, "served": served,
        }  # fmt: skip
    rows += [
        row(f"crossed or lost of {total:,} replies, {sessions:,} sessions", wrong, unit="", better="lower", must=0),
        row("requests that the upstream saw with a raw value", raw, unit="", better="lower", must=0),
        row("fixture values found in files, logs, metrics", len(hits), unit="hits", better="lower", must=0),
        row("control: planted value found", len(found), unit="hits", better="higher", must=1),
        row("the log verifies", int(verified.returncode == 0), unit="", better="higher", must=1),
        row(
            "requests that the log says were sent, less those served",
            abs(sum(n for a, n in log.items() if "sent" in a) - served),
            unit="",
            better="lower",
            must=0,
        ),
        row(
            "decisions in the log, less those asked",
            abs(sum(n for a, n in log.items() if "decision" in a) - total),
            unit="",
            better="lower",
            must=0,
        ),
    ]
    finish("proxy_soak", rows, samples, quick=quick)


if __name__ == "__main__":
    main()
