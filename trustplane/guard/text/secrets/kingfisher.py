"""Kingfisher as a second opinion on secrets: its rules run in memory, its places become hits."""

from __future__ import annotations

import functools
from typing import Any, Final

from trustplane.errors import missing_extra
from trustplane.guard.text.hit import Hit

__all__ = ["ENTITIES", "KingfisherFinder"]

_KINDS: Final = (
    (("private", "pem", "pgp"), "PRIVATE_KEY"),
    (("jwt", "jsonwebtoken"), "JWT"),
    (("connection", "mongodb", "postgres", "mysql", "redis", "odbc", "jdbc", "uri"), "CONNECTION_STRING"),
    (("password",), "PASSWORD"),
)
_SCORES: Final = {"high": 0.95, "medium": 0.8, "low": 0.5}

ENTITIES: Final = ("API_KEY", "PRIVATE_KEY", "CONNECTION_STRING", "JWT", "PASSWORD")
"""What a hit of the finder may be."""


class KingfisherFinder:
    """Finds secrets with MongoDB's Kingfisher (extra ``secrets``), in the process, with no file and no network.

    ``seconds``: longest time for one text; past it ``find`` raises, it never returns a part. Building one
    compiles some 500 rules, which takes seconds; the on-disk cache of the library stays off. Helpers that
    Kingfisher itself does not report (the secret half of an AWS key) count as hits here. Safe to share
    between threads.

    Source: https://github.com/mongodb/kingfisher (Apache-2.0).

    Raises:
        InputError: the extra is not installed.
    """

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._scanner = _scanner()

    def __repr__(self) -> str:
        return f"KingfisherFinder(rules={len(self._scanner.rules)})"

    @functools.cached_property
    def version(self) -> str:
        """The library's version, as it belongs into a policy's digest."""
        import importlib.metadata

        return importlib.metadata.version("kingfisher-secret-scanner")

    def find(self, text: str) -> list[Hit]:
        """Return the secrets in ``text`` in text order, offsets in code points of ``text``.

        A lone surrogate counts as one unknown character.

        Raises:
            TimeoutError: the scan took longer than ``seconds``.
        """
        data = text.encode("utf-8", "replace")  # a ``?`` for each lone surrogate: one code point stays one
        findings = self._scanner.scan(data, timeout=self._seconds)
        places = sorted(
            {(f.location["start_offset"], f.location["end_offset"], f.rule_id, f.confidence) for f in findings}
        )
        position = _positions(data, sorted({edge for place in places for edge in place[:2]}))
        return [
            Hit(_entity(rule), position[start], position[end], _SCORES.get(confidence, 0.5), "kingfisher/" + rule)
            for start, end, rule, confidence in places
            if position[start] < position[end]
        ]


@functools.cache
def _scanner() -> Any:
    try:
        import kingfisher_sdk
    except ModuleNotFoundError:
        raise missing_extra("kingfisher-secret-scanner", "secrets") from None
    return kingfisher_sdk.Scanner(kingfisher_sdk.Rules(cache=False), redact=False, dedup=False)


def _positions(data: bytes, edges: list[int]) -> dict[int, int]:
    """Map byte offsets, in order, to offsets in code points: one pass over the bytes."""
    found: dict[int, int] = {}
    characters = last = 0
    for edge in edges:
        characters += len(data[last:edge].decode("utf-8", "ignore"))
        found[edge] = characters
        last = edge
    return found


def _entity(rule: str) -> str:
    words = rule.lower()
    return next((entity for parts, entity in _KINDS if any(part in words for part in parts)), "API_KEY")
