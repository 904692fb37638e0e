"""Rebuild the weights of the injection model, or check that they are what this script builds.

    python train/injection_model.py            rewrite weights and the figures' frame of the card
    python train/injection_model.py --check    say whether the committed weights differ; exit 1

Squared hinge loss with L2 by dual coordinate descent (Hsieh et al. 2008, ICML), windows mined in three rounds.
No random state but seeded orders, no BLAS: the same Python, numpy and data give the same bytes.
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import injection_corpus as corpus
from injection_corpus import Text

from trustplane.guard.text.fold import fold
from trustplane.guard.text.injection.features import BITS, Grams, windows
from trustplane.guard.text.injection.model import NAME, pack, row, unpack
from trustplane.guard.text.injection.normalise import normalise
from trustplane.guard.text.injection.rules import lift, search

WEIGHTS = corpus.HERE.parent / "trustplane" / "guard" / "text" / "injection" / NAME
FOLDS = 5
EPOCHS, ROUNDS = 6, 3
COST = (0.3, 1.0)
"""Cost of a harmless and of an attacking window."""
FALSE_POSITIVES = 0.013
"""Share of harmless texts above the cut, in cross-validation over held-out templates; the promise is 0.015."""
WHOLE = 400
_CARRIER = {"en": 40, "zh": 14}
"""Least length in characters of a document that an attack is put into."""


class Sample:
    """A text with its grams and windows, made once and used in every fold and round."""

    def __init__(self, text: Text) -> None:
        self.of = text
        normal = normalise(fold(text.text[:6000]).text)
        self.grams = Grams(normal.text)
        self.starts, self.ends = windows(normal.text)
        offsets = np.arange(len(normal.text)) if normal.offsets is None else np.array(normal.offsets)
        self.start, self.end = np.searchsorted(offsets, (text.start, text.end))
        found = {rule.id: rule.weight for rule, _, _ in search(normal.text, text.source)}
        decided = any(rule.decides for rule, _, _ in search(normal.text, text.source))
        self.lift = 40.0 if decided else lift(found)

    def margin(self, values) -> float:
        """Return what the judge compares with the cut, for texts without encoded parts."""
        return float(self.grams.sums(values, self.starts, self.ends).max()) + self.lift

    def rows(self, values) -> list[tuple[int, int]]:
        """Return the windows to learn from: the attack as a whole, and the worst of what is harmless."""
        if self.of.label:
            first = [(int(self.start), int(min(self.end, self.start + WHOLE)))]
            inside = np.flatnonzero((self.starts >= self.start - 8) & (self.ends <= self.end + 8))
        else:
            first = [(0, min(WHOLE, self.grams.size))] if values is None else []
            inside = np.arange(len(self.starts))
        if len(inside):
            margins = (
                np.arange(len(inside))
                if values is None
                else self.grams.sums(values, self.starts[inside], self.ends[inside])
            )
            best = np.argsort(-margins, kind="stable")[: 1 if self.of.label else 3]
            first += [(int(self.starts[i]), int(self.ends[i])) for i in inside[best]]
        return first


def texts() -> list[Text]:
    """Return every text of the training set except attacks inside documents, which depend on the folds."""
    return [
        *corpus.own("injection_attacks.txt", 6), *corpus.own("injection_benign.txt", 8),
        *corpus.giskard(), *corpus.bipia_attacks(), *corpus.bipia_mails(), *corpus.sms(1600), *corpus.docstrings(),
    ]  # fmt: skip


def digest(found: list[Text]) -> str:
    """Return a digest of the training texts: it differs where another Python brings other docstrings."""
    return hashlib.sha256(repr([tuple(t) for t in found]).encode()).hexdigest()


def folds(found: list[Text], by: str) -> list[int]:
    """Return the fold of each text; ``by``: ``family`` (hardest), ``template`` or ``text`` (copies leak).

    What is not made from templates stays together by source in both: a category of BIPIA, Giskard's jailbreaks.
    """
    names = {
        "family": [_family(t.group) for t in found],
        "template": [t.group for t in found],
        "text": [str(i) for i in range(len(found))],
    }[by]
    sizes: dict[tuple[int, str], int] = {}
    for text, name in zip(found, names, strict=True):
        sizes[text.label, name] = sizes.get((text.label, name), 0) + 1
    place = {}
    for label in (0, 1):
        load = [0] * FOLDS
        mine = sorted(((n, c) for (kind, n), c in sizes.items() if kind == label), key=lambda x: (-x[1], x[0]))
        for name, count in mine:
            place[label, name] = least = load.index(min(load))
            load[least] += count
    return [place[t.label, n] for t, n in zip(found, names, strict=True)]


def _family(group: str) -> str:
    return "/".join(group.split("/")[:2]) if group.startswith(("att/", "ben/")) else group


def documents(found: list[Text], fold_of: list[int]) -> list[tuple[Text, int]]:
    """Return attacks embedded in documents of their own fold, so that no carrier leaks, with that fold."""
    made = []
    for fold_number in range(FOLDS):
        inside = [t for t, f in zip(found, fold_of, strict=True) if f == fold_number]
        carriers = [t for t in inside if not t.label and t.source == "document" and len(t.text) > _CARRIER[t.language]]
        indirect = [t for t in inside if t.label and t.source == "document"]
        direct = [t for t in inside if t.label and t.source == "user" and not t.group.startswith("giskard")]
        made += [(t, fold_number) for t in corpus.embed(indirect, carriers, 3) + corpus.embed(direct, carriers, 1)]
    return made


def fit(samples: list[Sample], number: int, rounds: int = ROUNDS):
    """Return the weights, shape (2**BITS,), of one source; ``number`` 0 for user, 1 for tool and document."""
    chosen = [s for s in samples if row(s.of.source) == number]
    values, rows = None, {}
    for _ in range(rounds):
        for index, sample in enumerate(chosen):
            rows.update(dict.fromkeys((index, *place) for place in sample.rows(values)))
        values = _descend([(chosen[i].of.label, chosen[i].grams.slice(start, end)) for i, start, end in rows])
    return values


def _descend(rows):
    weights = np.zeros(1 << BITS)
    data = []
    for label, index in rows:
        if len(index):
            unique, count = np.unique(index, return_counts=True)
            value = count / np.sqrt(len(index))
            data.append((1.0 if label else -1.0, unique, value, float((value * value).sum()), 0.5 / COST[label]))
    dual = [0.0] * len(data)
    order = list(range(len(data)))
    rng = random.Random(5)
    for _ in range(EPOCHS):
        rng.shuffle(order)
        for i in order:
            sign, unique, value, norm, diagonal = data[i]
            slope = sign * float((weights[unique] * value).sum()) - 1.0 + diagonal * dual[i]
            new = max(0.0, dual[i] - slope / (norm + diagonal))
            if new != dual[i]:
                weights[unique] += (new - dual[i]) * sign * value
                dual[i] = new
    return weights.astype(np.float32)


def cross_validate(found: list[Text], by: str, chosen=range(FOLDS)):
    """Return ``(text, margin)`` of every text of the chosen folds, judged by a model that saw no text of its fold."""
    fold_of = folds(found, by)
    made = documents(found, fold_of)
    samples = [Sample(t) for t in found] + [Sample(t) for t, _ in made]
    places = fold_of + [f for _, f in made]
    judged = []
    for fold_number in chosen:
        seen = [s for s, f in zip(samples, places, strict=True) if f != fold_number]
        for number in (0, 1):
            values = fit(seen, number)
            for sample, place in zip(samples, places, strict=True):
                if place == fold_number and row(sample.of.source) == number and measured(sample.of):
                    judged.append((sample.of, sample.margin(values)))
    return judged


def measured(text: Text) -> bool:
    """Indirect attacks count where they stand in a document, not alone."""
    return not (text.label and text.source == "document" and text.start == 0 and text.end == len(text.text))


def cut(judged, number: int, rate: float = FALSE_POSITIVES) -> float:
    """Return the margin above which at most ``rate`` of the harmless texts of one source lie."""
    margins = sorted((m for t, m in judged if not t.label and row(t.source) == number), reverse=True)
    allowed = int(rate * len(margins))
    return (margins[allowed] + margins[max(0, allowed - 1)]) / 2 if allowed else margins[0] + 1e-6


def build() -> tuple[bytes, list]:
    """Return the packed weights and the judgements of the grouped cross-validation that set the cuts."""
    found = texts()
    judged = cross_validate(found, "template")
    cuts = np.array([cut(judged, 0), cut(judged, 1)])
    return pack(np.stack(final(found)), cuts), judged


def final(found: list[Text]):
    """Return the weights of both sources, trained on all folds."""
    samples = [Sample(t) for t in found] + [Sample(t) for t, _ in documents(found, folds(found, "template"))]
    return [fit(samples, number) for number in (0, 1)]


def check(numbers=(0, 1)) -> bool:
    """Return whether training again gives the committed weights; the cuts, which take minutes, are taken over."""
    packed = WEIGHTS.read_bytes()
    found = texts()
    samples = [Sample(t) for t in found] + [Sample(t) for t, _ in documents(found, folds(found, "template"))]
    for number in numbers:
        twice = pack(np.stack([fit(samples, number)] * 2), unpack(packed).cuts)
        place = slice(32 + (number << BITS), 32 + (number + 1 << BITS))
        scale = slice(8 * number, 8 * number + 8)
        if twice[place] != packed[place] or twice[scale] != packed[scale]:
            return False
    return True


def main() -> int:
    """Build or check."""
    if "--check" in sys.argv:
        print("texts", digest(texts()))
        same = check()
        print("the committed weights are", "what this script builds" if same else "different")
        return 0 if same else 1
    packed, judged = build()
    WEIGHTS.write_bytes(packed)
    print("texts", digest(texts()))
    print("weights sha256:" + hashlib.sha256(packed).hexdigest(), len(packed), "bytes")
    for number, name in enumerate(("user", "tool and document")):
        bound = float(unpack(packed).cuts[number])
        attacks = [m for t, m in judged if t.label and row(t.source) == number]
        harmless = [m for t, m in judged if not t.label and row(t.source) == number]
        print(f"{name}: cut {bound:.3f}, recall {np.mean(np.array(attacks) > bound):.3f} of {len(attacks)}, "
              f"false positives {np.mean(np.array(harmless) > bound):.4f} of {len(harmless)}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
