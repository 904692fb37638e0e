"""Overlaps: of candidates that touch the same characters, one wins and covers them all."""

from __future__ import annotations

from collections.abc import Iterable

from trustplane.guard.text.hit import Hit

__all__ = ["resolve"]


def resolve(hits: Iterable[Hit]) -> list[Hit]:
    """Return disjoint hits in text order.

    Each cluster of overlapping hits becomes one: the rule and score are those of the longest hit (then
    the highest score, the leftmost, the first rule by name), the span is that of the whole cluster, so
    that no part of a losing hit stays in the text.
    """
    found: list[Hit] = []
    end = -1
    best: Hit | None = None
    start = 0
    for hit in sorted(hits, key=lambda h: (h.start, h.end, h.entity, h.rule, h.score)):
        if best is not None and hit.start < end:
            end = max(end, hit.end)
            if _rank(hit) < _rank(best):
                best = hit
            continue
        if best is not None:
            found.append(best._replace(start=start, end=end))
        best, start, end = hit, hit.start, hit.end
    if best is not None:
        found.append(best._replace(start=start, end=end))
    return found


def _rank(hit: Hit) -> tuple[int, float, int, str]:
    return (hit.start - hit.end, -hit.score, hit.start, hit.entity)
