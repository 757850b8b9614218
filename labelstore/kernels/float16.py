"""Conversion of float32 to the bits of float16 and back, scalar or vector, as LLVM code.

numba has no float16 on a CPU, so it travels as uint16. Where the machine converts float16 itself
one instruction does it; without (x86 before 2012, and what emulators offer) LLVM would call a
library that need not be there, so integers do it: about ten instructions.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .compiling import operation

_SHORT, _INT, _HALF, _FLOAT = ir.IntType(16), ir.IntType(32), ir.HalfType(), ir.FloatType()


@operation
def half_bits(typing: Any, x: Any) -> Any:
    """The bits (uint16) of the float16 nearest to the scalar float32 x, ties to even."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return build_half_bits(context, builder, values[0])

    return types.uint16(types.float32), generate


@operation
def half_value(typing: Any, bits: Any) -> Any:
    """The scalar float32 value of the bits (uint16) of a float16."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return build_half_value(context, builder, values[0])

    return types.float32(types.uint16), generate


def build_half_bits(context: Any, builder: Any, x: Any) -> Any:
    """float16 bits of float32 x, rounded to nearest, ties to even."""
    if _has_float16(context):
        return builder.bitcast(builder.fptrunc(x, _like(x, _HALF)), _like(x, _SHORT))
    # Adding a power of two far above x makes the adder round where float16 ends.
    integers, floats = _like(x, _INT), _like(x, _FLOAT)

    def whole(number: int) -> ir.Constant:
        return _constant(x, _INT, number)

    bits = builder.bitcast(x, integers)
    size = builder.bitcast(builder.and_(bits, whole(0x7FFFFFFF)), floats)
    size = builder.fmul(size, _constant(x, _FLOAT, 2.0**112))
    size = builder.fmul(size, _constant(x, _FLOAT, 2.0**-110))
    doubled = builder.add(bits, bits)
    exponent = builder.and_(doubled, whole(0xFF000000))
    small = builder.icmp_unsigned("<", exponent, whole(0x71000000))
    exponent = builder.select(small, whole(0x71000000), exponent)
    rounder = builder.add(builder.lshr(exponent, whole(1)), whole(0x07800000))
    rounded = builder.bitcast(builder.fadd(builder.bitcast(rounder, floats), size), integers)
    result = builder.add(
        builder.and_(builder.lshr(rounded, whole(13)), whole(0x7C00)),
        builder.and_(rounded, whole(0x0FFF)),
    )
    nan = builder.icmp_unsigned(">", doubled, whole(0xFF000000))
    result = builder.select(nan, whole(0x7E00), result)
    sign = builder.and_(builder.lshr(bits, whole(16)), whole(0x8000))
    return builder.trunc(builder.or_(result, sign), _like(x, _SHORT))


def build_half_value(context: Any, builder: Any, bits: Any) -> Any:
    """float32 value of float16 bits."""
    if _has_float16(context):
        return builder.fpext(builder.bitcast(bits, _like(bits, _HALF)), _like(bits, _FLOAT))

    def whole(number: int) -> ir.Constant:
        return _constant(bits, _INT, number)

    wide = builder.zext(bits, _like(bits, _INT))
    shifted = builder.shl(builder.and_(wide, whole(0x7FFF)), whole(13))
    size = builder.fmul(
        builder.bitcast(shifted, _like(bits, _FLOAT)), _constant(bits, _FLOAT, 2.0**112)
    )
    finite = builder.icmp_unsigned("<", shifted, whole(0x0F800000))
    infinite = builder.or_(shifted, whole(0x7F800000))
    size = builder.select(finite, builder.bitcast(size, _like(bits, _INT)), infinite)
    sign = builder.shl(builder.and_(wide, whole(0x8000)), whole(16))
    return builder.bitcast(builder.or_(size, sign), _like(bits, _FLOAT))


def _has_float16(context: Any) -> bool:
    """Whether the machine compiled for converts float16 itself; else LLVM would call a library."""
    triple, _, features = context.codegen().magic_tuple()
    return not triple.startswith(("x86_64", "i686")) or "+f16c" in features.split(",")


def _like(value: Any, element: ir.Type) -> ir.Type:
    """`element`, or a vector of it where `value` is a vector."""
    kind = value.type
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _constant(value: Any, element: ir.Type, number: float) -> ir.Constant:
    kind = _like(value, element)
    return ir.Constant(kind, [number] * kind.count if kind != element else number)
