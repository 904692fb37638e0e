"""Check digits and checksums that several rules share."""

from __future__ import annotations

__all__ = ["is_luhn", "is_mod97", "weighted"]

_DOUBLED = bytes(48 + (d * 2 - 9 if d > 4 else d * 2) if 0 <= (d := byte - 48) <= 9 else byte for byte in range(256))


def is_luhn(digits: str) -> bool:
    """Return whether ``digits`` (ASCII digits only) passes the Luhn check (ISO/IEC 7812-1, annex B)."""
    data = digits.encode("ascii")
    return (sum(data[::-2]) + sum(data[-2::-2].translate(_DOUBLED)) - 48 * len(data)) % 10 == 0


def is_mod97(compact: str) -> bool:
    """Return whether an account number (country, check, rest; upper case) passes ISO 7064 mod 97-10."""
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def weighted(digits: str, weights: tuple[int, ...]) -> int:
    """Return the sum of digit times weight, as far as the weights go."""
    return sum(int(d) * w for d, w in zip(digits, weights, strict=False))
