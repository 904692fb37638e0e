"""Canonical JSON: one value, one byte string, so that a digest means the same thing everywhere.

RFC 8785 without floats: keys sorted by UTF-16 code units, UTF-8, no spaces, integers within ±(2^53 - 1).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

import msgspec

from trustplane.errors import InputError
from trustplane.step import MAX_INT

__all__ = ["digest", "dumps", "loads"]

MAX_DEPTH = 64
"""Deepest nesting taken; a hostile document cannot exhaust the stack."""

_sorted = msgspec.json.Encoder(order="deterministic")
_plain = msgspec.json.Encoder()


def _bad(message: str, hint: str = "") -> NoReturn:
    raise InputError(f"not canonical JSON: {message}", hint=hint)


def _check(value: Any, depth: int) -> bool:
    """Refuse what has no canonical form; return True where a key needs the UTF-16 order."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _check_text(value)
        return False
    if kind is int:
        if not -MAX_INT <= value <= MAX_INT:
            _bad("an integer outside ±(2^53 - 1)", "use a larger unit, or a string")
        return False
    if kind is bool or value is None:
        return False
    if depth > MAX_DEPTH:
        _bad(f"nested deeper than {MAX_DEPTH}")
    if kind is dict:
        astral = False
        for key, item in value.items():
            if type(key) is not str:
                _bad("a key that is not a string")
            if not key.isascii():
                _check_text(key)
                astral = astral or max(key) >= "\ud800"
            astral = _check(item, depth + 1) or astral
        return astral
    if kind is list or kind is tuple:
        astral = False
        for item in value:
            astral = _check(item, depth + 1) or astral
        return astral
    if kind is float:
        _bad("a float", "write a fraction as an integer with the unit in its key, such as epsilon_micro")
    _bad(f"a {kind.__name__}")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        _bad("a lone surrogate in a string")


def _by_utf16(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _by_utf16(value[k]) for k in sorted(value, key=lambda k: k.encode("utf-16-be"))}
    if isinstance(value, list | tuple):
        return [_by_utf16(item) for item in value]
    return value


def dumps(value: Any) -> bytes:
    """Return the canonical bytes of ``value``: dict, list, tuple, str, int, bool or None, nested.

    Raises:
        InputError: floats (NaN included), integers beyond 2^53 - 1, lone surrogates, other types.
    """
    if _check(value, 0):
        return _plain.encode(_by_utf16(value))
    return _sorted.encode(value)


def digest(value: Any) -> str:
    """Return ``sha256:<hex>`` of the canonical bytes of ``value``."""
    return "sha256:" + hashlib.sha256(dumps(value)).hexdigest()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _bad("a duplicate key")
    return found


def _no_float(_text: str) -> NoReturn:
    _bad("a float", "write a fraction as an integer with the unit in its key")


def loads(data: bytes | str) -> Any:
    """Read JSON that has a canonical form; it need not be in that form itself.

    Raises:
        InputError: malformed JSON or UTF-8, duplicate keys, floats, NaN, integers beyond 2^53 - 1, lone
            surrogates, nesting over 64.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, object_pairs_hook=_pairs, parse_float=_no_float, parse_constant=_no_float)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"not canonical JSON: {type(error).__name__}") from None
    except ValueError:  # int() of more than 4300 digits
        raise InputError("not canonical JSON: an integer outside ±(2^53 - 1)") from None
    _check(value, 0)
    return value
