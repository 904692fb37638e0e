"""The card of the name tagger: measures the weights in the package and writes what they are good for."""

from __future__ import annotations

import hashlib
import json

import name_tagger as training

from trustplane.guard.text.names import features as f
from trustplane.guard.text.names import tagger as t
from trustplane.guard.text.views import fold

LEVELS = (0.0, 0.4, 0.5, 0.6, 0.7)


def presidio():
    """Return the sentences of presidio_small with their names; LOCATION inside an ADDRESS is not marked there."""
    path = training.DATA / "presidio_small" / "generated_small.json.gz"
    for item in json.loads(training.unzipped(path)):
        spans = {(s["entity_type"], s["start_position"], s["end_position"]) for s in item["spans"]}
        yield training.Sentence(item["full_text"], {s for s in spans if s[0] in t.ENTITIES})


def counts(found, sentences, entity, least):
    right = wrong = missed = 0
    for hits, sentence in zip(found, sentences, strict=True):
        got = {(h.entity, h.start, h.end) for h in hits if h.entity == entity and h.score >= least}
        gold = {g for g in sentence.gold if g[0] == entity}
        right += len(got & gold)
        wrong += len(got - gold)
        missed += len(gold - got)
    return right, wrong, missed


def lines(tagger, sentences):
    found = []
    for sentence in sentences:
        folded = fold(sentence.text)
        found.append([h._replace(start=a, end=b) for h in tagger.find(folded.text)
                      for a, b in (folded.span(h.start, h.end),)])  # fmt: skip
    for entity in t.ENTITIES:
        for least in LEVELS:
            right, wrong, missed = counts(found, sentences, entity, least)
            p, r = right / max(1, right + wrong), right / max(1, right + missed)
            yield (f"| {entity} | {least} | {p:.3f} | {r:.3f} | {2 * p * r / max(1e-9, p + r):.3f} "
                   f"| {right} / {wrong} / {missed} |")  # fmt: skip


HEAD = "| type | least score | precision | recall | F1 | right / wrong / missed |\n|---|---|---|---|---|---|"


def card(tweets: int, made: int) -> str:
    """Return the card as Markdown; the figures are measured here, on the weights in the package."""
    tagger = t.NameTagger(least=0.0)
    names = {name: len(f.read(name).split()) for name in t.LISTS if name.endswith(".txt")}
    weights = (training.NAMES / "tagger.npz").read_bytes()
    return "\n".join(
        [
            "# Name tagger: what it is and how good it is",
            "",
            "Averaged perceptron with Viterbi over hashed features of capitalised words; English; people, places,",
            f"organisations. {len(weights):,} bytes of weights. Rebuilt bit for bit by `python train/name_tagger.py`.",
            "",
            f"- digest of weights and lists: `{tagger.digest}`",
            f"- SHA-256 of `tagger.npz`: `{hashlib.sha256(weights).hexdigest()}`",
            "- licence of the weights: that of this package; data below, with thanks to its authors",
            "",
            "## Data",
            "",
            f"- WNUT 2017 training file, {tweets:,} texts of social media, CC BY 4.0 (Derczynski, Nichols, van Erp,",
            "  Limsopatham: Results of the WNUT2017 Shared Task on Novel and Emerging Entity Recognition).",
            "  `person` is PERSON, `location` LOCATION, `corporation` and `group` ORGANIZATION, the rest nothing",
            f"- {made:,} sentences made from templates of our own and the lists beside this card",
            "- which words stand in lower case in ordinary English: the same file and 24,783 tweets",
            "  (Davidson et al. 2017, MIT), kept as hashes only",
            "- lists of given names, surnames and places typed from public knowledge of censuses and geography:",
            "  " + ", ".join(f"{name} {count:,} words" for name, count in names.items()),
            "",
            "## Figures",
            "",
            "Strict: type, start and end must be right. A score is the precision that hits with such a margin had in",
            "five-fold cross-validation on the WNUT training texts. **Operating point: `least=0.6`**,",
            "the default: the guard is to leave ordinary words alone, and misses more names for it.",
            "",
            "WNUT 2017 development file (social media; names made up to be new; 111 of its 470 people are in lower",
            "case, which this tagger cannot see). Looked at while features were chosen, so slightly flattering:",
            "",
            HEAD,
            *lines(tagger, training.conll(training.DEV)),
            "",
            "presidio_small (100 made-up sentences; titles such as MD belong to the name there, and places inside an",
            "address are not marked, so that finding Canada in an address counts as wrong). Not trained on, but its",
            "sentences were read before the templates were written: a development set, not a sealed one:",
            "",
            HEAD,
            *lines(tagger, list(presidio())),
            "",
            "## Weak spots",
            "",
            "- names in lower case; languages other than English; scripts other than Latin, Greek and Cyrillic",
            "- organisations: too few examples; at the default threshold of the guard hardly any pass",
            "- a single capitalised word with no name's company (a nickname, a band, a character) is a coin toss",
            "- headings in Title Case and shouted text cost precision; all-capital names are often missed",
            "- the lists hold names that are common in Europe, the Americas, South and East Asia; others need context",
            "- generated sentences share their lists with the tagger; no figure above is measured on them",
            "",
        ]
    )


if __name__ == "__main__":
    print(card(len(training.conll(training.TRAIN)), len(training.generated(17, training.COPIES))))
