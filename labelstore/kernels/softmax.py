"""softmax(logits / temperature) of float16 rows: the reader's hot path."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled, inlined
from .exponential import (
    BLOCK,
    LOG2_E,
    TILE_LOGITS,
    ZERO,
    offset,
    power,
    power_constants,
    power_of_difference,
)
from .lanes import LANES, lanes, largest, maximum, select, total, widen
from .memory import element, prefetch, put_vector, vector

_ROWS_AHEAD = 8  # of a gather's rows, asked for from memory; hides a fifth to a third of its time
_CACHE_LINE = 32  # float16
_MINUS_INFINITY = np.float32(-math.inf)
_LARGEST_OFFSET = 2.0**22


@compiled
def softmax_rows(
    logits_kc: NDArray[np.uint16], temperature: np.float32, out_kc: NDArray[np.float32]
) -> None:
    """Fills `out_kc` with softmax(logits / temperature).

    logits_kc: uint16 (k, C), bits of finite float16. temperature: float32, finite, > 0.
    out_kc: float32 (k, C); relative error below 2e-6 above 1e-30, rows sum to 1 within 1e-6.
    """
    _softmax(logits_kc, None, temperature, out_kc)


@compiled
def gather_softmax(
    source_nc: NDArray[np.uint16],
    places_k: NDArray[np.int64],
    temperature: np.float32,
    out_kc: NDArray[np.float32],
) -> None:
    """`softmax_rows` of the rows source_nc[places_k], which are nowhere copied together.

    source_nc: uint16 (n, C), bits of finite float16. places_k: int64 (k,), 0 <= place < n.
    """
    _softmax(source_nc, places_k, temperature, out_kc)


@inlined
def _softmax(source_nc, places_k, temperature, out_kc):  # type: ignore[no-untyped-def]
    num_rows, num_classes = out_kc.shape
    # Beyond these bounds a row is one-hot, or even, to the last digit.
    scale = min(max(LOG2_E / np.float64(temperature), 1e-30), 1e30)
    constants, lowest = power_constants(scale), np.float32(-126.0 / scale)
    tile_rows = max(1, TILE_LOGITS // num_classes)
    tops_t, factors_t = np.empty(tile_rows, np.float32), np.empty(tile_rows, np.float32)
    for start in range(0, num_rows, tile_rows):
        stop = min(start + tile_rows, num_rows)
        for row in range(start, stop):
            place = row
            if places_k is not None:
                place = places_k[row]
                ahead = places_k[min(row + _ROWS_AHEAD, num_rows - 1)]
                for column in range(0, num_classes, _CACHE_LINE):
                    prefetch(source_nc, ahead, column)
            tops_t[row - start] = _top_of_row(source_nc, place)
        for row in range(start, stop):
            place = row if places_k is None else places_k[row]
            top = tops_t[row - start]
            offset_of_top = offset(top, scale)
            if abs(offset_of_top[0]) < _LARGEST_OFFSET:
                sum_ = _powers_of_row(
                    source_nc, place, out_kc, row, top, offset_of_top, lowest, constants
                )
            else:  # then all logits that count are so close to the top that z is exact
                sum_ = _powers_of_row(source_nc, place, out_kc, row, top, None, lowest, constants)
            factors_t[row - start] = 1.0 / sum_
        for row in range(start, stop):
            factor = factors_t[row - start]
            for column in range(0, num_classes, LANES):
                left = num_classes - column
                weight = vector(out_kc, row, column, left, ZERO)
                put_vector(out_kc, row, column, left, weight * factor)


@inlined
def _top_of_row(source_nc, place):  # type: ignore[no-untyped-def]
    num_classes = source_nc.shape[1]
    first = element(source_nc, place, 0)
    top = lanes(first)
    for column in range(0, num_classes, LANES):
        top = maximum(vector(source_nc, place, column, num_classes - column, first), top)
    return largest(top)


@inlined
def _powers_of_row(  # type: ignore[no-untyped-def]
    source_nc, place, out_kc, row, top, offset_of_top, lowest, constants
):
    """Fills row `row` of `out_kc` with the powers of the logits less `top`; their sum."""
    num_classes = out_kc.shape[1]
    wide = widen(lanes(ZERO))
    for block in range(0, num_classes, BLOCK):
        sum_ = lanes(ZERO)
        for column in range(block, min(block + BLOCK, num_classes), LANES):
            left = num_classes - column
            x = vector(source_nc, place, column, left, _MINUS_INFINITY)
            z = x - top
            if offset_of_top is None:
                weight = power(z, constants)
            else:
                weight = power_of_difference(x, z, offset_of_top, constants)
            weight = select(z >= lowest, weight, ZERO)
            put_vector(out_kc, row, column, left, weight)
            sum_ = sum_ + weight
        wide = wide + widen(sum_)
    return total(wide)
