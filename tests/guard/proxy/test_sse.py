"""Events, lines and codings: every cut gives the same."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.guard.proxy.refusal import ProxyRefusal
from trustplane.guard.proxy.wire.ndjson import LineParser
from trustplane.guard.proxy.wire.sse import Event, EventParser, write_event

QUICK = settings(max_examples=60, deadline=None)

RAW = (
    "\ufeffdata: a\n\n: comment\r\ndata:b\r\n\r\ndata: c1\rdata: c2\r\r"
    "event: x\nid: 1\ndata: 😀中\n\n\n\nevent: y\n\ndata: last"
)
EVENTS = [
    Event("", "a"), Event("", "b", (("", " comment"),)), Event("", "c1\nc2"), Event("x", "😀中", (("id", "1"),)),
    Event("", "last"),
]  # fmt: skip


def test_every_two_cuts() -> None:
    raw = RAW.encode()
    for first in range(len(raw) + 1):
        for second in range(first, len(raw) + 1, 3):
            parser = EventParser()
            found = parser.feed(raw[:first]) + parser.feed(raw[first:second]) + parser.feed(raw[second:])
            assert found + parser.close() == EVENTS


def test_what_is_written_is_read_again() -> None:
    parser = EventParser()
    assert parser.feed(b"".join(map(write_event, EVENTS))) + parser.close() == EVENTS


def test_not_utf8_too_long_and_odd_fields() -> None:
    for bad in (b"data: \xff\n\n", b"event: a b\n\n", b"event: " + b"x" * 200 + b"\n"):
        with pytest.raises(ProxyRefusal):
            EventParser().feed(bad)
    with pytest.raises(ProxyRefusal):
        EventParser(100).feed(b"data: " + b"x" * 200)
    assert EventParser().feed(b"other: x\nretry: soon\nretry: 30\n\n") == [Event(others=(("retry", "30"),))]


@QUICK
@given(st.binary(max_size=60), st.integers(), st.booleans())
def test_any_bytes_any_cut(raw: bytes, seed: int, lines: bool) -> None:
    def run(pieces: list[bytes]) -> Any:
        parser: Any = LineParser() if lines else EventParser()
        try:
            return [e for piece in pieces for e in parser.feed(piece)] + parser.close()
        except ProxyRefusal:
            return "refused"

    draw = random.Random(seed)
    cuts = sorted(draw.randrange(len(raw) + 1) for _ in range(4))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert run(pieces) == run([raw])
