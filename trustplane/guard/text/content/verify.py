"""Verification: whether a candidate is its word, given the gaps, repeats, digits and borders around it."""

from __future__ import annotations

from typing import Any, NamedTuple

from trustplane.guard.text.content.characters import LEET, is_han, is_joined
from trustplane.guard.text.content.patterns import Pattern

__all__ = ["Found", "Runs", "gap_kind", "verify"]

MAX_GAP = 3
"""Most characters between two letters of one word."""
_SELDOM_DOUBLED = frozenset("ahijkquvwxy")
"""Letters that English hardly doubles, so that one extra of them is already a disguise."""
_TALL = frozenset({("I", "l"), ("l", "i")})
"""Letters written for others that look the same in many typefaces."""
_STOPS = frozenset("，。！？；：、…,.!?;:\n\r\u2028")
_SUFFIXES = frozenset({"s", "es", "ed", "er", "ers", "ing", "ings", "in", "y", "ish"})
_AFTER_E = frozenset({"s", "d", "r", "rs"})
_SHORT = frozenset({"s", "es"})


class Found(NamedTuple):
    """A verified place of an entry in the folded text, half-open, and how it was written there."""

    entry: int
    start: int
    end: int
    form: str


class Runs(NamedTuple):
    """A text as runs of equal letters: ``first[k]`` and ``last[k]`` are the places of run ``k``.

    ``text``: folded. ``base``: its canonical letters, NUL where it has none; same length.
    """

    text: str
    base: str
    first: Any
    last: Any


def verify(view: Runs, low: int, high: int, pattern: Pattern) -> tuple[int, int, str] | None:
    """Return ``(start, end, form)`` in the folded text if runs ``low..high`` write the pattern, else None.

    Takes time in the number of runs, not in their length.
    """
    start, end = int(view.first[low]), int(view.last[high]) + 1
    joined = is_joined(ord(pattern.letters[-1]))
    suffix = "" if joined else _suffix(view.base, end, pattern)
    if suffix is None or not _open_left(view, start, pattern):
        return None
    read = _read(view, low, pattern.runs, suffix)
    if read is None:
        return None
    replaced, repeated = read
    spaced = _gaps(view, low, high, pattern, joined=joined)
    if spaced is None or (pattern.strict and (spaced or replaced or repeated or suffix)):
        return None
    if spaced and not joined and not _alone(view, low, high):
        return None
    if pattern.near and not any(is_han(ord(c)) for c in view.base[max(0, start - pattern.near) : end + pattern.near]):
        return None
    form = pattern.form
    if form == "plain":
        if spaced:
            form = "spaced"
        elif replaced:
            form = "leet"
        elif repeated:
            form = "repeated"
        elif suffix:
            form = "inflected"
        elif joined and not _written(view, start, end, pattern):
            form = "variant"
    return start, end + len(suffix), form


def gap_kind(text: str, start: int, end: int) -> str:
    """Return what ``text[start:end]`` between two letters is: ``none``, ``mark``, ``space``, ``stop`` or ``far``."""
    gap = text[start:end].strip("\u0336\u0335\u0337\u0338\u0332\u0305\u0333\u034f")
    if not gap:
        return "none"
    if len(gap) > MAX_GAP:
        return "far"
    if not _STOPS.isdisjoint(gap):
        return "stop"
    return "space" if gap.isspace() else "mark"


def _suffix(base: str, end: int, pattern: Pattern) -> str | None:
    """Return the inflection after the word, ``""`` at its border, None where it goes on as another word."""
    tail = base[end : end + 6]
    size = next((i for i, c in enumerate(tail) if c == "\0" or c.isdigit() or is_joined(ord(c))), len(tail))
    if not size:
        return ""
    rest = tail[:size]
    if pattern.strict or pattern.form == "inflected":
        return None
    doubled = base[end - 1 : end] == base[end - 2 : end - 1]
    allowed = _SHORT if len(pattern.letters) < 4 and not doubled else _SUFFIXES
    if rest == "es" and pattern.letters[-1] not in "eshxzo":
        return None
    if rest in allowed or (pattern.letters[-1] == "e" and rest in _AFTER_E):
        return rest
    return None


def _open_left(view: Runs, start: int, pattern: Pattern) -> bool:
    if is_joined(ord(pattern.letters[0])) or not start:
        return True
    before = view.base[start - 1]
    return before == "\0" or before.isdigit() or is_joined(ord(before)) or not before.isalnum()


def _read(view: Runs, low: int, wanted: tuple[str, ...], suffix: str) -> tuple[int, bool] | None:
    """Return how many letters are written as digits or symbols and whether any is repeated, or None."""
    replaced = digits = longer = 0
    doubtful = False
    for offset, letters in enumerate(wanted):
        first, last = int(view.first[low + offset]), int(view.last[low + offset])
        size, count = last - first + 1, len(letters)
        mixed = letters.strip(letters[0]) != ""
        if size < count or (mixed and size > count):
            return None
        if size > count and not (suffix and offset == len(wanted) - 1 and size == count + 1):
            longer += 1
            doubtful |= size < count + 2 and letters[0] not in _SELDOM_DOUBLED
        places = range(first, last + 1) if size == count else (first, last)
        for index, place in enumerate(places):
            letter = letters[index if size == count else 0]
            if view.base[place] == letter:
                continue
            written = view.text[place]
            if letter not in LEET.get(written, "") and (written, letter) not in _TALL:
                return None
            replaced += 1
            digits += written.isdigit()
    total = sum(map(len, wanted))
    if (doubtful and longer < len(wanted)) or (replaced and (replaced >= total or (total < 4 and digits > total - 3))):
        return None
    return replaced, longer > 0


def _gaps(view: Runs, low: int, high: int, pattern: Pattern, *, joined: bool) -> bool | None:
    """Return whether the letters are spaced out, or None where the gaps say that it is not one word."""
    kinds: list[str] = []
    widths = set()
    position = 0
    for run in range(low, high):
        position += len(pattern.runs[run - low])
        after, before = int(view.last[run]) + 1, int(view.first[run + 1])
        kind = gap_kind(view.text, after, before)
        if kind == "far":
            return None
        if position in pattern.breaks:
            if kind == "stop" and "\n" not in view.text[after:before]:
                return None
            continue
        kinds.append(kind)
        widths.add(before - after)
    gaps = [kind for kind in kinds if kind != "none"]
    if not gaps:
        return False
    every = len(gaps) == len(kinds)
    if joined:
        if "stop" in gaps and not (every and len(kinds) > 1 and len(widths) == 1):
            return None
        return True
    if every and len(kinds) > 1 and len(widths) == 1:
        return True
    if "space" in gaps or "stop" in gaps[1:] or len(kinds) < 3 or max(widths) > 1:
        return None
    return True


def _alone(view: Runs, low: int, high: int) -> bool:
    """Whether letters with gaps are not part of a longer row of letters with the same gaps."""
    if high == low:
        return True
    width = int(view.first[low + 1]) - int(view.last[low]) - 1
    if not width:
        return True
    after, before = int(view.last[high]) + 1, int(view.first[low])
    return not (_single(view.base, after, width, 1) or _single(view.base, before - 1, width, -1))


def _single(base: str, place: int, width: int, step: int) -> bool:
    """Whether a gap of ``width`` and then one letter that stands alone follow, in the direction of ``step``."""
    letters = [base[i] if 0 <= i < len(base) else "\0" for i in range(place, place + step * (width + 2), step)]
    gap, letter, beyond = letters[:width], letters[width], letters[width + 1]
    return set(gap) == {"\0"} and letter.isalpha() and not is_joined(ord(letter)) and beyond == "\0"


def _written(view: Runs, start: int, end: int, pattern: Pattern) -> bool:
    """Whether the text shows the canonical letters themselves."""
    return view.text[start:end].lower() == view.base[start:end] or view.text[start:end] == pattern.letters
