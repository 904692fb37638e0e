"""Folding and decoding: what each view shows, that its offsets are exact, and that hostile text costs no more."""

import base64
import html
import json
import random
import re
import time
import unicodedata
import urllib.parse
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.guard.text.fold import is_mark
from trustplane.guard.text.spans import CONTEXT
from trustplane.guard.text.views import CUE, DEPTH, View, fold, fold_character, views

ODD = "aZ09@.-_ éЖж一１＠²①\u200b\u202e\u0301\u0308\u0323\ufe0f\U000e0041\U0001d7d8ﷺ\u3164…—ー。%&#;\\u41=\n\x00\ud800"
odd_text = st.one_of(st.text(max_size=60), st.text(alphabet=st.sampled_from(ODD), max_size=80))
ASCII = st.text(alphabet=st.characters(max_codepoint=127))
VALUE = "alice.smith+7@example.com"


def escaped_json(value: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in value)


ENCODERS: dict[str, Callable[[str], str]] = {
    "percent": lambda v: "".join(f"%{b:02x}" for b in v.encode()),
    "percent half": lambda v: urllib.parse.quote(v, safe=""),
    "html": lambda v: "".join(f"&#{ord(c)};" for c in v),
    "html without semicolons": lambda v: "".join(f"&#x{ord(c):X}" for c in v),
    "json": escaped_json,
    "json half": lambda v: v.replace("@", "\\u0040").replace(".", "\\u002E"),
    "c bytes": lambda v: "".join(f"\\x{b:02x}" for b in v.encode()),
    "octal": lambda v: "".join(f"\\{b:03o}" for b in v.encode()),
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "base64 url": lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("="),
    "base64 lines": lambda v: "\n".join(re.findall(".{1,16}", base64.b64encode(v.encode()).decode())),
    "base64 utf-16": lambda v: base64.b64encode(v.encode("utf-16-le")).decode(),
    "base32": lambda v: base64.b32encode(v.encode()).decode(),
    "hex": lambda v: v.encode().hex(),
    "hex 0x": lambda v: "0x" + v.encode().hex().upper(),
    "hex spaced": lambda v: v.encode().hex(" "),
    "hex list": lambda v: ", ".join(f"0x{b:02x}" for b in v.encode()),
    "quoted": lambda v: "".join(f"={b:02X}" for b in v.encode()),
    "full width": lambda v: "".join(chr(ord(c) + 0xFEE0) for c in v),
    "tags": lambda v: "".join(chr(ord(c) + 0xE0000) for c in v),
    "selectors": lambda v: "".join(chr(b + 0xE00F0) for b in v.encode()),
}


def reading(text: str, value: str) -> tuple[View, int] | None:
    """Return the first view that shows ``value``, and where."""
    return next(((v, at) for v in views(text) if (at := v.text.find(value)) >= 0), None)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("before", "after"), [("mail ", " now"), ("", ""), ("我的邮箱：", "，谢谢"), ("a: '", "'\n")])
def test_value_is_read_at_its_place(name: str, before: str, after: str) -> None:
    written = ENCODERS[name](VALUE)
    found = reading(before + written + after, VALUE)
    assert found is not None
    view, at = found
    assert view.span(at, at + len(VALUE)) == (len(before), len(before) + len(written))
    assert view.rewritten(at, at + len(VALUE)) or view.kind == "folded"


@pytest.mark.parametrize("outer", ["percent", "html", "json", "base64", "hex", "hex spaced"])
@pytest.mark.parametrize("inner", ["percent", "html", "json", "base64", "hex", "full width"])
def test_two_encodings_come_off(inner: str, outer: str) -> None:
    written = ENCODERS[outer](ENCODERS[inner](VALUE))
    found = reading(f"see {written} there", VALUE)
    assert found is not None
    start, end = found[0].span(found[1], found[1] + len(VALUE))
    assert (start, end) == (4, 4 + len(written))


DECODERS: dict[str, Callable[[str], str]] = {
    "percent": urllib.parse.unquote,
    "html": html.unescape,
    "json": lambda piece: str(json.loads(f'"{piece}"')),
    "base64": lambda piece: base64.b64decode(piece + "=" * (-len(piece) % 4)).decode("utf-8", "replace"),
    "hex": lambda piece: bytes.fromhex(piece).decode("utf-8", "replace"),
}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_slice_of_the_original_decodes_to_the_slice_of_the_view(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(DECODERS)))
    letters = st.sampled_from("abc XYZ019@.:/-é张π")
    value = "hello there " + data.draw(st.text(alphabet=letters, min_size=8, max_size=40))
    before = data.draw(st.sampled_from(["x ", "", "号 ", "a\u200b "]))
    text = before + ENCODERS[name](value) + " end"
    found = reading(text, value)
    assert found is not None
    view, at = found
    first = data.draw(st.integers(0, len(value) - 1))
    last = data.draw(st.integers(first + 1, len(value)))
    start, end = view.span(at + first, at + last)
    assert value[first:last] in DECODERS[name](text[start:end])


@given(odd_text)
@settings(deadline=None)
def test_spans_stay_inside_and_in_order(text: str) -> None:
    for view in views(text):
        places = [view.span(i, i + 1) for i in range(len(view.text))]
        assert all(0 <= start <= end <= len(text) for start, end in places)
        if "hidden" not in view.kind:
            assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(places))
        if places:
            assert view.span(0, len(view.text)) == (places[0][0], places[-1][1])
        assert all(start < end for (start, end), c in zip(places, view.text, strict=True) if c not in "\n\x00")


@given(odd_text)
@settings(deadline=None)
def test_folding_twice_changes_nothing(text: str) -> None:
    once = fold(text).text
    assert fold(once).text == once


@given(odd_text)
@settings(deadline=None)
def test_folding_is_character_by_character(text: str) -> None:
    plain = "".join(c for c in text if not is_mark(c) and c not in "—―─ー")
    folded = fold(plain)
    assert folded.text == "".join(map(fold_character, plain))
    for index, character in enumerate(folded.text):
        start, end = folded.span(index, index + 1)
        assert character in fold_character(plain[start:end])


@given(ASCII)
def test_ascii_is_its_own_first_view(text: str) -> None:
    first = views(text)[0]
    assert first.text == text and first.kind == "folded"
    assert all(first.span(i, i + 1) == (i, i + 1) for i in range(len(text)))


def test_every_decimal_digit_is_ascii_and_every_format_character_is_gone() -> None:
    for point in range(0x110000):
        character = chr(point)
        digit = unicodedata.decimal(character, None)
        if digit is not None:
            assert fold_character(character) == str(digit)
        elif unicodedata.category(character) == "Cf":
            assert not fold_character(character)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("e\u0301te\u0301", "été"),
        ("4\u03361\u0336", "41"),
        ("a\u0301\u0302\u0303\u0304\u0305b", "ab"),
        ("1\ufe0f\u20e32\ufe0f\u20e3", "12"),
        ("①②❸²⁴", "12324"),
        ("𝟜𝟙𝟙𝟙 𝕒𝕝", "4111 al"),
        ("٤١١١ ४१", "4111 41"),
        ("a\u00a0b\u2003c\u3000d", "a b c d"),
        ("1\u20112\u22123\u20134", "1-2-3-4"),
        ("03ー1234—5678", "03-1234-5678"),
        ("word—word，カード", "word—word,カード"),
        ("O\u2019Neill", "O'Neill"),
        ("𝓪＠ｂ．ｃ", "a@b.c"),
        ("\u0301", ""),
        ("", ""),
        ("\ud800\x00", "\ud800\x00"),
    ],
)
def test_folds(text: str, plain: str) -> None:
    assert fold(text).text == plain


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("mail аlicе@exаmple.com now", "alice@example.com", "аlicе@exаmple.com"),
        ("see рауреӏ.соm", "paypel.com", None),
        ("Ꭺlice@ᴇxᴀᴍᴘʟᴇ.com", "Alice@example.com", None),
        ("álíce@example.com", "alice@example.com", "álíce@example.com"),
        ("write alice [at] example (dot) com.", "alice@example.com", "alice [at] example (dot) com"),
        ("write bob at mail dot example dot org", "bob@mail.example.org", "bob at mail dot example dot org"),
        ("联系alice艾特example点com", "alice@example.com", "alice艾特example点com"),
        ("联系alice@example。com", "alice@example.com", "alice@example。com"),
        ("主机192。168。10。20在线", "192.168.10.20", "192。168。10。20"),
        ("电话一三八〇〇一三八零零零", "13800138000", "一三八〇〇一三八零零零"),
        ("卡号肆壹壹壹壹壹壹壹壹壹壹壹壹壹壹壹", "4111111111111111", "肆" + "壹" * 15),
        ("card 4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1 ok", "4111111111111111", ".".join("4111111111111111")),
        ("4111_1111_1111_1111", "4111111111111111", "4111_1111_1111_1111"),
        ("3782/822463/10005", "378282246310005", "3782/822463/10005"),
        ("\u202emoc.elpmaxe@ecila\u202c ok", "alice@example.com", "moc.elpmaxe@ecila"),
        ("path/YWxpY2VAZXhhbXBsZS5jb20 end", "alice@example.com", "YWxpY2VAZXhhbXBsZS5jb20"),
        ("alice@exam=\nple.com", "alice@example.com", None),
        ("4\x001\u200b\x001\x7f1 ok", "4111", "4\x001\u200b\x001\x7f1"),
        ("alice@\ud800exam\u2028ple.com", "alice@example.com", "alice@\ud800exam\u2028ple.com"),
        ("smile \\ud83d\\ude00!", "😀", "\\ud83d\\ude00"),
    ],
)
def test_other_readings(text: str, value: str, written: str | None) -> None:
    found = reading(text, value)
    assert found is not None
    if written is not None:
        start, end = found[0].span(found[1], found[1] + len(value))
        assert written in text[start:end]
        assert text[start:end].strip() == text[start:end]


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox, 12 of them, met at 10:30; see chapter 4.",
        "Привет, мир! Это обычный текст на русском языке: 2024 год.",
        "Καλημέρα κόσμε, τι κάνεις σήμερα;",
        "Élodie a été très fière de l'été près du château.",
        "今天天气很好。我们去公园散步，一共三百二十人，二〇二四年。",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "id 550e8400-e29b-41d4-a716-446655440000",
        "data:image/png;base64," + base64.b64encode(random.Random(5).randbytes(400)).decode(),
        "point (b) to the map at noon, dot the i",
        "4111.1111.1111.1112",
        "1999\n2003\n2011\n2024\n2025",
        "\x1b[31merror\x1b[0m in line 4",
    ],
)
def test_innocent_text_has_one_view(text: str) -> None:
    assert [view.kind for view in views(text)] == ["folded"]


@pytest.mark.parametrize(
    "text", ["", "\x00", "\ud800", "%", "&", "\\", "%ff%fe", "\\ud800", "&#xD800;", "&#0;", "=", "é" * 3]
)
def test_degenerate_text(text: str) -> None:
    found = views(text)
    assert found[0].text == fold(text).text
    assert not any("\ud800" in view.text for view in found if "\ud800" not in text)


def test_far_parts_are_kept_apart_and_near_context_is_kept() -> None:
    filler = "word " * 400
    text = f"first %41%42 {filler} second %43%44 end"
    view = views(text)[1]
    assert "first AB" in view.text and "second CD end" in view.text
    assert "\n\x00\n" in view.text and len(view.text) < 6 * CONTEXT
    at = view.text.index("CD")
    assert text[slice(*view.span(at, at + 2))] == "%43%44"
    assert view.rewritten(at, at + 1)
    assert view.rewritten(at - 7, at - 1)  # what is decoded beside a value may be the cue that gives it away
    assert not view.rewritten(at - CUE - 20, at - CUE - 2)


HOSTILE = [
    "%41", "%2541", "%252541", "&#64;", "&amp;amp;", "\\\\u0040", "YWxp", "YWxpYWxpYWxp\n", "41", "41 ", "0x41,",
    "a at b dot ", "a(at)b(dot)", "a@b dot ", "一", "еa", "еa ", "é1 ", "e\u0301", "\u0301", "a\u200b", "ﷺ",
    "%EF%B7%BA", "=41", "=\n", "a=\nb", "\u202eab\n", "\U000e0041", "a@b。c", "1。", "_", "a/", "4111.", "4.", "1 ",
    "@", "\ud800", "4\ud800", "4\x00", "a\u2028", "a\u200b\x00", "{\"a\":",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_work_is_linear_and_output_bounded(unit: str) -> None:
    def cost(n: int) -> tuple[int, int, float]:
        text = (unit * (n // len(unit) + 1))[:n]
        began = time.process_time()
        found = views(text)
        return len(found), sum(len(view.text) for view in found), time.process_time() - began

    cost(500)
    _, small, seconds = min((cost(2_000) for _ in range(2)), key=lambda c: c[2])
    count, large, more = cost(16_000)
    assert count <= 2 + 4 * DEPTH**2 and large <= 9 * 16_000
    assert large <= 9 * small + 1_000
    assert more <= 30 * seconds + 0.05  # linear: 8; quadratic: 64


def test_nested_encodings_do_not_pile_up() -> None:
    text = "hello " * 50
    for _ in range(6):
        text = base64.b64encode(text.encode()).decode()
        found = views(text)
        assert len(found) <= 1 + DEPTH and sum(len(view.text) for view in found) <= 3 * len(text)


def test_repr_holds_no_content() -> None:
    for view in views("alice%40example.com"):
        assert "alice" not in repr(view)
    assert "alice" not in repr(fold("alice"))
