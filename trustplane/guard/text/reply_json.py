"""Texts of replies that may be JSON: read as they arrive, each string cleaned by itself, escapes decoded first."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import NamedTuple

from trustplane.guard.text.document import _digits
from trustplane.guard.text.reply import REPLY_SKIPS, Cleaner, Looker, Piece, joined
from trustplane.guard.text.restore import Pseudonyms

__all__ = ["ReplyText", "leading"]

MAX_DEPTH = 64
"""Deepest nesting of objects and arrays, JSON inside strings included."""
MOST_HELD = 1024
"""Most characters between two values that are held until it is known that they are JSON."""
LONGEST_NUMBER = 400
MIN_DIGITS = 9
"""Shortest number that is looked at: a social security number, a phone or a card written as a number."""
LEFT = 512
"""Characters before a text that turns out to be no JSON that are searched with the rest of it."""

_BLANK = " \t\n\r"
_PLAIN_KEY = re.compile(r'"[A-Za-z_]{1,40}"')
_KEY_BEGUN = re.compile(r'"[A-Za-z_]{0,40}\Z')
_LITERAL = re.compile(r"[-+.0-9A-Za-z_]+")
_VALID = re.compile(r"(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\Z")
_UNIT = re.compile(
    r'(?P<run>[^"\\]+)|(?P<end>")'
    r"|(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<wait>\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?\Z|\\(?:u[0-9a-fA-F]{0,3})?\Z)"
    r"|(?P<one>\\(?:u[0-9a-fA-F]{4}|[^u]|u))",
    re.DOTALL,
)
"""A part of a JSON string as it is written; ``wait``: what the end of the text cuts."""
_ONE = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = re.compile(r"[^\W\d_]+")


def leading(key: str) -> str:
    """Return a key as words before its value, which tell rules what it is: letters only."""
    words = _WORDS.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key[:64]))
    return " ".join(words) + ": " if words else ""


class _Levels(NamedTuple):
    """What may come next."""

    value: bool = False
    key: bool = False
    colon: bool = False
    comma: bool = False
    close: bool = False


_VALUE, _FIRST = _Levels(value=True), _Levels(value=True, close=True)
_KEY, _FIRST_KEY = _Levels(key=True), _Levels(key=True, close=True)
_COLON, _AFTER, _END = _Levels(colon=True), _Levels(comma=True, close=True), _Levels()


_Read = tuple[int, list[Piece], bool]


class ReplyText:
    """Cleans one text of a reply that arrives in chunks, as :class:`~trustplane.guard.text.reply.Cleaner` does.

    A text that begins with ``{`` or ``[`` and goes on as JSON is read as JSON as long as it is: each string is
    decoded, cleaned by itself after the words of its key, and written as it was where nothing changed, so that an
    escape hides nothing and what was valid JSON stays valid; JSON inside strings likewise. A number of nine digits or
    more that is a finding becomes a string. From the place on where it is no JSON, all is a plain text. The pieces
    joined equal :meth:`whole` of the chunks joined, however they are cut.

    ``before``: what stands before the text, searched with it and not given out.
    """

    def __init__(self, view: Looker, pseudonyms: Pseudonyms, before: str = "", depth: int = 0) -> None:
        self._view, self._pseudonyms = view, pseudonyms
        self._before = before
        self._depth = depth
        self._plain: Cleaner | None = None if depth < MAX_DEPTH else Cleaner(view, pseudonyms, before)
        self._stack: list[str] = []
        self._next = _VALUE
        self._raw = ""
        self._held = ""
        self._tail = ""
        self._string: ReplyText | Cleaner | None = None
        self._written: deque[tuple[str, bool]] = deque()
        self._in_key = False
        self._key = ""
        self._begun = False
        self._masked = self._restored = 0

    def __repr__(self) -> str:
        inner = self._plain or self._string
        return repr(inner) if inner is not None else f"ReplyText({len(self._raw) + len(self._held)} characters held)"

    @property
    def masked(self) -> int:
        """How many places were masked so far."""
        return self._masked + (self._plain.masked if self._plain else 0) + (self._string.masked if self._string else 0)

    @property
    def restored(self) -> int:
        """How many pseudonyms were put back so far."""
        inner = (self._plain, self._string)
        return self._restored + sum(part.restored for part in inner if part is not None)

    def whole(self, text: str) -> str:
        """Return the clean form of a complete text."""
        return joined(self.pieces(text, final=True))

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the clean text that can no longer change."""
        return joined(self.pieces(chunk))

    def close(self) -> str:
        """Return the rest."""
        return joined(self.pieces("", final=True))

    def pieces(self, chunk: str, *, final: bool = False) -> list[Piece]:
        """Take the next chunk, the last one if ``final``; return what can no longer change, piece by piece."""
        if self._plain is not None:
            return self._plain.pieces(chunk, final=final)
        self._raw += chunk
        found: list[Piece] = []
        position, more = 0, True
        while more:
            step = self._between if self._string is None else self._inside
            position, pieces, more = step(position, final=final)
            found += pieces
            if (plain := self._is_plain()) is not None:
                rest, self._raw, self._held = self._held + self._raw[position:], "", ""
                return found + plain.pieces(rest, final=final)
        self._raw = self._raw[position:]
        return found

    def _is_plain(self) -> Cleaner | None:
        return self._plain

    def _stop(self, position: int) -> _Read:
        """From ``position`` on it is no JSON: what is held and the rest is a plain text."""
        self._plain = Cleaner(self._view, self._pseudonyms, self._tail if self._begun else self._before)
        return position, [], False

    def _between(self, position: int, *, final: bool) -> _Read:
        """Read what stands between strings; return where that ends, what goes out, and whether to read on."""
        raw, size = self._raw, len(self._raw)
        while position < size:
            character, may = raw[position], self._next
            if len(self._held) >= MOST_HELD:
                return self._stop(position)
            if character in _BLANK:
                pass
            elif character in "{[" and may.value and len(self._stack) + self._depth < MAX_DEPTH:
                self._stack.append(character)
                self._next = _FIRST_KEY if character == "{" else _FIRST
            elif character in "}]" and may.close and self._stack and character == _CLOSES[self._stack[-1]]:
                self._stack.pop()
                self._next = _AFTER if self._stack else _END
                if not self._stack:  # whatever follows, this much is JSON
                    self._held += character
                    return position + 1, [self._out(self._flush())], True
            elif character == "," and may.comma:
                self._next = _KEY if self._stack[-1] == "{" else _VALUE
            elif character == ":" and may.colon:
                self._next = _VALUE
            elif character == '"' and self._stack and (may.value or may.key):
                return self._open(position, final=final)
            elif self._stack and may.value:
                return self._literal(position, final=final)
            else:
                return self._stop(position)
            self._held += character
            position += 1
        if not final or not self._held:
            return position, [], False
        if not self._begun:
            return self._stop(position)
        return position, [self._out(self._flush())], False

    def _literal(self, position: int, *, final: bool) -> _Read:
        found = _LITERAL.match(self._raw, position)
        if found is None or found.end() - position > LONGEST_NUMBER:
            return self._stop(position)
        if found.end() == len(self._raw) and not final:
            return position, [], False
        token = found.group()
        if not _VALID.match(token):
            return self._stop(position)
        self._next = _AFTER
        return found.end(), [self._out(self._flush()), *self._number(token)], True

    def _number(self, token: str) -> list[Piece]:
        digits = _digits(token) if token[0] in "-0123456789" else ""
        if len(digits) >= MIN_DIGITS:
            before = leading(self._key)
            for hit in self._view.detect(before + digits, skip=REPLY_SKIPS):
                if hit.end > len(before):
                    self._masked += 1
                    self._remember(token)
                    return [Piece(len(token), f'"<{hit.entity}>"', False)]
        return [self._out(token)]

    def _open(self, position: int, *, final: bool) -> _Read:
        """Begin a string, or read a key that is a name of the schema."""
        self._in_key = self._next.key
        if self._in_key:
            if plain := _PLAIN_KEY.match(self._raw, position):
                self._key, self._next = plain.group()[1:-1], _COLON
                return plain.end(), [self._out(self._flush() + plain.group())], True
            if not final and _KEY_BEGUN.match(self._raw, position):
                return position, [], False
            self._key = ""
            self._string = Cleaner(self._view, self._pseudonyms)
        else:
            depth = self._depth + len(self._stack)
            self._string = ReplyText(self._view, self._pseudonyms, leading(self._key), depth)
        return position + 1, [self._out(self._flush() + '"')], True

    def _inside(self, position: int, *, final: bool) -> _Read:
        """Read a string on; as :meth:`_between`."""
        assert self._string is not None
        raw = self._raw
        decoded: list[str] = []
        while True:
            found = _UNIT.match(raw, position)
            if found is None or (found.lastgroup == "wait" and not final):
                break
            kind, token = found.lastgroup, found.group()
            position = found.end()
            if kind == "end":
                pieces = self._through("".join(decoded), final=True)
                self._shut()
                self._next = _COLON if self._in_key else _AFTER
                return position, [*pieces, self._out('"')], True
            if kind == "run":
                self._written.append((token, True))
                decoded.append(token)
            elif kind == "pair":
                self._written.append((token, False))
                decoded.append(chr(0x10000 + ((int(token[2:6], 16) & 0x3FF) << 10) + (int(token[8:], 16) & 0x3FF)))
            elif len(token) == 2 and token[1] != "u":
                self._written.append((token, False))
                decoded.append(_ONE.get(token[1], token[1]))
            elif len(token) == 6 and kind == "one":
                self._written.append((token, False))
                decoded.append(chr(int("0x" + token[2:], 0)))
            else:  # no escape of JSON, or cut by the end
                self._written.append((token, True))
                decoded.append(token)
        pieces = self._through("".join(decoded), final=final)
        if final:
            self._shut()
        return position, pieces, False

    def _shut(self) -> None:
        assert self._string is not None
        self._masked += self._string.masked
        self._restored += self._string.restored
        self._string = None

    def _through(self, decoded: str, *, final: bool) -> list[Piece]:
        """Give decoded characters to the string's cleaner; return what comes out, as JSON is written."""
        assert self._string is not None
        if self._in_key and len(self._key) < 64:
            self._key += decoded[:64]
        pieces = self._string.pieces(decoded, final=final)
        return [self._again(piece) for piece in pieces]

    def _again(self, piece: Piece) -> Piece:
        written: list[str] = []
        left = piece.taken
        while left:
            token, plain = self._written.popleft()
            if plain and len(token) > left:
                self._written.appendleft((token[left:], True))
                token = token[:left]
            written.append(token)
            left -= len(token) if plain else 1
        source = "".join(written)
        self._remember(source)
        shown = source if piece.kept else _escaped(piece.text)
        return Piece(len(source), shown, piece.kept)

    def _flush(self) -> str:
        held, self._held = self._held, ""
        return held

    def _out(self, text: str) -> Piece:
        self._remember(text)
        return Piece(len(text), text, True)

    def _remember(self, source: str) -> None:
        self._begun = self._begun or bool(source)
        self._tail = (self._tail + source)[-LEFT:]


_CLOSES = {"{": "}", "[": "]"}


def _escaped(text: str) -> str:
    """Return ``text`` as it stands inside a JSON string."""
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate can only be written as an escape
        return json.dumps(text)[1:-1]
    return json.dumps(text, ensure_ascii=False)[1:-1]
