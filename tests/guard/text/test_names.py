"""Finding names: cues, the built-in tagger, Chinese names, spaCy and ONNX models behind one port."""

import asyncio
import concurrent.futures
import hashlib
import itertools
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError
from trustplane.guard.text import TextGuard
from trustplane.guard.text.names import built_in_finders
from trustplane.guard.text.names.chinese import ChineseNames
from trustplane.guard.text.names.cues import NAME_RULES
from trustplane.guard.text.names.english import CUES, cued, english_cues
from trustplane.guard.text.names.features import lists, runs, words
from trustplane.guard.text.names.labels import ENTITY_OF, Piece, aggregate
from trustplane.guard.text.names.listed import Names
from trustplane.guard.text.names.onnx import OnnxFinder
from trustplane.guard.text.names.port import NameFinder, refuse_in_event_loop
from trustplane.guard.text.names.segment import segmenter
from trustplane.guard.text.names.spacy import SpacyFinder
from trustplane.guard.text.names.tagger import LISTS, TAGS, NameTagger, best_path
from trustplane.guard.text.views import fold

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "trustplane" / "guard" / "text" / "names"
THRESHOLD = 0.4


@pytest.fixture(scope="module")
def tagger():
    return NameTagger()


@pytest.fixture(scope="module")
def chinese():
    return ChineseNames()


def found(finder, text, entity="PERSON", least=THRESHOLD):
    return [text[h.start : h.end] for h in finder.find(text) if h.entity == entity and h.score >= least]


# --- English cues


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Please call ms. Kovačić back.", "Kovačić"),
        ("Her maiden name is Lindqvist.", "Lindqvist"),
        ("My daughter Amara is ill.", "Amara"),
        ("my partner's name Jan de Vries", "Jan de Vries"),
        ('"It works," says Okonkwo.', "Okonkwo"),
        ("Here is Ingrid's address:", "Ingrid"),
        ("Teresa, can you send the file?", "Teresa"),
        ("a film directed by Sofia Brandt and", "Sofia Brandt"),
        ("Petra Novák\n17 Long Lane\nYork", "Petra Novák"),
        ("my name is anders holm", "anders holm"),
    ],
)
def test_a_cue_finds_the_name(text, name):
    assert name in [text[h.start : h.end] for h in english_cues(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Dear Customer, your order is on its way.",
        "Everyone says that this is fine.",
        "The committee's address is below.",
        "Please follow up with the team.",
        "Hey, can you help me?",
        "I am American and I'm Sorry.",
    ],
)
def test_ordinary_words_beside_a_cue_are_no_names(text):
    assert not list(english_cues(text))


# fmt: off
_PARTS = st.sampled_from(
    [
        "Dr.", "Mrs.", "ms.", "Dear", "Regards,", "I am", "This is", "my", "name is", "My NAME is",
        "maiden name is", "calls me", "my son", "'s name", "said", "told", "lives", "at", "was born",
        ", can you", "'s", "address", "Ana", "Müller", "Van", "de", "\n", "\n\n", "12", "Main", "directed by",
        "talk to", "Lee", "?", ">", "ÉMILE", "İs", "ǅ", "Ω", "",
    ]
)
# fmt: on


@settings(max_examples=150, deadline=None)
@given(st.lists(_PARTS, max_size=14), st.sampled_from([" ", "", "  ", "\t"]))
def test_gates_leave_no_cue_out(parts, gap):
    text = gap.join(parts)
    plain = [hit for number, cue in enumerate(CUES) for hit in cued(cue, text, whole=number == 0)]
    assert list(english_cues(text)) == plain
    assert len(NAME_RULES["en"].gate) == len(CUES)


# --- the built-in tagger


def test_tagger_finds_names_in_plain_sentences(tagger):
    text = "Yesterday Maria Schmidt flew from Berlin to Toronto and met Rajesh Patel."
    assert {"Maria Schmidt", "Rajesh Patel"} <= set(found(tagger, text))
    assert set(found(tagger, text, "LOCATION")) <= {"Berlin", "Toronto"}


@pytest.mark.parametrize(
    "text",
    [
        "Click on Settings to open the Advanced menu.",
        "On Monday we ship version 2 of the API in English and French.",
        "Wisdom and Discipline are important values.",
        "STEP 1: OPEN THE FILE AND PRESS ENTER",
        "SELECT * FROM Users WHERE id = 4",
        "please read the docs before you start",
    ],
)
def test_tagger_leaves_ordinary_words(tagger, text):
    assert not list(tagger.find(text))


def test_card_names_the_files_that_are_shipped(tagger):
    card = (PACKAGE / "tagger.md").read_text(encoding="utf-8")
    assert tagger.digest in card
    assert hashlib.sha256((PACKAGE / "tagger.npz").read_bytes()).hexdigest() in card
    assert "CC BY 4.0" in card
    assert (PACKAGE / "tagger.npz").stat().st_size <= 2_000_000


def test_card_figures_are_those_of_the_weights(tagger):
    if not (ROOT / ".." / "shared" / "data" / "wnut17" / "wnut17train.conll.gz").exists():
        pytest.skip("../shared/data/wnut17 is absent")
    code = (
        "import sys; sys.path.insert(0, 'train'); import name_tagger_card as c; "
        "print('\\n'.join(c.lines(c.t.NameTagger(least=0.0), list(c.presidio()))))"
    )
    measured = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert measured in (PACKAGE / "tagger.md").read_text(encoding="utf-8")


def test_digest_covers_the_lists(tagger, tmp_path):
    total = hashlib.sha256((PACKAGE / "tagger.npz").read_bytes())
    for name in LISTS:
        total.update(hashlib.sha256((PACKAGE / name).read_bytes()).digest())
    assert tagger.digest == "sha256:" + total.hexdigest()
    assert {"given_names.txt", "surnames.txt", "places.txt"} <= set(LISTS)
    assert all(word == word.lower() for part in lists() for word in part)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(-50, 50), min_size=7, max_size=7), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(-20, 20), min_size=7, max_size=7), min_size=7, max_size=7),
)
def test_best_path_is_the_best_of_all_paths(scores, moves):
    def legal(path):
        return all(
            tag % 2 or not tag or before in (tag - 1, tag) for before, tag in zip((0, *path), path, strict=False)
        )

    def value(path):
        return sum(row[t] for row, t in zip(scores, path, strict=True)) + sum(
            moves[a][b] for a, b in itertools.pairwise(path)
        )

    paths = [()]
    for _ in scores:
        paths = [(*p, tag) for p in paths for tag in range(len(TAGS)) if legal((*p, tag))]
    assert value(best_path(scores, moves)) == max(map(value, paths))
    assert legal(tuple(best_path(scores, moves)))


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet=st.sampled_from("aBcÉ .'’-@#/:\n0张·Ana\ud800\u0301"), max_size=60))
def test_words_and_hits_stay_inside_the_text(text):
    tokens = words(text)
    assert all(text[w.start : w.end] == w.text for w in tokens)
    assert all(a.end <= b.start for a, b in itertools.pairwise(tokens))
    assert all(0 <= r.first < r.last <= len(tokens) for r in runs(tokens, text))
    hits = list(_TAGGER.find(text))
    assert all(0 <= h.start < h.end <= len(text) and 0 < h.score <= 1 for h in hits)
    assert all(a.end <= b.start for a, b in itertools.pairwise(hits))


_TAGGER = NameTagger(least=0.0)


def test_tagger_refuses_other_weights(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        NameTagger(tmp_path / "absent.npz")
    (tmp_path / "junk.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match="cannot be read"):
        NameTagger(tmp_path / "junk.npz")
    zeros = {name: np.zeros(3, np.int32) for name in ("words", "moves", "common", "margins", "scores")}
    np.savez(tmp_path / "other.npz", **zeros)
    with pytest.raises(InputError, match="other shapes"):
        NameTagger(tmp_path / "other.npz")
    with pytest.raises(InputError, match="least"):
        NameTagger(least=1.5)


# --- Chinese


@pytest.mark.parametrize("name", ["张伟", "李娜", "王小明", "陈建国", "刘洋", "欧阳修远", "司马光", "陳建國"])
@pytest.mark.parametrize(
    "frame", ["{}说他明天来。", "请联系{}。", "{}先生您好", "联系人：{}", "客户{}的手机丢了", "王芳、{}和李强"]
)
def test_chinese_names_with_context(chinese, name, frame):
    text = frame.format(name)
    assert name in found(chinese, text), text


@pytest.mark.parametrize(
    "text",
    [
        "他忙着张罗婚事，大家都很高兴。",
        "马上就来，白天不行。",
        "高兴说不来，马上说。",
        "黄金和白银的价格，高考成绩和录取。",
        "王老师表示，方法很多。",
        "温度和湿度、路由器和交换机。",
        "任务和项目负责人，关于成立委员会的通知。",
        "许多客户、任何单位和于是老师表示。",
        "周末和家人去爬山，安全第一。",
        "张先生说明天来。",
    ],
)
def test_chinese_words_are_no_names(chinese, text):
    assert found(chinese, text) == []


@pytest.mark.parametrize("text", ["张伟没来。", "昨天李明走了。", "看见王小明了吗"])
def test_without_context_the_score_stays_below_the_threshold(chinese, text):
    assert found(chinese, text) == []


def test_a_clause_that_returns_is_read_the_same_each_time(chinese):
    clause = "张伟先生住在北京市"
    single = [(h.entity, h.start, h.end) for h in chinese.find(clause)]
    many = {(h.entity, h.start, h.end) for h in chinese.find(" ".join([clause] * 700))}
    step = len(clause) + 1
    assert single and many == {(e, a + n * step, b + n * step) for n in range(700) for e, a, b in single}
    different = " ".join(f"张伟先生{n}" for n in range(700))
    assert found(chinese, different) == ["张伟"] * 700


def test_names_with_a_dot(chinese):
    assert found(chinese, "阿卜杜拉·买买提来了，约翰·史密斯没来") == ["阿卜杜拉·买买提", "约翰·史密斯"]


def test_chinese_places_and_organisations(chinese):
    text = "我在上海市浦东新区的深圳市腾讯计算机系统有限公司工作，也去清华大学。"
    assert "上海市浦东新区" in found(chinese, text, "LOCATION")
    assert found(chinese, text, "ORGANIZATION") == ["深圳市腾讯计算机系统有限公司", "清华大学"]


def test_jieba_is_left_alone_and_no_cache_is_written(tmp_path):
    code = (
        "import tempfile, sys; from pathlib import Path\n"
        "from trustplane.guard.text.names.chinese import ChineseNames\n"
        "assert 'jieba' not in sys.modules\n"
        "finder = ChineseNames(); list(finder.find('plain text')); list(finder.find('今天'))\n"
        "assert 'jieba' not in sys.modules, 'loaded too early'\n"
        "assert list(finder.find('联系人：张伟'))\n"
        "import jieba\n"
        "assert not jieba.dt.initialized and not jieba.dt.FREQ\n"
        "print(sorted(p.name for p in Path(tempfile.gettempdir()).iterdir()))\n"
    )
    planted = tmp_path / "jieba.cache"
    planted.write_bytes(b"planted by another user")
    env = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['jieba.cache']"
    assert done.stderr == ""
    assert planted.read_bytes() == b"planted by another user"


def test_segments_cover_the_text():
    text = "欧阳修远的电话是" * 90 + "abc 12"
    segments = segmenter().cut(text, 5)
    assert "".join(s.word for s in segments) == text
    assert all(text[s.start - 5 :].startswith(s.word) for s in segments)


# --- the port


def test_built_in_finders_fit_the_port():
    finders = built_in_finders(("en", "zh", "de"))
    assert [f.name for f in finders] == ["tagger", "chinese"]
    for finder in finders:
        assert isinstance(finder, NameFinder)
        assert not finder.heavy
        assert finder.digest.startswith("sha256:")
        assert finder.digest == type(finder)().digest
    assert built_in_finders(()) == ()


def test_many_threads_find_what_one_finds():
    text = "联系人：张伟，欧阳修远说。Maria Schmidt and John Brown live in Berlin. " * 5
    finders = built_in_finders(("en", "zh"))

    def all_hits(_):
        return [tuple(finder.find(text)) for finder in finders]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len({repr(hits) for hits in pool.map(all_hits, range(24))}) == 1


def test_import_loads_nothing_heavy():
    code = "import sys, trustplane; assert not {'numpy', 'jieba', 'spacy', 'onnxruntime', 're2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- spaCy


def ruler(pattern="Zyxwva"):
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [
            {"label": "PERSON", "pattern": pattern},
            {"label": "GPE", "pattern": "Qqville"},
            {"label": "DATE", "pattern": "today"},
        ]
    )
    return nlp


def test_spacy_pipeline_gives_its_entities():
    finder = SpacyFinder(ruler(), score=0.7)
    text = "today Zyxwva went to Qqville"
    assert [(h.entity, text[h.start : h.end], h.score) for h in finder.find(text)] == [
        ("PERSON", "Zyxwva", 0.7),
        ("LOCATION", "Qqville", 0.7),
    ]
    assert finder.digest == SpacyFinder(ruler(), score=0.7).digest
    assert finder.digest != SpacyFinder(ruler("Other"), score=0.7).digest
    assert isinstance(finder, NameFinder)


def test_spacy_vocabulary_does_not_grow():
    nlp = ruler()
    finder = SpacyFinder(nlp)
    finder.find("Zyxwva once")
    before = len(nlp.vocab.strings), sum(1 for _ in nlp.vocab)
    for number in range(300):
        assert len(finder.find(f"Zyxwva wrote word{number} and w{number}ord")) == 1
    assert (len(nlp.vocab.strings), sum(1 for _ in nlp.vocab)) == before


def test_spacy_threads_wait_for_each_other():
    finder = SpacyFinder(ruler())
    texts = [f"{'pad ' * n}Zyxwva x{n}" for n in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert [h[0].start for h in pool.map(finder.find, texts)] == [4 * n for n in range(40)]


def test_spacy_says_what_is_missing():
    pytest.importorskip("spacy")
    with pytest.raises(InputError, match="not installed"):
        SpacyFinder("no_such_pipeline_anywhere")
    with pytest.raises(InputError, match="memory zones"):
        SpacyFinder(object())
    with pytest.raises(InputError, match="unknown entity"):
        SpacyFinder(ruler(), labels={"PERSON": "HUMAN"})
    short = ruler()
    short.max_length = 10
    with pytest.raises(InputError, match="longer") as caught:
        SpacyFinder(short).find("Zyxwva and more")
    assert "Zyxwva" not in str(caught.value)


# --- ONNX

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC"]
VOCAB = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "Anna": 3, "Berg": 4, "Oslo": 5, "and": 6, "in": 7, ".": 8, "Xmas": 9}
TAG_OF = {"Anna": 1, "Berg": 2, "Oslo": 3, "Xmas": 5}


def model_folder(path, *, labels=LABELS, outputs=None):
    """Write a real model: each token's logits are a row of a table, so its label is known for sure."""
    onnx = pytest.importorskip("onnx")
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("onnxruntime")
    table = np.zeros((len(VOCAB), outputs or len(labels)), np.float32)
    table[:, 0] = 4.0
    for word, tag in TAG_OF.items():
        table[VOCAB[word], min(tag, table.shape[1] - 1)] = 8.0
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)],
        "names",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path / "model.onnx"))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(VOCAB, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path / "tokenizer.json"))
    config = {"id2label": {str(i): label for i, label in enumerate(labels)}, "max_position_embeddings": 64}
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_onnx_model_gives_spans_of_the_original(tmp_path):
    finder = OnnxFinder(model_folder(tmp_path))
    text = "  Anna  Berg and Anna in Oslo. Xmas"
    assert [(h.entity, text[h.start : h.end]) for h in finder.find(text)] == [
        ("PERSON", "Anna  Berg"),
        ("PERSON", "Anna"),
        ("LOCATION", "Oslo"),
    ]
    share = np.exp(8) / (np.exp(8) + np.exp(4) + 4)
    assert all(h.score == pytest.approx(share, abs=1e-3) for h in finder.find(text))
    assert finder.heavy
    assert isinstance(finder, NameFinder)
    assert finder.entities == ("LOCATION", "PERSON")
    assert list(finder.find("")) == list(finder.find(" \n")) == []


@pytest.mark.parametrize(("window", "overlap"), [(8, 2), (13, 5), (64, 0), (300, 32)])
def test_windows_change_nothing(tmp_path, window, overlap):
    text = "and in Anna Berg . Oslo " * 40
    finder = OnnxFinder(model_folder(tmp_path), window=window, overlap=overlap)
    starts = [h.start for h in finder.find(text) if h.entity == "PERSON" and text[h.start : h.end] == "Anna Berg"]
    assert starts == [i for i in range(len(text)) if text.startswith("Anna", i)]


def test_onnx_digest_follows_the_files(tmp_path):
    first = OnnxFinder(model_folder(tmp_path))
    assert first.digest == OnnxFinder(tmp_path).digest
    assert first.digest != OnnxFinder(tmp_path, least=0.9).digest
    model_folder(tmp_path, labels=[*LABELS[:5], "B-ORG"])
    assert first.digest != OnnxFinder(tmp_path).digest


def test_onnx_says_what_is_wrong(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match=r"lacks model.onnx, tokenizer.json, config.json"):
        OnnxFinder(tmp_path)
    model_folder(tmp_path, outputs=3)
    with pytest.raises(InputError, match="output is not"):
        OnnxFinder(tmp_path)
    model_folder(tmp_path)
    with pytest.raises(InputError, match="window"):
        OnnxFinder(tmp_path, window=2)
    with pytest.raises(InputError, match="threads"):
        OnnxFinder(tmp_path, threads=0)
    (tmp_path / "config.json").write_text('{"id2label": {"0": "O", "1": "B-MISC"}}')
    with pytest.raises(InputError, match="map to no entity"):
        OnnxFinder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="id2label"):
        OnnxFinder(tmp_path)
    model_folder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"junk")
    with pytest.raises(InputError, match="cannot be loaded"):
        OnnxFinder(tmp_path)
    model_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("junk")
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        OnnxFinder(tmp_path)


@pytest.mark.parametrize(
    ("labels", "spans"),
    [
        (["B-PER", "I-PER", "O", "B-PER"], ["Ann Lee", "Bob"]),
        (["B-PER", "L-PER", "O", "U-PER"], ["Ann Lee", "Bob"]),
        (["B-PER", "E-PER", "O", "S-PER"], ["Ann Lee", "Bob"]),
        (["PER", "PER", "O", "PER"], ["Ann Lee", "Bob"]),
        (["I-PER", "I-PER", "O", "I-PER"], ["Ann Lee", "Bob"]),
        (["B-PER", "B-PER", "O", "B-PER"], ["Ann", "Lee", "Bob"]),
        (["U-PER", "U-PER", "O", "O"], ["Ann", "Lee"]),
        (["GIVEN_NAME", "SURNAME", "O", "O"], ["Ann Lee"]),
    ],
)
def test_labels_of_every_scheme(labels, spans):
    text = "Ann Lee met Bob"
    places = [(0, 3), (4, 7), (8, 11), (12, 15)]
    pieces = [Piece(*place, label, 0.5) for place, label in zip(places, labels, strict=True)]
    assert [text[a:b] for _, a, b, _ in aggregate(pieces, ENTITY_OF, text)] == spans


def test_a_word_is_never_cut():
    pieces = [Piece(0, 3, "B-PER", 1.0), Piece(3, 6, "B-PER", 1.0), Piece(6, 9, "O", 1.0), Piece(10, 12, "O", 1.0)]
    assert [(a, b) for _, a, b, _ in aggregate(pieces, ENTITY_OF, "Annabella is")] == [(0, 9)]


def test_heavy_finders_stay_out_of_event_loops(tmp_path):
    heavy, light = OnnxFinder(model_folder(tmp_path)), NameTagger()
    refuse_in_event_loop(heavy)

    async def inside():
        refuse_in_event_loop(light)
        await asyncio.to_thread(refuse_in_event_loop, heavy)
        refuse_in_event_loop(heavy)

    with pytest.raises(InputError, match="event loop"):
        asyncio.run(inside())


# --- names that are given


def alternatives(names):
    """Every name as a branch of one pattern, longest first: the slow oracle."""
    folded = sorted({fold(name).text.strip() for name in names} - {""}, key=lambda name: (-len(name), name))
    return re.compile(
        "|".join(
            (r"(?<![A-Za-z0-9])" if re.match("[A-Za-z0-9]", name) else "")
            + r"\s{1,3}".join(map(re.escape, name.split()))
            + (r"(?![A-Za-z0-9])" if re.search(r"[A-Za-z0-9]\Z", name) else "")
            for name in folded
        )
        or r"(?!)",
        re.IGNORECASE,
    )


_ATOMS = st.sampled_from(
    ["Ana", "ana", "ANA", "Lee", "Al", "a", "B", "张", "伟", "张伟", "三", "é", "É", "ß", "ẞ", "σ", "ς", "Σ", "ü", "Ü",
     "'", "-", ".", " ", "\t", "\u3000", "1", "12", "ǆ", "ΐ", "\x00", "\ud800", "\\", "[", "xıx", "xİx"]
)  # fmt: skip
_PIECES = st.lists(_ATOMS, min_size=1, max_size=5).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.lists(_PIECES, max_size=12), st.data())
def test_names_are_found_as_one_pattern_finds_them(names, data):
    names = [" ".join(name.split()) for name in names]
    gaps = st.sampled_from(["", " ", "  ", "    ", "\n"])
    parts = data.draw(st.lists(_ATOMS | gaps | st.sampled_from([*names, ""]), max_size=25))
    for text in (fold("".join(parts)).text, fold("".join(parts) + "一" * 2000).text):  # long ones are read otherwise
        assert list(Names(names).find(text)) == [m.span() for m in alternatives(names).finditer(text)]


def test_names_added_later_are_found_too():
    names = Names(["Ana Lee"])
    assert list(names.find("ana lee, Bo")) == [(0, 7)]
    names.add(["Bo", "Ana", "Lee Bo Ana"])
    assert list(names.find("ana lee bo ana, bo")) == [(0, 7), (8, 10), (11, 14), (16, 18)]


def test_a_long_name_that_almost_matches_everywhere_costs_no_more():
    class Counted(dict):
        looked = 0

        def __contains__(self, token):
            Counted.looked += 1
            return super().__contains__(token)

    names = Names(["Ana " * 500 + "Bo", "Bo " + "Ana " * 500])
    list(names.find("Ana"))
    names._next = [Counted(following) for following in names._next]
    assert list(names.find("Ana " * 5000)) == []
    assert Counted.looked <= 3 * 2 * 5000  # tokens: words and blanks


def distinct(count):
    letters = "abcdefghijklmnopqrst"
    return [f"Dr. {letters[i % 20].upper()}{letters[i // 20 % 20]}{letters[i // 400]}son came. " for i in range(count)]


def seconds(work):
    began = time.thread_time()
    work()
    return time.thread_time() - began


@pytest.mark.parametrize("parts", [False, True])
def test_work_is_linear_in_the_number_of_people(parts):
    guard = TextGuard()
    guard.warm_up()

    def look(count):
        texts = distinct(count) if parts else ["".join(distinct(count))]
        hidden = guard.session().hide_many(texts)
        assert sum(text.count("[PERSON_") for text in hidden) == count

    look(100)
    few = min(seconds(lambda: look(1500)) for _ in range(2))
    assert min(seconds(lambda: look(3000)) for _ in range(2)) <= 3 * few
