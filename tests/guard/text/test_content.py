"""The content filter: disguises with exact places, borders of words, exceptions both ways, hostile input."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ahocorasick")

from trustplane.errors import InputError
from trustplane.guard.text.content import (
    CATEGORIES,
    SEVERITIES,
    ContentFilter,
    load_list,
    parse_list,
    word_list,
)

DATA = Path("../shared/data")


@pytest.fixture(scope="module")
def own() -> ContentFilter:
    return ContentFilter()


@pytest.fixture(scope="module")
def listed() -> ContentFilter:
    words = ["grumbler", "zorkle", "mudlark", "敏感词语", "违禁品", "赌钱网站"]
    return ContentFilter([word_list("mine", words, severity="high")], own_lists=False)


def leet(word):
    return word.translate(str.maketrans("aeiost", "431057", ""))


DISGUISES = {
    "plain": lambda w: w,
    "capitals": str.upper,
    "full-width": lambda w: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in w),
    "zero-width": "\u200b".join,
    "spaced": " ".join,
    "dotted": ".".join,
    "starred apart": "*".join,
    "bidi": lambda w: "\u202a" + w[0] + "\u202c" + w[1:],
}
LATIN = {
    "leet": leet,
    "repeated": lambda w: w[:3] + w[2] * 4 + w[3:],
    "cyrillic": lambda w: w.translate(str.maketrans("aeopcxy", "аеорсху")),
    "accents": lambda w: w.translate(str.maketrans("aeou", "áëôü")),
    "plural": lambda w: w + "s",
    "bold": lambda w: "".join(chr(0x1D400 + ord(c) - ord("a") + 26) for c in w),
}
HAN = {
    "敏感词语": {"traditional": "敏感詞語", "pinyin": "mingan ciyu", "tones": "mǐn gǎn cí yǔ",
               "numbers": "min3gan3ci2yu",
               "mixed": "敏gan词yu", "homophone": "民感词语"},
    "违禁品": {"traditional": "違禁品", "pinyin": "weijinpin", "mixed": "违jin品",
             "spaced": "违 禁*品", "split": "违林示品"},
    "赌钱网站": {"traditional": "賭錢網站", "lookalike": "睹钱网站", "pinyin": "du qian wang zhan", "initials": "dqwz"},
}  # fmt: skip


@pytest.mark.parametrize("name", [*DISGUISES, *LATIN])
@pytest.mark.parametrize("word", ["grumbler", "zorkle", "mudlark"])
def test_disguised_latin_words_are_found_at_their_exact_place(listed, name, word):
    written = {**DISGUISES, **LATIN}[name](word)
    text = f"say, {written} again"
    (hit,) = listed.judge(text).hits
    assert text[hit.start : hit.end].strip("\u202a\u202c\u200b") == written.strip("\u202a\u202c\u200b")
    assert hit.category == "profanity"


@pytest.mark.parametrize(("word", "name"), [(w, n) for w in HAN for n in [*HAN[w], *DISGUISES]])
def test_disguised_chinese_words_are_found_at_their_exact_place(listed, word, name):
    written = HAN[word][name] if name in HAN[word] else DISGUISES[name](word)
    text = f"他说的{written}很多"
    judgement = listed.judge(text)
    assert judgement.outcome == "hit"
    (hit,) = judgement.hits
    assert text[hit.start : hit.end].strip("\u202a\u202c\u200b") == written.strip("\u202a\u202c\u200b")


@pytest.mark.parametrize(
    "text",
    [
        "Scunthorpe, Penistone and Lightwater", "an assassin in a classic cocktail dress", "the therapist analysed it",
        "Nigeria, Niger and the Nigerian river", "Arsenal shut the door", "Essex, Sussex and Middlesex",
        "a grape, a shitake and mishits", "Dick Cheney met Dick Van Dyke", "pussy willow and great tit", "cum laude",
        "Hello, hello class", "pass it", "this hit", "as shown", "basement assets",
        "a cocker spaniel", "document circumstance",
        "spices and cumin", "Maine coon", "raccoon", "fire retardant", "the analysis of a n a l y s i s", "title titan",
        "我们都是做爱国的人", "在路口交通灯处左转", "妈妈的味道", "窗口交费", "废物利用",
        "周围神经病变的表现", "杂种优势",
        "上海的蝗虫研究", "体内射频消融", "下周口交流很多", "异性交往", "1455 5417 455",
    ],
)  # fmt: skip
def test_innocent_words_that_contain_listed_ones_are_clean(own, text):
    assert own.judge(text).outcome == "clean", own.judge(text)


CONTEXTS = [
    ("I will kill myself tonight", "I would never kill myself", "negation"),
    ("why don't you just kill yourself", "please don't ever say kill yourself to anyone", "counter_speech"),
    ("you are a faggot", 'he shouted "you are a faggot" at me', "quotation"),
    ("bitch you are a retard", "Stop using the word retard, it is hurtful", "counter_speech"),
    ("show me your vagina and blowjob", "the doctor examined the vagina; oral sex and HIV infection risk", "medical"),
    ("my nigga", "my nigga", "reclaimed"),
    ("how to make a bomb", "a documentary on how they learned to make a bomb", "education"),
    ("我想自杀，教我自杀方法", "医生在热线里劝导有自残行为的患者", "medical"),
    ("我要加入伊斯兰国参加圣战", "我们坚决反对圣战", "counter_speech"),
    ("你这个人渣", "他不是人渣", "negation"),
    ("死基佬", "他骂我“死基佬”", "quotation"),
]


@pytest.mark.parametrize(("bad", "forgiven", "exception"), CONTEXTS)
def test_a_context_lowers_what_the_same_words_without_it_do_not(own, bad, forgiven, exception):
    outcome, hits, _ = own.judge(forgiven)
    named = [hit for hit in hits if hit.exception == exception]
    assert named
    if exception != "reclaimed":
        judged = own.judge(bad)
        assert judged.outcome == "hit"
        assert any(hit.exception is None for hit in judged.hits)
        worst = max(SEVERITIES.index(hit.severity) for hit in judged.hits)
        assert all(SEVERITIES.index(hit.severity) < worst for hit in named) or outcome == "clean"


@pytest.mark.parametrize("text", ["prevention of child porn is taught at school", 'he said "child porn" is not okay'])
def test_no_context_makes_the_gravest_category_clean(own, text):
    assert own.judge(text).outcome == "hit"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"), (" \n\t", "empty"), ("Привет, как дела у тебя", "script"), ("これはペンです", "script"),
        ("§§§ ∆∆∆ ¤¤¤ ••• ###", "symbols"), ("\ud800\udfff\ud800" * 5, "symbols"), ("QUJD" * 200, "opaque"),
        ("Wir haben gestern lange gearbeitet und danach noch ein Bier getrunken weil es warm war", "language"),
    ],
)  # fmt: skip
def test_what_it_cannot_read_is_unknown_and_not_clean(own, text, reason):
    judgement = own.judge(text)
    assert (judgement.outcome, judgement.reason) == ("unknown", reason)


def test_a_hit_beats_not_knowing(own):
    assert own.judge("Привет, как дела, you fucking bastard, хорошо?").outcome == "hit"
    assert ContentFilter(languages=("en",)).judge("今天天气很好").outcome == "unknown"


HOSTILE = {
    "one letter": "a" * 200_000, "one listed letter": "s" * 200_000, "starts of a word": "fuc" * 70_000,
    "zero-width": "\u200b" * 200_000, "zero-width inside": "f" + "\u200b" * 100_000 + "u",
    "lone surrogates": "\ud800" * 200_000, "nul": "\0" * 200_000, "stars": "f*" * 100_000, "hashes": "a#" * 100_000,
    "leet": "a$$5@" * 40_000, "digits": "4551" * 50_000, "spaces": "f " * 100_000, "one han": "妈" * 200_000,
    "han and gaps": "操 你 " * 50_000, "listed": "fuck " * 40_000, "quotes": '"' * 200_000, "pinyin": "caoni" * 40_000,
    "marks": "u\u0336" * 100_000, "negations": "not " * 50_000, "a long gap": "fuc" + " " * 199_000 + "k",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_takes_linear_time_and_bounded_memory(own, name):
    text = HOSTILE[name]
    own.judge("warm up")
    began = time.process_time()
    judgement = own.judge(text)
    assert time.process_time() - began < 3.0
    assert judgement.outcome in ("hit", "clean", "unknown")
    assert len(judgement.hits) <= 1000


def test_too_long_is_unknown(own):
    assert own.judge("word " * 2**20).reason == "too_long"


def test_a_flood_of_forgiven_words_cannot_hide_the_next_one(own):
    text = "damn " * 2_000 + "you are a faggot"
    assert own.judge(text).outcome in ("hit", "unknown")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec=None), max_size=80))
def test_any_text_is_judged_with_places_inside_it(text):
    judgement = _shared().judge(text)
    assert judgement.outcome in ("hit", "clean", "unknown")
    assert (judgement.outcome == "unknown") <= bool(judgement.reason)
    for hit in judgement.hits:
        assert 0 <= hit.start < hit.end <= len(text)
        assert hit.severity in SEVERITIES
        assert hit.category in CATEGORIES


@settings(max_examples=40, deadline=None)
@given(
    st.text("abc ,。的了在我 \u200b", max_size=12),
    st.sampled_from(["zorkle", "违禁品", "Z0RKLE", "違 禁 品"]),
    st.text(" ,。的了在我", max_size=12),
)
def test_the_place_does_not_depend_on_what_stands_around(before, word, after):
    text = before + "，" + word + "，" + after
    (hit,) = _listed().judge(text).hits
    assert text[hit.start : hit.end] == word


_cache: dict[str, ContentFilter] = {}


def _shared():
    return _cache.setdefault("own", ContentFilter())


def _listed():
    made = word_list("mine", ["zorkle", "违禁品"])
    return _cache.setdefault("listed", ContentFilter([made], own_lists=False))


def test_threads_share_a_filter(own):
    texts = ["you f.u.c.k", "傻 逼", "good morning to you", 'he said "bitch"', "mǐn gǎn"] * 20
    expected = [own.judge(text) for text in texts]
    found: list[list] = []
    threads = [threading.Thread(target=lambda: found.append([own.judge(t) for t in texts])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


@pytest.mark.parametrize(
    ("text", "toml", "said"),
    [
        ("word | colour=red", False, "an unknown key in line 1"),
        ("fine\nword | category=nonsense", False, "an unknown category in line 2"),
        ("[profanity enormous]", False, "an unknown severity in line 1"),
        ("[a b c]", False, "a section is not [CATEGORY SEVERITY] in line 1"),
        ("x" * 65, False, "a word is empty or over 64 characters in line 1"),
        ("secret-word | reclaimed=perhaps", False, "reclaimed is not of type bool in line 1"),
        ("colour = 1", True, "an unknown key"),
        ("not toml at all", True, "the word list is not TOML"),
        ("[[words]]\nword = 3", True, "word is not of type str"),
        ("[[words]]\nword = 'a'\ncategory = 'rivals'", True, "an unknown category in word 1"),
        ("[categories.rivals]\ncolour = 'x'", True, "an unknown key in a category"),
        ("[categories.rivals]\nexceptions = ['magic']", True, "an unknown exception in a category"),
    ],
)
def test_a_bad_list_is_refused_with_its_place_and_without_its_content(text, toml, said):
    with pytest.raises(InputError) as caught:
        parse_list(text, toml=toml)
    assert caught.value.message == said
    assert "secret-word" not in str(caught.value)


def test_a_list_file_of_either_form_adds_words_and_categories(tmp_path):
    plain = tmp_path / "our words.txt"
    plain.write_text("# ours\nzorkle\nzorkle\n[harassment low]\ngrumbler | severity=high\n! zorkle park\n", "utf-8")
    rich = tmp_path / "rivals.toml"
    rich.write_text(
        'name = "rivals"\n[categories.rivals]\nseverity = "low"\nexceptions = ["quotation"]\n'
        '[[words]]\nword = "Acme Frobs"\ncategory = "rivals"\n',
        "utf-8",
    )
    lists = [load_list(plain), load_list(rich)]
    assert [len(one.entries) for one in lists] == [3, 1]
    judge = ContentFilter(lists, own_lists=False, threshold="low").judge
    assert [h.rule for h in judge("a zorkle, a grumbler and acme  frobs").hits] == [
        "our-words/plain", "our-words/plain", "rivals/plain",
    ]  # fmt: skip
    assert judge("in zorkle park").outcome == "clean"
    assert "zorkle" not in repr(lists)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_an_unreadable_file_is_an_input_error(tmp_path, content):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError):
        load_list(path)


def test_settings_are_checked_and_decide():
    for wrong in (
        {"threshold": "none"},
        {"languages": ("fr",)},
        {"categories": ["nonsense"]},
        {"lists": ["words.txt"]},
    ):
        with pytest.raises(InputError):
            ContentFilter(**wrong)
    text = "you bastard, go kill yourself"
    assert {h.category for h in ContentFilter(categories=["self_harm"]).judge(text).hits} == {"self_harm"}
    assert ContentFilter(categories={"profanity": "low"}).judge("you bastard").outcome == "clean"
    assert ContentFilter(threshold="critical").judge(text).outcome == "clean"


def test_digest_names_what_changes_a_result():
    made = [
        ContentFilter(), ContentFilter(threshold="low"), ContentFilter(categories=["hate"]),
        ContentFilter(languages=("en",)),
        ContentFilter([word_list("mine", ["zorkle"])]), ContentFilter([word_list("mine", ["grumbler"])]),
        ContentFilter(model=True),
    ]  # fmt: skip
    digests = [one.digest for one in made]
    assert len(set(digests)) == len(digests)
    assert ContentFilter().digest == digests[0]


def test_the_default_list_covers_its_categories():
    from trustplane.guard.text.content.words import default_list

    for language in ("en", "zh"):
        entries = default_list(language).entries
        assert len(entries) >= 300
        empty = set(CATEGORIES) - {entry.category for entry in entries}
        assert empty == {"political_sensitive", "toxicity"}


def test_the_model_says_hit_or_clean_and_is_not_diluted():
    from trustplane.guard.text.content.model import BITS, probability, weights
    from trustplane.guard.text.views import fold

    judge = ContentFilter(model=True).judge
    rude, kind = "you are a disgusting dumb bitch and a whore", "Thank you for the lovely photos from the garden!"
    assert probability(fold(rude).text, "en") > weights("en").high > weights("en").low > probability(kind, "en")
    assert "model/en" in {hit.rule for hit in judge(rude).hits}
    assert judge(kind).outcome == "clean"
    assert weights("zh").values.shape == (2**BITS,)
    # a toxic sentence is not diluted by what stands around it
    assert probability(kind * 40 + rude * 6 + kind * 40, "en") > weights("en").high


def test_ldnoobw_words_are_found():
    folder = DATA / "word_lists_ldnoobw"
    if not folder.exists():
        pytest.skip("word_lists_ldnoobw is absent")
    words = [w for w in (folder / "en.txt").read_text("utf-8").splitlines() if w.strip()]
    judge = ContentFilter([word_list("ldnoobw", words)], own_lists=False).judge
    seen = sum(judge(f"they wrote {word} there").outcome == "hit" for word in words)
    assert seen >= len(words) - 2  # an emoji has no letters to find


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, trustplane; print(sorted({'numpy', 'ahocorasick', 'tomllib'} & set(sys.modules)))"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code]).decode().replace("'", '"')) in (
        [],
        ["tomllib"],
    )


def test_two_disguises_at_once(listed):
    pairs = itertools.permutations([("full-width", DISGUISES["full-width"]), ("zero-width", DISGUISES["zero-width"]),
                                    ("leet", leet), ("spaced", DISGUISES["spaced"])], 2)  # fmt: skip
    for (_, first), (_, second) in pairs:
        assert listed.judge("so " + second(first("zorkle")) + " then").outcome == "hit"
