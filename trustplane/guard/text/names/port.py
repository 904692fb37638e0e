"""NameFinder: the port through which names of people, places and organisations come."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit

__all__ = ["NameFinder", "refuse_in_event_loop"]


@runtime_checkable
class NameFinder(Protocol):
    """Finds names in folded text; safe in many threads; equal ``digest`` and text give equal hits.

    ``name``, ``version``, ``digest`` (``sha256:<hex>`` of the model and its lists) go into the policy's
    digest. ``entities``: of ``PERSON``, ``LOCATION``, ``ORGANIZATION``. ``heavy``: takes so long (a model)
    that it must not run in an event loop's thread.
    """

    @property
    def name(self) -> str:
        """Short name; hits carry the rule ``names/<name>``."""

    @property
    def version(self) -> str:
        """Raised whenever a result may change."""

    @property
    def entities(self) -> tuple[str, ...]:
        """Entities that ``find`` may give."""

    @property
    def heavy(self) -> bool:
        """Whether it must stay out of event loops."""

    @property
    def digest(self) -> str:
        """Digest of the model."""

    def find(self, text: str) -> Iterable[Hit]:
        """Return the names in ``text``, offsets in characters of ``text``, in any order."""


def refuse_in_event_loop(finder: NameFinder) -> None:
    """Raise if ``finder`` is heavy and an asyncio event loop runs in this thread (trio is not looked for).

    Raises:
        InputError: it would hold up every other task of the loop.
    """
    asyncio = sys.modules.get("asyncio")
    if finder.heavy and asyncio is not None and asyncio._get_running_loop() is not None:
        raise InputError(
            "a name model must not run in an event loop's thread", hint="await asyncio.to_thread(guard.detect, text)"
        )
