"""Dense rows: logits to float16, with the statistics of every row and what the rounding cost.

z = logit - top. others = (classes equal to the top) - 1 + sum of e^z over the classes below, so
that the small quantities of a nearly one-hot row keep their digits:
entropy = log(1 + others) - sum(e^z z) / (1 + others); cross-entropy = log(1 + others) + top - logit
of the label. d = error - error of the top; with mean = sum(p d) and beyond = sum(p (e^d - 1 - d)),
KL = log(1 + mean + beyond) - mean: no large numbers that cancel.

Rows are worked on in tiles that stay in the cache, one pass after the other, so that a pass need
not wait for the row's result of the pass before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled, inlined
from .divergence import DIGITS_LEFT, errors_of_row
from .exponential import (
    BLOCK,
    LOG2_E,
    LOWEST,
    TILE_LOGITS,
    ZERO,
    log1p,
    offset,
    power_constants,
    power_of_difference,
)
from .float16 import half_bits, half_value
from .lanes import LANES, absolute, count, fused, lanes, largest, maximum, select, totals, widen
from .memory import put_vector, vector

_FLOAT16_OVERFLOWS_AT = np.float32(65_520.0)  # halfway from the largest float16 to the next power
_HALF, _SIXTH = np.float32(1 / 2), np.float32(1 / 6)
_SERIES_HOLDS_TO = np.float32(1 / 16)  # largest error for which d²/2 + d³/6 stands for e^d - 1 - d


@compiled
def encode_dense(
    logits_bc: NDArray[np.float32],
    labels_b: NDArray[np.int64],
    out_bc: NDArray[np.uint16],
    entropy_b: NDArray[np.float32],
    cross_entropy_b: NDArray[np.float32],
    max_abs_b: NDArray[np.float32],
    kl_b: NDArray[np.float64],
) -> int:
    """Fills `out_bc` with the logits' float16 bits and the others with statistics of the rows.

    logits_bc: float32 (b, C). labels_b: int64 (b,), 0 <= label < C.
    out_bc: uint16 (b, C), bits of float16, rounded to nearest, ties to even.
    entropy_b, cross_entropy_b: float32 (b,), nats, of the float32 logits at temperature 1; relative
    error below 1e-6 above 1e-3 nats and below 1e-5 down to 1e-10.
    max_abs_b: float32 (b,), largest absolute difference of float16 and float32 in the row.
    kl_b: float64 (b,), KL(softmax(float32) || softmax(float16)) in nats, to 1 %.
    Returns -1, or the first row that holds NaN, an infinity or a logit from ±65,520 on, which
    float16 cannot hold; what the arrays then hold is of no use.
    """
    return _encode(logits_bc, labels_b, out_bc, entropy_b, cross_entropy_b, max_abs_b, kl_b)


@compiled
def statistics_only(
    logits_bc: NDArray[np.float32],
    labels_b: NDArray[np.int64],
    entropy_b: NDArray[np.float32],
    cross_entropy_b: NDArray[np.float32],
) -> int:
    """The statistics of `encode_dense`, and its answer, without float16 rows."""
    return _encode(logits_bc, labels_b, None, entropy_b, cross_entropy_b, None, None)


@inlined
def _encode(  # type: ignore[no-untyped-def]
    logits_bc, labels_b, out_bc, entropy_b, cross_entropy_b, max_abs_b, kl_b
):
    num_rows, num_classes = logits_bc.shape
    natural = power_constants(LOG2_E)
    tile_rows = max(1, TILE_LOGITS // num_classes)
    tops_t = np.empty(tile_rows, np.float32)
    log_totals_t = np.empty(tile_rows, np.float64)
    sums_t4 = np.empty((tile_rows, 4), np.float64)
    for start in range(0, num_rows, tile_rows):
        stop = min(start + tile_rows, num_rows)
        for row in range(start, stop):
            tops_t[row - start], fits = _convert_row(logits_bc, out_bc, row)
            if not fits:
                return row
        for row in range(start, stop):
            sums, worst = _sums_of_row(logits_bc, out_bc, row, tops_t[row - start], natural)
            for each in range(4):
                sums_t4[row - start, each] = sums[each]
            if out_bc is not None:
                max_abs_b[row] = worst
        for place in range(stop - start):
            log_totals_t[place] = log1p(sums_t4[place, 0])
        for row in range(start, stop):
            place = row - start
            log_total, scale = log_totals_t[place], 1.0 / (1.0 + sums_t4[place, 0])
            entropy_b[row] = log_total - sums_t4[place, 1] * scale
            below_top = np.float64(tops_t[place]) - logits_bc[row, labels_b[row]]
            cross_entropy_b[row] = log_total + below_top
            if out_bc is not None:
                mean, beyond = sums_t4[place, 2] * scale, sums_t4[place, 3] * scale
                s = mean + beyond
                kl = beyond - s * s * (0.5 - s * (1 / 3 - s * (0.25 - s / 5)))
                if max_abs_b[row] > _SERIES_HOLDS_TO or kl < DIGITS_LEFT * beyond:
                    _, kl = errors_of_row(logits_bc, out_bc, row)
                kl_b[row] = kl
    return -1


@inlined
def _convert_row(logits_bc, out_bc, row):  # type: ignore[no-untyped-def]
    """The largest logit and whether float16 can hold them all; the row in float16 if wanted."""
    num_classes = logits_bc.shape[1]
    first = logits_bc[row, 0]
    top = lanes(first)
    fits = absolute(top) < _FLOAT16_OVERFLOWS_AT
    for column in range(0, num_classes, LANES):
        x = vector(logits_bc, row, column, num_classes - column, first)
        top, fits = maximum(x, top), fits & (absolute(x) < _FLOAT16_OVERFLOWS_AT)
        if out_bc is not None:
            put_vector(out_bc, row, column, num_classes - column, x)
    return largest(top), count(fits) == LANES


@inlined
def _sums_of_row(logits_bc, out_bc, row, top, natural):  # type: ignore[no-untyped-def]
    """(others, sum(e^z z), sum(e^z d), sum(e^z (e^d - 1 - d))), largest |error|."""
    num_classes = logits_bc.shape[1]
    half_top = half_value(half_bits(top))
    offset_of_top = offset(np.float64(top), LOG2_E)
    wide_others = wide_weighted = wide_mean = wide_beyond = widen(lanes(ZERO))
    worst, tops = lanes(ZERO), num_classes
    for start in range(0, num_classes, BLOCK):
        others = weighted = mean = beyond = lanes(ZERO)
        for column in range(start, min(start + BLOCK, num_classes), LANES):
            left = num_classes - column
            x = vector(logits_bc, row, column, left, top)
            z = x - top
            is_below = z < ZERO
            tops -= count(is_below)
            weight = power_of_difference(x, z, offset_of_top, natural)
            weight = select(is_below & (z >= LOWEST), weight, ZERO)
            others, weighted = others + weight, fused(weight, z, weighted)
            if out_bc is not None:
                error = vector(out_bc, row, column, left, half_top) - x
                worst = maximum(absolute(error), worst)
                d = error - (half_top - top)
                weight = weight * d
                mean = mean + weight
                beyond = fused(weight * d, fused(d, _SIXTH, _HALF), beyond)
        wide_others, wide_weighted = wide_others + widen(others), wide_weighted + widen(weighted)
        wide_mean, wide_beyond = wide_mean + widen(mean), wide_beyond + widen(beyond)
    sums = totals(wide_others, wide_weighted, wide_mean, wide_beyond)
    return (sums[0] + (tops - 1), sums[1], sums[2], sums[3]), largest(worst)
