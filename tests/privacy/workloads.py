"""Workloads of DP-SGD runs on one dataset of 60,000 records, as (noise multiplier, sampling rate, steps)."""

import math
import random

Runs = list[tuple[float, float, int]]
RECORDS = 60_000


def fifty_runs(seed: int = 50, least_noise: float = 2.4) -> Runs:
    """Fifty mixed runs: σ log-uniform in least_noise..8, batch of 64 to 512, 50 to 400 steps.

    Drawn from ``random.Random(seed)``; with the defaults they compose to ε = 0.49 (PLD) at δ = 1e-5. Below
    σ = 2 or so a search for hyper-parameters at ε near 0.5 leaves the range in which any Rényi order is
    tight (the divergence of a subsampled Gaussian explodes near order 2σ² ln(1/q)).
    """
    rng = random.Random(seed)
    runs: Runs = []
    for _ in range(50):
        sigma = math.exp(rng.uniform(math.log(least_noise), math.log(8.0)))
        batch = rng.choice([64, 128, 256, 512])
        runs.append((sigma, batch / RECORDS, rng.choice([50, 100, 200, 400])))
    return runs
