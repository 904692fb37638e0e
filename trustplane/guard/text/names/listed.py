"""Names that are given, by the user or by an earlier find: where they stand in a text."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from trustplane.guard.text.hit import Hit
from trustplane.guard.text.views import fold

__all__ = ["Names", "listed", "name_pattern"]

_TOKEN = re.compile(r"[A-Z0-9]+|\s+|.", re.DOTALL)
_GAP = re.compile(r"\s+")
_LONGEST_GAP = 3
"""Most blanks that may stand where a name has some."""
_NO_GAP = "  "
"""Stands for a longer one; it is in no name."""
_LONG = 2000
"""From this length on, characters that are in no name are read many at a time."""
_FEW = 8
"""Up to so many names a text is first asked whether it holds a part of one."""
_SAME = {"\u0130": "I", "\ufb06": "\ufb05", "\u1fd3": "\u0390", "\u1fe3": "\u03b0"}
"""Letters that differ in no more than case from another, which ``lower`` and ``upper`` cannot say in one character."""


class Names:
    """Finds names in folded text, the longest at each place, whatever the case; time linear in text and names.

    A Latin name does not match inside a longer word; a Chinese name matches anywhere. Where a name has blanks, one
    to three of any kind may stand. Method: Aho and Corasick, CACM 18(6), 1975, over words and single characters,
    from the end of the text to its beginning, so that the longest match that begins at a place is known there.
    Not safe to share between threads while names are added.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._length, self._best, self._back = [0], [0], [0]
        self._keys: set[str] = set()
        self._parts: set[str] | None = set()
        self._token: re.Pattern[str] | None = None
        self._ready = True
        self.add(names)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"Names({len(self._keys)})"

    def add(self, names: Iterable[str]) -> None:
        """Look for these too."""
        for name in names:
            key = _GAP.sub(" ", _caseless(fold(name).text.strip()))
            if not key or key in self._keys:
                continue
            self._keys.add(key)
            if self._parts is not None:
                self._parts.add(max(key.split(" "), key=len))
            if len(self._keys) > _FEW:
                self._parts = None
            self._ready, self._token = False, None
            tokens = _TOKEN.findall(key)
            state = 0
            for token in reversed(tokens):
                following = self._next[state].get(token)
                if following is None:
                    following = self._next[state][token] = len(self._next)
                    self._next.append({})
                    self._length.append(0)
                state = following
            self._length[state] = len(tokens)

    def _connect(self) -> None:
        """Set for each state the state of its longest end that another name ends with too, and its longest match."""
        following, length = self._next, self._length
        back, best = [0] * len(following), length[:]
        queue = list(following[0].values())
        for state in queue:
            for token, child in following[state].items():
                other = back[state]
                while other and token not in following[other]:
                    other = back[other]
                back[child] = other = following[other].get(token, 0)
                best[child] = length[child] or best[other]
                queue.append(child)
        self._back, self._best, self._ready = back, best, True

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the names stand in folded ``text``: disjoint, in order, the longest that begins there."""
        key = _caseless(text)
        if self._parts is not None and not any(part in key for part in self._parts):
            return
        if self._token is None and len(key) >= _LONG:
            self._token = _token({c for name in self._keys for c in name})
        tokens = (self._token if self._token is not None else _TOKEN).findall(key)
        matches = self._matches(tokens)
        if not matches:
            return
        starts = list(accumulate(map(len, tokens), initial=0))
        done = 0
        for first, length in reversed(matches):
            if first >= done:
                done = first + length
                yield starts[first], starts[done]

    def _matches(self, tokens: Sequence[str]) -> list[tuple[int, int]]:
        """Return the first token and the number of tokens of the longest match at each place, the last one first."""
        if not self._ready:
            self._connect()
        following, back, best = self._next, self._back, self._best
        root = following[0]
        found: list[tuple[int, int]] = []
        state = 0
        for number in range(len(tokens) - 1, -1, -1):
            token = tokens[number]
            if not state:
                if token not in root:
                    continue
                state = root[token]
            else:
                if token.isspace():
                    token = " " if len(token) <= _LONGEST_GAP else _NO_GAP
                while state and token not in following[state]:
                    state = back[state]
                state = following[state].get(token, 0)
            if length := best[state]:
                found.append((number, length))
        return found


def _token(letters: Iterable[str]) -> re.Pattern[str]:
    """Return what cuts a text into tokens where ``letters`` alone matter."""
    return re.compile(rf"[^A-Z0-9\s{''.join(map(re.escape, letters))}]+|[A-Z0-9]+|\s+|.", re.DOTALL)


def name_pattern(names: Iterable[str]) -> Names | None:
    """Return what finds any of ``names``, None where there is none."""
    return Names(names) or None


def listed(names: Names | None, rule: str, text: str, score: float = 1.0) -> Iterator[Hit]:
    """Yield where ``names`` stand in folded ``text``."""
    if names is not None:
        for start, end in names.find(text):
            yield Hit(rule, start, end, score)


def _caseless(text: str) -> str:
    """Return ``text``, character by character, in the form that ``re.IGNORECASE`` compares by."""
    made = text.lower().upper()  # never shorter than the text, so of its length only where each character keeps to one
    return made if len(made) == len(text) else "".join(map(_caseless_character, text))


@functools.lru_cache(maxsize=4096)
def _caseless_character(character: str) -> str:
    made = character.lower().upper()
    return _SAME.get(character) or (made if len(made) == 1 else character.lower())
