"""The query language of claims: counts, sums and lists over the public parts of the covered entries.

A query is ``{"op", "of", "where", "keep", "except"}``; docs/reference/bundle-format.md defines it. The offline
verifier has an implementation of its own, and one contract test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trustplane.errors import InputError

__all__ = ["Rows", "evaluate", "holds", "resolve", "walk"]

OPS = frozenset(
    ["count", "items", "distinct", "values", "tally", "sum", "min", "max", "first", "last", "latest", "list", "missing"]
)


def walk(value: Any, path: str) -> list[Any]:
    """Return the values at ``path``; lists on the way and at the end are spread, what is absent is left out."""
    if "." not in path and type(value) is dict:
        only = value.get(path, [])
        if type(only) is not list:
            return [only]  # the same, faster
    found = [value]
    for name in path.split("."):
        spread = [inner for item in found for inner in (item if isinstance(item, list) else [item])]
        found = [item[name] for item in spread if isinstance(item, dict) and name in item]
    return [inner for item in found for inner in (item if isinstance(item, list) else [item])]


def resolve(reference: Any, scope: Mapping[str, Any]) -> list[Any]:
    """Return what a ``$name.path`` stands for; anything else stands for itself."""
    if isinstance(reference, str) and reference.startswith("$"):
        return walk(dict(scope), reference[1:])
    return reference if isinstance(reference, list) else [reference]


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


_TESTS: dict[str, Callable[[Any, Sequence[Any]], bool]] = {
    "=": lambda value, wanted: any(_same(value, item) for item in wanted),
    "prefix": lambda value, wanted: isinstance(value, str) and any(value.startswith(item) for item in wanted),
    "<=": lambda value, wanted: type(value) is int and any(type(w) is int and value <= w for w in wanted),
    ">": lambda value, wanted: type(value) is int and any(type(w) is int and value > w for w in wanted),
}
_TESTS["in"] = _TESTS["="]


def holds(values: Sequence[Any], operator: str, wanted: Sequence[Any]) -> bool:
    """Say whether ``values`` meet a condition.

    ``=``, ``in``, ``prefix``, ``<=``, ``>``: some value does; ``!=``: none equals; ``not in``: there are
    values and none equals; ``exists``: there are values, or none where ``wanted`` is false.
    """
    if operator == "exists":
        return bool(values) == (wanted[0] is True)
    if operator == "!=":
        return not holds(values, "=", wanted)
    if operator == "not in":
        return bool(values) and not holds(values, "=", wanted)
    if operator not in _TESTS:
        raise InputError(f"the catalogue has an unknown condition {operator!r}")
    return any(_TESTS[operator](value, wanted) for value in values)


class Rows:
    """The covered entries as dictionaries, with their ``index``; filters by value use an index made once."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self.rows = list(rows)
        self._found: dict[str, dict[Any, list[dict[str, Any]]]] = {}

    def matching(self, path: str, operator: str, wanted: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the rows where some value at ``path`` equals one of ``wanted``, or begins with it, in order."""
        if path not in self._found:
            index: dict[Any, list[dict[str, Any]]] = {}
            for row in self.rows:
                for value in {(type(v), v) for v in walk(row, path) if not isinstance(v, dict)}:
                    index.setdefault(value, []).append(row)
            self._found[path] = index
        known = self._found[path]
        keys = {(type(item), item) for item in wanted}
        if operator == "prefix":
            keys = {key for key in known if holds([key[1]], operator, wanted)}
        parts = [known[key] for key in keys if key in known]
        if len(parts) == 1:
            return parts[0]
        unique = {row["index"]: row for part in parts for row in part}
        return [unique[index] for index in sorted(unique)]

    def select(self, where: Sequence[Sequence[Any]], scope: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows that meet every condition."""
        found: list[dict[str, Any]] | None = None
        quick = ("=", "in", "prefix")
        ordered = sorted(where, key=lambda c: (c[1] not in quick, c[1] == "prefix", c[0] in ("action", "kind")))
        for path, operator, reference in ordered:
            wanted = resolve(reference, scope)
            if found is None and operator in quick:
                found = self.matching(path, operator, wanted)
            else:
                source = self.rows if found is None else found
                found = [row for row in source if holds(walk(row, path), operator, wanted)]
        return self.rows if found is None else found


def _key(value: Any) -> tuple[str, Any]:
    return (type(value).__name__, value)


def _unique(values: Iterable[Any]) -> list[Any]:
    return sorted({(type(v).__name__, v) for v in values})


def _tally(rows: list[dict[str, Any]], path: str, kept: Callable[[Any], bool]) -> dict[str, int]:
    found: dict[str, int] = {}
    head, _, prefix = path.rpartition(".")
    if prefix.endswith("*"):
        prefix = prefix[:-1]
        for row in rows:
            for part in walk(row, head):
                for name, number in part.items():
                    if name.startswith(prefix) and type(number) is int and kept(name[len(prefix) :]):
                        found[name[len(prefix) :]] = found.get(name[len(prefix) :], 0) + number
    else:
        for row in rows:
            for value in walk(row, path):
                if isinstance(value, str) and kept(value):
                    found[value] = found.get(value, 0) + 1
    return {name: number for name, number in sorted(found.items()) if number}


def evaluate(query: Any, rows: Rows, scope: Mapping[str, Any]) -> Any:
    """Return the result of a query: an integer, text, list or tally; ``None`` where there is nothing.

    A ``$reference`` alone gives its one value. ``scope``: what references may name.

    Raises:
        InputError: the catalogue holds a query that is not of the language.
    """
    if not isinstance(query, dict):
        found = resolve(query, scope)
        return found[0] if found else None
    op, path = query.get("op"), query.get("of", "")
    if op not in OPS or set(query) - {"op", "of", "where", "keep", "except", "from"}:
        raise InputError(f"the catalogue has an unknown query {op!r}")
    operator, reference = query.get("keep", ("exists", True))
    wanted = resolve(reference, scope)

    def kept(value: Any) -> bool:
        return holds([value], operator, wanted)

    selected = [] if path.startswith("$") else rows.select(query.get("where", []), scope)
    if op == "count":
        return len(selected)
    if op in ("first", "last"):
        return selected[0 if op == "first" else -1]["index"] if selected else None
    if op == "tally":
        return _tally(selected, path, kept)
    values = resolve(path, scope) if path.startswith("$") else [v for row in selected for v in walk(row, path)]
    values = [value for value in values if not isinstance(value, dict) and kept(value)]
    if "except" in query:
        gone = {_key(v) for v in evaluate(query["except"] | {"op": "values"}, rows, scope)}
        values = [value for value in values if _key(value) not in gone]
    if op == "items":
        return len(values)
    if op == "distinct":
        return len({_key(value) for value in values})
    if op in ("values", "list"):
        return [value for _, value in _unique(values)]
    if op == "missing":
        seen = {_key(value) for value in values}
        return [v for kind, v in _unique(resolve(query["from"], scope)) if (kind, v) not in seen]
    if op == "latest":
        return values[-1] if values else None
    numbers = [value for value in values if type(value) is int]
    if op == "sum":
        return sum(numbers)
    return (min(numbers) if op == "min" else max(numbers)) if numbers else None
