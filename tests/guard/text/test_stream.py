"""Streams cut anywhere: the same text out, nothing leaked, little held, bounded memory."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from trustplane.errors import InputError
from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.reply import Cleaner
from trustplane.guard.text.reply_json import ReplyText
from trustplane.guard.text.restore import Pseudonyms
from trustplane.guard.text.segment import MOST
from trustplane.guard.text.stream import BLOCK, LONGEST_HIT, Bytes, Redactor

KEY = b"k" * 32
PLANTED = ["bob@invented.org", "4111 1111 1111 1111", "+1 212-555-0123", "13800138000", "11010519491231002X",
           "sk-abcdefghijklmnop1234", "ｂｏｂ＠invented.org"]  # fmt: skip
PROSE = ["the cat sat on the mat, ", "an ordinary sentence about engines. ", "他昨天去了图书馆，", "看书。", "😀 ",
         "مرحبا بك ", "\r\n", "\n\n", "1 2 3 ", "[EMAIL_", "\\", "<b>", "see page 12, "]  # fmt: skip


def text_of(seed: int, length: int) -> str:
    draw = random.Random(seed)
    out = ""
    while len(out) < length:
        out += draw.choice(PROSE) * draw.choice([1, 1, 3])
        if draw.random() < 0.3:
            out += draw.choice(PLANTED) + draw.choice([" ", ", ", "。", "\n"])
    return out


def cut(data: bytes, draw: random.Random) -> list[bytes]:
    places = sorted(draw.randrange(len(data) + 1) for _ in range(draw.choice([1, 2, 5, 20])))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def run(stream: Bytes, pieces: list[bytes]) -> bytes:
    return b"".join(stream.feed(piece) for piece in pieces) + stream.close()


@pytest.mark.parametrize("seed", range(4))
def test_every_kind_of_cut(guard: TextGuard, seed: int) -> None:
    text = text_of(seed, 200 if seed % 2 else 1400)
    data = text.encode()
    makers: dict[str, Callable[[], Any]] = {
        "mask": lambda: Redactor(guard),
        "hide": lambda: Redactor(guard, Session(guard, key=KEY)),
        "clean": lambda: Session(guard, key=KEY).cleaner(),
    }
    draw = random.Random(seed)
    for name, make in makers.items():
        expected = make().whole(text)
        assert not any(value in expected for value in PLANTED), name
        assert run(Bytes(make()), [data[i : i + 1] for i in range(len(data))]).decode() == expected, name
        for _ in range(8):
            assert run(Bytes(make()), cut(data, draw)).decode() == expected, name
    hidden = Redactor(guard, session := Session(guard, key=KEY)).whole(text)
    assert session.restore(hidden) == text
    restorer = Bytes(session.stream())
    assert run(restorer, cut(hidden.encode(), draw)) == data


def test_short_texts_are_hidden_as_a_whole_would_be(guard: TextGuard) -> None:
    text = text_of(3, 500)[: BLOCK + 200]
    assert Redactor(guard, Session(guard, key=KEY)).whole(text) == Session(guard, key=KEY).hide(text)
    assert Redactor(guard).whole(text) == guard.mask(text)


def test_values_at_every_place_around_a_block(guard: TextGuard) -> None:
    redactor = Redactor(guard)
    for value in PLANTED[:3]:
        for place in range(BLOCK - len(value) - 70, BLOCK + redactor.margin + 5, 23):
            for filler in ("x", "ab "):
                text = (filler * BLOCK)[:place] + " " + value + " " + filler * 400
                assert value not in Redactor(guard).whole(text), (value, place)


def test_bytes_that_are_not_utf8(guard: TextGuard) -> None:
    for bad in (b"secret \xff", b"secret \xe4\xb8", b"\xed\xa0\x80"):
        stream = Bytes(Redactor(guard))
        with pytest.raises(InputError) as caught:
            stream.feed(bad[:3])
            stream.feed(bad[3:])
            stream.close()
        assert "secret" not in str(caught.value) and caught.value.__cause__ is None
        assert "\ufffd" in run(Bytes(Redactor(guard), "replace"), [bad]).decode()
    with pytest.raises(InputError):
        Bytes(Redactor(guard), "ignore")


def test_a_redactor_is_bounded_and_fails_closed(guard: TextGuard) -> None:
    redactor = Redactor(guard)
    for _ in range(300):
        redactor.feed("x" * 97)
        assert len(redactor._buffer) <= BLOCK + redactor.margin
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIB " * (LONGEST_HIT // 2)
    with pytest.raises(InputError) as caught:
        Redactor(guard).feed(key)
    assert "MIIB" not in str(caught.value)


ENDLESS = ["x", "1", "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpQIBAAKCAQEA7b\n" * 300, "中", "[PERSON_", "a1 ", " ",
           "\\u00e9", '"', "1 22 333 "]  # fmt: skip


@pytest.mark.parametrize("unit", ENDLESS)
@pytest.mark.parametrize("as_json", [False, True])
def test_an_endless_reply_is_bounded_and_the_same_however_cut(guard: TextGuard, unit: str, as_json: bool) -> None:
    text = "to start, " + (unit * 4500)[:4500] + " then bob@invented.org and -----END RSA PRIVATE KEY----- more"
    if as_json:
        text = json.dumps({"a": text}) + text
    make = ReplyText if as_json else Cleaner
    table = Pseudonyms()
    table.add("PERSON_7K2Q", "Alice")
    whole = make(guard, table)
    expected = whole.whole(text)
    assert "bob@invented" not in expected and "MIIEpQIBAAKCAQEA7b" not in expected
    for size in (170, 700):
        cleaner = make(guard, table)
        out = ""
        for start in range(0, len(text), size):
            out += cleaner.feed(text[start : start + size])
            held = re.search(r"[0-9]+", repr(cleaner))
            assert held is not None and int(held.group()) <= MOST + table.longest + size
        assert out + cleaner.close() == expected
        assert cleaner.masked == whole.masked


def test_listed_names_are_kept_whole() -> None:
    guard = TextGuard(names=["Jane Roe"])
    draw = random.Random(8)
    for seed in range(8):
        parts = [draw.choice([*PLANTED, *PROSE, "Jane Roe", "jane  roe"]) for _ in range(40)]
        text = " ".join(parts)
        expected = guard.session().clean(text)[0]
        assert "Jane Roe" not in expected and "jane  roe" not in expected
        for piece in cut(text.encode(), random.Random(seed)), [bytes([b]) for b in text.encode()]:
            assert run(Bytes(guard.session().cleaner()), piece).decode() == expected


def test_a_long_key_is_hidden_by_both(guard: TextGuard) -> None:
    key = (
        "-----BEGIN RSA PRIVATE KEY-----\n"
        + "MIIEpQIBAAKCAQEA7bMIIEpQIBAAKCAQEA7b\n" * 90
        + "-----END RSA PRIVATE KEY-----"
    )
    text = "here it is: " + key + "\nand that was it."
    for make in (lambda: Redactor(guard), lambda: guard.session().cleaner()):
        expected = make().whole(text)
        assert "MII" not in expected and expected.endswith("and that was it.")
        assert run(Bytes(make()), [bytes([b]) for b in text.encode()]).decode() == expected


def test_prose_goes_out_at_once(guard: TextGuard) -> None:
    cleaner = guard.session().cleaner()
    given_at = []
    for at, letter in enumerate("Certainly! Here is what happened on the way to the station yesterday evening."):
        if cleaner.feed(letter):
            given_at.append(at)
    assert given_at[0] <= len("Certainly! ") and len(given_at) >= 3
