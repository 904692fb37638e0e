"""Recognisers with code of their own, called as Presidio calls them, under a time limit and with checked results."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from trustplane.errors import Refused
from trustplane.guard.text.hit import Hit

__all__ = ["Outside"]

_MOST_STUCK = 8
"""How many calls may hang at once; past them the guard refuses without calling."""


class Outside:
    """Runs recognisers one after another in a thread of its own, so that one that hangs does not hang the caller.

    A call that passes its limit is given up: Python cannot stop a thread, so it goes on in the background, and
    after eight such calls nothing more is called. What this does not help against: code in C that never lets go
    of the interpreter's lock.
    """

    def __init__(self, recognizers: Sequence[Any], seconds: float) -> None:
        self._recognizers = tuple(recognizers)
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
            with self._lock:
                self._stuck.append(thread)
            raise Refused(f"recogniser {state.name!r} ran longer than its limit")
        if state.failed:
            raise Refused(state.failed)
        return hits

    def _run(self, text: str, hits: list[Hit], state: _State) -> None:
        for recognizer in self._recognizers:
            state.name = str(recognizer.name)
            try:
                for result in recognizer.analyze(text, recognizer.supported_entities, None) or ():
                    start, end, score = int(result.start), int(result.end), float(result.score)
                    if not (0 <= start <= end <= len(text) and 0.0 <= score <= 1.0):
                        state.failed = (
                            f"recogniser {state.name!r} gave a place outside the text or a score outside 0..1"
                        )
                        return
                    if start < end and score > 0:
                        hits.append(Hit(str(result.entity_type), start, end, score, f"presidio/{state.name}"))
            except BaseException as error:  # noqa: BLE001 - it may raise anything, with the text in its message
                state.failed = f"recogniser {state.name!r} failed ({type(error).__name__})"
                return


class _State:
    """What the thread reports: which recogniser is at work, and what went wrong."""

    def __init__(self) -> None:
        self.name = ""
        self.failed = ""
