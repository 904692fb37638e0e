"""The text guard beside Presidio's engine: speed, growth, hostile texts, differences, memory."""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import random
import re
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "guard" / "text"))

from harness import finish, row
from pattern_texts import samples

from trustplane.guard.text import TextGuard
from trustplane.guard.text.presidio.compiled import compile_recognizers
from trustplane.guard.text.presidio.patterns import pattern_recognizers

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
THRESHOLD = 0.4
FORMS = (
    "###-##-####", "#### #### #### ####", "@@#######", "###.###.#.##", "@@@@@####@", "##/##/####", "#########",
    "@@@####", "##:##:##:##:##:##", "########@", "+## ### ### ####", "####-##-##", "@# #@@", "#-###-###", "####:::##",
)  # fmt: skip
"""Forms of generated values: # a digit, @ a letter."""


def read(name, file):
    path = DATA / name / file
    if not path.exists():
        sys.exit(f"{path} is absent")
    return gzip.open(path, "rt", encoding="utf-8").read()


def corpora():
    """Return by name the lists of texts that both sides read."""
    small = [entry["full_text"] for entry in json.loads(read("presidio_small", "generated_small.json.gz"))]
    sms = [line.partition("\t")[2] for line in read("sms_spam", "SMSSpamCollection.tsv.gz").splitlines()]
    wnut = [
        " ".join(line.split("\t")[0] for line in sentence.splitlines() if line.strip())
        for file in ("wnut17train.conll.gz", "emerging.dev.conll.gz")
        for sentence in read("wnut17", file).split("\n\n")
    ]
    adult = [
        "; ".join(f"field {i}: {value}" for i, value in enumerate(line.split(", ")))
        for line in read("adult", "adult.data.gz").splitlines()
    ]
    return {"presidio_small": small, "sms_spam": sms, "wnut17": wnut, "adult": adult, "generated": generated(20_000)}


def generated(count):
    rng = random.Random(1)
    words = [
        "the",
        "my",
        "card",
        "number",
        "is",
        "account",
        "at",
        "id",
        "passport",
        "call",
        "mail",
        "due",
        "from",
        "我的",
        "号码",
        "für",
        "née",
        "SSN",
        "iban",
        "on",
        "2019",
        "no",
    ]

    def value():
        form = rng.choice(FORMS)
        shown = "".join(
            rng.choice("0123456789") if c == "#" else rng.choice("ABCDEFGHXYZ") if c == "@" else c for c in form
        )
        return rng.choice([shown, shown, shown.lower(), f"{shown.lower()}@example.com", f"www.{shown.lower()}.org"])

    return [
        " ".join(value() if rng.random() < 0.25 else rng.choice(words) for _ in range(rng.randint(3, 25)))
        for _ in range(count)
    ]


def presidio(recognizers):
    """Return Presidio's engine without a model, kept from the network."""
    import tldextract.tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

    class NoTokens(NlpEngine):
        def load(self): ...
        def is_loaded(self):
            return True

        def process_text(self, text, language):
            return NlpArtifacts([], [], [], [], self, language)

        def process_batch(self, texts, language, **_):
            return ((text, self.process_text(text, language)) for text in texts)

        def is_stopword(self, word, language):
            return False

        def is_punct(self, word, language):
            return False

        def get_supported_entities(self):
            return []

        def get_supported_languages(self):
            return ["en"]

    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=recognizers), nlp_engine=NoTokens(), supported_languages=["en"]
    )
    return lambda text, threshold=THRESHOLD: engine.analyze(text, "en", score_threshold=threshold)


def fastest(run, text, times):
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        run(text)
        best = min(best, time.perf_counter() - began)
    return best


def beside(texts, warm, *runs):
    """Return mean seconds per text of each of ``runs``, in turn; none of ``texts`` was seen before, ``warm`` were."""
    for run in runs[:2]:
        for text in warm:
            run(text)
    seconds = [[fastest(run, text, 1) for run in runs] for text in texts]
    return [sum(column) / len(column) for column in zip(*seconds, strict=True)]


def slices(source, size, count, wanted):
    """Return ``count`` slices of ``source``, each of ``size`` characters, that ``wanted`` likes."""
    rng = random.Random(size)
    found = []
    for _ in range(4000):
        start = rng.randrange(max(1, len(source) - size))
        if wanted(part := source[start : start + size]):
            found.append(part)
        if len(found) == count:
            return found
    return found


def hostile(patterns, size):
    """Return by name texts that hurt: the classics, and for each pattern its own matches cut short, and its pumps."""
    rng = random.Random(6)
    classics = {"@": "@" * size, "digits": "7" * size, "nested JSON": '{"a":' * (size // 5), "brackets": "[" * size}
    of_patterns = {}
    for pattern in patterns:
        source, flags = pattern
        for number, example in enumerate(samples(source, flags, rng, 2)):
            cut = example[:-1] or "x"
            of_patterns[source, number] = (cut * (size // len(cut) + 1))[:size]
            letter = rng.choice(example or "x")
            of_patterns[source, number, "pump"] = example[:3] + letter * size + "\x00"
    return classics, of_patterns


def speed(rows, raw, guard, same, peer, texts, quick):
    clean = re.sub(r"\S*[\d@/]\S*|(?<=\w)\.(?=\w)", " ", " ".join(texts["sms_spam"])).encode("ascii", "ignore").decode()
    rng = random.Random(9)
    dirty = " ".join(rng.choice(texts["presidio_small"] + texts["sms_spam"][:150]) for _ in range(4_000))
    dirty = dirty.encode("ascii", "ignore").decode()
    free = lambda part: not guard.detect(part) and not peer(part)  # noqa: E731
    full = lambda part: len(guard.detect(part)) >= 5 and len(peer(part)) >= 5  # noqa: E731
    some = 16 if quick else 60
    cases = [
        ("200 characters, clean", slices(clean, 200, some, free), None, None),
        ("2 KB, clean", slices(clean, 2_000, some, free), 100, 300),
        ("2 KB, five findings or more", slices(dirty, 2_000, some, full), 50, 100),
        ("17 KB, no values", slices(clean, 17_000, 2, bool), None, None),
        ("17 KB, with values", slices(dirty, 17_000, 2, bool), None, None),
    ]
    for what, parts, must, goal in cases:
        source = dirty if "find" in what or "with" in what else clean
        warm = [source[at : at + 2_000] for at in range(0, min(len(source), 600_000), 2_000)]
        own, exact, theirs = beside(parts, warm, guard.detect, same, peer)
        raw[what] = {"guard_s": own, "same_patterns_s": exact, "presidio_s": theirs, "texts": len(parts)}
        rows.append(
            row(f"{what}: all rules", 1 / own, unit="texts/s", better="higher", peer=1 / theirs, peer_name="Presidio",
                must=must, goal=goal)
        )  # fmt: skip
        rows.append(
            row(f"{what}: the same patterns", 1 / exact, unit="texts/s", better="higher", peer=1 / theirs,
                peer_name="Presidio", must=must, goal=goal)
        )  # fmt: skip
    return clean, dirty


def growth(rows, raw, guard, same, peer, clean, dirty, quick):
    for name, source in (("no values", clean), ("values", dirty)):
        small = source[:17_000]
        big = (small * (1_000_000 // len(small) + 1))[:1_000_000]  # the same text, so that only its length differs
        for who, run in (("all rules", guard.detect), ("the same patterns", same)):
            run(small)
            ratio = (fastest(run, big, 1) / len(big)) / (fastest(run, small, 3) / len(small))
            raw[f"growth {name} {who}"] = ratio
            rows.append(
                row(f"cost per byte at 1 MB over 17 KB, {name}: {who}", ratio, unit="x", better="lower", must=2)
            )
        if not quick and name == "values":
            own, theirs = fastest(guard.detect, big, 1), fastest(peer, big, 1)
            rows.append(
                row("1 MB, with values: all rules", 1 / own, unit="texts/s", better="higher", peer=1 / theirs,
                    peer_name="Presidio")
            )  # fmt: skip


def attacks(rows, raw, guard, same, recognizers, dirty, quick):
    """Texts that make a backtracking engine slow; what they cost over a benign text with five values in 2 KB.

    Of the texts made for the patterns those count that hold no more values than benign text does: a text of
    nothing but values takes as long as so many values take.
    """
    size = 20_000 if quick else 200_000
    patterns = [(p.regex, int(r.global_regex_flags)) for r in recognizers for p in r.patterns]
    classics, own = hostile(patterns[::3] if quick else patterns, size if quick else 50_000)
    most = len(same(dirty[:size])) / size * 2
    own = {name: text for name, text in own.items() if len(same(text)) / len(text) <= most}
    for who, run in (("all rules", guard.detect), ("the same patterns", same)):
        run(dirty[:size])
        benign = fastest(run, dirty[:size], 3) / size
        for name, text in classics.items():
            cost = fastest(run, text, 2) / len(text) / benign
            rows.append(row(f"hostile text, {name}: {who}", cost, unit="x benign", better="lower", must=10))
        worst = sorted(((fastest(run, text, 2) / len(text) / benign, str(name)[:60]) for name, text in own.items()))[
            -8:
        ]
        raw[f"worst of patterns, {who}"] = worst
        rows.append(
            row(f"hostile texts for each pattern, worst of {len(own)}: {who}", worst[-1][0], unit="x benign",
                better="lower", must=10)
        )  # fmt: skip


def differences(rows, raw, same, peer, texts, quick):
    rng = random.Random(2)
    for name, all_texts in texts.items():
        some = rng.sample(all_texts, min(len(all_texts), 250 if quick else 20_000))
        differ = 0
        for text in some:
            ours = sorted((h.entity, h.start, h.end, h.score) for h in same(text))
            theirs = sorted((r.entity_type, r.start, r.end, r.score) for r in peer(text, 0))
            differ += ours != theirs
        raw[f"differences {name}"] = {"texts": len(some), "differ": differ}
        rows.append(
            row(f"texts with a difference, of {len(some)}: {name}", differ, unit="texts", better="lower", must=0)
        )


def memory(rows, raw, guard, texts, quick):
    def resident():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    if not Path("/proc/self/statm").exists():
        return
    rng = random.Random(3)
    source = texts["sms_spam"] + texts["generated"]
    count = 2_000 if quick else 100_000
    marks = []
    for number in range(count + 1):
        if number % (count // 4) == 0:
            marks.append(resident())
        guard.detect(rng.choice(source) + f" {rng.random()}")
    raw["resident MB"] = marks
    rows.append(
        row(
            f"memory gained in the last half of {count} texts", marks[-1] - marks[2], unit="MB", better="lower", must=20
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    recognizers = [type(r)(supported_language="en") for r in pattern_recognizers()]
    raw, rows = {}, []
    guard = TextGuard(finders=(), threshold=THRESHOLD)  # rules and patterns; what the name taggers cost is theirs
    guard.detect("x"), guard.detect("é")
    rows.append(row("start-up with Presidio's import", time.perf_counter() - began, unit="s", better="lower"))
    compiled = compile_recognizers(recognizers)
    peer = presidio(recognizers)
    loaded = sum(entry["engine"] == "gated" for entry in guard.explain_rules())
    rows.append(row("rules and patterns behind the set", loaded, unit="patterns", better="higher", must=300))
    texts = corpora()
    clean, dirty = speed(rows, raw, guard, lambda t: compiled.analyze(t, score_threshold=THRESHOLD), peer, texts, quick)
    growth(rows, raw, guard, compiled.analyze, peer, clean, dirty, quick)
    attacks(rows, raw, guard, compiled.analyze, recognizers, dirty, quick)
    differences(rows, raw, compiled.analyze, peer, texts, quick)
    memory(rows, raw, guard, texts, quick)
    finish("text_guard", rows, raw, quick=quick)


if __name__ == "__main__":
    main()
