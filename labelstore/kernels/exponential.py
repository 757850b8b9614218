"""Exponential and logarithm that are inlined into loops over vectors, and bounds all kernels share.

Powers are float32: relative error below 2e-7, where numba's own `exp` would be a call for each
element. The logarithm is float64, for the one of each row.
"""

from __future__ import annotations

import math

import numpy as np

from .compiling import inlined
from .lanes import LANES, fused, in_register, negative, times_power_of_two

LOG2_E = 1.0 / math.log(2.0)
LOWEST = np.float32(-87.0)  # e^z below is taken for 0: float32 ends its full precision at -87.3
NOTHING = np.float32(-1e30)  # the logit of a lane that holds no class
ZERO = np.float32(0.0)
BLOCK = 16 * LANES  # classes added up in float32 before their sum goes on in float64
TILE_LOGITS = 8_192  # stay in the nearest caches from one pass over some rows to the next

_ONE = np.float32(1.0)
_SHIFTER = np.float32(3 << 22)  # x + _SHIFTER has the nearest integer of x in its lowest bits
# 2^f for |f| <= 1/2, minimax: relative error 1e-7 before rounding.
_P1, _P2, _P3, _P4, _P5 = (
    np.float32(each)
    for each in (
        0.6931470036506653,
        0.24022246897220612,
        0.0555071122944355,
        0.009671294130384922,
        0.0013269406044855714,
    )
)
_SQRT_HALF_BITS = np.float64(math.sqrt(0.5)).view(np.int64)
_LOG_2 = math.log(2.0)


@inlined
def power_constants(scale):  # type: ignore[no-untyped-def]
    """What `power` uses most; `scale` (float64) in two parts, since one float32 is too coarse."""
    high = np.float32(scale)
    return in_register(high), in_register(np.float32(scale - high)), in_register(_SHIFTER)


@inlined
def power(z, constants):  # type: ignore[no-untyped-def]
    """2^(z · scale), for exponents from -126 to 126; meaningless outside."""
    high, low, shifter = constants
    shifted = fused(z, high, shifter)
    whole = shifted - shifter
    return _power_of_two(fused(z, low, fused(z, high, negative(whole))), shifted)


@inlined
def offset(top, scale):  # type: ignore[no-untyped-def]
    """top · scale as a whole number and the rest, for `power_of_difference`."""
    product = top * scale
    whole = np.rint(product)
    return np.float32(whole), np.float32(product - whole)


@inlined
def power_of_difference(x, z, offset_of_top, constants):  # type: ignore[no-untyped-def]
    """`power` of z = x - top, without the error of that difference; |top · scale| up to 2^22."""
    high, low, shifter = constants
    whole_of_top, rest_of_top = offset_of_top
    shifted = fused(z, high, shifter)
    whole = shifted - shifter + whole_of_top
    f = fused(x, low, fused(x, high, negative(whole)) - rest_of_top)
    return _power_of_two(f, shifted)


@inlined
def _power_of_two(f, shifted):  # type: ignore[no-untyped-def]
    """2^(f + whole) for shifted = whole + _SHIFTER."""
    p = fused(fused(fused(_P5, f, _P4), f, _P3), f, _P2)
    return times_power_of_two(fused(fused(p, f, _P1), f, _ONE), shifted)


@inlined
def log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x) in float64 for x >= 0, relative error below 1e-10."""
    y = 1.0 + x
    bits = np.float64(y).view(np.int64)
    exponent = (bits - _SQRT_HALF_BITS) >> np.int64(52)
    mantissa = np.int64(bits - (exponent << np.int64(52))).view(np.float64)
    f = (mantissa - 1.0) + (x - (y - 1.0))
    s = f / (2.0 + f)
    t = s * s
    series = 1.0 + t * (1 / 3 + t * (1 / 5 + t * (1 / 7 + t * (1 / 9 + t / 11))))
    return exponent * _LOG_2 + 2.0 * s * series
