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

from analyzers.kernels.record import (
    O_CLIENT_SERVER,
    O_FORWARD,
    O_META,
    O_OBSERVER,
    P_BYTES,
    P_FIRST,
    P_LAST,
    P_PACKETS,
)

_numba, _arrays, _cgutils = cast(tuple[Any, Any, Any], (numba, arrayobj, cgutils))  # partly typed, partly not


def _instruction(definition: Callable[..., Any]) -> Callable[..., Any]:
    """`definition(typing context, arguments...)` gives its signature and writes its LLVM IR."""
    return cast(Callable[..., Any], intrinsic(definition))


def _element_pointer(
    context: Any, builder: Any, signature: Any, args: Any, element: Any, array_at: int = 0, offset: Any = None
) -> Any:  # fmt: skip
    """Where an element of the array args[array_at] is: the one that the next argument tells, or `offset`."""
    array = _arrays.make_array(signature.args[array_at])(context, builder, args[array_at])
    place = args[array_at + 1] if offset is None else offset
    return builder.bitcast(builder.gep(array.data, [place]), element.as_pointer())


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


def _vector(bits: int, lanes: int) -> Any:
    return ir.VectorType(ir.IntType(bits), lanes)


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(_cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _shuffled(builder: Any, vector: Any, order: list[int], other: Any = None) -> Any:
    rest = vector.type(ir.Undefined) if other is None else other
    return builder.shuffle_vector(vector, rest, _vector(32, len(order))(order))


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    """A vector whose lanes are all `value`."""
    kind = ir.VectorType(value.type, lanes)
    return _shuffled(builder, builder.insert_element(kind(ir.Undefined), value, ir.IntType(32)(0)), [0] * lanes)


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
    """The positions of the bits of `mask`, added to `base`, into the uint32 array out[at:]; 16 are written.

    More than 16 bits: what is behind is not written. Only where COMPRESSES.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bytes64, words32 = _vector(8, 64), _vector(32, 16)
        places = [bytes64(list(range(64))), bytes64([0] * 64), builder.bitcast(args[0], _vector(1, 64))]
        found = _call(builder, "llvm.x86.avx512.mask.compress.v64i8", bytes64, places)
        wide = builder.zext(_shuffled(builder, found, list(range(16))), words32)
        start = _spread(builder, builder.trunc(args[1], ir.IntType(32)), 16)
        builder.store(
            builder.add(wide, start), _element_pointer(context, builder, signature, args, words32, 2)
        ).align = 4
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, out, types.intp), generate


@_instruction
def eight_numbers(
    _typing: Any, buffer: Any, separators: Any, at: Any, numbers: Any, limits: Any, leading: Any, out: Any, to: Any
) -> Any:  # fmt: skip
    """The eight fields behind separators[at], as decimal numbers of up to 16 digits, into out[to:]; 0 if they are."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bytes64, eight32, eight64 = _vector(8, 64), _vector(32, 8), _vector(64, 8)
        word64 = ir.IntType(64)

        def pointer(array_at: int, offset: Any, kind: Any) -> Any:
            return _element_pointer(context, builder, signature, args, kind, array_at, offset)

        def loaded(array_at: int, offset: Any, kind: Any, align: int) -> Any:
            value = builder.load(pointer(array_at, offset, kind))
            value.align = align
            return value

        def stored(value: Any, array_at: int, offset: Any) -> None:
            builder.store(value, pointer(array_at, offset, eight64)).align = 8

        def eight_digits(digits: Any) -> Any:
            pairs = [digits, bytes64([10, 1] * 32)]
            twos = _call(builder, "llvm.x86.avx512.pmaddubs.w.512", _vector(16, 32), pairs)
            weights = _vector(16, 32)([100, 1] * 16)
            fours = _call(builder, "llvm.x86.avx512.pmaddw.d.512", _vector(32, 16), [twos, weights])
            fours = builder.bitcast(fours, eight64)
            first = builder.mul(builder.and_(fours, eight64([0xFFFFFFFF] * 8)), eight64([10000] * 8))
            return builder.add(first, builder.lshr(fours, eight64([32] * 8)))

        begins = loaded(1, args[2], eight32, 4)
        ends = loaded(1, builder.add(args[2], args[2].type(1)), eight32, 4)
        origin = builder.add(builder.extract_element(begins, ir.IntType(32)(0)), ir.IntType(32)(1))
        window = loaded(0, builder.zext(origin, args[2].type), bytes64, 1)
        places = builder.sub(ends, _spread(builder, origin, 8))
        less_one = builder.sub(builder.sub(ends, begins), eight32([2] * 8))
        far = builder.icmp_unsigned(">", places, eight32([64] * 8))
        shape = builder.or_(far, builder.icmp_unsigned(">", less_one, eight32([15] * 8)))
        of_field = [4 * (byte // 8) for byte in range(64)]
        places = _shuffled(builder, builder.bitcast(places, _vector(8, 32)), of_field)
        less_one = _shuffled(builder, builder.bitcast(less_one, _vector(8, 32)), of_field)
        care = builder.bitcast(args[3], _vector(1, 64))
        parts = []
        for back in (8, 16):
            order = builder.add(places, bytes64([(byte % 8 - back) % 256 for byte in range(64)]))
            text = _call(builder, "llvm.x86.avx512.permvar.qi.512", bytes64, [window, order])
            inside = builder.icmp_unsigned(">=", less_one, bytes64([back - 1 - byte % 8 for byte in range(64)]))
            digits = builder.sub(text, bytes64([0x30] * 64))
            parts.append(builder.select(builder.and_(inside, care), digits, bytes64([0] * 64)))
        low, high = parts
        nines = bytes64([9] * 64)
        no_digit = builder.or_(builder.icmp_unsigned(">", low, nines), builder.icmp_unsigned(">", high, nines))
        high = builder.bitcast(high, eight64)
        changed = builder.icmp_unsigned("!=", high, loaded(5, args[2].type(0), eight64, 8))
        changed = builder.icmp_unsigned("!=", builder.bitcast(changed, ir.IntType(8)), ir.IntType(8)(0))
        with builder.if_then(changed, likely=False):
            worth = eight_digits(builder.bitcast(high, bytes64))
            stored(high, 5, args[2].type(0))
            stored(builder.mul(worth, eight64([100_000_000] * 8)), 5, args[2].type(8))
        value = builder.add(eight_digits(low), loaded(5, args[2].type(8), eight64, 8))
        stored(value, 6, args[7])
        above = builder.icmp_unsigned(">", value, loaded(4, args[2].type(0), eight64, 8))
        lanes = builder.icmp_unsigned("!=", builder.bitcast(args[3], _vector(8, 8)), _vector(8, 8)([0] * 8))
        strange = builder.bitcast(builder.and_(builder.or_(shape, above), lanes), ir.IntType(8))
        return builder.or_(builder.zext(strange, word64), builder.bitcast(no_digit, word64))

    return (
        types.uint64(buffer, separators, types.intp, types.uint64, limits, leading, out, types.intp),
        generate,
    )


def _transposed(builder: Any, lines: list[Any]) -> list[Any]:
    """Eight vectors of eight lanes, rows, as columns."""
    for distance in (1, 2, 4):  # what stands so many lanes from the diagonal changes sides
        changed = list(lines)
        for row in (row for row in range(8) if not row & distance):
            low, high = lines[row], lines[row + distance]
            keep = [8 + lane - distance if lane & distance else lane for lane in range(8)]
            give = [8 + lane if lane & distance else lane + distance for lane in range(8)]
            changed[row] = _shuffled(builder, low, keep, high)
            changed[row + distance] = _shuffled(builder, low, give, high)
        lines = changed
    return lines


@_instruction
def transpose8(_typing: Any, rows: Any, at: Any, columns: Any, targets: Any, to: Any) -> Any:
    """Eight rows of eight words from rows[at:] on become eight columns: columns[targets[lane], to : to + 8]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        eight64 = _vector(64, 8)
        source = _arrays.make_array(signature.args[0])(context, builder, args[0])
        target = _arrays.make_array(signature.args[2])(context, builder, args[2])
        numbers = _arrays.make_array(signature.args[3])(context, builder, args[3])
        width = _cgutils.unpack_tuple(builder, target.shape, 2)[1]
        lines = []
        for row in range(8):
            place = builder.add(args[1], args[1].type(8 * row))
            line = builder.load(builder.bitcast(builder.gep(source.data, [place]), eight64.as_pointer()))
            line.align = 8
            lines.append(line)
        lines = _transposed(builder, lines)
        for lane in range(8):
            number = builder.load(builder.gep(numbers.data, [args[1].type(lane)]))
            place = builder.add(builder.mul(width, number), args[4])
            pointer = builder.bitcast(builder.gep(target.data, [place]), eight64.as_pointer())
            builder.store(lines[lane], pointer).align = 8
        return context.get_dummy_value()

    return types.void(rows, types.intp, columns, targets, types.intp), generate


@_instruction
def eight_services(_typing: Any, parsed: Any, oriented: Any, at: Any, rows: Any) -> Any:
    """Eight records as service rows with their counters, see the twin."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        eight64 = _vector(64, 8)

        def column(array_at: int, number: int) -> Any:
            array = _arrays.make_array(signature.args[array_at])(context, builder, args[array_at])
            width = _cgutils.unpack_tuple(builder, array.shape, 2)[1]
            place = builder.add(builder.mul(width, width.type(number)), args[2])
            line = builder.load(builder.bitcast(builder.gep(array.data, [place]), eight64.as_pointer()))
            line.align = 8
            return line

        forward = column(1, O_FORWARD)
        backward = builder.xor(forward, eight64([-1] * 8))
        packets, octets = column(0, P_PACKETS), column(0, P_BYTES)
        words = [
            column(1, O_CLIENT_SERVER),
            column(1, O_META),
            builder.or_(builder.shl(column(1, O_OBSERVER), eight64([40] * 8)), eight64([1] * 8)),
            builder.and_(packets, forward),
            builder.and_(octets, forward),
            builder.and_(packets, backward),
            builder.and_(octets, backward),
            builder.or_(builder.shl(column(0, P_FIRST), eight64([32] * 8)), column(0, P_LAST)),
        ]
        for row, line in enumerate(_transposed(builder, words)):
            number = builder.add(args[2], args[2].type(row))
            builder.store(line, _row_pointer(context, builder, signature, args, 3, number)).align = 8
        return context.get_dummy_value()

    return types.void(parsed, oriented, types.intp, rows), generate


def _row_pointer(context: Any, builder: Any, signature: Any, args: Any, array_at: int, number: Any) -> Any:
    """Where row `number` of the array args[array_at] of eight words a row is."""
    array = _arrays.make_array(signature.args[array_at])(context, builder, args[array_at])
    place = builder.mul(number, number.type(8))
    return builder.bitcast(builder.gep(array.data, [place]), _vector(64, 8).as_pointer())


def _two_rows(context: Any, builder: Any, signature: Any, args: Any) -> tuple[Any, Any]:
    """The rows that two arguments each, an array of eight words a row and a number, tell."""
    pointers = [_row_pointer(context, builder, signature, args, at, args[at + 1]) for at in (0, 2)]
    rows = [builder.load(pointer) for pointer in pointers]
    for row in rows:
        row.align = 8
    return rows[0], rows[1]


@_instruction
def same_key(_typing: Any, rows: Any, number: Any, others: Any, other: Any, bits1: Any, bits2: Any) -> Any:
    """Whether two rows agree in word 0, in `bits1` of word 1 and in `bits2` of word 2."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, more = _two_rows(context, builder, signature, args)
        care = row.type([0] * 8)
        for lane, bits in enumerate((args[4].type(-1), args[4], args[5])):
            care = builder.insert_element(care, bits, ir.IntType(32)(lane))
        differ = builder.icmp_unsigned("!=", builder.and_(builder.xor(row, more), care), row.type([0] * 8))
        return builder.icmp_unsigned("==", builder.bitcast(differ, ir.IntType(8)), ir.IntType(8)(0))

    return types.boolean(rows, types.intp, others, types.intp, types.uint64, types.uint64), generate


@_instruction
def sum_rows(_typing: Any, rows: Any, number: Any, others: Any, other: Any, joined: Any, added: Any) -> Any:
    """Add one row of eight words to another, see the twin."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, more = _two_rows(context, builder, signature, args)
        halves = _vector(32, 16)
        ones = [0, 0, 0, -1, -1, -1, -1, 0]
        care = row.type(ones)
        for lane, bits in ((1, args[4]), (2, args[5])):
            care = builder.insert_element(care, bits, ir.IntType(32)(lane))
        part = builder.and_(more, care)
        lanes = _vector(1, 8)
        total = builder.select(
            lanes([lane in range(2, 7) for lane in range(8)]), builder.add(row, part), builder.or_(row, part)
        )
        one, two = builder.bitcast(row, halves), builder.bitcast(more, halves)
        less = builder.icmp_unsigned("<", one, two)
        first = builder.xor(less, _vector(1, 16)([lane == 14 for lane in range(16)]))  # the larger one, in lane 14
        times = builder.bitcast(builder.select(first, one, two), row.type)
        total = builder.select(lanes([lane == 7 for lane in range(8)]), times, total)
        builder.store(total, _row_pointer(context, builder, signature, args, 0, args[1])).align = 8
        return context.get_dummy_value()

    return types.void(rows, types.intp, others, types.intp, types.uint64, types.uint64), generate


@_instruction
def open_or_tagged(_typing: Any, index: Any, at: Any, tag: Any, most: Any) -> Any:
    """Which of the 16 slots index[at:] are 0 or differ from `tag` in bits of `most` alone, as bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        slots = builder.load(_element_pointer(context, builder, signature, args, _vector(32, 16)))
        slots.align = 4
        tags, ones = (_spread(builder, builder.trunc(arg, ir.IntType(32)), 16) for arg in args[2:])
        tagged = builder.icmp_unsigned("<=", builder.xor(slots, tags), ones)
        either = builder.or_(tagged, builder.icmp_unsigned("==", slots, slots.type([0] * 16)))
        return builder.zext(builder.bitcast(either, ir.IntType(16)), ir.IntType(64))

    return types.uint64(index, types.intp, types.uint64, types.uint64), generate


@_instruction
def mark_places(_typing: Any, buffer: Any, at: Any, length: Any) -> Any:
    """Where dots and blanks are in `length` bytes, one byte for each, and `length` behind them; how many that are."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bytes32, word32, word64 = _vector(8, 32), ir.IntType(32), ir.IntType(64)
        window = builder.load(_element_pointer(context, builder, signature, args, bytes32))
        window.align = 1
        end = builder.shl(word64(1), builder.and_(args[2], word64(31)))
        marks = builder.or_(_equal_mask(builder, window, 32, 0x2E), _equal_mask(builder, window, 32, 0x20))
        marks = builder.and_(builder.zext(marks, word64), builder.sub(end, word64(1)))
        marks = builder.or_(marks, end)
        bits = builder.bitcast(builder.trunc(marks, word32), _vector(1, 32))
        places = [bytes32(list(range(32))), bytes32([0] * 32), bits]
        found = _call(builder, "llvm.x86.avx512.mask.compress.v32i8", bytes32, places)
        packed = builder.bitcast(_shuffled(builder, found, list(range(8))), word64)
        return context.make_tuple(builder, signature.return_type, [packed, builder.ctpop(marks)])

    return _numba.types.UniTuple(types.uint64, 2)(buffer, types.intp, types.uint64), generate


@_instruction
def quad_pairs(_typing: Any, buffer: Any, at: Any, other_at: Any, ends: Any, other_ends: Any) -> Any:
    """Two pairs of dotted quads, see the twin."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bytes64, bytes32, bytes16 = _vector(8, 64), _vector(8, 32), _vector(8, 16)
        words16, two64 = _vector(32, 16), _vector(64, 2)
        word32, word64 = ir.IntType(32), ir.IntType(64)

        def window(offset: Any) -> Any:
            value = builder.load(_element_pointer(context, builder, signature, args, bytes32, 0, offset))
            value.align = 1
            return value

        text = _shuffled(builder, window(args[1]), list(range(64)), window(args[2]))
        packed = builder.insert_element(two64(ir.Undefined), args[3], word32(0))
        packed = builder.insert_element(packed, args[4], word32(1))
        begins = builder.add(builder.shl(packed, two64([8] * 2)), two64([0x0101010101010100] * 2))
        sizes = builder.zext(builder.bitcast(builder.sub(packed, begins), bytes16), words16)
        shift = builder.and_(builder.sub(words16([32] * 16), builder.shl(sizes, words16([3] * 16))), words16([31] * 16))
        order = _shuffled(builder, builder.bitcast(packed, bytes16), [byte // 4 for byte in range(64)])
        order = builder.add(order, bytes64([(byte % 4 - 4 + byte // 32 * 32) % 256 for byte in range(64)]))
        text = _call(builder, "llvm.x86.avx512.permvar.qi.512", bytes64, [text, order])
        keep = builder.bitcast(builder.shl(words16([0xFFFFFFFF] * 16), shift), bytes64)
        digits = builder.and_(builder.xor(text, bytes64([0x30] * 64)), keep)
        no_digit = builder.bitcast(builder.icmp_unsigned(">", digits, bytes64([9] * 64)), word64)
        top = builder.and_(builder.lshr(builder.bitcast(digits, words16), shift), words16([255] * 16))
        leading = builder.and_(
            builder.icmp_unsigned("==", top, words16([0] * 16)), builder.icmp_unsigned("!=", sizes, words16([1] * 16))
        )
        weights = [digits, bytes64([0, 100, 10, 1] * 16)]
        halves = _call(builder, "llvm.x86.avx512.pmaddubs.w.512", _vector(16, 32), weights)
        octets = _call(builder, "llvm.x86.avx512.pmaddw.d.512", words16, [halves, _vector(16, 32)([1] * 32)])
        above = builder.icmp_unsigned(">", octets, words16([255] * 16))
        strange = builder.zext(builder.bitcast(builder.or_(leading, above), ir.IntType(16)), word64)
        reversed_bytes = _shuffled(builder, builder.trunc(octets, bytes16), [byte ^ 7 for byte in range(16)])
        values = builder.bitcast(reversed_bytes, two64)
        results = [builder.extract_element(values, word32(half)) for half in (0, 1)]
        results += [
            builder.or_(builder.trunc(no_digit, word32), builder.and_(builder.trunc(strange, word32), word32(255))),
            builder.or_(
                builder.trunc(builder.lshr(no_digit, word64(32)), word32),
                builder.trunc(builder.lshr(strange, word64(8)), word32),
            ),
        ]
        results = [value if value.type == word64 else builder.zext(value, word64) for value in results]
        return context.make_tuple(builder, signature.return_type, results)

    four = _numba.types.UniTuple(types.uint64, 4)
    return four(buffer, types.intp, types.intp, types.uint64, types.uint64), generate


@_instruction
def read_at(_typing: Any, descriptor: Any, buffer: Any, at: Any, count: Any, offset: Any) -> Any:
    """Bytes of a file into buffer[at:], by pread(2) of the C library, whose `off_t` has 64 bits here."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word64, number = ir.IntType(64), builder.trunc(args[0], ir.IntType(32))
        place = _element_pointer(context, builder, signature, args, ir.IntType(8), 1)
        return _call(builder, "pread", word64, [number, place, args[3], args[4]])

    return types.int64(types.int64, buffer, types.intp, types.int64, types.int64), generate


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
