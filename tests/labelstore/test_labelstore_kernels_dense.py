"""Dense rows, their statistics, errors and softmax against numpy and float64 arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import (
    assert_nats_of_errors,
    encode_dense,
    few,
    float64_kl,
    make_rows,
    measure_errors,
    rows_to_try,
    softmax_rows,
)

from labelstore import kernels

# --------------------------------------------------------------------------------------------------
# Dense rows
# --------------------------------------------------------------------------------------------------


def assert_nats(found, expected):
    """1e-6 above 1e-3 nats, 1e-5 down to 1e-10, nothing to speak of below."""
    tolerance = np.where(expected > 1e-3, 1e-6, 1e-5) * expected
    assert (np.abs(found - expected) <= np.maximum(tolerance, 1e-15)).all()


@few
@given(logits=rows_to_try, seed=st.integers(0, 1_000))
def test_dense_rows_equal_numpy_and_float64_arithmetic(logits, seed):
    labels = np.random.default_rng(seed).integers(0, logits.shape[1], len(logits))
    answer, bits, entropy, cross_entropy, max_abs, kl = encode_dense(logits, labels)
    halves = logits.astype(np.float16)
    assert answer == -1
    np.testing.assert_array_equal(bits, halves.view(np.uint16))
    np.testing.assert_array_equal(max_abs, np.abs(halves.astype(np.float32) - logits).max(axis=1))

    z = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    # The largest is left out of the sum, so that log1p sees the small rest in all its digits.
    is_top = np.arange(z.shape[1]) == z.argmax(axis=1)[:, None]
    others = np.where(is_top, 0, e).sum(axis=1)
    log_total = np.log1p(others)
    assert_nats(entropy, log_total - (e * z).sum(axis=1) / (1 + others))
    assert_nats(cross_entropy, log_total - z[np.arange(len(z)), labels])

    assert_nats_of_errors(kl, logits, halves)


def test_nearly_one_hot_rows_keep_their_digits():
    gaps = np.array([5, 10, 15, 20, 23], np.float32)
    logits = np.zeros((5, 100), np.float32)
    logits[:, 7] = gaps
    labels = np.full(5, 7)
    _, _, entropy, cross_entropy, _, _ = encode_dense(logits, labels)
    others = 99 * np.exp(-gaps.astype(np.float64))
    np.testing.assert_allclose(cross_entropy, np.log1p(others), rtol=1e-6)
    expected = np.log1p(others) + gaps * others / (1 + others)
    np.testing.assert_allclose(entropy, expected, rtol=1e-6)


def test_divergence_of_a_rounding_error_that_nearly_cancels():
    """Every class but one is off by the same: most of the error moves nothing."""
    logits = np.full((2, 300_000), 10.003, np.float32)
    logits[:, 3] = 10.0
    logits[1, 3] = 10.02
    _, bits, _, _, _, kl = encode_dense(logits, np.zeros(2, np.int64))
    expected = float64_kl(logits, bits.view(np.float16))
    np.testing.assert_allclose(kl, expected, rtol=0.01)
    np.testing.assert_allclose(measure_errors(logits, bits)[1], expected, rtol=0.01)


def test_an_error_that_all_classes_share_does_not_drown_the_others():
    logits = make_rows("normal", 5, 100, 1e-3, 0)
    decoded = np.full((5, 100), 60_000, np.float16)
    _, kl = measure_errors(logits, decoded.view(np.uint16))
    np.testing.assert_allclose(kl, float64_kl(logits, decoded), rtol=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65_520, -65_520, 3e38])
@pytest.mark.parametrize("num_classes", [1, 16, 37, 300])
def test_the_first_row_that_float16_cannot_hold_is_named(value, num_classes):
    logits = np.zeros((600, num_classes), np.float32)
    labels = np.zeros(600, np.int64)
    entropy, cross_entropy = np.empty((2, 600), np.float32)
    for row, column in ((0, 0), (415, num_classes - 1), (599, num_classes // 2)):
        bad = logits.copy()
        bad[row, column] = value
        bad[row + 1 :, 0] = value
        assert encode_dense(bad, labels)[0] == row
        assert kernels.statistics_only(bad, labels, entropy, cross_entropy) == row


def test_logits_just_below_the_bound_are_kept():
    logits = np.array([[np.nextafter(np.float32(65_520), np.float32(0)), -65_519, 0]], np.float32)
    answer, bits, *_ = encode_dense(logits, np.zeros(1, np.int64))
    assert answer == -1
    np.testing.assert_array_equal(bits.view(np.float16), [[65_504, -65_504, 0]])


@few
@given(logits=rows_to_try)
def test_statistics_alone_are_the_same_to_the_bit(logits):
    labels = np.arange(len(logits)) % logits.shape[1]
    _, _, entropy, cross_entropy, _, _ = encode_dense(logits, labels)
    found = np.empty((2, len(logits)), np.float32)
    assert kernels.statistics_only(logits, labels, *found) == -1
    np.testing.assert_array_equal(found, [entropy, cross_entropy])


# --------------------------------------------------------------------------------------------------
# Errors of any code
# --------------------------------------------------------------------------------------------------


@few
@given(
    logits=rows_to_try,
    error=st.sampled_from([0.0, 1e-4, 0.02, 0.3, 3.0, 30.0, 1e5]),
    seed=st.integers(0, 1_000),
)
def test_errors_of_any_size_equal_float64_arithmetic(logits, error, seed):
    noise = np.random.default_rng(seed).standard_normal(logits.shape) * error
    decoded = np.clip(logits + noise, -65_504, 65_504).astype(np.float16)
    max_abs, kl = measure_errors(logits, decoded.view(np.uint16))
    expected = np.abs(decoded.astype(np.float64) - logits.astype(np.float64)).max(axis=1)
    np.testing.assert_allclose(max_abs, expected, rtol=1e-6)
    assert_nats_of_errors(kl, logits, decoded)


@few
@given(logits=rows_to_try)
def test_errors_of_dense_rows_are_those_that_writing_them_measured(logits):
    _, bits, _, _, max_abs, kl = encode_dense(logits, np.zeros(len(logits), np.int64))
    found_max_abs, found_kl = measure_errors(logits, bits)
    np.testing.assert_array_equal(found_max_abs, max_abs)
    np.testing.assert_allclose(found_kl, kl, rtol=0.01, atol=1e-25)


# --------------------------------------------------------------------------------------------------
# Softmax
# --------------------------------------------------------------------------------------------------


@few
@given(logits=rows_to_try, temperature=st.sampled_from([1e-38, 1e-3, 0.1, 1, 2.5, 20, 1e3, 1e38]))
def test_probabilities_equal_float64_arithmetic(logits, temperature):
    halves = logits.astype(np.float16)
    found = softmax_rows(halves.view(np.uint16), temperature)
    x = halves.astype(np.float64)
    expected = (x - x.max(axis=1, keepdims=True)) / np.float64(np.float32(temperature))
    expected = np.exp(expected)
    expected /= expected.sum(axis=1, keepdims=True)
    large = expected > 1e-30
    np.testing.assert_allclose(found[large], expected[large], rtol=2e-6)
    assert (np.abs(found[~large]) <= 1.1e-30).all()
    np.testing.assert_allclose(found.sum(axis=1, dtype=np.float64), 1, atol=1e-6)


def test_the_smallest_probabilities_keep_their_digits():
    """Differences of 66 and a few thousandths have more digits than one float32."""
    halves = (np.random.default_rng(0).standard_normal((10, 1_000)) / 100).astype(np.float16)
    halves[:, 0] = 66
    found = softmax_rows(halves.view(np.uint16), 1)[:, 1:]
    np.testing.assert_allclose(found, np.exp(halves[:, 1:].astype(np.float64) - 66), rtol=2e-6)


@few
@given(logits=rows_to_try, seed=st.integers(0, 1_000), num_places=st.integers(0, 30))
def test_gathered_probabilities_are_those_of_the_rows_to_the_bit(logits, seed, num_places):
    source = logits.astype(np.float16).view(np.uint16)
    source.flags.writeable = False
    places = np.random.default_rng(seed).integers(0, len(source), num_places)
    found = np.empty((num_places, source.shape[1]), np.float32)
    kernels.gather_softmax(source, places, np.float32(1.5), found)
    np.testing.assert_array_equal(found, softmax_rows(source, 1.5)[places])
