"""Rows to try the compiled kernels on, calls of them, and float64 arithmetic they must equal."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from labelstore import kernels
from labelstore.codecs import Quantised, TopK

few = settings(max_examples=150, deadline=None)  # the first example compiles

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
    row_bytes = Quantised(bits).array(logits.shape[1]).row_bytes
    codes = np.full((len(logits), row_bytes), 0xAA, np.uint8)
    kernels.encode_quantised(logits, bits, codes)
    return codes


def encode_topk(logits, k):
    codes = np.full((len(logits), TopK(k).array(logits.shape[1]).row_bytes), 0xAA, np.uint8)
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
