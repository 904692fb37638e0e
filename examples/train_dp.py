"""Train a digits classifier under a privacy budget of ε = 2; the run that would pass it is refused."""

import tempfile
from pathlib import Path

import trustplane
from trustplane.cli import demo_train

with tempfile.TemporaryDirectory() as folder, trustplane.open(Path(folder) / "plane") as plane:
    print(demo_train.run(plane.ledger, plane.record, print))
