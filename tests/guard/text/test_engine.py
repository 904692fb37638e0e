"""The engine: gates that never hide a hit, threads, odd text, failing rules, and what it says of itself."""

import asyncio
import random
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError, Refused
from trustplane.guard.text import TextGuard
from trustplane.guard.text.engine import Engine
from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.presidio.gates import encode
from trustplane.guard.text.rules import RULES
from trustplane.guard.text.views import fold, latin

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EXAMPLES = sorted({example for rule in RULES for example in rule.examples})


@pytest.fixture(scope="module")
def everything() -> Engine:
    return Engine(RULES)


def ungated(rules: Iterable[Rule], text: str) -> set[Hit]:
    """The slow, obvious way: every rule on the whole text."""
    found: set[Hit] = set()
    for rule in rules:
        for hit in rule.search(latin(text) if rule.view == "latin" else text):
            found.add(hit if hit.rule else hit._replace(rule=rule.id))
    return found


def test_gates_hide_nothing_from_the_examples(everything: Engine) -> None:
    assert EXAMPLES
    rng = random.Random(5)
    for own, example in rng.sample([(rule, example) for rule in RULES for example in rule.examples], 120):
        text = fold(example).text
        assert ungated([own], text) <= set(everything.search(text)), (own.id, example)
    for example in rng.sample(EXAMPLES, 25):
        text = fold(example).text
        assert set(everything.search(text)) == ungated(RULES, text), example


@FEW
@given(
    st.lists(
        st.one_of(st.sampled_from(EXAMPLES), st.text(alphabet="0123456789-/. :ABab号码é", max_size=14)), max_size=4
    ),
    st.sampled_from(["", " ", "\n", "："]),
)
def test_gates_hide_nothing(everything: Engine, parts: list[str], between: str) -> None:
    text = fold(between.join(parts)).text
    assert set(everything.search(text)) == ungated(RULES, text)


def word_rule(name: str, word: str, *, gate: tuple[str, ...] = (), view: str = "folded") -> Rule:
    def search(text: str) -> Iterable[Hit]:
        at = text.find(word)
        if at >= 0:
            yield Hit("WORD", at, at + len(word), 0.5)

    return Rule(name, "1", ("WORD",), search, gate, view)  # type: ignore[arg-type]


def test_views_gates_and_ids() -> None:
    rules = [
        word_rule("own/a", "a", gate=("a",)),
        word_rule("own/b", "b", gate=("c", "b")),
        word_rule("own/closed", "a", gate=("never",)),
        word_rule("own/always", "a"),
        word_rule("own/blank", "<", gate=("<",), view="latin"),
    ]
    engine = Engine(rules)
    assert sorted(hit.rule for hit in engine.search("ab")) == ["own/a", "own/always", "own/b"]
    assert [hit.rule for hit in engine.search("中")] == ["own/blank"]
    assert [hit.rule for hit in engine.search("é中a") if hit.start == 1] == ["own/blank"]
    assert {row["id"]: row["engine"] for row in engine.explain()} == {
        "own/a": "gated", "own/b": "gated", "own/closed": "gated", "own/always": "always", "own/blank": "gated",
    }  # fmt: skip
    assert Engine([]).search("anything 中") == []
    with pytest.raises(InputError):
        Engine([rules[0], rules[0]])
    with pytest.raises(InputError):
        Engine([word_rule("own/x", "x", gate=("(?=x)",))]).search("x")


def test_a_rule_that_fails_says_nothing_of_the_text() -> None:
    def search(text: str) -> Iterable[Hit]:
        raise ValueError(text)

    engine = Engine([Rule("own/bad", "1", ("X",), search)])  # type: ignore[arg-type]
    with pytest.raises(Refused, match="own/bad") as caught:
        engine.search("kept secret")
    assert "kept secret" not in str(caught.value) and caught.value.__cause__ is None


def test_explanations_are_complete_and_uniform(guard: TextGuard) -> None:
    rows = guard.explain_rules()
    assert len({tuple(row) for row in rows}) == 1, "each row has the same keys"
    assert {row["engine"] for row in rows} <= {"gated", "always", "as it is", "left out"}
    assert all(row["id"] and row["entities"] for row in rows)
    known = {row["id"] for row in rows}
    text = "I am Ada Lovelace, bob@example.com, card 4111 1111 1111 1111, Ada Lovelace again"
    assert {hit.rule for hit in guard.candidates(text)} <= known


def test_eight_threads_find_what_one_finds(guard: TextGuard) -> None:
    rng = random.Random(3)
    texts = [" ".join(rng.sample(EXAMPLES, 3)) for _ in range(40)]
    alone = [guard.detect(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        for order in (texts, texts):
            assert list(pool.map(guard.detect, order)) == alone


@FEW
@given(st.text(alphabet=st.sampled_from("a1@.\ud800\udfff\x00\u200b４中é😀"), max_size=30))
def test_odd_characters_keep_their_places(guard: TextGuard, noise: str) -> None:
    assert len(encode(noise).decode()) == len(noise)
    text = f"{noise} 4111111111111111 {noise}"
    assert any(hit.start <= len(noise) + 1 and hit.end >= len(noise) + 17 for hit in guard.detect(text))


class Finder:
    name, version, entities, heavy, digest = "test", "1", ("PERSON", "LOCATION"), True, "sha256:00"

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def find(self, text: str) -> Iterable[Hit]:
        self.threads.add(threading.get_ident())
        if "boom" in text:
            raise RuntimeError(text)
        at = text.find("Zanzibar")
        return [Hit("LOCATION", at, at + 8, 0.9)] if at >= 0 else []


def test_heavy_finders_stay_out_of_event_loops() -> None:
    finder = Finder()
    heavy = TextGuard(entities=["LOCATION"], finders=[finder])

    async def both() -> list[Hit]:
        with pytest.raises(InputError, match="event loop") as caught:
            heavy.detect("to Zanzibar")
        assert "adetect" in caught.value.hint
        finder.threads.clear()
        return await heavy.adetect("to Zanzibar")

    assert [(hit.entity, hit.rule) for hit in asyncio.run(both())] == [("LOCATION", "names/test")]
    assert threading.get_ident() not in finder.threads
    assert heavy.detect("to Zanzibar") and heavy.policy_digest.startswith("sha256:")
    with pytest.raises(Refused, match="'test'") as failed:
        heavy.detect("boom kept secret")
    assert "secret" not in str(failed.value)
