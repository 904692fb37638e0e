"""Pseudonym codes: short, keyed, the same for the same value in one tenant and session."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator

from trustplane.errors import InputError

__all__ = ["CODE_LENGTH", "CODE_LETTERS", "MAX_CODE", "Codes", "Stream", "label_of"]

CODE_LETTERS = "23456789BCDFGHJKMNPQRSTVWXZ"
"""27 letters and digits that are hard to mistake and spell no words; case carries nothing."""
CODE_LENGTH = 4
"""27^4 is 531,441 codes; a value whose code is taken gets one that is two letters longer, and so on."""
MAX_CODE = 12
MIN_KEY = 16
"""Fewest bytes of a key."""
LABEL = 48
"""Most characters of the part of a pseudonym that names the entity."""
WORD = 20
"""Most characters of one word of it."""
_TRIES = 8
_NOT_NAME = re.compile(r"[^A-Z0-9]+")


def label_of(entity: str) -> str:
    """Return how an entity is written in a pseudonym: words of A-Z0-9 joined by ``_``, 48 characters at most."""
    words = [word[:WORD] for found in _NOT_NAME.split(entity.upper()) if (word := found.lstrip("0"))]
    return "_".join(words)[:LABEL].strip("_") or "VALUE"


def _frame(*parts: str) -> bytes:
    """Join texts so that no two lists of texts give the same bytes."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(8, "big") + part for part in encoded)


class Stream:
    """Numbers drawn from a keyed digest: the same key and text draw the same numbers."""

    __slots__ = ("_left", "_number")

    def __init__(self, digest: bytes) -> None:
        self._number = int.from_bytes(digest, "big")
        self._left = len(digest) * 8

    def below(self, bound: int) -> int:
        """Return the next number of 0..``bound`` - 1; 200 bits in all may be drawn, 10 must be left over."""
        self._left -= bound.bit_length()
        if self._left < 10:
            raise InputError("too many numbers were drawn for one stand-in")
        self._number, drawn = divmod(self._number, bound)
        return drawn


class Codes:
    """Draws codes for values with HMAC-SHA256 (RFC 2104) under a key bound to tenant and session.

    The code of a value is a function of key, tenant, session and value only, so equal values share it
    over turns, processes and restarts, and a provider's prompt cache hits. Without the key nobody can
    tell which value a code stands for, nor whether codes of two tenants or sessions stand for the same.
    Values are taken exactly: ``Al@x.org`` and ``al@x.org`` have different codes, since each must come
    back as it was.

    ``key``: 16 bytes or more; None draws 32 random ones.

    Raises:
        InputError: the key is too short.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes | None = None, tenant: str = "", session: str = "") -> None:
        if key is None:
            key = secrets.token_bytes(32)
        elif len(key) < MIN_KEY:
            raise InputError(f"the key of the pseudonyms has fewer than {MIN_KEY} bytes")
        context = _frame("trustplane/pseudonym/1", tenant, session)
        self._key = hmac.digest(key, context, hashlib.sha256)

    def __repr__(self) -> str:
        return "Codes()"

    def stream(self, purpose: str, value: str, attempt: int) -> Stream:
        """Return the numbers of one attempt to draw something for ``value``."""
        return Stream(hmac.digest(self._key, _frame(purpose, value, str(attempt)), hashlib.sha256))

    def candidates(self, value: str) -> Iterator[str]:
        """Yield the codes of ``value`` in the order in which they are tried, from 4 to 12 letters long.

        Each has a letter and a digit, so that no word and no number looks like one.
        """
        for length in range(CODE_LENGTH, MAX_CODE + 1, 2):
            for attempt in range(_TRIES):
                stream = self.stream("code", value, length * _TRIES + attempt)
                code = "".join(CODE_LETTERS[stream.below(len(CODE_LETTERS))] for _ in range(length))
                if not (code.isalpha() or code.isdecimal()):
                    yield code
                    if length < MAX_CODE:
                        break
