"""Allow lists: values, domains and patterns that a policy lets through though a rule finds them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from trustplane.errors import InputError
from trustplane.guard.text.policy_file import Allow
from trustplane.guard.text.views import fold

__all__ = ["Allowed", "plain"]

_HOSTED = frozenset({"EMAIL_ADDRESS", "URL", "DOMAIN_NAME"})
"""Entities that have a domain."""


class Allowed:
    """The three lists of a policy, ready to be asked.

    ``values``: compared whole, after folding and without case. ``domains``: the host of an e-mail address or URL,
    or a domain above it. ``patterns``: RE2, must match the whole folded value.

    Raises:
        InputError: a pattern is not RE2, an entry is empty.
    """

    __slots__ = ("_domains", "_patterns", "_values")

    def __init__(self, lists: Allow) -> None:
        self._values = frozenset(_entries(lists.values, "values"))
        self._domains = frozenset(_host(d) for d in _entries(lists.domains, "domains"))
        self._patterns = [_compile(pattern, number) for number, pattern in enumerate(lists.patterns, 1)]

    def __bool__(self) -> bool:
        return bool(self._values or self._domains or self._patterns)

    def covers(self, value: str) -> bool:
        """Whether ``value`` as a whole is allowed, and with it all that is found inside."""
        shown = plain(value)
        return shown in self._values or any(p.fullmatch(shown) for p in self._patterns)

    def domain(self, entity: str, value: str) -> bool:
        """Whether an e-mail address or URL is at an allowed domain; what else it holds is still looked at."""
        if not self._domains or entity not in _HOSTED:
            return False
        labels = _host_of(plain(value)).split(".")
        return any(".".join(labels[i:]) in self._domains for i in range(len(labels)))


def plain(value: str) -> str:
    """Return a value as allow lists compare it: folded, without case, spaces around it dropped."""
    return fold(value).text.casefold().strip()


def _entries(entries: Iterable[str], key: str) -> list[str]:
    found = [plain(entry) for entry in entries]
    if not all(found):
        raise InputError(f"policy: an entry of allow.{key} is empty")
    return found


def _host(domain: str) -> str:
    return domain.removeprefix("*.").strip(".")


def _host_of(value: str) -> str:
    """Return the host, ``""`` where two readers could disagree about it."""
    if any(c in value for c in "\\\t\r\n "):
        return ""
    if "://" not in value:
        if "@" in value and "/" not in value:
            return value.rpartition("@")[2].strip(".")
        value = "//" + value
    try:
        return (urlsplit(value).hostname or "").strip(".")
    except ValueError:
        return ""


def _compile(pattern: str, number: int) -> Any:
    try:
        import re2
    except ImportError:
        from trustplane.errors import missing_extra

        raise missing_extra("google-re2", "guard") from None
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise InputError(
            f"policy: pattern {number} of allow.patterns is not RE2", hint="no look-around, no back-reference"
        ) from None
