"""Session: reversible pseudonyms in memory, the same value always by the same one."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from trustplane.errors import InputError
from trustplane.guard.text.arguments import check_text, check_texts
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.names.listed import Names, listed
from trustplane.guard.text.overlap import resolve
from trustplane.guard.text.pseudonym import CODE_LENGTH, CODE_LETTERS, MAX_CODE, Codes, label_of
from trustplane.guard.text.restore import Pseudonyms, Restorer
from trustplane.guard.text.shapes import stand_ins
from trustplane.guard.text.tokens import Sealer
from trustplane.guard.text.units import NOISE, decoded, plain
from trustplane.guard.text.views import fold

if TYPE_CHECKING:
    from trustplane.guard.text.guard import TextGuard
    from trustplane.guard.text.reply import Cleaner
    from trustplane.guard.text.reply_json import ReplyText
    from trustplane.guard.text.stream import Redactor

__all__ = ["LITERAL", "Session", "holds_codes"]

LITERAL = "PLACEHOLDER"
"""Entity under which a text that looks like a pseudonym of this session is itself hidden."""
LIMIT = 100_000
"""How many values and names a session holds unless told otherwise."""
DIGITS_KEPT = 1 << 20
"""Digits of earlier texts that stand-ins are compared with; past them values get placeholders."""
_SHOWN = re.compile(rf"\[([A-Z0-9_]+_[{CODE_LETTERS}]{{{CODE_LENGTH},{MAX_CODE}}})\]")
_CODE = rf"[{CODE_LETTERS}]"
_AFTER = re.compile(rf"[_\n][{NOISE}\\]*(?=((?:{_CODE}[\n{NOISE}\\]*){{{CODE_LENGTH - 1}}}{_CODE}))")
_NUMBER = re.compile(r"[0-9]+")


def holds_codes(text: str) -> bool:
    """Return whether something in ``text`` could be read as the code of a pseudonym, whatever its letters stand for.

    Where nothing can, no code is taken by the text, and no pseudonym is forged in it; sealed tokens are another matter.
    """
    shown = plain(text)
    return _AFTER.search(shown) is not None or ((form := decoded(shown)) != shown and _AFTER.search(form) is not None)


class Session:
    """Hides values behind pseudonyms such as ``[EMAIL_ADDRESS_7K2Q]`` and puts them back.

    ``restore(hide(x)) == x`` for every ``x``, also for earlier texts of the session. A code is a keyed
    function of the value (:class:`~trustplane.guard.text.pseudonym.Codes`), so the same ``key``,
    ``tenant`` and ``session`` give the same pseudonyms again; without a key it means something in this
    session only. Whoever types a pseudonym gets it back as typed: a code that stands in a text is not
    given out, and a text that repeats a pseudonym is itself hidden. People's names found once are found in
    all later texts of the session, cue or not.

    ``shapes``: entities whose values are replaced by a stand-in of the same shape where there is one (see
    :mod:`trustplane.guard.text.shapes`). ``sealed``: values travel inside the pseudonyms, encrypted, and the
    session keeps none (see :mod:`trustplane.guard.text.tokens`); it takes a key of 32 bytes. ``limit``:
    most values, and most names, held.

    Brackets are square since ``<...>`` is taken for a tag by what renders Markdown or HTML; codes have
    a letter and a digit, no vowel, no case. Holds the values in memory until it is dropped. Threads may
    share a session; one waits while another hides.

    Raises:
        InputError: ``sealed`` without a key or with ``shapes``, or a key that is too short.
    """

    def __init__(
        self,
        guard: TextGuard,
        *,
        key: bytes | None = None,
        tenant: str = "",
        session: str = "",
        shapes: Iterable[str] = (),
        sealed: bool = False,
        limit: int = LIMIT,
    ) -> None:
        check_text(tenant, session)
        self._guard = guard
        self._codes = Codes(key, tenant, session)
        self._shapes = frozenset(shapes)
        if sealed and (key is None or self._shapes):
            raise InputError("sealed pseudonyms need a key and have no shapes")
        self._sealer = Sealer(key, tenant, session) if sealed and key is not None else None
        self._limit = limit
        self._lock = threading.RLock()
        self._pseudonyms = Pseudonyms(self._sealer)
        self._by_value: dict[str, str] = {}
        self._issued: set[str] = set()
        self._seen_codes: set[str] = set()
        self._seen_digits: list[str] = []
        self._digits_left = DIGITS_KEPT
        self._people: set[str] = set()
        self._names = Names(())
        self.counts: Counter[str] = Counter()
        """Hidden places so far per entity; a forged placeholder counts as ``PLACEHOLDER``."""

    def __repr__(self) -> str:
        return f"Session({len(self._by_value)} pseudonyms)"

    @property
    def sealed(self) -> bool:
        """Whether values travel inside the pseudonyms."""
        return self._sealer is not None

    @property
    def findings(self) -> int:
        """How many places were hidden so far."""
        return self.counts.total()

    def hide(self, text: str) -> str:
        """Return ``text`` with each finding replaced by its pseudonym.

        Raises:
            TimeoutError: a pattern ran longer than its limit; nothing may be sent then.
            InputError: the session holds as many values as it may.
        """
        check_text(text)
        return self.hide_many([text])[0]

    def hide_many(self, texts: Sequence[str]) -> list[str]:
        """Return the hidden texts; a name found in one of them is hidden in all of them."""
        check_texts(texts)
        with self._lock:
            found = self._guard.detect_many(texts)
            return self.hide_hits(texts, found)

    def hide_hits(self, texts: Sequence[str], found: Sequence[Sequence[Hit]]) -> list[str]:
        """Return the texts with the given hits hidden, and with them what this session knows of.

        Raises:
            InputError: the session holds as many values as it may.
        """
        with self._lock:
            for text, hits in zip(texts, found, strict=True):
                self.notice(text, hits)
            return [self.replace(text, self.known(text, hits)) for text, hits in zip(texts, found, strict=True)]

    def notice(self, text: str, hits: Sequence[Hit]) -> None:
        """Remember what may not be given out because ``text`` holds it, and the names in it."""
        with self._lock:
            shown = plain(text)
            if self._sealer is None:
                for form in {shown, decoded(shown)}:
                    self._seen_codes.update(m[1].translate(_NO_NOISE) for m in _AFTER.finditer(form))
            if self._shapes:
                self._notice_digits(shown)
            for hit in hits:
                if hit.entity == "PERSON" and hit.end - hit.start > 1:
                    name = text[hit.start : hit.end]
                    if name not in self._people:
                        if len(self._people) >= self._limit:
                            raise InputError("the session holds as many names as it may", hint="open a new session")
                        self._people.add(name)
                        self._names.add((name,))

    def _notice_digits(self, shown: str) -> None:
        digits = "".join(_NUMBER.findall(shown))
        self._digits_left -= len(digits)
        if self._digits_left > 0 and digits:
            self._seen_digits.append(digits)

    def known(self, text: str, hits: Sequence[Hit]) -> list[Hit]:
        """Return ``hits`` and beside them names of the session and forged pseudonyms, disjoint and in order."""
        with self._lock:
            found = list(hits)
            if self._people:
                folded = fold(text)
                for hit in listed(self._names, "PERSON", folded.text):
                    start, end = folded.span(hit.start, hit.end)
                    found.append(hit._replace(start=start, end=end))
            found += [Hit(LITERAL, place.start, place.end, 1.0) for place in self._pseudonyms.literals(text)]
            return resolve(found)

    def replace(self, text: str, hits: Sequence[Hit], *, shaped: bool = True) -> str:
        """Return ``text`` with disjoint hits, in order, replaced by their pseudonyms, stand-ins if ``shaped``."""
        with self._lock:
            shapes = self._shapes if shaped else frozenset()
            hidden = self._joined(text, hits, shapes)
            if self._shapes and hits:
                if shapes and self._pseudonyms.restore(hidden) != text:  # stand-ins that run into what is beside them
                    hidden = self._joined(text, hits, frozenset())
                self._notice_digits(plain(hidden))
            for hit in hits:
                self.counts[hit.entity] += 1
            return hidden

    def _joined(self, text: str, hits: Sequence[Hit], shapes: frozenset[str]) -> str:
        pieces: list[str] = []
        position = 0
        for hit in hits:
            value = text[hit.start : hit.end]
            pieces += (text[position : hit.start], self._shown(hit.entity, value, shapes))
            position = hit.end
        return "".join(pieces) + text[position:]

    def _shown(self, entity: str, value: str, shapes: frozenset[str]) -> str:
        """Return what stands for ``value``; a stand-in and a placeholder of one value may both be known."""
        if self._sealer is not None:
            return self._sealer.seal(entity, value)
        shaped = entity in shapes
        kept = self._by_value.get(value)
        if kept is not None and (shaped or kept.startswith("[") or not self._shapes):
            return kept
        if kept is None and len(self._by_value) >= self._limit:
            raise InputError("the session holds as many values as it may", hint="open a new session, or raise limit")
        shown = self._stand_in(entity, value) if shaped and kept is None else ""
        if not shown:
            core = f"{label_of(entity)}_{self._code(value)}"
            self._pseudonyms.add(core, value)
            shown = f"[{core}]"
        self._by_value[value] = shown
        return shown

    def _stand_in(self, entity: str, value: str) -> str:
        """Return a stand-in that stands in no text so far, ``""`` if there is none."""
        if self._digits_left <= 0:
            return ""
        for shown in stand_ins(entity, value, self._codes):
            digits = "".join(_NUMBER.findall(shown))
            if not self._pseudonyms.is_free(shown) or (
                shown.startswith("user_") and shown[5 : 5 + CODE_LENGTH].upper() in self._seen_codes
            ):
                continue
            if not shown.startswith("user_") and any(digits in seen for seen in self._seen_digits):
                continue
            self._pseudonyms.add_shaped(entity, shown, value)
            return shown
        return ""

    def _code(self, value: str) -> str:
        for code in self._codes.candidates(value):
            begins = [code[:length] for length in range(CODE_LENGTH, len(code) + 1)]
            if begins[0] not in self._seen_codes and self._issued.isdisjoint(begins):
                self._issued.update((code, *(begins if len(code) > CODE_LENGTH else ())))
                return code
        raise InputError("no free pseudonym is left in this session", hint="open a new session")

    def restore(self, text: str, *, escape: Callable[[str], str] | None = None) -> str:
        """Return ``text`` with this session's pseudonyms replaced by their values.

        A pseudonym is known again in another case; with blanks, hyphens, line breaks or ``\\_`` for its
        underscores; with emphasis, soft hyphens or invisible characters inside; in full-width letters; with
        its square brackets lost, escaped (Markdown, HTML, JSON, percent) or turned into others; before an
        ``s`` or ``'s``. Emphasis, quotes and parentheses around it stay where they are. ``escape`` is applied
        to each value, for a text in another notation such as JSON.
        """
        check_text(text)
        return self._pseudonyms.restore(text, escape)

    @property
    def pseudonyms(self) -> Pseudonyms:
        """The table of what stands for what, for those who read a reply piece by piece."""
        return self._pseudonyms

    def stream(self, *, escape: Callable[[str], str] | None = None) -> Restorer:
        """Return a restorer for a text that arrives in chunks."""
        return Restorer(self._pseudonyms, escape)

    def redactor(self) -> Redactor:
        """Return what hides a text that arrives in chunks; see :mod:`trustplane.guard.text.stream`."""
        from trustplane.guard.text.stream import Redactor

        return Redactor(self._guard, self)

    def clean(self, text: str, *, json: bool = False) -> tuple[str, int]:
        """Restore ``text`` from outside and mask what it holds beside this session's pseudonyms.

        Returns the text and how many places were masked; see :mod:`trustplane.guard.text.reply` for the
        rules that count in a reply. ``json``: a text that is JSON is read as JSON and stays it.
        """
        check_text(text)
        cleaner = self.cleaner(json=json)
        return cleaner.whole(text), cleaner.masked

    def cleaner(self, *, json: bool = False) -> Cleaner | ReplyText:
        """Return what does :meth:`clean` for a text that arrives in chunks."""
        from trustplane.guard.text.reply import Cleaner
        from trustplane.guard.text.reply_json import ReplyText
        from trustplane.guard.text.reply_view import plain_view

        return (ReplyText if json else Cleaner)(plain_view(self._guard), self._pseudonyms)

    def forget(self) -> None:
        """Drop every value and name; what was hidden can then not be restored.

        References are dropped; CPython cannot overwrite a ``str``, so freed memory may hold it until reuse.
        """
        with self._lock:
            self._pseudonyms.clear()
            self._by_value.clear()
            self._people.clear()
            self._names = Names(())
            self._seen_codes.clear()
            self._seen_digits.clear()
            self._digits_left = DIGITS_KEPT

    def values(self) -> dict[str, str]:
        """Return pseudonym → value, for a vault that seals them; handle it like the values themselves."""
        return {shown: value for value, shown in self._by_value.items()}

    @classmethod
    def from_values(
        cls,
        guard: TextGuard,
        values: dict[str, str],
        *,
        key: bytes | None = None,
        tenant: str = "",
        session: str = "",
    ) -> Session:
        """Return a session that knows the placeholders of ``values``, as :meth:`values` gives them without shapes.

        Raises:
            InputError: a key is not a placeholder of the form that a session makes.
        """
        made = cls(guard, key=key, tenant=tenant, session=session)
        for shown, value in values.items():
            found = _SHOWN.fullmatch(shown)
            if found is None or not value:
                raise InputError("the vault holds a pseudonym of an unknown form")
            made._pseudonyms.add(found[1], value)
            made._by_value[value] = shown
            code = found[1].rpartition("_")[2]
            made._issued.update(code[:length] for length in range(CODE_LENGTH, len(code) + 1))
        return made


_NO_NOISE = str.maketrans("", "", NOISE + "\n\\")
