"""Segmenter: Chinese words with part-of-speech tags from jieba's dictionary, apart from the user's jieba."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

from trustplane.errors import InputError
from trustplane.guard.text.names.surnames import SINGLE

__all__ = ["Segment", "Segmenter", "segmenter"]

_LONGEST = 400
"""Longest piece, in characters, that is segmented at once."""


class Segment(NamedTuple):
    """A word, where it stands and its tag (``nr`` person, ``ns`` place, ``nt`` organisation, ``x`` unknown)."""

    word: str
    start: int
    tag: str


class Segmenter:
    """Segments by jieba's most probable path, without its hidden Markov model and without its cache file.

    The cache in a shared temporary folder is never read, since jieba unmarshals whatever lies there.
    ``given``: how many dictionary names have a character in the given name. About 0.7 s to make; safe in
    many threads afterwards.

    Raises:
        InputError: jieba is missing.
    """

    def __init__(self) -> None:
        try:
            import jieba
        except ImportError as error:
            raise InputError("Chinese names need jieba", hint="install trustplane[guard]") from error
        self._tokenizer: Any = jieba.Tokenizer()
        frequencies: dict[str, int] = {}
        self.tags: dict[str, str] = {}
        self.given: Counter[str] = Counter()
        total = 0
        tag_names: dict[str, str] = {}
        digest = hashlib.sha256()
        with self._tokenizer.get_dict_file() as lines:
            for line in lines:
                digest.update(line)
                word, count, tag = line.decode("utf-8").split()
                frequencies[word] = int(count)
                total += int(count)
                self.tags[word] = tag_names.setdefault(tag, tag)
                for size in range(1, len(word)):
                    frequencies.setdefault(word[:size], 0)
                if tag == "nr" and len(word) == 3 and word[0] in SINGLE:
                    self.given.update(word[1:])
        self._tokenizer.FREQ, self._tokenizer.total, self._tokenizer.initialized = frequencies, total, True
        self.digest = digest.hexdigest()

    def often(self, word: str) -> int:
        """Return how often a word stands in the texts behind jieba's dictionary, 0 if it does not know it."""
        return int(self._tokenizer.FREQ.get(word, 0))

    def cut(self, text: str, start: int = 0) -> list[Segment]:
        """Return the words of ``text``; offsets count from ``start``."""
        found: list[Segment] = []
        for begin in range(0, len(text), _LONGEST):
            for word in self._tokenizer.cut(text[begin : begin + _LONGEST], HMM=False):
                found.append(Segment(word, start, self.tags.get(word, "x")))
                start += len(word)
        return found


_LOCK = threading.Lock()


@lru_cache(maxsize=1)
def _only() -> Segmenter:
    return Segmenter()


def segmenter() -> Segmenter:
    """Return the process's segmenter, made at the first call, once even when many threads ask."""
    with _LOCK:
        return _only()
