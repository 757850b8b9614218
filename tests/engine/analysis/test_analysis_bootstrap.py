"""Resampled intervals, against scipy's bootstrap, Student's t, and simulation with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.analysis import bootstrap_difference, bootstrap_mean, draw_means
from engine.analysis.bootstrap import FEW_UNITS, num_units

accuracies = st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=12)


def test_interval_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).normal(0.4, 0.02, 20)
    found = bootstrap_mean(values.tolist(), resamples=20_000)
    reference = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    width = reference.high - reference.low
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(reference.low, abs=0.02 * width)
    assert found.high == pytest.approx(reference.high, abs=0.02 * width)


@given(accuracies)
def test_interval_lies_within_what_was_seen_and_around_the_mean(values):
    found = bootstrap_mean(values, resamples=100)
    assert found.mean == pytest.approx(np.mean(values))
    if len(values) > 1:
        assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12
    else:
        assert (found.low, found.high) == (None, None)


def test_same_seed_gives_the_same_interval_and_another_seed_another():
    values = [0.1, 0.15, 0.12, 0.19, 0.11]
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3, resamples=50) != bootstrap_mean(
        values, seed=4, resamples=50
    )


def test_groups_are_resampled_as_a_whole():
    values = [0.10, 0.12, 0.20, 0.22, 0.30, 0.32]
    assert bootstrap_mean(values, [0, 0, 1, 1, 2, 2]) == bootstrap_mean([0.11, 0.21, 0.31])


def test_a_single_group_describes_that_group_alone():
    assert bootstrap_mean([0.1, 0.2, 0.4], [7, 7, 7]) == bootstrap_mean([0.1, 0.2, 0.4])


def test_few_units_are_said_to_be_too_narrow():
    assert bootstrap_mean([0.1, 0.2, 0.3]).is_too_narrow
    assert not bootstrap_mean(np.linspace(0, 1, FEW_UNITS).tolist()).is_too_narrow


@pytest.mark.parametrize(("units", "coverage"), [(2, 0.50), (3, 0.75), (5, 0.84), (10, 0.90)])
def test_plain_intervals_hold_the_truth_as_seldom_as_the_docstring_says(units, coverage):
    generator = np.random.default_rng(units)
    held = 0
    for trial in range(600):
        found = bootstrap_mean(generator.normal(0, 1, units).tolist(), seed=trial, resamples=300)
        held += found.low <= 0 <= found.high
    assert held / 600 == pytest.approx(coverage, abs=0.05)


def test_nothing_has_no_mean_and_groups_must_fit():
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([])
    with pytest.raises(ValueError, match="2 values but 1 groups"):
        bootstrap_mean([0.1, 0.2], [0])


def test_difference_of_shared_seeds_resamples_pairs():
    first = {seed: 0.3 + 0.1 * seed for seed in range(5)}
    second = {seed: value - 0.02 - 0.001 * seed for seed, value in first.items()}
    found = bootstrap_difference(first, second)
    pairs = bootstrap_mean([first[seed] - second[seed] for seed in first])
    assert found == pairs
    assert found.high - found.low < 0.005  # the seeds' own spread, 0.1, is gone


def test_difference_without_shared_seeds_is_scipys_two_sample_bootstrap():
    generator = np.random.default_rng(5)
    a, b = generator.normal(0.5, 0.02, 15), generator.normal(0.4, 0.03, 12)
    found = bootstrap_difference(
        dict(enumerate(a)), {100 + i: v for i, v in enumerate(b)}, resamples=20_000
    )
    reference = stats.bootstrap(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=generator,
    ).confidence_interval
    width = reference.high - reference.low
    assert found.low == pytest.approx(reference.low, abs=0.03 * width)
    assert found.high == pytest.approx(reference.high, abs=0.03 * width)


def test_difference_to_nothing_is_nothing():
    assert bootstrap_difference({0: 0.5}, {}) is None


@pytest.mark.parametrize("units", [2, 3, 5, 20])
def test_draws_of_a_mean_span_students_interval(units):
    values = np.random.default_rng(units).normal(0.3, 0.05, units)
    draws = draw_means([dict(enumerate(values))], resamples=20_000)[:, 0]
    reference = stats.t.interval(0.95, units - 1, loc=values.mean(), scale=stats.sem(values))
    low, high = np.quantile(draws, [0.025, 0.975])
    # Draws of two units are uniform, whose ends lie closer than their spread suggests.
    assert (high - low) / (reference[1] - reference[0]) == pytest.approx(1, abs=0.17)
    assert draws.mean() == pytest.approx(values.mean(), abs=0.05 * draws.std())


@pytest.mark.parametrize("units", [3, 5])
def test_draws_of_a_mean_hold_the_truth_at_95_percent(units):
    generator = np.random.default_rng(10 + units)
    held = 0
    for trial in range(800):
        cell = dict(enumerate(generator.normal(0, 1, units)))
        low, high = np.quantile(draw_means([cell], seed=trial, resamples=400)[:, 0], [0.025, 0.975])
        held += low <= 0 <= high
    assert held / 800 == pytest.approx(0.95, abs=0.03)


def test_draws_of_cells_with_shared_seeds_move_together():
    shared = dict(enumerate([0.1, 0.3, 0.2, 0.4]))
    draws = draw_means([shared, {seed: value + 0.05 for seed, value in shared.items()}])
    assert np.allclose(draws[:, 1] - draws[:, 0], 0.05)


def test_draws_of_cells_without_shared_seeds_are_independent():
    values = [0.1, 0.3, 0.2, 0.4]
    cells = [dict(enumerate(values)), {10 + i: v for i, v in enumerate(values)}]
    draws = draw_means(cells, resamples=5000)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.05


def test_runs_of_one_subset_are_one_unit_of_the_draws():
    cell, subset_of = {0: 0.1, 1: 0.3, 2: 0.2, 3: 0.4}, {0: "a", 1: "a", 2: "b", 3: "b"}
    assert num_units(cell, subset_of) == 2
    assert num_units(cell, dict.fromkeys(cell, "a")) == 4


def test_a_single_run_keeps_its_mean_in_every_draw():
    assert np.ptp(draw_means([{0: 0.25}, {0: 0.1, 1: 0.2}])[:, 0]) == 0


def test_a_subset_is_the_same_unit_however_many_runs_a_cell_has_of_it():
    several = {(s, i): 0.1 * s + 0.01 * i for s in (1, 2, 3) for i in (0, 1)}
    single = {(s, 0): 0.1 * s + 0.305 for s in (1, 2, 3)}
    subset_of = {key: key[0] for key in {**several, **single}}
    draws = draw_means([several, single], subset_of)
    assert np.allclose(draws[:, 1] - draws[:, 0], 0.3)
