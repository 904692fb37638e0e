"""Tables in CSV, record by record: cells to look at, and the record again with some cells replaced."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from trustplane.errors import InputError

__all__ = ["DELIMITERS", "Record", "records", "rewritten", "sniff"]

DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_RECORDS = 50


class Record(NamedTuple):
    """A record: its cells, and the text that they were read from, line end included."""

    cells: list[str]
    raw: str


def sniff(sample: str) -> str:
    """Return the delimiter that splits the records of ``sample`` most evenly, a comma where none does."""
    best = (0.0, 0, ",")
    for rank, delimiter in enumerate(DELIMITERS):
        try:
            rows = [len(r.cells) for r in _some(records(io.StringIO(sample, newline=""), delimiter)) if r.cells]
        except InputError:
            continue
        if rows and rows[0] > 1:
            best = max(best, (rows.count(rows[0]) / len(rows), -rank, delimiter))
    return best[2]


def _some(found: Iterator[Record]) -> Iterator[Record]:
    """Give the first records; one that the sample's end has cut does not count."""
    for _ in range(_SAMPLE_RECORDS):
        try:
            record = next(found, None)
        except InputError:
            return
        if record is None:
            return
        yield record


def records(lines: Iterable[str], delimiter: str = ",", max_characters: int = 1 << 24) -> Iterator[Record]:
    """Read records from ``lines`` (with their ends), holding one record at a time.

    Quotes as in RFC 4180; a quoted cell may hold line ends.

    Raises:
        InputError: a quote that is never closed, text after a closing quote, a cell past ``max_characters``.
    """
    taken: list[str] = []

    def keep() -> Iterator[str]:
        size = 0
        for line in lines:
            size = size + len(line) if taken else len(line)
            if size > max_characters:
                raise InputError("a CSV record is too long", hint="a quote that is never closed?")
            taken.append(line)
            yield line

    csv.field_size_limit(max(csv.field_size_limit(), max_characters))
    number = 0
    reader = csv.reader(keep(), delimiter=delimiter, strict=True)
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise InputError(f"record {number} is not well-formed CSV") from None
        yield Record(cells, "".join(taken))
        taken.clear()


def rewritten(record: Record, cells: Sequence[str], delimiter: str = ",") -> str:
    """Return the record with ``cells``; a cell that did not change keeps its text, one that was quoted its quotes."""
    if list(cells) == record.cells:
        return record.raw
    body = record.raw.rstrip("\r\n")
    end = record.raw[len(body) :]
    written = _written(body, delimiter)
    if len(written) != len(record.cells):
        written = [""] * len(record.cells)
    return delimiter.join(_cell(*pair, delimiter) for pair in zip(cells, record.cells, written, strict=True)) + end


def _written(body: str, delimiter: str) -> list[str]:
    """Split a well-formed record into the texts of its cells, quotes included."""
    found = []
    pattern = re.compile(rf'"(?:[^"]|"")*+"|[^{re.escape(delimiter)}]*+')
    position = 0
    while (match := pattern.match(body, position)) is not None:
        found.append(match.group())
        position = match.end()
        if position >= len(body) or body[position] != delimiter:
            break
        position += 1
    return found if position == len(body) else []


def _cell(new: str, old: str, written: str, delimiter: str) -> str:
    if new == old and written:
        return written
    if written.startswith('"') or any(c in new for c in (delimiter, '"', "\r", "\n")):
        return '"' + new.replace('"', '""') + '"'
    return new
