"""Randomness that nobody can replay or guess: an AES-256-CTR stream, uniform and Gaussian."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

__all__ = ["SecureStream"]


class SecureStream:
    """A stream of random numbers under a fresh 256-bit key.

    Why not ``torch.Generator``: on a CPU it is a Mersenne twister of which ``manual_seed`` fills 32 bits
    only, so whoever sees the released weights can try all seeds, and a script that is run again with the
    same seed subtracts its own noise.

    ``key``: 32 bytes, for tests that need the same batches twice; never for noise. The Gaussians come from
    Box-Muller in double precision (tail cut at 8.57 σ, chance 10^-17) and are rounded to the tensor's type:
    no claim is made against attacks on the last bits of floating-point noise (Mironov 2012).
    """

    def __init__(self, key: bytes | None = None) -> None:
        secret = secrets.token_bytes(32) if key is None else key
        self._stream = Cipher(algorithms.AES256(secret), modes.CTR(bytes(16))).encryptor()

    def uniform(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Return ``count`` multiples of 2^-53 in [0, 1): float64 (count,)."""
        words = np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, shape: Sequence[int], *, like: torch.Tensor) -> torch.Tensor:
        """Return standard normal values of ``shape``, with the type and device of ``like``."""
        count = int(np.prod(shape, dtype=np.int64))
        half = (count + 1) // 2
        u = self.uniform(2 * half)
        radius = np.sqrt(-2.0 * np.log1p(-u[:half]))  # (half,); 1 - u is in (0, 1]
        angle = 2.0 * np.pi * u[half:]  # (half,)
        values = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
        return torch.from_numpy(values).reshape(tuple(shape)).to(device=like.device, dtype=like.dtype)
