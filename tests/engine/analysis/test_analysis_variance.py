"""The variance split, against the analysis of variance by hand and simulation with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import split_variance


def simulated(generator, experts, subsets, runs, *, nested, stds):
    """(value, subset, expert) with standard deviations of (init, subset, expert, interaction)."""
    init, of_subset, of_expert, of_both = stds
    shared = generator.normal(0, of_subset, subsets)
    found = []
    for expert in range(experts):
        level = generator.normal(0, of_expert)
        own = generator.normal(0, of_subset, subsets) if nested else shared
        for subset in range(subsets):
            both = generator.normal(0, of_both)
            for _ in range(runs):
                value = 0.3 + level + own[subset] + both + generator.normal(0, init)
                found.append((value, (expert, subset) if nested else subset, expert))
    return found


def averages_of(experts, subsets, runs, *, nested, stds, repeats=400):
    """Mean of the estimated variances; negative ones were cut, so none of the truths is near 0."""
    generator = np.random.default_rng(0)
    splits = [
        split_variance(simulated(generator, experts, subsets, runs, nested=nested, stds=stds))
        for _ in range(repeats)
    ]
    return {
        name: math.sqrt(np.mean([getattr(split, name) ** 2 for split in splits]))
        for name in ("initialisation", "subset", "expert")
        if getattr(splits[0], name) is not None
    }


def test_known_variances_come_back_where_experts_share_subsets():
    found = averages_of(6, 6, 2, nested=False, stds=(0.01, 0.03, 0.02, 0.0))
    assert found["initialisation"] == pytest.approx(0.01, rel=0.05)
    assert found["subset"] == pytest.approx(0.03, rel=0.08)
    assert found["expert"] == pytest.approx(0.02, rel=0.10)


def test_known_variances_come_back_where_every_expert_has_subsets_of_its_own():
    found = averages_of(8, 4, 2, nested=True, stds=(0.01, 0.02, 0.04, 0.0))
    assert found["initialisation"] == pytest.approx(0.01, rel=0.05)
    assert found["subset"] == pytest.approx(0.02, rel=0.05)
    assert found["expert"] == pytest.approx(0.04, rel=0.08)


def test_balanced_nested_design_gives_the_analysis_of_variance():
    a, b, n = 3, 4, 2
    runs = simulated(np.random.default_rng(1), a, b, n, nested=True, stds=(0.01, 0.05, 0.2, 0))
    y = np.asarray([value for value, _, _ in runs]).reshape(a, b, n)
    cells, experts = y.mean(axis=2), y.mean(axis=(1, 2))
    within = ((y - cells[..., None]) ** 2).sum() / (a * b * (n - 1))
    of_subsets = n * ((cells - experts[:, None]) ** 2).sum() / (a * (b - 1))
    of_experts = n * b * ((experts - y.mean()) ** 2).sum() / (a - 1)
    found = split_variance(runs)
    assert found.initialisation == pytest.approx(math.sqrt(within))
    assert found.subset == pytest.approx(math.sqrt((of_subsets - within) / n))
    assert found.expert == pytest.approx(math.sqrt((of_experts - of_subsets) / (n * b)))
    assert (found.num_runs, found.num_subsets, found.num_experts) == (24, 12, 3)


def test_balanced_crossed_design_gives_the_analysis_of_variance():
    a, b, n = 4, 5, 3
    runs = simulated(np.random.default_rng(6), a, b, n, nested=False, stds=(0.1, 0.5, 0.6, 0.4))
    y = np.asarray([value for value, _, _ in runs]).reshape(a, b, n)
    cells, mean = y.mean(axis=2), y.mean()
    rows, columns = cells.mean(axis=1), cells.mean(axis=0)
    within = ((y - cells[..., None]) ** 2).sum() / (a * b * (n - 1))
    both = n * ((cells - rows[:, None] - columns + mean) ** 2).sum() / ((a - 1) * (b - 1))
    of_experts = n * b * ((rows - mean) ** 2).sum() / (a - 1)
    of_subsets = n * a * ((columns - mean) ** 2).sum() / (b - 1)
    found = split_variance(runs)
    assert found.initialisation == pytest.approx(math.sqrt(within))
    assert found.interaction == pytest.approx(math.sqrt((both - within) / n))
    assert found.expert == pytest.approx(math.sqrt((of_experts - both) / (n * b)))
    assert found.subset == pytest.approx(math.sqrt((of_subsets - both) / (n * a)))


def test_sources_add_up_to_the_total():
    runs = simulated(np.random.default_rng(6), 4, 5, 3, nested=False, stds=(0.1, 0.5, 0.6, 0.4))
    found = split_variance(runs)
    parts = (found.initialisation, found.subset, found.expert, found.interaction)
    assert not found.notes
    assert found.total == pytest.approx(math.sqrt(sum(part**2 for part in parts)))


def test_one_subset_and_expert_tell_of_initialisation_alone():
    values = [0.1, 0.12, 0.17]
    found = split_variance([(value, 0, "e") for value in values])
    assert found.initialisation == pytest.approx(np.std(values, ddof=1))
    assert found.total == found.initialisation
    assert (found.subset, found.expert) == (None, None)


def test_seeds_that_change_subset_and_initial_weights_together_tell_neither_apart():
    found = split_variance([(0.1, 0, "e"), (0.12, 1, "e"), (0.17, 2, "e")])
    assert found.total == pytest.approx(np.std([0.1, 0.12, 0.17], ddof=1))
    assert (found.initialisation, found.subset, found.expert) == (None, None, None)
    assert "can't be told apart" in found.notes[0]


def test_experts_that_share_subsets_are_told_from_them_by_one_run_each():
    runs = simulated(np.random.default_rng(2), 5, 5, 1, nested=False, stds=(0.01, 0.3, 0.2, 0))
    found = split_variance(runs)
    assert None not in (found.initialisation, found.subset, found.expert)
    assert found.interaction is None
    assert "counts as initialisation" in found.notes[0]


def test_experts_each_with_one_subset_of_its_own_are_not_told_from_it():
    found = split_variance([(0.1, 0, "a"), (0.11, 0, "a"), (0.3, 1, "b"), (0.32, 1, "b")])
    assert found.initialisation is not None
    assert (found.subset, found.expert) == (None, None)


def test_a_negative_estimate_is_zero_with_a_note():
    found = split_variance([(0.1, 0, "e"), (0.3, 0, "e"), (0.1, 1, "e"), (0.3, 1, "e")])
    assert found.subset == 0
    assert "subset was negative" in found.notes[0]


@pytest.mark.parametrize("runs", [[], [(0.3, 0, "e")]])
def test_fewer_than_two_runs_tell_nothing(runs):
    found = split_variance(runs)
    assert (found.total, found.initialisation, found.subset) == (None, None, None)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_no_design_fails_and_shifting_all_runs_changes_nothing(runs):
    found, shifted = split_variance(runs), split_variance([(v + 1, s, e) for v, s, e in runs])
    for name in ("total", "initialisation", "subset", "expert", "interaction"):
        value = getattr(found, name)
        assert value is None or value >= 0
        assert getattr(shifted, name) == pytest.approx(value, abs=1e-6) or value is None


def test_pairs_that_share_their_initialisation_say_nothing_of_subset_or_expert():
    generator = np.random.default_rng(4)
    splits = []
    for _ in range(300):
        of_seed, of_expert = generator.normal(0, 0.03, 6), generator.normal(0, 0.02, 6)
        seeds = [(seed, expert) for seed in range(6) for expert in range(6)]
        runs = [(of_seed[seed] + of_expert[expert], seed, expert) for seed, expert in seeds]
        splits.append(split_variance(runs, [seed for seed, _ in seeds]))
    assert {(each.initialisation, each.subset) for each in splits} == {(None, None)}
    assert "can't be told apart" in splits[0].notes[0]
    assert math.sqrt(np.mean([each.expert**2 for each in splits])) == pytest.approx(0.02, rel=0.1)


def test_initialisations_crossed_with_subsets_are_told_from_them():
    generator = np.random.default_rng(5)
    squares = []
    for _ in range(400):
        of_start, of_subset = generator.normal(0, 0.03, 5), generator.normal(0, 0.02, 5)
        places = [(start, subset) for start in range(5) for subset in range(5)]
        runs = [(of_start[i] + of_subset[s], s, "e") for i, s in places]
        found = split_variance(runs, [i for i, _ in places])
        squares.append((found.initialisation**2, found.subset**2))
    initialisation, subset = np.sqrt(np.mean(squares, axis=0))
    assert initialisation == pytest.approx(0.03, rel=0.07)
    assert subset == pytest.approx(0.02, rel=0.15)


def test_another_number_of_initialisations_is_refused():
    with pytest.raises(ValueError, match="2 runs but 1 initialisations"):
        split_variance([(0.1, 0, "e"), (0.2, 1, "e")], [0])
