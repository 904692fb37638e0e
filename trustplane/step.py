"""The words of the log: what was done (Step), on which artefacts (Ref), with which findings (Finding)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trustplane.errors import InputError

__all__ = ["Finding", "Ref", "Step"]

MAX_INT = 2**53 - 1
"""Largest integer every JSON reader keeps exact (RFC 8259 section 6, RFC 7493)."""
MAX_TEXT = 256
"""Longest string in evidence, in characters: room for a digest or a rule id, not for a document."""

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_known_keys: set[str] = set()
NO_FACTS: dict[str, Any] = {}
_set = msgspec.structs.force_setattr


class Ref(msgspec.Struct, frozen=True, omit_defaults=True):
    """The kind and digest of an artefact, never its content.

    ``kind``: ``text``, ``dataset``, ``model``, ``policy``, ``detector``, ``key`` ...
    ``digest``: ``sha256:<hex>``, or ``hmac-sha256:<hex>`` where the content is personal.
    ``name`` and ``version``: what a person calls it; no personal values.
    """

    digest: str
    kind: str
    name: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        for text in (self.digest, self.kind, self.name, self.version):
            if not text.isascii():
                _check_text(text, "a reference")


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a rule hit: rule id, place and confidence, never the matched text.

    ``score`` is in 0..1; ``start`` and ``end`` are character offsets in the original; ``place`` names
    the field, such as ``messages[0].content``.
    """

    rule: str
    score: float
    start: int = 0
    end: int = 0
    place: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:  # NaN included
            raise InputError("a finding's score is not in 0..1")
        if not 0 <= self.start <= MAX_INT or not 0 <= self.end <= MAX_INT:
            raise InputError("a finding's place is out of range")
        if not self.rule.isascii() or not self.place.isascii():
            _check_text(self.rule + self.place, "a finding")

    def evidence(self) -> dict[str, Any]:
        """Return the canonical form: the score becomes ``score_milli``, an integer in 0..1000."""
        found: dict[str, Any] = {"rule": self.rule, "score_milli": round(self.score * 1000)}
        if self.end:
            found["end"] = self.end
            found["start"] = self.start
        if self.place:
            found["place"] = self.place
        return found


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was done. It has no clock and no index: the log adds them.

    ``action``: what was done, such as ``guard.text.mask`` or ``收入验证``.
    ``result``: the outcome in a word, such as ``masked``, ``granted``, ``refused``.
    ``inputs``, ``outputs``: artefacts as :class:`Ref`.
    ``agents``: the model, policy, detectors and people that acted, as :class:`Ref` with versions.
    ``facts``: integers, booleans and short strings, the unit in the key (``latency_us``,
    ``epsilon_micro``); a fraction is an integer of a smaller unit.

    Nothing here may be personal: content goes through the request API, which commits to it or seals it.

    Raises:
        InputError: a key is not ``[a-z][a-z0-9_]*``, a value is a float, too long or out of range.
    """

    action: str
    result: str = "done"
    inputs: tuple[Ref, ...] = ()
    outputs: tuple[Ref, ...] = ()
    agents: tuple[Ref, ...] = ()
    findings: tuple[Finding, ...] = ()
    facts: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if (
            type(self.action) is not str or type(self.result) is not str or type(self.facts) is not dict
            or (self.agents and not _all(self.agents, Ref)) or (self.inputs and not _all(self.inputs, Ref))
            or (self.outputs and not _all(self.outputs, Ref)) or (self.findings and not _all(self.findings, Finding))
        ):  # fmt: skip
            raise InputError("a step takes words, tuples of Ref and Finding, and a dict of facts")
        facts = self.facts.copy() if self.facts else NO_FACTS  # the caller may go on to change theirs
        for key, value in facts.items():  # the common kinds inline: callers pay for each step
            if key in _known_keys:
                kind = type(value)
                if kind is int:
                    if -9007199254740991 <= value <= 9007199254740991:
                        continue
                elif kind is bool or (kind is str and len(value) <= 256 and value.isascii()):
                    continue
            if type(value) is list:
                facts[key] = value = tuple(value)
            check_fact(key, value)
        _set(self, "facts", facts)
        if not 0 < len(self.action) <= 256 or len(self.result) > 256:
            raise InputError(f"a step needs an action and a result of 1 to {MAX_TEXT} characters")
        if not (self.action.isascii() and self.result.isascii()):
            _check_text(self.action + self.result, "a step")


def _all(items: Any, kind: type) -> bool:
    return type(items) is tuple and all(type(item) is kind for item in items)


def _check_text(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what} holds a lone surrogate") from None


def check_fact(key: str, value: Any) -> None:
    """Refuse a fact that canonical JSON cannot carry or that looks like content."""
    if not isinstance(key, str) or not _KEY.match(key):
        raise InputError("a fact's key is not of the form [a-z][a-z0-9_]*")
    if len(_known_keys) < 4096:
        _known_keys.add(key)
    if type(value) is tuple or type(value) is list:
        for item in value:
            _check_scalar(key, item)
    else:
        _check_scalar(key, value)


def _check_scalar(key: str, value: Any) -> None:
    kind = type(value)
    if kind is int:
        if not -MAX_INT <= value <= MAX_INT:
            raise InputError(f"fact {key} is outside ±(2^53 - 1)", hint="use a larger unit")
    elif kind is str:
        if len(value) > MAX_TEXT:
            raise InputError(f"fact {key} is longer than {MAX_TEXT} characters", hint="record a digest")
        if not value.isascii():
            _check_text(value, f"fact {key}")
    elif kind is not bool and value is not None:
        raise InputError(
            f"fact {key} is a {kind.__name__}",
            hint="a fraction is an integer with the unit in its key, such as epsilon_micro",
        )
