"""Top-k rows: [k float16 logits, descending][float16 log-sum-exp of the others][k uint16 classes].

The k largest of a row are found without sorting it: bisection of the range of its logits, by
counting those above the middle, until a few more than k are left; these are ranked by comparing
each with all.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .code_rows import put_short, range_of_row, short
from .compiling import compiled, inlined
from .exponential import BLOCK, LOG2_E, LOWEST, NOTHING, ZERO, power, power_constants
from .float16 import half_bits, half_value
from .lanes import (
    LANES,
    count,
    first_lanes,
    lane_bits,
    lanes,
    largest,
    lowest_bit,
    maximum,
    select,
    total,
    widen,
)
from .memory import vector

_HALF = np.float32(1 / 2)
_LARGEST_HALF = np.float32(65_504.0)


@compiled
def encode_topk(logits_bc: NDArray[np.float32], k: int, codes: NDArray[np.uint8]) -> None:
    """Fills `codes` with the k largest logits of every row and what the others weigh together.

    logits_bc: float32 (b, C), |logit| < 65,520; 1 <= k < C <= 65,536; of equal logits the lower
    class comes first. codes: uint8 (b, 4 k + 2). The log-sum-exp is kept within ±65,504.
    """
    natural = power_constants(LOG2_E)
    most = _max_candidates(k) + 1
    candidates_1n, classes_n = np.empty((1, most), np.float32), np.empty(most, np.int64)
    values_n, places_n = np.empty(most, np.float32), np.empty(most, np.int64)
    for row in range(logits_bc.shape[0]):
        found = _find_candidates(logits_bc, row, k, candidates_1n, classes_n)
        for place in range(found):
            rank = _rank(candidates_1n, found, place)
            values_n[rank], places_n[rank] = candidates_1n[0, place], place
        for rank in range(k):
            put_short(codes, row, 2 * rank, half_bits(values_n[rank]))
            put_short(codes, row, 2 * (k + 1 + rank), classes_n[places_n[rank]])
        others = _log_sum_exp_of_others(logits_bc, row, k, values_n[k - 1], natural)
        others = np.float32(min(max(others, -_LARGEST_HALF), _LARGEST_HALF))
        put_short(codes, row, 2 * k, half_bits(others))


@compiled
def decode_topk(
    codes: NDArray[np.uint8], k: int, num_classes: int, out_bc: NDArray[np.uint16]
) -> None:
    """Fills `out_bc` (uint16 (b, C), bits of finite float16) from rows of `encode_topk`.

    A class that is not among the k gets the logit log-sum-exp - log(C - k): what the others weigh,
    spread evenly.
    """
    share = np.float32(math.log(num_classes - k))
    for row in range(codes.shape[0]):
        other = half_bits(half_value(short(codes, row, 2 * k)) - share)
        for column in range(num_classes):
            out_bc[row, column] = other
        for rank in range(k):
            class_ = short(codes, row, 2 * (k + 1 + rank))
            if class_ < num_classes:  # a damaged row must not be written beside the array
                out_bc[row, class_] = short(codes, row, 2 * rank)


@inlined
def _max_candidates(k):  # type: ignore[no-untyped-def]
    return k + k // 2 + LANES // 2


@inlined
def _find_candidates(logits_bc, row, k, candidates_1n, classes_n):  # type: ignore[no-untyped-def]
    """Fills in the k largest logits and a few more, in ascending order of class; their number."""
    num_classes = logits_bc.shape[1]
    floor, ceiling, num_above = _bisect(logits_bc, row, k)
    # Those from floor to ceiling are few, or all equal so that the first of them do.
    room = _max_candidates(k) - num_above
    found = 0
    for column in range(0, num_classes, LANES):
        reaching = vector(logits_bc, row, column, num_classes - column, NOTHING) >= floor
        bits = lane_bits(reaching)
        while bits:
            class_ = column + lowest_bit(bits)
            bits &= bits - 1
            x = logits_bc[row, class_]
            # Without branches, which would be mispredicted; what is not wanted is overwritten.
            candidates_1n[0, found], classes_n[found] = x, class_
            is_between = int(x < ceiling)
            found += 1 - is_between * int(room == 0)
            room -= is_between * int(room > 0)
    return found


@inlined
def _bisect(logits_bc, row, k):  # type: ignore[no-untyped-def]
    """floor, ceiling, number of logits from ceiling on: below k; from floor on there are k or more.

    At most `_max_candidates(k)` reach floor, unless no float32 lies between floor and ceiling.
    """
    num_classes = logits_bc.shape[1]
    floor, top = range_of_row(logits_bc, row)
    ceiling = top + abs(top) * np.float32(2.0**-22) + np.float32(1e-30)
    num_above, num_reaching = 0, num_classes
    while num_reaching > _max_candidates(k):
        middle = floor + (ceiling - floor) * _HALF
        if not floor < middle < ceiling:
            break
        num_middle = 0
        for column in range(0, num_classes, LANES):
            x = vector(logits_bc, row, column, num_classes - column, NOTHING)
            num_middle += count(x >= middle)
        if num_middle < k:
            ceiling, num_above = middle, num_middle
        else:
            floor, num_reaching = middle, num_middle
    return floor, ceiling, num_above


@inlined
def _rank(candidates_1n, found, place):  # type: ignore[no-untyped-def]
    """How many candidates come before one: those that are larger, or equal and of a lower class."""
    value, rank = candidates_1n[0, place], 0
    for column in range(0, found, LANES):
        x = vector(candidates_1n, 0, column, found - column, NOTHING)
        larger, earlier = value < x, first_lanes(place - column)
        rank += count(larger) + count((x >= value) & earlier) - count(larger & earlier)
    return rank


@inlined
def _log_sum_exp_of_others(logits_bc, row, k, smallest, natural):  # type: ignore[no-untyped-def]
    """log of the sum of e^logit over all classes but the k largest, of which `smallest` is one."""
    num_classes = logits_bc.shape[1]
    tops, num_ties = lanes(NOTHING), num_classes - k
    for column in range(0, num_classes, LANES):
        x = vector(logits_bc, row, column, num_classes - column, smallest)
        is_below = x < smallest
        num_ties -= count(is_below)
        tops = maximum(select(is_below, x, NOTHING), tops)
    top = smallest if num_ties > 0 else largest(tops)
    wide = widen(lanes(ZERO))
    for block in range(0, num_classes, BLOCK):
        sum_ = lanes(ZERO)
        for column in range(block, min(block + BLOCK, num_classes), LANES):
            x = vector(logits_bc, row, column, num_classes - column, smallest)
            z = x - top
            weight = select(z >= LOWEST, power(z, natural), ZERO)
            sum_ = sum_ + select(x < smallest, weight, ZERO)
        wide = wide + widen(sum_)
    return top + math.log(total(wide) + num_ties)
