"""Instructions that neither Python nor numba has a name for, written in LLVM's language; imported only to compile.

Each has a twin of the same name in analyzers.kernels.jit, which says in Python what it does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

_numba, _arrays, _cgutils = cast(tuple[Any, Any, Any], (numba, arrayobj, cgutils))  # partly typed, partly not


def _instruction(definition: Callable[..., Any]) -> Callable[..., Any]:
    """`definition(typing context, arguments...)` gives its signature and writes its LLVM IR."""
    return cast(Callable[..., Any], intrinsic(definition))


def _element_pointer(context: Any, builder: Any, signature: Any, args: Any, element: Any, array_at: int = 0) -> Any:
    array = _arrays.make_array(signature.args[array_at])(context, builder, args[array_at])
    return builder.bitcast(builder.gep(array.data, [args[array_at + 1]]), element.as_pointer())


@_instruction
def load64(_typing: Any, buffer: Any, at: Any) -> Any:
    """Eight bytes at any offset as a little-endian uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        load = builder.load(_element_pointer(context, builder, signature, args, ir.IntType(64)))
        load.align = 1
        return load

    return types.uint64(buffer, types.intp), generate


@_instruction
def load32(_typing: Any, buffer: Any, at: Any) -> Any:
    """Four bytes at any offset as a little-endian uint32, widened to uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        load = builder.load(_element_pointer(context, builder, signature, args, ir.IntType(32)))
        load.align = 1
        return builder.zext(load, ir.IntType(64))

    return types.uint64(buffer, types.intp), generate


def _equal_mask(builder: Any, vector: Any, width: int, byte: int) -> Any:
    pattern = ir.Constant(ir.VectorType(ir.IntType(8), width), [byte] * width)
    bits = builder.icmp_unsigned("==", vector, pattern)
    return builder.bitcast(bits, ir.IntType(width))


def _byte_mask(width: int, byte: int) -> Any:
    def define(_typing: Any, buffer: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lane = ir.VectorType(ir.IntType(8), width)
            vector = builder.load(_element_pointer(context, builder, signature, args, lane))
            vector.align = 1
            mask = _equal_mask(builder, vector, width, byte)
            return mask if width == 64 else builder.zext(mask, ir.IntType(64))

        return types.uint64(buffer, types.intp), generate

    return _instruction(define)


blank_mask64 = _byte_mask(64, 0x20)
newline_mask64 = _byte_mask(64, 0x0A)
dot_mask16 = _byte_mask(16, 0x2E)
zero_mask16 = _byte_mask(16, 0x30)


@_instruction
def digit_mask16(_typing: Any, buffer: Any, at: Any) -> Any:
    """Which of 16 bytes are decimal digits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lane = ir.VectorType(ir.IntType(8), 16)
        vector = builder.load(_element_pointer(context, builder, signature, args, lane))
        vector.align = 1
        bits = builder.icmp_unsigned("<", builder.sub(vector, lane([0x30] * 16)), lane([10] * 16))
        return builder.zext(builder.bitcast(bits, ir.IntType(16)), ir.IntType(64))

    return types.uint64(buffer, types.intp), generate


@_instruction
def shuffled_pair(_typing: Any, buffer: Any, at: Any, patterns: Any, row: Any) -> Any:
    """The 16 bytes at `at` in the order of patterns[row] (uint8[n, 16], 128: a zero byte), as two uint64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lane = ir.VectorType(ir.IntType(8), 16)
        vector = builder.load(_element_pointer(context, builder, signature, args, lane))
        vector.align = 1
        table = _arrays.make_array(signature.args[2])(context, builder, args[2])
        offset = builder.mul(args[3], ir.Constant(args[3].type, 16))
        order = builder.load(builder.bitcast(builder.gep(table.data, [offset]), lane.as_pointer()))
        order.align = 1
        kind = ir.FunctionType(lane, [lane, lane])
        shuffle = _cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.ssse3.pshuf.b.128")
        pair = builder.bitcast(builder.call(shuffle, [vector, order]), ir.VectorType(ir.IntType(64), 2))
        halves = [builder.extract_element(pair, ir.Constant(ir.IntType(32), half)) for half in (0, 1)]
        return context.make_tuple(builder, signature.return_type, halves)

    return _numba.types.UniTuple(types.uint64, 2)(buffer, types.intp, patterns, types.intp), generate


@_instruction
def store_positions(_typing: Any, mask: Any, base: Any, out: Any, at: Any) -> Any:
    """The positions of the bits of `mask`, added to `base`, into the uint32 array out[at:]; 32 are written.

    More than 32 bits: what is behind is not written. Only where COMPRESSES.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bytes64, bits64 = ir.VectorType(ir.IntType(8), 64), ir.VectorType(ir.IntType(1), 64)
        words32 = ir.VectorType(ir.IntType(32), 32)
        kind = ir.FunctionType(bytes64, [bytes64, bytes64, bits64])
        compress = _cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.mask.compress.v64i8")
        found = builder.call(compress, [bytes64(list(range(64))), bytes64([0] * 64), builder.bitcast(args[0], bits64)])
        first = builder.shuffle_vector(found, bytes64([0] * 64), words32(list(range(32))))
        wide = builder.zext(first, words32)
        start = builder.insert_element(words32(ir.Undefined), builder.trunc(args[1], ir.IntType(32)), ir.IntType(32)(0))
        spread = builder.shuffle_vector(start, words32(ir.Undefined), words32([0] * 32))
        store = builder.store(
            builder.add(wide, spread), _element_pointer(context, builder, signature, args, words32, 2)
        )
        store.align = 4
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, out, types.intp), generate


@_instruction
def trailing_zeros(_typing: Any, value: Any) -> Any:
    """Position of the lowest set bit of a uint64; 64 when there is none."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@_instruction
def bit_count(_typing: Any, value: Any) -> Any:
    """How many bits of a uint64 are set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


@_instruction
def prefetch(_typing: Any, buffer: Any, at: Any) -> Any:
    """Ask for the cache line of a one-dimensional array's element; no effect on the result."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = _arrays.make_array(signature.args[0])(context, builder, args[0])
        pointer = builder.bitcast(builder.gep(array.data, [args[1]]), _cgutils.voidptr_t)
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [_cgutils.voidptr_t, word, word, word])
        function = _cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [pointer, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(buffer, types.intp), generate
