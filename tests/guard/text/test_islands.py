"""Searching round digits, quick checks and look-aheads taken out: each beside the slow, obvious way."""

import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.guard.text.presidio.checks import quick
from trustplane.guard.text.presidio.compiled import Compiled, compile_recognizers
from trustplane.guard.text.presidio.gates import encode
from trustplane.guard.text.presidio.islands import LONG, SHAPES, Islands
from trustplane.guard.text.presidio.lookahead import take_runs
from trustplane.guard.text.presidio.patterns import pattern_recognizers
from trustplane.guard.text.presidio.prefilter import prefilter

from .pattern_texts import samples

regex = pytest.importorskip("regex")
presidio = pytest.importorskip("presidio_analyzer")

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
PIECES = [
    "0", "1", "12", "345", "1234", "123456", "12345678", "9434765919", "12345678901", "a", "B", "xy", "DE", "AB", "rx ",
    "claim no. ", " ", "  ", "-", "/", ".", ":", "+", "_", "\n", "\t", "\x1c", "é", "中", "４", "٣", "\u0967", "ſ", "İ",
    "4111 1111 1111 1111", "536-90-4399", "12.05.2021", "2024-02-30T10:20:30Z", "192.168.0.1", "8001015009087",
    "44051401359", "80-00-12", "AB12 CDE", "131052-308T", "     ", "      ", "-------", "$", "'",
]  # fmt: skip


@pytest.fixture(scope="module")
def recognizers() -> list[Any]:
    return [type(r)(supported_language="en") for r in pattern_recognizers()]


@pytest.fixture(scope="module")
def ours(recognizers: list[Any]) -> Compiled:
    return compile_recognizers(recognizers)


def both_ways(ours: Compiled, text: str) -> None:
    """What each pattern matches on the islands is what it matches in the whole text."""
    data = encode(text)
    islands = ours._islands[text.isascii()]
    places = islands.places(data)
    for number in islands.held:
        pattern = ours.patterns[number]
        whole = [(start, match.end() - match.start()) for start, match in pattern._matches(text, data)]
        if number in places.spans:
            found = [(start, end - start) for start, end in places.spans[number]]
        elif (where := places.search.get(number, [])) is None:
            found = whole
        else:
            found = [(start, match.end() - match.start()) for start, match in pattern._at(text, where)]
        assert found == whole, (pattern.name, text)


@FEW
@given(st.lists(st.sampled_from(PIECES), max_size=14))
def test_islands_hold_what_the_whole_text_does(ours: Compiled, pieces: list[str]) -> None:
    both_ways(ours, "".join(pieces))


def test_islands_hold_the_examples_of_each_pattern(ours: Compiled) -> None:
    rng = random.Random(7)
    for number in sorted(ours._islands[True].held):
        pattern = ours.patterns[number]
        source = next(p for p in pattern.recognizer.patterns if p.name == pattern.name)
        examples = samples(source.regex, int(pattern.recognizer.global_regex_flags), rng, 4)
        for text in (*examples, " ".join(examples), "".join(examples), f"see {examples[0]}, {examples[1]}é 中\n"):
            both_ways(ours, text)
    assert len(ours._islands[True].held) > 120


ODD = [
    r"\d{2}[a-z]{0,4}(?=\d)", r"(?<!\d)\d{3}(?!\d)", r"(?>\d+|\d+-)\d", r"\d+?-?\d", r"(\d\d)-\1", r"^\d{3}$",
    r"\B\d{2}\B", r"(?:\d+-?)+x",
    r"(?:[a-z]\d){2,}", r"\d(?:-?\d)*", r"[a-z]{0,5}\d{2}(?=[a-z]{3})", r"\d{1,3}(?<=a\d+)", r"(?:\d|[x-z]){3}\d",
]  # fmt: skip


@FEW
@given(st.sampled_from(ODD), st.text(alphabet="0123a-z xyz\né٣", max_size=40))
def test_islands_of_odd_patterns(source: str, text: str) -> None:
    odd = presidio.PatternRecognizer("ODD", patterns=[presidio.Pattern("odd", source, 0.7)])
    both_ways(compile_recognizers([odd]), text)


def test_memory_of_shapes_is_bounded_and_long_islands_are_not_kept(ours: Compiled) -> None:
    islands = Islands({0: ours.patterns[0].member}, is_ascii=True)  # type: ignore[dict-item]
    rng = random.Random(1)
    for _ in range(6):
        words = ["".join(rng.choice("1aA-") for _ in range(9)) + "1" for _ in range(2_000)]
        islands.places(encode("            ".join(words)))
        assert len(islands._memory[1]) <= SHAPES
    long = encode("x" * 9 + "1 " * LONG + "x" * 9)
    before = dict(islands._memory[1])
    islands.places(long)
    assert islands._memory[1] == before


@pytest.mark.parametrize(
    "name",
    ["CreditCard", "PlPesel", "SeOrganisationsnummer", "SePersonnummer", "NgNin", "AuAbn", "KrBrn", "ItVatCode"],
)
def test_quick_checks_answer_as_presidios(recognizers: list[Any], name: str) -> None:
    recognizer = next(r for r in recognizers if type(r).__name__ == f"{name}Recognizer")
    own = recognizer.validate_result
    fast = quick(recognizer, own)
    assert fast is not own
    rng = random.Random(name)
    answers = set()
    for _ in range(6_000):
        text = "".join(rng.choice("0123456789") for _ in range(rng.choice((1, 9, 10, 10, 11, 11, 11, 12, 13, 16))))
        for _ in range(rng.choice((0, 0, 1, 2))):
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice("-+ _٣x") + text[at:]
        results = []
        for check in (own, fast):
            try:
                results.append(check(text))
            except Exception as error:
                results.append(type(error))
        assert results[0] == results[1] and type(results[0]) is type(results[1]), text
        answers.add(results[0])
    assert {True, False} <= answers


def test_a_check_of_the_users_is_not_replaced() -> None:
    known = pytest.importorskip("presidio_analyzer.predefined_recognizers")
    mine = type("Mine", (known.CreditCardRecognizer,), {})()
    own = mine.validate_result
    assert quick(mine, own) is own


RUNS = r"\b(?=[A-Z0-9-]{6,20}\b)(?=[A-Z0-9-]*[A-Z])(?=[A-Z0-9-]*\d)[A-Z]{1,5}-?[A-Z0-9]{5,14}\b"


@FEW
@given(
    st.lists(st.sampled_from(["A", "b", "7", "-", " ", "AB", "1234", "XY-", "É", "٣", "_", "abcdef", "ſ"]), max_size=30)
)
def test_look_aheads_through_a_run(pieces: list[str]) -> None:
    text = "".join(pieces)
    flags = int(regex.DOTALL | regex.MULTILINE | regex.IGNORECASE)
    rest, runs = take_runs(RUNS, flags)
    assert len(runs) == 2 and "*" not in rest
    holds = [run.holds(text) for run in runs]
    found = [m.span() for m in regex.finditer(rest, text, flags) if all(h(m.start()) for h in holds)]
    assert found == [m.span() for m in regex.finditer(RUNS, text, flags)]


@pytest.mark.parametrize(
    "pattern", [r"(?=[a-z]*\d)[a-z]+_?", r"(?=[a-z]*\d)x|y", r"(?=[a-z]*\d)(?:ab)+", r"x(?=[a-z]*\d)", r"(?=[a-z]*\d)."]
)
def test_what_cannot_be_taken_out_stays(pattern: str) -> None:
    assert take_runs(pattern, int(regex.DOTALL)) == (pattern, [])


def test_look_aheads_take_linear_time(ours: Compiled) -> None:
    pattern = next(p for p in ours.patterns if p.name.startswith("Health insurance"))
    for piece in ("9JK7-FH2-WA9", "AB-", "ABCDEF-"):
        text = piece * (100_000 // len(piece)) + " 1"
        began = time.perf_counter()
        list(pattern.find(text, encode(text)))
        assert time.perf_counter() - began < 5


def test_spread_of_patterns() -> None:
    assert prefilter(r"[A-Z]{2}-?\d{3}[a-z]?", 0).spread[:4] == (-1, 3, 1, 0)
    assert prefilter(r"\d(?:[ -]\d)*x", 0).spread[:4] == (-1, 0, 1, 1)
    assert prefilter(r"[A-Z\d]{3}", 0).spread.none == 3
    assert prefilter(r"\d[a-z]*\d(?=.{7})", 0).spread.between > 1000
    assert prefilter(r"\d(?=.{7})", 0).spread.ahead == 7
    assert prefilter(r"[a-z]\d-", 0).plain and not prefilter(r"[a-y]\d", 0).plain
