"""Tokens that a provider gives a form of its own: one rule a form, read from the table beside this module."""

from __future__ import annotations

import functools
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.secrets.forms import Form, github_check, sample
from trustplane.guard.text.secrets.placeholders import is_mixed, is_stock

__all__ = ["PROVIDERS", "RULES", "Token"]

ENTITY = "API_KEY"
SCORE, LIKELY, WEAK = 0.95, 0.85, 0.6
"""A form with a prefix of its own; a value without one behind its key; a token whose check digits are wrong."""
_SHORT_PREFIX = 4
"""A prefix shorter than this also occurs inside base64, whose characters then may not stand beside the token."""
_LEFT = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_RIGHT = r"(?![A-Za-z0-9])"
_RIGHT_STRICT = r"(?![A-Za-z0-9+/_-])"
_BASE64, _BASE64_LEFT = re.compile(r"[A-Za-z0-9+/_-]+"), re.compile(r"[A-Za-z0-9+/]+\Z")
_JOINED = 24
"""So many characters of base64 beside a token, joined to it by ``+``, ``/``, ``_`` or ``-``, are no path or sign."""
_BETWEEN = (
    r"[A-Za-z0-9_.-]{0,16}+[\"'`\])]{0,2}+[ \t]{0,4}+"
    r"(?:(?:=>|:=|==|[:=>,：]|is\b|为|是)[ \t]{0,4}+|(?<=[ \t])|(?<=[\"']))"
    r"(?:Token |token |Bearer |SSWS )?(?:\\?[\"'`(])?+"
)
"""What may stand between the name of a key and its value, in code, YAML, JSON, headers, commands and prose."""


class Token(NamedTuple):
    """A row of the table: ``form`` is pattern and recipe, ``loose`` is searched instead where it is given.

    ``context``: pattern (no case) of the key that must stand before a value without a prefix of its own.
    ``check``: ``github`` (CRC-32 lifts the score), ``mixed`` (letters and digits wanted), or nothing.
    """

    id: str
    provider: str
    form: str
    source: str
    loose: str = ""
    context: str = ""
    check: str = ""

    def example(self, rng: random.Random) -> str:
        """Return an invented token of this form, with its check digits; random values with no owner."""
        return sample(self.form, rng, self.check)

    def key(self) -> str:
        """Return a name that ``context`` takes, ``""`` where none is needed."""
        return Form(self.context).sample(random.Random(self.id), longest=1) if self.context else ""  # noqa: S311


def _load() -> tuple[Token, ...]:
    table = tomllib.loads(Path(__file__).with_name("providers.toml").read_text("utf-8"))
    return tuple(Token(name, **row) for name, row in table.items())


PROVIDERS: Final = _load()


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _search(token: Token) -> Callable[[str], Iterator[Hit]]:
    form = token.loose or token.form
    prefix = Form(form).prefix
    strict = len(prefix) < _SHORT_PREFIX and not token.context
    body = f"({form})" + (_RIGHT_STRICT if token.context else _RIGHT)
    left = f"(?i:{token.context}){_BETWEEN}" if token.context else _LEFT

    def search(text: str) -> Iterator[Hit]:
        for found in _compiled(left + body).finditer(text):
            value = found[1]
            rest = value.removeprefix(prefix)
            if strict and _in_base64(text, *found.span(1)):
                continue
            if is_stock(rest) or (token.check == "mixed" and not is_mixed(rest)):
                continue
            score = LIKELY if token.context else SCORE
            if token.check == "github":
                score = 1.0 if github_check(value[:-6].partition("_")[2]) == value[-6:] else WEAK
            yield Hit(ENTITY, found.start(1), found.end(1), score)

    return search


def _in_base64(text: str, start: int, end: int) -> bool:
    """Return whether characters of base64 join a token to so many others that it is a piece of them."""
    left = text[start - 1 : start] in ("+", "/") and _BASE64_LEFT.search(text[max(0, start - _JOINED) : start])
    right = text[end : end + 1] in ("+", "/", "_", "-") and _BASE64.match(text, end, end + _JOINED)
    return (len(left[0]) if left else 0) + (len(right[0]) if right else 0) >= _JOINED


def _rule(token: Token) -> Rule:
    key = token.key()
    value = token.example(random.Random(token.id))  # noqa: S311
    gate = f"(?i:{token.context})" if token.context else Form(token.loose or token.form).gate
    return Rule(
        f"own/secret/{token.id}",
        "1" if token.context else "2",
        (ENTITY,),
        _search(token),
        gate=(gate,),
        kind="secret",
        source=token.source,
        examples=(f'{key} = "{value}"' if key else value,),
        reach=1024,
    )


RULES: Final[tuple[Rule, ...]] = tuple(_rule(token) for token in PROVIDERS)
