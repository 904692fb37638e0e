"""Patterns: the skeletons under which a listed word is searched, plain and disguised."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from trustplane.guard.text.content.characters import (
    LEET,
    canonical,
    codes,
    is_han,
    is_joined,
    pinyin_table,
    table_lines,
    tables,
)
from trustplane.guard.text.content.words import Entry
from trustplane.guard.text.views import fold

__all__ = ["Pattern", "Spelling", "masks", "patterns", "pinyin_patterns", "spellings"]

MAX_LOOKALIKES = 8
"""Most look-alike and split variants that one word gets of each kind."""
NEAR = 16
"""Characters within which a Chinese one must stand for three initials to count."""
_DIGITS = {ord(symbol): letters[0] for symbol, letters in LEET.items() if symbol.isdigit()}
_VOWELS = re.compile(r"[aeiou]")


class Pattern(NamedTuple):
    """One way to write a word.

    ``letters``: canonical letters. ``breaks``: positions before which a space of the word stands.
    ``form``: the form that a hit by this pattern has, unless the text adds its own. ``syllables``: of a
    pinyin pattern. ``strict``: nothing may be added: no gap, repeat or digit. ``runs``: the letters as
    the skeleton has them, those that are equal there joined. ``near``: within so many characters a Chinese one must
    stand, 0 for no such need.
    """

    entry: int
    letters: str
    breaks: frozenset[int]
    form: str
    syllables: tuple[str, ...] = ()
    strict: bool = False
    runs: tuple[str, ...] = ()
    near: int = 0


class Spelling(NamedTuple):
    """A word's canonical letters and the positions of its inner breaks."""

    letters: str
    breaks: frozenset[int]


def patterns(number: int, entry: Entry, spelling: Spelling) -> Iterator[tuple[str, Pattern]]:
    """Yield ``(skeleton, pattern)`` for entry ``number``: plain, inflected, look-alike, split, initials."""
    letters, breaks = spelling
    if not letters:
        return
    yield from _both(Pattern(number, letters, breaks, "plain"))
    if entry.harmless:
        return
    if is_joined(ord(letters[-1])):
        if len(letters) > 1:
            for form, variant in _shapes(letters):
                yield from _both(Pattern(number, variant, frozenset(), form))
        if initials := entry.initials.lower() or _initials(letters):
            near = 1 if len(initials) < 3 or not entry.initials else NEAR if len(initials) < 4 else 0
            yield from _both(Pattern(number, initials, frozenset(), "initials", strict=True, near=near))
    elif letters.isalpha() and len(letters) > 3:
        if letters[-1] == "e":
            yield from _both(Pattern(number, letters[:-1] + "ing", breaks, "inflected"))
        if letters[-1] == "y":
            yield from _both(Pattern(number, letters[:-1] + "ies", breaks, "inflected"))


def pinyin_patterns(number: int, entry: Entry, spelling: Spelling) -> Iterator[tuple[str, Pattern]]:
    """Yield ``(pinyin without spaces, pattern)`` for a Chinese entry whose readings are known."""
    letters = spelling.letters
    if entry.harmless or len(letters) < 2 or not all(is_han(ord(letter)) for letter in letters):
        return
    table = pinyin_table()
    syllables = tuple(entry.pinyin.split()) or tuple(table.get(letter, "") for letter in letters)
    if len(syllables) != len(letters) or not all(syllables):
        return
    for written in {syllables, tuple(s.replace("v", "u") for s in syllables)}:
        yield "".join(written), Pattern(number, letters, frozenset(), "pinyin", written)


def masks(entry: Entry, spelling: Spelling) -> Iterator[str]:
    """Yield the ways to write an English word with stars: one vowel, all vowels, all but the ends."""
    letters, breaks = spelling
    if entry.harmless or breaks or len(letters) < 4 or not (letters.isascii() and letters.isalpha()):
        return
    for match in _VOWELS.finditer(letters):
        yield letters[: match.start()] + "*" + letters[match.end() :]
    if (starred := _VOWELS.sub("*", letters)) != letters:
        yield starred
    if entry.category in ("profanity", "hate") or entry.category.startswith("discrimination"):
        yield letters[0] + "*" * (len(letters) - 2) + letters[-1]
        yield letters[0] + "*" * (len(letters) - 1)


def spellings(words: Sequence[str]) -> Iterator[Spelling]:
    """Yield the spelling of each word, folded in one go."""
    text = fold("\n".join(word.replace("\n", " ") for word in words)).text
    base = canonical(codes(text), tables().plain).tobytes().decode("utf-32-le", "surrogatepass")
    start = 0
    for line in text.split("\n"):
        parts = base[start : start + len(line)].replace("\0", " ").split()
        start += len(line) + 1
        yield Spelling("".join(parts), frozenset(itertools.accumulate(len(part) for part in parts[:-1])))


def _both(pattern: Pattern) -> Iterator[tuple[str, Pattern]]:
    """Yield the pattern under its skeleton with repeats joined, and without; the same with 1 for l and l for i."""
    raw = pattern.letters.translate(_DIGITS)
    written = {raw: None}
    if not pattern.strict:
        for one, other in (("l", "i"), ("i", "l")):
            written[raw.replace(one, other)] = None
            for match in itertools.islice(re.finditer(f"{one}+", raw), 4):
                written[raw[: match.start()] + other * len(match[0]) + raw[match.end() :]] = None
    for skeleton in written:
        joined = _runs(skeleton, pattern)
        yield "".join(skeleton[i] for i, _ in joined), pattern._replace(runs=tuple(part for _, part in joined))
        if len(joined) != len(skeleton):
            yield skeleton, pattern._replace(runs=tuple(pattern.letters))


def _runs(skeleton: str, pattern: Pattern) -> list[tuple[int, str]]:
    """Return where each run of equal skeleton letters starts and the letters that it stands for."""
    starts = [
        i
        for i, letter in enumerate(skeleton)
        if not i or letter != skeleton[i - 1] or i in pattern.breaks or is_joined(ord(letter))
    ]
    return [(i, pattern.letters[i:j]) for i, j in itertools.pairwise([*starts, len(skeleton)])]


def _initials(letters: str) -> str:
    """Return Latin initials for four characters and more, ``""`` below: too many other readings."""
    syllables = [pinyin_table().get(letter, "") for letter in letters]
    return "".join(s[0] for s in syllables) if len(syllables) > 3 and all(syllables) else ""


@lru_cache(maxsize=1)
def _shape_tables() -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    alike: dict[str, str] = {}
    split: dict[str, str] = {}
    common = ""
    for line in table_lines("shapes.txt"):
        character, _, others = line.partition("\t")
        if character == "!":
            common += others
        elif character.startswith("="):
            split[character[1]] = others
        else:
            for letter in line:
                alike[letter] = alike.get(letter, "") + line.replace(letter, "")
    return alike, split, frozenset(common)


def _shapes(letters: str) -> Iterator[tuple[str, str]]:
    """Yield variants with one character replaced by a look-alike or by its components, then with all."""
    alike, split, common = _shape_tables()
    single = (
        letters[:i] + other + letters[i + 1 :]
        for i, letter in enumerate(letters)
        for other in alike.get(letter, "")
        if len(letters) > 2 or other not in common
    )
    for variant in itertools.islice(single, MAX_LOOKALIKES):
        yield "lookalike", variant
    parts = [i for i, letter in enumerate(letters) if letter in split]
    for i in parts[:MAX_LOOKALIKES]:
        yield "split", letters[:i] + split[letters[i]] + letters[i + 1 :]
    if len(parts) > 1:
        yield "split", "".join(split.get(letter, letter) for letter in letters)
