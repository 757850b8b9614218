"""What label transforms claim to preserve, for any labels; and on what a row may depend."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_transform_cases import (
    NUM_CLASSES,
    SUPERCLASS_OF,
    compositions,
    normalised,
    of_the_population,
    probabilities,
    row_by_row,
    rows_of,
    samples,
    seeds,
    shares,
    softened,
)

from engine.experiments import parse_label_transform


def entropy(rows: np.ndarray) -> np.ndarray:
    exact = rows.astype(np.float64)
    return -np.where(exact > 0, exact * np.log(np.where(exact > 0, exact, 1)), 0).sum(axis=1)


def transformed(spelling: str, rows: np.ndarray, seed: int = 0) -> np.ndarray:
    return parse_label_transform(spelling)(rows, samples(len(rows), seed))


def own(rows: np.ndarray) -> np.ndarray:
    return rows[np.arange(len(rows)), samples(len(rows)).labels]


@settings(deadline=None)
@given(compositions, probabilities, seeds)
def test_rows_sum_to_one_and_equal_seeds_give_equal_bytes(spelling, rows, seed) -> None:
    before = rows.copy()
    found, again = transformed(spelling, rows, seed), transformed(spelling, rows, seed)
    assert (found.dtype, found.shape) == (np.float32, rows.shape)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.tobytes() == again.tobytes()
    assert (rows == before).all()


@settings(deadline=None)
@given(st.one_of(row_by_row, of_the_population, softened), probabilities, seeds)
def test_a_row_depends_on_its_own_sample_alone(spelling, rows, seed) -> None:
    transform, of = parse_label_transform(spelling), samples(len(rows), seed)
    together = transform(rows, of)
    back = np.arange(len(rows))[::-1]
    assert transform(rows[back], rows_of(of, back)).tobytes() == together[back].tobytes()
    for n in range(len(rows)):
        alone = transform(rows[n : n + 1], rows_of(of, np.array([n])))
        assert alone.tobytes() == together[n].tobytes()


@pytest.mark.parametrize(
    "spelling",
    [
        "between-superclasses+top-k:50+smoothing:0.1",
        "within-superclasses+temperature:3",
        "residual+between-superclasses+drop-class-column:7",
        "shuffle-tail+uniform-noise:0.3+swap-ith:40",
        "generated:0.4+temperature:2+top-k:9",
    ],
)
def test_a_row_of_a_hundred_classes_does_not_depend_on_the_number_of_rows(spelling: str) -> None:
    """Long sums are added in an order that must not change with the memory's layout."""
    rows = normalised(np.random.default_rng(0).random((9, 100)) ** 4)
    transform, of = parse_label_transform(spelling), samples(9, num_classes=100)
    together = transform(rows, of)
    for n in range(9):
        alone = transform(rows[n : n + 1], rows_of(of, np.array([n])))
        assert alone.tobytes() == together[n].tobytes()


@settings(deadline=None)
@given(st.integers(1, NUM_CLASSES - 1), probabilities, seeds)
def test_swapping_and_shuffling_permute_a_label_so_its_entropy_stays(i, rows, seed) -> None:
    for spelling in (f"swap-ith:{i}", "shuffle-tail"):
        found = transformed(spelling, rows, seed)
        np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(rows, axis=1))
        np.testing.assert_allclose(entropy(found), entropy(rows), atol=1e-6)


@settings(deadline=None)
@given(st.integers(2, NUM_CLASSES - 1), st.integers(1, NUM_CLASSES), probabilities, seeds)
def test_the_top_class_stays_where_claimed(i, k, rows, seed) -> None:
    top = rows.argmax(axis=1)
    for spelling in ("shuffle-tail", f"top-k:{k}", f"top-k:{k},keep", "smoothing:0.5"):
        found = transformed(spelling, rows, seed)
        np.testing.assert_array_equal(found[np.arange(len(rows)), top], found.max(axis=1))
    swapped = transformed(f"swap-ith:{i}", rows, seed)
    np.testing.assert_array_equal(swapped[np.arange(len(rows)), top], rows.max(axis=1))


@settings(deadline=None)
@given(shares, probabilities, seeds)
def test_the_true_class_has_its_mass_where_claimed(p, rows, seed) -> None:
    for spelling in (f"generated:{p}", f"class-imbalanced:{p}"):
        np.testing.assert_allclose(own(transformed(spelling, rows, seed)), p, atol=1e-6)
    for spelling in ("within-superclasses", "between-superclasses"):
        np.testing.assert_array_equal(own(transformed(spelling, rows, seed)), own(rows))
    found = transformed("residual", rows, seed)
    np.testing.assert_allclose(own(found), own(rows), atol=1e-6)


@settings(deadline=None)
@given(probabilities)
def test_superclasses_keep_their_mass_and_labels_only_get_flatter(rows) -> None:
    labels = samples(len(rows)).labels
    within, between = (transformed(f"{w}-superclasses", rows) for w in ("within", "between"))
    for name in np.unique(SUPERCLASS_OF):
        mine, inside = SUPERCLASS_OF[labels] == name, name == SUPERCLASS_OF
        np.testing.assert_array_equal(within[mine][:, inside], rows[mine][:, inside])
        mass = rows[:, inside].sum(axis=1)
        np.testing.assert_allclose(between[:, inside].sum(axis=1), mass, atol=1e-6)
    for found in (within, between):
        assert (entropy(found) >= entropy(rows) - 1e-5).all()


@settings(deadline=None)
@given(st.integers(0, NUM_CLASSES - 1), probabilities)
def test_a_dropped_class_is_named_by_its_own_samples_alone(c, rows) -> None:
    found = transformed(f"drop-class-column:{c}", rows)
    mine = samples(len(rows)).labels == c
    np.testing.assert_array_equal(found[mine], rows[mine])
    assert (found[~mine, c] == 0).all()


@settings(deadline=None)
@given(shares, shares, probabilities, seeds)
def test_a_larger_share_of_noise_takes_more_rows_of_one_order(first, other, rows, seed) -> None:
    less, more = sorted((first, other))
    few, many = (
        transformed(f"noise-lowest-entropy:{share},0.5", rows, seed) for share in (less, more)
    )
    changed = (few != rows).any(axis=1)
    np.testing.assert_array_equal(few[changed], many[changed])


@settings(deadline=None)
@given(compositions)
def test_a_composition_survives_being_sent_to_another_process(spelling) -> None:
    transform = parse_label_transform(spelling)
    assert pickle.loads(pickle.dumps(transform)) == transform
