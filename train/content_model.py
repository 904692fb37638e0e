"""Train the content filter's linear models and write their weights and card.

    OMP_NUM_THREADS=1 python train/content_model.py ../shared/data

Logistic regression on hashed character n-grams, classes balanced, full-batch Nesterov steps, no random
numbers: the same data give the same weights. Figures are out of fold (5 folds, row number modulo 5).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import sys
from pathlib import Path

import numpy as np

from trustplane.guard.text.content import model

HERE = Path(model.__file__).parent
FOLDS, STEPS, L2 = 5, 120, 2e-5
PRECISION, NPV = 0.95, 0.90


def rows(path):
    with gzip.open(path) as file:
        return list(csv.DictReader(io.TextIOWrapper(file, "utf-8-sig")))


def english(folder):
    """Return text, label and source of each; ordinary messages (``sms``) are there to be left alone."""
    tweets = rows(folder / "toxicity_davidson/labeled_data.csv.gz")
    comments = rows(folder / "toxicity_surge/toxicity_en.csv.gz")
    with gzip.open(folder / "sms_spam/SMSSpamCollection.tsv.gz") as file:
        lines = io.TextIOWrapper(file, "utf-8").read().splitlines()
    found = [(r["tweet"], r["class"] != "2", "davidson") for r in tweets]
    found += [(r["text"], r["is_toxic"] == "Toxic", "surge") for r in comments]
    return found + [(line[4:], False, "sms") for line in lines if line.startswith("ham\t")]


def chinese(folder):
    return [(r["TEXT"], r["label"] == "1", r["topic"]) for r in rows(folder / "cold_zh_dev/dev.csv.gz")]


def design(items, language):
    index, row, value = [], [], []
    for number, (text, _, _) in enumerate(items):
        buckets = np.concatenate(model.grams(text[: model.WINDOW], language))
        index.append(buckets.astype(np.int32))
        row.append(np.full(buckets.size, number, np.int32))
        value.append(np.full(buckets.size, 1 / np.sqrt(max(1, buckets.size)), np.float32))
    return np.concatenate(index), np.concatenate(row), np.concatenate(value)


def importance(items):
    """Each source's classes weigh the same; surge and the messages weigh half of davidson each."""
    labels = np.array([label for _, label, _ in items])
    sources = np.array([source for _, _, source in items])
    weight = np.zeros(len(items))
    for source in set(sources):
        share = {"surge": 0.5, "sms": 0.5}.get(source, 1.0)
        for label in (False, True):
            here = (sources == source) & (labels == label)
            weight[here] = share * (1 if source in ("surge", "davidson", "sms") else here.sum()) / max(1, here.sum())
    return weight / weight.sum()


def fit(data, labels, weight, keep):
    import scipy.sparse

    index, row, value = data
    matrix = scipy.sparse.csr_matrix((value, (row, index)), shape=(len(labels), 2**model.BITS))[keep]
    transposed = matrix.T.tocsr()
    target, share = labels[keep].astype(np.float64), weight[keep] / weight[keep].sum()
    w, bias, momentum, rate = np.zeros(2**model.BITS), 0.0, np.zeros(2**model.BITS), 30.0
    ahead = w.copy()
    for step in range(STEPS):
        residual = (1 / (1 + np.exp(-(matrix @ ahead + bias))) - target) * share
        gradient = transposed @ residual + L2 * ahead
        new = ahead - rate * gradient
        bias -= 0.5 * residual.sum()
        momentum = new - w
        w, ahead = new, new + momentum * step / (step + 3)
    return w, bias


def figures(chance, labels, weight, high, low):
    hit, clean = chance >= high, chance <= low
    toxic, mass = labels, weight
    precision = mass[hit & toxic].sum() / max(1e-12, mass[hit].sum())
    return {
        "precision of hit": precision,
        "recall of hit": mass[hit & toxic].sum() / max(1e-12, mass[toxic].sum()),
        "false positive rate": mass[hit & ~toxic].sum() / mass[~toxic].sum(),
        "toxic share of clean": mass[clean & toxic].sum() / max(1e-12, mass[clean].sum()),
        "could not judge": mass[~hit & ~clean].sum() / mass.sum(),
        "accuracy at one half": mass[(chance >= 0.5) == toxic].sum() / mass.sum(),
    }


def limits(chance, labels, weight):
    """Return the lowest probability from which hits are right often enough, and the highest up to which clean is."""
    order = np.argsort(-chance, kind="stable")
    mass, toxic = weight[order], labels[order]
    precision = np.cumsum(mass * toxic) / np.cumsum(mass)
    good = np.flatnonzero((precision >= PRECISION) & (np.arange(order.size) > 50))
    high = float(chance[order[good[-1]]]) if good.size else 0.99
    order = order[::-1]
    mass, toxic = weight[order], labels[order]
    npv = np.cumsum(mass * ~toxic) / np.cumsum(mass)
    good = np.flatnonzero((npv >= NPV) & (np.arange(order.size) > 50))
    low = float(chance[order[good[-1]]]) if good.size else 0.01
    return high, min(low, high)


def out_of_fold(items, language, folds=range(FOLDS)):
    """Return the probability of each text by a model that did not see it, NaN outside ``folds``."""
    data = design(items, language)
    labels, weight = np.array([label for _, label, _ in items]), importance(items)
    fold = np.arange(len(items)) % FOLDS
    index, row, value = data
    chance = np.full(len(items), np.nan)
    for number in folds:
        w, bias = fit(data, labels, weight, fold != number)
        raw = np.bincount(row, weights=w[index] * value, minlength=len(items)) + bias
        chance[fold == number] = (1 / (1 + np.exp(-raw)))[fold == number]
        print(language, "fold", number, file=sys.stderr)
    return chance


def train(items, language):
    data = design(items, language)
    labels = np.array([label for _, label, _ in items])
    weight = importance(items)
    chance = out_of_fold(items, language)
    high, low = limits(chance, labels, weight)
    w, bias = fit(data, labels, weight, np.ones(len(items), bool))
    scale = np.abs(w).max() / 127
    np.savez_compressed(
        HERE / f"model_{language}.npz",
        values=np.round(w / scale).astype(np.int8), scale=scale, bias=bias, high=high, low=low,
    )  # fmt: skip
    sources = np.array([source for _, _, source in items])
    table = {"all, classes balanced": figures(chance, labels, weight, high, low)}
    for source in sorted(set(sources)):
        here = sources == source
        own = np.where(labels[here], 0.5 / max(1, labels[here].sum()), 0.5 / (~labels[here]).sum())
        table[f"{source}, classes balanced"] = figures(chance[here], labels[here], own, high, low)
    return table, high, low


def main():
    folder = Path(sys.argv[1])
    parts = []
    for language, items, data in (
        ("en", english(folder), "toxicity_davidson (MIT), toxicity_surge (MIT), ham of sms_spam (CC BY 4.0)"),
        ("zh", chinese(folder), "cold_zh_dev (Apache-2.0)"),
    ):
        table, high, low = train(items, language)
        digest = hashlib.sha256((HERE / f"model_{language}.npz").read_bytes()).hexdigest()
        names = list(next(iter(table.values())))
        lines = [
            f"## model_{language}.npz", "",
            f"Data: {data}, {len(items):,} texts. Digest of the file: sha256:{digest}.",
            f"Hit from {high:.3f}, clean up to {low:.3f}, unknown between.", "",
            "| out of fold | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|",
            *(f"| {source} | " + " | ".join(f"{v:.3f}" for v in row.values()) + " |" for source, row in table.items()),
            "",
        ]  # fmt: skip
        parts += lines
    card = (HERE / "model.md").read_text("utf-8") if (HERE / "model.md").exists() else ""
    tail = card[card.index("## Weak spots") :] if "## Weak spots" in card else "## Weak spots\n"
    head = (
        "# Card: the linear models of the content filter\n\n"
        "Logistic regression on hashed character n-grams, 2^17 int8 weights a language. Rebuild:\n"
        "`train/content_model.py`. Limits are set out of fold: 95 % of hits and 90 % of clean judgements are\n"
        "right when about half of the texts are toxic. Near duplicates across folds were not removed.\n\n"
    )
    (HERE / "model.md").write_text(head + "\n".join(parts) + "\n" + tail, "utf-8")


if __name__ == "__main__":
    main()
