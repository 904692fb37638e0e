"""Texts searched together and remembered: the findings are those of each text searched alone; nothing of it is kept."""

import json
import random
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.guard.text import TextGuard
from trustplane.guard.text.guarded import Guarded
from trustplane.guard.text.memo import Digests, Memo
from trustplane.guard.text.policy import Policy
from trustplane.guard.text.session import Session, holds_codes

from .test_detect import CASES

PIECES = [text for text, _, _ in CASES] + [
    "", "x", "Dear", "Bob", "card number", "4111", "1111 1111 1111", "SSN", "my phone is", "password:", "我叫",
    "张伟，你好", "电话", "13800138000", "alice", "@example.com",
    "bWFpbCBhbGljZUBleGFtcGxlLmNvbQ==", "alice%40example.com", "a\x00b",
]  # fmt: skip
RUNS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RUNS
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=20), min_size=2, max_size=20))
def test_together_is_alone(guard: TextGuard, texts: list[str]) -> None:
    together = guard.candidates_many(texts)
    assert [sorted(hits) for hits in together] == [sorted(guard.candidates(text)) for text in texts]


def test_every_rule_finds_its_examples_together(guard: TextGuard) -> None:
    examples = [example for rule in guard._engine.rules for example in rule.examples]
    random.Random(5).shuffle(examples)
    together = guard.candidates_many(examples)
    assert [sorted(hits) for hits in together] == [sorted(guard.candidates(example)) for example in examples]


@pytest.fixture(scope="module")
def guarded(guard: TextGuard) -> Guarded:
    return Guarded(Policy.preset("proxy"), guard)


@RUNS
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_second_look_decides_the_same(guarded: Guarded, texts: list[str], chance: random.Random) -> None:
    first = guarded.decide_many(texts)
    others = list(texts)
    chance.shuffle(others)
    guarded.decide_many(others[: len(others) // 2])
    assert guarded.decide_many(texts) == first
    fresh = Guarded(guarded.policy, guarded.guard)
    assert [d._replace(hits=tuple(sorted(d.hits))) for d in fresh.decide_many(texts)] == [
        d._replace(hits=tuple(sorted(d.hits))) for d in first
    ]


@RUNS
@given(st.lists(st.sampled_from([*PIECES, "[EMAIL_ADDRESS_2222]", "PERSON 7k2q", "a_23BC_"]), min_size=1, max_size=6))
def test_a_whole_document_is_rewritten_as_part_by_part(guarded: Guarded, texts: list[str]) -> None:
    decisions = guarded.decide_many(texts)
    key = bytes(range(32))
    slow, fast = (Session(guarded.guard, key=key) for _ in range(2))
    assert guarded.apply_many(decisions, texts, slow) == guarded.apply_many(decisions, texts, fast, whole=True)


@given(st.text(alphabet="abcPERSON_2379BCD[]* -\n\\%", max_size=30))
def test_what_holds_no_codes_holds_no_pseudonym(text: str) -> None:
    class Nobody:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    session = Session(Nobody(), key=bytes(32))  # type: ignore[arg-type]
    for code in ("2379", "BCD2", "9B3C"):
        session._pseudonyms.add(f"PERSON_{code}", "Ada")
    if session._pseudonyms.literals(text):
        assert holds_codes(text)


def test_a_name_found_later_is_found_in_what_is_remembered(guarded: Guarded) -> None:
    old = "she met quillon vexley there"
    assert guarded.decide_many([old, "x"])[0].hits == ()
    both = guarded.decide_many([old, "My name is Quillon Vexley."])
    assert [d.hit.entity for d in both[0].hits] == ["PERSON"]


def test_a_value_over_the_border_of_parts(guarded: Guarded) -> None:
    texts = ["mail alice@exam", "ple.com now", "and alice@exam", "ple.com"]
    apart = guarded.decide_many(texts)
    joined = guarded.decide_many(texts, joined=[(0, 1)])
    assert [d.hit.entity for d in joined[1].hits] == ["EMAIL_ADDRESS"] and joined[1].hits[0].hit.end == len("ple.com")
    assert joined[2:] == apart[2:] and "EMAIL_ADDRESS" not in {d.hit.entity for d in apart[1].hits}


def test_judges_by_source(guard: TextGuard) -> None:
    asked: list[tuple[str, str]] = []

    class Judge:
        def judge(self, text: str, *, source: str = "") -> Any:
            asked.append((text, source))
            return type("Said", (), {"outcome": "clean", "rules": ()})()

    policy = Policy.parse('[judges.injection]\nhit = "block"')
    Guarded(policy, guard, judges={"injection": Judge()}).decide_many(
        ["a", "b", "c", "d"], sources=["user", "tool", "", "user"]
    )
    assert asked == [("a\nd", "user"), ("b", "tool")]


def test_nothing_of_a_text_is_kept(guard: TextGuard) -> None:
    guarded = Guarded(Policy.preset("proxy"), guard)
    guarded.decide_many(["kanarienvogel@example.com", "My name is Quillon Vexley", "and Quillon Vexley"])
    kept = repr([memo._found for memo in (guarded._seen, guarded._repeated, guarded._decided) if memo])
    assert "kanarien" not in kept and "Vexley" not in kept


def test_the_memo_is_bounded() -> None:
    memo: Memo[int] = Memo(entries=3, weight=10)
    for number in range(5):
        memo.put(number, number, 1)
    assert [memo.get(n) for n in range(5)] == [None, None, 2, 3, 4]
    assert memo.get(2) == 2  # used last, so it stays longest
    memo.put(5, 5, 8)
    assert memo.get(3) is None and memo.get(2) == 2 and memo.get(5) == 5
    memo.put(6, 6, 11)
    assert memo.get(6) is None and len(memo) == 3
    one, other = Digests(), Digests()
    assert one.of("a") == one.of("a") != other.of("a") and one.of("a", "b") != one.of("ab") and one.of("\ud800")


def test_threads_share_the_memo(guarded: Guarded) -> None:
    texts = [f"mail u{n}@example.com, {json.dumps(n)}" for n in range(30)]
    alone = guarded.decide_many(texts)
    wrong: list[int] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(20):
            picked = chance.sample(range(30), 7)
            made = guarded.decide_many([texts[n] for n in picked])
            if [d.hits for d in made] != [alone[n].hits for n in picked]:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
