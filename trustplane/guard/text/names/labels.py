"""How a token classifier's labels (BIO, BILOU, IOBES or plain) become spans of entities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

__all__ = ["ENTITY_OF", "Piece", "aggregate"]

ENTITY_OF = {
    "PER": "PERSON", "PERSON": "PERSON", "NAME": "PERSON", "GIVENNAME": "PERSON", "SURNAME": "PERSON",
    "FIRSTNAME": "PERSON", "LASTNAME": "PERSON", "LOC": "LOCATION", "LOCATION": "LOCATION", "GPE": "LOCATION",
    "CITY": "LOCATION", "COUNTRY": "LOCATION", "ORG": "ORGANIZATION", "ORGANIZATION": "ORGANIZATION",
    "ORGANISATION": "ORGANIZATION", "CORPORATION": "ORGANIZATION", "COMPANY": "ORGANIZATION",
}  # fmt: skip
"""Types of common models, upper case without underscores, and the entities that they are here."""
_OPENS, _GOES_ON = frozenset("BSU"), frozenset("ILEM")


class Piece(NamedTuple):
    """A token with its place (offsets in characters), its label and the label's probability, 0..1."""

    start: int
    end: int
    label: str
    score: float


def split_label(label: str) -> tuple[str, str]:
    """Return prefix (``""`` for a plain label) and type; ``B-PER``, ``B_PER``, ``PER`` and ``O`` are known."""
    if len(label) > 2 and label[0].upper() in "BILOUSEM" and label[1] in "-_":
        return label[0].upper(), label[2:]
    return "", label


def entity_of(label: str, mapping: Mapping[str, str]) -> str:
    """Return the entity of a label, ``""`` if it is none of the three."""
    kind = split_label(label)[1]
    return mapping.get(kind) or mapping.get(kind.upper().replace("_", "").replace("-", "")) or ""


def aggregate(pieces: Iterable[Piece], mapping: Mapping[str, str], text: str) -> Iterator[tuple[str, int, int, float]]:
    """Yield ``(entity, start, end, score)``; the score is the mean over the span's tokens.

    Tokens of one entity join unless the later one opens a new span (B, S, U) after a gap or says so
    itself; between plain labels only spaces may stand. A subword that touches the token before always
    belongs to it, whatever its prefix, so that no part of a word stays behind.
    """
    entity, start, end, closed, scores = "", 0, 0, False, [0.0]
    for piece in pieces:
        prefix, _ = split_label(piece.label)
        here = entity_of(piece.label, mapping)
        touches = piece.start == end and text[piece.start : piece.start + 1].isalnum() and text[end - 1 : end].isalnum()
        new = prefix in _OPENS or (closed and prefix not in _GOES_ON)
        gap = text[end : piece.start]
        if entity and here == entity and (touches or (not new and not gap.strip())):
            end, closed = piece.end, prefix in ("L", "E", "S", "U")
            scores.append(piece.score)
            continue
        if entity and touches and not here:  # a word cut in two by the model stays whole
            end = piece.end
            continue
        if entity:
            yield entity, start, end, sum(scores) / len(scores)
        entity, start, end, closed, scores = here, piece.start, piece.end, prefix in ("L", "E", "S", "U"), [piece.score]
    if entity:
        yield entity, start, end, sum(scores) / len(scores)
