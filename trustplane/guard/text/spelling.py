"""Spellings: reads a placeholder in the forms that language models give it, one unit after another."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from trustplane.guard.text.pseudonym import CODE_LENGTH, CODE_LETTERS, MAX_CODE
from trustplane.guard.text.tokens import BASE32, MARK, START, Sealer
from trustplane.guard.text.units import ESCAPE, NOISE, decode, plain

__all__ = ["BEFORE", "MORE", "SEALED_WINDOW", "WINDOW", "Place", "Speller"]

WINDOW = 160
"""Most characters of one spelled placeholder, all decoration included."""
SEALED_WINDOW = 640
"""The same for a sealed token."""
BEFORE = 8
"""How many characters before a placeholder decide whether it may begin."""
PAIRS = {
    "[": "]",
    "<": ">",
    "{": "}",
    "【": "】",
    "《": "》",
    "〈": "〉",
    "「": "」",
    "『": "』",
    "〔": "〕",
    "〖": "〗",
}
"""Brackets that a placeholder may be given; parentheses, quotes and emphasis around one are punctuation and stay."""
_CODE = frozenset(CODE_LETTERS)
_TOKEN = frozenset(BASE32)
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_CUT = re.compile(r"(?:\\(?:U[0-9A-F]{0,3}|[NRT])?|&[A-Z0-9#;]{0,15}|%[0-9A-F]?)\Z")
_FREE = r"(?:(?<![A-Z0-9])|(?<=\\[BFNRT])|(?<=\\U[0-9A-F]{4})|(?<=%[0-9A-F]{2}))"
"""Where a placeholder without brackets may begin: not within a word, but after an escape that ends in a letter."""
_MARKUP = frozenset("_-*[]<>{}()`~\\")


class Place(NamedTuple):
    """Where a placeholder stands, and its value."""

    start: int
    end: int
    value: str


MORE = Place(-1, -1, "")
"""What reading gives where only more text can decide."""


@functools.lru_cache(maxsize=1024)
def _patterns(starts: frozenset[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds where a placeholder may begin and where one may be hidden, by the first letters of labels."""
    seconds: dict[str, str] = {}
    for start in sorted(starts):
        seconds[start[0]] = seconds.get(start[0], "") + (start[1:] or "_")
    begins = "|".join(rf"{first}(?={NOISE}*(?:[{then}\n&%\\]|\Z))" for first, then in sorted(seconds.items()))
    opens = re.escape("".join(PAIRS))
    return re.compile(rf"[{opens}\\&%]|{_FREE}(?:{begins})"), re.compile(begins)


class _Node:
    __slots__ = ("edges", "label")

    def __init__(self) -> None:
        self.edges: dict[str, _Node] = {}
        self.label = ""


class Speller:
    """Reads spelled placeholders of given labels; what a code means is asked of ``value_of``.

    A decision depends on ``BEFORE`` characters before a placeholder and at most ``WINDOW`` (``SEALED_WINDOW``)
    characters from its start on, so it is the same however the text arrives.
    """

    __slots__ = ("_loose", "_root", "_sealer", "_starts", "_strict", "_value_of")

    def __init__(self, value_of: Callable[[str], str | None], sealer: Sealer | None = None) -> None:
        self._value_of = value_of
        self._sealer = sealer
        self._root = _Node()
        self._starts: set[str] = set()
        self._strict: re.Pattern[str] | None = None
        self._loose: re.Pattern[str] | None = None
        if sealer is not None:
            self.add(MARK)

    @property
    def window(self) -> int:
        """Most characters of one spelled placeholder; a text is undecided in its last ``window`` + 20 at most."""
        return WINDOW if self._sealer is None else SEALED_WINDOW

    def add(self, label: str) -> None:
        """Let placeholders begin with ``label``."""
        node = self._root
        for letter in label + "_":
            node = node.edges.setdefault(letter, _Node())
        if node.label:
            return
        node.label = label
        self._starts.add(label[:2])
        self._strict, self._loose = _patterns(frozenset(self._starts))

    def find(self, text: str, start: int = 0, *, final: bool = True) -> tuple[list[Place], int]:
        """Return the placeholders from ``start`` on, in order, and up to where the text is decided.

        ``text`` before ``start`` is what was there before. With ``final`` no more text will come and
        all is decided.
        """
        places: list[Place] = []
        if self._strict is None:
            return places, len(text)
        shown = plain(text)
        position = start
        for found in self._strict.finditer(shown, start):
            if found.start() < position:
                continue
            place = self._read(shown, found.start(), final=final)
            if place is MORE:
                return places, found.start()
            if place is not None:
                places.append(place)
                position = place.end
        return places, len(text)

    def literals(self, text: str) -> list[Place]:
        """Return every place that a spelling of a placeholder could rest on, whatever surrounds it."""
        if self._loose is None:
            return []
        shown = plain(text)
        found = (self._walk(shown, m.start(), m.start() + self.window, final=True) for m in self._loose.finditer(shown))
        return [place for place in found if place is not None and place is not MORE]

    def _unit(self, shown: str, at: int) -> tuple[str, int]:
        """Return the plain character at ``at``, escapes decoded, and where the next begins; -1: cut off."""
        character = shown[at]
        if character in "\\&%":
            found = ESCAPE.match(shown, at)
            if found is not None:
                return decode(found.group()), found.end()
            if _CUT.match(shown, at):
                return character, -1
            if character == "\\" and shown[at + 1] in _MARKUP:
                return NOISE, at + 1
        return character, at + 1

    def _read(self, shown: str, at: int, *, final: bool) -> Place | None:
        """Return the placeholder that begins at ``at``, None if none does, MORE if the text ends too early."""
        limit = at + self.window
        unit, position = self._unit(shown, at)
        escaped = unit == NOISE
        inner = at
        if escaped:
            inner = position
            unit, position = self._unit(shown, position)
        if position < 0:
            return None if final else MORE
        closer = PAIRS.get(unit, "")
        if not closer:
            return None if escaped or shown[at] in "\\&%" else self._bare(shown, at, limit, final=final)
        double = False
        if unit != "[" and position < len(shown):
            second, after = self._unit(shown, position)
            if after > 0 and second == unit:
                double, inner, position = True, position, after
        position = self._skip(shown, position, limit)
        core = MORE if position < 0 or position >= len(shown) else self._walk(shown, position, limit, final=final)
        if core is None or core is MORE:
            return core if core is None or not final else None
        end, backslash = self._closed(shown, core.end, closer, limit)
        if end == -1 and not final:
            return MORE
        if end < 0:
            return self._edges(shown, core, final=final)
        begin = at if not double and (not escaped or backslash) else inner
        if double:
            again, _ = self._closed(shown, end, closer, limit)
            if again == -1 and not final:
                return MORE
            if again > 0:
                begin, end = at, again
        return Place(begin, end, core.value)

    def _skip(self, shown: str, position: int, limit: int) -> int:
        """Skip blanks and noise; return -1 where an escape is cut off."""
        while position < min(limit, len(shown)):
            unit, after = self._unit(shown, position)
            if after < 0:
                return -1
            if unit not in {"_", "\n", NOISE}:
                break
            position = after
        return position

    def _closed(self, shown: str, position: int, closer: str, limit: int) -> tuple[int, bool]:
        """Return where the closing bracket ends, -1 if the text ends before, -2 if there is none; and if escaped."""
        backslash = False
        while position < len(shown):
            if position >= limit:
                return -2, False
            unit, after = self._unit(shown, position)
            if after < 0:
                return -1, False
            if unit == closer:
                return after, backslash
            if unit not in {"_", "\n", NOISE}:
                return -2, False
            backslash = shown[position] == "\\"
            position = after
        return -1, False

    def _bare(self, shown: str, at: int, limit: int, *, final: bool) -> Place | None:
        core = self._walk(shown, at, limit, final=final)
        return core if core is None or core is MORE else self._edges(shown, core, final=final)

    @staticmethod
    def _edges(shown: str, core: Place, *, final: bool) -> Place | None:
        """Return ``core`` if no letter or digit touches its end, but for the s of a plural."""
        rest = shown[core.end : core.end + 2]
        if not rest[:1]:
            return core if final else MORE
        if rest[0] not in _WORD:
            return core
        if rest[0] != "S":
            return None
        if len(rest) == 1:
            return core if final else MORE
        return None if rest[1] in _WORD else core

    def _walk(self, shown: str, at: int, limit: int, *, final: bool) -> Place | None:
        """Read label and code from ``at`` on."""
        node, position, separated = self._root, at, False
        while position < limit:
            if position >= len(shown):
                return None if final else MORE
            unit, after = self._unit(shown, position)
            if after < 0:
                return None if final else MORE
            position = after
            if unit == NOISE:
                continue
            if unit in "_\n":
                if "_" in node.edges:
                    node, separated = node.edges["_"], True
                    if node.label:
                        place = self._coded(shown, position, at, limit, node.label, final=final)
                        if place is not None:
                            return place
                elif not separated and unit == "_":
                    return None
                continue
            following = node.edges.get(unit)
            if following is None:
                return None
            node, separated = following, False
        return None

    def _coded(self, shown: str, position: int, at: int, limit: int, label: str, *, final: bool) -> Place | None:
        if self._sealer is not None and label == MARK:
            return self._sealed(shown, position, at, limit, final=final)
        code = ""
        while position < limit:
            if position >= len(shown):
                return None if final else MORE
            unit, after = self._unit(shown, position)
            if after < 0:
                return None if final else MORE
            position = after
            if unit in _CODE:
                code += unit
                if len(code) >= CODE_LENGTH:
                    value = self._value_of(f"{label}_{code}")
                    if value is not None:
                        return Place(at, position, value)
                    if len(code) >= MAX_CODE:
                        return None
            elif unit != NOISE and unit != "\n" and (code or unit != "_"):
                return None
        return None

    def _sealed(self, shown: str, position: int, at: int, limit: int, *, final: bool) -> Place | None:
        assert self._sealer is not None
        letters, wanted, inside, fresh = "", 2, False, True
        while position < limit:
            if position >= len(shown):
                return None if final else MORE
            unit, after = self._unit(shown, position)
            if after < 0:
                return None if final else MORE
            position = after
            if unit in {"_", "\n", NOISE}:
                fresh = fresh or unit != NOISE
            elif not inside:
                if unit not in _WORD:
                    return None
                inside, fresh = fresh and unit == START, False
            elif unit not in _TOKEN:
                return None
            else:
                letters += unit
                if len(letters) == 2:
                    wanted = self._sealer.length(letters)
                if len(letters) >= wanted:
                    value = self._sealer.open(letters) if wanted else None
                    return None if value is None else Place(at, position, value)
        return None
