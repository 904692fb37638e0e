"""Streams cut anywhere: each recorded stream in every two parts and in random parts, bytes and leaks compared.

Each of 30 recorded streams (tests/guard/proxy/streams) runs through the proxy's reply side in one piece, then cut in
two at every byte, then cut 1,000 times at random places (two parts with a view that looks at each text once and
at all of it, random parts with the view that the proxy has). What comes out must be the same bytes each time, and must
hold none of the values that the model invented. ``--quick`` takes a sample. A run that was stopped goes on where it
was: finished streams are kept in ``bench/results/proxy_streams_part.json``.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import RESULTS, finish, row

from tests.guard.proxy.test_streams import HIDDEN, INVENTED, NAMES, Remembering, joined, opened, recorded, run
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.policy import Policy
from trustplane.guard.text.reply_view import ReplyView

STREAMS, RANDOM = 30, 1000
QUICK_SECONDS = 20.0
PART = RESULTS / "proxy_streams_part.json"


def cuts(raw: bytes, draw: random.Random, *, quick: bool) -> Iterator[list[int]]:
    """Yield the places of each split: every two-part one, then random ones; of both a sample if ``quick``."""
    twos = range(1, len(raw))
    yield from ([place] for place in (draw.sample(twos, min(24, len(twos))) if quick else twos))
    for _ in range(8 if quick else RANDOM):
        yield sorted(draw.randrange(len(raw) + 1) for _ in range(draw.choice([2, 3, 9, 40, 200])))


def leaks(out: bytes) -> int:
    """Return how many invented values stand in the texts of a stream as the client joins them, or in its bytes."""
    texts = [*joined(out).values(), out.decode("utf-8", "replace")]
    return sum(value in text for value in INVENTED for text in texts)


def measure(name: str, session, views, *, quick: bool, deadline: float) -> dict[str, int]:
    """Return the splits, differences and leaks of one stream; ``views``: for two parts, for random parts."""
    raw = recorded(name)
    expected = run(opened(name, session, views[1]), [raw])
    bad = leaks(expected)
    found = {"bytes": len(raw), "splits": 0, "differences": 0, "leaks": bad}
    for places in cuts(raw, random.Random(f"split {name}"), quick=quick):
        pieces = [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
        out = run(opened(name, session, views[len(places) > 1]), pieces)
        found["splits"] += 1
        if out != expected:
            found["differences"] += 1
            found["leaks"] += leaks(out)
        if time.monotonic() > deadline:
            break
    return found


def main() -> None:
    """Run what is not done yet, stream by stream, and print the rows."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="a sample of the splits, under a minute")
    options.add_argument("--afresh", action="store_true", help="forget what a stopped run has finished")
    asked = options.parse_args()
    guard = TextGuard()
    guard.warm_up()
    session = guard.session(key=bytes(range(32)))
    session.hide("\n".join(HIDDEN))
    guarded = Guarded(Policy.default(), guard)
    views = Remembering(guarded), ReplyView(guarded)
    done: dict[str, dict[str, int]] = {}
    if PART.exists() and not asked.quick and not asked.afresh:
        done = json.loads(PART.read_text())
    names = [NAMES[number * len(NAMES) // STREAMS] for number in range(STREAMS)]  # of every API
    begun = time.monotonic()
    for number, name in enumerate(names, 1):
        if name in done:
            continue
        share = QUICK_SECONDS * number / len(names) if asked.quick else float("inf")
        done[name] = measure(name, session, views, quick=asked.quick, deadline=begun + share)
        if not asked.quick:
            RESULTS.mkdir(exist_ok=True)
            PART.write_text(json.dumps(done))
        result = done[name]
        print(
            f"{number:>3}/{len(names)} {name:<32} {result['splits']:>6} splits, {result['differences']} differ, "
            f"{result['leaks']} leaks, {time.monotonic() - begun:.0f} s",
            flush=True,
        )
    total = {key: sum(done[name][key] for name in names) for key in ("splits", "differences", "leaks")}
    least = None if asked.quick else sum(done[name]["bytes"] - 1 + RANDOM for name in names)
    rows = [
        row("streams", len(names), unit="streams", better="higher", must=STREAMS),
        row("splits compared", total["splits"], unit="splits", better="higher", must=least),
        row("splits that give other bytes", total["differences"], unit="splits", better="lower", must=0),
        row("invented values that come through", total["leaks"], unit="values", better="lower", must=0),
    ]
    if not asked.quick:
        PART.unlink(missing_ok=True)
    finish("proxy_streams", rows, done, quick=asked.quick)


if __name__ == "__main__":
    main()
