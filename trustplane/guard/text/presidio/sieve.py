"""The sieve: which gates cannot match a text, told from two cheap views of it: its words in lower case, its shape."""

from __future__ import annotations

import functools
import re
import re._constants as c  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import warnings
from typing import Any, NamedTuple

from trustplane.guard.text.presidio.charset import DIGIT, Ranges, has_no_case
from trustplane.guard.text.presidio.translate import Translation, UnableError, characters

__all__ = ["Factor", "digits_shown", "factor", "lowered", "shape_of", "shaped"]

MOST_LITERALS = 2048
_RE2_ALONE = re.compile(r"\\[pPzCQ]|\[\[:|\(\?[a-zA-Z]*[-U]")
_PLAIN = frozenset(" .,'\"-()/:;!?_\n\t")
"""Characters that ordinary text is full of: alone they sift nothing."""
_FOLDED = ((b"\xe2\x84\xaa", b"k"), (b"\xc5\xbf", b"s"), (b"\xc4\xb0", b"i"), (b"\xc4\xb1", b"i"))
"""Kelvin sign, long s and the Turkic i's in UTF-8: equal to an ASCII letter when case is ignored."""
_OTHER, _CJK = 0x80, 0x81
"""How the shape shows a character beyond ASCII: by the first byte of its UTF-8."""
_CJK_POINTS = ((0x3000, 0x9FFF), (0xB000, 0xDFFF))


class Factor(NamedTuple):
    """What a text must hold for a gate to match: one of ``literals`` (in lower case), or a ``shape``.

    Both empty: nothing is known, the gate is tried on every text. ``family``: shapes that may stand in one set;
    those with a digit are told apart by their letters and separators, since an automaton for all of them together
    has to remember the form of every number, and grows without end. ``digits``: each match has a digit in it.
    ``exact``: the gate matches wherever a literal stands, so there is nothing more to try.
    """

    literals: frozenset[str] = frozenset()
    shape: str = ""
    family: str = ""
    digits: bool = False
    exact: bool = False


def _table() -> bytes:
    table = bytearray(range(256))
    for byte in range(128):
        character = chr(byte)
        if character.isalnum():
            table[byte] = ord("0" if character.isdigit() else "A" if character.isupper() else "a")
    for lead in range(0xC2, 0xF5):
        table[lead] = _CJK if 0xE3 <= lead <= 0xE9 or 0xEB <= lead <= 0xED else _OTHER
    return bytes(table)


_SHAPES = _table()
_TAILS = bytes(range(0x80, 0xC0))
_DIGIT_LEADS = {chr(point).encode()[0] for low, high in DIGIT[0] for point in range(low, high + 1)}
_DIGITS = bytes(48 if byte in _DIGIT_LEADS else 45 for byte in range(256))


def shaped(data: bytes) -> bytes:
    """Return UTF-8 as its shape, a byte a character: ``0``, ``a`` and ``A`` for ASCII, 0x81 for CJK, 0x80 else."""
    return data.translate(_SHAPES, _TAILS)


def digits_shown(data: bytes) -> bytes:
    """Return UTF-8, a byte a character: ``0`` for whatever may be a decimal digit, ``-`` else."""
    return data.translate(_DIGITS, _TAILS)


def lowered(data: bytes, is_ascii: bool) -> bytes:
    """Return UTF-8 in lower case as far as a literal of a factor can tell."""
    if not is_ascii:
        for other, letter in _FOLDED:
            data = data.replace(other, letter)
    return data.lower()


@functools.lru_cache(maxsize=4096)
def factor(gate: str) -> Factor:
    """Return what every text must hold in which the RE2 pattern ``gate`` matches."""
    try:
        tree = _parse(gate)
        flags = tree.state.flags
        digits = _has_digit(tree, flags)
        literals = _required(list(tree), flags)
        if literals and _worth(literals) >= (3 if digits else 2):
            no_case = bool(flags & re.IGNORECASE) or not any("a" <= x <= "z" for literal in literals for x in literal)
            exact = no_case and _exact_sequence(tree, flags) == literals
            return Factor(frozenset(literals), digits=digits, exact=exact)
        if tree.getwidth()[0] == 0:
            return Factor()
        shape, family = _shape(tree)
        return Factor(shape=shape, family=family if digits else "", digits=digits)
    except (UnableError, re.error, OverflowError, RecursionError):
        return Factor()


def shape_of(gate: str) -> tuple[str, str]:
    """Return the shape that the RE2 pattern ``gate`` asks for, and its family.

    Raises:
        UnableError, re.error, OverflowError, RecursionError: it has none that is known here.
    """
    return _shape(_parse(gate))


def _shape(tree: Any) -> tuple[str, str]:
    walk = _Shape(16, ascii_only=True)
    return walk.sequence(tree, tree.state.flags), walk.family()


def _parse(gate: str) -> Any:
    """Parse RE2's notation with the standard library's parser; flags inside are taken to hold for all of it."""
    source = re.sub(r"\\x\{([0-9A-Fa-f]+)\}", lambda m: f"\\U{int(m.group(1), 16):08x}", gate)
    source = re.sub(r"\\p\{(\w+)\}", _property, source)
    if _RE2_ALONE.search(source):
        raise UnableError("notation of RE2 alone")
    letters = "i" if "(?i)" in source else ""
    source = source.replace("(?i)", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parser.parse(f"(?{letters}){source}" if letters else source, 0)


def _property(found: re.Match[str]) -> str:
    """Return the characters of a property as a class, more of them than there are."""
    before = re.sub(r"\\.", "", found.string[: found.start()])
    if before.count("[") != before.count("]"):
        raise UnableError("a property inside a class")
    return {"L": "[A-Za-z\u0080-\U0010ffff]", "Lu": "[A-Z\u0080-\U0010ffff]"}.get(found.group(1), found.group())


class _Shape(Translation):
    """The same walk as for a gate, over the few characters of a shape."""

    def family(self) -> str:
        seen = {byte for ranges in self.alphabet for byte in _bytes(ranges)}
        separators = seen - set(b"0aA\x80\x81")
        return ("letters" if seen & set(b"aA") else "") + ("many" if len(separators) > 6 else "few" * bool(separators))

    def _one(self, ranges: Ranges) -> str:
        found = _bytes(ranges)
        if not found:
            raise UnableError("an empty class")
        self.alphabet.append(ranges)
        return "[" + "".join(f"\\x{byte:02x}" for byte in sorted(found)) + "]"


@functools.lru_cache(maxsize=512)
def _bytes(ranges: Ranges) -> frozenset[int]:
    """Return how the shape shows the characters of ``ranges``."""
    found = {_SHAPES[byte] for low, high in ranges for byte in range(low, min(high, 127) + 1)}
    for low, high in ((max(low, 128), high) for low, high in ranges if high >= 128):
        if any(first <= high and low <= last for first, last in _CJK_POINTS):
            found.add(_CJK)
        if not any(first <= low and high <= last for first, last in _CJK_POINTS):
            found.add(_OTHER)
    return frozenset(found)


def _has_digit(items: Any, flags: int) -> bool:
    """Return whether every match of ``items`` has a decimal digit in it, or a character beyond ASCII in its place."""
    return any(_digit_in(op, argument, flags) for op, argument in items)


def _digit_in(op: Any, argument: Any, flags: int) -> bool:
    if op in (c.LITERAL, c.IN):
        return all(low >= 48 and (high <= 57 or low >= 128) for low, high in characters(op, argument, flags))
    if op is c.SUBPATTERN:
        return _has_digit(argument[3], (flags | argument[1]) & ~argument[2])
    if op in (c.MAX_REPEAT, c.MIN_REPEAT):
        return argument[0] > 0 and _has_digit(argument[2], flags)
    return op is c.BRANCH and all(_has_digit(branch, flags) for branch in argument[1])


def _worth(literals: set[str]) -> int:
    """Return how much the weakest literal tells: its bytes, more with a rare character in it."""
    return min(
        len(literal.encode()) + 2 * any(not x.isalnum() and x not in _PLAIN for x in literal) for literal in literals
    )


def _required(items: list[Any], flags: int) -> set[str] | None:
    """Return literals of which every match holds one, the set that tells most; ``None`` without one."""
    best: set[str] | None = None
    run = {""}

    def offer(candidate: set[str] | None) -> None:
        nonlocal best
        if candidate and "" not in candidate and (best is None or _worth(candidate) > _worth(best)):
            best = candidate

    for op, argument in items:
        if op in (c.AT, c.ASSERT, c.ASSERT_NOT):
            continue
        exact = _exact(op, argument, flags)
        if exact is not None and len(run) * len(exact) <= MOST_LITERALS:
            run = {before + after for before in run for after in exact}
            continue
        offer(run)
        run = {""}
        offer(_inside(op, argument, flags) if exact is None else exact)
    offer(run)
    return best


def _inside(op: Any, argument: Any, flags: int) -> set[str] | None:
    if op is c.SUBPATTERN:
        return _required(list(argument[3]), (flags | argument[1]) & ~argument[2])
    if op in (c.MAX_REPEAT, c.MIN_REPEAT) and argument[0] > 0:
        return _required(list(argument[2]), flags)
    if op is c.BRANCH:
        found: set[str] = set()
        for branch in argument[1]:
            part = _required(list(branch), flags)
            if not part or len(found) + len(part) > MOST_LITERALS:
                return None
            found |= part
        return found
    return None


def _exact(op: Any, argument: Any, flags: int) -> set[str] | None:
    """Return all texts, in lower case, that an item can match; ``None`` if they are too many to name."""
    if op in (c.LITERAL, c.IN):
        ranges = characters(op, argument, flags)
        if sum(high - low + 1 for low, high in ranges) > 12:
            return None
        found = {_lower(chr(point)) for low, high in ranges for point in range(low, high + 1)}
        return None if "" in found else found
    if op is c.SUBPATTERN:
        return _exact_sequence(argument[3], (flags | argument[1]) & ~argument[2])
    if op is c.BRANCH:
        parts = [_exact_sequence(branch, flags) for branch in argument[1]]
        if any(part is None for part in parts):
            return None
        united = {text for part in parts if part is not None for text in part}
        return united if len(united) <= MOST_LITERALS else None
    if op in (c.MAX_REPEAT, c.MIN_REPEAT) and argument[1] is not c.MAXREPEAT and argument[1] <= 2:
        body = _exact_sequence(argument[2], flags)
        if body is None or len(body) > 12:
            return None
        united = set()
        for times in range(argument[0], argument[1] + 1):
            grown = {""}
            for _ in range(times):
                grown = {before + after for before in grown for after in body}
            united |= grown
        return united
    return None


def _exact_sequence(items: Any, flags: int) -> set[str] | None:
    run = {""}
    for op, argument in items:
        if op in (c.AT, c.ASSERT, c.ASSERT_NOT):
            continue
        exact = _exact(op, argument, flags)
        if exact is None or len(run) * len(exact) > MOST_LITERALS:
            return None
        run = {before + after for before in run for after in exact}
    return run


def _lower(character: str) -> str:
    """Return a character as ``lowered`` shows it; empty for one whose case that does not settle."""
    if character.isascii():
        return character.lower()
    folded = {"\u212a": "k", "\u017f": "s", "\u0130": "i", "\u0131": "i"}.get(character)
    return folded or (character if has_no_case(character) else "")
