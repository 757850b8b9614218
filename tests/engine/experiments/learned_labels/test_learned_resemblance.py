"""How alike labels are, against scipy row by row; and which epoch is most alike."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from engine.experiments.learned_labels.resemblance import (
    class_similarity,
    compare_labels,
    cosine,
    divergences,
    rank_correlations,
)

CLASSES = 5


def labels_of(seed: int, n: int = 8, sharpness: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, sharpness, (n, CLASSES))
    return scipy.special.softmax(logits, axis=1).astype(np.float32)


@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
@given(st.integers(0, 10_000), st.booleans())
def test_rank_correlations_are_scipys_of_the_other_classes(seed: int, ties: bool) -> None:
    first, second = labels_of(seed), labels_of(seed + 1)
    if ties:
        second = np.round(second, 1)
    classes = np.random.default_rng(seed).integers(0, CLASSES, 8)
    found = rank_correlations(first, second, classes)
    for row, true in enumerate(classes):
        others = np.arange(CLASSES) != true
        with np.errstate(invalid="ignore"):
            expected = scipy.stats.spearmanr(first[row, others], second[row, others]).statistic
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


@given(st.integers(0, 10_000))
def test_divergences_are_scipys(seed: int) -> None:
    first, second = labels_of(seed).astype(np.float64), labels_of(seed + 1).astype(np.float64)
    expected = [scipy.stats.entropy(p, q) for p, q in zip(first, second, strict=True)]
    np.testing.assert_allclose(divergences(first, second), expected, atol=1e-6)


def test_class_similarity_is_the_mean_label_of_each_class_without_itself() -> None:
    rows, classes = labels_of(3, n=6), np.array([0, 0, 1, 4, 4, 4])
    found = class_similarity(rows, classes, np.array([1, 2, 1, 1, 0, 1]))
    expected = np.zeros((CLASSES, CLASSES))
    expected[0] = (rows[0] + 2 * rows[1]) / 3
    expected[1] = rows[2]
    expected[4] = (rows[3] + rows[5]) / 2
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert cosine(found, 3 * found) == pytest.approx(1)


def test_the_epoch_whose_labels_they_are_is_most_alike_by_every_measure() -> None:
    classes = np.arange(40) % CLASSES
    experts = {epoch: labels_of(epoch, n=40) for epoch in (1, 5, 9)}
    found = compare_labels(experts, experts[5], classes, resamples=50)
    for best in found["best"]:
        assert (best["epoch"], best["low"], best["high"], best["share"]) == (5, 5, 5, 1.0)
    row = found["table"][1]
    assert row["rank_correlation"] == pytest.approx(1)
    assert row["kl_expert_learned"] == pytest.approx(0, abs=1e-9)
    assert row["expert_entropy"] == pytest.approx(row["learned_entropy"])
    assert row["expert_entropy"] == pytest.approx(scipy.stats.entropy(experts[5].T).mean())


def test_epochs_that_are_equally_alike_leave_the_best_one_open() -> None:
    classes = np.arange(60) % CLASSES
    experts = {epoch: labels_of(epoch, n=60) for epoch in (1, 2)}
    found = compare_labels(experts, labels_of(77, n=60), classes, resamples=200)
    low, high = (found["table"][0]["intervals"]["rank_correlation"][side] for side in (0, 1))
    assert low < found["table"][0]["rank_correlation"] < high
    assert {(best["low"], best["high"]) for best in found["best"]} & {(1, 2)}
    assert found == compare_labels(experts, labels_of(77, n=60), classes, resamples=200)


def test_labels_without_any_order_have_no_rank_correlation() -> None:
    classes = np.arange(10) % CLASSES
    uniform = np.full((10, CLASSES), 1 / CLASSES, np.float32)
    found = compare_labels({1: labels_of(1, n=10)}, uniform, classes, resamples=20)
    assert found["table"][0]["rank_correlation"] is None
    assert found["best"][0]["epoch"] is None
    assert found["best"][1]["epoch"] == 1
