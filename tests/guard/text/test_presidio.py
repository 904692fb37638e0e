"""The compiled Presidio finds what Presidio finds; the user's recognisers plug in; what fails blocks."""

import csv
import gzip
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError, Refused
from trustplane.guard.text import TextGuard
from trustplane.guard.text.engine import Engine
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.presidio.adopt import adopt
from trustplane.guard.text.presidio.charset import DIGIT, SPACE, WORD, fold_case, union
from trustplane.guard.text.presidio.compiled import DIFFERENCES, Compiled, compile_recognizers
from trustplane.guard.text.presidio.duplicates import remove_duplicates
from trustplane.guard.text.presidio.gates import Gates, encode
from trustplane.guard.text.presidio.outside import Outside
from trustplane.guard.text.presidio.patterns import pattern_recognizers
from trustplane.guard.text.presidio.prefilter import prefilter

from .pattern_texts import samples

regex = pytest.importorskip("regex")
re2 = pytest.importorskip("re2")
presidio = pytest.importorskip("presidio_analyzer")

FEW = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SHARED = Path("../shared/data")
Places = list[tuple[str, int, int, float]]


@pytest.fixture(scope="module")
def recognizers() -> list[Any]:
    """All pattern recognisers of all countries, as of one language."""
    return [type(r)(supported_language="en") for r in pattern_recognizers()]


@pytest.fixture(scope="module")
def ours(recognizers: list[Any]) -> Compiled:
    return compile_recognizers(recognizers)


@pytest.fixture(scope="module")
def theirs(recognizers: list[Any]) -> Callable[[str], Places]:
    """Presidio's own engine without a model; its e-mail check is kept from the network."""
    import tldextract.tldextract
    from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

    class NoTokens(NlpEngine):  # type: ignore[misc]
        def load(self) -> None: ...
        def is_loaded(self) -> bool:
            return True

        def process_text(self, text: str, language: str) -> Any:
            return NlpArtifacts([], [], [], [], self, language)

        def process_batch(self, texts: Any, language: str, **_: Any) -> Iterator[Any]:
            return ((text, self.process_text(text, language)) for text in texts)

        def is_stopword(self, word: str, language: str) -> bool:
            return False

        def is_punct(self, word: str, language: str) -> bool:
            return False

        def get_supported_entities(self) -> list[str]:
            return []

        def get_supported_languages(self) -> list[str]:
            return ["en"]

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = presidio.AnalyzerEngine(
        registry=presidio.RecognizerRegistry(recognizers=recognizers),
        nlp_engine=NoTokens(),
        supported_languages=["en"],
    )

    def analyze(text: str) -> Places:
        found = engine.analyze(text, "en", score_threshold=0)
        return sorted((r.entity_type, r.start, r.end, r.score) for r in found)

    return analyze


def agree(ours: Compiled, theirs: Callable[[str], Places], text: str) -> None:
    """Both find the same, or both fail: a check of Presidio's raises on some digits that are not ASCII."""
    try:
        expected = theirs(text)
    except Exception:
        with pytest.raises(Refused):
            ours.analyze(text)
    else:
        assert places(ours.analyze(text)) == expected


def places(hits: list[Hit]) -> Places:
    return sorted((hit.entity, hit.start, hit.end, hit.score) for hit in hits)


def presidio_small(folder: Path) -> Iterator[str]:
    with gzip.open(folder / "generated_small.json.gz", "rt") as file:
        yield from (row["full_text"] for row in json.load(file))


def sms_spam(folder: Path) -> Iterator[str]:
    with gzip.open(folder / "SMSSpamCollection.tsv.gz", "rt", encoding="utf-8") as file:
        yield from (line.rstrip("\n").partition("\t")[2] for line in file)


def wnut17(folder: Path) -> Iterator[str]:
    with gzip.open(folder / "emerging.dev.conll.gz", "rt", encoding="utf-8") as file:
        for sentence in file.read().split("\n\n"):
            yield " ".join(line.split("\t")[0] for line in sentence.splitlines() if line.strip())


def adult(folder: Path) -> Iterator[str]:
    with gzip.open(folder / "adult.data.gz", "rt") as file:
        yield from ("; ".join(f"field {i}: {value.strip()}" for i, value in enumerate(row)) for row in csv.reader(file))


@pytest.mark.parametrize("read", [presidio_small, sms_spam, wnut17, adult])
def test_finds_what_presidio_finds(
    read: Callable[[Path], Iterator[str]], ours: Compiled, theirs: Callable[[str], Places]
) -> None:
    folder = SHARED / read.__name__
    if not folder.exists():
        pytest.skip(f"{folder} is absent")
    texts = list(read(folder))
    for text in random.Random(4).sample(texts, min(100, len(texts))):
        agree(ours, theirs, text)


VALUES = [
    "4111 1111 1111 1111", "GB82 WEST 1234 5698 7654 32", "192.168.10.20", "fe80::1ff:fe23:4567:890a", "::",
    "12.05.2021", "2024-02-30T10:20:30Z",
    "a.b@c-d.co.uk", "https://www.example.com/a?b=c", "'example.org/x'", "00:1A:2B:3C:4D:5E",
    "1A2b.3c4D.5e6f", "536-90-4399", "11010519491231002X", "A12345678", "ABCDE1234F", "RSSMRA85T10A562S",
    "131052-308T", "44051401359", "943 476 5919", "AB12 CDE", "1A00A00AA00", "abcde_12345", "QQ 12 34 56 C",
    "S1234567D", "80-00-12",
]  # fmt: skip
FAR_FETCHED = "4١７٣ſKİıßÄ中\u200b\u3000\u00a0é👍\n\r\x00_-:/.@#'\"(){}"


@FEW
@given(
    st.lists(
        st.one_of(
            st.sampled_from(VALUES),
            st.text(alphabet=st.sampled_from(FAR_FETCHED + "0123456789abIKSXZ"), max_size=12),
            st.from_regex(r"[A-Z]{0,3}[0-9]{2,13}[A-Z]?", fullmatch=True),
        ),
        max_size=8,
    ),
    st.sampled_from(["", " ", ", ", "\n", "-"]),
)
def test_finds_what_presidio_finds_in_anything(
    ours: Compiled, theirs: Callable[[str], Places], parts: list[str], between: str
) -> None:
    text = between.join(parts)
    agree(ours, theirs, text)


def test_generated_texts(ours: Compiled, theirs: Callable[[str], Places]) -> None:
    rng = random.Random(8)
    words = [
        "the",
        "number",
        "is",
        "due",
        "call",
        "mail",
        "to",
        "id",
        "ssn",
        "passport",
        "我的",
        "号码",
        "für",
        "Straße",
    ]
    for _ in range(60):
        text = " ".join(rng.choice(VALUES) if rng.random() < 0.3 else rng.choice(words) for _ in range(25))
        if rng.random() < 0.3:
            text = text.translate({ord(d): rng.choice("０１２３４５６７８９٠١") for d in rng.sample("0123456789", 3)})
        agree(ours, theirs, text)


def test_entities_and_threshold_are_presidios(ours: Compiled, recognizers: list[Any]) -> None:
    text = "mail a.b@example.com, card 4111111111111111, 536-90-4399"
    assert {hit.entity for hit in ours.analyze(text, ["EMAIL_ADDRESS"])} == {"EMAIL_ADDRESS"}
    assert all(hit.score >= 0.5 for hit in ours.analyze(text, score_threshold=0.5))
    assert {"time limit", "public suffix list"} <= set(DIFFERENCES)


def test_each_gate_matches_wherever_its_pattern_does(recognizers: list[Any]) -> None:
    """The property that everything rests on, for each pattern of each country."""
    twists = str.maketrans({"1": "１", "4": "٤", "7": "7", "k": "\u212a", "K": "\u212a", "s": "ſ", "i": "İ", "I": "ı"})
    rng = random.Random(2)
    tried = 0
    for recognizer in recognizers:
        for pattern in recognizer.patterns:
            flags = int(recognizer.global_regex_flags)
            gates = prefilter(pattern.regex, flags)
            assert gates.any and gates.ascii, (recognizer.name, pattern.name, gates.reason)
            compiled = regex.compile(pattern.regex, flags)
            opened = Gates([gates.any.texts]), Gates([gates.ascii.texts])
            for example in samples(pattern.regex, flags, rng):
                for text in (example, f"x {example} y", example.translate(twists), example.lower()):
                    for match in compiled.finditer(text, timeout=5):
                        if match.end() == match.start():
                            continue
                        tried += 1
                        for both in opened[: 1 + text.isascii()]:
                            assert both.open(encode(text), text.isascii()) == [0], (pattern.name, text)
                        assert re2.fullmatch(gates.any.inside, match.group()), (pattern.name, text)
    assert tried > 3 * sum(len(r.patterns) for r in recognizers)


ODD: list[tuple[str, int]] = [
    (r"(?<=\bid\s*)\d{6,}", 0), (r"(\w)\1{3}x", re.IGNORECASE), (r"a(?i)b", 0), (r"(?>ab|a)c+?", re.DOTALL),
    (r"[^\W\d_]{3}", regex.A), (r"(?:^|(?<=\W))(straße|Ǆ|ΣΑΣ)(?:(?=\W)|$)", re.IGNORECASE), (r"(a)?(?(1)b|c)", 0),
    (r"x{3,2000}y", 0), (r"^\s*k.s$", re.MULTILINE | re.IGNORECASE), (r"[^a-zß]é", re.IGNORECASE),
    (r"(?:(?:a{1,40}){1,40}){1,40}b", 0),
]  # fmt: skip


@FEW
@given(st.sampled_from(ODD), st.data())
def test_gates_of_odd_patterns(odd: tuple[str, int], data: st.DataObject) -> None:
    pattern, flags = odd
    gates = prefilter(pattern, int(flags))
    assert gates.any and gates.ascii, gates.reason
    compiled = regex.compile(pattern, flags)
    text = data.draw(
        st.text(alphabet=st.sampled_from("abcxykKsSſ\u212aiİı ßẞéÉǄǅǆΣσς straße123456id\n-_"), max_size=20)
    )
    for match in compiled.finditer(text):
        if match.group():
            assert re2.fullmatch(gates.any.inside, match.group())
            assert Gates([gates.any.texts]).open(encode(text), text.isascii()) == [0]
            assert not text.isascii() or Gates([gates.ascii.texts]).open(encode(text), True) == [0]


@pytest.mark.parametrize("pattern", [r"\p{L}+", r"(?:abc){e<=1}", r"[[:alpha:]]+", r"a*", r"(?|a|b)", "\ud800"])
def test_what_re2_cannot_take_runs_as_it_is(pattern: str) -> None:
    found = prefilter(pattern, 0)
    assert found.any is None and found.ascii is None and found.reason
    if pattern == "\ud800":
        return
    recognizer = presidio.PatternRecognizer("ODD", patterns=[presidio.Pattern("odd", pattern, 0.7)])
    compiled = compile_recognizers([recognizer])
    for text in ("abc ab é", "", "b"):
        theirs = recognizer.analyze(text, ["ODD"])
        assert places(compiled.analyze(text)) == sorted((r.entity_type, r.start, r.end, r.score) for r in theirs)
    row = next(row for row in Engine([], compiled.patterns).explain() if row["pattern"] == "odd")
    assert row["engine"] == "as it is" and row["reason"] == found.reason


def test_classes_hold_whatever_the_unicode_tables_say() -> None:
    everything = "".join(chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF)
    for name, (may, surely) in ((r"\d", DIGIT), (r"\s", SPACE), (r"\w", WORD)):
        held = {ord(x) for x in regex.findall(name, everything)}
        assert held <= points(may) and points(surely) <= held
    for letter in map(chr, range(65, 123)):
        equal = {ord(x) for x in regex.findall(regex.escape(letter), everything, regex.I)}
        assert equal <= points(fold_case(((ord(letter),) * 2,)))


def points(ranges: Any) -> set[int]:
    return {point for low, high in union([ranges]) for point in range(low, high + 1)}


def test_no_network(monkeypatch: pytest.MonkeyPatch, ours: Compiled) -> None:
    def closed(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, closed)
    assert "EMAIL_ADDRESS" in {hit.entity for hit in ours.analyze("bob@example.co.uk")}


@given(
    st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 9), st.integers(1, 6), st.sampled_from([0.1, 0.5, 1.0])))
)
def test_duplicates_are_presidios(raw: list[tuple[str, int, int, float]]) -> None:
    hits = [Hit(entity, start, start + size, score) for entity, start, size, score in raw]
    results = [presidio.RecognizerResult(h.entity, h.start, h.end, h.score) for h in hits]
    theirs = presidio.EntityRecognizer.remove_duplicates(results)
    assert places(remove_duplicates(hits)) == sorted((r.entity_type, r.start, r.end, r.score) for r in theirs)


def test_start_up_refuses_and_says_where() -> None:
    broken = presidio.PatternRecognizer("X", name="Mine", patterns=[presidio.Pattern("first", "a", 0.5)])
    broken.patterns[0].regex = "(["
    with pytest.raises(InputError, match=r"'first' of recogniser 'Mine'"):
        TextGuard(entities=["X"], recognizers=[broken])
    with pytest.raises(InputError, match="does not fit"):
        Gates([["[0-9]{9}[a-z]{9}"], ["[0-9]{7}"]], memory=1 << 10)
    with pytest.raises(InputError, match="cannot take"):
        Gates([["a"], ["(?=b)"]])


def badges(text: str) -> Any:
    return [presidio.RecognizerResult("BADGE", *found.span(), 0.9) for found in re.finditer("徽章[甲乙]", text)]


class Badge(presidio.EntityRecognizer):  # type: ignore[misc]
    """A recogniser with code of its own; what it does is set per test."""

    def __init__(self, act: Callable[[str], Any] | None = None) -> None:
        self.act = act or badges
        super().__init__(["BADGE"], name="Badge")

    def load(self) -> None: ...

    def analyze(self, text: str, entities: Any, nlp_artifacts: Any = None) -> Any:
        return self.act(text)


def test_sources_of_recognizers(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "recognizers:\n  - name: Zip\n    supported_language: de\n    supported_entity: ZIP\n    type: custom\n"
        "    patterns:\n      - {name: zip, regex: '徽章[0-9]{5}', score: 0.6}\n  - name: Titles\n    type: custom\n"
        "    supported_language: en\n    supported_entity: TITLE\n    deny_list: [Kapitän, Mrs.]\n"
        "    deny_list_score: 1.0\n"
    )
    registry = presidio.RecognizerRegistry(recognizers=[Badge()])
    registry.add_nlp_recognizer(None)
    dotted = f"{Badge.__module__}:Badge"
    found, left_out = adopt([Badge(), registry, file, str(file), dotted])
    assert [r.name for r in found] == ["Badge", "Badge", "Zip", "Titles", "Zip", "Titles", "Badge"]
    assert [r.name for r in left_out] == ["SpacyRecognizer"]

    guard = TextGuard(entities=["BADGE", "TITLE", "ZIP"], recognizers=[registry, file])
    text = "他的徽章乙和徽章12345丢了, said KAPITÄN Mrs. X"
    found_here = [(hit.entity, text[hit.start : hit.end]) for hit in guard.detect(text)]
    assert found_here == [("BADGE", "徽章乙"), ("ZIP", "徽章12345"), ("TITLE", "KAPITÄN"), ("TITLE", "Mrs.")]
    engines = {row["id"]: row["engine"] for row in guard.explain_rules()}
    assert engines["presidio/Badge"] == "as it is" and engines["presidio/Zip"] == "gated"
    assert engines["presidio/SpacyRecognizer"] == "left out"


@pytest.mark.parametrize("source", ["no.such.module:Thing", "json:loads", "nothing", 7, "missing.yaml"])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(InputError):
        TextGuard(recognizers=[source])


def test_a_pattern_recognizer_of_the_user_is_checked_by_its_own_code() -> None:
    class Even(presidio.PatternRecognizer):  # type: ignore[misc]
        def validate_result(self, pattern_text: str) -> bool:
            if pattern_text.endswith("99"):
                raise ValueError(pattern_text)
            return int(pattern_text[-1]) % 2 == 0

    guard = TextGuard(
        entities=["EVEN"],
        recognizers=[Even("EVEN", name="Even", patterns=[presidio.Pattern("n", r"\bQ\d{3}\b", 0.01)])],
    )
    assert [hit.entity for hit in guard.detect("Q122 Q123")] == ["EVEN"]
    with pytest.raises(Refused, match="'Even'") as caught:
        guard.detect("see Q199")
    assert "Q199" not in str(caught.value)


SECRET = "kept out of every message"


def _raises(text: str) -> Any:
    raise RuntimeError(text)


@pytest.mark.parametrize(
    "act",
    [
        _raises,
        lambda text: [presidio.RecognizerResult("BADGE", 0, len(text) + 1, 0.5)],
        lambda text: [presidio.RecognizerResult("BADGE", -1, 1, 0.5)],
        lambda text: [presidio.RecognizerResult("BADGE", 0, 1, 7.0)],
        lambda text: [text],
    ],
)
def test_a_recognizer_that_fails_blocks(act: Callable[[str], Any]) -> None:
    guard = TextGuard(entities=["BADGE"], recognizers=[Badge(act)])
    for run in (guard.detect, lambda text: guard.detect_many([text, text])):
        with pytest.raises(Refused) as caught:
            run(SECRET)
        assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_a_recognizer_that_hangs_blocks() -> None:
    release = threading.Event()
    outside = Outside([Badge(lambda text: release.wait(30) and [])], 0.02)
    began = time.monotonic()
    for _ in range(10):  # the last calls are refused without being made
        with pytest.raises(Refused):
            outside.search(SECRET)
    assert time.monotonic() - began < 10
    assert sum(thread.name == "recognisers" for thread in threading.enumerate()) <= 8
    release.set()
    for _ in range(200):
        if not any(thread.name == "recognisers" for thread in threading.enumerate()):
            break
        time.sleep(0.01)
    assert outside.search(SECRET) == []


def test_a_file_that_is_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        adopt([tmp_path / "absent.yml"])
    bad = tmp_path / "bad.yml"
    bad.write_text("recognizers: [1, 2")
    with pytest.raises(InputError, match="cannot be loaded"):
        adopt([bad])
