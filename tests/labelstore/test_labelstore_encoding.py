"""Entropy and cross-entropy against float64 arithmetic; refusal of what cannot be stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import labelstore
from labelstore.encoding import encode as encode_block
from labelstore.layout import Geometry


def encode(logits, labels, *, epoch, start_row):
    """float16 logits, entropy and cross-entropy of a block of dense labels."""
    geometry = Geometry(num_samples=10_000, num_classes=np.shape(logits)[-1], chunk_rows=4_096)
    arrays = encode_block(geometry, logits, labels, epoch=epoch, start_row=start_row).arrays
    return arrays["logits"], arrays["entropy"], arrays["cross_entropy"]


logits_arrays = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 70)),
    elements=st.floats(-60_000, 60_000, width=32),
)


def float64_statistics(logits, labels):
    logits = logits.astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    entropy = -(np.exp(log_probabilities) * log_probabilities).sum(axis=1)
    return entropy, -log_probabilities[np.arange(len(labels)), labels]


@pytest.mark.parametrize("scale", [0.0, 0.01, 1, 5, 30])
@pytest.mark.parametrize("num_classes", [1, 2, 100, 1_000])
def test_statistics_equal_float64_arithmetic(scale, num_classes):
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(300, num_classes)) * scale).astype(np.float32)
    labels = rng.integers(0, num_classes, 300)
    _, entropy, cross_entropy = encode(logits, labels, epoch=0, start_row=0)
    for found, expected in zip(
        (entropy, cross_entropy), float64_statistics(logits, labels), strict=True
    ):
        large = expected > 1e-3
        np.testing.assert_allclose(found[large], expected[large], rtol=5e-7)
        np.testing.assert_allclose(found, expected, rtol=5e-6, atol=1e-14)


@given(logits=logits_arrays, data=st.data())
def test_any_finite_logits_give_finite_statistics_and_numpys_float16(logits, data):
    labels = data.draw(
        hnp.arrays(np.int64, len(logits), elements=st.integers(0, logits.shape[1] - 1))
    )
    half, entropy, cross_entropy = encode(logits, labels, epoch=0, start_row=0)
    expected = float64_statistics(logits, labels)
    assert np.array_equal(half, logits.astype(np.float16))
    np.testing.assert_allclose(entropy, expected[0], rtol=5e-6, atol=1e-14)
    np.testing.assert_allclose(cross_entropy, expected[1], rtol=5e-6, atol=1e-14)
    assert (entropy >= 0).all()


@given(cut=st.integers(1, 699), num_classes=st.sampled_from([3, 100, 333, 1_000]))
def test_blocks_of_any_size_give_the_same_bytes(cut, num_classes):
    rng = np.random.default_rng(num_classes)
    logits = (rng.normal(size=(700, num_classes)) * 4).astype(np.float32)
    labels = rng.integers(0, num_classes, 700)
    whole = encode(logits, labels, epoch=0, start_row=0)
    first = encode(logits[:cut], labels[:cut], epoch=0, start_row=0)
    rest = encode(np.asfortranarray(logits[cut:]), labels[cut:], epoch=0, start_row=cut)
    for one, two, three in zip(whole, first, rest, strict=True):
        assert one.tobytes() == two.tobytes() + three.tobytes()


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.nan, "nan, not a finite"),
        (np.inf, "inf, not a finite"),
        (-np.inf, "-inf, not a finite"),
        (65_520, "beyond the range"),
        (-65_520, "beyond the range"),
    ],
)
def test_logits_that_float16_cannot_hold_are_refused_by_epoch_sample_and_class(value, what):
    logits = np.zeros((900, 100), np.float32)
    logits[811, 7] = value
    with pytest.raises(labelstore.BadLogits, match=f"epoch 5, sample 4811, class 7: .*{what}"):
        encode(logits, np.zeros(900, np.int64), epoch=5, start_row=4_000)


def test_the_largest_logits_that_float16_rounds_to_a_finite_number_are_kept():
    logits = np.array([[65_519.99, -65_519.99]], np.float32)
    half, _, _ = encode(logits, np.zeros(1, np.int64), epoch=0, start_row=0)
    assert half.tolist() == [[65_504.0, -65_504.0]]


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused_by_sample(label):
    labels = np.array([0, 1, label])
    with pytest.raises(labelstore.BadLogits, match=r"label of sample 12 .*epoch 2.* 0 to 2"):
        encode(np.zeros((3, 3), np.float32), labels, epoch=2, start_row=10)


def test_other_shapes_and_dtypes_are_refused():
    good, labels = np.zeros((3, 4), np.float32), np.zeros(3, np.int64)
    for logits in (good.astype(np.float64), good[0], good[None]):
        with pytest.raises(labelstore.BadArgument, match="expected float32"):
            encode(logits, labels, epoch=0, start_row=0)
    for wrong in (labels[:2], labels.astype(np.float32), labels[:, None]):
        with pytest.raises(labelstore.BadArgument, match="expected integers"):
            encode(good, wrong, epoch=0, start_row=0)
