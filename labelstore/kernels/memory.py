"""Rows in memory to vectors of 16 lanes and back, converting float16 on the way.

An array of float32 is read and written as it is; one of uint16 holds the bits of float16.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError

from .compiling import inlined, operation
from .float16 import build_half_bits, build_half_value
from .lanes import FLOATS, LANES, build_first_lanes, call, splat

_SHORT, _INT, _FLOAT = ir.IntType(16), ir.IntType(32), ir.FloatType()


@inlined
def vector(array, row, column, left, rest):  # type: ignore[no-untyped-def]
    """16 elements of a row from `column` on, where `left` are left; `rest` beyond its end."""
    if left >= LANES:
        return load(array, row, column)
    return load_first(array, row, column, left, rest)


@inlined
def put_vector(array, row, column, left, x):  # type: ignore[no-untyped-def]
    """Writes 16 elements of a row from `column` on, where there is room for `left`."""
    if left >= LANES:
        store(array, row, column, x)
    else:
        store_first(array, row, column, left, x)


@operation
def load(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """16 elements of a row from `column` on: float32 as they are, uint16 as bits of float16."""
    kind = _vector_of(array)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values, kind)
        return _as_floats(context, builder, builder.load(pointer, align=_bytes(array)))

    return FLOATS(array, types.intp, types.intp), generate


@operation
def element(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """One element like `load`, as a scalar float32."""
    kind = _vector_of(array).element

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        found = builder.load(_pointer(context, builder, array, values, kind))
        return found if kind == _FLOAT else build_half_value(context, builder, found)

    return types.float32(array, types.intp, types.intp), generate


@operation
def load_first(typing: Any, array: Any, row: Any, column: Any, number: Any, rest: Any) -> Any:
    """The first `number` (0 to 15) of 16 elements like `load`; the other lanes are `rest`."""
    kind = _vector_of(array)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[:3], kind)
        mask = build_first_lanes(builder, values[3])
        name = f"llvm.masked.load.{_suffix(array)}.p0"
        nothing = ir.Constant(kind, None)
        found = call(builder, name, kind, pointer, _INT(_bytes(array)), mask, nothing)
        floats = _as_floats(context, builder, found)
        return builder.select(mask, floats, splat(builder, values[4]))

    return FLOATS(array, types.intp, types.intp, types.intp, types.float32), generate


@operation
def prefetch(typing: Any, array: Any, row: Any, column: Any) -> Any:
    """Asks for the cache line of an element that will be loaded soon."""
    kind = _vector_of(array).element

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values, kind)
        to_read, keep, data = _INT(0), _INT(3), _INT(1)
        call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, to_read, keep, data)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@operation
def store(typing: Any, array: Any, row: Any, column: Any, x: Any) -> Any:
    """Writes 16 elements of a row: float32 as they are, uint16 as bits of the nearest float16."""
    kind = _vector_of(array)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[:3], kind)
        builder.store(_as_elements(context, builder, values[3], kind), pointer, _bytes(array))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, FLOATS), generate


@operation
def store_first(typing: Any, array: Any, row: Any, column: Any, number: Any, x: Any) -> Any:
    """Writes the first `number` (0 to 15) of 16 elements like `store`."""
    kind = _vector_of(array)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = _pointer(context, builder, array, values[:3], kind)
        elements = _as_elements(context, builder, values[4], kind)
        mask = build_first_lanes(builder, values[3])
        name = f"llvm.masked.store.{_suffix(array)}.p0"
        call(builder, name, ir.VoidType(), elements, pointer, _INT(_bytes(array)), mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.intp, FLOATS), generate


def _vector_of(array: Any) -> Any:
    """The LLVM vector of 16 elements of an array's rows; TypingError for arrays not made for it."""
    elements = {types.float32: _FLOAT, types.uint16: _SHORT}
    if not isinstance(array, types.Array) or array.ndim != 2 or array.layout != "C":
        raise TypingError(f"expected a C-contiguous array of two axes, found {array}")
    if array.dtype not in elements:
        raise TypingError(f"expected float32 or uint16 (bits of float16), found {array}")
    return ir.VectorType(elements[array.dtype], LANES)


def _pointer(context: Any, builder: Any, array: Any, values: Any, kind: Any) -> Any:
    data, row, column = values
    struct = context.make_array(array)(context, builder, data)
    place = cgutils.get_item_pointer(context, builder, array, struct, [row, column])
    return builder.bitcast(place, kind.as_pointer())


def _bytes(array: Any) -> int:
    return int(array.dtype.bitwidth) // 8


def _suffix(array: Any) -> str:
    return "v16f32" if array.dtype == types.float32 else "v16i16"


def _as_floats(context: Any, builder: Any, elements: Any) -> Any:
    is_float = elements.type.element == _FLOAT
    return elements if is_float else build_half_value(context, builder, elements)


def _as_elements(context: Any, builder: Any, floats: Any, kind: Any) -> Any:
    return floats if kind.element == _FLOAT else build_half_bits(context, builder, floats)
