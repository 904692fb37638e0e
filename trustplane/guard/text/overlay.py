"""Laying the tables of a purpose or tenant over those of a policy, key by key."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from trustplane.guard.text.policy_file import (
    Action,
    Allow,
    ContentActions,
    Defaults,
    InjectionActions,
    Judges,
    Kinds,
    Overlay,
    PolicyFile,
    RuleActions,
)

__all__ = ["lay", "restyled"]

_Table = TypeVar("_Table", RuleActions, Defaults, ContentActions, InjectionActions)


def restyled(file: PolicyFile, action: Action) -> PolicyFile:
    """Return ``file`` with every action that redacts replaced by ``action``; the others stay."""
    redacting = {None, "mask", "pseudonymise", "hash"}

    def row(table: Any, *, fill: bool = False) -> Any:
        pairs = (("out", table.out), ("in_", table.in_))
        return msgspec.structs.replace(table, **{f: action for f, v in pairs if v in redacting and (v or fill)})

    def over(table: Any) -> Any:
        return msgspec.structs.replace(
            table,
            defaults=row(table.defaults, fill=table is file),
            kinds=Kinds(personal=row(table.kinds.personal), secret=row(table.kinds.secret)),
            rules={key: row(rule) for key, rule in table.rules.items()},
        )

    found: PolicyFile = msgspec.structs.replace(
        over(file),
        tenants={name: over(table) for name, table in file.tenants.items()},
        purposes={name: over(table) for name, table in file.purposes.items()},
    )
    return found


def lay(file: PolicyFile, over: Overlay) -> PolicyFile:
    """Return ``file`` with the tables of ``over`` laid on it, key by key."""
    rules = dict(file.rules)
    for key, table in over.rules.items():
        rules[key] = _over(rules.get(key, RuleActions()), table)
    found: PolicyFile = msgspec.structs.replace(
        file,
        threshold=file.threshold if over.threshold is None else over.threshold,
        entities=over.entities or file.entities,
        allow=Allow(*(getattr(file.allow, f) + getattr(over.allow, f) for f in Allow.__struct_fields__)),
        defaults=_over(file.defaults, over.defaults),
        kinds=Kinds(
            personal=_over(file.kinds.personal, over.kinds.personal), secret=_over(file.kinds.secret, over.kinds.secret)
        ),
        rules=rules,
        judges=Judges(
            injection=_judge(file.judges.injection, over.judges.injection),
            content=_judge(file.judges.content, over.judges.content),
        ),
    )
    return found


def _over(low: _Table, high: _Table) -> _Table:
    return msgspec.structs.replace(
        low, **{f: v for f in high.__struct_fields__ if (v := getattr(high, f)) not in (None, ())}
    )


def _judge(low: Any, high: Any) -> Any:
    if low is None or high is None:
        return high or low
    lists = {"lists": low.lists + high.lists} if isinstance(low, ContentActions) else {}
    return _over(msgspec.structs.replace(low, **lists), msgspec.structs.replace(high, **lists))
