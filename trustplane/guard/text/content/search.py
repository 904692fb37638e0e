"""Search: one Aho-Corasick pass over the skeleton of a text, then each candidate is verified on the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trustplane.errors import missing_extra
from trustplane.guard.text.content.characters import Codes, canonical, codes, is_joined, tables
from trustplane.guard.text.content.patterns import Pattern, masks, patterns, pinyin_patterns, spellings
from trustplane.guard.text.content.pinyin import PinyinSearch
from trustplane.guard.text.content.verify import Found, Runs, verify
from trustplane.guard.text.content.words import Entry

__all__ = ["Searcher"]

_SYMBOL = re.compile(r"[@$!|+€¢£¡](?=[^\W_])|(?<=[^\W_])[@$|+€¢£]")
_STARRED = re.compile(r"(?<![^\W_])[^\W\d_][^\W\d_*#]{0,30}+[*#][^\W\d_*#]{0,30}+(?:[*#]++[^\W\d_*#]{0,30}+){0,16}")
_SUFFIXES = ("", "s", "es", "ed", "d", "er", "ers", "ing", "in", "y")


class Searcher:
    """Searches folded texts for the entries of all lists; built once, then only read, in any thread."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        try:
            import ahocorasick
        except ImportError:
            raise missing_extra("the content filter", "guard") from None
        self._entries = entries
        words: dict[str, list[Pattern]] = {}
        spoken: dict[str, list[Pattern]] = {}
        self._masks: dict[str, int] = {}
        written = spellings([entry.word for entry in entries])
        for number, (entry, spelling) in enumerate(zip(entries, written, strict=True)):
            for skeleton, pattern in patterns(number, entry, spelling):
                words.setdefault(skeleton, []).append(pattern)
            for skeleton, pattern in pinyin_patterns(number, entry, spelling):
                spoken.setdefault(skeleton, []).append(pattern)
            for mask in masks(entry, spelling):
                self._masks.setdefault(mask, number)
        self._automaton = _automaton(ahocorasick, words)
        self._pinyin = PinyinSearch(_automaton(ahocorasick, spoken), entries) if spoken else None

    def search(self, text: str) -> Iterator[Found]:
        """Yield each place of an entry in a folded text, in no order, some more than once."""
        points = codes(text)
        plain = canonical(points, tables().plain)
        base = _string(plain)
        yield from self._skeleton(text, base, canonical(points, tables().digits))
        if _SYMBOL.search(text):
            yield from self._skeleton(text, base, canonical(points, tables().leet))
        if self._masks and ("*" in text or "#" in text):
            yield from self._starred(text, base)
        if self._pinyin is not None:
            yield from self._pinyin.search(text, base, plain)

    def _skeleton(self, text: str, base: str, skeleton: Codes) -> Iterator[Found]:
        if self._automaton is None:
            return
        kept = np.flatnonzero(skeleton)
        if not kept.size:
            return
        letters = skeleton[kept]
        new = np.ones(kept.size, bool)
        new[1:] = (letters[1:] != letters[:-1]) | (kept[1:] != kept[:-1] + 1) | (letters[1:] >= 0x3040)
        starts = np.flatnonzero(new)
        first = kept[starts]
        last = kept[np.append(starts[1:], kept.size) - 1]
        view = Runs(text, base, first, last)
        for position, found in self._automaton.iter(_string(letters[starts])):
            for size, pattern in found:
                place = verify(view, position - size + 1, position, pattern)
                if place is not None:
                    yield Found(pattern.entry, *place)

    def _starred(self, text: str, base: str) -> Iterator[Found]:
        for match in _STARRED.finditer(text):
            start, end = match.span()
            written = "".join("*" if c in "*#" else b for c, b in zip(text[start:end], base[start:end], strict=True))
            for suffix in _SUFFIXES:
                stem = written[: len(written) - len(suffix)]
                if written.endswith(suffix) and (entry := self._masks.get(stem)) is not None:
                    if end < len(base) and base[end] != "\0" and not is_joined(ord(base[end])):
                        break
                    yield Found(entry, start, end, "masked")
                    break


def _automaton(module: Any, words: dict[str, list[Pattern]]) -> Any:
    if not words:
        return None
    automaton = module.Automaton(module.STORE_ANY)
    for skeleton, found in words.items():
        automaton.add_word(skeleton, tuple((len(skeleton), pattern) for pattern in dict.fromkeys(found)))
    automaton.make_automaton()
    return automaton


def _string(points: Codes) -> str:
    return points.astype(np.uint32).tobytes().decode("utf-32-le", "surrogatepass")
