"""Private keys: PEM, OpenSSH, PGP, PuTTY, SSH2 and JWK, whole or cut short."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule

__all__ = ["RULES"]

ENTITY = "PRIVATE_KEY"
_PEM = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{0,40})PRIVATE KEY(?: BLOCK)?-----"
    r"[^\x00]*?(?:-----END \1PRIVATE KEY(?: BLOCK)?-----|(?=\x00)|\Z)"
)
_SSH2 = re.compile(
    r"---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----[^\x00]*?(?:---- END SSH2 [A-Z ]{0,24}KEY ----|(?=\x00)|\Z)"
)
_PUTTY = re.compile(r"PuTTY-User-Key-File-\d: [^\x00]*?(?:Private-MAC: [0-9a-f]{40,64}|(?=\x00)|\Z)")
_JWK = re.compile(r'"(?:d|dp|dq|qi|k)"[ \t]{0,4}:[ \t]{0,4}"([A-Za-z0-9_-]{22,1400})"')
_JWK_KIND = re.compile(r'"kty"\s{0,4}:\s{0,4}"(?:RSA|EC|OKP|oct)"')
_JWK_REACH = 8192
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BODY_LINE = re.compile(r"[A-Za-z0-9+/=]{1,76}[ \t]{0,2}\Z")


def _armoured(text: str) -> Iterator[Hit]:
    """A key without its end reaches to the end of the text, or to a NUL, which separates texts."""
    whole: set[int] = set()
    covered = 0
    for pattern in (_PEM, _SSH2, _PUTTY):
        for found in pattern.finditer(text):
            whole.add(found.end())
            yield Hit(ENTITY, found.start(), found.end(), 1.0)
    for end in _END.finditer(text):
        if end.end() not in whole and (start := _tail(text, end.start(), covered)) < end.start():
            yield Hit(ENTITY, start, end.end(), 0.95)
        covered = end.end()


def _tail(text: str, end: int, floor: int) -> int:
    """Return where the base64 lines that lead up to ``end`` begin: a key whose head was cut off."""
    start = end
    while start > floor:
        line_end = start - 1 if text[start - 1] == "\n" else start
        if line_end == start and start != end:
            break
        line_start = max(text.rfind("\n", floor, line_end) + 1, floor)
        if line_end - line_start > 80 or not _BODY_LINE.match(text[line_start:line_end].rstrip("\r")):
            break
        start = line_start
    return start


def _web_keys(text: str) -> Iterator[Hit]:
    kinds = [found.start() for found in _JWK_KIND.finditer(text)]
    nearest = 0
    for found in _JWK.finditer(text):
        while nearest + 1 < len(kinds) and abs(kinds[nearest + 1] - found.start()) <= abs(
            kinds[nearest] - found.start()
        ):
            nearest += 1
        if kinds and abs(kinds[nearest] - found.start()) <= _JWK_REACH:
            yield Hit(ENTITY, found.start(1), found.end(1), 0.9)


_EXAMPLE = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----"

RULES: tuple[Rule, ...] = (
    Rule(
        "own/secret/private_key",
        "1",
        (ENTITY,),
        _armoured,
        gate=("(?:BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY", "PuTTY-User-Key-File-"),
        kind="secret",
        source="RFC 7468, RFC 4880 section 6.2, RFC 4716, https://tartarus.org/~simon/putty-snapshots/htmldoc/AppendixC.html",
        examples=(_EXAMPLE, _EXAMPLE[:50], _EXAMPLE[28:]),
        reach=16384,
    ),
    Rule(
        "own/secret/json_web_key",
        "1",
        (ENTITY,),
        _web_keys,
        gate=('"kty"',),
        kind="secret",
        source="RFC 7517, RFC 7518 section 6",
        examples=('{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}',),
        reach=_JWK_REACH,
    ),
)
