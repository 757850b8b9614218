"""Effect sizes, against their formulas by hand, scipy's t tests and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.analysis import effect_size


def test_shared_seeds_give_d_z_which_is_scipys_paired_t_over_root_n():
    first, second = {0: 0.15, 1: 0.17, 2: 0.16}, {0: 0.04, 1: 0.05, 2: 0.06}
    found = effect_size(first, second)
    reference = stats.ttest_rel(list(first.values()), list(second.values()))
    assert (found.kind, found.n) == ("paired d_z", 3)
    assert found.value == pytest.approx(reference.statistic / np.sqrt(3))


def test_interval_excludes_zero_exactly_where_the_paired_t_test_is_significant():
    generator = np.random.default_rng(0)
    for _ in range(40):
        first, second = generator.normal(0.02, 0.02, 6), generator.normal(0, 0.02, 6)
        found = effect_size(dict(enumerate(first)), dict(enumerate(second)))
        significant = stats.ttest_rel(first, second).pvalue < 0.05
        assert (found.low > 0 or found.high < 0) == significant


def test_seeds_that_are_not_shared_give_hedges_g_by_hand():
    a, b = [0.5, 0.6, 0.7], [0.3, 0.5, 0.4, 0.4]
    found = effect_size(dict(enumerate(a)), {10 + i: v for i, v in enumerate(b)})
    pooled = np.sqrt((2 * np.var(a, ddof=1) + 3 * np.var(b, ddof=1)) / 5)
    assert (found.kind, found.n) == ("Hedges g", 7)
    # The usual approximation of the correction, 1 − 3 / (4·df − 1), is good to a thousandth.
    assert found.value == pytest.approx((1 - 3 / 19) * 0.2 / pooled, rel=2e-3)


def test_hedges_g_is_unbiased_and_its_interval_holds_the_truth_at_95_percent():
    generator = np.random.default_rng(3)
    truth, values, held = 1.0, [], 0
    for _ in range(500):
        a, b = generator.normal(truth, 1, 4), generator.normal(0, 1, 4)
        found = effect_size(dict(enumerate(a)), {10 + i: v for i, v in enumerate(b)})
        values.append(found.value)
        # The interval is that of the uncorrected effect times the correction.
        correction = 1 - 3 / 23
        held += found.low / correction <= truth <= found.high / correction
    assert np.mean(values) == pytest.approx(truth, abs=0.12)
    assert held / 500 == pytest.approx(0.95, abs=0.03)


def test_interval_of_d_z_holds_the_truth_at_95_percent():
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        first = dict(enumerate(generator.normal(2.0, 1, 4)))
        found = effect_size(first, dict.fromkeys(first, 0.0))
        held += found.low <= 2.0 <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.03)


def test_runs_of_one_subset_count_as_one_pair():
    first = {0: 0.3, 1: 0.5, 2: 0.6, 3: 0.8}
    second = dict.fromkeys(first, 0.0)
    found = effect_size(first, second, {0: "a", 1: "a", 2: "b", 3: "b"})
    assert found == effect_size({0: 0.4, 1: 0.7}, {0: 0.0, 1: 0.0})


def test_without_known_scatter_there_is_no_effect_size():
    assert effect_size({0: 0.5}, {0: 0.4}) is None  # one pair
    assert effect_size({0: 0.5, 1: 0.5}, {2: 0.4, 3: 0.4}) is None  # no scatter
    assert effect_size({0: 0.5, 1: 0.6}, {2: 0.4}) is None  # one degree of freedom
    assert effect_size({0: 0.5}, {}) is None


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=8), st.floats(0.5, 10))
def test_the_unit_of_the_values_does_not_matter_and_swapping_turns_the_sign(values, unit):
    first, zero = dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0)
    found = effect_size(first, zero)
    if found is None or np.std(values) < 1e-3 or abs(found.value) > 20:
        return
    scaled = effect_size({key: unit * value for key, value in first.items()}, zero)
    swapped = effect_size(zero, first)
    assert scaled.value == pytest.approx(found.value, rel=1e-6, abs=1e-9)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert (swapped.value, swapped.low, swapped.high) == pytest.approx(
        (-found.value, -found.high, -found.low), rel=1e-5, abs=1e-6
    )
