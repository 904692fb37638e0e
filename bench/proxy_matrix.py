"""Every string of every recorded body, in every spelling, through the proxy: masked, blocked or leaked, counted.

A cell is one request: an endpoint, a direction, streamed or not, a place of a recorded body and the role it stands in,
a spelling, a kind of value. The core is driven in process; a sample goes over real HTTP. ``--peer`` sends a sample of
the same cells through LiteLLM's proxy with its regex guardrail and counts its leaks by the same code. ``--quick`` takes
a sample and no peer.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import finish, row

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.guard.proxy import matrix
from tests.guard.proxy.matrix_http import MatrixUpstream, over_http, through_proxy

SPELT = len(matrix.SPELLINGS)
KINDS = len(matrix.VALUES)
PEER_ENDPOINTS = {
    "chat.completions", "completions", "responses", "embeddings", "moderations", "images.generations", "messages",
    "messages.count_tokens", "rerank", "audio.speech",
}  # fmt: skip
"""What LiteLLM's proxy serves before any upstream of OpenAI's form."""


def chosen(every: bool, quick: bool, seed: int) -> list[matrix.Cell]:
    """Return all cells; or for each place and spelling one kind in turn; or a sample of that."""
    cells = matrix.cells()
    if every:
        return cells
    found = []
    for cell in cells:
        spelt = (cell.number // KINDS) % SPELT
        kind = cell.number % KINDS
        place = cell.number // (KINDS * SPELT)
        if (kind - place - 3 * spelt) % KINDS == 0:
            found.append(cell)
    draw = random.Random(seed)
    draw.shuffle(found)
    return found[:1200] if quick else found


def count(gate, cells, limit_seconds):
    """Run cells until they are done or the time is over; return verdicts, rules of blocks and what leaked."""
    tally, rules, wrong, done = Counter(), Counter(), [], Counter()
    begun = time.monotonic()
    for number, cell in enumerate(cells):
        if time.monotonic() - begun > limit_seconds:
            break
        result, _, _ = matrix.run(gate, cell)
        tally[result.verdict] += 1
        done[cell.direction, cell.streamed] += 1
        if result.verdict == "blocked":
            rules[result.rule] += 1
        if result.verdict in {"leaked", "unrestored", "malformed"}:
            wrong.append(f"{result.verdict}: {cell.shown}")
        if number % 200 == 199 and sys.stderr.isatty():
            sys.stderr.write(f"\r{number + 1} of {len(cells)}")
    return tally, rules, wrong, done


def controls(gate):
    """Return how many benign bodies went both ways, and which of them were changed or refused."""
    cases = [(case, streamed) for case in matrix.recorded() for streamed in case.ways]
    wrong = [
        f"{case.title}{' stream' if s else ''}: {what}"
        for case, s in cases
        if (what := matrix.control(gate, case, streamed=s))
    ]
    return len(cases), wrong


def peer(cells, seed, size):
    """Return how many cells went through LiteLLM's proxy, and of them how many leaked and how many were refused."""
    import litellm_peer

    draw = random.Random(seed)
    picked = draw.sample(
        [c for c in cells if c.case.endpoint in PEER_ENDPOINTS and not c.case.title.endswith("azure")], size
    )
    upstream = MatrixUpstream()
    tally, leaks = Counter(), Counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        upstream.served() as origin,
        litellm_peer.litellm(origin, Path(folder)) as running,
    ):
        for cell in picked:
            result = over_http(running.origin, upstream, cell, key=running.key, foreign=True)
            tally[result.verdict] += 1
            if result.verdict == "leaked":
                leaks[cell.case.endpoint, cell.direction] += 1
    return tally, leaks


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--all", action="store_true", help="every kind of value in every cell (hours)")
    parser.add_argument("--peer", action="store_true", help="LiteLLM's proxy beside us")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.modules.setdefault("torch", None)
    gate = matrix.open_gate()
    cells = chosen(given.all, given.quick, given.seed)
    n_controls, wrong_controls = controls(gate)
    tally, rules, wrong, done = count(gate, cells, 18 if given.quick else 10**9)
    n = tally.total()
    sample = random.Random(given.seed).sample(cells, 40 if given.quick else 1000)
    served = Counter(result.verdict for result in through_proxy(gate, sample))
    for what in (*wrong_controls, *wrong[:50]):
        print(what)
    for rule, times in rules.most_common():
        print(f"blocked by {rule}: {times}")
    rows = [
        row("cells", n, unit="cells", better="higher", must=200 if given.quick else 5000),
        row("cells masked and restored, or blocked", 100 * (tally["masked"] + tally["blocked"]) / n, unit="%",
            better="higher", must=100),
        row("cells leaked", tally["leaked"], unit="cells", better="lower", must=0),
        row("cells not restored", tally["unrestored"], unit="cells", better="lower", must=0),
        row("cells blocked", 100 * tally["blocked"] / n, unit="%", better="lower", must=2),
        row("benign controls changed or refused", len(wrong_controls), unit=f"of {n_controls}", better="lower", must=0),
        row("cells over HTTP leaked or not restored", served.total() - served["masked"] - served["blocked"],
            unit=f"of {served.total()}", better="lower", must=0),
    ]  # fmt: skip
    samples = {
        "verdicts": dict(tally), "rules": dict(rules), "wrong": wrong, "controls": wrong_controls,
        "done": {f"{direction} {'stream' if s else 'plain'}": times for (direction, s), times in done.items()},
        "over_http": dict(served),
    }  # fmt: skip
    if given.peer:
        theirs, leaks = peer(cells, given.seed, 500)
        sent = theirs.total()
        rows.append(
            row("cells leaked, per 100", 100 * tally["leaked"] / n, unit="%", better="lower",
                peer=100 * theirs["leaked"] / sent, peer_name="LiteLLM proxy, content filter")
        )  # fmt: skip
        samples["peer"] = {"verdicts": dict(theirs), "leaks": {f"{e} {d}": t for (e, d), t in leaks.items()}}
    finish("proxy_matrix", rows, samples, quick=given.quick)


if __name__ == "__main__":
    main()
