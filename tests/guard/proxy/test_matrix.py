"""A slice of the matrix: nothing leaks, what was echoed comes back, little is blocked, benign bodies pass unchanged."""

import random
from collections import Counter

import pytest

from . import matrix
from .matrix_http import through_proxy

SLICE = 500


@pytest.fixture(scope="module")
def gate() -> object:
    return matrix.open_gate()


def test_values_are_found_alone() -> None:
    """The harness itself: a leak is seen in every spelling, and a clean text is none."""
    for kind, make in matrix.VALUES.items():
        value = make(7)
        for spelling in matrix.SPELLINGS:
            assert matrix.leaked([matrix.spelled(spelling, value, bare=False)], value), (kind, spelling)
        assert not matrix.leaked(["Please keep [EMAIL_ADDRESS_4BT4] for later."], value)


@pytest.mark.slow
def test_a_slice_of_the_matrix(gate: object) -> None:
    cells = matrix.cells()
    assert len(cells) > 100_000
    picked = random.Random(11).sample(cells, SLICE)
    tally: Counter[str] = Counter()
    wrong = []
    for cell in picked:
        result, _, _ = matrix.run(gate, cell)
        tally[result.verdict] += 1
        if result.verdict not in {"masked", "blocked"}:
            wrong.append((result.verdict, cell.shown))
    print(dict(tally))
    assert wrong == []
    assert tally["blocked"] <= 0.02 * tally.total()


def test_benign_bodies_pass_unchanged(gate: object) -> None:
    cases = [(case, streamed) for case in matrix.recorded() for streamed in case.ways]
    wrong = {(c.title, s): what for c, s in cases if (what := matrix.control(gate, c, streamed=s))}
    assert wrong == {} and len(cases) > 80


def test_a_sample_over_http(gate: object) -> None:
    picked = random.Random(3).sample(matrix.cells(), 60)
    results = list(through_proxy(gate, picked))
    wrong = [
        (r.verdict, c.shown) for r, c in zip(results, picked, strict=True) if r.verdict not in {"masked", "blocked"}
    ]
    assert wrong == []
