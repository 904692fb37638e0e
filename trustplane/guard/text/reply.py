"""Replies: put a session's pseudonyms back and mask what the other side brought in, whole or in a stream."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple, Protocol

from trustplane.guard.text.hit import Hit
from trustplane.guard.text.restore import Pseudonyms
from trustplane.guard.text.screen import Reading, Screen, decided, screen_for
from trustplane.guard.text.segment import MOST, boundaries, least_step, open_key, view_of
from trustplane.guard.text.spelling import BEFORE, Place

__all__ = ["REPLY_SKIPS", "Cleaner", "Looker", "Piece", "joined"]

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

_KEY_END = re.compile(r"-----END[^-]{0,64}-----")
_BLANK = re.compile(r"[\s|]")


class Looker(Protocol):
    """What finds what a reply may not hold: a guard, or a policy's view of one."""

    @property
    def custom(self) -> bool:
        """Whether recognisers of the user's run, whose hits may span anything."""

    @property
    def longest_name(self) -> int:
        """Length in characters of the longest listed name."""

    @property
    def reach(self) -> int:
        """How many characters a hit and its context span at most."""

    def detect(self, text: str, *, skip: Container[str] = ()) -> list[Hit]:
        """Return disjoint hits in order."""


class Piece(NamedTuple):
    """What is given out for the next ``taken`` characters that came in; ``kept``: it is these characters."""

    taken: int
    text: str
    kept: bool


def joined(pieces: Iterable[Piece]) -> str:
    """Return the text of pieces."""
    return "".join(piece.text for piece in pieces)


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

    ``before``: what stands before the text, searched with it and not given out.
    """

    def __init__(self, guard: Looker, pseudonyms: Pseudonyms, before: str = "") -> None:
        self._guard = guard
        self._pseudonyms = pseudonyms
        reach = min(FARTHEST, max(CONTEXT, int(getattr(guard, "reach", CONTEXT))))
        self._context = reach
        self._margin = 0
        if guard.custom or guard.longest_name:
            self._margin = reach if guard.custom else min(FARTHEST, guard.longest_name + 8)
        self._left = before[-reach:]
        self._edge = before[-BEFORE:]
        self._buffer = ""
        self._view = ""
        self._looked = 0
        self._given = 0
        self._dropping = ""
        self._waits = False
        self._screen = screen_for(guard)
        self._reading: Reading | None = None
        self._blanked, self._behind = "", 0
        self.masked = 0
        """How many places were masked so far."""
        self.restored = 0
        """How many pseudonyms were put back so far."""

    def __repr__(self) -> str:
        return f"Cleaner({len(self._buffer)} characters held)"

    def whole(self, text: str) -> str:
        """Return the clean form of a complete text."""
        return joined(self.pieces(text, final=True))

    def feed(self, chunk: str) -> str:
        """Take the next chunk; return the clean text that can no longer change.

        Raises:
            TimeoutError: a pattern ran longer than its limit; nothing more may be given out.
        """
        return joined(self.pieces(chunk))

    def close(self) -> str:
        """Return the rest; the cleaner is then empty."""
        return joined(self.pieces("", final=True))

    def pieces(self, chunk: str, *, final: bool = False) -> list[Piece]:
        """Take the next chunk, the last one if ``final``; return what can no longer change, piece by piece.

        Together the pieces take each character once, in order.
        """
        if final and self._screen is not None and not self._given and not self._buffer and not self._dropping:
            return self._at_once(chunk, self._screen)
        return self._in_parts(chunk, final=final)

    def _in_parts(self, chunk: str, *, final: bool) -> list[Piece]:
        found: list[Piece] = []
        step = 2 * MOST  # a long chunk in parts, since each segment copies what is held
        for start in range(0, len(chunk), step):
            found += self._segments(chunk[start : start + step], final=False)
        if final:
            found += self._segments("", final=True)
            self._left = self._edge = self._dropping = ""
            self._looked = self._given = 0
        return found

    def _at_once(self, text: str, screen: Screen) -> list[Piece]:
        """Return the pieces of a whole text: where nothing of it opens a gate, no segment needs to be looked at."""
        shift = len(self._edge)
        places = self._pseudonyms.find(self._edge + text, shift)[0]
        known = [Place(p.start - shift, p.end - shift, p.value) for p in places] if shift else places
        blanked = self._left + _blank(text, known)
        reading = screen.read(blanked)
        is_one = len(blanked) <= self._context  # every segment's context then begins where the text does
        silent = reading is not None and (reading.silent or (is_one and reading.silent_uncut))
        if not silent or "-----BEGIN" in view_of(text):
            self._reading, self._blanked, self._behind = reading, blanked, len(self._left)
            found = self._in_parts(text, final=True)
            self._reading = None
            return found
        pieces: list[Piece] = []
        position = 0
        for start, end, value in known:
            if position < start:
                pieces.append(Piece(start - position, text[position:start], True))
            pieces.append(Piece(end - start, value, False))
            position = end
        if position < len(text):
            pieces.append(Piece(len(text) - position, text[position:], True))
        self.restored += len(known)
        self._left = self._edge = ""
        return pieces

    def _segments(self, more: str, *, final: bool) -> Iterator[Piece]:
        shown = view_of(more)
        self._buffer += more
        self._view += shown
        if not (final or self._waits or self._dropping or len(self._buffer) > MOST or _BLANK.search(shown)):
            return  # no new place to cut at
        while self._buffer:
            if self._dropping:
                dropped, ended = self._drop(final=final)
                if dropped:
                    yield Piece(dropped, "", False)
                if not ended or not self._buffer:
                    return
            if not final and len(self._buffer) < self._least:  # no place to cut can be there yet
                return
            shift = len(self._edge)
            places, safe = self._pseudonyms.find(self._edge + self._buffer, shift, final=final)
            known = [Place(p.start - shift, p.end - shift, p.value) for p in places]
            safe -= shift
            while (segment := self._next(known, safe, final=final)) is not None:
                yield from self._write(segment, [p for p in known if p.start < segment.end])
                known = [
                    Place(p.start - segment.end, p.end - segment.end, p.value) for p in known if p.end > segment.end
                ]
                safe -= segment.end
                if self._dropping or not self._buffer:
                    break
            else:
                return

    @property
    def _least(self) -> int:
        return WIDE_STEP if self._margin else least_step(self._given)

    def _next(self, known: list[Place], safe: int, *, final: bool) -> _Segment | None:
        """Return the next segment, None if more text must come before it is decided."""
        view = self._view[:MOST]
        self._waits = False
        for end in boundaries(view, max(self._looked, self._least - 1)):
            ahead = end + self._margin
            if not final and ahead > safe:
                self._waits = True
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

    def _drop(self, *, final: bool) -> tuple[int, bool]:
        """Drop the rest of what was masked; return how much, and whether its end was seen."""
        if self._dropping == "key":
            found = _KEY_END.search(self._buffer)
            end = found.end() if found else -1
        else:
            found = _BLANK.search(self._view)
            end = found.start() if found else -1
        cut = end if end >= 0 else len(self._buffer) if final else max(0, len(self._buffer) - KEPT)
        self._buffer, self._view = self._buffer[cut:], self._view[cut:]
        self._behind += cut
        if end >= 0:
            self._dropping = self._edge = self._left = ""
        return cut, end >= 0

    def _found(self, known: list[Place], end: int, ahead: int) -> list[tuple[int, int, str]]:
        """Return what is to be masked before ``end``, found in the context, the buffer up to ``ahead`` and no more."""
        offset = len(self._left)
        blanked = self._left + _blank(self._buffer[:ahead], [p for p in known if p.end <= ahead])
        found = []
        for hit in self._detected(blanked, offset):
            start, stop = max(hit.start, offset), hit.end
            if start < stop and start - offset < end:
                found.append((start - offset, stop - offset, hit.entity))
        return found

    def _detected(self, blanked: str, offset: int) -> list[Hit]:
        """Return what is to be masked in a segment behind ``offset`` and its context; of the context as little."""
        if self._screen is None:
            return self._guard.detect(blanked, skip=REPLY_SKIPS)
        reading, start = self._reading, self._behind - offset
        end = start + len(blanked)
        if reading is None or self._blanked[start:end] != blanked:
            reading, start, end = self._screen.read(blanked, parts=False), 0, len(blanked)
        found = reading.candidates(blanked, start, start + offset, end) if reading is not None else None
        if found is None:
            return self._guard.detect(blanked, skip=REPLY_SKIPS)
        return decided(self._guard, blanked, found, REPLY_SKIPS) if found else []

    def _write(self, segment: _Segment, known: list[Place]) -> Iterator[Piece]:
        """Give the segment out and keep its last characters as context."""
        masked = segment.masked
        places: list[tuple[int, int, str, bool]] = [(a, b, f"<{entity}>", True) for a, b, entity in masked]
        places += [
            (p.start, p.end, p.value, False) for p in known if not any(a < p.end and p.start < b for a, b, _ in masked)
        ]
        text = self._buffer[: segment.end]
        pieces: list[Piece] = []
        position = 0
        for start, stop, shown, is_mask in sorted(places):
            if position < start:
                pieces.append(Piece(start - position, text[position:start], True))
            self.masked += is_mask
            self.restored += not is_mask
            end = min(stop, segment.end)
            pieces.append(Piece(end - max(start, position), shown, False))
            position = end
        if position < segment.end:
            pieces.append(Piece(segment.end - position, text[position:], True))
        self._left = (self._left + _blank(text, known))[-self._context :]
        self._edge = (self._edge + text)[-BEFORE:]
        self._buffer, self._view = self._buffer[segment.end :], self._view[segment.end :]
        self._looked = 0
        self._given += segment.end
        self._behind += segment.end
        self._dropping = segment.dropping
        yield from pieces


def _blank(text: str, known: Iterable[Place]) -> str:
    """Return ``text`` with this session's pseudonyms blanked, so that no rule reads them."""
    pieces: list[str] = []
    position = 0
    for place in known:
        pieces += (text[position : place.start], "<" * (place.end - place.start))
        position = place.end
    return "".join(pieces) + text[position:]
