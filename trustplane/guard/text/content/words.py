"""Word lists: what an entry is, and how a list is read from plain text, from TOML or from the package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from trustplane.canon import digest
from trustplane.errors import InputError
from trustplane.guard.text.content.judgement import CATEGORIES, SEVERITIES, Category

__all__ = ["Entry", "WordList", "default_list", "load_list", "parse_list", "word_list"]

_KEYS = ("category", "severity", "pinyin", "initials", "unless", "reclaimed")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}\Z")
_LIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}\Z")
MAX_WORD = 64
"""Longest listed word in characters; it bounds the work for one candidate."""
MAX_BYTES = 16 * 2**20


class Entry(NamedTuple):
    """A listed word.

    ``severity``: one of ``SEVERITIES``, ``""`` for the category's. ``pinyin``: syllables separated by
    spaces, ``""`` to derive them; given ones are also matched where derived ones would be too
    ambiguous. ``initials``: Latin initials to match, ``""`` for none below four syllables. ``unless``:
    harmless phrases that contain the word. ``reclaimed``: the group it targets uses it for itself.
    ``harmless``: the entry itself is such a phrase.
    """

    word: str
    category: str
    severity: str = ""
    pinyin: str = ""
    initials: str = ""
    unless: tuple[str, ...] = ()
    reclaimed: bool = False
    harmless: bool = False


class WordList(NamedTuple):
    """A named list of entries and the categories that it adds to ``CATEGORIES``."""

    name: str
    entries: tuple[Entry, ...]
    categories: Mapping[str, Category] = {}

    def __repr__(self) -> str:
        return f"WordList({self.name!r}, {len(self.entries)} entries)"

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over everything that changes a result."""
        return digest(
            {
                "categories": {k: [c.severity, c.floor, *sorted(c.exceptions)] for k, c in self.categories.items()},
                "entries": [[*e[:5], list(e.unless), e.reclaimed, e.harmless] for e in self.entries],
                "name": self.name,
            }
        )


def word_list(name: str, words: Iterable[str], category: str = "profanity", severity: str = "") -> WordList:
    """Return a list of plain words of one category.

    Raises:
        InputError: a name, word, category or severity cannot be used.
    """
    entries = [_entry(word.strip(), {"category": category, "severity": severity}, "", {}) for word in words]
    return _checked(name, entries, {})


def load_list(path: str | Path, category: str = "profanity") -> WordList:
    """Read a user's list: TOML where the name ends in ``.toml``, else plain text; see ``parse_list``.

    Raises:
        InputError: the file cannot be read, is over 16 MiB, is not UTF-8, or its content is not a list.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError("the word list cannot be read", hint=error.strerror or "check the path") from None
    if len(raw) > MAX_BYTES:
        raise InputError("the word list is over 16 MiB", hint="split it or drop words that contain others")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("the word list is not UTF-8", hint="save it as UTF-8") from None
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", place.stem).strip("-.")[:48] or "list"
    return parse_list(text, name=name, category=category, toml=place.suffix.lower() == ".toml")


def parse_list(text: str, *, name: str = "list", category: str = "profanity", toml: bool = False) -> WordList:
    """Return the list that ``text`` holds; duplicates are fine.

    Plain text: one word or phrase a line, ``#`` starts a comment line, ``[CATEGORY SEVERITY]`` a line
    that holds for those below it, ``word | key=value key=value`` sets keys of one word (``category``,
    ``severity``, ``pinyin``, ``initials``, ``reclaimed``; ``unless=a;b``), ``! phrase`` is a harmless
    phrase. In values, ``_`` stands for a space.

    TOML: ``name``, ``[categories.NAME]`` with ``severity``, ``floor``, ``exceptions`` for new ones, and
    ``[[words]]`` with ``word`` and the keys above.

    Raises:
        InputError: an unknown key, category, severity, or a value of the wrong type, with its place.
    """
    if toml:
        return _from_toml(text, name, category)
    entries: list[Entry] = []
    section: dict[str, Any] = {"category": category}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        place = f" in line {number}"
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            words = line[1:-1].split()
            if len(words) not in (1, 2):
                raise InputError(f"a section is not [CATEGORY SEVERITY]{place}", hint="for example [profanity low]")
            section = dict(zip(("category", "severity"), words, strict=False))
            _check_names(section, place, {})
        elif line.startswith("!"):
            entries.append(_entry(line[1:].strip(), section, place, {}, harmless=True))
        else:
            word, bar, rest = line.partition(" | ")
            keys: dict[str, Any] = dict(section)
            for pair in rest.split() if bar else ():
                key, _, value = pair.partition("=")
                keys[key] = value.replace("_", " ") if key in ("pinyin", "unless") else value
            if "unless" in keys:
                keys["unless"] = [phrase for phrase in keys["unless"].split(";") if phrase]
            if "reclaimed" in keys:
                keys["reclaimed"] = {"yes": True, "no": False}.get(keys["reclaimed"], keys["reclaimed"])
            entries.append(_entry(word.strip(), keys, place, {}))
    return _checked(name, entries, {})


def default_list(language: str) -> WordList:
    """Return the package's own list for ``en`` or ``zh``."""
    return parse_list(files(__package__).joinpath(f"words_{language}.txt").read_text("utf-8"), name=f"own-{language}")


def _from_toml(text: str, name: str, category: str) -> WordList:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise InputError("the word list is not TOML", hint="name it .txt if it has one word a line") from None
    _refuse(table, ("name", "words", "categories"), "")
    own: dict[str, Category] = {}
    for key, values in _typed(table.get("categories", {}), dict, "categories").items():
        place = " in a category"
        _refuse(_typed(values, dict, "a category"), ("severity", "floor", "exceptions"), place)
        if not _NAME.match(key):
            raise InputError("a category's name is not of the form [a-z][a-z0-9_]*, 48 at most")
        severity, floor = values.get("severity", "medium"), values.get("floor", "none")
        if severity not in SEVERITIES or floor not in SEVERITIES:
            raise InputError(f"an unknown severity{place}", hint="one of " + ", ".join(SEVERITIES))
        allowed = Category("medium").exceptions | {"reclaimed"}
        exceptions = frozenset(_typed(values.get("exceptions", []), list, "exceptions"))
        if not exceptions <= allowed:
            raise InputError(f"an unknown exception{place}", hint="of " + ", ".join(sorted(allowed)))
        own[key] = Category(severity, exceptions, floor)
    entries = []
    for number, item in enumerate(_typed(table.get("words", []), list, "words"), 1):
        place = f" in word {number}"
        keys = dict(_typed(item, dict, "an entry of words"))
        word = _typed(keys.pop("word", None), str, "word")
        entries.append(_entry(word.strip(), {"category": category} | keys, place, own))
    return _checked(_typed(table.get("name", name), str, "name"), entries, own)


def _entry(
    word: str, keys: Mapping[str, Any], place: str, own: Mapping[str, Category], *, harmless: bool = False
) -> Entry:
    _refuse(keys, _KEYS, place)
    _check_names(keys, place, own)
    if not word or len(word) > MAX_WORD:
        raise InputError(f"a word is empty or over {MAX_WORD} characters{place}")
    unless = _typed(keys.get("unless", []), list, "unless", place)
    return Entry(
        word,
        keys["category"],
        keys.get("severity", ""),
        _typed(keys.get("pinyin", ""), str, "pinyin", place),
        _typed(keys.get("initials", ""), str, "initials", place),
        tuple(_typed(phrase, str, "unless", place) for phrase in unless),
        _typed(keys.get("reclaimed", False), bool, "reclaimed", place),
        harmless,
    )


def _checked(name: str, entries: Iterable[Entry], own: Mapping[str, Category]) -> WordList:
    if not _LIST_NAME.match(name):
        raise InputError("a list's name is not of the form [A-Za-z0-9][A-Za-z0-9_.-]*, 48 at most")
    return WordList(name, tuple(dict.fromkeys(entries)), own)


def _check_names(keys: Mapping[str, Any], place: str, own: Mapping[str, Category]) -> None:
    category, severity = keys.get("category"), keys.get("severity", "")
    if not isinstance(category, str) or (category not in CATEGORIES and category not in own):
        raise InputError(f"an unknown category{place}", hint="one of " + ", ".join(sorted({*CATEGORIES, *own})))
    if not isinstance(severity, str) or (severity and severity not in SEVERITIES):
        raise InputError(f"an unknown severity{place}", hint="one of " + ", ".join(SEVERITIES))


def _refuse(table: Mapping[str, Any], known: tuple[str, ...], place: str) -> None:
    if not set(table) <= set(known):
        raise InputError(f"an unknown key{place}", hint="known are " + ", ".join(known))


def _typed(value: Any, kind: type, what: str, place: str = "") -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{what} is not of type {kind.__name__}{place}")
    return value
