"""The compiled loops against numpy and float64 arithmetic written independently."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from numba.core.errors import TypingError
from scipy.special import logsumexp

from labelstore import kernels
from labelstore.kernels import compiling, float16
from labelstore.kernels.exponential import LOG2_E, log1p, power, power_constants
from labelstore.kernels.lanes import LANES
from labelstore.kernels.memory import put_vector, vector

ALL_HALVES = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
few = settings(max_examples=150, deadline=None)  # the first example compiles

# --------------------------------------------------------------------------------------------------
# Rows to try
# --------------------------------------------------------------------------------------------------

KINDS = ("normal", "one-hot", "ties", "two values", "constant", "wide", "sorted")


def make_rows(kind, num_rows, num_classes, magnitude, seed):
    """float32 (b, C) that float16 can hold."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((num_rows, num_classes))
    if kind == "one-hot":
        rows[np.arange(num_rows), rng.integers(0, num_classes, num_rows)] += rng.uniform(5, 80)
    elif kind == "ties":
        rows = np.round(rows)
    elif kind == "two values":
        rows = np.where(rng.random(rows.shape) < 0.5, 1.0, rng.uniform(0, 1))
    elif kind == "constant":
        rows = np.repeat(rows[:, :1], num_classes, axis=1)
    elif kind == "wide":
        rows = rows * 10.0 ** rng.uniform(-6, 4, rows.shape)
    elif kind == "sorted":
        rows = np.sort(rows, axis=1)
    return np.clip(rows * magnitude, -65_519, 65_519).astype(np.float32)


rows_to_try = st.builds(
    make_rows,
    kind=st.sampled_from(KINDS),
    num_rows=st.integers(1, 9),
    num_classes=st.one_of(st.integers(1, 70), st.sampled_from([255, 256, 257, 1_000])),
    magnitude=st.sampled_from([1e-6, 1e-3, 0.1, 1.0, 3.0, 10.0, 100.0, 6e4]),
    seed=st.integers(0, 2**32 - 1),
)


def encode_dense(logits, labels):
    """Answer, bits, entropy, cross-entropy, largest error, KL."""
    out = np.empty(logits.shape, np.uint16)
    entropy, cross_entropy, max_abs = np.empty((3, len(logits)), np.float32)
    kl = np.empty(len(logits))
    answer = kernels.encode_dense(logits, labels, out, entropy, cross_entropy, max_abs, kl)
    return answer, out, entropy, cross_entropy, max_abs, kl


def measure_errors(logits, decoded):
    max_abs, kl = np.empty(len(logits), np.float32), np.empty(len(logits))
    kernels.measure_errors(logits, decoded, max_abs, kl)
    return max_abs, kl


def softmax_rows(bits, temperature):
    out = np.empty(bits.shape, np.float32)
    kernels.softmax_rows(bits, np.float32(temperature), out)
    return out


def encode_quantised(logits, bits):
    row_bytes = kernels.quantised_row_bytes(logits.shape[1], bits)
    codes = np.full((len(logits), row_bytes), 0xAA, np.uint8)
    kernels.encode_quantised(logits, bits, codes)
    return codes


def encode_topk(logits, k):
    codes = np.full((len(logits), kernels.topk_row_bytes(k)), 0xAA, np.uint8)
    kernels.encode_topk(logits, k, codes)
    return codes


def assert_nats_of_errors(kl, logits, decoded):
    """Never negative and right to 1 %, down to what float64 itself can tell."""
    expected = float64_kl(logits, decoded)
    error = np.abs(decoded.astype(np.float64) - logits.astype(np.float64)).max(axis=1)
    assert (kl >= 0).all()
    assert (np.abs(kl - expected) <= 0.01 * expected + (1e-11 * error) ** 2 + 1e-25).all()


def float64_kl(logits, decoded):
    """KL(softmax(logits) || softmax(decoded)), right for the tiny and for the large."""
    logits, decoded = logits.astype(np.float64), decoded.astype(np.float64)
    log_p = logits - logsumexp(logits, axis=1, keepdims=True)
    p = np.exp(log_p)
    log_q = decoded - logsumexp(decoded, axis=1, keepdims=True)
    plain = (p * (log_p - log_q)).sum(axis=1)
    d = decoded - logits
    d -= (p * d).sum(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        series = d * d * (1 / 2 + d * (1 / 6 + d * (1 / 24 + d / 120)))
        beyond = np.where(np.abs(d) < 1e-3, series, np.expm1(d) - d)
        small = np.log1p(np.where(p > 0, p * beyond, 0).sum(axis=1))
    return np.where(plain > 1e-4, plain, small)


# --------------------------------------------------------------------------------------------------
# float16
# --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["by the machine", "by integers"])
def converters(request, monkeypatch):
    """Functions to_half(float32 (1, n)) and from_half(uint16 (1, n)), and their scalar likes."""
    if request.param == "by integers":
        monkeypatch.setattr(float16, "_has_float16", lambda context: False)

    @njit
    def convert(source, target):
        for column in range(0, source.shape[1], LANES):
            left = source.shape[1] - column
            x = vector(source, 0, column, left, np.float32(0.0))
            put_vector(target, 0, column, left, x)

    @njit
    def scalar_bits(source, target):
        for column in range(source.shape[1]):
            target[0, column] = float16.half_bits(source[0, column])

    @njit
    def scalar_values(source, target):
        for column in range(source.shape[1]):
            target[0, column] = float16.half_value(source[0, column])

    def run(function, source, *, dtype):
        target = np.empty((1, source.size), dtype)
        function(source.reshape(1, -1), target)
        return target[0]

    return (
        [partial(run, each, dtype=np.uint16) for each in (convert, scalar_bits)],
        [partial(run, each, dtype=np.float32) for each in (convert, scalar_values)],
    )


def test_every_float16_becomes_the_float32_that_numpy_makes(converters):
    expected = ALL_HALVES.view(np.float16).astype(np.float32)
    for from_half in converters[1]:
        np.testing.assert_array_equal(from_half(ALL_HALVES), expected)


def test_float32_becomes_the_float16_that_numpy_makes(converters):
    halves = ALL_HALVES.view(np.float16).astype(np.float32)
    halves = np.sort(halves[np.isfinite(halves)])
    middles = (halves[:-1] + halves[1:]) / 2  # exact in float32
    patterns = np.random.default_rng(0).integers(0, 1 << 32, 500_000, dtype=np.uint64)
    inputs = np.concatenate(
        [
            halves,
            middles,
            np.nextafter(middles, np.float32(np.inf)),
            np.nextafter(middles, np.float32(-np.inf)),
            np.array([65_519.996, 65_520, -65_520, 1e30, np.inf, -np.inf, -0.0], np.float32),
            patterns.astype(np.uint32).view(np.float32),
        ]
    )
    with np.errstate(over="ignore"):
        expected = inputs.astype(np.float16)
    is_nan = np.isnan(inputs)
    for to_half in converters[0]:
        found = to_half(inputs)
        assert np.isnan(found.view(np.float16)[is_nan]).all()
        np.testing.assert_array_equal(found[~is_nan], expected.view(np.uint16)[~is_nan])


# --------------------------------------------------------------------------------------------------
# Exponential and logarithm
# --------------------------------------------------------------------------------------------------


def test_powers_of_e_are_right_to_2e_7():
    @njit
    def exponentials(source, target):
        constants = power_constants(LOG2_E)
        for column in range(0, source.shape[1], LANES):
            x = vector(source, 0, column, LANES, np.float32(0.0))
            put_vector(target, 0, column, LANES, power(x, constants))

    z = np.linspace(-87, 0, 1 << 20, dtype=np.float32).reshape(1, -1)
    found = np.empty_like(z)
    exponentials(z, found)
    assert np.abs(found / np.exp(z.astype(np.float64)) - 1).max() < 2e-7
    assert found[0, -1] == 1


def test_logarithms_are_right_to_1e_10():
    @njit
    def logarithms(source, target):
        for place in range(len(source)):
            target[place] = log1p(source[place])

    x = np.concatenate([[0.0, 1.0, 65_535.0], np.logspace(-300, 6, 100_000)])
    found = np.empty_like(x)
    logarithms(x, found)
    np.testing.assert_allclose(found, np.log1p(x), rtol=1e-10)


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


# --------------------------------------------------------------------------------------------------
# Quantised rows
# --------------------------------------------------------------------------------------------------


def parse_quantised(row, bits, num_classes):
    """Minimum, maximum and codes of one row, from the description of the format."""
    minimum, maximum = row[:4].view("<f2").astype(np.float64)
    stream = int.from_bytes(row[4:].tobytes(), "little")
    codes = [(stream >> (bits * place)) & ((1 << bits) - 1) for place in range(num_classes)]
    assert stream >> (bits * num_classes) == 0
    return minimum, maximum, np.array(codes)


@pytest.mark.parametrize(("bits", "row_bytes"), [(8, 104), (4, 54), (1, 17), (16, 204), (3, 42)])
def test_bytes_of_a_quantised_row_of_100_classes(bits, row_bytes):
    assert kernels.quantised_row_bytes(100, bits) == row_bytes


@few
@given(logits=rows_to_try, bits=st.one_of(st.sampled_from([8, 4]), st.integers(1, 16)))
def test_quantised_rows_are_what_the_format_says(logits, bits):
    codes = encode_quantised(logits, bits)
    num_classes, levels = logits.shape[1], (1 << bits) - 1
    decoded = np.empty(logits.shape, np.uint16)
    kernels.decode_quantised(codes, bits, num_classes, decoded)
    decoded = decoded.view(np.float16)
    assert np.isfinite(decoded).all()
    for row, x, value in zip(codes, logits.astype(np.float64), decoded, strict=True):
        minimum, maximum, code = parse_quantised(row, bits, num_classes)
        assert_bounds(minimum, maximum, x)
        step = (maximum - minimum) / levels
        grid = minimum + code * step
        clipped = np.clip(x, minimum, maximum)
        assert (np.abs(grid - clipped) <= step * 0.51).all()
        if step == 0:
            assert (code == 0).all()
        rounding = np.abs(value.astype(np.float64) - grid)
        assert (rounding <= half_a_float16(grid) + (maximum - minimum) * 2e-7).all()


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_logits_beyond_the_largest_float16_are_quantised_to_it(bits):
    logits = np.array([[65_480, 65_519, -65_519], [65_480, 65_519, 65_490]], np.float32)
    codes = encode_quantised(logits, bits)
    decoded = np.empty(logits.shape, np.uint16)
    kernels.decode_quantised(codes, bits, 3, decoded)
    np.testing.assert_array_equal(decoded.view(np.float16)[:, 1], [65_504, 65_504])
    assert decoded.view(np.float16)[0, 2] == -65_504


def half_a_float16(x):
    """Half the distance of float16 numbers at x, which is what rounding may cost."""
    _, exponent = np.frexp(np.abs(x))
    return 2.0 ** (np.maximum(exponent, -13) - 12)


def assert_bounds(minimum, maximum, x):
    """The tightest float16 around x, within ±65504."""
    lowest, highest = np.clip([x.min(), x.max()], -65_504, 65_504)
    assert minimum <= lowest <= highest <= maximum
    with np.errstate(over="ignore"):
        assert np.nextafter(np.float16(minimum), np.float16(np.inf)) > lowest
        assert np.nextafter(np.float16(maximum), np.float16(-np.inf)) < highest


# --------------------------------------------------------------------------------------------------
# Top-k rows
# --------------------------------------------------------------------------------------------------


@few
@given(logits=rows_to_try, data=st.data())
def test_topk_rows_are_what_the_format_says(logits, data):
    num_classes = logits.shape[1]
    if num_classes == 1:
        return
    k = data.draw(st.integers(1, min(num_classes - 1, 300)))
    codes = encode_topk(logits, k)
    assert codes.shape[1] == 4 * k + 2
    order = np.argsort(-logits, axis=1, kind="stable")  # of equal logits, the lower class first
    first, rest = order[:, :k], order[:, k:]
    found = codes[:, : 2 * k].copy().view("<f2")
    np.testing.assert_array_equal(found, np.take_along_axis(logits, first, 1).astype(np.float16))
    np.testing.assert_array_equal(codes[:, 2 * k + 2 :].copy().view("<u2"), first)
    tail = codes[:, 2 * k : 2 * k + 2].copy().view("<f2")[:, 0]
    expected = logsumexp(np.take_along_axis(logits, rest, 1).astype(np.float64), axis=1)
    expected = np.clip(expected, -65_504, 65_504)
    slack = half_a_float16(expected) + 2e-7 * np.abs(logits).max() + 1e-6
    assert (np.abs(tail - expected) <= slack).all()

    decoded = np.empty(logits.shape, np.uint16)
    kernels.decode_topk(codes, k, num_classes, decoded)
    others = (tail.astype(np.float32) - np.float32(np.log(num_classes - k))).astype(np.float16)
    want = np.repeat(others[:, None], num_classes, axis=1)
    np.put_along_axis(want, first, found, 1)
    np.testing.assert_array_equal(decoded.view(np.float16), want)
    assert np.isfinite(want).all()


@pytest.mark.parametrize("k", [1, 7, 1_000, 65_535])
def test_topk_of_as_many_classes_as_uint16_can_name(k):
    logits = np.random.default_rng(k).standard_normal((1, 1 << 16)).astype(np.float32)
    logits[0, 100:60_000] = logits[0, 7]
    codes = encode_topk(logits, k)
    expected = np.argsort(-logits[0], kind="stable")[:k]
    np.testing.assert_array_equal(codes[0, 2 * k + 2 :].copy().view("<u2"), expected)


def test_topk_of_far_apart_clusters():
    """Bisection from 6e4 down to differences of 1e-6, in every step of float32."""
    logits = np.linspace(0, 1e-6, 200, dtype=np.float32)[None, ::-1].copy()
    logits[0, 50], logits[0, 51] = 6e4, -6e4
    codes = encode_topk(logits, 20)
    expected = np.argsort(-logits[0], kind="stable")[:20]
    np.testing.assert_array_equal(codes[0, 42:].copy().view("<u2"), expected)


@pytest.mark.parametrize("num_classes", [12, 1_000])
def test_decoding_a_row_that_was_never_written_stays_in_its_place(num_classes):
    guarded = np.zeros((3, num_classes), np.uint16)
    codes = np.full((1, kernels.topk_row_bytes(5)), 0xFF, np.uint8)
    kernels.decode_topk(codes, 5, num_classes, guarded[1:2])
    assert not guarded[[0, 2]].any()


@few
@given(logits=rows_to_try)
def test_a_code_row_never_begins_like_a_missing_one(logits):
    begins = [encode_quantised(logits, 8)[:, :2]]
    if logits.shape[1] > 1:
        begins.append(encode_topk(logits, 1)[:, :2])
    for each in begins:
        assert not np.isnan(each.copy().view("<f2")).any()


# --------------------------------------------------------------------------------------------------
# All of them
# --------------------------------------------------------------------------------------------------


@few
@given(logits=rows_to_try, data=st.data())
def test_results_do_not_depend_on_how_rows_are_divided_or_where_they_lie(logits, data):
    num_classes = logits.shape[1]
    labels = np.arange(len(logits)) % num_classes
    cuts = data.draw(st.sets(st.integers(1, len(logits))))
    offset = data.draw(st.integers(0, 5))
    moved = np.empty(logits.size + offset, np.float32)[offset:].reshape(logits.shape)
    moved[:] = logits

    def everything(rows, labels):
        _, bits, *figures = encode_dense(rows, labels)
        noisy = (rows * np.float32(0.9)).astype(np.float16).view(np.uint16)
        results = [bits, *figures, *measure_errors(rows, noisy), softmax_rows(bits, 3)]
        results += [encode_quantised(rows, each) for each in (8, 4, 5)]
        if num_classes > 3:
            results.append(encode_topk(rows, 3))
        return results

    whole = everything(logits, labels)
    bounds = [0, *sorted(cuts), len(logits)]
    blocks = [everything(moved[a:b], labels[a:b]) for a, b in pairwise(bounds)]
    for expected, parts in zip(whole, zip(*blocks, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_rows_that_are_not_contiguous_are_refused():
    logits = np.zeros((4, 40), np.uint16)[:, ::2]
    with pytest.raises(TypingError, match="C-contiguous"):
        kernels.softmax_rows(logits, np.float32(1), np.empty((4, 20), np.float32))


def test_compiled_code_is_forgotten_when_any_source_is_newer(tmp_path):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    times = {"a.py": 10, "b.py": 30, "__pycache__/a.1.nbi": 20, "__pycache__/b.1.nbi": 40}
    for name, time in times.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
    compiling.forget_stale_code(tmp_path)
    assert [path.name for path in cache.iterdir()] == ["b.1.nbi"]


@pytest.mark.skipif(sys.platform != "linux", reason="names an x86 processor")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names an x86 processor")
def test_a_processor_without_vector_instructions_computes_the_same_rows(tmp_path):
    """The plainest x86-64: no float16, no fused multiply-add, vectors of four."""
    logits = make_rows("normal", 50, 37, 3.0, 0)
    np.save(tmp_path / "logits.npy", logits)
    program = (
        "import numpy as np; from labelstore import kernels\n"
        f"logits = np.load({str(tmp_path / 'logits.npy')!r}); n = len(logits)\n"
        "out = np.empty(logits.shape, np.uint16); e, c, m = np.empty((3, n), np.float32)\n"
        "kl, p = np.empty(n), np.empty(logits.shape, np.float32)\n"
        "kernels.encode_dense(logits, np.zeros(n, np.int64), out, e, c, m, kl)\n"
        "kernels.softmax_rows(out, np.float32(1), p)\n"
        f"np.savez({str(tmp_path / 'out.npz')!r}, out=out, e=e, c=c, m=m, kl=kl, p=p)\n"
    )
    plain = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=os.environ | plain, check=True)
    found = np.load(tmp_path / "out.npz")
    _, bits, *figures = encode_dense(logits, np.zeros(50, np.int64))
    np.testing.assert_array_equal(found["out"], bits)
    for name, expected, rtol in zip("ecm", figures, (1e-6, 1e-6, 0), strict=False):
        np.testing.assert_allclose(found[name], expected, rtol=rtol)
    np.testing.assert_allclose(found["kl"], figures[3], rtol=0.01)
    np.testing.assert_allclose(found["p"], softmax_rows(bits, 1), rtol=2e-6)
