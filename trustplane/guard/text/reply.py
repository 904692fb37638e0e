"""Replies: put a session's pseudonyms back and mask what the other side brought in, whole or in a stream."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from trustplane.guard.text.restore import Pseudonyms
from trustplane.guard.text.views import fold_character, latin

if TYPE_CHECKING:
    from trustplane.guard.text.guard import TextGuard

__all__ = ["REPLY_SKIPS", "Cleaner"]

REPLY_SKIPS = frozenset({"DATE_TIME", "PERSON", "URL"})
"""Rules that do not count in a reply: a link, a date or a public name is what people ask models for."""
CONTEXT = 256
"""Characters already given out that are kept to search again, for look-behind and context words."""
SPACED = 64
"""Longest match with spaces inside, in characters: an IBAN in groups, a card number in single digits."""
TOKEN = 2048
"""Longest unfinished word that is held back in full; past it the last ``CONTEXT`` characters are."""

_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,4}|.|\Z)", re.DOTALL)
_SUSPECT = re.compile(r"[0-9@:_-]|A(?:KIA|SIA|Iza)|eyJ")
_WORD = re.compile(r"[^\s|]+")
_DIGIT = re.compile(r"[0-9]")
_NUMBER = "+-.0123456789eE"
_ALNUM = string.ascii_letters + string.digits
_HEADER = "-----BEGIN"


def _view(text: str) -> str:
    """Return one ASCII character per character: itself folded, ``x`` if invisible, ``|`` if no rule spans it."""
    if text.isascii():
        return text.replace("|", "/")
    return "".join(_shown(c) for c in text)


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    plain = fold_character(character)[:1]
    if not plain:
        return "x"
    if plain.isascii():
        return "/" if plain == "|" else plain
    if latin(plain) != plain:  # a CJK character
        return "|"
    return "x" if unicodedata.category(plain)[0] in "LMN" else "|"


def _spaced_start(view: str) -> int:
    """Return where the last words begin that a match could still join with words to come."""
    start = view.rfind("|") + 1
    words = [(m.start(), m.group()) for m in _WORD.finditer(view, start)]
    ended = not view or view[-1].isspace() or view[-1] == "|"
    cut = len(view)
    for back, (position, word) in enumerate(reversed(words)):
        digits = _DIGIT.search(word) is not None
        last = back == 0
        if last and not ended:
            cut = position
            continue
        follows = None if last else words[len(words) - back][1]
        unknown = follows is None or (back == 1 and not ended)
        if len(view) - position - len(word) > SPACED:
            break
        short = 0 < len(word) - len(word.rstrip(_ALNUM)) <= 3  # its last letters, as in ``mail:AB``
        if digits or (short and (unknown or (follows is not None and _DIGIT.search(follows)))):
            cut = position
        if not digits and len(word) > 5:
            break
    return cut


class Cleaner:
    """Cleans a reply that arrives in chunks: ``feed`` gives what is certain, ``close`` the rest.

    Pseudonyms become values, each other finding becomes ``<RULE>``; rules of ``REPLY_SKIPS`` do not
    count. The pieces joined equal :meth:`whole` of the chunks joined, however they are cut, for all
    built-in rules; held back are the unfinished word and those before it that could be part of one
    number, mostly under 64 characters, and a private key until its end. What does not hold: a match of
    a user's own recogniser longer than 256 characters may be cut, a run of digit groups longer than
    256 characters may be grouped otherwise.

    With ``escape`` the text is JSON: values are escaped, a mask outside a string gets quotes.
    """

    def __init__(self, guard: TextGuard, pseudonyms: Pseudonyms, escape: Callable[[str], str] | None = None) -> None:
        self._guard = guard
        self._pseudonyms = pseudonyms
        self._escape = escape
        self._left = ""
        self._buffer = ""
        self._quoted = False
        self._wait = 0
        self.masked = 0
        """How many places were masked so far."""
        self.restored = 0
        """How many pseudonyms were put back so far."""

    def __repr__(self) -> str:
        return f"Cleaner({len(self._buffer)} characters held)"

    def whole(self, text: str) -> str:
        """Return the clean form of a complete text."""
        self._buffer = text
        return self.close()

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the clean text that can no longer change.

        Raises:
            TimeoutError: a pattern ran longer than its limit; nothing more may be given out.
        """
        self._buffer += chunk
        if len(self._buffer) < self._wait:
            return ""
        out = self._take(min(self._pseudonyms.safe_end(self._buffer), self._decided()), final=False)
        held = len(self._buffer)
        self._wait = held + held // 4 if held > CONTEXT else 0  # a long hold is not searched at each chunk
        return out

    def close(self) -> str:
        """Return the rest; the cleaner is then empty."""
        self._wait = 0
        return self._take(len(self._buffer), final=True)

    def _decided(self) -> int:
        """Return up to where no built-in rule can find more, whatever follows."""
        view = _view(self._buffer)
        cut = _spaced_start(view)
        header = view.rfind(_HEADER)
        if header >= 0 and "-----" not in view[header + len(_HEADER) :] and len(view) - header < 2 * SPACED:
            cut = min(cut, header)
        if self._guard.longest_name:
            cut = min(cut, len(view) - self._guard.longest_name - 8)
        if self._guard.custom:
            cut = min(cut, len(view) - CONTEXT)
        if len(view) - cut > TOKEN:
            cut = len(view) - CONTEXT
        return max(0, cut)

    def _take(self, end: int, *, final: bool) -> str:
        if end <= 0:
            return ""
        offset = len(self._left)
        text = self._left + self._buffer
        pattern = self._pseudonyms.pattern()
        known = [] if pattern is None else [m.span() for m in pattern.finditer(text, max(0, offset - 1))]
        known = [(a, b) for a, b in known if a >= offset]
        blanked = self._blank(text, known, offset)
        end += offset
        found = self._invented(blanked, offset, end)
        for start, stop, _rule in found:
            if not final and start < end and (stop > end or stop == len(text)):
                end = start
                break
        for start, stop in known:  # a pseudonym that is complete goes out whole
            if start < end < stop:
                end = stop
        places = [p for p in found if p[0] < end]
        places += [(a, b, "") for a, b in known if a < end and not any(s < b and a < e for s, e, _ in found)]
        return self._write(text, blanked, sorted(places), offset, end)

    def _blank(self, text: str, known: list[tuple[int, int]], offset: int) -> str:
        """Blank this session's pseudonyms, and in JSON the escapes, so that no rule reads them."""
        pieces: list[str] = []
        position = 0
        for start, stop in known:
            pieces += (text[position:start], "<" * (stop - start))
            position = stop
        blanked = "".join(pieces) + text[position:]
        if self._escape is not None:
            rest = _ESCAPE.sub(lambda m: "<" * len(m.group()), blanked[offset:])
            blanked = blanked[:offset] + rest
        return blanked

    def _invented(self, blanked: str, offset: int, end: int) -> list[tuple[int, int, str]]:
        names = self._guard.longest_name or self._guard.custom
        if not names and not _SUSPECT.search(_view(blanked[offset : end + SPACED])):
            return []
        found = []
        for finding in self._guard.detect(blanked, skip=REPLY_SKIPS):
            start, stop = max(finding.start, offset), finding.end
            if self._escape is not None:
                start, stop = self._in_json(blanked, offset, start, stop)
            if start < stop:
                found.append((start, stop, finding.entity))
        return found

    def _in_json(self, blanked: str, offset: int, start: int, stop: int) -> tuple[int, int]:
        """Fit a finding to the JSON around it: to its string, or to the whole bare number."""
        if (quote := blanked.find('"', start, stop)) >= 0:
            stop = quote
        if self._quoted ^ (blanked.count('"', offset, start) % 2 == 1):
            return start, stop
        while start > offset and blanked[start - 1] in _NUMBER:
            start -= 1
        while stop < len(blanked) and blanked[stop] in _NUMBER:
            stop += 1
        return start, stop

    def _write(self, text: str, blanked: str, places: list[tuple[int, int, str]], offset: int, end: int) -> str:
        pieces: list[str] = []
        position = offset
        for start, stop, rule in places:
            pieces.append(text[position:start])
            self._quoted ^= blanked.count('"', position, start) % 2 == 1
            if rule:
                mask = f"<{rule}>"
                pieces.append(mask if self._escape is None or self._quoted else f'"{mask}"')
                self.masked += 1
            else:
                value = self._pseudonyms.value(text[start:stop])
                pieces.append(value if self._escape is None else self._escape(value))
                self.restored += 1
            position = stop
        pieces.append(text[position:end])
        self._quoted ^= blanked.count('"', position, end) % 2 == 1
        self._left = blanked[:end][-CONTEXT:]
        self._buffer = text[end:]
        return "".join(pieces)
