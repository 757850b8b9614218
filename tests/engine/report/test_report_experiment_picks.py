"""The best of several is picked on other images than it is reported on, or pays for the pick."""

from __future__ import annotations

import numpy as np
import pytest
from report_findings import found_by
from report_synthetic_sweep import trial
from scipy import stats

# By label: accuracies of three runs on test; the one best there is the worst on validation.
PICKED = {
    "a": ((0.21, 0.24, 0.22), 0.30),
    "b": ((0.22, 0.23, 0.21), 0.35),
    "c": ((0.26, 0.29, 0.24), 0.20),
}
ALONE = (0.20, 0.20, 0.20)


def picked(axis, names, *, epoch=13, validation=True):
    """The kinds of PICKED as values of an axis, beside soft labels left alone."""
    records = [trial(10, 13, value, seed=seed) for seed, value in enumerate(ALONE)]
    for name, (values, held_out) in zip(names, PICKED.values(), strict=True):
        for seed, value in enumerate(values):
            on = held_out if validation else None
            records.append(trial(10, epoch, value, seed=seed, validation=on, cell={axis: name}))
    return records


def interval_of(values, *, comparisons):
    """Ends in words of the interval of the mean difference, after Bonferroni, by scipy."""
    points = 100 * (np.asarray(values) - np.asarray(ALONE))
    low, high = stats.t.interval(1 - 0.05 / comparisons, 2, points.mean(), stats.sem(points))
    return f"{low:+.1f} to {high:+.1f}".replace("-", "−")


KINDS_OF = {
    "selection": ("selection", [f"difficulty:{decile}" for decile in (0, 5, 9)], 13),
    "structure": ("transform", ["class-mean", "residual", "co-occurrence"], 13),
    "generated": ("transform", [f"generated:{mass}" for mass in (0.8, 0.9, 0.95)], None),
}


@pytest.mark.parametrize("name", KINDS_OF)
def test_the_best_of_several_is_picked_on_validation_where_there_is_any(name):
    axis, names, epoch = KINDS_OF[name]
    (text,) = found_by(name, picked(axis, names, epoch=epoch)).sentences
    assert "by validation accuracy" in text
    assert interval_of(PICKED["b"][0], comparisons=1) in text
    assert "intervals widened" not in text


@pytest.mark.parametrize("name", KINDS_OF)
def test_the_best_of_several_picked_on_test_has_an_interval_that_allows_for_it(name):
    axis, names, epoch = KINDS_OF[name]
    (text,) = found_by(name, picked(axis, names, epoch=epoch, validation=False)).sentences
    assert "by test accuracy" in text
    assert "; intervals widened for the choice)" in text
    assert interval_of(PICKED["c"][0], comparisons=3) in text
    assert interval_of(PICKED["c"][0], comparisons=1) not in text
