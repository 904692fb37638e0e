"""Precision and recall of the content filter by list, model, category, topic and group; disguises; speed."""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import re
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from harness import finish, row

from trustplane.guard.text.content import ContentFilter, word_list
from trustplane.guard.text.content.characters import pinyin_table, table_lines
from trustplane.guard.text.content.model import probability, weights
from trustplane.guard.text.content.words import default_list
from trustplane.guard.text.views import fold

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "train"))
import content_model

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
DIALECT = re.compile(
    r"\b(?:finna|tryna|ion|dat|dis|dem|wit|bruh|yall|y'all|ain'?t|gon|nah|mane|deadass|boutta|imma)\b", re.IGNORECASE
)
"""A rough proxy for African American English in tweets: one of these spellings; no speaker is known."""
IDENTITY = ("gay", "lesbian", "transgender", "black", "white", "muslim", "jewish", "christian", "american", "mexican",
            "deaf", "blind", "old", "young", "male", "female", "straight", "bisexual", "queer", "african")  # fmt: skip
MEDICAL = (
    "The doctor explained that breast cancer screening starts at forty.", "Anal fissures are treated with a cream.",
    "A vaginal infection needs a diagnosis by a gynaecologist.", "Erectile dysfunction of the penis has many causes.",
    "Prostate and rectal examination take five minutes.", "The nurse explained how to clean the penis of a newborn.",
    "Sexual intercourse should be avoided during treatment.", "Suicide prevention hotlines help patients.",
    "Overdose deaths from heroin rose last year.", "Nipple pain is common while breastfeeding.",
    "她因阴道炎到医院检查。", "乳头皲裂是哺乳期常见症状。", "医生建议性交后排尿以防感染。", "阴茎癌的治疗包括手术。",
    "自杀干预热线二十四小时开通。", "肛门镜检查前需要排空。", "吸毒者康复中心提供治疗。", "脑瘫患儿的康复训练。",
)  # fmt: skip
PLAIN_EN = ("We met near the {} sign today.", "Somebody wrote {} on my page.", "I keep hearing {} at work lately.")
PLAIN_ZH = ("昨天有人在群里说{}这种话。", "网上到处都是{}的帖子。", "这里写着{}三个大字。")
DECOYS_EN = (
    "the class assessed a classic cocktail recipe",
    "Scunthorpe and Penistone",
    "an analysis of the assassin",
    "he passed the shiitake to the therapist",
    "a grape for the ape",
    "sussex county documents",
    "Dickens and Hitchcock",
)
DECOYS_ZH = (
    "我们都做爱国的公民",
    "前面路口交给警察指挥",
    "妈妈的味道最好",
    "请到窗口交费",
    "固体废物处理厂",
    "大家一起努力学习",
    "今天的天气很好",
)


def rows(path):
    with gzip.open(DATA / path) as file:
        return list(csv.DictReader(io.TextIOWrapper(file, "utf-8-sig")))


def interval(hit, toxic, rng, rounds=400):
    """Return (value, low, high) of precision and of recall, 95 % bootstrap over texts."""
    hit, toxic = np.asarray(hit), np.asarray(toxic)
    picks = rng.integers(0, hit.size, (rounds, hit.size)) if hit.size < 8000 else None
    samples = []
    for number in range(rounds):
        pick = picks[number] if picks is not None else rng.integers(0, hit.size, hit.size)
        h, t = hit[pick], toxic[pick]
        samples.append(((h & t).sum() / max(1, h.sum()), (h & t).sum() / max(1, t.sum())))
    low, high = np.percentile(np.array(samples), [2.5, 97.5], axis=0)
    values = ((hit & toxic).sum() / max(1, hit.sum()), (hit & toxic).sum() / max(1, toxic.sum()))
    return [(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]


def filters():
    lists = {
        lang: [
            w.strip()
            for w in (DATA / f"word_lists_ldnoobw/{lang}.txt").read_text("utf-8-sig").splitlines()
            if w.strip()
        ]
        for lang in ("en", "zh")
    }
    peers = [word_list(f"ldnoobw-{lang}", words) for lang, words in lists.items()]
    return {
        "own list": ContentFilter(),
        "own list, threshold low": ContentFilter(threshold="low"),
        "LDNOOBW": ContentFilter(peers, own_lists=False),
        "both lists": ContentFilter(peers),
    }


def accuracy(name, texts, toxic, groups, chance, language, judges, rng, out, samples):
    known = ~np.isnan(chance)
    toxic = np.asarray(toxic)
    predicted = {
        label: np.array([judge.judge(text).outcome == "hit" for text in texts]) for label, judge in judges.items()
    }
    model = np.nan_to_num(chance, nan=0.0) >= weights(language).high
    predicted["model, out of fold"] = model
    predicted["own list and model"] = model | predicted["own list"]
    samples[name] = {}
    for label, hit in predicted.items():
        keep = known if "model" in label else np.ones(len(texts), bool)
        (p, p_low, p_high), (r, r_low, r_high) = interval(hit[keep], toxic[keep], rng)
        false = float((hit & ~toxic & keep).sum() / max(1, (~toxic & keep).sum()))
        samples[name][label] = {"precision": [p, p_low, p_high], "recall": [r, r_low, r_high], "fpr": false}
        floor = {"own list": 0.75, "own list and model": 0.8}.get(label)
        out.append(
            row(f"{name}: precision, {label}", p, unit=f"±{(p_high - p_low) / 2:.3f}", better="higher", must=floor)
        )
        out.append(row(f"{name}: recall, {label}", r, unit=f"±{(r_high - r_low) / 2:.3f}", better="higher"))
        out.append(row(f"{name}: false positives, {label}", false, unit="share", better="lower"))
    for group in sorted(set(groups)):
        here = np.array([g == group for g in groups])
        for label in ("own list", "own list and model"):
            keep = here & known if "model" in label else here
            (p, _, _), (r, _, _) = interval(predicted[label][keep], toxic[keep], rng, 2)
            samples[name][f"{label}, {group}"] = {"precision": p, "recall": r, "texts": int(keep.sum())}
            out.append(row(f"{name}, {group}: precision, {label}", p, unit="", better="higher"))
            out.append(row(f"{name}, {group}: recall, {label}", r, unit="", better="higher"))
    return predicted


def by_category(texts, toxic, judge):
    """Return per category how many texts it decides and how many of those are labelled toxic."""
    seen, right = Counter(), Counter()
    for text, label in zip(texts, toxic, strict=True):
        for category in {h.category for h in judge.judge(text).hits if h.severity not in ("none", "low")}:
            seen[category] += 1
            right[category] += bool(label)
    return {category: {"texts": n, "precision": round(right[category] / n, 3)} for category, n in seen.most_common()}


def weak_spots(tweets, labels, predicted, judge, quick, out):
    """False positives by group: dialect in tweets, identity terms in harmless sentences, medical ones."""
    clean = ~np.asarray(labels)
    marked = np.array([bool(DIALECT.search(t)) for t in tweets])
    known = predicted["known"]
    for label in ("own list", "model, out of fold"):
        keep = clean & (known if "model" in label else True)
        for group, here in (("dialect spellings", marked), ("others", ~marked)):
            share = predicted[label][keep & here].mean()
            out.append(row(f"davidson, false positives, {group}, {label}", float(share), unit="share", better="lower"))
    harmless = [r["Text"] for r in rows("identity_madlibs/bias_madlibs_77k.csv.gz") if r["Label"] == "NOT_BAD"]
    harmless = harmless[:: 40 if quick else 6]
    lists = np.array([judge.judge(t).outcome == "hit" for t in harmless])
    model = np.array([probability(fold(t).text, "en") >= weights("en").high for t in harmless])
    for term in ("all", *IDENTITY):
        here = np.array([term == "all" or term in t.lower().split() for t in harmless])
        if here.sum() >= 10:
            out.append(
                row(
                    f"madlibs, false positives, {term}, own list",
                    float(lists[here].mean()),
                    unit="share",
                    better="lower",
                )
            )
            out.append(
                row(f"madlibs, false positives, {term}, model", float(model[here].mean()), unit="share", better="lower")
            )
    flagged = float(np.mean([judge.judge(t).outcome == "hit" for t in MEDICAL]))
    out.append(row("medical sentences, false positives, own list", flagged, unit="share", better="lower"))


def messages(items, chance, judge, out):
    """Ordinary text messages: how many are flagged, and how many the model does not judge (out of fold)."""
    pick = [i for i, item in enumerate(items) if item[2] == "sms" and not np.isnan(chance[i])]
    lists = np.array([judge.judge(items[i][0]).outcome == "hit" for i in pick])
    model = chance[pick]
    high, low = weights("en").high, weights("en").low
    out.append(row("SMS ham flagged, own list", float(lists.mean()), unit="share", better="lower"))
    out.append(
        row("SMS ham flagged, with model", float((lists | (model >= high)).mean()), unit="share", better="lower")
    )
    out.append(
        row("SMS ham unknown to model", float(((model > low) & (model < high)).mean()), unit="share", better="lower")
    )


def traditional():
    return {line[1]: line[0] for line in reversed(table_lines("traditional.txt"))}


def disguises():
    to_old, sound = traditional(), pinyin_table()
    alike, split = {}, {}
    for line in table_lines("shapes.txt"):
        head, _, rest = line.partition("\t")
        if head.startswith("="):
            split[head[1]] = rest
        elif head != "!":
            alike.update({c: line.replace(c, "")[0] for c in line})

    def one(word, table):
        place = next((i for i, c in enumerate(word) if c in table), None)
        return None if place is None else word[:place] + table[word[place]] + word[place + 1 :]

    def spelled(word, gap):
        return gap.join(sound[c] for c in word) if all(c in sound for c in word) else None

    def wide(word):
        return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in word)

    def homophones(word):
        return one(
            word, {c: next((o for o in sound if sound[o] == sound[c] and o != c), c) for c in word if c in sound}
        )

    english = {
        "plain": lambda w: w, "capitals": str.upper, "full-width": wide, "zero-width": "\u200b".join,
        "spaced": lambda w: " ".join(w) if len(w) > 2 else None,
        "dotted": lambda w: ".".join(w) if len(w) > 2 else None,
        "leet": lambda w: w.translate(str.maketrans("aeio", "4310")) if len(w) > 3 else None,
        "symbols": lambda w: w.replace("s", "$").replace("a", "@") if set(w) & set("sa") and len(w) > 3 else None,
        "repeated": lambda w: w[:2] + w[1] * 3 + w[2:],
        "homoglyphs": lambda w: w.translate(str.maketrans("aeopcx", "аеорсх")),
        "masked vowel": lambda w: re.sub("[aeiou]", "*", w, count=1) if len(w) > 3 and set(w) & set("aeiou") else None,
        "plural": lambda w: w + "s" if not w.endswith(("s", "y", "x", "h", "g", "d")) else None,
    }  # fmt: skip
    chinese = {
        "plain": lambda w: w, "zero-width": "\u200b".join, "spaced": " ".join, "starred": "*".join,
        "traditional": lambda w: "".join(to_old.get(c, c) for c in w) if any(c in to_old for c in w) else None,
        "look-alike": lambda w: one(w, alike), "split": lambda w: one(w, split),
        "pinyin": lambda w: spelled(w, ""), "pinyin spaced": lambda w: spelled(w, " "),
        "pinyin mixed": lambda w: w[0] + sound[w[1]] + w[2:] if w[1] in sound else None,
        "initials": lambda w: "".join(sound[c][0] for c in w) if all(c in sound for c in w) else None,
        "homophone": homophones,
    }  # fmt: skip
    return english, chinese


def evasion(out, samples, quick):
    english, chinese = disguises()
    for language, kinds, plain, decoys in (("en", english, PLAIN_EN, DECOYS_EN), ("zh", chinese, PLAIN_ZH, DECOYS_ZH)):
        entries = default_list(language).entries
        words = [e.word.lower() for e in entries if not e.harmless]
        if language == "en":
            words = [w for w in words if w.isalpha() and w.isascii()]
        else:
            words = [w for w in words if len(w) > 1 and not any(c.isascii() for c in w)]
        words = list(dict.fromkeys(words))[:: 3 if quick else 1]
        judge = ContentFilter(languages=(language,), threshold="low").judge
        base = [s.format("") for s in plain]
        for name, change in kinds.items():
            found = total = 0
            for number, word in enumerate(words):
                written = change(word)
                if written is None or (name != "plain" and written == word):
                    continue
                text = plain[number % len(plain)].format(written)
                start = text.index(written)
                total += 1
                found += any(h.start < start + len(written) and h.end > start for h in judge(text).hits)
            short = [w for w in words if len(w) == 2]
            samples[f"{language} {name}"] = {"found": found, "of": total, "words of two": len(short)}
            floor = 0.97 if name in ("plain", "zero-width", "full-width") else None
            what = f"{language}, recall of listed words, {name}"
            out.append(row(what, found / max(1, total), unit=f"of {total}", better="higher", must=floor))
        tried = [t for d in (*decoys, *base) for t in (d, d.upper())] if language == "en" else [*decoys, *base]
        loud = sum(judge(t).outcome == "hit" for t in tried)
        out.append(
            row(f"{language}, decoys flagged", loud / len(tried), unit=f"of {len(tried)}", better="lower", must=0.0)
        )


def speed(out, samples):
    judge = ContentFilter().judge
    began = time.process_time()
    judge("warm up")
    out.append(
        row("loading the own lists", (time.process_time() - began) * 1000, unit="ms CPU", better="lower", goal=300)
    )
    for name, text in (
        ("English", "The quick brown fox jumps over a lazy dog and then it goes home to sleep. "),
        ("Chinese", "今天天气很好，我们一起去公园散步吧，顺便买点水果回家。"),
    ):
        per = {}
        for size in (2_000, 1_000_000):
            sample = (text * (size // len(text) + 1))[:size]
            runs = []
            for _ in range(50 if size < 10_000 else 3):
                began = time.process_time()
                judge(sample)
                runs.append((time.process_time() - began) * 1000)
            per[size] = sorted(runs)[len(runs) // 2]
        samples[f"ms, {name}"] = per
        out.append(row(f"{name}, 2,000 characters, p50", per[2_000], unit="ms CPU", better="lower", goal=1.0))
        out.append(row(f"{name}, 1,000,000 characters, p50", per[1_000_000], unit="ms CPU", better="lower"))
        out.append(
            row(
                f"{name}, cost a character, 10^6 beside 2,000",
                per[1_000_000] / per[2_000] / 500,
                unit="x",
                better="lower",
                must=3.0,
            )
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    if not (DATA / "cold_zh_dev").exists():
        sys.exit("the data folder is absent")
    rng = np.random.default_rng(7)
    out, samples = [], {}
    speed(out, samples)
    evasion(out, samples, quick)
    judges = filters()
    folds = range(1) if quick else range(content_model.FOLDS)
    items = content_model.english(DATA)
    chance = content_model.out_of_fold(items, "en", folds)
    messages(items, chance, judges["own list"], out)
    for source, step in (("davidson", 10), ("surge", 5)):
        every = step if quick else 1  # multiples of five are fold 0
        pick = [i for i, item in enumerate(items) if item[2] == source and i % every == 0]
        texts, labels = [items[i][0] for i in pick], [items[i][1] for i in pick]
        predicted = accuracy(source, texts, labels, ["all"] * len(pick), chance[pick], "en", judges, rng, out, samples)
        samples[f"{source}, own list by category"] = by_category(texts, labels, judges["own list"])
        if source == "davidson":
            weak_spots(texts, labels, predicted | {"known": ~np.isnan(chance[pick])}, judges["own list"], quick, out)
    items = content_model.chinese(DATA)
    chance = content_model.out_of_fold(items, "zh", folds)
    pick = [i for i in range(len(items)) if not quick or i % 5 == 0]
    texts, labels, topics = zip(*(items[i] for i in pick), strict=True)
    accuracy("cold", texts, labels, topics, chance[pick], "zh", judges, rng, out, samples)
    samples["cold, own list by category"] = by_category(texts, labels, judges["own list"])
    finish("text_content", out, samples, quick=quick)


if __name__ == "__main__":
    main()
