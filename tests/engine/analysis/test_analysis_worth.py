"""Images that a soft label is worth: the published numbers, numpy's interpolation, known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis import worth_in_images
from engine.analysis.published import read_published
from engine.analysis.worth import isotonic

PUBLISHED = {ipc: {0: percent / 100} for ipc, percent in read_published()["cifar100"].hard.items()}


def runs(*values):
    return dict(enumerate(values))


def saturating(ipc):
    """A curve of hard labels with a ceiling of 60 %, half of it at 20 images per class."""
    return 0.6 / (1 + (20 / ipc) ** 0.8)


@pytest.mark.parametrize(("soft", "images"), [(0.150, 6.2), (0.160, 7.0)])
def test_published_soft_labels_at_ipc_1_are_worth_six_to_seven_images(soft, images):
    (found,) = worth_in_images({1: {0: soft}}, PUBLISHED)
    assert (found.ipc, found.kind) == (1, "interpolated")
    assert found.images == pytest.approx(images, abs=0.15)
    assert found.per_label == found.images
    assert not found.has_interval  # one run a cell


def test_published_soft_labels_at_ipc_10_are_worth_four_images_each():
    (found,) = worth_in_images({10: {0: 0.349}}, PUBLISHED)
    assert found.images == pytest.approx(43, abs=2)
    assert found.per_label == found.images / 10


@given(
    st.lists(st.floats(0.01, 0.2), min_size=2, max_size=6),
    st.floats(0.0, 1.0),
)
def test_inside_a_rising_curve_it_is_numpys_interpolation_over_log_ipc(steps, share):
    ipcs = [2**i for i in range(len(steps))]
    curve = np.cumsum(steps)
    level = curve[0] + share * (curve[-1] - curve[0])
    hard = {ipc: {0: value} for ipc, value in zip(ipcs, curve, strict=True)}
    (found,) = worth_in_images({1: {0: level}}, hard)
    assert found.images == pytest.approx(np.exp(np.interp(level, curve, np.log(ipcs))), rel=1e-6)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 5)), min_size=1, max_size=8))
def test_isotonic_rises_keeps_the_weighted_mean_and_leaves_rising_values_alone(points):
    values, weights = (np.asarray(each, dtype=float) for each in zip(*points, strict=True))
    found = isotonic(values, weights)
    assert np.all(np.diff(found) >= 0)
    assert found @ weights == pytest.approx(values @ weights)
    assert isotonic(np.sort(values), weights) == pytest.approx(np.sort(values))
    # A projection: of non-decreasing sequences none is nearer, such as the running maximum.
    other = np.maximum.accumulate(values)
    assert weights @ (found - values) ** 2 <= weights @ (other - values) ** 2 + 1e-12


def test_isotonic_pools_neighbours_that_fall():
    assert isotonic(
        np.asarray([1.0, 3.0, 2.0, 4.0]), np.asarray([1.0, 1.0, 3.0, 1.0])
    ).tolist() == [
        1.0,
        2.25,
        2.25,
        4.0,
    ]


def test_beyond_the_measured_curve_there_is_a_bound_and_no_number():
    hard = {1: runs(0.1, 0.11), 10: runs(0.2, 0.21)}
    above, below = worth_in_images({5: runs(0.5, 0.51), 1: runs(0.01, 0.02)}, hard)[::-1]
    assert (above.kind, above.images, above.per_label) == ("more than measured", 10, 2)
    assert (below.kind, below.images) == ("less than measured", 1)
    assert above.has_interval
    assert (above.low, above.high) == (np.inf, np.inf)
    assert (below.low, below.high) == (0, 0)
    assert above.ends_on_curve == below.ends_on_curve == (None, None)


def test_an_interval_may_reach_beyond_the_curve_on_one_side():
    hard = {1: runs(0.10, 0.11, 0.12), 10: runs(0.20, 0.21, 0.22)}
    (found,) = worth_in_images({1: runs(0.195, 0.205, 0.22)}, hard)
    assert found.kind == "interpolated"
    assert 1 < found.low < 10
    assert found.high == np.inf
    assert found.ends_on_curve == (found.low, None)


def test_an_interval_may_reach_beyond_the_curve_on_both_sides():
    hard = {1: runs(0.10, 0.11, 0.12), 2: runs(0.11, 0.12, 0.13)}
    (found,) = worth_in_images({1: {10: 0.02, 11: 0.11, 12: 0.21}}, hard)
    assert (found.kind, found.low, found.high) == ("interpolated", 0, np.inf)


def test_an_interval_rests_on_the_cell_with_fewest_independent_runs():
    hard = {1: runs(0.10, 0.11, 0.12), 10: runs(0.20, 0.21)}
    (found,) = worth_in_images({1: runs(0.15, 0.16, 0.17, 0.18)}, hard)
    assert found.units == 2
    subset_of = dict(enumerate("aabb"))
    (grouped,) = worth_in_images(
        {1: runs(0.15, 0.16, 0.17, 0.18)}, {1: runs(0.1, 0.1, 0.11, 0.12)}, group_of=subset_of
    )
    assert grouped.units == 2


def test_interval_holds_the_true_worth_at_95_percent():
    generator = np.random.default_rng(0)
    ipcs, truth = [1, 5, 10, 50], 7.0
    held = 0
    for trial in range(300):
        seed_effect = generator.normal(0, 0.01, 3)
        hard = {
            ipc: runs(*(0.05 + 0.08 * np.log(ipc) + seed_effect + generator.normal(0, 0.01, 3)))
            for ipc in ipcs
        }
        level = 0.05 + 0.08 * np.interp(np.log(truth), np.log(ipcs), np.log(ipcs))
        soft = {1: runs(*(level + seed_effect + generator.normal(0, 0.01, 3)))}
        (found,) = worth_in_images(soft, hard, seed=trial, resamples=300)
        held += (found.low or 0) <= truth <= (found.high or np.inf)
    assert held / 300 >= 0.92


def test_shared_seeds_narrow_the_interval():
    effect = np.asarray([0.0, 0.01, 0.02, 0.03])
    hard = {ipc: runs(*(0.1 * i + effect)) for i, ipc in enumerate([1, 10, 100, 1000], 1)}
    noise = np.asarray([0.001, -0.001, 0.002, 0.0])
    paired = {1: runs(*(0.25 + effect + noise))}
    apart = {1: {10 + key: value for key, value in paired[1].items()}}
    (close,), (wide,) = (worth_in_images(soft, hard) for soft in (paired, apart))
    assert (close.high - close.low) < 0.3 * (wide.high - wide.low)


def test_extrapolation_is_given_only_if_asked_and_marked():
    ipcs = [1, 2, 5, 10, 20]
    hard = {ipc: {0: saturating(ipc)} for ipc in ipcs}
    soft = {1: {0: saturating(80)}}
    (plain,) = worth_in_images(soft, hard)
    (asked,) = worth_in_images(soft, hard, extrapolate=True)
    assert (plain.kind, plain.images) == ("more than measured", 20)
    assert asked.kind == "extrapolated"
    assert asked.images == pytest.approx(80, rel=0.05)


def test_no_extrapolation_to_an_accuracy_that_hard_labels_never_reach():
    hard = {ipc: {0: saturating(ipc)} for ipc in (1, 2, 5, 10, 20)}
    (found,) = worth_in_images({1: {0: 0.7}}, hard, extrapolate=True)
    assert (found.kind, found.images) == ("more than measured", 20)


def test_published_hard_labels_are_foretold_at_the_largest_ipc_from_the_others():
    known = {ipc: cell for ipc, cell in PUBLISHED.items() if ipc < 100}
    (found,) = worth_in_images({1: PUBLISHED[100]}, known, extrapolate=True)
    assert found.kind == "extrapolated"
    assert found.images == pytest.approx(109, abs=1)


def test_extrapolated_interval_surrounds_the_value():
    generator = np.random.default_rng(1)
    hard = {
        ipc: runs(*(saturating(ipc) + generator.normal(0, 0.003, 4))) for ipc in (1, 2, 5, 10, 20)
    }
    soft = {1: runs(*(saturating(60) + generator.normal(0, 0.003, 4)))}
    (found,) = worth_in_images(soft, hard, extrapolate=True, resamples=100)
    assert found.kind == "extrapolated"
    assert found.low < 60 < (found.high or np.inf)


def test_without_hard_labels_there_is_nothing_to_compare_with():
    with pytest.raises(ValueError, match="no accuracies with hard labels"):
        worth_in_images({1: runs(0.1)}, {10: {}})
