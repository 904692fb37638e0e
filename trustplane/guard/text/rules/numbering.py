"""Numbering plans of countries, compiled once from the metadata of ``phonenumbers``."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

__all__ = ["Plan", "country_code", "international", "plan"]

_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip


class Plan(NamedTuple):
    """What is a number in one region: national (significant) numbers, the trunk prefix, ways to group the digits.

    ``valid``: matches a national number of any kind in full. ``prefix``: what may stand before it, with ``transform``
    as in ``phonenumbers``. ``formats``: (leading digits, pattern with a group for each block of digits).
    ``lengths``: how many digits a number may have with what stands before it. ``widths``: for each format the fewest
    and the most digits of each block. ``starts``: by the length of a national number, the two digits that it may
    begin with. ``leads``: the digits that ``prefix`` may begin with.
    """

    region: str
    code: int
    valid: re.Pattern[str]
    prefix: re.Pattern[str] | None
    transform: str | None
    formats: tuple[tuple[re.Pattern[str] | None, re.Pattern[str]], ...]
    lengths: range
    widths: tuple[tuple[tuple[int, int], ...], ...]
    starts: dict[int, frozenset[str]]
    leads: frozenset[str]

    def national(self, digits: str) -> tuple[str, bool] | None:
        """Return the national number in ``digits`` and whether it had a trunk prefix, None if there is none."""
        if len(digits) not in self.lengths:
            return None
        if (
            self.prefix is not None
            and digits[:1] in self.leads
            and (found := self.prefix.match(digits))
            and found.end()
        ):
            rest = digits[found.end() :]
            if self.transform and found.lastindex and found[found.lastindex] is not None:
                rest = found.expand(self.transform) + rest
            if self._may_be(rest) and self.valid.fullmatch(rest):
                return rest, len(rest) <= len(digits)
        return (digits, False) if self._may_be(digits) and self.valid.fullmatch(digits) else None

    def _may_be(self, national: str) -> bool:
        """Return whether a national number may have this length and begin with these two digits."""
        starts = self.starts.get(len(national))
        return starts is not None and national[:2] in starts

    def blocks(self, national: str) -> list[tuple[int, ...]]:
        """Return the usual ways to group the digits of a national number, as lengths."""
        found = []
        for leading, pattern in self.formats:
            if (leading is None or leading.match(national)) and (match := pattern.fullmatch(national)):
                found.append(tuple(len(part) for part in match.groups()))
        return found

    def may_group(self, sizes: tuple[int, ...]) -> bool:
        """Return whether some number with at most one group or three digits before it may be grouped by ``sizes``."""
        return _may_group(self.widths, sizes)


@functools.lru_cache(maxsize=16384)
def _may_group(widths: tuple[tuple[tuple[int, int], ...], ...], sizes: tuple[int, ...]) -> bool:
    for groups in widths:
        if len(sizes) - len(groups) not in (0, 1) or len(sizes) < 2:
            continue
        tail = sizes[-len(groups) :]
        first = groups[0][1] if len(sizes) > len(groups) else groups[0][1] + 3
        rest = zip(tail[1:], groups[1:], strict=True)
        if groups[0][0] <= tail[0] <= first and all(low <= size <= high for size, (low, high) in rest):
            return True
    return False


_GROUP = re.compile(r"\(((?:[^()]|\(\?:[^()]*\))*)\)")
_ATOM = re.compile(r"(?:\\d|\[[^\]]*\]|\d)(?:\{(\d+)(?:,(\d+))?\}|(\?))?")


def _width(group: str) -> tuple[int, int]:
    """Return how few and how many digits a group of a format takes; any number where it is no row of atoms."""
    low = high = at = 0
    for atom in _ATOM.finditer(group):
        if atom.start() != at:
            break
        at = atom.end()
        low += 0 if atom[3] else int(atom[1] or 1)
        high += int(atom[2] or atom[1] or 1)
    return (low, high) if at == len(group) else (0, 20)


@functools.cache
def plan(region: str) -> Plan:
    """Return the plan of a region (ISO 3166 code) that ``phonenumbers`` supports."""
    from phonenumbers import PhoneMetadata

    return _compile(region, PhoneMetadata.metadata_for_region(region))


def _compile(region: str, metadata: Any) -> Plan:
    kinds = [kind for name in _KINDS if (kind := getattr(metadata, name)) and kind.national_number_pattern]
    parts, sizes = [], set()
    starts: dict[int, frozenset[str]] = {}
    for kind in kinds:
        lengths = [n for n in kind.possible_length or metadata.general_desc.possible_length if n > 0]
        sizes |= set(lengths)
        begins = _begins(kind.national_number_pattern, 2)
        for length in lengths or range(1, 32):
            starts[length] = starts.get(length, frozenset()) | begins
        size = "|".join(rf"\d{{{n}}}\Z" for n in lengths) or r"\d*\Z"
        parts.append(rf"(?:(?={size})(?:{kind.national_number_pattern}))")
    prefix = metadata.national_prefix_for_parsing
    formats = _formats(metadata)
    main = _codes()[str(metadata.country_code)][0]
    if not formats and main != region:
        formats = plan(main).formats
    return Plan(
        region, metadata.country_code, re.compile("|".join(parts) or r"(?!)", re.ASCII),
        re.compile(prefix, re.ASCII) if prefix else None, metadata.national_prefix_transform_rule, formats,
        range(min(sizes, default=0) - (4 if metadata.national_prefix_transform_rule else 0), max(sizes, default=0) + 6),
        tuple({tuple(_width(group) for group in _GROUP.findall(pattern.pattern)) for _, pattern in formats}),
        starts, _begins(prefix, 1) if prefix else frozenset(),
    )  # fmt: skip


def _begins(pattern: str, width: int) -> frozenset[str]:
    """Return the texts of ``width`` digits, and of fewer, that a match of ``pattern`` may begin with."""
    import regex  # type: ignore[import-untyped]

    every = [f"{number:0{size}d}" for size in range(1, width + 1) for number in range(10**size)]
    if "(?!" in pattern or "(?<" in pattern:  # what these see behind the digits is not known
        return frozenset(every)
    compiled = regex.compile(pattern)
    return frozenset(digits for digits in every if compiled.match(digits, partial=True))


def _formats(metadata: Any) -> tuple[tuple[re.Pattern[str] | None, re.Pattern[str]], ...]:
    rows = []
    for entry in (*metadata.number_format, *metadata.intl_number_format):
        leading = re.compile(entry.leading_digits_pattern[-1], re.ASCII) if entry.leading_digits_pattern else None
        rows.append((leading, re.compile(entry.pattern, re.ASCII)))
    return tuple(rows)


@functools.cache
def _codes() -> dict[str, tuple[str, ...]]:
    import phonenumbers

    return {str(code): names for code, names in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()}


def country_code(digits: str) -> str | None:
    """Return the country code that ``digits`` begin with (ITU-T E.164), None if none does."""
    return next((digits[:n] for n in (1, 2, 3) if digits[:n] in _codes()), None)


@functools.cache
def international(code: str) -> tuple[Plan, ...]:
    """Return the plans of the regions that share a country code."""
    from phonenumbers import PhoneMetadata

    names = _codes()[code]
    if names == ("001",):
        return (_compile("001", PhoneMetadata.metadata_for_nongeo_region(int(code))),)
    return tuple(plan(name) for name in names)
