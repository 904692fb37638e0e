"""SpacyFinder: names by any spaCy pipeline that the user has, in memory that does not grow."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit

__all__ = ["LABELS", "SpacyFinder"]

LABELS = {
    "PERSON": "PERSON", "PER": "PERSON", "GPE": "LOCATION", "LOC": "LOCATION", "FAC": "LOCATION",
    "LOCATION": "LOCATION", "ORG": "ORGANIZATION", "ORGANIZATION": "ORGANIZATION", "NORP": "",
}  # fmt: skip
"""Labels of spaCy's published pipelines (OntoNotes, WikiNER) and the entities that they are here."""


class SpacyFinder:
    """Runs a spaCy pipeline inside memory zones, so that its vocabulary does not grow with the texts.

    ``pipeline``: name or path of an installed pipeline, or an ``nlp`` object, which the user must not run
    elsewhere at the same time. ``score``: 0..1, given to each hit, since spaCy gives none. ``labels``:
    the pipeline's labels to entities; labels that it lacks are left out. One text at a time: a lock keeps
    threads apart. Nothing is downloaded.

    Source: spaCy 3.8, "Memory management", Language.memory_zone.

    Raises:
        InputError: spaCy is missing or older than 3.8, the pipeline is not installed, ``score`` is
            outside 0..1, or a label maps to an unknown entity.
    """

    name = "spacy"
    heavy = True

    def __init__(self, pipeline: str | Any, *, score: float = 0.85, labels: Mapping[str, str] | None = None) -> None:
        try:
            import spacy
        except ImportError as error:
            raise InputError("spaCy is not installed", hint="install spacy>=3.8") from error
        if not 0.0 <= score <= 1.0:
            raise InputError("the score is outside 0..1")
        self._labels = {label: entity for label, entity in (LABELS if labels is None else labels).items() if entity}
        if not set(self._labels.values()) <= {"PERSON", "LOCATION", "ORGANIZATION"}:
            raise InputError("a label maps to an unknown entity", hint="PERSON, LOCATION or ORGANIZATION")
        if isinstance(pipeline, str):
            try:
                self._nlp: Any = spacy.load(pipeline)
            except OSError as error:
                raise InputError(
                    "the spaCy pipeline is not installed", hint="python -m spacy download en_core_web_sm, for example"
                ) from error
        else:
            self._nlp = pipeline
        if not hasattr(self._nlp, "memory_zone"):
            raise InputError("the spaCy pipeline has no memory zones", hint="spacy>=3.8, and an nlp object")
        self._score = score
        self._lock = threading.Lock()
        self.version = f"{spacy.__version__}/{self._nlp.meta.get('version', '0')}"
        self.entities = tuple(sorted(set(self._labels.values())))
        self.digest = "sha256:" + self._digest()

    def __repr__(self) -> str:
        return f"SpacyFinder(version={self.version!r}, digest={self.digest!r})"

    def find(self, text: str) -> list[Hit]:
        """Return the names in ``text``.

        Raises:
            InputError: the text is longer than the pipeline takes (``nlp.max_length``).
        """
        if len(text) > self._nlp.max_length:
            raise InputError(
                "the text is longer than the spaCy pipeline takes", hint="split it, or raise nlp.max_length"
            )
        with self._lock, self._nlp.memory_zone():
            document = self._nlp(text)
            return [
                Hit(self._labels[entity.label_], entity.start_char, entity.end_char, self._score)
                for entity in document.ents
                if entity.label_ in self._labels
            ]

    def _digest(self) -> str:
        """Return SHA-256 over the components, the configuration, the vectors and the mapping of labels."""
        total = hashlib.sha256(repr((sorted(self._labels.items()), self._score)).encode())
        total.update(self._nlp.config.to_str().encode())
        total.update(self._nlp.tokenizer.to_bytes(exclude=["vocab"]))
        for name, component in self._nlp.pipeline:
            total.update(name.encode())
            if hasattr(component, "to_bytes"):
                total.update(component.to_bytes(exclude=["vocab"]))
        total.update(self._nlp.vocab.vectors.to_bytes(exclude=["strings"]))
        return total.hexdigest()
