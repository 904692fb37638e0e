"""Placeholders: what stands where a secret would stand and is none, and how random a value looks."""

from __future__ import annotations

import math
import re
from collections import Counter

__all__ = ["entropy", "is_mixed", "is_placeholder", "is_stock"]

_LONGEST = 200
"""Nobody writes a placeholder longer than this; a longer value is judged by its form alone."""
_LONGEST_WORDS = 64
_WORD = (
    r"your|yours|my|example|sample|dummy|placeholder|changeme|change|change_me|replace|replaceme|redacted|insert|todo|fixme|masked"
    r"|hidden|removed|foobar|null|none|undefined|test|fake|xxx+|here"
)
_SEPARATED = re.compile(rf"(?i)(?:^|[^A-Za-z0-9])(?:{_WORD})(?:$|[^A-Za-z0-9])")
_STOCK = re.compile(
    r"(?i)(?:^|[^A-Za-z0-9])(?:your|example|sample|dummy|placeholder|changeme|redacted|insert|replace|fake|xxx+)(?:$|[^A-Za-z0-9])"
)
_WHOLE = re.compile(
    r"(?i)(?:"
    r"[x*.•_#?-]+|(?:x{2,}[-_ ]?)+"
    r"|your[-_ ]?\w*|<[^<>]*>|\[[^\[\]]*\]|\$\{[^{}]*\}?|\$\([^()]*\)?|\$\w+|\{\{[^{}]*\}?\}?|\{\w*\}"
    r"|%\w+%|%[sdr]|%\(\w+\)s|@\w+@|#\{[^{}]*\}?"
    r"|changeme|change[-_ ]?(?:me|it|this)\w*"
    r"|replace[-_ ]?(?:me|this|with)\w*|placeholder|example|sample|dummy|redacted"
    r"|null|none|nil|undefined|true|false|yes|no|n/?a|tbd|todo|empty|string|str|text|bytes|int|integer|bool|boolean|any|void|object"
    r"|password|passwd|pass|pwd|passphrase|secret|token|api[-_]?key|access[-_]?token|key|value|required|optional|hidden|masked|encrypted|unknown"
    r"|incorrect|invalid|wrong|missing|expired|correct|not|set|unset|reset|forgotten|protected|the|a|an"
    r"|mypassword|my[-_]password|mysecret|my[-_]secret|yourpassword|foobar|foo|bar|baz|abc|user|username|admin_password|db_password"
    r")"
)
_ENVIRONMENT = re.compile(
    r"(?i)(?:os\.|process\.|env[.\[(:]|getenv|environ|config[.\[(]|settings[.\[(]|secrets?[.\[(]|self\.|this\.|vault[.:\[(]"
    r"|args\.|opts?\.|options\.|params?[.\[]|request\.|req\.|data[.\[]|file[.:(]|ref\+|arn:|ENC\[|!vault|!ref|!env)"
)


def entropy(value: str) -> float:
    """Return Shannon's entropy of the characters of ``value`` in bits a character, 0 for an empty one."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values()) if size else 0.0


def is_stock(body: str) -> bool:
    """Return whether the part of a token behind its prefix is made up: ``xxxx``, ``your-key-here``, ``0000``."""
    return len(body) <= _LONGEST and ((len(body) >= 8 and len(set(body)) < 5) or _STOCK.search(body) is not None)


def is_mixed(body: str) -> bool:
    """Return whether ``body`` has letters and digits, or letters of both cases."""
    lower, upper = any(c.islower() for c in body), any(c.isupper() for c in body)
    return (lower and upper) or ((lower or upper) and any(c.isdigit() for c in body))


def is_placeholder(value: str) -> bool:
    """Return whether ``value`` stands for a secret instead of being one: ``changeme``, ``${VAR}``, ``<your-key>``."""
    if not value or len(value) > _LONGEST_WORDS:
        return not value
    return (
        _WHOLE.fullmatch(value) is not None
        or _ENVIRONMENT.match(value) is not None
        or _SEPARATED.search(value) is not None
        or (len(value) >= 4 and len(set(value)) < 3)
        or "..." in value
        or "…" in value
        or "****" in value
    )
