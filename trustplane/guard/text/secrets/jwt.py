"""JSON Web Tokens: three or five base64url parts, the first of which decodes to a JSON object with ``alg``."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule

__all__ = ["RULES", "is_jose_header"]

ENTITY = "JWT"
_LONGEST_HEADER = 2048
_PART = r"[A-Za-z0-9_-]"
_TOKEN = re.compile(
    rf"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))(e[wy]{_PART}{{8,{_LONGEST_HEADER}}})\.{_PART}{{2,16384}}+\.(?:{_PART}{{0,1400}}+)(?:\.{_PART}{{0,16384}}+\.{_PART}{{8,64}}+)?"
)


def is_jose_header(part: str) -> bool:
    """Return whether ``part`` is base64url of a JSON object with ``alg`` (RFC 7515 section 4.1.1)."""
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and isinstance(header.get("alg"), str)


def _search(text: str) -> Iterator[Hit]:
    for found in _TOKEN.finditer(text):
        if is_jose_header(found[1]):
            yield Hit(ENTITY, found.start(), found.end(), 1.0)


_EXAMPLE = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
    "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

RULES: tuple[Rule, ...] = (
    Rule(
        "own/secret/jwt",
        "1",
        (ENTITY,),
        _search,
        gate=(rf"e[wy]{_PART}{{8}}{_PART}*\.{_PART}{{2}}",),
        kind="secret",
        source="RFC 7519 section 3.1, RFC 7515 appendix A.1, RFC 7516",
        examples=(_EXAMPLE,),
        reach=4096,
    ),
)
