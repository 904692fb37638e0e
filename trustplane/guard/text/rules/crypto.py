"""Addresses of cryptocurrencies by their checksums: base58check, bech32, EIP-55."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from trustplane.guard.text.hit import Hit, Rule
from trustplane.guard.text.rules.context import Words, seek
from trustplane.guard.text.rules.windows import alone

__all__ = ["RULES", "is_base58check", "is_bech32", "is_eip55", "keccak256"]

_BITCOIN = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_VERSIONS = {0x00, 0x05, 0x1E, 0x16, 0x30, 0x32, 0x41, 0x4C, 0x10, 0x6F, 0xC4}
"""First bytes: Bitcoin, Dogecoin, Litecoin, Tron, Dash, the test networks."""
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_MASK = (1 << 64) - 1
_TURNS = (0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14)
_MOVES = tuple(
    (index, index % 5, _TURNS[index], 64 - _TURNS[index])
    for index in sorted(range(25), key=lambda i: i // 5 + 5 * ((2 * (i % 5) + 3 * (i // 5)) % 5))
)
"""For each place after the steps rho and pi: the lane that comes there, its column, the turn to the left, the rest."""


def _decode58(value: str, alphabet: str, size: int) -> bytes | None:
    number = 0
    for character in value:
        digit = alphabet.find(character)
        if digit < 0:
            return None
        number = number * 58 + digit
    return number.to_bytes(size, "big") if number.bit_length() <= size * 8 else None


def is_base58check(value: str, alphabet: str = _BITCOIN) -> bool:
    """Return whether ``value`` is an address of 25 bytes whose last four are its double SHA-256."""
    raw = _decode58(value, alphabet, 25)
    if raw is None or (alphabet == _BITCOIN and raw[0] not in _VERSIONS):
        return False
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def is_bech32(value: str) -> bool:
    """Return whether the checksum holds (BIP 173 for witness version 0, BIP 350 for later ones)."""
    value = value.lower()
    human, _, data = value.rpartition("1")
    if not human or len(data) < 8 or any(c not in _CHARSET for c in data):
        return False
    words = [_CHARSET.index(c) for c in data]
    remainder = 1
    for word in [ord(c) >> 5 for c in human] + [0] + [ord(c) & 31 for c in human] + words:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ word
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= generator
    return remainder == (1 if words[0] == 0 else 0x2BC830A3)


def _round_constants() -> tuple[int, ...]:
    register, constants = 1, []
    for _ in range(24):
        constant = 0
        for bit in range(7):
            constant |= (register & 1) << ((1 << bit) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return tuple(constants)


_CONSTANTS = _round_constants()


def _permute(lanes: list[int]) -> list[int]:
    """Return the state after Keccak-f[1600] (FIPS 202, section 3.3); lane ``x + 5 y`` is ``A[x, y]``."""
    for constant in _CONSTANTS:
        parity = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        mixed = [parity[x - 1] ^ (parity[x - 4] << 1 & _MASK | parity[x - 4] >> 63) for x in range(5)]
        moved = []
        for index, x, turn, back in _MOVES:
            lane = lanes[index] ^ mixed[x]
            moved.append((lane << turn | lane >> back) & _MASK)
        lanes = []
        for y in range(0, 25, 5):
            a, b, c, d, e = moved[y : y + 5]
            lanes += (a ^ ~b & c, b ^ ~c & d, c ^ ~d & e, d ^ ~e & a, e ^ ~a & b)
        lanes[0] ^= constant
    return lanes


def keccak256(message: bytes) -> bytes:
    """Return the Keccak-256 digest with the original padding, as Ethereum uses it, of at most 135 bytes."""
    block = bytearray(message.ljust(136, b"\0"))
    block[len(message)] |= 0x01
    block[135] |= 0x80
    lanes = [int.from_bytes(block[i : i + 8], "little") for i in range(0, 136, 8)] + [0] * 8
    return b"".join(lane.to_bytes(8, "little") for lane in _permute(lanes)[:4])


def is_eip55(address: str) -> bool:
    """Return whether ``0x`` and 40 hexadecimal digits are an address: one case, or mixed as EIP-55 says."""
    digits = address[2:]
    if digits in (digits.lower(), digits.upper()):
        return True
    digest = keccak256(digits.lower().encode()).hex()
    return all((int(h, 16) >= 8) == c.isupper() for c, h in zip(digits, digest, strict=False) if c.isalpha())


def _is_written(address: str) -> bool:
    """Return whether ``0x`` and 40 digits are a text in hex: 20 printable ASCII characters, by chance 1 in 10^8."""
    raw = bytes.fromhex(address[2:])
    return raw.isascii() and raw.decode("ascii").isprintable()


_BASE58 = re.compile(r"(?<![A-Za-z0-9])[123mnLMDXTA9][1-9A-HJ-NP-Za-km-z]{25,34}(?![A-Za-z0-9])")
_BECH32 = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:bc|tb|bcrt|ltc|tltc)1[02-9ac-hj-np-z]{8,87}|(?:BC|TB"
    r"|LTC)1[02-9AC-HJ-NP-Z]{8,87})(?![A-Za-z0-9])"
)
_ETHEREUM = re.compile(r"(?<![A-Za-z0-9])0[xX][0-9A-Fa-f]{40}(?![A-Za-z0-9])")
_XRP = re.compile(r"(?<![A-Za-z0-9])r[1-9A-HJ-NP-Za-km-z]{24,34}(?![A-Za-z0-9])")
_SOLANA = re.compile(r"(?<![A-Za-z0-9/+_-])[1-9A-HJ-NP-Za-km-z]{32,44}(?![A-Za-z0-9/+_=-])")
_MONERO = re.compile(r"(?<![A-Za-z0-9])[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}(?:[1-9A-HJ-NP-Za-km-z]{11})?(?![A-Za-z0-9])")
_SOLANA_WORDS = Words("solana", "sol", "phantom", "spl", "wallet", "钱包")


def _base58(text: str) -> Iterator[Hit]:
    for found in _BASE58.finditer(text):
        if is_base58check(found[0]):
            yield Hit("CRYPTO", found.start(), found.end(), 1.0)


def _ethereum(text: str) -> Iterator[Hit]:
    """An address that the text repeats is checked once; a text in hex is read in a view of its own."""
    checked: dict[str, bool] = {}
    for found in _ETHEREUM.finditer(text):
        if found[0] not in checked:
            checked[found[0]] = is_eip55(found[0]) and not _is_written(found[0])
        if checked[found[0]]:
            yield Hit("CRYPTO", found.start(), found.end(), 0.9)


def _is_solana(value: str) -> bool:
    raw = _decode58(value, _BITCOIN, 33)
    return raw is not None and raw[0] == 0 and raw[1] != 0 and not value.isdigit() and not value.isalpha()


RULES: tuple[Rule, ...] = (
    Rule(
        "own/crypto_base58",
        "1",
        ("CRYPTO",),
        _base58,
        gate=(alone("[123mnLMDXTA9][1-9A-HJ-NP-Za-km-z]{25,34}"),),
        source="Bitcoin wiki, Base58Check; the networks' version bytes",
        examples=(
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
            "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
        ),
    ),
    Rule(
        "own/crypto_bech32",
        "1",
        ("CRYPTO",),
        seek("CRYPTO", _BECH32, 1.0, check=is_bech32),
        gate=("(?i)(?:bc|tb|bcrt|ltc)1[02-9a-z]{8}",),
        source="BIP 173, BIP 350",
        examples=(
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ),
    ),
    Rule(
        "own/crypto_ethereum",
        "2",
        ("CRYPTO",),
        _ethereum,
        gate=(alone("0[xX][0-9A-Fa-f]{40}"),),
        source="EIP-55",
        examples=("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xde709f2102306220921060314715629080e2fb77"),
    ),
    Rule(
        "own/crypto_xrp",
        "1",
        ("CRYPTO",),
        seek("CRYPTO", _XRP, 1.0, check=lambda v: is_base58check(v, _RIPPLE)),
        gate=(alone("r[1-9A-HJ-NP-Za-km-z]{24,34}"),),
        source="XRPL, base58 encodings",
        examples=("rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",),
    ),
    Rule(
        "own/crypto_solana",
        "1",
        ("CRYPTO",),
        seek("CRYPTO", _SOLANA, 0.0, words=_SOLANA_WORDS, with_words=0.7, check=_is_solana),
        gate=(alone("[1-9A-HJ-NP-Za-km-z]{32,44}"),),
        source="Solana documentation, accounts",
        examples=("solana EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",),
    ),
    Rule(
        "own/crypto_monero",
        "1",
        ("CRYPTO",),
        seek("CRYPTO", _MONERO, 0.8),
        gate=("[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}",),
        source="Monero documentation, addresses",
        examples=("44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A",),
    ),
)
"""Wallet addresses: Bitcoin, Litecoin, Dogecoin, Dash, Tron, Ethereum, XRP, Solana, Monero."""
