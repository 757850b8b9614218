"""Which images a student gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.experiments import hard_targets, select_random

CLASSES = ("a", "b", "c", "d")


@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_every_class_gets_its_images_once(seed: int, ipc: int) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 25))
    candidates = np.setdiff1d(np.arange(100), np.arange(0, 100, 11))
    chosen = select_random(labels, candidates, ipc, seed, CLASSES)
    assert np.array_equal(labels[chosen], np.repeat(np.arange(4), ipc))
    assert len(set(chosen)) == 4 * ipc
    assert np.isin(chosen, candidates).all()


@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9))
def test_subsets_of_one_seed_are_nested(seed: int, small: int, large: int) -> None:
    small, large = sorted((small, large))
    labels, every = np.repeat(np.arange(4), 10), np.arange(40)
    inner = select_random(labels, every, small, seed, CLASSES)
    outer = select_random(labels, every, large, seed, CLASSES)
    assert set(inner) <= set(outer)


def test_images_of_a_class_are_drawn_evenly() -> None:
    labels, every = np.zeros(20, np.int64), np.arange(20)
    counts = np.bincount(
        np.concatenate([select_random(labels, every, 5, seed, ("a",)) for seed in range(2000)]),
        minlength=20,
    )
    # 500 expected each; five standard deviations of a binomial are about 97.
    assert abs(counts - 500).max() < 100


def test_an_ipc_above_the_smallest_class_is_refused_naming_it() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    with pytest.raises(UsageError, match=r"'b' has 2 images.*up to 2"):
        select_random(labels, np.arange(5), 3, 0, ("a", "b"))


def test_hard_targets_are_one_hot() -> None:
    rows = hard_targets(np.array([2, 0]), 3)
    np.testing.assert_array_equal(rows, [[0, 0, 1], [1, 0, 0]])
