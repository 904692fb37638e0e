"""Presidio's rule for duplicates: a finding inside another of its type with at least its score goes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from trustplane.guard.text.hit import Hit

__all__ = ["remove_duplicates"]


def remove_duplicates(hits: Iterable[Hit]) -> list[Hit]:
    """Return what ``EntityRecognizer.remove_duplicates`` keeps, in its order, in O(n log n) where that is O(n²).

    Taken by falling score, then start, then falling length; dropped is what lies inside one that was kept.
    """
    kept: list[Hit] = []
    edges: dict[str, tuple[list[int], list[int]]] = {}
    for hit in sorted(set(hits), key=lambda h: (-h.score, h.start, h.start - h.end, h.entity, h.rule)):
        # Both lists rise: a kept span that lies inside another is not needed to decide and is not in them.
        starts, ends = edges.setdefault(hit.entity, ([], []))
        before = bisect_right(starts, hit.start)
        if before and ends[before - 1] >= hit.end:
            continue
        kept.append(hit)
        first, last = bisect_left(starts, hit.start), bisect_right(ends, hit.end)
        starts[first:last] = [hit.start]
        ends[first:last] = [hit.end]
    return kept
