"""Sources: who wrote a text of a request, for the judges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from trustplane.guard.proxy.payload import Field
from trustplane.guard.proxy.wire.endpoint import Endpoint

__all__ = ["source_of"]

_STEP = re.compile(r"([A-Za-z_]{1,40})|\[(\d+)\]")
_OURS = frozenset({"assistant", "developer", "model", "system"})
_OF_THE_APPLICATION = ("functions", "instructions", "response_format", "system", "text", "tool_choice", "tools")
_DOCUMENT = re.compile(r"(?:^|\.)(?:documents?|source|results|title|context)(?:\.|\[|\Z)")


def source_of(field: Field, values: Sequence[Any], endpoint: Endpoint) -> str:
    """Return ``user``, ``tool`` or ``document``; ``""`` for what the application itself says, and for no text."""
    if field.kind != "text":
        return ""
    if endpoint.sources.covers(field.place):
        return "document" if _DOCUMENT.search(field.place) else "tool"
    role = _role(field, values)
    if role in ("tool", "function"):
        return "tool"
    if role in _OURS or field.place.split(".", 1)[0].split("[", 1)[0] in _OF_THE_APPLICATION:
        return ""
    return "user"


def _role(field: Field, values: Sequence[Any]) -> str:
    """Return the role of the outermost message that a field stands in."""
    if not 0 <= field.tree < len(values):
        return ""
    value = values[field.tree]
    for found in _STEP.finditer(field.place):
        if isinstance(value, dict):
            if isinstance(role := value.get("role"), str):
                return role
            value = value.get(found[1]) if found[1] else None
        elif isinstance(value, list) and found[2] and int(found[2]) < len(value):
            value = value[int(found[2])]
        else:
            return ""
    return ""
