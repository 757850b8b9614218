"""Comparisons with the best: against a linear model, scipy's tests and simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.analysis import compare_candidates


def contest(table, *, groups=None, contests=1):
    """`table`: rows of candidates, columns of seeds; the best by its mean."""
    table = np.asarray(table, dtype=float)
    values = {name: dict(enumerate(row)) for name, row in enumerate(table)}
    best = int(np.argmax(table.mean(axis=1)))
    group_of = dict(enumerate(range(table.shape[1]) if groups is None else groups))
    return compare_candidates(values, best, group_of, contests=contests)


def plausible_by_linear_model(table, contests=1):
    """Least squares on dummies of candidate and seed; Bonferroni over the other candidates."""
    table = np.asarray(table, dtype=float)
    k, n = table.shape
    rows = [[*np.eye(k)[i], *np.eye(n)[j][1:]] for i in range(k) for j in range(n)]
    design, y = np.array(rows), table.ravel()
    solution, *_ = np.linalg.lstsq(design, y, rcond=None)
    degrees = k * n - np.linalg.matrix_rank(design)
    variance = np.sum((y - design @ solution) ** 2) / degrees
    inverse = np.linalg.pinv(design.T @ design)
    best = int(np.argmax(table.mean(axis=1)))
    found = []
    for i in range(k):
        contrast = np.zeros(design.shape[1])
        contrast[best] += 1
        contrast[i] -= 1
        error = np.sqrt(variance * contrast @ inverse @ contrast)
        p = stats.t.sf(contrast @ solution / error, degrees) if i != best else 1.0
        if i == best or p >= 0.05 / ((k - 1) * contests):
            found.append(i)
    return tuple(found)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 5), st.sampled_from([1, 3]))
def test_the_plausible_are_those_of_the_linear_model(seed, candidates, seeds, contests):
    random = np.random.default_rng(seed)
    table = random.normal(0, 1, (candidates, seeds)) + random.normal(0, 3, (candidates, 1))
    found = contest(table, contests=contests)
    assert found.plausible == plausible_by_linear_model(table, contests)


@given(st.integers(0, 10_000))
def test_of_two_it_is_the_one_sided_paired_t_test(seed):
    random = np.random.default_rng(seed)
    first, second = random.normal(0, 1, 4), random.normal(1, 1, 4)
    found = contest([first, second])
    better, worse = (first, second) if found.best == 0 else (second, first)
    p = stats.ttest_rel(better, worse, alternative="greater").pvalue
    assert (len(found.plausible) == 1) == (p < 0.05)


@pytest.mark.parametrize("means", [(0, 0, 0, 0, 0, 0), (0, 1, 2, 3, 2, 1), (0, 0, 0, 0, 3, 3)])
def test_the_truly_best_is_among_the_plausible_in_95_of_100_experiments(means):
    random = np.random.default_rng(7)
    seeds_effect = random.normal(0, 2, (1000, 1, 3))
    tables = np.array(means)[None, :, None] + seeds_effect + random.normal(0, 1, (1000, 6, 3))
    found = [contest(table).plausible for table in tables]
    for truly in (i for i, mean in enumerate(means) if mean == max(means)):
        # Two standard errors of a share of 1,000 below 95 %.
        assert np.mean([truly in plausible for plausible in found]) >= 0.936


def test_a_clear_winner_leaves_no_other():
    found = contest([[1.0, 2.0, 3.0], [2.0, 3.1, 4.0], [0.5, 1.6, 2.4]])
    assert (found.best, found.wins, found.blocks, found.plausible) == (1, 3, 3, (1,))


def test_what_every_seed_shares_does_not_count_as_scatter():
    table = np.array([[0.0, 0.1, 0.05], [0.5, 0.55, 0.52], [0.1, 0.05, 0.1]])
    shifted = table + np.array([10.0, -20.0, 5.0])
    assert contest(shifted).plausible == contest(table).plausible == (1,)


def test_one_seed_leaves_open_which_are_plausible():
    found = contest([[0.1], [0.2]])
    assert (found.wins, found.blocks, found.plausible) == (1, 1, None)


def test_only_seeds_that_all_candidates_have_are_compared():
    values = {"a": {0: 0.1, 1: 0.2}, "b": {0: 0.3, 2: 0.9}}
    found = compare_candidates(values, "b", {0: 0, 1: 1, 2: 2})
    assert (found.wins, found.blocks, found.plausible) == (1, 1, None)
    found = compare_candidates({"a": {0: 0.1}, "b": {1: 0.3}}, "b", {0: 0, 1: 1})
    assert (found.wins, found.blocks, found.plausible) == (0, 0, None)


def test_runs_on_one_subset_are_one_piece_of_evidence_about_subsets():
    random = np.random.default_rng(3)
    table = random.normal(0, 1, (3, 6))
    grouped = contest(table, groups=[0, 0, 1, 1, 2, 2])
    means = contest(table.reshape(3, 3, 2).mean(axis=2))
    assert (grouped.blocks, grouped.plausible) == (3, means.plausible)


def test_judging_several_contests_together_rules_out_no_more():
    table = [[0.0, 0.3, 0.1], [0.5, 0.4, 0.75], [0.1, 0.35, 0.2]]
    alone, among = contest(table), contest(table, contests=50)
    assert set(alone.plausible) < set(among.plausible)


def test_equal_runs_of_equal_candidates_are_all_plausible():
    assert contest([[0.1, 0.1], [0.1, 0.1]]).plausible == (0, 1)
