"""How far decoded labels are from the logits they came from: largest error and KL divergence.

The terms are those of `dense`: d = error - error of the top, mean = sum(p d), beyond =
sum(p (e^d - 1 - d)), KL = log(1 + mean + beyond) - mean. Where even these leave too few digits, a
row is worked out again one class after the other in float64.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled, inlined
from .exponential import BLOCK, LOG2_E, LOWEST, NOTHING, ZERO, power, power_constants
from .float16 import half_value
from .lanes import LANES, absolute, fused, lanes, largest, maximum, select, totals, widen
from .memory import element, vector

DIGITS_LEFT = 1e-4  # a KL divergence below this part of `beyond` is worked out anew
_HIGHEST = np.float32(80.0)  # e^80 times any number of classes stays below the largest float32
_ONE, _HALF, _SIXTH, _24TH, _120TH = (np.float32(1 / each) for each in (1, 2, 6, 24, 120))


@compiled
def measure_errors(
    logits_bc: NDArray[np.float32],
    decoded_bc: NDArray[np.uint16],
    max_abs_b: NDArray[np.float32],
    kl_b: NDArray[np.float64],
) -> None:
    """Fills in the errors of labels in any code, however large.

    logits_bc: float32 (b, C), finite. decoded_bc: uint16 (b, C), bits of finite float16.
    max_abs_b: float32 (b,), largest absolute error of the row.
    kl_b: float64 (b,), KL(softmax(logits) || softmax(decoded)) in nats, to 1 %.
    """
    for row in range(logits_bc.shape[0]):
        max_abs_b[row], kl_b[row] = errors_of_row(logits_bc, decoded_bc, row)


@inlined
def errors_of_row(logits_bc, decoded_bc, row):  # type: ignore[no-untyped-def]
    """Largest |error| and KL divergence."""
    worst, highest, mean, beyond = _sums_of_row(logits_bc, decoded_bc, row)
    shift = mean + beyond
    kl = math.log1p(shift) - mean if shift > -1.0 else 0.0
    if highest > _HIGHEST or kl < DIGITS_LEFT * beyond:
        kl = _divergence(logits_bc, decoded_bc, row)
    return worst, kl


@inlined
def _sums_of_row(logits_bc, decoded_bc, row):  # type: ignore[no-untyped-def]
    """Largest |error|; how far the largest decoded logit is above the top's; mean; beyond."""
    natural = power_constants(LOG2_E)
    num_classes = logits_bc.shape[1]
    top, decoded_top = _top_and_decoded(logits_bc, decoded_bc, row)
    # A large error of all classes alike changes nothing, and must not drown what does.
    common = decoded_top - top if abs(decoded_top - top) > _ONE else ZERO
    error_of_top = decoded_top - common - top
    wide_total = wide_mean = wide_beyond = widen(lanes(ZERO))
    worst = highest = lanes(ZERO)
    for start in range(0, num_classes, BLOCK):
        sum_ = mean = beyond = lanes(ZERO)
        for column in range(start, min(start + BLOCK, num_classes), LANES):
            left = num_classes - column
            x = vector(logits_bc, row, column, left, NOTHING)
            decoded = vector(decoded_bc, row, column, left, NOTHING)
            z, new_z = x - top, decoded - decoded_top
            worst, highest = maximum(absolute(decoded - x), worst), maximum(new_z, highest)
            d = decoded - common - x - error_of_top
            weight = select(z >= LOWEST, power(z, natural), ZERO)
            new_weight = select(new_z >= LOWEST, power(new_z, natural), ZERO)
            series = fused(fused(fused(d, _120TH, _24TH), d, _SIXTH), d, _HALF)
            series = weight * d * d * series
            difference = new_weight - weight - weight * d
            sum_, mean = sum_ + weight, fused(weight, d, mean)
            beyond = beyond + select(absolute(d) < _HALF, series, difference)
        wide_total, wide_mean = wide_total + widen(sum_), wide_mean + widen(mean)
        wide_beyond = wide_beyond + widen(beyond)
    sums = totals(wide_total, wide_mean, wide_beyond, wide_beyond)
    return largest(worst), largest(highest), sums[1] / sums[0], sums[2] / sums[0]


@inlined
def _top_and_decoded(logits_bc, decoded_bc, row):  # type: ignore[no-untyped-def]
    """The largest logit, and what became of it (of one of them, where there are several)."""
    num_classes = logits_bc.shape[1]
    first, decoded_first = element(logits_bc, row, 0), element(decoded_bc, row, 0)
    top, decoded_top = lanes(first), lanes(decoded_first)
    for column in range(0, num_classes, LANES):
        left = num_classes - column
        x = vector(logits_bc, row, column, left, first)
        is_larger = top < x
        decoded = vector(decoded_bc, row, column, left, decoded_first)
        top, decoded_top = select(is_larger, x, top), select(is_larger, decoded, decoded_top)
    largest_top = largest(top)
    return largest_top, largest(select(top >= largest_top, decoded_top, NOTHING))


@compiled
def _divergence(logits_bc: NDArray[np.float32], decoded_bc: NDArray[np.uint16], row: int) -> float:
    """KL(softmax(logits) || softmax(decoded)), one class after the other in float64."""
    num_classes = logits_bc.shape[1]
    top, decoded_top = -math.inf, -math.inf
    for column in range(num_classes):
        top = max(top, np.float64(logits_bc[row, column]))
        decoded_top = max(decoded_top, np.float64(half_value(decoded_bc[row, column])))
    sum_ = decoded_sum = mean = 0.0
    for column in range(num_classes):
        x = np.float64(logits_bc[row, column])
        decoded = np.float64(half_value(decoded_bc[row, column]))
        weight = math.exp(x - top)
        sum_ += weight
        decoded_sum += math.exp(decoded - decoded_top)
        mean += weight * (decoded - x)
    mean /= sum_
    log_total = top + math.log(sum_)
    kl = decoded_top + math.log(decoded_sum) - log_total - mean
    if kl > 1e-3:
        return kl
    # Too few digits are left of the difference, but now d less its mean is small where p is not.
    beyond = 0.0
    for column in range(num_classes):
        x = np.float64(logits_bc[row, column])
        d = np.float64(half_value(decoded_bc[row, column])) - x - mean
        weight = math.exp(x - log_total)
        if abs(d) < 1e-3:
            beyond += weight * d * d * (0.5 + d * (1 / 6 + d / 24))
        else:
            beyond += math.exp(min(x - log_total + d, 0.0)) - weight - weight * d
    return math.log1p(max(beyond, 0.0))
