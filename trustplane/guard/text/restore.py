"""Restoring pseudonyms in whole texts and in streams; the stream gives exactly what the whole gives."""

from __future__ import annotations

from collections.abc import Callable

from trustplane.guard.text.shapes import StandIns, variants
from trustplane.guard.text.spelling import BEFORE, Place, Speller
from trustplane.guard.text.tokens import Sealer

__all__ = ["Pseudonyms", "Restorer"]


class Pseudonyms:
    """The table of one session: core (``EMAIL_ADDRESS_7K2Q``) or stand-in to value, and how they are found.

    With ``sealer`` sealed tokens are found too. No core is the beginning of another, so none is mistaken
    for a longer one; the caller who enters cores sees to that.
    """

    __slots__ = ("_shaped", "_speller", "_values")

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._values: dict[str, str] = {}
        self._shaped = StandIns()
        self._speller = Speller(self._values.get, sealer)

    def __repr__(self) -> str:
        return f"Pseudonyms({len(self)})"

    def __len__(self) -> int:
        return len(self._values) + len(self._shaped)

    @property
    def longest(self) -> int:
        """Most characters that a stream can hold back while it waits for the end of a placeholder."""
        return self._speller.window + 20

    def add(self, core: str, value: str) -> None:
        """Enter a core, upper case (a label, ``_``, a code), with its value."""
        self._values[core] = value
        self._speller.add(core.rpartition("_")[0])

    def add_shaped(self, entity: str, shown: str, value: str) -> None:
        """Enter a stand-in, in all the ways in which it may be written."""
        for form in (shown, *sorted(variants(entity, shown))):
            if form == shown or form not in self._shaped:
                self._shaped.add(form, value)

    def is_free(self, shown: str) -> bool:
        """Return whether a stand-in is not in the table yet."""
        return shown not in self._shaped

    def clear(self) -> None:
        """Drop every value."""
        self._values.clear()
        self._shaped.clear()

    def find(self, text: str, start: int = 0, *, final: bool = True) -> tuple[list[Place], int]:
        """Return the places of pseudonyms from ``start`` on, disjoint, in order, and up to where that is decided.

        ``text[:start]`` is what was there before; with ``final`` no more text will come. What is decided
        stays so whatever follows.
        """
        places, safe = self._speller.find(text, start, final=final)
        if not len(self._shaped):
            return places, safe
        shaped, safe_shaped = self._shaped.find(text, start, final=final)
        safe = min(safe, safe_shaped)
        found: list[Place] = []
        for place in sorted([*places, *shaped]):
            if found and place.start < found[-1].end:
                continue
            if place.end > safe:
                safe = min(safe, place.start)
                break
            found.append(place)
        return found, safe

    def literals(self, text: str) -> list[Place]:
        """Return what of a user's own text could be read as a pseudonym, whatever will surround it."""
        places = self._speller.literals(text)
        if len(self._shaped):
            places += self._shaped.find(text, edges=False)[0]
        return places

    def restore(self, text: str, escape: Callable[[str], str] | None = None) -> str:
        """Return ``text`` with each pseudonym replaced by its value."""
        places, _ = self.find(text)
        if not places:
            return text
        pieces: list[str] = []
        position = 0
        for place in places:
            pieces += (text[position : place.start], place.value if escape is None else escape(place.value))
            position = place.end
        return "".join(pieces) + text[position:]


class Restorer:
    """Restores a text that arrives in chunks: ``feed`` gives what is certain, ``close`` the rest.

    The pieces joined equal ``restore`` of the chunks joined, however they are cut: both read with
    :meth:`Pseudonyms.find`. At most ``Pseudonyms.longest`` characters are held back, of prose only the
    letters that could begin a pseudonym. One that the session makes later is not known to what went before.
    """

    __slots__ = ("_before", "_buffer", "_escape", "_pseudonyms", "restored")

    def __init__(self, pseudonyms: Pseudonyms, escape: Callable[[str], str] | None = None) -> None:
        self._pseudonyms = pseudonyms
        self._escape = escape
        self._before = ""
        self._buffer = ""
        self.restored = 0
        """How many pseudonyms were put back so far."""

    def __repr__(self) -> str:
        return f"Restorer({len(self._buffer)} characters held)"

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the restored text that can no longer change."""
        return self._take(chunk, final=False)

    def close(self) -> str:
        """Return what was held back; the restorer is then empty."""
        out = self._take("", final=True)
        self._before = ""
        return out

    def _take(self, chunk: str, *, final: bool) -> str:
        text = self._before + self._buffer + chunk
        position = len(self._before)
        places, safe = self._pseudonyms.find(text, position, final=final)
        pieces: list[str] = []
        for place in places:
            pieces += (text[position : place.start], place.value if self._escape is None else self._escape(place.value))
            position = place.end
            self.restored += 1
        pieces.append(text[position:safe])
        self._buffer = text[safe:]
        self._before = text[max(0, safe - BEFORE) : safe]
        return "".join(pieces)
