"""Quantised and top-k rows against what their formats say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import encode_quantised, encode_topk, few, rows_to_try
from scipy.special import logsumexp

from labelstore import kernels
from labelstore.codecs import Quantised, TopK

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
    assert Quantised(bits).array(100).row_bytes == row_bytes


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
    codes = np.full((1, TopK(5).array(100).row_bytes), 0xFF, np.uint8)
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
