"""Prefilters: for a pattern of Python's, RE2 patterns that match wherever the pattern does, and little else."""

from __future__ import annotations

import functools
import re
import warnings
from typing import Any, NamedTuple

from trustplane.guard.text.presidio.charset import ANY, Ranges, union
from trustplane.guard.text.presidio.spread import Spread, is_plain, look_back, spread
from trustplane.guard.text.presidio.translate import Translation, UnableError

__all__ = ["Gate", "Prefilter", "prefilter"]

CLAMPS = (64, 8)
"""Longest bounded repeat that is kept; longer ones become unbounded. The second is tried where RE2 refuses
the first."""
_REGEX_ASCII = 0x80
_KNOWN_FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.UNICODE | _REGEX_ASCII
_POSIX = re.compile(r"\[:\^?\w+:\]")
_FLAG_GROUP = re.compile(r"\(\?([aimsux]+)\)")


class Gate(NamedTuple):
    """RE2 patterns for one pattern: ``inside`` matches each span that the pattern matches (other spans too);
    ``texts`` all match somewhere in each text in which the pattern matches."""

    inside: str
    texts: tuple[str, ...]


class Prefilter(NamedTuple):
    """What is known of a pattern without running it.

    ``any``: gate for every text; ``ascii``: a closer one for texts of ASCII characters alone. Both ``None``
    where there is none, and ``reason`` says why: the pattern then runs as it is on every text.
    ``alphabet``: the characters that a match and its look-aheads can run through; ``ANY`` where they can see
    the whole text. ``risky``: repeats stand inside repeats, so its time is not bounded by a power of the length.
    ``far_behind``: a look-behind of it can go back without end. ``spread``: how far matches reach from digits.
    ``plain``: an ASCII text matches where its shape does. ``back``: characters that look-behinds look at.
    ``least``: length of the shortest match.
    """

    any: Gate | None
    ascii: Gate | None
    alphabet: Ranges = ANY
    risky: bool = True
    far_behind: bool = False
    reason: str = ""
    spread: Spread = Spread(none=0)
    plain: bool = False
    back: int = 0
    least: int = 0


@functools.lru_cache(maxsize=1024)
def prefilter(pattern: str, flags: int) -> Prefilter:
    """Translate ``pattern`` of the ``regex`` module (version 0 behaviour, ``flags`` as given to it).

    Dropped: look-around, ``\\b``, ``^``, ``$`` (kept, or turned into a neighbour, for ASCII texts). Relaxed:
    atomic and possessive groups, long repeats, a back-reference (any text that its group could match), Unicode
    classes (a superset, whatever the version of the tables), case folding (a superset). What the standard
    library reads differently from ``regex`` (POSIX classes, fuzzy matching, its own escapes and flags) is not
    translated.

    ``prefilter`` never raises: a pattern that cannot be translated comes back without gates.
    """
    try:
        tree = _parse(pattern, flags)
    except UnableError as error:
        return Prefilter(None, None, reason=str(error))
    except (re.error, OverflowError, RecursionError):
        return Prefilter(None, None, reason="syntax of the regex module alone")
    if tree.getwidth()[0] == 0:
        return Prefilter(None, None, reason="can match nothing")
    for clamp in CLAMPS:
        wide, close = Translation(clamp, ascii_only=False), Translation(clamp, ascii_only=True)
        try:
            gates = _gate(wide, tree), _gate(close, tree)
        except (UnableError, RecursionError):
            return Prefilter(None, None, reason="a construct that is not known here")
        if all(_takes(source) for gate in gates for source in (gate.inside, *gate.texts)):
            reach, plain = spread(tree, tree.state.flags), is_plain(tree, tree.state.flags)
            alphabet = union(wide.alphabet)
            return Prefilter(
                *gates,
                alphabet,
                wide.risky,
                wide.far_behind,
                "",
                reach,
                plain,
                look_back(tree),
                int(tree.getwidth()[0]),
            )
    return Prefilter(None, None, reason="RE2 cannot take it")


def _gate(walk: Translation, tree: Any) -> Gate:
    inside, text = walk.whole(tree, tree.state.flags)
    return Gate(inside, tuple(dict.fromkeys((text, *walk.needs))))


def _takes(source: str) -> bool:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(source, options)
    except re2.error:
        return False
    return True


def _parse(pattern: str, flags: int) -> Any:
    import re._parser as parser  # type: ignore[import-not-found]

    if flags & ~int(_KNOWN_FLAGS):
        raise UnableError("flags of the regex module alone")
    wanted = re.RegexFlag(flags & ~_REGEX_ASCII) | (re.ASCII if flags & _REGEX_ASCII else 0)
    if _POSIX.search(pattern) or any(0xD800 <= ord(x) <= 0xDFFF or x == "\ufffd" for x in pattern):
        raise UnableError("POSIX class or surrogate")
    pattern, letters = _hoist(pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parser.parse(f"(?{letters}){pattern}" if letters else pattern, int(wanted))


def _hoist(pattern: str) -> tuple[str, str]:
    """Take flag groups out of ``pattern``: ``regex`` applies them to the whole of it, wherever they stand."""
    pieces: list[str] = []
    letters = ""
    position, in_class = 0, 0
    while position < len(pattern):
        here = pattern[position]
        if here == "\\":
            pieces.append(pattern[position : position + 2])
            position += 2
            continue
        if in_class:
            in_class = 0 if here == "]" and position > in_class else in_class
        elif here == "[":
            in_class = position + (2 if pattern[position + 1 : position + 2] == "^" else 1)
        elif found := _FLAG_GROUP.match(pattern, position):
            letters += found.group(1)
            position = found.end()
            continue
        elif here == "{" and not re.match(r"\{\d*,?\d*\}", pattern[position:]):
            raise UnableError("fuzzy matching or a bare brace")
        pieces.append(here)
        position += 1
    return "".join(pieces), "".join(sorted(set(letters)))
