"""What the tagger sees: words with offsets, runs of capitalised words, hashed features of each word in a run."""

from __future__ import annotations

import re
import tomllib
import zlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

__all__ = ["BITS", "Lists", "Run", "Word", "closed_classes", "features", "lists", "read", "runs", "words"]

BITS = 17
"""Features are hashed into 2 ** BITS rows."""
_MASK = (1 << BITS) - 1
_SALTS = tuple(zlib.crc32(bytes([kind])) for kind in range(18))
_LETTER = r"[A-Za-zªº\u00c0-\u024f\u0370-\u052f\u0300-\u036f]"


def _pattern(letter: str) -> re.Pattern[str]:
    return re.compile(
        rf"{letter}++(?!['’:.-])"  # a plain word, as most are; the other kinds go on with one of these signs
        rf"|[@#][\w-]+|https?://\S+|www\.\S+"  # one word each, never a name
        r"|(?:[A-Z]\.){1,6}(?![A-Za-z])"  # J. or U.S.
        rf"|{letter}+(?:['’-](?!(?:s|t|m|d|ll|re|ve)(?![A-Za-z])){letter}+)*+"
        rf"|\d[\d.,:/-]*|[^\w\s]|[^\W\d_]|_+"
    )


_WORD, _ASCII_WORD = _pattern(_LETTER), _pattern("[A-Za-z]")


def read(name: str) -> str:
    """Return a list that is kept beside this module, without its comment lines."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


@lru_cache(maxsize=1)
def closed_classes() -> dict[str, frozenset[str]]:
    """Return the closed classes of English words that are kept beside this module."""
    return {key: frozenset(words.split()) for key, words in tomllib.loads(read("words.toml")).items()}


class Word(NamedTuple):
    """A word of a text and where it stands (offsets in characters)."""

    text: str
    start: int
    end: int


_word: Callable[[tuple[str, int, int]], Word] = partial(tuple.__new__, Word)
"""Makes a word from its three parts, quicker than ``Word`` itself: there is one for each word of a text."""
_CLOSED = closed_classes()
_INSIDE, _NEVER = _CLOSED["inside"], _CLOSED["never"]
_TITLES, _COMPANY, _PLACE_WORDS = _CLOSED["titles"], _CLOSED["company"], _CLOSED["place_words"]


class Run(NamedTuple):
    """Words ``first`` to ``last`` (exclusive) of a text that may hold names."""

    first: int
    last: int


class Lists(NamedTuple):
    """Given names, surnames, whole one-word places and the words of longer places; lower case."""

    given: frozenset[str]
    surnames: frozenset[str]
    places: frozenset[str]
    place_parts: frozenset[str]


@lru_cache(maxsize=1)
def lists() -> Lists:
    """Return the lists of names that are kept beside this module."""
    places = [place.split() for line in read("places.txt").splitlines() for place in line.split(";")]
    return Lists(
        given=frozenset(read("given_names.txt").split()),
        surnames=frozenset(read("surnames.txt").split()),
        places=frozenset(place[0] for place in places if len(place) == 1),
        place_parts=frozenset(word for place in places if len(place) > 1 for word in place if len(word) > 2),
    )


def words(text: str) -> list[Word]:
    """Return the words, numbers and marks of ``text``, in order; linear time."""
    return [_word((m[0], *m.span())) for m in (_ASCII_WORD if text.isascii() else _WORD).finditer(text)]


def runs(found: list[Word], text: str) -> list[Run]:
    """Return the runs of capitalised words, joined over spaces and over words like *of* and *van*.

    A run of one function word (*The*, *Please*) is left out; a line break or a mark ends a run.
    """
    result: list[Run] = []
    index, total = 0, len(found)
    while index < total:
        if not _capital(found[index].text):
            index += 1
            continue
        last = index + 1
        ahead = last
        while ahead < total and ahead - last < 3 and text[found[ahead - 1].end : found[ahead].start] in ("", " ", "  "):
            word = found[ahead].text
            if _capital(word):
                last = ahead + 1
            elif word not in _INSIDE:
                break
            ahead += 1
        if last - index > 1 or found[index].text.lower() not in _NEVER:
            result.append(Run(index, last))
        index = last
    return result


def _capital(word: str) -> bool:
    return word[0].isupper() and not (len(word) == 1 and word == "I")


def _number(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _shape(word: str) -> int:
    if word.isupper():
        return 1 if word[-1] == "." else 2 if len(word) == 1 else 3 if len(word) < 5 else 4
    if word[0].isupper():
        return 5 if word[1:].islower() else 6 if "-" in word else 7
    return 8 if word.islower() else 9 if word[0].isdigit() else 10


def kinds(word: str, number: int, known: Lists, common: frozenset[int]) -> int:
    """Return one bit for each list that holds ``word`` (lower case, its CRC-32 is ``number``)."""
    bare = word.rstrip(".")
    return (
        (word in known.given)
        + 2 * (word in known.surnames)
        + 4 * (word in known.places)
        + 8 * (word in known.place_parts)
        + 16 * (bare in _TITLES)
        + 32 * (bare in _COMPANY)
        + 64 * (bare in _PLACE_WORDS)
        + 128 * (number in common)
    )


_OPENING = frozenset(["<>", ".", "!", "?", ":", '"', "“", "-", "•"])


def features(found: list[Word], run: Run, known: Lists, common: frozenset[int], lowered: set[str]) -> list[list[int]]:
    """Return the hashed features of each word of ``run``: rows of the weights, equally many for each word.

    ``common``: CRC-32 of words that stand in lower case in ordinary English. ``lowered``: words that
    stand in lower case somewhere in the same text.
    """
    total = len(found)
    low = [found[i].text.lower() if 0 <= i < total else "<>" for i in range(run.first - 2, run.last + 2)]
    numbers = [_number(word) for word in low]
    marks = [kinds(word, number, known, common) for word, number in zip(low, numbers, strict=True)]
    size = run.last - run.first
    before = found[run.first - 1].text if run.first else "<>"
    opens = 1 if before in _OPENING or before[0] in "@#" else 0
    loud = 4 if all(found[i].text.isupper() for i in range(run.first, run.last)) else 0
    edges = marks[2] << 8 | marks[size + 1]
    rows: list[list[int]] = []
    for position in range(size):
        at = position + 2
        word, mark, number = low[at], marks[at], numbers[at]
        shape = _shape(found[run.first + position].text)
        place = 0 if size == 1 else 1 if position == 0 else 2 if position == size - 1 else 3
        start = opens if position == 0 else 2
        previous, following = numbers[at - 1], numbers[at + 1]
        pairs = (  # two numbers that together are a feature, one pair for each kind of feature
            (number, 0),
            (shape, place + loud),
            (mark, shape),
            (mark, place + 4 * start + (16 if word in lowered else 0)),
            (_number(word[-3:]), 0),
            (_number(word[-2:]), shape),
            (_number(word[:3]), 0),
            (previous, 0),
            (following, 0),
            (numbers[at - 2], previous),
            (following, numbers[at + 2]),
            (marks[at - 1], mark),
            (marks[at + 1], mark),
            (previous, mark),
            (following, mark),
            (min(size, 5), place + 4 * start + 4 * loud),
            (numbers[1], place),
            (edges, place),
        )
        rows.append([((a ^ salt) * 0x9E3779B1 + b * 0x85EBCA6B >> 15) & _MASK for salt, (a, b) in zip(_SALTS, pairs)])  # noqa: B905
    return rows
