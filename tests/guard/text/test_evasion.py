"""The guard against evasion, on a small sample of the set that ``bench/text_evasion.py`` measures in full."""

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from trustplane.guard.text import TextGuard

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))
from text_evasion import TRICKS, VALUES, Case, cases, combinations, decoys, flagged, found

ALONE = [tricks for tricks in combinations() if len(tricks) == 1]
PAIRS = [tricks for tricks in combinations() if len(tricks) == 2]


def lost(guard: TextGuard, samples: list[Case]) -> list[tuple[str, tuple[str, ...]]]:
    return [(sample.kind, sample.tricks) for sample in samples if not found(guard.detect(sample.text), sample)]


def test_plain_values_are_found(guard: TextGuard) -> None:
    assert not lost(guard, list(cases(21, [()], 3)))


def test_each_trick_alone_costs_nothing(guard: TextGuard) -> None:
    samples = list(cases(22, ALONE, 1))
    assert Counter(sample.kind for sample in samples) == dict.fromkeys(VALUES, len(TRICKS))
    assert len(lost(guard, samples)) <= 0.02 * len(samples)


def test_pairs_of_tricks_cost_at_most_two_points(guard: TextGuard) -> None:
    pairs = random.Random(23).sample(PAIRS, 40)
    samples = list(cases(24, pairs, 1))
    missed = lost(guard, samples)
    assert len(missed) <= 0.02 * len(samples), missed


def test_decoys_are_left_alone(guard: TextGuard) -> None:
    texts = list(decoys(25, 20))
    wrong = [text for text in texts if flagged(guard.detect(text))]
    assert len(wrong) <= 0.01 * len(texts), wrong


@pytest.mark.parametrize("chinese", [False, True])
def test_a_found_value_leaves_no_readable_part(guard: TextGuard, chinese: bool) -> None:
    before, after = ("请发邮件到", "，谢谢。") if chinese else ("Write to ", " for details.")
    for trick in TRICKS:
        written = TRICKS[trick](random.Random(26), "carla.jones@example.com")
        masked = guard.mask(before + written + after)
        assert masked.startswith(before + "<") and masked.endswith(after), trick
        assert len(masked) < len(before + after) + 20


TORN = ["\x00", "\x01", "\x7f", "\ud800", "\udfff", "\u2028", "\u2029", "\u200b\x00", "\x00\u200b\ud800"]


@pytest.mark.parametrize("between", TORN)
@pytest.mark.parametrize(
    ("value", "entity"),
    [
        ("4111111111111111", "CREDIT_CARD"),
        ("carla.jones@example.com", "EMAIL_ADDRESS"),
        ("+49 30 901820 11", "PHONE_NUMBER"),
        ("DE89370400440532013000", "IBAN_CODE"),
    ],
)
def test_what_shows_nothing_between_characters_hides_nothing(
    guard: TextGuard, between: str, value: str, entity: str
) -> None:
    for before, after in (("Call or write: ", " today"), ("请记下", "，谢谢")):
        for step in (1, 4):
            pieces = [value[at : at + step] for at in range(0, len(value), step)]
            if step == 4 and any(piece[0] == " " or piece[-1] == " " for piece in pieces):
                continue
            written = between.join(pieces)
            text = before + written + after
            places = [(h.start, h.end) for h in guard.detect(text) if h.entity == entity]
            assert places == [(len(before), len(before) + len(written))], (step, before)
