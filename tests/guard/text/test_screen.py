"""The screen of replies: what it lets a search leave out is never a finding, wherever a text is cut."""

import random
import re

import pytest

from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.policy import Policy
from trustplane.guard.text.reply_view import ReplyView
from trustplane.guard.text.screen import Screen, screen_of

WORDS = re.split(
    " ",
    "the member asked about insurance and a card, phone or token; password policy, street box 12 zip 94103 page=2 "
    "https://api.example.com/v1/items/8841?page=2 responsibilities id number: 48213-77 account “quoted” — 图书馆， "
    "version 3.11.7 /usr/local/lib/python3.11 self-explanatory abcDefGhiJklMno [at] dot 10:30 19 % é 😀 привет "
    "commit 3f786850e387550fdab836ed7e6dc881de23001b --token\nand\r\nmore lines curl -X POST passport VAT "
    r"\u0062ob@invented.org bob%40invented.org bob&#64;invented.org \u6e2f\u6fb3\u901a\u884c\u8bc1C12345678"
    " Ym9iQGludmVudGVkLm9yZyBpcyBtaW5l",
)


@pytest.fixture(scope="module")
def view(guard: TextGuard) -> ReplyView:
    return ReplyView(Guarded(Policy.preset("proxy"), guard))


def text_of(draw: random.Random, values: list[str]) -> str:
    words = draw.choices([*WORDS, *(draw.choice(values) for _ in range(8))], k=draw.choice([5, 40, 120]))
    return "".join(word + draw.choice([" ", " ", ", ", "\n", ""]) for word in words)


@pytest.mark.parametrize("seed", range(40))
def test_a_part_is_searched_as_if_all_of_it_were(view: ReplyView, seed: int) -> None:
    screen, draw = view.screen, random.Random(seed)
    assert screen is not None
    values = [example for rule in view._guard._engine.rules for example in rule.examples]
    text = text_of(draw, values)
    whole = screen.read(text)
    for _ in range(6):
        start, end = sorted(draw.sample(range(len(text) + 1), 2))
        offset = draw.randrange(start, end)
        part = text[start:end]
        expected = [hit for hit in view.detect(part) if hit.end > offset - start]
        for reading, first in ((whole, start), (screen.read(part, parts=False), 0)):
            if reading is None:
                continue
            found = reading.candidates(part, first, first + offset - start, first + len(part))
            if found is not None:
                assert [hit for hit in view.decided(part, found) if hit.end > offset - start] == expected
                assert not (expected and reading.silent)


def test_ordinary_prose_is_silent(view: ReplyView) -> None:
    assert view.screen is not None
    reading = view.screen.read("The quick fox likes to walk along the river in the morning. " * 20)
    assert reading is not None and reading.silent


def test_hits_end_where_the_shapes_of_a_rule_say(guard: TextGuard) -> None:
    shaped = [rule for rule in guard._engine.rules if rule.shapes]
    assert shaped
    for rule in shaped:
        for example in rule.examples:
            for text in (example, f"so {example} and more of it, 12 words on"):
                ends = [m.end() + behind for shape, behind in rule.shapes for m in re.finditer(shape, text)]
                assert all(any(hit.end <= end for end in ends) for hit in rule.search(text)), rule.id


def test_guards_whose_findings_rest_on_more_have_none(guard: TextGuard) -> None:
    assert screen_of(guard) is None and screen_of(TextGuard(names=["Ada"])) is None
    stopping = Policy.parse('version = "1"\n[rules.EMAIL_ADDRESS]\nin = "block"\n')
    assert ReplyView(Guarded(stopping, guard)).screen is None


def test_a_view_with_a_detect_of_its_own_is_asked_for_all(guard: TextGuard) -> None:
    class Own(ReplyView):
        def detect(self, text: str, **more: object) -> list[Hit]:
            return []

    assert Own(Guarded(Policy.preset("proxy"), guard)).screen is None
    assert isinstance(ReplyView(Guarded(Policy.preset("proxy"), guard)).screen, Screen)
