"""A process that spends as fast as it can until it is told how often, or killed: ``spender.py PLANE SEED N``."""

import random
import sys
import time

import trustplane
from trustplane.errors import BudgetExceeded, LedgerError


def main(folder, seed, attempts):
    rng = random.Random(seed)
    if seed % 5 == 0:  # a clock that jumps must change nothing
        real = time.time_ns
        time.time_ns = lambda: real() + rng.randrange(-(10**18), 10**18)
    plane = trustplane.open(folder)
    granted = refused = 0
    for _ in range(attempts):
        try:
            mechanism = trustplane.Mechanism(rng.uniform(1.5, 6), rng.uniform(0.0005, 0.02), rng.randrange(1, 60))
            reservation = plane.ledger.reserve("shared", mechanism)
            granted += 1
            if rng.random() < 0.5:
                plane.ledger.commit(reservation.id, rng.randrange(0, mechanism.steps + 1))
        except BudgetExceeded:
            refused += 1
        except LedgerError:  # the file was deleted or put back: the operator's way out
            if rng.random() < 0.3:
                plane.rebuild_ledger()
    print(granted, refused, flush=True)
    plane.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
