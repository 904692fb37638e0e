import itertools
import math
import subprocess
import sys

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError
from trustplane.ports import Accountant, Mechanism
from trustplane.privacy.accounting import ORDERS, RenyiAccountant, _weights, add, calibrate, fits
from trustplane.privacy.renyi import divergence
from trustplane.step import MAX_INT

from .workloads import Runs, fifty_runs

ACCOUNTANT: Accountant = RenyiAccountant()
NOTHING = (0,) * len(ORDERS)


def event(runs: Runs) -> dp_accounting.DpEvent:
    return dp_accounting.ComposedDpEvent(
        [
            dp_accounting.SelfComposedDpEvent(
                dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(sigma)), steps
            )
            for sigma, q, steps in runs
        ]
    )


def pld_epsilon(runs: Runs, delta: float) -> float:
    accountant = pld.PLDAccountant()
    accountant.compose(event(runs))
    return accountant.get_epsilon(delta)


def spend(runs: Runs) -> tuple[int, ...]:
    total = NOTHING
    for run in runs:
        total = add(total, ACCOUNTANT.charge(Mechanism(*run)))
    return total


def least_limit(vector: tuple[int, ...], delta_exp: int) -> int:
    """The smallest ε limit that would have admitted the vector."""
    low, high = 0, 10**9
    while high - low > 1:
        middle = (low + high) // 2
        admitted = fits(ACCOUNTANT.limits(middle, delta_exp), NOTHING, vector)
        low, high = (low, middle) if admitted else (middle, high)
    return high


@pytest.mark.parametrize("sigma", [0.5, 0.8, 1.1, 2.93, 10.0, 200.0])
@pytest.mark.parametrize("q", [1e-4, 0.004, 0.1, 0.5, 0.9, 1.0])
def test_divergence_equals_the_oracle_at_integer_orders(sigma: float, q: float) -> None:
    orders = [order for order in ORDERS if order == int(order)]
    oracle = rdp.RdpAccountant(orders).compose(event([(sigma, q, 1)]))._rdp
    for order, theirs in zip(orders, oracle, strict=True):
        ours = divergence(sigma, q, order)
        noise = 1e-11 / (order - 1)  # the oracle adds up probabilities that sum to 1, so it has this error
        assert theirs * (1 - 1e-12) - noise <= ours <= theirs * (1 + 1e-6) + noise, order


@pytest.mark.parametrize("sigma", [0.8, 1.1, 2.93, 10.0])
@pytest.mark.parametrize("q", [1e-3, 0.1, 0.9])
@pytest.mark.parametrize("order", [order for order in ORDERS if order != int(order)])
def test_divergence_at_fractional_orders_bounds_the_integral(sigma: float, q: float, order: float) -> None:
    """dp_accounting adds the absolute values of an alternating series there, which is up to 20 times too
    large, so the oracle is E_Q[(P/Q)^order] by quadrature; theirs stays an upper bound of ours."""
    z = np.linspace(-14 * sigma, order + 14 * sigma, 200_001)
    log_ratio = np.logaddexp(math.log1p(-q), math.log(q) + (2 * z - 1) / (2 * sigma**2))
    log_density = -(z**2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
    excess = np.trapezoid(np.exp(log_density) * np.expm1(order * log_ratio), z)  # E[(P/Q)^a - 1]
    exact = math.log1p(excess) / (order - 1)
    ours = divergence(sigma, q, order)
    assert exact * (1 - 1e-9) - 1e-13 <= ours <= exact * (1 + 1e-6) + 3e-12 / (order - 1)
    theirs = rdp.RdpAccountant([order]).compose(event([(sigma, q, 1)]))._rdp[0]
    assert ours <= theirs * (1 + 1e-6) + 3e-12 / (order - 1)


def test_tiny_divergence_keeps_its_digits() -> None:
    sigma, q = 50.0, 1e-6
    exact = math.log1p(q * q * math.expm1(1 / sigma**2))  # order 2 in closed form
    assert divergence(sigma, q, 2.0) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("seed", [50, 51])
def test_fifty_runs_cost_little_more_than_the_tightest_accountant(seed: int) -> None:
    runs = fifty_runs(seed)
    ours, tightest = least_limit(spend(runs), 5) / 1e6, pld_epsilon(runs, 1e-5)
    print(f"50 runs, seed {seed}: filter {ours:.4f}, PLD {tightest:.4f}, ratio {ours / tightest:.4f}")
    if seed == 50:
        assert 0.47 < tightest < 0.51
    assert 1.0 <= ours / tightest <= 1.12


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.6, 20), st.sampled_from([0.001, 0.01, 0.2, 1.0]), st.integers(1, 2000)),
        min_size=1,
        max_size=4,
    ),
    st.integers(100_000, 8_000_000),
    st.integers(5, 9),
)
@example([(0.8, 0.001, 2000)], 1_300_000, 5)
def test_never_admits_what_the_tightest_accountant_refuses(runs: Runs, limit: int, delta_exp: int) -> None:
    limits, spent, admitted = ACCOUNTANT.limits(limit, delta_exp), NOTHING, []
    for run in runs:
        charge = ACCOUNTANT.charge(Mechanism(*run))
        if fits(limits, spent, charge):
            spent, admitted = add(spent, charge), [*admitted, run]
    if admitted:
        accountant = pld.PLDAccountant()
        accountant.compose(event(admitted))
        assert accountant.get_delta(limit / 1e6) <= 10.0**-delta_exp


@given(st.floats(0.3, 30), st.floats(1e-4, 1.0), st.integers(1, 10_000))
@settings(max_examples=60, deadline=None)
def test_charge_is_monotone(sigma: float, q: float, steps: int) -> None:
    one = ACCOUNTANT.charge(Mechanism(sigma, q, steps))
    assert all(a <= b for a, b in zip(one, ACCOUNTANT.charge(Mechanism(sigma, q, steps + 1)), strict=True))
    integer = [k for k, order in enumerate(ORDERS) if order == int(order)]  # the others are two bounds in turn
    for other in (Mechanism(sigma / 1.1, q, steps), Mechanism(sigma, min(1.0, q * 1.1), steps)):
        more = ACCOUNTANT.charge(other)
        assert all(one[k] <= more[k] for k in integer)
    assert all(a <= b + 1 for a, b in itertools.pairwise(one))  # divergence grows with the order


@given(st.integers(1, 10**9), st.integers(1, 18))
@settings(max_examples=200, deadline=None)
def test_weights_are_fixed_and_sum_to_one_at_most(epsilon_micro: int, delta_exp: int) -> None:
    weights = _weights(epsilon_micro, delta_exp)
    assert min(weights) >= 0 and math.fsum(weights) <= 1
    assert ACCOUNTANT.limits(epsilon_micro, delta_exp) == RenyiAccountant().limits(epsilon_micro, delta_exp)


@given(st.integers(10_000, 10**7), st.integers(3, 12), st.floats(0.5, 50), st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_reported_epsilon_agrees_with_the_gate(limit: int, delta_exp: int, sigma: float, steps: int) -> None:
    vector = ACCOUNTANT.charge(Mechanism(sigma, 0.01, steps))
    reported = ACCOUNTANT.epsilon_micro(vector, limit, delta_exp)
    assert (reported <= limit) == fits(ACCOUNTANT.limits(limit, delta_exp), NOTHING, vector)


def test_limits_are_the_formula_rounded_down() -> None:
    weights, delta = _weights(2_000_000, 5), 1e-5
    for order, weight, limit in zip(ORDERS, weights, ACCOUNTANT.limits(2_000_000, 5), strict=True):
        if weight == 0:
            assert limit == -1
            continue
        log_c = math.log((1 / order) * (1 - 1 / order) ** (order - 1))
        exact = 1e6 * (2 + (math.log(delta) + math.log(weight) - log_c) / (order - 1))
        assert (limit == -1 and exact < 1) or exact - 2 < limit <= exact


def test_calibrate_gives_the_smallest_noise_that_fits() -> None:
    sigma = calibrate(1_000_000, 5, 0.02, 500)
    limits = ACCOUNTANT.limits(1_000_000, 5)
    assert fits(limits, NOTHING, ACCOUNTANT.charge(Mechanism(sigma, 0.02, 500)))
    assert not fits(limits, NOTHING, ACCOUNTANT.charge(Mechanism(sigma - 1e-6, 0.02, 500)))
    assert pld_epsilon([(sigma, 0.02, 500)], 1e-5) <= 1.0
    within = calibrate(500_000, 5, 0.02, 500, limit_micro=2_000_000)
    charge = ACCOUNTANT.charge(Mechanism(within, 0.02, 500))
    assert 499_900 <= ACCOUNTANT.epsilon_micro(charge, 2_000_000, 5) <= 500_000
    assert within < 1.35 * calibrate(500_000, 5, 0.02, 500)
    with pytest.raises(InputError):
        calibrate(1, 18, 1.0, 10**9)


def test_huge_spends_saturate() -> None:
    top = (MAX_INT,) * len(ORDERS)
    assert ACCOUNTANT.charge(Mechanism(5e-324, 1.0, MAX_INT)) == top
    assert ACCOUNTANT.charge(Mechanism(1e-9, 1e-300, 1)) == top
    assert max(ACCOUNTANT.charge(Mechanism(0.01, 0.5, MAX_INT))) == MAX_INT
    assert add(top, top) == top and not fits(ACCOUNTANT.limits(10**9, 1), NOTHING, top)
    assert ACCOUNTANT.epsilon_micro(top, 2_000_000, 5) == MAX_INT
    assert ACCOUNTANT.charge(Mechanism(1e300, 1e-300, 1)) == (1,) * len(ORDERS)
    assert ACCOUNTANT.epsilon_micro(NOTHING, 2_000_000, 5) == 0


@pytest.mark.parametrize(
    "mechanism",
    [
        Mechanism(0.0, 0.1, 1),
        Mechanism(-1.0, 0.1, 1),
        Mechanism(math.nan, 0.1, 1),
        Mechanism(math.inf, 0.1, 1),
        Mechanism(1.0, 0.0, 1),
        Mechanism(1.0, 1.0000001, 1),
        Mechanism(1.0, math.nan, 1),
        Mechanism(1.0, 0.1, 0),
        Mechanism(1.0, 0.1, 2**53),
        Mechanism(1.0, 0.1, 1.0),  # type: ignore[arg-type]
        Mechanism(True, 0.1, 1),
        Mechanism("1", 0.1, 1),  # type: ignore[arg-type]
        Mechanism(1.0, 0.1, 1, "substitute"),
    ],
)
def test_refuses_what_it_cannot_account(mechanism: Mechanism) -> None:
    with pytest.raises(InputError):
        ACCOUNTANT.charge(mechanism)


@pytest.mark.parametrize("limit", [(0, 5), (10**9 + 1, 5), (1, 0), (1, 19), (1.0, 5), (True, 5)])
def test_refuses_limits_out_of_range(limit: tuple[int, int]) -> None:
    with pytest.raises(InputError):
        ACCOUNTANT.limits(*limit)


def test_a_vector_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(InputError):
        ACCOUNTANT.epsilon_micro((1, 2), 1_000_000, 5)


def test_accounting_is_standard_library_only() -> None:
    code = "import sys, trustplane.privacy.accounting as a; print({'numpy', 'torch', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
