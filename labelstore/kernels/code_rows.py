"""What rows of lossy codes share: numbers of two bytes, lowest first, and the range of a row."""

from __future__ import annotations

import numpy as np

from .compiling import inlined
from .lanes import LANES, lanes, largest, maximum, minimum, negative
from .memory import vector


@inlined
def put_short(codes, row, place, value):  # type: ignore[no-untyped-def]
    codes[row, place] = np.uint8(value & 255)
    codes[row, place + 1] = np.uint8(value >> 8)


@inlined
def short(codes, row, place):  # type: ignore[no-untyped-def]
    return np.uint16(np.uint16(codes[row, place]) | np.uint16(codes[row, place + 1]) << 8)


@inlined
def range_of_row(logits_bc, row):  # type: ignore[no-untyped-def]
    """The smallest and the largest logit."""
    num_classes = logits_bc.shape[1]
    first = logits_bc[row, 0]
    bottom = top = lanes(first)
    for column in range(0, num_classes, LANES):
        x = vector(logits_bc, row, column, num_classes - column, first)
        bottom, top = minimum(x, bottom), maximum(x, top)
    return -largest(negative(bottom)), largest(top)
