"""Differences from a baseline with pooled scatter, against scipy and a simulation."""

import numpy as np
import pytest
from scipy import stats

from engine.analysis.contrasts import contrasts


def by_seed(values):
    return dict(enumerate(values))


def test_two_cells_give_the_paired_t_interval_of_scipy():
    first, second = [0.31, 0.35, 0.33, 0.36], [0.30, 0.31, 0.32, 0.33]
    found = contrasts({"a": by_seed(first), "b": by_seed(second)}, "b")["a"]
    expected = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(first) - np.mean(second))
    assert found.paired


def test_intervals_of_many_cells_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth = np.array([0.0, 0.02, -0.01, 0.0, 0.05])
    covered = total = 0
    for _ in range(400):
        table = truth[:, None] + rng.normal(0, 0.03, 3) + rng.normal(0, 0.01, (5, 3))
        found = contrasts({n: by_seed(row) for n, row in enumerate(table)}, 0)
        for number, difference in found.items():
            covered += difference.ci_low <= truth[number] <= difference.ci_high
            total += 1
    assert covered / total == pytest.approx(0.95, abs=0.02)


def test_what_seeds_have_in_common_cancels():
    seeds = np.array([0.1, -0.2, 0.3])
    found = contrasts({"a": by_seed(0.5 + seeds), "b": by_seed(0.4 + seeds)}, "b")["a"]
    assert (found.ci_low, found.ci_high) == pytest.approx((0.1, 0.1))


def test_only_seeds_that_all_cells_have_count():
    cells = {"a": {0: 0.5, 1: 0.6, 2: 0.9}, "b": {0: 0.4, 1: 0.5}, "c": {0: 0.1, 1: 0.2}}
    assert contrasts(cells, "b")["a"].n == 2


def test_one_seed_has_a_difference_but_no_interval():
    found = contrasts({"a": {0: 0.5}, "b": {0: 0.4}}, "b")["a"]
    assert found.mean == pytest.approx(0.1)
    assert found.ci_low is None


@pytest.mark.parametrize(
    "cells", [{}, {"b": {}}, {"a": {0: 1.0}, "b": {}}, {"a": {0: 1}, "b": {1: 1}}]
)
def test_nothing_comes_of_a_baseline_without_shared_runs(cells):
    assert contrasts(cells, "b") == {}


def test_a_run_that_one_cell_lacks_costs_the_others_nothing():
    cells = {"a": {0: 0.5, 1: 0.6, 2: 0.9}, "b": {0: 0.4, 1: 0.5, 2: 0.7}, "c": {1: 0.1}}
    whole = contrasts({name: cells[name] for name in "ab"}, "b")["a"]
    found = contrasts(cells, "b")
    assert found["a"] == whole
    assert (found["c"].n, found["c"].ci_low) == (1, None)


def test_runs_on_one_subset_are_one_block():
    rng = np.random.default_rng(5)
    table = rng.normal(0.3, 0.01, (3, 6))
    subset_of = dict(enumerate([0, 0, 1, 1, 2, 2]))
    grouped = contrasts({n: by_seed(row) for n, row in enumerate(table)}, 0, subset_of)
    means = contrasts({n: by_seed(r.reshape(3, 2).mean(axis=1)) for n, r in enumerate(table)}, 0)
    for name, found in grouped.items():
        assert (found.ci_low, found.ci_high) == pytest.approx(
            (means[name].ci_low, means[name].ci_high)
        )
        assert (found.n, found.units, found.degrees) == (6, 3, 4)
