"""Session: reversible pseudonyms in memory, the same value always by the same one."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.names.cues import listed, name_pattern
from trustplane.guard.text.overlap import resolve
from trustplane.guard.text.restore import Pseudonyms, Restorer
from trustplane.guard.text.views import fold

if TYPE_CHECKING:
    from trustplane.guard.text.guard import TextGuard
    from trustplane.guard.text.reply import Cleaner

__all__ = ["Session"]

CODE_LETTERS = "23456789BCDFGHJKMNPQRSTVWXZ"
"""27 letters and digits that are hard to mistake and spell no words."""
CODE_LENGTH = 4
"""27^4 is 531,441 codes; past ``CODE_CROWD`` pseudonyms codes are two longer, so that draws rarely meet."""
CODE_CROWD = 5_000
LITERAL = "PLACEHOLDER"
"""Rule under which a text that looks like a pseudonym of this session is itself hidden."""
_NOT_NAME = re.compile(r"[^A-Z0-9]+")
_CODE_LIKE = re.compile(rf"(?<![A-Z0-9a-z])[{CODE_LETTERS}{CODE_LETTERS.lower()}]{{4,6}}(?![A-Z0-9a-z])")


class Session:
    """Hides values behind pseudonyms such as ``[EMAIL_ADDRESS_7K2Q]`` and puts them back.

    ``restore(hide(x)) == x`` for every ``x``. A pseudonym's code is random, is not in any text hidden
    so far, and means something in this session only: whoever types one gets it back as typed.
    People's names found once are found in all later texts of the session, cue or not.

    Holds the values in memory until it is dropped; not safe for use by two threads at once.
    """

    def __init__(self, guard: TextGuard) -> None:
        self._guard = guard
        self._pseudonyms = Pseudonyms()
        self._by_value: dict[str, str] = {}
        self._seen_codes: set[str] = set()
        self._people: set[str] = set()
        self.counts: Counter[str] = Counter()
        """Hidden places so far per rule; a forged placeholder counts as ``PLACEHOLDER``."""

    def __repr__(self) -> str:
        return f"Session({len(self._by_value)} pseudonyms)"

    @property
    def findings(self) -> int:
        """How many places were hidden so far."""
        return self.counts.total()

    def hide(self, text: str) -> str:
        """Return ``text`` with each finding replaced by its pseudonym.

        Raises:
            TimeoutError: a pattern ran longer than its limit; nothing may be sent then.
        """
        return self.hide_many([text])[0]

    def hide_many(self, texts: Sequence[str]) -> list[str]:
        """Return the hidden texts; a name found in one of them is hidden in all of them."""
        found = self._guard.detect_many(texts)
        for text, findings in zip(texts, found, strict=True):
            self._seen_codes.update(code.upper() for code in _CODE_LIKE.findall(text))
            for finding in findings:
                if finding.entity == "PERSON" and finding.end - finding.start > 1:
                    self._people.add(text[finding.start : finding.end])
        people = name_pattern(self._people)
        issued = self._pseudonyms.pattern()
        return [
            self._replace(text, self._hits(text, findings, people, issued))
            for text, findings in zip(texts, found, strict=True)
        ]

    def _hits(
        self,
        text: str,
        findings: Sequence[Hit],
        people: re.Pattern[str] | None,
        issued: re.Pattern[str] | None,
    ) -> list[Hit]:
        hits = list(findings)
        if people is not None:
            folded = fold(text)
            for hit in listed(people, "PERSON", folded.text):
                start, end = folded.span(hit.start, hit.end)
                hits.append(hit._replace(start=start, end=end))
        if issued is not None:
            hits += [Hit(LITERAL, m.start(), m.end(), 1.0) for m in issued.finditer(text)]
        return resolve(hits)

    def _replace(self, text: str, hits: Sequence[Hit]) -> str:
        pieces: list[str] = []
        position = 0
        for hit in hits:
            pieces += (text[position : hit.start], self._pseudonym(hit.entity, text[hit.start : hit.end]))
            position = hit.end
            self.counts[hit.entity] += 1
        return "".join(pieces) + text[position:]

    def _pseudonym(self, rule: str, value: str) -> str:
        core = self._by_value.get(value)
        if core is None:
            core = f"{_NOT_NAME.sub('_', rule.upper()).strip('_') or 'VALUE'}_{self._code()}"
            self._pseudonyms.add(core, value)
            self._by_value[value] = core
        return f"[{core}]"

    def _code(self) -> str:
        length = CODE_LENGTH if len(self._by_value) < CODE_CROWD else CODE_LENGTH + 2
        for _ in range(1000):
            code = "".join(secrets.choice(CODE_LETTERS) for _ in range(length))
            if code not in self._seen_codes:
                self._seen_codes.add(code)
                return code
        raise InputError("no free pseudonym is left in this session", hint="open a new session")

    def restore(self, text: str, *, escape: Callable[[str], str] | None = None) -> str:
        """Return ``text`` with this session's pseudonyms replaced by their values.

        A pseudonym is known again in another case, with its underscores as spaces, hyphens or ``\\_``,
        and with its square brackets lost or turned into ``<>``, ``{}`` or ``【】``. ``escape`` is applied
        to each value, for a text in another notation such as JSON.
        """
        return self._pseudonyms.restore(text, escape)

    def stream(self, *, escape: Callable[[str], str] | None = None) -> Restorer:
        """Return a restorer for a text that arrives in chunks."""
        return Restorer(self._pseudonyms, escape)

    def clean(self, text: str, *, escape: Callable[[str], str] | None = None) -> tuple[str, int]:
        """Restore ``text`` from outside and mask what it holds beside this session's pseudonyms.

        Returns the text and how many places were masked; see :mod:`trustplane.guard.text.reply` for the
        rules that count in a reply.
        """
        from trustplane.guard.text.reply import Cleaner

        cleaner = Cleaner(self._guard, self._pseudonyms, escape)
        return cleaner.whole(text), cleaner.masked

    def cleaner(self, *, escape: Callable[[str], str] | None = None) -> Cleaner:
        """Return what does :meth:`clean` for a text that arrives in chunks."""
        from trustplane.guard.text.reply import Cleaner

        return Cleaner(self._guard, self._pseudonyms, escape)

    def values(self) -> dict[str, str]:
        """Return pseudonym → value, for a vault that seals them; handle it like the values themselves."""
        return {f"[{core}]": value for value, core in self._by_value.items()}

    @classmethod
    def from_values(cls, guard: TextGuard, values: dict[str, str]) -> Session:
        """Return a session that knows the pseudonyms of ``values``, as :meth:`values` gives them.

        Raises:
            InputError: a key is not a pseudonym of the form that a session makes.
        """
        session = cls(guard)
        for shown, value in values.items():
            core = shown[1:-1]
            if not re.fullmatch(rf"\[[A-Z0-9_]+_[{CODE_LETTERS}]{{4,6}}\]", shown) or not value:
                raise InputError("the vault holds a pseudonym of an unknown form")
            session._pseudonyms.add(core, value)
            session._by_value[value] = core
            session._seen_codes.add(core.rpartition("_")[2])
        return session
