"""Steps: which facts they take, and that nothing in them can stop the log or change after the fact."""

import math

import msgspec
import pytest

from trustplane.errors import InputError
from trustplane.step import MAX_INT, Finding, Ref, Step


class Thing:
    def __repr__(self):  # the same in every worker: it names a test
        return "Thing()"


OBJECT = Thing()


def test_a_step_with_everything():
    ref = Ref("sha256:00", "model", "credit", "1.2")
    step = Step("guard.text.mask", "masked", (ref,), (ref,), (ref,), (Finding("person", 0.5),), {"latency_us": 3})
    assert step.facts == {"latency_us": 3}
    with pytest.raises(AttributeError):
        step.action = "other"


@pytest.mark.parametrize(
    "facts",
    [
        {"a": 1, "b": True, "c": None, "d": "中文", "e_1": -MAX_INT, "f": MAX_INT, "g": "x" * 256},
        {"note": ["a", 1, True, None], "pair": (1, 2), "a" * 64: 0},
    ],
)
def test_facts_that_are_taken(facts):
    assert set(Step("a", facts=facts).facts) == set(facts)


@pytest.mark.parametrize(
    "facts",
    [
        {"a": 1.0}, {"a": math.nan}, {"a": MAX_INT + 1}, {"a": -MAX_INT - 1}, {"a": "x" * 257}, {"a": b"x"},
        {"a": {"b": 1}}, {"a": [1.5]}, {"a": [[1]]}, {"a": [2**60]}, {"a": ["x" * 257]}, {"a": "\ud800"},
        {"a": ["\udfff"]}, {"": 1}, {"A": 1}, {"1a": 1}, {"a-b": 1}, {"a\n": 1}, {"ä": 1}, {"a" * 65: 1}, {1: 1},
        {"a": {1}}, {"a": OBJECT},
    ],
    ids=lambda f: repr(f)[:30],
)  # fmt: skip
def test_facts_that_are_refused(facts):
    with pytest.raises(InputError) as caught:
        Step("a", facts=facts)
    assert "x" * 257 not in str(caught.value)


def test_actions_and_results_are_short_words():
    for action, result in (("", "done"), ("a" * 257, "done"), ("a", "r" * 257), ("\ud800", "done"), ("a", "\ud800")):
        with pytest.raises(InputError):
            Step(action, result)
    assert Step("收入验证").action == "收入验证"


def test_references_and_findings_are_checked_when_made():
    for make in (
        lambda: Ref("\ud800", "text"),
        lambda: Ref("x", "text", "\ud800"),
        lambda: Finding("r", 1.01),
        lambda: Finding("r", -0.01),
        lambda: Finding("r", math.nan),
        lambda: Finding("\ud800", 0.5),
        lambda: Finding("r", 0.5, -1, 3),
        lambda: Finding("r", 0.5, 0, 2**60),
    ):
        with pytest.raises(InputError):
            make()


def test_facts_belong_to_the_step():
    facts = {"a": 1, "b": [1]}
    step = Step("a", facts=facts)
    facts["a"] = 2
    facts["b"].append(math.nan)
    assert step.facts["a"] == 1 and list(step.facts["b"]) == [1]


def test_the_evidence_of_a_finding_has_no_fractions():
    assert Finding("r", 0.9876, 3, 9, "input").evidence() == {
        "rule": "r", "score_milli": 988, "start": 3, "end": 9, "place": "input",
    }  # fmt: skip
    assert Finding("r", 0).evidence() == {"rule": "r", "score_milli": 0}


def test_steps_travel_as_json():
    step = Step("a", facts={"x": 1}, inputs=(Ref("d", "k"),))
    assert msgspec.json.decode(msgspec.json.encode(step), type=Step) == step
    with pytest.raises((InputError, msgspec.ValidationError)):
        msgspec.json.decode(b'{"action":"a","facts":{"x":1.5}}', type=Step)
