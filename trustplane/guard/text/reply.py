"""Replies: put a session's pseudonyms back and mask what the other side brought in, whole or in a stream."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from trustplane.guard.text.restore import Pseudonyms
from trustplane.guard.text.segment import EAGER, MOST, STEP, boundaries, open_key, view_of
from trustplane.guard.text.spelling import BEFORE, Place

if TYPE_CHECKING:
    from trustplane.guard.text.guard import TextGuard

__all__ = ["REPLY_SKIPS", "Cleaner"]

REPLY_SKIPS = frozenset({"DATE_TIME", "LOCATION", "NRP", "ORGANIZATION", "PERSON", "URL"})
"""Entities that do not count in a reply: a link, a date, a public name or place is what people ask models for."""
CONTEXT = 256
"""Characters already given out that are kept to search again, for look-behind and context words."""
FARTHEST = 512
"""Most characters of context and margin, whatever reach the guard's rules claim."""
WIDE_STEP = 128
"""Shortest segment where hits may span plain words, so that each needs a margin of its own."""
KEPT = 100
"""Characters that are kept of a private key that is being dropped; its last line is shorter."""

_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,4}|.|\Z)", re.DOTALL)
_KEY_END = re.compile(r"-----END[^-]{0,64}-----")
_BLANK = re.compile(r"[\s|]")
_NUMBER = "+-.0123456789eE"


class _Segment(NamedTuple):
    """A decided piece of the buffer: where it ends, what is masked in it, what it leaves open."""

    end: int
    masked: list[tuple[int, int, str]]
    dropping: str = ""


class Cleaner:
    """Cleans a reply that arrives in chunks: ``feed`` gives what is certain, ``close`` the rest.

    Pseudonyms become values, each other finding becomes ``<ENTITY>``; entities of ``REPLY_SKIPS`` do not
    count. The pieces joined equal :meth:`whole` of the chunks joined, however they are cut, for any guard:
    both cut the text into the same segments, at places that are a function of the text alone, and search
    each with the same ``CONTEXT`` characters before it. So what is proven for the whole holds for the stream.

    What is found: everything that ``guard.detect`` finds in a segment with its context. A place is cut
    where no value is under way (:func:`~trustplane.guard.text.segment.boundaries`): ordinary prose goes out
    after a word or two, at most ``STEP`` characters and a word are held. A value that spans plain words, as a
    listed name or what a user's recogniser finds, is kept whole too: a guard that has those looks ahead as
    far as its rules reach (``guard.reach``, 512 characters at most), and a place inside a hit is no cut.

    Bounded: a segment has at most ``MOST`` characters. A run longer than that without any place to cut is
    searched in pieces; a hit that fills a piece is masked, and the rest of its word, or of its private key
    in PEM form, is dropped. So at most ``MOST`` characters and one placeholder are held back.

    With ``escape`` the text is JSON: values are escaped, a mask outside a string gets quotes.
    """

    def __init__(self, guard: TextGuard, pseudonyms: Pseudonyms, escape: Callable[[str], str] | None = None) -> None:
        self._guard = guard
        self._pseudonyms = pseudonyms
        self._escape = escape
        reach = min(FARTHEST, max(CONTEXT, int(getattr(guard, "reach", CONTEXT))))
        self._context = reach
        self._margin = 0
        if guard.custom or guard.longest_name:
            self._margin = reach if guard.custom else min(FARTHEST, guard.longest_name + 8)
        self._left = ""
        self._edge = ""
        self._buffer = ""
        self._view = ""
        self._looked = 0
        self._given = 0
        self._dropping = ""
        self._quoted = False
        self.masked = 0
        """How many places were masked so far."""
        self.restored = 0
        """How many pseudonyms were put back so far."""

    def __repr__(self) -> str:
        return f"Cleaner({len(self._buffer)} characters held)"

    def whole(self, text: str) -> str:
        """Return the clean form of a complete text."""
        return self.feed(text) + self.close()

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the clean text that can no longer change.

        Raises:
            TimeoutError: a pattern ran longer than its limit; nothing more may be given out.
        """
        pieces: list[str] = []
        step = 2 * MOST  # a long chunk in parts, since each segment copies what is held
        for start in range(0, len(chunk), step):
            pieces += self._segments(chunk[start : start + step], final=False)
        return "".join(pieces)

    def close(self) -> str:
        """Return the rest; the cleaner is then empty."""
        out = "".join(self._segments("", final=True))
        self._left = self._edge = self._dropping = ""
        self._looked = self._given = 0
        self._quoted = False
        return out

    def _segments(self, more: str, *, final: bool) -> Iterator[str]:
        self._buffer += more
        self._view += view_of(more)
        while self._buffer:
            if self._dropping and not self._drop(final=final):
                return
            shift = len(self._edge)
            places, safe = self._pseudonyms.find(self._edge + self._buffer, shift, final=final)
            known = [Place(p.start - shift, p.end - shift, p.value) for p in places]
            safe -= shift
            while (segment := self._next(known, safe, final=final)) is not None:
                yield self._write(segment, [p for p in known if p.start < segment.end])
                known = [
                    Place(p.start - segment.end, p.end - segment.end, p.value) for p in known if p.end > segment.end
                ]
                safe -= segment.end
                if self._dropping or not self._buffer:
                    break
            else:
                return

    def _next(self, known: list[Place], safe: int, *, final: bool) -> _Segment | None:
        """Return the next segment, None if more text must come before it is decided."""
        view = self._view[:MOST]
        least = WIDE_STEP if self._margin else STEP if self._given >= EAGER else 1
        for end in boundaries(view, max(self._looked, least - 1)):
            ahead = end + self._margin
            if not final and ahead > safe:
                return None
            self._looked = end
            if any(p.start < end < p.end for p in known) or open_key(view, end) >= 0:
                continue
            masked = self._found(known, end, ahead)
            if any(start < end < stop for start, stop, _ in masked):
                continue
            return _Segment(end, masked)
        self._looked = max(self._looked, len(view))  # whatever comes, no place so far is one to cut at
        if len(self._buffer) > MOST and (final or safe >= MOST):
            return self._forced(known, view)
        if not final:
            return None
        return _Segment(len(self._buffer), self._found(known, len(self._buffer), len(self._buffer)))

    def _forced(self, known: list[Place], view: str) -> _Segment:
        """Cut a run of over ``MOST`` characters that has no place to cut."""
        masked = self._found(known, MOST, MOST)
        key = open_key(view, MOST)
        if key >= 0:  # whether or not a rule finds a key that has no end yet
            if key == 0:
                return _Segment(MOST, [(0, MOST, "PRIVATE_KEY")], "key")
            return _Segment(key, [hit for hit in masked if hit[0] < key])
        spans = [*((start, stop) for start, stop, _ in masked), *((p.start, p.end) for p in known)]
        if self._escape is not None:
            spans += [m.span() for m in _ESCAPE.finditer(self._buffer, 0, MOST)]
        end = MOST - self._context
        for start, stop in sorted(spans, reverse=True):
            if start < end < stop:
                end = start
        if end > 0:
            return _Segment(end, [hit for hit in masked if hit[0] < end])
        start, stop, entity = masked[0]  # a hit that fills most of the piece
        if stop < MOST:
            return _Segment(stop, masked[:1])
        return _Segment(MOST, [(start, MOST, entity)], "word")

    def _drop(self, *, final: bool) -> bool:
        """Drop the rest of what was masked; return whether text is left after its end."""
        blanked = self._blank(self._buffer, [], 0)
        ends: list[int] = []
        if self._escape is not None and '"' in blanked:
            ends.append(blanked.index('"'))
        if self._dropping == "key":
            ends += [found.end() for found in (_KEY_END.search(self._buffer),) if found]
        else:
            ends += [found.start() for found in (_BLANK.search(self._view),) if found]
        cut = min(ends, default=len(self._buffer) if final else max(0, len(self._buffer) - KEPT))
        if not ends and self._escape is not None:
            cut = next((m.start() for m in _ESCAPE.finditer(self._buffer) if m.start() < cut < m.end()), cut)
        self._buffer, self._view = self._buffer[cut:], self._view[cut:]
        if ends:
            self._dropping = self._edge = self._left = ""
        return bool(ends) and bool(self._buffer)

    def _blank(self, text: str, known: list[Place], offset: int) -> str:
        """Blank this session's pseudonyms, and in JSON the escapes, so that no rule reads them."""
        pieces: list[str] = []
        position = 0
        for place in known:
            pieces += (text[position : place.start + offset], "<" * (place.end - place.start))
            position = place.end + offset
        blanked = "".join(pieces) + text[position:]
        if self._escape is not None:
            rest = _ESCAPE.sub(lambda m: "<" * len(m.group()), blanked[offset:])
            blanked = blanked[:offset] + rest
        return blanked

    def _found(self, known: list[Place], end: int, ahead: int) -> list[tuple[int, int, str]]:
        """Return what is to be masked before ``end``, found in the context, the buffer up to ``ahead`` and no more."""
        offset = len(self._left)
        text = self._left + self._buffer[:ahead]
        blanked = self._blank(text, [p for p in known if p.end <= ahead], offset)
        found = []
        for hit in self._guard.detect(blanked, skip=REPLY_SKIPS):
            start, stop = max(hit.start, offset), hit.end
            if self._escape is not None:
                start, stop = self._in_json(blanked, offset, start, stop)
            if start < stop and start - offset < end:
                found.append((start - offset, stop - offset, hit.entity))
        return found

    def _in_json(self, blanked: str, offset: int, start: int, stop: int) -> tuple[int, int]:
        """Fit a finding to the JSON around it: to its string, or to the whole bare number."""
        if (quote := blanked.find('"', start, stop)) >= 0:
            stop = quote
        if self._quoted ^ (blanked.count('"', offset, start) % 2 == 1):
            return start, stop
        while start > offset and blanked[start - 1] in _NUMBER:
            start -= 1
        while stop < len(blanked) and blanked[stop] in _NUMBER:
            stop += 1
        return start, stop

    def _write(self, segment: _Segment, known: list[Place]) -> str:
        """Give the segment out and keep its last characters as context."""
        masked = segment.masked
        places: list[tuple[int, int, str, str | None]] = [(a, b, f"<{entity}>", None) for a, b, entity in masked]
        places += [
            (p.start, p.end, "", p.value) for p in known if not any(a < p.end and p.start < b for a, b, _ in masked)
        ]
        text = self._buffer[: segment.end]
        blanked = self._blank(text, known, 0)
        pieces: list[str] = []
        position = 0
        for start, stop, mask, value in sorted(places):
            pieces.append(text[position:start])
            self._quoted ^= blanked.count('"', position, start) % 2 == 1
            if value is None:
                pieces.append(mask if self._escape is None or self._quoted else f'"{mask}"')
                self.masked += 1
            else:
                pieces.append(value if self._escape is None else self._escape(value))
                self.restored += 1
            position = min(stop, segment.end)
        pieces.append(text[position:])
        self._quoted ^= blanked.count('"', position) % 2 == 1
        self._left = (self._left + blanked)[-self._context :]
        self._edge = (self._edge + text)[-BEFORE:]
        self._buffer, self._view = self._buffer[segment.end :], self._view[segment.end :]
        self._looked = 0
        self._given += segment.end
        self._dropping = segment.dropping
        return "".join(pieces)
