"""Random edits of a bundle's files, and a folder that takes them back: shared by a test and a bench."""

from __future__ import annotations

import random
from pathlib import Path

from trustplane.audit.report.verify_bundle import ProofError, check


def edited(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return ``data`` with one edit that changes it: bit, byte, cut, insertion, swap, splice or digit."""
    while True:
        at = rng.randrange(len(data))
        kind = rng.randrange(8)
        if kind == 0:
            made = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            made = data[:at] + rng.randbytes(1) + data[at + 1 :]
        elif kind == 2:
            made = data[:at] + data[at + rng.randrange(1, 40) :]
        elif kind == 3:
            made = data[:at] + rng.choice([b"0", b" ", b"\n", b'"', b"\x00", rng.randbytes(3)]) + data[at:]
        elif kind == 4:
            lines = data.split(b"\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[i], lines[j] = lines[j], lines[i]
            made = b"\n".join(lines)
        elif kind == 5:
            lines = data.split(b"\n")
            i = rng.randrange(len(lines))
            made = b"\n".join(lines[:i] + lines[i + 1 :] if rng.random() < 0.5 else [*lines[:i], lines[i], *lines[i:]])
        elif kind == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            made = data[:at] + other[start : start + 30] + data[at + 30 :]
        else:
            digits = [i for i, c in enumerate(data) if 48 <= c <= 57] or [0]
            at = rng.choice(digits)
            made = data[:at] + bytes([48 + rng.randrange(10)]) + data[at + 1 :]
        if made != data:
            return made


def attack(folder: Path, key: str, rounds: int, seed: int) -> tuple[int, list[str]]:
    """Edit one file at a time; return how many edits were caught and which were not. The folder stays whole."""
    rng = random.Random(seed)
    originals = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    names = sorted(originals)
    caught, missed = 0, []
    for _ in range(rounds):
        name = rng.choice(names)
        made = edited(originals[name], rng, list(originals.values()))
        (folder / name).write_bytes(made)
        try:
            check(folder, [key])
            missed.append(name)
        except ProofError:
            caught += 1
        finally:
            (folder / name).write_bytes(originals[name])
    return caught, missed


def false_alarms(folder: Path, key: str, rounds: int) -> int:
    """Check an untouched bundle again and again; return how often it was refused."""
    alarms = 0
    for _ in range(rounds):
        try:
            check(folder, [key])
        except ProofError:
            alarms += 1
    return alarms
