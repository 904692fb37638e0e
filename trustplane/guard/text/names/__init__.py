"""Names of people, places and organisations: by cue, by list, by tagger, by model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trustplane.guard.text.names.port import NameFinder

__all__ = ["built_in_finders"]


def built_in_finders(languages: Sequence[str]) -> tuple[NameFinder, ...]:
    """Return the finders of the package for ``languages``: ``en`` the tagger, ``zh`` the Chinese one."""
    found: list[NameFinder] = []
    if "en" in languages:
        from trustplane.guard.text.names.tagger import NameTagger

        found.append(NameTagger())
    if "zh" in languages:
        from trustplane.guard.text.names.chinese import ChineseNames

        found.append(ChineseNames())
    return tuple(found)
