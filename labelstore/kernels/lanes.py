"""Vectors of 16 float32 lanes for compiled code.

LLVM's own loop vectoriser gives up on a maximum of floats and on a loop with several sums, and
leaves the end of a row that is no multiple of a vector to scalar code: the loop of `dense` ran at
4.3 ns a logit that way. With these vectors a loop says what is done at once, and a sum has the same
order on every machine; LLVM maps them to what the machine has.

The functions below are for use in `@njit` code only; a float32 scalar may stand for a vector.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import lower_builtin, models, register_model, type_callable

from .compiling import operation

LANES = 16
_BOOL, _SHORT, _INT, _LONG = (ir.IntType(width) for width in (1, 16, 32, 64))
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()


class LanesType(types.Type):
    """numba type of 16 values of one LLVM type in a vector register."""

    def __init__(self, name: str, element: ir.Type) -> None:
        super().__init__(name=f"Lanes({name})")
        self.vector = ir.VectorType(element, LANES)


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: LanesType) -> None:
        super().__init__(manager, lanes, lanes.vector)


FLOATS = LanesType("float32", _FLOAT)
DOUBLES = LanesType("float64", _DOUBLE)
MASK = LanesType("bool", _BOOL)
_INTS = ir.VectorType(_INT, LANES)


def splat(builder: Any, value: Any) -> Any:
    empty = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(empty, value, _INT(0))
    return _shuffle(builder, first, empty, [0] * LANES)


def _shuffle(builder: Any, left: Any, right: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_INT, len(order)), order))


def call(builder: Any, name: str, result: ir.Type, *operands: Any) -> Any:
    signature = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), operands)


def _operation(result: Any, operands: tuple[Any, ...], build: Callable[..., Any]) -> Any:
    """What an intrinsic returns; `build` is given LLVM vectors, float32 scalars become vectors."""
    if not all(isinstance(each, LanesType) or each == types.float32 for each in operands):
        raise TypingError(f"expected lanes or float32, found {operands}")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        scalars = [each == types.float32 for each in signature.args]
        vectors = [
            splat(builder, value) if scalar else value
            for value, scalar in zip(values, scalars, strict=True)
        ]
        return build(builder, *vectors)

    return result(*operands), generate


def _define_operator(symbol: Any, kind: Any, result: Any, build: Callable[..., Any]) -> None:
    @type_callable(symbol)
    def typed(context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            fits = (kind,) if kind is not FLOATS else (FLOATS, types.float32)
            return result if kind in (left, right) and left in fits and right in fits else None

        return typer

    for left, right in ((kind, kind), (FLOATS, types.float32), (types.float32, FLOATS)):
        if kind in (left, right):

            @lower_builtin(symbol, left, right)
            def lowered(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                return _operation(result, signature.args, build)[1](
                    context, builder, signature, values
                )


_define_operator(operator.add, FLOATS, FLOATS, lambda b, x, y: b.fadd(x, y))
_define_operator(operator.sub, FLOATS, FLOATS, lambda b, x, y: b.fsub(x, y))
_define_operator(operator.mul, FLOATS, FLOATS, lambda b, x, y: b.fmul(x, y))
_define_operator(operator.lt, FLOATS, MASK, lambda b, x, y: b.fcmp_ordered("<", x, y))
_define_operator(operator.ge, FLOATS, MASK, lambda b, x, y: b.fcmp_ordered(">=", x, y))
_define_operator(operator.add, DOUBLES, DOUBLES, lambda b, x, y: b.fadd(x, y))
_define_operator(operator.and_, MASK, MASK, lambda b, x, y: b.and_(x, y))


@operation
def lanes(typing: Any, x: Any) -> Any:
    """The scalar float32 x in every lane."""
    return _operation(FLOATS, (x,), lambda b, x: x)


@operation
def negative(typing: Any, x: Any) -> Any:
    return _operation(FLOATS, (x,), lambda b, x: b.fneg(x))


@operation
def absolute(typing: Any, x: Any) -> Any:
    return _operation(FLOATS, (x,), lambda b, x: call(b, "llvm.fabs.v16f32", x.type, x))


@operation
def maximum(typing: Any, x: Any, y: Any) -> Any:
    return _operation(FLOATS, (x, y), _maximum)


@operation
def minimum(typing: Any, x: Any, y: Any) -> Any:
    return _operation(FLOATS, (x, y), lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), x, y))


def _maximum(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


@operation
def fused(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """x·y + z, rounded once: in float64 where the machine has no instruction for it."""
    signature, _ = _operation(FLOATS, (x, y, z), _fused_by_machine)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        build = _fused_by_machine if _has_fused(context) else _fused_by_float64
        return _operation(FLOATS, signature.args, build)[1](context, builder, signature, values)

    return signature, generate


def _fused_by_machine(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return call(builder, "llvm.fma.v16f32", x.type, x, y, z)


def _fused_by_float64(builder: Any, x: Any, y: Any, z: Any) -> Any:
    x, y, z = (builder.fpext(each, DOUBLES.vector) for each in (x, y, z))
    return builder.fptrunc(builder.fadd(builder.fmul(x, y), z), FLOATS.vector)


def _has_fused(context: Any) -> bool:
    triple, _, features = context.codegen().magic_tuple()
    return not triple.startswith(("x86_64", "i686")) or "+fma" in features.split(",")


@operation
def select(typing: Any, mask: Any, x: Any, y: Any) -> Any:
    return _operation(FLOATS, (mask, x, y), lambda b, mask, x, y: b.select(mask, x, y))


@operation
def count(typing: Any, mask: Any) -> Any:
    """How many lanes are true."""

    def build(builder: Any, mask: Any) -> Any:
        bits = call(builder, "llvm.ctpop.i16", _SHORT, builder.bitcast(mask, _SHORT))
        return builder.zext(bits, _LONG)

    return _operation(types.int64, (mask,), build)


@operation
def lane_bits(typing: Any, mask: Any) -> Any:
    """An int64 with one bit a lane."""
    return _operation(types.int64, (mask,), lambda b, mask: b.zext(b.bitcast(mask, _SHORT), _LONG))


@operation
def lowest_bit(typing: Any, bits: Any) -> Any:
    """The place of the lowest bit set in an int64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call(builder, "llvm.cttz.i64", _LONG, values[0], _BOOL(1))

    return types.int64(types.int64), generate


@operation
def times_power_of_two(typing: Any, x: Any, shifted: Any) -> Any:
    """x · 2^k, where k is the number in the lowest bits of `shifted`."""

    def build(builder: Any, x: Any, shifted: Any) -> Any:
        exponent = builder.shl(builder.bitcast(shifted, _INTS), ir.Constant(_INTS, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(x, _INTS), exponent), x.type)

    return _operation(FLOATS, (x, shifted), build)


@operation
def widen(typing: Any, x: Any) -> Any:
    """float64 lanes of float32 lanes."""
    return _operation(DOUBLES, (x,), lambda b, x: b.fpext(x, DOUBLES.vector))


@operation
def largest(typing: Any, x: Any) -> Any:
    """The largest of the lanes."""
    return _operation(types.float32, (x,), lambda b, x: _folded(b, x, _maximum))


@operation
def total(typing: Any, x: Any) -> Any:
    """The sum of float64 lanes."""
    return _operation(types.float64, (x,), lambda b, x: _folded(b, x, lambda b, x, y: b.fadd(x, y)))


def _folded(builder: Any, x: Any, combine: Callable[..., Any]) -> Any:
    while x.type.count > 1:
        half = x.type.count // 2
        low = _shuffle(builder, x, x, list(range(half)))
        x = combine(builder, low, _shuffle(builder, x, x, list(range(half, 2 * half))))
    return builder.extract_element(x, _INT(0))


@operation
def totals(typing: Any, x: Any, y: Any, z: Any, w: Any) -> Any:
    """The sums of four vectors of float64 lanes, for little more than the price of two."""
    result = types.UniTuple(types.float64, 4)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        def add_halves(x: Any, y: Any, low: list[int], high: list[int]) -> Any:
            return builder.fadd(_shuffle(builder, x, y, low), _shuffle(builder, x, y, high))

        x, y, z, w = (add_halves(each, each, list(range(8)), list(range(8, 16))) for each in values)
        xy = add_halves(x, y, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
        zw = add_halves(z, w, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
        all_ = add_halves(xy, zw, [0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15])
        all_ = add_halves(all_, all_, [0, 2, 4, 6], [1, 3, 5, 7])
        sums = [builder.extract_element(all_, _INT(lane)) for lane in range(4)]
        return context.make_tuple(builder, result, sums)

    return result(x, y, z, w), generate


@operation
def first_lanes(typing: Any, number: Any) -> Any:
    """The mask of the first `number` lanes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return build_first_lanes(builder, values[0])

    return MASK(types.intp), generate


def build_first_lanes(builder: Any, number: Any) -> Any:
    lane = ir.Constant(_INTS, list(range(LANES)))
    return builder.icmp_signed("<", lane, splat(builder, builder.trunc(number, _INT)))


@operation
def in_register(typing: Any, x: Any) -> Any:
    """The constant x in every lane, hidden from LLVM, which would fetch it anew in every round."""

    def build(builder: Any, x: Any) -> Any:
        hide = ir.InlineAsm(ir.FunctionType(_INT, [_INT]), "", "=r,0")
        bits = builder.bitcast(builder.extract_element(x, _INT(0)), _INT)
        return splat(builder, builder.bitcast(builder.call(hide, [bits]), _FLOAT))

    return _operation(FLOATS, (x,), build)
