"""Quantised rows: [minimum float16][maximum float16][C codes of `bits` bits, a bit stream].

value = minimum + code · (maximum - minimum) / (2^bits - 1). The bit stream is little-endian: a
code's lowest bit comes first, a byte is filled from its lowest bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .code_rows import put_short, range_of_row, short
from .compiling import compiled, inlined
from .exponential import ZERO
from .float16 import half_bits, half_value

_HEAD_BYTES = 4
_HALF = np.float32(1 / 2)
_SIGN = np.uint16(0x8000)
_LOWEST_HALF = np.uint16(0xFBFF)  # -65504


@compiled
def encode_quantised(logits_bc: NDArray[np.float32], bits: int, codes: NDArray[np.uint8]) -> None:
    """Fills `codes` with the logits on an even grid of 2^bits values from minimum to maximum.

    logits_bc: float32 (b, C), |logit| < 65,520. bits: 1 to 16.
    codes: uint8 (b, 4 + ⌈C bits / 8⌉). The minimum is rounded down and the maximum up
    to float16, within ±65,504; a logit gets the nearest grid value. Unused bits of the last byte
    are 0, and so are all codes where minimum and maximum are equal.
    """
    num_rows, num_classes = logits_bc.shape
    levels = np.float32((1 << bits) - 1)
    for row in range(num_rows):
        low, high = range_of_row(logits_bc, row)
        low_bits, high_bits = _half_at_most(low), _half_at_most(-high) ^ _SIGN
        put_short(codes, row, 0, low_bits)
        put_short(codes, row, 2, high_bits)
        low, width = half_value(low_bits), half_value(high_bits) - half_value(low_bits)
        scale = levels / width if width > ZERO else ZERO
        if bits == 8:
            for column in range(num_classes):
                code = _code(logits_bc[row, column], low, scale, levels)
                codes[row, _HEAD_BYTES + column] = np.uint8(code)
        elif bits == 4:
            for pair in range(num_classes // 2):
                first = _code(logits_bc[row, 2 * pair], low, scale, levels)
                second = _code(logits_bc[row, 2 * pair + 1], low, scale, levels)
                codes[row, _HEAD_BYTES + pair] = np.uint8(first | second << np.int32(4))
            if num_classes % 2:
                code = _code(logits_bc[row, num_classes - 1], low, scale, levels)
                codes[row, _HEAD_BYTES + num_classes // 2] = np.uint8(code)
        else:
            _pack_row(logits_bc, row, low, scale, levels, bits, codes)


@compiled
def decode_quantised(
    codes: NDArray[np.uint8], bits: int, num_classes: int, out_bc: NDArray[np.uint16]
) -> None:
    """Fills `out_bc` (uint16 (b, C), bits of finite float16) from rows of `encode_quantised`."""
    levels = np.float32((1 << bits) - 1)
    for row in range(codes.shape[0]):
        low, high = half_value(short(codes, row, 0)), half_value(short(codes, row, 2))
        step = (high - low) / levels
        if bits == 8:
            for column in range(num_classes):
                code = np.float32(codes[row, _HEAD_BYTES + column])
                out_bc[row, column] = half_bits(low + code * step)
        elif bits == 4:
            for pair in range(num_classes // 2):
                both = codes[row, _HEAD_BYTES + pair]
                out_bc[row, 2 * pair] = half_bits(low + np.float32(both & 15) * step)
                out_bc[row, 2 * pair + 1] = half_bits(low + np.float32(both >> 4) * step)
            if num_classes % 2:
                code = np.float32(codes[row, _HEAD_BYTES + num_classes // 2] & 15)
                out_bc[row, num_classes - 1] = half_bits(low + code * step)
        else:
            _unpack_row(codes, row, low, step, bits, out_bc)


@inlined
def _code(x, low, scale, levels):  # type: ignore[no-untyped-def]
    code = (x - low) * scale + _HALF
    code = code if code > ZERO else ZERO
    return np.int32(code if code < levels else levels)


@inlined
def _pack_row(logits_bc, row, low, scale, levels, bits, codes):  # type: ignore[no-untyped-def]
    pending, num_pending, place = np.uint32(0), 0, _HEAD_BYTES
    for column in range(logits_bc.shape[1]):
        code = _code(logits_bc[row, column], low, scale, levels)
        pending |= np.uint32(code) << np.uint32(num_pending)
        num_pending += bits
        while num_pending >= 8:
            codes[row, place] = np.uint8(pending & np.uint32(255))
            pending >>= np.uint32(8)
            num_pending -= 8
            place += 1
    if num_pending:
        codes[row, place] = np.uint8(pending)


@inlined
def _unpack_row(codes, row, low, step, bits, out_bc):  # type: ignore[no-untyped-def]
    pending, num_pending, place = np.uint32(0), 0, _HEAD_BYTES
    mask = np.uint32((1 << bits) - 1)
    for column in range(out_bc.shape[1]):
        while num_pending < bits:
            pending |= np.uint32(codes[row, place]) << np.uint32(num_pending)
            num_pending += 8
            place += 1
        out_bc[row, column] = half_bits(low + np.float32(pending & mask) * step)
        pending >>= np.uint32(bits)
        num_pending -= bits


@inlined
def _half_at_most(x):  # type: ignore[no-untyped-def]
    """The bits of the largest float16 that is at most x, but at least -65504."""
    bits = half_bits(x)
    if half_value(bits) > x:
        bits = np.uint16(bits + 1 if bits & _SIGN else bits - 1)
    return min(bits, _LOWEST_HALF) if bits & _SIGN else bits
