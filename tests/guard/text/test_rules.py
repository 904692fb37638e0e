"""Own rules: each finds its published examples, keeps its gates' promise, and leaves ordinary numbers alone."""

import functools
import hashlib
import random
import time

import phonenumbers
import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.guard.text.hit import Rule
from trustplane.guard.text.rules import (
    RULES,
    cards,
    chinese,
    chinese_places,
    dates,
    documents,
    finance,
    network,
    phones,
    places,
    rules_for,
    vehicles,
)
from trustplane.guard.text.rules.checks import is_luhn
from trustplane.guard.text.rules.crypto import is_base58check, is_bech32, is_eip55, keccak256
from trustplane.guard.text.rules.numbering import plan

MINE = (
    *cards.RULES, *phones.RULES, *network.RULES, *finance.RULES, *chinese.RULES, *documents.RULES, *dates.RULES,
    *vehicles.RULES, *places.RULES,
)  # fmt: skip
BY_ID = {rule.id: rule for rule in RULES}
HERE = frozenset({"US", "GB", "CN"})


@functools.cache
def gates(rule: Rule) -> list:
    return [re2.compile(gate) for gate in rule.gate]


def passes(rule: Rule, text: str) -> bool:
    return any(gate.search(text) for gate in gates(rule))


def found(text: str, entity: str, rules=MINE, threshold: float = 0.4) -> list[str]:
    hits = (h for rule in rules if not rule.locales or rule.locales & HERE for h in rule.search(text))
    return [text[h.start : h.end] for h in hits if h.entity == entity and h.score >= threshold]


def test_ids_are_unique_and_complete() -> None:
    assert len(BY_ID) == len(RULES)
    for rule in MINE:
        assert rule.gate and rule.source and rule.examples and rule.entities, rule.id


@pytest.mark.parametrize("part", [MINE[i::8] for i in range(8)], ids=range(8))
def test_examples_are_found_behind_their_gates(part: tuple[Rule, ...]) -> None:
    for rule in part:
        for example in rule.examples:
            hits = list(rule.search(example))
            assert hits and all(h.entity in rule.entities for h in hits), (rule.id, example)
            assert max(h.score for h in hits) >= 0.4 and passes(rule, example), (rule.id, example)


PIECES = sorted({example for rule in MINE for example in rule.examples if rule.id[:10] != "own/phone_"})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([*PIECES, " ", "\n", "\t", "  ", "_", "=", "x", "7", "-", "号", "(", "+", "@", "0x", "K"]),
        max_size=6,
    )
)
def test_gates_over_approximate(pieces: list[str]) -> None:
    text = "".join(pieces)
    for rule in MINE:
        hits = [] if rule.locales - HERE else list(rule.search(text))
        assert not hits or passes(rule, text), rule.id
        assert all(0 <= h.start < h.end <= len(text) and 0 < h.score <= 1 for h in hits), rule.id


FILLER = "The committee met on a day in spring to talk. "


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.integers(0, 400)), min_size=1, max_size=5))
def test_windows_change_nothing(pieces: list[tuple[str, int]]) -> None:
    text = "".join(f"{piece} {(FILLER * 9)[:size]}" for piece, size in pieces)
    for rule in MINE:
        if not rule.locales or rule.locales & HERE:
            assert set(BY_ID[rule.id].search(text)) == set(rule.search(text)), rule.id


def card_of(prefix: str, length: int, rng: random.Random) -> str:
    body = prefix + "".join(rng.choices("0123456789", k=length - 1 - len(prefix)))
    return next(body + d for d in "0123456789" if is_luhn(body + d))


@pytest.mark.parametrize("name", cards.networks())
def test_cards_of_every_network_and_length(name: str) -> None:
    rng = random.Random(name)
    entry = cards.networks()[name]
    for length in entry["lengths"]:
        for prefix in entry["prefixes"]:
            low, _, high = prefix.partition("-")
            number = card_of(str(rng.randint(int(low), int(high or low))), length, rng)
            fours = [number[i : i + 4] for i in range(0, length, 4)]
            for written in (number, *(s.join(fours) for s in " -._/\n"), " ".join(number)):
                assert any(written in hit for hit in found(f"paid with {written} today", "CREDIT_CARD")), written


def test_cards_need_the_check_digit_and_their_own_digits() -> None:
    rng = random.Random(5)
    for _ in range(300):
        number = card_of("4", 16, rng)
        wrong = number[:-1] + str((int(number[-1]) + rng.randint(1, 9)) % 10)
        assert not found(f"paid with {wrong} today", "CREDIT_CARD")
        for inside in (f"0.{number}", f"{number}12345", f"9876{number}", f"a{number}", f"{number}f0"):
            assert number not in "".join(found(f"value {inside} end", "CREDIT_CARD")), inside


def test_columns_of_numbers_hold_a_card_only_where_something_says_so() -> None:
    card, other = "4111\n1111\n1111\n1111", "5500\n0000\n0000\n0004"
    for column in (f"2031\n{card}", f"{card}\n2031\n1999", f"7\n\n{card}\n2031\n"):
        assert not found(column, "CREDIT_CARD"), column
    for text in (card, f"card number:\n{card}\n2031", f"paid with {card}\n2031", f"{card}\n2031 today", f"{card}\n123"):
        assert found(text, "CREDIT_CARD") == [card], text
    for column in (f"{card}\n{other}", f"2031\n{card}\n{other}\n1999"):
        assert found(column, "CREDIT_CARD") == [card, other], column
    whole = ["4111111111111111", "1234567890123456", "5500000000000004"]
    assert found("\n".join(whole), "CREDIT_CARD") == whole[::2]


@given(st.lists(st.integers(1, 19), min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_card_hit_is_always_whole_groups(sizes: list[int], rng: random.Random) -> None:
    text = " ".join("".join(rng.choices("0123456789", k=n)) for n in sizes)
    for hit in cards.RULES[0].search(text):
        assert (hit.start == 0 or text[hit.start - 1] == " ") and (hit.end == len(text) or text[hit.end] == " ")


@pytest.mark.parametrize("region", ["US", "GB", "DE", "FR", "IT", "CN", "JP", "BR", "IN", "AU", "MX", "CA"])
def test_plans_agree_with_phonenumbers(region: str) -> None:
    rng = random.Random(region)
    start = str(phonenumbers.example_number(region).national_number)
    for _ in range(250):
        digits = "".join(rng.choices("0123456789", k=rng.randint(6, 11)))
        digits = rng.choice((digits, start[: rng.randint(2, 6)] + digits))[:12]
        if digits.startswith(str(plan(region).code)):
            continue  # phonenumbers takes a country code without its sign, a text guard does not
        try:
            number = phonenumbers.parse(digits, region)
            valid = phonenumbers.is_valid_number_for_region(number, region)
        except phonenumbers.NumberParseException:
            valid = False
        assert (plan(region).national(digits) is not None) >= valid, digits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("call me on (415) 555-2671 ext. 204 now", "(415) 555-2671 ext. 204"),
        ("ring 020 7946 0018 or 020 7946 0019", "020 7946 0019"),
        ("fax: 555-0199", "555-0199"),
        ("Desk: 986.291.2294x751", "986.291.2294x751"),
        ("+44 (0)20 7946 0018", "+44 (0)20 7946 0018"),
        ("dial 0049 30 901820", "0049 30 901820"),
        ("电话010-62345678转8001", "010-62345678转8001"),
        ("联系手机138-0013-8000", "138-0013-8000"),
    ],
)
def test_phones(text: str, value: str) -> None:
    assert value in found(text, "PHONE_NUMBER")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("+44  20  7946  0018", "+44  20  7946  0018"),
        ("+44\t20\t7946\t0018", "+44\t20\t7946\t0018"),
        ("tel.  (201)  555-0123", "(201)  555-0123"),
        ("tel. (201)\n555-0123", "(201)\n555-0123"),
        ("tel. (201)\r\n555-0123", "(201)\r\n555-0123"),
        ("手机138  0013  8000", "138  0013  8000"),
        ("phone=(201) 555-0123", "(201) 555-0123"),
        ("tel=201-555-0123&x=1", "201-555-0123"),
        ("user_phone_number=2015550123", "2015550123"),
        ("phone #(201) 555-0123", "(201) 555-0123"),
        ("tel: _201-555-0123_", "201-555-0123"),
        ("tel: __201-555-0123__", "201-555-0123"),
    ],
)
def test_phones_however_they_are_set(text: str, value: str) -> None:
    rules = rules_for(HERE)
    assert value in found(text, "PHONE_NUMBER") and value in found(text, "PHONE_NUMBER", rules)
    assert all(passes(rule, text) for rule in MINE if rule.id in ("own/phone_said", "own/phone_us"))


@pytest.mark.parametrize(
    "text",
    ["id=4155552671", "item #415-555-2671", "a_415-555-2671_b", "415  555\n1234  12", "call\n12\n34567\n8"],
)
def test_other_numbers_do_not_become_phones(text: str) -> None:
    assert found(text, "PHONE_NUMBER") == []


def test_numbers_on_lines_of_their_own_stay_apart() -> None:
    assert found("tel. 212-555-0123\n212-555-0199\n", "PHONE_NUMBER", rules_for(HERE))[:2] == [
        "212-555-0123",
        "212-555-0199",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "on 2024-01-15 10:30:00 and 15/01/2024, 2019-2020",
        "order 4155552671 of 1700000000 at 1700000000000",
        "version 10.2.33.4455, build 2.14.0-rc1, v1.2.3.4",
        "total 1 234 567.89 or 1,234,567 or $4155552671",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "commit 4111111 in 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "std::vector<int> a::b at 12:30:45",
        "ISBN 978-3-16-148410-0, pi 3.14159265358979, 0.4111111111111111",
        "rows 39, 77516, 13, 2174, 0, 40; 50, 83311, 13, 0, 0, 13",
        "I walked 2 miles down the road, 5 hours drive, 3 way street",
        "2024年1月15日下午3点，共100元，第3章第2节，北京的天气很好",
        "他今年90年代出生，订单20240115001",
    ],
)
def test_ordinary_numbers_are_left_alone(text: str) -> None:
    rules = [r for r in MINE if not r.locales or r.locales & HERE]
    assert [(r.id, h) for r in rules for h in r.search(text) if h.score >= 0.4] == []


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("mail (a.b+c@sub.example.co.uk).", "EMAIL_ADDRESS", "a.b+c@sub.example.co.uk"),
        ("邮箱是zhang.wei@qq.com谢谢", "EMAIL_ADDRESS", "zhang.wei@qq.com"),
        ("see https://example.com/a_(b).", "URL", "https://example.com/a_(b)"),
        (
            "get https://x.example/?a=1&access_token=abcdef",
            "URL_CREDENTIALS",
            "https://x.example/?a=1&access_token=abcdef",
        ),
        ("host 192.0.2.1/24 up", "IP_ADDRESS", "192.0.2.1/24"),
        ("at ::ffff:192.0.2.1 now", "IP_ADDRESS", "::ffff:192.0.2.1"),
        ("pay GB82WEST12345698765432 please", "IBAN_CODE", "GB82WEST12345698765432"),
        ("pay GB82 WEST 1234 5698 7654 32 12 times", "IBAN_CODE", "GB82 WEST 1234 5698 7654 32"),
        ("she was born on 3 May 1971 in", "DATE_OF_BIRTH", "3 May 1971"),
        ("lives at 42 Old Kent Road, London SE1 5TZ", "ADDRESS", "42 Old Kent Road, London SE1 5TZ"),
        ("我住在北京市朝阳区建国路88号3号楼1201室，你呢", "ADDRESS", "北京市朝阳区建国路88号3号楼1201室"),
        ("exp 09/27 cvv 123", "CARD_CVV", "123"),
        ("She is aged 101. ok", "AGE_OVER_89", "101"),
        ("GPS: 48.858370, 2.294481.", "COORDINATES", "48.858370, 2.294481"),
        ("Nassaustraat 123.", "ADDRESS", "Nassaustraat 123"),
        ("住址1600 Pennsylvania Avenue是", "ADDRESS", "1600 Pennsylvania Avenue"),
        ("_4111111111111111_", "CREDIT_CARD", "4111111111111111"),
        ("_192.0.2.17_", "IP_ADDRESS", "192.0.2.17"),
        ("__192.0.2.17__", "IP_ADDRESS", "192.0.2.17"),
    ],
)
def test_values_have_exact_spans(text: str, entity: str, value: str) -> None:
    assert value in found(text, entity)


def test_checks_reject_what_they_should() -> None:
    rng = random.Random(9)
    good = {
        "11010519491231002X": chinese.is_resident_id, "91110000600037341L": chinese.is_uscc,
        "A123456(3)": chinese.is_hk_id, "A123456789": chinese.is_taiwan_id, "D2143569-X": chinese.is_organisation_code,
        "1M8GDM9AXKP042788": vehicles.is_vin, "S1234567D": documents.is_nric,
    }  # fmt: skip
    for value, check in good.items():
        assert check(value)
        places_ = [i for i, c in enumerate(value[:-1]) if c.isdigit()]
        changed = [value[:i] + str((int(value[i]) + rng.randint(1, 9)) % 10) + value[i + 1 :] for i in places_]
        assert sum(map(check, changed)) <= len(changed) // 3, value
    assert not is_bech32("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T5")
    assert not is_base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")
    assert not is_eip55("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD")


def test_a_repeated_address_is_found_each_time() -> None:
    rule = BY_ID["own/crypto_ethereum"]
    good, bad = rule.examples[0], rule.examples[0][:-1] + "D"
    assert [h.start for h in rule.search(f"{good} {bad} {good} {bad}")] == [0, 2 * (len(good) + 1)]


def test_a_text_in_hex_is_no_address() -> None:
    written, one_byte_off = "0x" + b"v0.95 of item #11010".hex(), "0x" + b"v0.95 of item #1101\x80".hex()
    assert is_eip55(written) and not found(written, "CRYPTO")
    assert found(one_byte_off, "CRYPTO") == [one_byte_off]


def test_keccak() -> None:
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"abc") != hashlib.sha3_256(b"abc").digest()  # the padding differs, by design


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("aged 90.5", "AGE_OVER_89"),
        ("x_192.0.2.17_y", "IP_ADDRESS"),
        ("x_4111111111111111_y", "CREDIT_CARD"),
        ("48.858370, 2.294481.5", "COORDINATES"),
    ],
)
def test_a_stop_or_underscore_inside_a_word_still_joins(text: str, entity: str) -> None:
    assert found(text, entity) == []


def test_every_usual_grouping_may_be_a_part() -> None:
    for region in phonenumbers.SUPPORTED_REGIONS:
        number = phonenumbers.example_number(region)
        if number is None:
            continue
        for blocks in plan(region).blocks(phonenumbers.national_significant_number(number)):
            assert len(blocks) < 2 or (plan(region).may_group(blocks) and plan(region).may_group((1, *blocks))), region
    assert not plan("US").may_group((1, 1, 1, 1))


HOSTILE = [
    "@", "1", "1 ", "12 ", "1.", "a@", "+1", "0x", "(1)", ":", "1:", "路1", "A1", "://", "东1号", "4111 ", "192.0.2.",
    "(1.0.2.", "0\t", "=123456",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    rules = [BY_ID[r.id] for r in MINE if not r.locales or r.locales & HERE]

    def cost(size: int) -> float:
        text = (unit * size)[:size]
        began = time.process_time()
        for rule in rules:
            if passes(rule, text):
                for _ in rule.search(text):
                    pass
        return time.process_time() - began

    small, large = max(cost(4_000), cost(4_000), 0.004), min(cost(16_000), cost(16_000))
    assert large < small * 12, (small, large)  # four times the text; sixteen would be quadratic


def test_rules_for_finds_what_the_single_rules_find() -> None:
    on = rules_for(HERE)
    assert {"own/phone", "own/gb_nhs", "own/cn_resident_id"} <= {rule.id for rule in on}
    assert "own/phone_de" not in {rule.id for rule in on} and len({rule.id for rule in on}) == len(on)
    merged = next(rule for rule in on if rule.id == "own/phone")
    single = [rule for rule in phones.RULES[1:] if not rule.locales or rule.locales & HERE]
    for text in [
        "call (415) 555-2671 or 020 7946 0018",
        "+49 30 901820",
        "fax: 555-0199",
        "手机13800138000",
        "39 77516 13",
    ]:
        best = {(h.start, h.end) for rule in single for h in rule.search(text) if h.score >= 0.4}
        ours = {(h.start, h.end) for h in merged.search(text) if h.score >= 0.4}
        assert ours <= best and all(any(a <= x and y <= b for a, b in ours) for x, y in best)


def test_places_rules_are_part_of_the_chinese_ones() -> None:
    assert set(chinese_places.RULES) <= set(chinese.RULES)
