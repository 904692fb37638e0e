"""Shapes: stand-ins that look like what they replace, from ranges that are nobody's where such ranges exist."""

from __future__ import annotations

import bisect
import datetime
import ipaddress
import itertools
import re
import threading
from collections.abc import Callable, Iterator

from trustplane.guard.text.pseudonym import Codes, Stream
from trustplane.guard.text.spelling import BEFORE, MORE, Place

__all__ = ["SHAPED", "StandIns", "stand_ins", "variants"]

LONGEST = 64
"""Most characters of a stand-in; a longer value gets a placeholder."""
ATTEMPTS = 8
"""How many stand-ins are tried before a value gets a placeholder."""
_WORD = re.compile(r"[A-Za-z0-9]")
_ESCAPED = re.compile(r"(?:\\[bfnrt]|\\u[0-9a-f]{4}|%[0-9a-f]{2})\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_DIGITS = re.compile(r"[0-9]")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){11,18}\Z")
_PHONE = re.compile(r"\+?[0-9(][0-9 ().-]{5,24}[0-9]\Z")
_ISO = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})\Z")
_NUMERIC = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})\Z")
_CHINESE = re.compile(r"([0-9]{4})年([0-9]{1,2})月([0-9]{1,2})日\Z")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_MONTH = "|".join(f"{m}|{m[:3]}" for m in _MONTHS)
_DAY_FIRST = re.compile(rf"([0-9]{{1,2}}) ({_MONTH}) ([0-9]{{4}})\Z")
_MONTH_FIRST = re.compile(rf"({_MONTH}) ([0-9]{{1,2}}), ([0-9]{{4}})\Z")


def _fill(value: str, digits: str) -> str:
    """Return ``value`` with its digits replaced one by one."""
    drawn = iter(digits)
    return _DIGITS.sub(lambda _: next(drawn), value)


def _fill_groups(value: str, groups: list[str]) -> str:
    """Return ``value`` with its runs of digits replaced one by one."""
    drawn = iter(groups)
    return re.sub(r"[0-9]+", lambda _: next(drawn), value)


def _digits(stream: Stream, count: int) -> str:
    return "".join(str(stream.below(10)) for _ in range(count))


def _card(value: str, stream: Stream) -> str | None:
    """A number that passes the Luhn check under 9999.

    ISO/IEC 7812-1 leaves numbers that begin with 9 to national bodies, with the country's code (ISO 3166-1)
    as the next three digits; no country has 999.
    """
    if not _CARD.match(value):
        return None
    body = "9999" + _digits(stream, len(_DIGITS.findall(value)) - 5)
    total = 0
    for index, digit in enumerate(reversed(body)):
        number = int(digit)
        total += number if index % 2 else number * 2 - 9 * (number > 4)
    return _fill(value, body + str(-total % 10))


def _phone(value: str, stream: Stream) -> str | None:
    """A number of the ranges for drama: NANP 555-01xx, Ofcom's 07700 900xxx and 020 7946 0xxx, ACMA's 0491 57xxxx.

    A Chinese mobile number gets a first block of 12, which is assigned to no network. Others have none here.
    """
    if not _PHONE.match(value):
        return None
    digits = "".join(_DIGITS.findall(value))
    plus = value.startswith("+")
    country, national = "", digits
    for code, length in (("1", 10), ("44", 10), ("61", 9), ("86", 11)):
        if digits.startswith(code) and len(digits) == len(code) + length and (plus or code in {"1", "86"}):
            country, national = code, digits[len(code) :]
            break
    else:
        if plus:
            return None
    trunk = "0" if not country and national.startswith("0") else ""
    core = national[len(trunk) :]
    mobile_cn = country in {"", "86"} and not trunk and len(core) == 11 and core[0] == "1" and core[1] in "3456789"
    if country in {"", "1"} and not trunk and len(core) == 10 and core[0] in "23456789":
        core = core[:3] + "55501" + _digits(stream, 2)
    elif (country == "44" or trunk) and len(core) == 10 and core[0] == "7":
        core = "7700900" + _digits(stream, 3)
    elif (country == "44" or trunk) and len(core) == 10 and core[:2] == "20":
        core = "2079460" + _digits(stream, 3)
    elif (country == "61" or trunk) and len(core) == 9 and core[0] == "4":
        core = "49157" + _digits(stream, 4)
    elif mobile_cn:
        core = "12" + _digits(stream, 9)
    else:
        return None
    return _fill(value, country + trunk + core)


def _ip(value: str, stream: Stream) -> str | None:
    """An address of the documentation ranges of RFC 5737 and RFC 3849."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    if address.version == 4:
        net = ("192.0.2", "198.51.100", "203.0.113")[stream.below(3)]
        return f"{net}.{1 + stream.below(254)}"
    groups = [f"{stream.below(1 << 16):x}" for _ in range(6)]
    return "2001:db8:" + ":".join(groups)


def _date(value: str, stream: Stream) -> str | None:
    """Another day within two years, in the same notation."""
    shift = stream.below(1461) - 730
    for pattern, order in ((_ISO, "y-m-d"), (_NUMERIC, "a-b-y"), (_CHINESE, "ymd")):
        found = pattern.match(value)
        if found is None:
            continue
        groups = [g for g in found.groups() if g.isdecimal()]
        if order == "a-b-y":  # either may be the month: both orders are kept by staying at 1..12
            first, second = 1 + stream.below(12), 1 + stream.below(12)
            fresh = [first, second, int(groups[2]) + stream.below(5) - 2]
        else:
            moved = _moved(int(groups[0]), int(groups[1]), int(groups[2]), shift)
            if moved is None:
                return None
            fresh = [moved.year, moved.month, moved.day]
        parts = [f"{new:0{len(old)}d}" for new, old in zip(fresh, groups, strict=True)]
        return _fill_groups(value, parts)
    for pattern in (_DAY_FIRST, _MONTH_FIRST):
        found = pattern.match(value)
        if found is None:
            continue
        name, day = (found[2], found[1]) if pattern is _DAY_FIRST else (found[1], found[2])
        month = next(i for i, m in enumerate(_MONTHS, 1) if m.startswith(name[:3]))
        moved = _moved(int(found[3]), month, int(day), shift)
        if moved is None:
            return None
        shown = _MONTHS[moved.month - 1]
        shown = shown if len(name) > 3 else shown[:3]
        return f"{moved.day} {shown} {moved.year}" if pattern is _DAY_FIRST else f"{shown} {moved.day}, {moved.year}"
    return None


def _moved(year: int, month: int, day: int, shift: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day) + datetime.timedelta(days=shift)
    except (ValueError, OverflowError):
        return None


SHAPED: dict[str, Callable[[str, Stream], str | None]] = {
    "CREDIT_CARD": _card,
    "DATE_OF_BIRTH": _date,
    "DATE_TIME": _date,
    "IP_ADDRESS": _ip,
    "PHONE_NUMBER": _phone,
}
"""Entities with a shape, beside ``EMAIL_ADDRESS``: value and numbers → stand-in, None where the value has none."""


def stand_ins(entity: str, value: str, codes: Codes) -> Iterator[str]:
    """Yield stand-ins for ``value`` in the order in which they are tried, none where no shape is known."""
    if entity == "EMAIL_ADDRESS":
        for code in codes.candidates(value):
            shown = f"user_{code.lower()}@example.com"
            if _EMAIL.match(value) and shown != value:
                yield shown
        return
    make = SHAPED.get(entity)
    for attempt in range(ATTEMPTS if make is not None and len(value) <= LONGEST else 0):
        assert make is not None
        shown_or_none = make(value, codes.stream("shape", value, attempt))
        if shown_or_none is None:
            return
        if shown_or_none != value and len(shown_or_none) <= LONGEST:
            yield shown_or_none


def variants(entity: str, shown: str) -> set[str]:
    """Return other ways to write a stand-in that are read as the same: a card or phone in groups or in one run."""
    if entity not in {"CREDIT_CARD", "PHONE_NUMBER"}:
        return set()
    digits = "".join(_DIGITS.findall(shown))
    plus = "+" if shown.startswith("+") else ""
    found = {plus + digits}
    if entity == "CREDIT_CARD":
        groups = [digits[i : i + 4] for i in range(0, len(digits), 4)]
        found |= {" ".join(groups), "-".join(groups)}
    else:
        found |= {re.sub(r"[ ().-]+", " ", shown).strip(), re.sub(r"[ ().-]+", "-", shown).strip("-")}
    return found - {shown}


class StandIns:
    """Stand-in → value, found in a text where no letter or digit touches either end; case does not count."""

    __slots__ = ("_lengths", "_lock", "_sorted", "_starts", "_values")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._starts: re.Pattern[str] | None = None
        self._values: dict[str, str] = {}
        self._sorted: list[str] = []
        self._lengths: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, shown: str) -> bool:
        return shown.lower() in self._values

    def add(self, shown: str, value: str) -> None:
        """Enter a stand-in of 4 to ``LONGEST`` characters."""
        key = shown.lower()
        with self._lock:
            self._values[key] = value
            bisect.insort(self._sorted, key)
            if key[:3] not in self._lengths:
                self._starts = None
            lengths = self._lengths.setdefault(key[:3], [])
            if len(key) not in lengths:
                lengths.append(len(key))
                lengths.sort(reverse=True)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._values.clear()
            self._sorted.clear()
            self._lengths.clear()
            self._starts = None

    def find(self, text: str, start: int = 0, *, final: bool = True, edges: bool = True) -> tuple[list[Place], int]:
        """Return the stand-ins from ``start`` on, in order, and up to where the text is decided.

        Without ``edges`` letters and digits may touch them.
        """
        with self._lock:
            return self._find(text, start, final=final, edges=edges)

    def _find(self, text: str, start: int, *, final: bool, edges: bool) -> tuple[list[Place], int]:
        places: list[Place] = []
        if not self._values:
            return places, len(text)
        if self._starts is None:
            self._starts = re.compile(f"(?={'|'.join(sorted(map(re.escape, self._lengths)))})")
        lowered = text.lower()
        if len(lowered) != len(text):
            lowered = "".join(low if len(low := c.lower()) == 1 else c for c in text)
        position = start
        last = () if final else range(max(start, len(text) - 2), len(text))
        for at in itertools.chain((m.start() for m in self._starts.finditer(lowered, start)), last):
            if at >= position:
                place = self._at(lowered, at, final=final, edges=edges)
                if place is MORE:
                    return places, at
                if place is not None:
                    places.append(place)
                    position = place.end
        return places, len(text)

    def _at(self, text: str, at: int, *, final: bool, edges: bool) -> Place | None:
        lengths = self._lengths.get(text[at : at + 3])
        room = len(text) - at
        if lengths is None and (final or room >= 3):
            return None
        inside = edges and at > 0 and _WORD.match(text[at - 1]) and _WORD.match(text[at])
        if inside and not _ESCAPED.search(text[max(0, at - BEFORE) : at]):
            return None
        for length in lengths or ():
            if length < room or (final and length == room):
                value = self._values.get(text[at : at + length])
                if value is not None and not (edges and _WORD.match(text[at + length : at + length + 1])):
                    return Place(at, at + length, value)
            elif not final and self._begins(text[at:]):
                return MORE
        return MORE if not final and room < 3 and self._begins(text[at:]) else None

    def _begins(self, tail: str) -> bool:
        index = bisect.bisect_left(self._sorted, tail)
        return index < len(self._sorted) and self._sorted[index].startswith(tail)
