"""Values of the matrix, how they are spelled, and whether one stands in a text."""

import base64
import binascii
import re
import urllib.parse
from collections.abc import Callable, Iterator

# ── values ──────────────────────────────────────────────────────────────────────────────────────────

FIRST = ["Rosalind", "Thaddeus", "Marguerite", "Bartholomew", "Philippa", "Cornelius", "Henrietta", "Leopold"]
LAST = ["Quimby", "Featherstone", "Ashcombe", "Winterbourne", "Hollingsworth", "Pemberton", "Lockwood", "Ravenscroft"]
LISTED = tuple(f"{first} {last}" for first in FIRST for last in LAST)
"""Names that the guard is given as a list."""


def _luhn(digits: str) -> str:
    total = sum(
        d if i % 2 else (2 * d - 9 if 2 * d > 9 else 2 * d)
        for i, d in enumerate(reversed([int(c) for c in digits + "0"]), 1)
    )
    return digits + str(-total % 10)


def _card(n: int) -> str:
    number = _luhn(f"4539{(n * 7919 + 10**10) % 10**11:011d}")
    return " ".join(number[i : i + 4] for i in range(0, 16, 4))


def _resident(n: int) -> str:
    digits = f"110105{1950 + n % 50}{1 + n % 12:02d}{1 + n % 28:02d}{(n * 37 + 100) % 1000:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return digits + "10X98765432"[sum(w * int(d) for w, d in zip(weights, digits, strict=True)) % 11]


def _iban(n: int) -> str:
    body = f"37040044{(n * 104729 + 532013000) % 10**10:010d}"
    check = 98 - int(body + "131400") % 97
    text = f"DE{check:02d}{body}"
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def _key(n: int) -> str:
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
    state, made = n * 2654435761 + 12345, []
    for _ in range(40):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        made.append(alphabet[(state >> 33) % len(alphabet)])
    return "sk-" + "".join(made)


VALUES: dict[str, Callable[[int], str]] = {
    "e-mail": lambda n: f"quill.marten{n % 1000}@harborline-post.com",
    "phone": lambda n: f"138{(n * 7907 + 13800138) % 10**8:08d}",
    "card": _card,
    "ssn": lambda n: f"{536 + n % 30}-{22 + n % 60:02d}-{1840 + n % 8000:04d}",
    "cn-resident-id": _resident,
    "iban": _iban,
    "api-key": _key,
    "listed-name": lambda n: LISTED[n % len(LISTED)],
}

# ── spellings ───────────────────────────────────────────────────────────────────────────────────────


def _percent(value: str) -> str:
    return "".join(f"%{byte:02X}" for byte in value.encode())


def _base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


SPELLINGS: dict[str, tuple[str, Callable[[str], str]]] = {
    "plain": ("Please keep {} for later.", str),
    "cjk": ("请记下{}谢谢你", str),
    "json": ('{{"note": "keep {}", "more": ["{}"]}}', str),
    "markdown": ("- **{}**\n- `{}`\n\n| what | {} |", str),
    "percent": ("Please keep q={} for later.", _percent),
    "base64": ("Please keep {} for later.", _base64),
}
"""A frame of prose, and how the value is written in it."""


def spelled(spelling: str, value: str, *, bare: bool) -> str:
    """Return the text to plant; ``bare``: without prose, for places that hold a name of the API."""
    frame, code = SPELLINGS[spelling]
    shown = code(value)
    return shown if bare and spelling not in {"json", "markdown"} else frame.format(*[shown] * frame.count("{}"))


# ── what leaks ──────────────────────────────────────────────────────────────────────────────────────

_RUN = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_SPACING = re.compile(r"[\s().-]+")


def _squash(text: str) -> str:
    return _SPACING.sub("", text).casefold()


def _decoded(text: str) -> Iterator[str]:
    yield text
    yield _ESCAPE.sub(lambda m: chr(int(m[1], 16)), text)
    if "%" in text:
        yield urllib.parse.unquote(text)
    for run in _RUN.findall(text):
        try:
            core = run.rstrip("=")
            yield base64.b64decode(core + "=" * (-len(core) % 4), altchars=b"-_").decode()
        except (binascii.Error, ValueError):
            continue


def leaked(texts: list[str], value: str) -> bool:
    """Return whether ``value``, or three fifths of it in a row, stands in one of ``texts``, plain or coded."""
    whole = _squash(value)
    size = max(7, len(whole) * 3 // 5)
    pieces = {whole[i : i + size] for i in range(len(whole) - size + 1)}
    for text in texts:
        for shown in _decoded(text):
            flat = _squash(shown)
            if any(piece in flat for piece in pieces):
                return True
    return False
