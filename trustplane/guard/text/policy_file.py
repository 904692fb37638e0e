"""The policy file: its tables as types, and a reader that says which key is wrong, and on which line."""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import Any, Literal, NoReturn, get_args, get_origin

import msgspec

from trustplane.errors import InputError

__all__ = [
    "Action",
    "Allow",
    "ContentActions",
    "Defaults",
    "InjectionActions",
    "JudgeAction",
    "Judges",
    "Kinds",
    "Overlay",
    "PolicyFile",
    "RuleActions",
    "parse",
]

Action = Literal["allow", "mask", "pseudonymise", "hash", "block", "review"]
"""``mask``: ``<ENTITY>``. ``pseudonymise``: reversible. ``hash``: keyed, joinable, not reversible. ``review``: a
person decides."""
JudgeAction = Literal["allow", "block", "review"]
"""What a judgement of a whole text may lead to."""

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,95}\Z")
_NAMED = re.compile(r"[^\x00-\x1f\x7f]{1,128}\Z")


class Allow(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[allow]: values that are no finding; see :mod:`trustplane.guard.text.allow`."""

    values: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


class Defaults(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"in_": "in"}):
    """[defaults]: the action of every finding that no rule table names, by direction."""

    out: Action | None = None
    in_: Action | None = None


class RuleActions(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"in_": "in"}):
    """[rules.ENTITY] or [rules."own/rule"]: action by direction, and the lowest score that counts."""

    out: Action | None = None
    in_: Action | None = None
    threshold: float | None = None


class InjectionActions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[judges.injection]: what its outcomes lead to, ``block`` where nothing is said."""

    hit: JudgeAction | None = None
    unknown: JudgeAction | None = None


class ContentActions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[judges.content]: the same; ``lists``: files of words; ``categories``: those that count, empty for all;
    ``severity``: from which a hit counts."""

    hit: JudgeAction | None = None
    unknown: JudgeAction | None = None
    lists: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    severity: Literal["low", "medium", "high", "critical"] | None = None


class Judges(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[judges]: which judges are on."""

    injection: InjectionActions | None = None
    content: ContentActions | None = None


class Kinds(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[kinds.secret] and [kinds.personal]: all rules that find credentials, all that find personal data."""

    personal: RuleActions = RuleActions()
    secret: RuleActions = RuleActions()


class Overlay(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """[tenants.<id>] or [purposes.<name>]: the tables that it may change."""

    threshold: float | None = None
    entities: tuple[str, ...] = ()
    allow: Allow = Allow()
    defaults: Defaults = Defaults()
    kinds: Kinds = Kinds()
    rules: dict[str, RuleActions] = {}
    judges: Judges = Judges()


class PolicyFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A whole policy. ``entities``: look for these entities or rules only; empty means all."""

    name: str = ""
    version: str = ""
    languages: tuple[str, ...] = ("en", "zh")
    locales: tuple[str, ...] = ()
    threshold: float | None = None
    entities: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    recognizers: tuple[str, ...] = ()
    allow: Allow = Allow()
    defaults: Defaults = Defaults()
    kinds: Kinds = Kinds()
    rules: dict[str, RuleActions] = {}
    judges: Judges = Judges()
    tenants: dict[str, Overlay] = {}
    purposes: dict[str, Overlay] = {}


def parse(text: str) -> PolicyFile:
    """Return the policy written in ``text``.

    Raises:
        InputError: not TOML, a key that is not known, a value of the wrong kind; names the key, its line where
            it can be told, and the closest key that exists. Never a value.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at (.+)\)\Z", str(error))
        raise InputError(f"the policy is not TOML ({where.group(1) if where else 'unknown place'})") from None
    except RecursionError:
        raise InputError("the policy is nested too deep") from None
    _check(data, PolicyFile, (), text)
    found: PolicyFile = msgspec.convert(data, PolicyFile)
    for label, names in (("name", (found.name, found.version)), ("languages", found.languages)):
        if any(not _NAMED.match(name) for name in names if name) or (label == "languages" and not names):
            _no((label,), text, "is empty or not printable, or longer than 128 characters")
    if any(not re.fullmatch(r"[A-Z]{2}", code) for code in found.locales):
        _no(("locales",), text, "holds something that is not an ISO 3166 country code", 'such as "DE"')
    return found


def _check(data: Any, kind: type[msgspec.Struct], path: tuple[str, ...], text: str) -> None:
    """Walk the tables beside their types, so that an error can name the whole path."""
    if not isinstance(data, dict):
        _no(path, text, "is not a table")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key, value in data.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, 1, 0.5)
            _no((*path, key), text, "is not a key of a policy", f"did you mean {close[0]}?" if close else _list(fields))
        inner = _struct(fields[key].type)
        if get_origin(fields[key].type) is dict:
            if not isinstance(value, dict):
                _no((*path, key), text, "is not a table")
            for name, table in value.items():
                if not (_KEY if key == "rules" else _NAMED).match(name):
                    _no((*path, key, name[:64]), text, "is not a usable name")
                _check(table, get_args(fields[key].type)[1], (*path, key, name), text)
        elif inner is not None:
            _check(value, inner, (*path, key), text)
        else:
            _check_value(value, fields[key].type, (*path, key), text)


def _check_value(value: Any, kind: Any, path: tuple[str, ...], text: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        actions = [a for option in (kind, *get_args(kind)) if get_origin(option) is Literal for a in get_args(option)]
        if actions:
            close = difflib.get_close_matches(str(value), actions, 1, 0.5)
            what = "is not an action" if "block" in actions else "is not one of its values"
            hint = f"one of {', '.join(actions)}" + (f"; did you mean {close[0]}?" if close else "")
            _no(path, text, what, hint)
        wanted = {float: "a number", str: "a text"}.get(next((a for a in get_args(kind) if a in (float, str)), kind))
        _no(path, text, "is not a list of texts" if get_origin(kind) is tuple else f"is not {wanted or 'usable'}")
    if path[-1] == "threshold" and not 0.0 <= value <= 1.0:
        _no(path, text, "is outside 0..1")


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    for option in (kind, *get_args(kind)):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            return option
    return None


def _list(names: Any) -> str:
    return f"known here: {', '.join(names)}"


def _no(path: tuple[str, ...], text: str, what: str, hint: str = "") -> NoReturn:
    line = _line(path, text)
    shown = ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in path)
    raise InputError(f"policy: {shown} {what}" + (f" (line {line})" if line else ""), hint=hint)


def _line(path: tuple[str, ...], text: str) -> int:
    """Return the line of a key in a TOML text, 0 where it cannot be told (inline tables, odd quoting)."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = _dotted(stripped.strip("[]").partition("]")[0])
            if table == path:
                return number
        elif "=" in stripped and table + _dotted(stripped.partition("=")[0]) == path:
            return number
    return 0


def _dotted(text: str) -> tuple[str, ...]:
    parts = re.findall(r'"([^"]*)"|\'([^\']*)\'|([A-Za-z0-9_-]+)', text)
    return tuple(next((p for p in part if p), "") for part in parts)
