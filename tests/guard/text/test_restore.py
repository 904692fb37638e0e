"""What models do to placeholders, and what they must not be mistaken for."""

import html
import json
import random
import urllib.parse

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError
from trustplane.guard.text import Session, TextGuard
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.restore import Pseudonyms, Restorer
from trustplane.guard.text.tokens import PIECE, Sealer, token_length

KEY = b"0123456789abcdef0123456789abcdef"
MAIL = "alice@example.com"
WIDE = str.maketrans({chr(c): chr(c + 0xFEE0) for c in range(0x21, 0x7F)})


def hide_all(session: Session, value: str, entity: str = "EMAIL_ADDRESS") -> str:
    return session.hide_hits([value], [[Hit(entity, 0, len(value), 1.0)]])[0]


def rewritten(shown: str) -> dict[str, tuple[str, str]]:
    """Each way to rewrite a placeholder: what the model wrote, and what must come out around the value."""
    core = shown[1:-1]
    middle = core.index("_") + 2
    plain = {
        "same": shown, "lower": shown.lower(), "title": shown.title(), "no brackets": core, "angle": f"<{core}>",
        "brace": f"{{{core}}}", "braces": f"{{{{{core}}}}}", "lenticular": f"【{core}】", "title marks": f"《{core}》",
        "full width": shown.translate(WIDE), "full-width angle": f"＜{core}＞", "blanks": shown.replace("_", " "),
        "hyphens": shown.replace("_", "-"), "dashes": shown.replace("_", "\u2013"), "padded": f"[ {core} ]",
        "escaped": shown.replace("_", "\\_"), "escaped brackets": f"\\[{core}\\]", "bold inside": f"[**{core}**]",
        "code inside": f"[`{core}`]", "entities": html.escape(f"<{core}>"), "twice escaped": f"&amp;lt;{core}&amp;gt;",
        "numeric entities": f"&#91;{core}&#93;", "percent": urllib.parse.quote(shown),
        "line break": shown.replace("_", "_\n"),
        "wrapped": shown[:middle] + "\n" + shown[middle:], "crlf": shown.replace("_", "\r\n"),
        "soft hyphen": "\u00ad".join(shown), "zero width": "\u200b".join(shown), "bidi": f"\u2066{shown}\u2069",
        "json": json.dumps(f"<{core}>").replace("<", "\\u003c").replace(">", "\\u003e").strip('"'),
        "json line break": shown.replace("_", "\\n"), "non-breaking": shown.replace("_", "\u00a0"),
    }  # fmt: skip
    found = {name: (text, MAIL) for name, text in plain.items()}
    found["bidi"] = (plain["bidi"], f"\u2066{MAIL}\u2069")
    found |= {
        name: (f"{a}{core}{b}", f"{a}{MAIL}{b}")
        for name, a, b in [
            ("bold", "**", "**"), ("italic", "*", "*"), ("underlined", "__", "__"), ("code", "`", "`"),
            ("quoted", '"', '"'), ("curly", "“", "”"), ("corner", "(", ")"), ("full corner", "（", "）"),
            ("after an escape", "\\n", ""), ("after another", "\\u00e9", ""),
            ("plural", "", "s"), ("possessive", "", "'s"), ("curly possessive", "", "’s"), ("Chinese", "给", "写信"),
        ]
    }  # fmt: skip
    return found


@pytest.mark.parametrize("sealed", [False, True])
def test_rewritten_placeholders_come_back(guard: TextGuard, sealed: bool) -> None:
    session = Session(guard, key=KEY, sealed=sealed)
    shown = hide_all(session, MAIL)
    for name, (text, expected) in rewritten(shown).items():
        for before, after in (("", ""), ("to ", ", ok"), ("，", "。")):
            source = before + text + after
            assert session.restore(source) == before + expected + after, name
            for size in (1, 2, 3, 7):
                stream = session.stream()
                out = "".join(stream.feed(source[i : i + size]) for i in range(0, len(source), size))
                assert out + stream.close() == before + expected + after, (name, size)


def test_not_placeholders(guard: TextGuard) -> None:
    session = Session(guard, key=KEY)
    core = hide_all(session, MAIL)[1:-1]
    for text in (f"X{core}", f"{core}9", f"{core}x", core[:-1], core.replace("_", ""), core[:3] + " " + core[3:],
                 core.replace("EMAIL", "MAIL"), "EMAIL_ADDRESS_", core.replace("_", "_" * 170)):  # fmt: skip
        assert session.restore(text) == text
    assert session.restore("") == ""


def test_prefixes_are_not_confused() -> None:
    table = Pseudonyms()
    for core, value in {"PERSON_7K2Q": "a", "PERSON_8K2QXZ": "b", "PERSON_TITLE_9K2Q": "c", "PER_2345": "d"}.items():
        table.add(core, value)
    assert table.restore("PERSON_7K2Q PERSON_8K2QXZ person title 9k2q PER-2345 PERSON_8K2Q") == "a b c d PERSON_8K2Q"
    assert table.restore("PERSON_7K2QXZ [PERSON_8K2QXZ] PERSON_8K\n2QXZ") == "PERSON_7K2QXZ b b"


alphabet = st.sampled_from([*"[]<>{}【】\\&;%*_- \nPEpe7Kk2Qq sS", "PERSON_7K2Q", "[PERSON_7K2Q]", "&lt;", "%5B",
                            "\\u005b", "person", "SEALED_", "\u00ad", "Ｐ", "4", "x",
                            "user_7k2q@example.com", "2024-05-06"])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(alphabet, max_size=30).map("".join), st.integers(), st.booleans())
def test_any_cut_of_any_text(text: str, seed: int, sealed: bool) -> None:
    table = Pseudonyms(Sealer(KEY) if sealed else None)
    table.add("PERSON_7K2Q", "Alice")
    table.add("PERSON_DATE_8K2QXZ", "[PERSON_7K2Q]")
    table.add_shaped("EMAIL_ADDRESS", "user_7k2q@example.com", MAIL)
    table.add_shaped("DATE_TIME", "2024-05-06", "1999-01-02")
    draw = random.Random(seed)
    stream, out, rest = Restorer(table), "", text
    while rest:
        size = draw.choice([1, 1, 2, 5])
        out += stream.feed(rest[:size])
        rest = rest[size:]
        assert len(stream._buffer) <= table.longest
    assert out + stream.close() == table.restore(text)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=300))
def test_sealed_tokens_open_with_their_key_and_context_only(value: str) -> None:
    sealer = Sealer(KEY, "tenant", "session")
    shown = sealer.seal("EMAIL_ADDRESS", value)
    assert shown == Sealer(KEY, "tenant", "session").seal("EMAIL_ADDRESS", value)
    assert Pseudonyms(sealer).restore(shown) == value
    for other in (Sealer(KEY, "tenant", "other"), Sealer(KEY, "tenantsession"), Sealer(KEY[::-1], "tenant", "session")):
        assert Pseudonyms(other).restore(shown) == shown
    if len(value.encode("utf-8", "surrogatepass")) <= PIECE:
        letters = shown[1:-1].rpartition("_")[2][1:]
        assert len(letters) == token_length(len(value.encode("utf-8", "surrogatepass")))
        for at in range(0, len(letters), 5):
            changed = letters[:at] + ("B" if letters[at] == "A" else "A") + letters[at + 1 :]
            assert sealer.open(changed) is None


def test_sealed_sessions_need_no_table(guard: TextGuard) -> None:
    text = f"write to {MAIL}, 13800138000 or [SEALED_X_0AAAA]"
    hidden = Session(guard, key=KEY, tenant="a", sealed=True).hide(text)
    assert MAIL not in hidden and "[SEALED_EMAIL_ADDRESS_0" in hidden
    other_process = Session(guard, key=KEY, tenant="a", sealed=True)
    assert other_process.restore(hidden) == text and other_process.values() == {}
    assert Session(guard, key=KEY, tenant="b", sealed=True).restore(hidden) == hidden
    typed = other_process.hide(f"I saw {hidden}")  # a token that a user typed comes back as typed
    assert other_process.restore(typed) == f"I saw {hidden}"
    with pytest.raises(InputError):
        Sealer(b"short")
