"""Round trips of hidden texts, interleaved sessions, and streams cut everywhere: counts of what went wrong."""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import random
import re
import time

from harness import finish, row

from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.stream import Bytes, Redactor
from trustplane.guard.text.vault import MemoryVault

KEY = b"trustplane/bench/text_roundtrip."
ENTITIES = ["PERSON", "PERSON_TITLE", "EMAIL_ADDRESS", "PHONE_NUMBER", "X", "DATE_TIME", "CREDIT_CARD", "IP_ADDRESS"]
SHAPES = ["EMAIL_ADDRESS", "PHONE_NUMBER", "DATE_TIME", "CREDIT_CARD", "IP_ADDRESS"]
VALUES = ["alice@example.com", "张伟", "13800138000", "4111 1111 1111 1111", "10.0.0.7", "2024-05-06", "Ann",
          "O'Neil", "PERSON", "user_7k2q@example.com", "😀", "مريم", 'x"y\\', "a\r\nb", "𝒜𝓁", "12",
          "9999 4111 2222 3333"]  # fmt: skip
FILLERS = [" ", "  ", "\r\n", "\n", "[", "]", "<", ">", "{", "}", "【", "】", "\\", '"', "'", "*", "**", "`", "_", "-",
           "&lt;", "%5B", "\\u005b", "\u00ad", "\u200f", "\ud83d", "中文", "，", "the cat", "EMAIL_ADDRESS_",
           "[PERSON_", "person title ", "SEALED_", "_7K2Q", "7K2Q]", "0", "s", "'s", "x", "É", "Ｐ",
           "😀", "سلام"]  # fmt: skip
PLANTED = ["bob@invented.org", "4111 1111 1111 1111", "+1 212-555-0123", "13800138000", "11010519491231002X",
           "sk-abcdefghijklmnop1234", "ｂｏｂ＠invented.org"]  # fmt: skip
PROSE = ["the cat sat on the mat, ", "an ordinary sentence. ", "他昨天去了图书馆，", "看书。", "😀 ", "مرحبا ", "\r\n",
         "1 2 3 ", "[EMAIL_", "\\", "<b>", "see page 12, ", "𝒜 "]  # fmt: skip


def escape(value):
    return json.dumps(value)[1:-1]


def respelled(shown, draw):
    """A placeholder as a user may forge it: rewritten, cut short, run into its neighbour."""
    core = shown.strip("[]")
    forms = (shown, shown.lower(), core, f"<{core}>", shown.replace("_", " "), core[:-1], core + "2", shown[:-1])
    return draw.choice(forms)


def a_case(draw, typed):
    """Return a text and hits in it, overlapping ones too; ``typed`` holds placeholders to forge."""
    pieces, hits, position = [], [], 0
    for _ in range(draw.randrange(1, 9)):
        kind = draw.random()
        if kind < 0.4:
            piece = draw.choice(VALUES)
            hits.append(Hit(draw.choice(ENTITIES), position, position + len(piece), draw.random()))
            if draw.random() < 0.2:
                start = max(0, position - draw.randrange(4))
                hits.append(Hit(draw.choice(ENTITIES), start, position + draw.randrange(1, len(piece) + 1), 0.5))
        elif kind < 0.5 and typed:
            piece = respelled(draw.choice(typed), draw)
        else:
            piece = draw.choice(FILLERS)
        pieces.append(piece)
        position += len(piece)
    return "".join(pieces), hits


def round_trips(guard, cases, seed):
    draw = random.Random(seed)
    wrong = done = 0
    while done < cases:
        turns, mode = draw.choice([2, 10, 40]), draw.random()
        sealed = mode < 0.1
        session = Session(guard, key=KEY, session=str(done), sealed=sealed, shapes=SHAPES if 0.1 < mode < 0.3 else ())
        kept, typed = [], []
        for _ in range(min(turns, cases - done)):
            text, hits = a_case(draw, typed)
            hidden = session.hide_hits([text], [hits])[0]
            if session.restore(hidden) != text:
                wrong += 1
            if not done % 8:  # the same inside JSON
                wrong += json.loads(session.restore(json.dumps(hidden), escape=escape)) != text
            kept.append((text, hidden))
            typed += re.findall(r"\[[A-Z_]+_[0-9A-Z]{4,90}\]|user_\w+@example.com|9999[0-9 ]+", hidden)
            del typed[:-12]
            done += 1
        wrong += sum(session.restore(hidden) != text for text, hidden in kept)  # the first turn after the last
    return wrong


def crossings(guard, sessions):
    vault = MemoryVault(1e9, sessions)
    draw = random.Random(1)
    order = list(range(sessions)) * 2
    draw.shuffle(order)
    hidden = [""] * sessions
    wrong = 0
    for number in order:
        tenant, name = f"t{number % 100}", f"s{number // 100}"
        session = vault.session(tenant, name, functools.partial(Session, guard, key=KEY, tenant=tenant, session=name))
        values = [f"secret-{number}", "shared@example.com"]
        text = " and ".join(values)
        hits = [Hit("X", 0, len(values[0]), 1.0), Hit("EMAIL_ADDRESS", len(text) - len(values[1]), len(text), 1.0)]
        shown = session.hide_hits([text], [hits])[0]
        wrong += session.restore(shown) != text or hidden[number] not in ("", shown)
        hidden[number] = shown
        for other in draw.choices(range(sessions), k=5):
            if other != number and hidden[other]:
                wrong += "secret" in session.restore(hidden[other])
    return wrong


class Remembering:
    """A guard that looks at each window once: the same windows come again for every way to cut."""

    def __init__(self, guard):
        self._guard = guard
        self.detect = functools.lru_cache(maxsize=200_000)(guard.detect)

    def __getattr__(self, name):
        return getattr(self._guard, name)


def a_text(seed, length):
    draw = random.Random(seed)
    out = ""
    while len(out.encode()) < length:
        out += draw.choice(PROSE)
        if draw.random() < 0.35:
            out += draw.choice(PLANTED) + draw.choice([" ", ", ", "。", "\n"])
    return out


def run(make, data, cuts):
    stream = Bytes(make())
    places = [0, *cuts, len(data)]
    return b"".join(stream.feed(data[a:b]) for a, b in itertools.pairwise(places)) + stream.close()


def cuts_of(texts, randoms, real):
    """Return splits tried, splits with other bytes, outputs with a planted value in them."""
    draw = random.Random(2)
    tried = other = leaks = 0
    for seed in range(texts):
        guard = Remembering(real)
        long = seed % 20 == 0
        data = a_text(seed, 1500 if long else 220).encode()
        session = Session(guard, key=KEY)
        hidden = Redactor(guard, session).whole(data.decode()).encode()
        makers = [
            (lambda g=guard: Redactor(g, Session(g, key=KEY)), data, True),
            (lambda g=guard: Redactor(g), data, True),
            (lambda s=session: s.cleaner(), data, True),
            (lambda s=session: s.cleaner(), hidden, False),
            (lambda s=session: s.stream(), hidden, False),
        ]
        for make, source, planted in makers:
            expected = make().whole(source.decode()).encode() if planted else session.restore(source.decode()).encode()
            if make().__class__.__name__ == "Cleaner" and not planted:
                expected = session.clean(source.decode())[0].encode()
            leaks += planted and any(value in expected.decode() for value in PLANTED)
            ways = [[place] for place in range(0, len(source) + 1, 7 if long else 1)] + [list(range(1, len(source)))]
            ways += [
                sorted(draw.randrange(len(source) + 1) for _ in range(draw.choice([2, 5, 30])))
                for _ in range(randoms // texts)
            ]
            for cuts in ways:
                tried += 1
                other += run(make, source, cuts) != expected
    return tried, other, leaks


def first_delay(guard):
    """Return characters of plain prose taken before the first comes out, and seconds of work per 1,000."""
    text = "Certainly, here is what happened on the way to the station yesterday evening, in short. " * 40
    cleaner = Session(guard, key=KEY).cleaner()
    first = next(at for at, letter in enumerate(text, 1) if cleaner.feed(letter))
    cleaner = Session(guard, key=KEY).cleaner()
    began = time.perf_counter()
    for start in range(0, len(text), 4):
        cleaner.feed(text[start : start + 4])
    cleaner.close()
    return first, (time.perf_counter() - began) / len(text) * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    guard = TextGuard()
    cases, sessions, texts, randoms = (20_000, 2_000, 8, 400) if quick else (1_000_000, 10_000, 200, 10_000)
    began = time.perf_counter()
    wrong = round_trips(guard, cases, 0)
    seconds = time.perf_counter() - began
    crossed = crossings(guard, sessions)
    tried, other, leaks = cuts_of(texts, randoms, guard)
    first, work = first_delay(guard)
    rows = [
        row(f"round trips that differ, of {cases:,}", wrong, unit="cases", better="lower", must=0, goal=0),
        row("a round trip", seconds / cases * 1e6, unit="us", better="lower"),
        row(
            f"restores across {sessions:,} interleaved sessions", crossed, unit="cases", better="lower", must=0, goal=0
        ),
        row(f"cut streams that differ, of {tried:,}", other, unit="cases", better="lower", must=0, goal=0),
        row(f"streams of {texts} texts that leak", leaks, unit="cases", better="lower", must=0, goal=0),
        row("plain prose before the first goes out", first, unit="characters", better="lower", must=40, goal=16),
        row("cleaning 1,000 characters of a reply in 4s", work * 1000, unit="ms", better="lower", goal=5),
    ]
    finish("text_roundtrip", rows, {"tried": tried, "cases": cases}, quick=quick)


if __name__ == "__main__":
    main()
