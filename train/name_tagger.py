"""Train the name tagger's weights, bit for bit, and write them with their card beside the package module.

    python train/name_tagger.py            train on all of the training data, write tagger.npz and tagger.md
    python train/name_tagger.py --check    train and compare with the files in the package; exit 1 if they differ

Integers only: an averaged perceptron, so that every machine gets the same weights. Data: the WNUT 2017 training
file (CC BY 4.0) and sentences of our own (name_templates.txt) filled from the package's lists of names.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import random
import re
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from trustplane.guard.text.names import features as f  # noqa: E402
from trustplane.guard.text.names import tagger as t  # noqa: E402

DATA = ROOT / ".." / "shared" / "data"
TRAIN = DATA / "wnut17" / "wnut17train.conll.gz"
TWEETS = DATA / "toxicity_davidson" / "labeled_data.csv.gz"
DEV = DATA / "wnut17" / "emerging.dev.conll.gz"
HERE = Path(__file__).parent
NAMES = ROOT / "trustplane" / "guard" / "text" / "names"
KIND = {
    "person": "PERSON", "location": "LOCATION", "corporation": "ORGANIZATION", "group": "ORGANIZATION",
}  # fmt: skip
EPOCHS, COPIES, FOLDS, CLIP = 6, 12, 5, 127
HIDE = 0.5
"""Share of generated sentences in which the lists are hidden, so that the tagger does not rely on them."""


class Example(NamedTuple):
    """Hashed features of the words of one run, their tags, and how many gold names the whole text has."""

    rows: np.ndarray
    tags: list[int]


class Sentence(NamedTuple):
    text: str
    gold: set[tuple[str, int, int]]


def joined(words, tags):
    """Return words of a CoNLL sentence as people write them, with the names' offsets in characters."""
    text, gold, begin, kind = "", set(), 0, None
    for word, tag in [*zip(words, tags, strict=True), ("", "O")]:
        if kind and not tag.startswith("I-"):
            gold.add((kind, begin, len(text)))
            kind = None
        tight = not text or re.fullmatch(r"[.,!?:;%)\]}]+|'\w{1,2}|n't|’\w{1,2}", word) or text[-1] in "([{$"
        text += word if tight else " " + word
        if tag.startswith("B-"):
            kind, begin = KIND.get(tag[2:]), len(text) - len(word)
    return Sentence(text, gold)


def unzipped(path):
    return gzip.decompress(path.read_bytes()).decode("utf-8")


def conll(path):
    """Return the sentences of a two-column BIO file."""
    sentences, words, tags = [], [], []
    for line in [*unzipped(path).splitlines(), ""]:
        word, _, tag = line.partition("\t")
        if tag:
            words.append(word)
            tags.append(tag)
        elif words:
            sentences.append(joined(words, tags))
            words, tags = [], []
    return sentences


def lines(path):
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


class Dice:
    """Choices from a seed by random() alone, whose sequence no version of Python changes."""

    def __init__(self, seed):
        self._random = random.Random(seed).random

    def chance(self, share):
        return self._random() < share

    def pick(self, options):
        return options[int(self._random() * len(options))]


def capitalised(word):
    return "-".join(part[:1].upper() + part[1:] for part in word.split("-"))


def invented(dice):
    """Return a made-up name, so that names outside the lists are learned from their place in a sentence."""
    parts = ["an", "bel", "cor", "da", "el", "fi", "gor", "hal", "is", "ja", "kel", "lor", "mi", "nor", "ol", "pra",
             "rin", "sa", "tov", "ul", "ve", "wen", "ya", "zor", "sti", "bra", "chu", "dre"]  # fmt: skip
    ends = ["ska", "son", "ov", "ini", "ez", "man", "ko", "er", "ia", "a", "o", "en", "ic", "ard", "lyn", "eth", "wala"]
    return capitalised(dice.pick(parts) + (dice.pick(parts) if dice.chance(0.4) else "") + dice.pick(ends))


def organisation(dice, surname):
    shape = dice.pick(["i x", "s x", "s & s", "s, s and s", "i", "x of p", "i i", "XX"])
    ends = ["Inc", "Ltd", "LLC", "Corp", "Group", "Bank", "University", "Hospital", "Systems", "Technologies",
            "Partners", "Consulting", "Foundation", "Holdings", "Airlines", "Media", "Club", "Institute", "Labs",
            "GmbH"]  # fmt: skip
    if shape == "XX":
        return invented(dice)[:4].upper()
    out = []
    for part in shape.split():
        mark = part[-1] if part[-1] == "," else ""
        if part.startswith("s"):
            out.append(capitalised(dice.pick(surname)) + mark)
        elif part == "x":
            out.append(dice.pick(ends))
        elif part in ("i", "p"):
            out.append(invented(dice))
        else:
            out.append(part)
    return " ".join(out)


def generated(seed, copies):
    """Return sentences made from the templates, each with whether the lists are to be hidden from it."""
    dice = Dice(seed)
    given, surnames = f.read("given_names.txt").split(), f.read("surnames.txt").split()
    places = [place.strip() for line in f.read("places.txt").splitlines() for place in line.split(";")]
    others = " ".join(lines(HERE / "name_capitals.txt")).split()
    made = []
    for template in lines(HERE / "name_templates.txt") * copies:
        words, tags = [], []
        loud = dice.chance(0.03)
        for part in template.split():
            if part not in ("{g}", "{s}", "{p}", "{o}", "{c}"):
                words.append(part)
                tags.append("O")
                continue
            if part == "{g}":
                name = invented(dice) if dice.chance(0.35) else capitalised(dice.pick(given))
            elif part == "{s}":
                name = invented(dice) if dice.chance(0.4) else capitalised(dice.pick(surnames))
                if dice.chance(0.04):
                    name += "-" + capitalised(dice.pick(surnames))
                elif dice.chance(0.03):
                    name = dice.pick(["de", "van", "von", "da", "al", "El", "Van", "De"]) + " " + name
            elif part == "{p}":
                name = (
                    invented(dice) if dice.chance(0.3) else " ".join(capitalised(w) for w in dice.pick(places).split())
                )
            elif part == "{o}":
                name = organisation(dice, surnames)
            else:
                name = dice.pick(others)
            kind = {"{g}": "person", "{s}": "person", "{p}": "location", "{o}": "corporation", "{c}": ""}[part]
            follows = kind == "person" and tags and tags[-1][2:] == "person"
            for number, word in enumerate(name.split()):
                words.append(word.upper() if loud else word)
                tags.append(("I-" if number or follows else "B-") + kind if kind else "O")
        made.append((joined(words, tags), dice.chance(HIDE)))
    return made


def common_words(sentences):
    """Return CRC-32 of the words that stand mostly in lower case in the training texts and in 24,783 tweets."""
    low, high = Counter(), Counter()
    tweets = [row["tweet"] for row in csv.DictReader(io.StringIO(unzipped(TWEETS), newline=""))]
    for text in [sentence.text for sentence in sentences] + tweets:
        for word in f.words(text):
            (low if word.text.islower() else high)[word.text.lower()] += 1
    return sorted(zlib.crc32(w.encode()) for w, n in low.items() if n >= 3 and n >= 2 * high[w] and w.isalpha())


HIDDEN = f.Lists(frozenset(), frozenset(), frozenset(), frozenset())


def examples(sentence, common, hide=False):
    """Return the runs of a sentence as examples; a gold name that no run holds cannot be learned."""
    found = f.words(sentence.text)
    lowered = {w.text for w in found if w.text.islower()}
    known = HIDDEN if hide else f.lists()
    begins = {begin: (kind, end) for kind, begin, end in sentence.gold}
    out = []
    for run in f.runs(found, sentence.text):
        tags, kind, end = [], None, 0
        for word in found[run.first : run.last]:
            if word.start in begins:
                kind, end = begins[word.start]
                tags.append(2 * t.ENTITIES.index(kind) + 1)
            elif kind and word.end <= end and tags:
                tags.append(2 * t.ENTITIES.index(kind) + 2)
            else:
                kind = None
                tags.append(0)
        out.append(Example(np.array(f.features(found, run, known, common, lowered)), tags))
    return out


def train(data, seed, epochs=EPOCHS):
    """Return averaged weights and transitions as small integers."""
    dice = Dice(seed)
    words = np.zeros((1 << f.BITS, len(t.TAGS)), np.int64)
    moves = np.zeros((len(t.TAGS), len(t.TAGS)), np.int64)
    words_late, moves_late = np.zeros_like(words), np.zeros_like(moves)
    step = 0
    order = list(range(len(data)))
    for _ in range(epochs):
        for i in range(len(order) - 1, 0, -1):
            j = int(dice._random() * (i + 1))
            order[i], order[j] = order[j], order[i]
        for number in order:
            step += 1
            rows, gold = data[number]
            path = t.best_path(words[rows].sum(axis=1).tolist(), moves.tolist())
            if path == gold:
                continue
            for position, (right, wrong) in enumerate(zip(gold, path, strict=True)):
                if right != wrong:
                    np.add.at(words, (rows[position], right), 1)
                    np.add.at(words, (rows[position], wrong), -1)
                    np.add.at(words_late, (rows[position], right), step)
                    np.add.at(words_late, (rows[position], wrong), -step)
                if position:
                    before, missed = gold[position - 1], path[position - 1]
                    if (before, right) != (missed, wrong):
                        moves[before, right] += 1
                        moves[missed, wrong] -= 1
                        moves_late[before, right] += step
                        moves_late[missed, wrong] -= step
    scale = 16
    average = scale * ((step + 1) * words - words_late) // (step + 1)
    average_moves = scale * ((step + 1) * moves - moves_late) // (step + 1)
    return np.clip(average, -CLIP, CLIP).astype(np.int8), average_moves.astype(np.int32)


def found_in(sentence, words, moves, common):
    """Yield ``(entity, start, end, margin)`` of the names that the weights find in a sentence."""
    tokens = f.words(sentence.text)
    lowered = {w.text for w in tokens if w.text.islower()}
    for run in f.runs(tokens, sentence.text):
        rows = f.features(tokens, run, f.lists(), common, lowered)
        scores = words[rows].sum(axis=1, dtype="int32").tolist()
        for entity, begin, end in t.spans(t.best_path(scores, moves)):
            yield (t.ENTITIES[entity], tokens[run.first + begin].start, tokens[run.first + end - 1].end,
                   t.margin(scores, entity, begin, end))  # fmt: skip


def calibrate(hits):
    """Return margins and the precision from each on (rising, by pooling neighbours that fall), at most 12 steps."""
    hits = sorted(hits)
    size = max(20, len(hits) // 12)
    pools = [[hits[i][0], sum(ok for _, ok in part), len(part)]
             for i in range(0, len(hits), size) for part in [hits[i : i + size]]]  # fmt: skip
    i = 1
    while i < len(pools):
        if pools[i][1] * pools[i - 1][2] < pools[i - 1][1] * pools[i][2]:
            pools[i - 1][1] += pools[i][1]
            pools[i - 1][2] += pools[i][2]
            del pools[i]
            i = max(1, i - 1)
        else:
            i += 1
    steps, best = [], 0
    for margin, right, total in pools:
        best = max(best, (100 * right + 50) // (total + 1))
        steps.append((margin, best))
    steps += [steps[-1]] * (12 - len(steps))
    return [m for m, _ in steps], [s for _, s in steps]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    tweets = conll(TRAIN)
    made = generated(17, COPIES)
    common = frozenset(common_words(tweets))
    base = [e for sentence, hide in made for e in examples(sentence, common, hide)]
    by_fold = [[e for s in tweets[k::FOLDS] for e in examples(s, common)] for k in range(FOLDS)]
    hits = {entity: [] for entity in t.ENTITIES}
    for k in range(FOLDS):
        words, moves = train(base + [e for j in range(FOLDS) if j != k for e in by_fold[j]], 100 + k)
        for sentence in tweets[k::FOLDS]:
            for entity, start, end, margin in found_in(sentence, words, moves.tolist(), common):
                hits[entity].append((margin, (entity, start, end) in sentence.gold))
        sys.stderr.write(f"fold {k + 1} of {FOLDS}\n")
    steps = [calibrate(hits[entity]) for entity in t.ENTITIES]
    words, moves = train(base + [e for fold in by_fold for e in fold], 7)
    weights = io.BytesIO()
    np.savez(weights, words=words, moves=moves, common=np.array(sorted(common), np.uint32),
             margins=np.array([m for m, _ in steps], np.int32),
             scores=np.array([s for _, s in steps]) / 100)  # fmt: skip
    from name_tagger_card import card

    path = NAMES / "tagger.npz"
    if check:
        same = path.read_bytes() == weights.getvalue()
        print("same" if same else "differs")
        sys.exit(0 if same else 1)
    path.write_bytes(weights.getvalue())
    (NAMES / "tagger.md").write_text(card(len(tweets), len(made)), encoding="utf-8")


if __name__ == "__main__":
    main()
