"""What a block of logits becomes on disk: float16 rows, and two statistics of every row.

In: `logits_bc` float32 (row, class) and the true labels. Out: float16 logits, entropy of the
softmax and cross-entropy with the true label, both float32 in nats (natural logarithm), at
temperature 1.

The statistics come from the float32 logits given, not from their float16 rounding. The exponential
is taken in float32 after subtracting the row's maximum, every sum and logarithm in float64:
the relative error is below 5e-7 for statistics above 1e-3 nats and below 5e-6 down to 1e-14, so
labels that are nearly one-hot are right too (the float64 exponential would cost 4.25 instead of
0.47 ns a logit). Rows are worked on in tiles that stay in the cache; no row's result depends on its
neighbours, so blocks of any size give the same bytes. Measured: 4.6 ns a logit, 2.5 of them numpy's
conversion to float16.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import BadArgument, BadLogits

_TILE_ELEMENTS = 1 << 16
_FLOAT16_OVERFLOWS_AT = np.float32(65_520.0)  # halfway from the largest float16 to the next power


def encode(
    logits_bc: NDArray[np.float32], labels: NDArray[np.int64], *, epoch: int, start_row: int
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.float32]]:
    """float16 logits (b, C), entropy float32 (b,) and cross-entropy float32 (b,), in nats.

    logits_bc: float32 (b, C); row 0 is sample `start_row`, which with `epoch` is for messages only.
    labels: integer (b,), the true class of every row, 0 ≤ label < C.
    Raises BadLogits for NaN, infinite or too large logits and for labels out of range, naming the
    epoch and the first such sample; BadArgument for another shape or dtype.
    """
    logits_bc, labels = _check_arrays(logits_bc, labels)
    num_rows, num_classes = logits_bc.shape
    _check_labels(labels, num_classes, epoch=epoch, start_row=start_row)
    logits16_bc = np.empty((num_rows, num_classes), np.float16)
    entropy_b = np.empty(num_rows, np.float32)
    cross_entropy_b = np.empty(num_rows, np.float32)
    tile_rows = max(1, _TILE_ELEMENTS // num_classes)
    for start in range(0, num_rows, tile_rows):
        tile = slice(start, min(start + tile_rows, num_rows))
        rows = logits_bc[tile]
        top = rows.max(axis=1)
        _check_range(rows, top, epoch=epoch, first_sample=start_row + start)
        entropy_b[tile], cross_entropy_b[tile] = _statistics(rows, top, labels[tile])
        logits16_bc[tile] = rows
    return logits16_bc, entropy_b, cross_entropy_b


def softmax(logits16: NDArray[np.float16], temperature: float) -> NDArray[np.float32]:
    """softmax(logits / temperature) over the last axis: float32, same shape, computed in float32.

    Raises BadArgument unless temperature is a finite number > 0.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise BadArgument(f"temperature: expected a finite number > 0, found {temperature}")
    probabilities = logits16.astype(np.float32)
    if probabilities.size == 0:
        return probabilities
    # The maximum goes first: dividing by a small temperature must not overflow.
    probabilities -= probabilities.max(axis=-1, keepdims=True)
    probabilities /= np.float32(temperature)
    np.exp(probabilities, out=probabilities)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities


def _check_arrays(
    logits_bc: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    logits_bc, labels = np.asarray(logits_bc), np.asarray(labels)
    if logits_bc.ndim != 2 or logits_bc.dtype != np.float32:
        raise BadArgument(
            f"logits: expected float32 (rows, classes), found {logits_bc.dtype} {logits_bc.shape}"
        )
    if labels.shape != logits_bc.shape[:1] or labels.dtype.kind not in "iu":
        raise BadArgument(
            f"labels: expected integers ({len(logits_bc)},), found {labels.dtype} {labels.shape}"
        )
    return np.ascontiguousarray(logits_bc), labels.astype(np.int64, copy=False)


def _check_labels(
    labels: NDArray[np.int64], num_classes: int, *, epoch: int, start_row: int
) -> None:
    """BadLogits naming the first sample whose label is not a class."""
    outside = (labels < 0) | (labels >= num_classes)
    if outside.any():
        row = int(np.argmax(outside))
        raise BadLogits(
            f"label of sample {start_row + row} (epoch {epoch}): expected 0 to {num_classes - 1}, "
            f"found {int(labels[row])}"
        )


def _check_range(
    rows: NDArray[np.float32], top: NDArray[np.float32], *, epoch: int, first_sample: int
) -> None:
    # NaN propagates through max and min and fails both comparisons.
    low, high = rows.min(axis=1), top
    good = (low > -_FLOAT16_OVERFLOWS_AT) & (high < _FLOAT16_OVERFLOWS_AT)
    if good.all():
        return
    row = int(np.argmin(good))
    with np.errstate(invalid="ignore"):
        column = int(np.argmin(np.abs(rows[row]) < _FLOAT16_OVERFLOWS_AT))
    value = float(rows[row, column])
    what = "beyond the range of float16 (±65504)" if np.isfinite(value) else "not a finite number"
    raise BadLogits(
        f"logits of epoch {epoch}, sample {first_sample + row}, class {column}: found {value:g}, "
        f"{what}; nothing of this block was written. Check the checkpoint of epoch {epoch}"
    )


def _statistics(
    rows: NDArray[np.float32], top: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Entropy and cross-entropy (t,) of the rows (t, C); `top` is the maximum of every row."""
    below_top = rows - top[:, None]
    # Cast first: a sum with dtype= would pass through numpy's buffers, whose borders fall at other
    # places of a row for other block sizes.
    weights = np.exp(below_top).astype(np.float64)
    total = weights.sum(axis=1)
    log_total = np.log(total)
    np.multiply(weights, below_top, out=weights)
    entropy = log_total - weights.sum(axis=1) / total
    of_label = rows[np.arange(len(rows)), labels].astype(np.float64)
    return entropy, log_total + (top.astype(np.float64) - of_label)
