"""Mean, spread, intervals and differences, against hand-computed values and scipy.stats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.analysis import difference, summarise
from engine.analysis.statistics import interval_among

accuracies = st.lists(st.floats(0, 1, allow_nan=False), min_size=2, max_size=12)


def test_three_runs_give_the_values_computed_by_hand():
    found = summarise([0.1, 0.2, 0.3])
    assert found is not None
    assert found.n == 3
    assert found.mean == pytest.approx(0.2)
    assert found.std == pytest.approx(math.sqrt(0.02 / 3))  # population, ddof = 0
    half = 4.302652729749464 * 0.1 / math.sqrt(3)  # t(0.975, 2 degrees) · sample std / √n
    assert (found.ci_low, found.ci_high) == pytest.approx((0.2 - half, 0.2 + half))


@given(accuracies)
def test_spread_is_numpys_population_std_and_the_interval_is_scipys(values):
    found = summarise(values)
    assert found is not None
    assert found.std == pytest.approx(np.std(values, ddof=0), abs=1e-12)
    scale = stats.sem(values) or 1e-300
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=scale)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), abs=1e-9)


def test_a_single_run_has_no_spread_rather_than_a_spread_of_zero():
    found = summarise([0.158])
    assert found is not None
    assert (found.mean, found.std, found.ci_low, found.ci_high) == (0.158, None, None, None)


def test_no_runs_give_no_summary():
    assert summarise([]) is None


def test_runs_that_share_a_subset_count_as_one_unit_of_the_interval():
    values, subsets = [0.10, 0.12, 0.20, 0.22, 0.30, 0.32], [0, 0, 1, 1, 2, 2]
    found = summarise(values, subsets)
    of_means = summarise([0.11, 0.21, 0.31])
    assert found is not None
    assert of_means is not None
    assert (found.n, found.units) == (6, 3)
    assert (found.ci_low, found.ci_high) == pytest.approx((of_means.ci_low, of_means.ci_high))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=2, max_size=12))
def test_spread_within_and_between_subsets_add_up_to_the_whole(pairs):
    values, subsets = zip(*pairs, strict=True)
    found = summarise(values, subsets)
    assert found is not None
    if 1 < len(set(subsets)) < len(values):
        assert found.std_within is not None
        assert found.std_between is not None
        whole = math.hypot(found.std_within, found.std_between)
        assert whole == pytest.approx(np.std(values), abs=1e-12)
    else:
        assert found.std_within is found.std_between is None


def test_one_group_describes_that_group_alone():
    assert summarise([0.1, 0.2], [7, 7]) == summarise([0.1, 0.2])


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="2 values but 1 groups"):
        summarise([0.1, 0.2], [0])


def test_gain_over_shared_seeds_is_the_paired_t_interval():
    soft, hard = {0: 0.15, 1: 0.17, 2: 0.16}, {0: 0.04, 1: 0.05, 2: 0.05}
    found = difference(soft, hard)
    reference = stats.ttest_rel(list(soft.values()), list(hard.values()))
    low, high = reference.confidence_interval(0.95)
    assert found is not None
    assert found.paired
    assert found.mean == pytest.approx(0.34 / 3)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))


def test_only_shared_seeds_are_paired():
    found = difference({0: 0.5, 1: 0.7}, {1: 0.4, 2: 0.9})
    assert found is not None
    assert (found.n, found.paired, found.ci_low) == (1, True, None)
    assert found.mean == pytest.approx(0.3)


def test_gain_without_shared_seeds_is_welchs_interval():
    first, second = [0.15, 0.17, 0.16, 0.18], [0.04, 0.09, 0.02]
    found = difference(dict(enumerate(first)), {i + 10: v for i, v in enumerate(second)})
    low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert found is not None
    assert not found.paired
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))


def test_equal_runs_without_shared_seeds_have_an_interval_of_no_width():
    found = difference({0: 0.5, 1: 0.5}, {2: 0.4, 3: 0.4})
    assert found is not None
    assert found.ci_low == found.ci_high == found.mean


def test_a_difference_to_nothing_is_nothing():
    assert difference({0: 0.5}, {}) is None


def test_without_shared_seeds_runs_on_one_subset_are_one_unit():
    first = {0: 0.10, 1: 0.12, 2: 0.20, 3: 0.22, 4: 0.33, 5: 0.31}
    second = {10: 0.04, 11: 0.09, 12: 0.02}
    subset_of = {key: key // 2 for key in first}
    found = difference(first, second, subset_of)
    of_means = difference({0: 0.11, 1: 0.21, 2: 0.32}, second)
    assert found is not None
    assert of_means is not None
    assert (found.ci_low, found.ci_high) == pytest.approx((of_means.ci_low, of_means.ci_high))


def test_an_interval_among_several_has_the_quantile_of_bonferroni():
    values = [0.02, 0.03, 0.05]
    found = difference(dict(enumerate(values)), dict.fromkeys(range(3), 0.0))
    assert found is not None
    ends = interval_among(found, 5)
    half = stats.t.ppf(1 - 0.025 / 5, 2) * stats.sem(values)
    assert ends == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert interval_among(found, 1) == pytest.approx((found.ci_low, found.ci_high))


def test_equal_runs_have_no_interval_among_others():
    equal = difference({0: 0.5, 1: 0.6}, {0: 0.4, 1: 0.5})
    assert equal is not None
    assert interval_among(equal, 1) is None
