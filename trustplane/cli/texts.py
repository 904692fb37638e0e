"""Texts for scan, redact and restore: read in bounded pieces, record by record, and put together again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, NamedTuple

import typer

from trustplane.errors import InputError

__all__ = [
    "DelimiterOption",
    "FileArgument",
    "Format",
    "FormatOption",
    "MaxBytesOption",
    "OutOption",
    "Part",
    "ResumeOption",
    "Source",
    "check_delimiter",
    "check_resume",
    "format_of",
    "parts",
    "read_bytes",
    "read_text",
    "without_torch",
]

Format = Literal["text", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("text", "json", "jsonl", "csv")
_SAMPLE_BYTES = 1 << 16
_RECODE = "recode it first, such as with: iconv -f latin1 -t utf-8 FILE"

FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="In UTF-8; - reads standard input.")]
FormatOption = Annotated[
    str, typer.Option("--format", metavar="text|json|jsonl|csv", help="By default from the file's name, else text.")
]
MaxBytesOption = Annotated[
    int,
    typer.Option("--max-bytes", min=1, metavar="N", help="Longest text, document, line or record; refused past it."),
]
DelimiterOption = Annotated[str, typer.Option("--delimiter", metavar="C", help="Of CSV; guessed without it.")]
OutOption = Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Write here; by default standard output.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on where a killed run with the same -o stopped.")]
MAX_BYTES = 16 * 1024 * 1024


def without_torch() -> None:
    """Keep spaCy's thinc from importing torch, which takes seconds and which no rule here uses."""
    if "torch" not in sys.modules:
        sys.modules["torch"] = None  # type: ignore[assignment]  # this process does nothing else


def format_of(path: str, given: str) -> Format:
    """Return the format asked for, or the one of the file's name."""
    for known in FORMATS:
        if given == known or (not given and path.lower().endswith(f".{known}")):
            return known
    if given:
        raise InputError("there is no such format", hint=f"one of {', '.join(FORMATS)}")
    return "text"


def check_resume(path: str, out: str, *, resume: bool) -> None:
    """Refuse --resume where a run cannot go on."""
    if resume and (not out or path == "-"):
        raise InputError("--resume needs -o and an input file")


def check_delimiter(delimiter: str) -> None:
    """Refuse what cannot stand between the cells of a CSV."""
    if delimiter and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise InputError(
            "the delimiter is not one character, or is a quote or a line end", hint="such as --delimiter ';'"
        )


def read_bytes(path: str, what: str, hint: str = "") -> bytes:
    """Return the bytes of a file, or of standard input for ``-``."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror}", hint=hint) from None


def read_text(path: str, max_bytes: int = MAX_BYTES) -> str:
    """Return a text in UTF-8 with its line ends as they are, refusing one past ``max_bytes``."""
    with Source(path, max_bytes) as source:
        return source.whole()


class Source:
    """A file or standard input, read once from front to back; knows its offset and the digest up to there."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self.longest = max_bytes
        self.path, self.offset, self.digest = path, 0, hashlib.sha256()
        try:
            self._file: BinaryIO = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115
        except OSError as error:
            raise InputError(f"the text cannot be read: {error.strerror}") from None
        self.size = os.fstat(self._file.fileno()).st_size if path != "-" else None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self.path != "-":
            self._file.close()

    def head(self) -> str:
        """Return the beginning of a file without moving on, for guesses."""
        if self.path != "-":
            sample = os.pread(self._file.fileno(), _SAMPLE_BYTES, 0)
        elif isinstance(self._file, io.BufferedReader):
            sample = self._file.peek(_SAMPLE_BYTES)
        else:  # what stands in for standard input
            place = self._file.tell()
            sample = self._file.read(_SAMPLE_BYTES)
            self._file.seek(place)
        return sample[:_SAMPLE_BYTES].decode("utf-8", "replace")

    def whole(self) -> str:
        """Return all of it as one text."""
        data = self._file.read(self.longest + 1)
        if len(data) > self.longest:
            raise InputError(f"the text is longer than {self.longest:,} bytes", hint="--max-bytes takes more")
        return self._decode(data)

    def lines(self) -> Iterator[str]:
        """Give the lines with their ends, one in memory at a time."""
        while data := self._file.readline(self.longest + 1):
            if len(data) > self.longest:
                raise InputError(
                    f"the line at byte {self.offset:,} is longer than {self.longest:,} bytes",
                    hint="--max-bytes takes more",
                )
            yield self._decode(data)

    def skip(self, offset: int, digest: str) -> None:
        """Go to ``offset`` if what lies before it is what ``digest`` was taken of."""
        while self.offset < offset and (data := self._file.read(min(1 << 20, offset - self.offset))):
            self.offset += len(data)
            self.digest.update(data)
        if self.offset != offset or self.digest.hexdigest() != digest:
            raise InputError("the input is not the one that the run began with", hint="start again without --resume")

    def _decode(self, data: bytes) -> str:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"the text is not UTF-8 at byte {self.offset + error.start:,}", hint=_RECODE) from None
        self.offset += len(data)
        self.digest.update(data)
        return text


class Part(NamedTuple):
    """One record: the texts in it, where each stands, words about each, and how the record is put together again."""

    id: str
    texts: list[str]
    places: list[str]
    contexts: list[str]
    rebuild: Callable[[Sequence[str]], str]


def parts(source: Source, form: Format, delimiter: str = "", *, walk: bool, done: int = 0) -> Iterator[Part]:
    """Give the records of a source. ``walk``: look at every leaf of JSON Lines, not at ``text`` alone.

    ``done``: records that lie behind already.
    """
    if form == "text":
        yield Part(source.path, [text := source.whole()], [""], [""], lambda new: new[0] if new else text)
    elif form == "json":
        yield _document(source.path, source.whole())
    elif form == "jsonl":
        for number, line in enumerate(source.lines(), done + 1):
            try:
                part = _json_line(line, str(number), walk=walk)
            except InputError as error:
                raise InputError(f"record {number}: {error.message}", hint=error.hint) from None
            if part is not None:
                yield part
    else:
        yield from _table(source, delimiter, done)


class _Number(str):
    """A number of a JSON line, as it is spelled."""

    __slots__ = ()


def _document(name: str, text: str) -> Part:
    from trustplane.guard.text.document import JsonDocument

    body = text.removeprefix("\ufeff")
    mark = text[: len(text) - len(body)]
    document = JsonDocument(body)
    leaves = document.leaves
    return Part(
        name,
        [leaf.text for leaf in leaves],
        [leaf.place for leaf in leaves],
        [leaf.context for leaf in leaves],
        lambda new: mark + document.rewritten(new),
    )


def _json_line(line: str, number: str, *, walk: bool) -> Part | None:
    if not line.strip("\ufeff \t\r\n"):
        return Part(number, [], [], [], lambda _new: line) if walk else None
    body = line.rstrip("\r\n")
    end = line[len(body) :]
    whole = _document(number, body)
    value = json.loads(body.removeprefix("\ufeff"), parse_int=_Number, parse_float=_Number)
    text = value.get("text") if isinstance(value, dict) else None
    if not isinstance(text, str) or isinstance(text, _Number):
        if not walk and text is not None:
            raise InputError("its text is not a string")
    elif not walk:
        name = value.get("id", number)
        return Part(str(name)[:256], [text], [""], [""], lambda new: new[0])
    return whole._replace(rebuild=lambda new: whole.rebuild(new) + end)


def _table(source: Source, delimiter: str, done: int) -> Iterator[Part]:
    from trustplane.guard.text.table import Record, records, rewritten, sniff

    head = source.head()
    delimiter = delimiter or (sniff(head.removeprefix("\ufeff")) if head else ",")
    header: list[str] = []
    if done:
        first = next(records(io.StringIO(head, newline=""), delimiter), None)
        header = [] if first is None else _names(first.cells)
    for number, record in enumerate(records(source.lines(), delimiter, source.longest), done + 1):
        names = header + [""] * (len(record.cells) - len(header))
        header = header or _names(record.cells)

        def rebuild(new: Sequence[str], record: Record = record) -> str:
            return rewritten(record, new, delimiter)

        places = [f"{name or column}" for column, name in enumerate(names[: len(record.cells)], 1)]
        yield Part(str(number), list(record.cells), places, names[: len(record.cells)], rebuild)


def _names(cells: Sequence[str]) -> list[str]:
    return [cell.removeprefix("\ufeff").strip() if len(cell) <= 64 else "" for cell in cells]
