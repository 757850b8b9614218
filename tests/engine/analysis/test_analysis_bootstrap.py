"""Resampled intervals, against Student's t and simulation with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from engine.analysis import draw_difference, draw_means
from engine.analysis.bootstrap import num_units


def test_the_interval_of_a_difference_is_that_of_pairs():
    effect = np.asarray([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    noise = np.random.default_rng(0).normal(0, 0.01, 6)
    first, second = dict(enumerate(0.3 + effect + noise)), dict(enumerate(0.25 + effect))
    low, high = draw_difference(first, second)
    reference = stats.ttest_rel([*first.values()], [*second.values()]).confidence_interval(0.95)
    assert low == pytest.approx(reference.low, abs=0.002)
    assert high == pytest.approx(reference.high, abs=0.002)
    # Of runs without a seed in common, what seeds have in common stays.
    apart = draw_difference(first, {10 + seed: value for seed, value in second.items()})
    assert apart[1] - apart[0] > 10 * (high - low)


def test_a_difference_of_single_runs_has_no_interval():
    assert draw_difference({0: 0.5}, {0: 0.4}) is None
    assert draw_difference({0: 0.5, 1: 0.6}, {}) is None


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
