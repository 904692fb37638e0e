"""NameTagger: a small built-in tagger of people, places and organisations in English text."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.names.features import BITS, features, lists, runs, words

__all__ = ["ENTITIES", "TAGS", "NameTagger"]

ENTITIES = ("PERSON", "LOCATION", "ORGANIZATION")
TAGS = ("O", *(f"{part}-{entity}" for entity in ENTITIES for part in "BI"))
"""Rows of the transition table and columns of the weights, in this order."""
_GATE = re.compile(r"[A-Z\u00c0-\u00de\u0100-\u024f\u0370-\u052f]")
_WEIGHTS = Path(__file__).with_name("tagger.npz")
LISTS = ("given_names.txt", "surnames.txt", "places.txt", "words.toml")


class NameTagger:
    """Finds names in runs of capitalised English words by an averaged perceptron over hashed features.

    ``weights``: file that ``train/name_tagger.py`` wrote; None takes the one in the package. A hit's
    score is the precision, measured by cross-validation on the training data, of hits with such a
    margin; hits below ``least`` (0..1) are not given. Figures and weak spots: ``tagger.md`` beside it.
    Safe in many threads; same text, same hits on every machine (integer arithmetic).

    Source: Collins 2002, "Discriminative training methods for hidden Markov models".

    Raises:
        InputError: the file is missing or has other shapes; ``least`` is outside 0..1.
    """

    name = "tagger"
    version = "1"
    entities = ENTITIES
    heavy = False

    def __init__(self, weights: str | Path | None = None, least: float = 0.6) -> None:
        import numpy as np

        if not 0.0 <= least <= 1.0:
            raise InputError("least is outside 0..1")
        path = Path(weights) if weights is not None else _WEIGHTS
        try:
            with np.load(path, allow_pickle=False) as saved:
                self._words, self._moves = saved["words"], saved["moves"].tolist()
                self._common = frozenset(saved["common"].tolist())
                self._margins, self._scores = saved["margins"].tolist(), saved["scores"].tolist()
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(
                "the name tagger's weights cannot be read", hint="train/name_tagger.py writes them"
            ) from error
        shapes = (self._words.shape, len(self._moves), len(self._margins), len(self._scores))
        if shapes != ((1 << BITS, len(TAGS)), len(TAGS), len(ENTITIES), len(ENTITIES)):
            raise InputError("the name tagger's weights have other shapes", hint="train/name_tagger.py writes them")
        self.least = least
        self.digest = "sha256:" + model_digest(path)
        self._lists = lists()

    def __repr__(self) -> str:
        return f"NameTagger(least={self.least}, digest={self.digest!r})"

    def find(self, text: str) -> Iterator[Hit]:
        """Yield the names in folded ``text``: disjoint, in order."""
        if _GATE.search(text) is None:
            return
        found = words(text)
        candidates = runs(found, text)
        if not candidates:
            return
        lowered = {word.text for word in found if word.text.islower()}
        rows: list[list[int]] = []
        for run in candidates:
            rows += features(found, run, self._lists, self._common, lowered)
        scores = self._words[rows].sum(axis=1, dtype="int32").tolist()
        at = 0
        for first, last in candidates:
            size = last - first
            here = scores[at : at + size]
            at += size
            for entity, begin, end in spans(best_path(here, self._moves)):
                score = self._score(entity, margin(here, entity, begin, end))
                if score >= self.least and score > 0:
                    start, stop = found[first + begin].start, found[first + end - 1].end
                    yield Hit(ENTITIES[entity], start, stop, score)

    def _score(self, entity: int, found: int) -> float:
        score = 0.0
        for least, value in zip(self._margins[entity], self._scores[entity], strict=True):
            if found >= least:
                score = float(value)
        return score


def model_digest(path: Path) -> str:
    """Return SHA-256, in hexadecimal digits, over the weights and the lists of names."""
    total = hashlib.sha256(path.read_bytes())
    for name in LISTS:
        total.update(hashlib.sha256(Path(__file__).with_name(name).read_bytes()).digest())
    return total.hexdigest()


def best_path(scores: list[list[int]], moves: list[list[int]]) -> list[int]:
    """Return the tags (indices into ``TAGS``) of the best path; ``I`` follows only its own ``B`` or ``I``."""
    total = list(scores[0])
    for tag in range(2, len(TAGS), 2):
        total[tag] = -(1 << 30)
    back: list[list[int]] = []
    for row in scores[1:]:
        following, came = [], []
        for tag, value in enumerate(row):
            allowed = (tag - 1, tag) if tag and tag % 2 == 0 else range(len(TAGS))
            best = max(allowed, key=lambda p: total[p] + moves[p][tag])
            following.append(total[best] + moves[best][tag] + value)
            came.append(best)
        total = following
        back.append(came)
    tag = max(range(len(TAGS)), key=total.__getitem__)
    path = [tag]
    for came in reversed(back):
        tag = came[tag]
        path.append(tag)
    return path[::-1]


def spans(path: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield ``(entity, first, last)`` for each name of a path, ``last`` exclusive."""
    begin, entity = 0, -1
    for position, tag in enumerate((*path, 0)):
        if entity >= 0 and tag != 2 * entity + 2:
            yield entity, begin, position
            entity = -1
        if tag % 2 == 1:
            entity, begin = (tag - 1) // 2, position


def margin(scores: list[list[int]], entity: int, begin: int, end: int) -> int:
    """Return how much more the words speak for the name than for none, per word."""
    tags = [2 * entity + 1] + [2 * entity + 2] * (end - begin - 1)
    gap = sum(scores[begin + i][tag] - scores[begin + i][0] for i, tag in enumerate(tags))
    return gap // (end - begin)
