"""What the guard finds, where, and that it needs no network."""

import base64
import random
import re
import socket
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError
from trustplane.guard.text import TextGuard
from trustplane.guard.text.guard import count_facts
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.overlap import resolve
from trustplane.guard.text.rules.checks import is_luhn
from trustplane.guard.text.rules.chinese import is_resident_id
from trustplane.guard.text.views import fold, latin

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

RANDOM = "".join(random.Random(1).choices("abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=900))
CASES = [
    ("write to alice@example.com.", "EMAIL_ADDRESS", "alice@example.com"),
    ("我的邮箱是zhang.wei@qq.com，谢谢", "EMAIL_ADDRESS", "zhang.wei@qq.com"),
    ("root@db.internal", "EMAIL_ADDRESS", "root@db.internal"),
    ("ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "EMAIL_ADDRESS", "ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ"),
    ("ali\u200bce@exam\u200bple.com", "EMAIL_ADDRESS", "ali\u200bce@exam\u200bple.com"),
    ("card 4111-1111-1111-1111 ok", "CREDIT_CARD", "4111-1111-1111-1111"),
    ("卡号６２２２０２１２３４５６７８９０１２８", "CREDIT_CARD", None),
    ("ref 12 4111 1111 1111 1111", "CREDIT_CARD", "4111 1111 1111 1111"),
    ("身份证号11010519491231002X，", "CN_RESIDENT_ID", "11010519491231002X"),
    ("身份证号１１０１０５１９４９１２３１００２Ｘ", "CN_RESIDENT_ID", "１１０１０５１９４９１２３１００２Ｘ"),
    ("手机13800138000请回电", "PHONE_NUMBER", "13800138000"),
    ("+86 138 0013 8000", "PHONE_NUMBER", "+86 138 0013 8000"),
    ("call (415) 555-2671 now", "PHONE_NUMBER", "(415) 555-2671"),
    ("key sk-abcDEF1234567890abcd end", "API_KEY", "sk-abcDEF1234567890abcd"),
    ("AKIAIOSFODNN7EXAMPLE", "API_KEY", "AKIAIOSFODNN7EXAMPLE"),
    ("ghp_" + RANDOM[:36], "API_KEY", "ghp_" + RANDOM[:36]),
    ("sk-" + RANDOM, "API_KEY", "sk-" + RANDOM),
    ("-----BEGIN PRIVATE KEY-----\nMIIE\nzzz", "PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\nMIIE\nzzz"),
    ("My name is Alice Johnson and I live here", "PERSON", "Alice Johnson"),
    ("my name is john smith and more", "PERSON", "john smith"),
    ("Dr. Jane O'Neill will see you", "PERSON", "Jane O'Neill"),
    ("Dear Bob, thanks", "PERSON", "Bob"),
    ("I am Ada Lovelace.", "PERSON", "Ada Lovelace"),
    ("patient John Smith has", "PERSON", "John Smith"),
    ("我叫张伟，今年三十", "PERSON", "张伟"),
    ("我叫张伟今年三十岁", "PERSON", "张伟"),
    ("患者：李小明，男", "PERSON", "李小明"),
    ("姓名:欧阳修远", "PERSON", "欧阳修远"),
    ("请联系王建国先生", "PERSON", "王建国"),
    ("请找司马光医生", "PERSON", "司马光"),
    ("my SSN is 536-90-4399", "US_SSN", "536-90-4399"),
    ("IBAN GB82 WEST 1234 5698 7654 32", "IBAN_CODE", "GB82 WEST 1234 5698 7654 32"),
    ("host 192.168.10.20 up", "IP_ADDRESS", "192.168.10.20"),
    ("mac 00:1A:2B:3C:4D:5E up", "MAC_ADDRESS", "00:1A:2B:3C:4D:5E"),
    ("主机192.168.10.20在线", "IP_ADDRESS", "192.168.10.20"),
]


@pytest.mark.parametrize(("text", "rule", "value"), CASES)
def test_finds(guard: TextGuard, text: str, rule: str, value: str | None) -> None:
    if value is None:  # a check digit is computed, not remembered
        digits = "622202123456789012"
        value = next(digits + str(d) for d in range(10) if is_luhn(digits + str(d)))
        text = "卡号" + value
    found = [(f.entity, text[f.start : f.end]) for f in guard.detect(text)]
    assert (rule, value) in found


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog.",
        "I am Happy today; I am sorry",
        "Dear Sir or Madam, Dear Customer",
        "我是高中生，我是程序员，我是中国人",
        "order 4111111111111112 is wrong by one digit"[:5],
        "2 + 2 = 4, chapter 12, section 3",
        "今天天气很好，我们去公园吧。",
    ],
)
def test_finds_nothing(guard: TextGuard, text: str) -> None:
    assert guard.detect(text) == []


LICENSE = "AB1234563"


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("F0" * 5, "F" * 12), ("0F" * 16 + ":", " " + "F0" * 16), ("0f" * 16, "f0" * 16)]
)
def test_no_part_of_a_digest_is_a_value(guard: TextGuard, before: str, after: str) -> None:
    digest = "F0" * 7 + LICENSE + "0F" * 5
    assert guard.detect(f"sha256 {digest} and {digest.lower()}") == []
    found = guard.detect(f"{before}{LICENSE}{after}")  # not in a run of one case that is as long as a digest
    assert [f.entity for f in found] == ["MEDICAL_LICENSE"]


def test_a_value_inside_a_digest_counts_when_written_in_it(guard: TextGuard) -> None:
    assert [f.entity for f in guard.detect("see " + f"licence {LICENSE} of May".encode().hex())] == ["MEDICAL_LICENSE"]


def test_a_recognizer_of_the_user_may_look_into_digests() -> None:
    from presidio_analyzer import Pattern, PatternRecognizer

    mine = PatternRecognizer("PART", name="Mine", patterns=[Pattern("part", r"c0ffee\d", 0.9)])
    guard = TextGuard(entities=["PART"], recognizers=[mine])
    assert [f.entity for f in guard.detect("0f" * 16 + "c0ffee1" + "0f" * 4)] == ["PART"]


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", closed)
    monkeypatch.setattr(socket, "create_connection", closed)
    monkeypatch.setattr(socket, "getaddrinfo", closed)
    fresh = TextGuard()
    assert [f.entity for f in fresh.detect("bob@example.co.uk or https://example.com/x")] == ["EMAIL_ADDRESS", "URL"]


def test_each_predefined_recognizer_of_the_countries_is_there(guard: TextGuard) -> None:
    from trustplane.guard.text.presidio.patterns import locale_of, pattern_recognizers

    on = {row["source"] for row in guard.explain_rules()}
    for recognizer in pattern_recognizers():
        kind = type(recognizer)
        wanted = locale_of(recognizer) in {"", *guard.locales}
        assert (f"{kind.__module__}.{kind.__qualname__}" in on) == wanted
    assert {"US", "GB", "CN", "SG"} <= set(guard.locales) and "PL" not in guard.locales
    assert {"PL"} == set(TextGuard(languages=["pl"]).locales)


def test_locales_decide_whose_identifiers_count() -> None:
    text = "numero 44051401359"
    assert "PL_PESEL" in {hit.entity for hit in TextGuard(locales=["PL"], entities=["PL_PESEL"]).detect(text)}
    assert "PL_PESEL" not in {row["entities"][0] for row in TextGuard(locales=["US"]).explain_rules()}
    for locales in ("PL", ["pl"], ["Poland"]):
        with pytest.raises(InputError):
            TextGuard(locales=locales)


def test_entities_are_looked_for_alone() -> None:
    only = TextGuard(entities=["EMAIL_ADDRESS"])
    text = "mail bob@example.com or 4111 1111 1111 1111"
    assert {hit.entity for hit in only.detect(text)} == {"EMAIL_ADDRESS"}
    assert only.detect_many([text, text]) == [only.detect(text)] * 2
    with pytest.raises(InputError, match="EMAIL_ADRESS"):
        TextGuard(entities=["EMAIL_ADRESS"])


def test_encoded_values_are_found_where_they_stand(guard: TextGuard) -> None:
    encoded = base64.b64encode(b"card 4111 1111 1111 1111 of bob@example.com").decode()
    text = f"see {encoded} end"
    assert any(4 <= hit.start < hit.end <= 4 + len(encoded) for hit in guard.detect(text))


def test_own_recognizer_plugs_in_unchanged() -> None:
    from presidio_analyzer import EntityRecognizer, RecognizerResult

    class Badge(EntityRecognizer):
        def load(self) -> None:
            pass

        def analyze(self, text, entities, nlp_artifacts=None):  # type: ignore[no-untyped-def]
            return [RecognizerResult("BADGE", m.start(), m.end(), 0.9) for m in re.finditer("徽章[甲乙丙]", text)]

    fresh = TextGuard(recognizers=[Badge(["BADGE"])], names=["星辰", "Zed"])
    text = "他的徽章乙丢了，星辰和ZED，Zedd"
    assert [(f.entity, text[f.start : f.end]) for f in fresh.detect(text)] == [
        ("BADGE", "徽章乙"), ("LISTED_NAME", "星辰"), ("LISTED_NAME", "ZED"),
    ]  # fmt: skip
    assert fresh.policy_digest != TextGuard(names=["星辰"]).policy_digest


def test_bad_settings() -> None:
    with pytest.raises(InputError):
        TextGuard(threshold=1.5)
    with pytest.raises(InputError):
        TextGuard(languages=())
    with pytest.raises(InputError):
        TextGuard(languages="en")
    with pytest.raises(InputError):
        TextGuard(recognizer_seconds=0)


def test_detect_many_is_detect(guard: TextGuard) -> None:
    texts = [text for text, _, _ in CASES] + ["", "x", "Dear", "Bob"]
    together = guard.detect_many(texts)
    alone = [guard.detect(text) for text in texts]
    for text, many, one in zip(texts, together, alone, strict=True):
        places = {(f.start, f.end) for f in many}
        assert {(f.start, f.end) for f in one} <= places, text  # names spread from one text to the others


def test_mask_and_steps(guard: TextGuard) -> None:
    steps = []
    guarded = TextGuard(record=steps.append)
    assert guarded.mask("mail alice@example.com, 13800138000") == "mail <EMAIL_ADDRESS>, <PHONE_NUMBER>"
    assert steps[0].facts == {"findings": 2, "n_email_address": 1, "n_phone_number": 1}
    assert "alice" not in repr(steps) and guard.policy_digest == guarded.policy_digest
    assert count_facts({"坏": 2, "A": 1}) == {"n_a": 1, "n_other": 2}  # type: ignore[arg-type]


def test_slow_pattern_fails_and_is_not_skipped(guard: TextGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trustplane.guard.text.presidio.compiled.PATTERN_SECONDS", 1e-6)
    with pytest.raises(TimeoutError):
        guard.detect("x@" + "a.com-" * 20_000)


def test_long_texts_have_no_seams(guard: TextGuard) -> None:
    filler = "The committee met on a day in spring to talk. "
    text = filler * 45
    for shift in range(0, 400, 7):
        padded = "x" * shift + " " + text + "SSN 536-90-4399 and 192.168.10.20 " + text
        found = {f.entity for f in guard.detect(padded[: 4096 + shift])}
        assert {"US_SSN", "IP_ADDRESS"} <= found


@given(st.text())
def test_fold_map(text: str) -> None:
    folded = fold(text)
    assert len(latin(folded.text)) == len(folded.text)
    for index in range(len(folded.text)):
        start, end = folded.span(index, index + 1)
        assert 0 <= start < end <= len(text)


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 30), st.integers(1, 9), st.floats(0, 1))))
def test_overlaps(raw: list[tuple[str, int, int, float]]) -> None:
    hits = [Hit(rule, start, start + size, score) for rule, start, size, score in raw]
    found = resolve(hits)
    assert found == resolve(reversed(hits))
    assert all(a.end <= b.start for a, b in pairwise(found))
    covered = {i for h in hits for i in range(h.start, h.end)}
    assert {i for h in found for i in range(h.start, h.end)} == covered


@given(st.integers(0, 10**18))
def test_luhn_has_one_check_digit(number: int) -> None:
    assert sum(is_luhn(f"{number}{d}") for d in range(10)) == 1


def test_resident_id_check() -> None:
    assert is_resident_id("11010519491231002X")
    assert not is_resident_id("110105194912310021")
    assert not is_resident_id("11010519491331002X")


@SLOW
@given(st.text(alphabet=st.sampled_from("a1@.- 张王先生我叫４\u200b\ud83d\n[]<>_"), max_size=80))
def test_findings_are_in_order(guard: TextGuard, text: str) -> None:
    found = guard.detect(text)
    assert found == guard.detect(text)
    assert all(0 <= f.start < f.end <= len(text) for f in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
