"""Recognisers with code of their own, called as Presidio calls them, under a time limit and with checked results."""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from typing import Any

from trustplane.errors import Refused
from trustplane.guard.text.hit import Hit

__all__ = ["Outside"]

_MOST_STUCK = 8
"""How many calls may hang at once; past them the guard refuses without calling."""


_MOST_BESIDES = 1000
"""A recogniser may give so many results more than the text has characters; one that gives more never ends."""


class Outside:
    """Runs recognisers one after another in a thread of its own, so that one that hangs does not hang the caller.

    A call that passes its limit is given up: Python cannot stop a thread, so it goes on in the background, and
    after eight such calls nothing more is called. What this does not help against: code in C that never lets go
    of the interpreter's lock.
    """

    def __init__(self, recognizers: Sequence[Any], seconds: float) -> None:
        self._recognizers = tuple((str(r.name), frozenset(r.supported_entities), r) for r in recognizers)
        self._seconds = seconds
        self._stuck: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Outside({len(self._recognizers)} recognisers, {self._seconds} s)"

    def search(self, text: str) -> list[Hit]:
        """Return what the recognisers find in ``text``.

        Raises:
            Refused: one raised, ran longer than the limit, or gave a place outside the text or a score outside
                0..1. The message names the recogniser and nothing of the text.
        """
        if not self._recognizers:
            return []
        with self._lock:
            self._stuck = [thread for thread in self._stuck if thread.is_alive()]
            if len(self._stuck) >= _MOST_STUCK:
                raise Refused("too many calls of recognisers hang", hint="restart the process")
        hits: list[Hit] = []
        state = _State()
        thread = threading.Thread(target=self._run, args=(text, hits, state), daemon=True, name="recognisers")
        thread.start()
        thread.join(self._seconds * len(self._recognizers))
        if thread.is_alive():
            state.given_up = True
            with self._lock:
                self._stuck.append(thread)
            raise Refused(f"recogniser {state.name!r} ran longer than its limit")
        if state.failed:
            raise Refused(state.failed)
        return hits

    def _run(self, text: str, hits: list[Hit], state: _State) -> None:
        for name, entities, recognizer in self._recognizers:
            state.name = name
            try:
                for number, result in enumerate(
                    recognizer.analyze(text, list(recognizer.supported_entities), None) or ()
                ):
                    start, end, score = operator.index(result.start), operator.index(result.end), float(result.score)
                    if state.given_up:
                        return
                    if not (0 <= start <= end <= len(text) and 0.0 <= score <= 1.0):
                        state.failed = f"recogniser {name!r} gave a place outside the text or a score outside 0..1"
                        return
                    if result.entity_type not in entities:
                        state.failed = f"recogniser {name!r} gave an entity that it does not declare"
                        return
                    if number > len(text) + _MOST_BESIDES:
                        state.failed = f"recogniser {name!r} gave more results than the text has characters"
                        return
                    if start < end and score > 0:
                        hits.append(Hit(result.entity_type, start, end, score, f"presidio/{name}"))
            except BaseException as error:  # noqa: BLE001 - it may raise anything, with the text in its message
                state.failed = f"recogniser {name!r} failed ({type(error).__name__})"
                return
        state.failed = ""


class _State:
    """What the thread reports: which recogniser is at work, and what went wrong."""

    def __init__(self) -> None:
        self.name = ""
        self.failed = "the recognisers did not finish"  # until they have
        self.given_up = False
