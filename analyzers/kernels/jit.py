"""The one module that decides how kernels are compiled, where they are cached, and what stands in without the JIT.

With NUMBA_DISABLE_JIT=1 every kernel runs as plain Python: slow, but the same answers (the tests use it as a twin).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

F = TypeVar("F", bound=Callable[..., Any])

_numba, _arrays, _cgutils = cast(tuple[Any, Any, Any], (numba, arrayobj, cgutils))  # partly typed, partly not

JIT = not _numba.config.DISABLE_JIT


def _host_features() -> frozenset[str]:
    """The extensions that compiled code may use; none where the user has chosen a processor to compile for."""
    chosen = _numba.config.CPU_NAME not in (None, "host") or _numba.config.CPU_FEATURES is not None
    if not JIT or chosen:
        return frozenset()
    return frozenset(name for name, there in binding.get_host_cpu_features().items() if there)


_FEATURES = _host_features()

# instructions that LLVM has no portable name for
SHUFFLES = "ssse3" in _FEATURES
COMPRESSES = "avx512vbmi2" in _FEATURES

if COMPRESSES:  # processors that have it no longer slow down when they use vectors of 512 bits
    _numba.config.CPU_FEATURES = binding.get_host_cpu_features().flatten() + ",-prefer-256-bit"


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _sources_digest() -> str:
    """Digest of all kernels' sources: numba looks only at the file of the outermost kernel, not at those it calls."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_directory() -> Path | None:
    """Where compiled kernels are kept: FLOWCTL_CACHE_DIR, NUMBA_CACHE_DIR, the user's cache; None: nowhere writable."""
    configured = os.environ.get("FLOWCTL_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    try:
        base = Path(configured) if configured else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home directory
        return None
    chosen = base / "flowctl" / _sources_digest()
    return chosen if _writable(chosen) else None


CACHE_DIRECTORY = _cache_directory()
if CACHE_DIRECTORY is not None:
    _numba.config.CACHE_DIR = str(CACHE_DIRECTORY)


def compiled_before() -> bool:
    """Whether a cache of compiled kernels is there; when not, the first call of a kernel takes seconds."""
    return CACHE_DIRECTORY is not None and any(CACHE_DIRECTORY.glob("*/*.nbi"))


def kernel(function: F) -> F:
    """Compile for arrays without the GIL, cached on disk where a cache directory can be written.

    Bounds are not checked, and arrays are not reference-counted inside (a kernel allocates nothing and its caller
    holds its arguments): counting costs two atomic operations per array and call. Every kernel states what its
    caller guarantees.
    """
    return cast(F, _numba.njit(nogil=True, _nrt=False, cache=CACHE_DIRECTORY is not None)(function))


def inlined(function: F) -> F:
    """A kernel that is always inlined into the kernels that call it: for small ones that run per record."""
    options = {"nogil": True, "_nrt": False, "forceinline": True, "cache": CACHE_DIRECTORY is not None}
    return cast(F, _numba.njit(**options)(function))


def _inline_ir(definition: Callable[..., Any]) -> Callable[..., Any]:
    """An intrinsic: `definition(typing context, arguments...)` gives its signature and writes its LLVM IR."""
    return cast(Callable[..., Any], intrinsic(definition))


def _element_pointer(context: Any, builder: Any, signature: Any, args: Any, element: Any, array_at: int = 0) -> Any:
    array = _arrays.make_array(signature.args[array_at])(context, builder, args[array_at])
    return builder.bitcast(builder.gep(array.data, [args[array_at + 1]]), element.as_pointer())


if JIT:

    @_inline_ir
    def load64(_typing: Any, buffer: Any, at: Any) -> Any:
        """Eight bytes at any offset as a little-endian uint64."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            load = builder.load(_element_pointer(context, builder, signature, args, ir.IntType(64)))
            load.align = 1
            return load

        return types.uint64(buffer, types.intp), generate

    @_inline_ir
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

        return _inline_ir(define)

    blank_mask64 = _byte_mask(64, 0x20)
    newline_mask64 = _byte_mask(64, 0x0A)
    dot_mask16 = _byte_mask(16, 0x2E)
    zero_mask16 = _byte_mask(16, 0x30)

    @_inline_ir
    def digit_mask16(_typing: Any, buffer: Any, at: Any) -> Any:
        """Which of 16 bytes are decimal digits."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lane = ir.VectorType(ir.IntType(8), 16)
            vector = builder.load(_element_pointer(context, builder, signature, args, lane))
            vector.align = 1
            bits = builder.icmp_unsigned("<", builder.sub(vector, lane([0x30] * 16)), lane([10] * 16))
            return builder.zext(builder.bitcast(bits, ir.IntType(16)), ir.IntType(64))

        return types.uint64(buffer, types.intp), generate

    @_inline_ir
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

    @_inline_ir
    def store_positions(_typing: Any, mask: Any, base: Any, out: Any, at: Any) -> Any:
        """The positions of the bits of `mask`, added to `base`, into the uint32 array out[at:]; 32 are written.

        More than 32 bits: what is behind is not written. Only where COMPRESSES.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            bytes64, bits64 = ir.VectorType(ir.IntType(8), 64), ir.VectorType(ir.IntType(1), 64)
            words32 = ir.VectorType(ir.IntType(32), 32)
            kind = ir.FunctionType(bytes64, [bytes64, bytes64, bits64])
            compress = _cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.mask.compress.v64i8")
            found = builder.call(
                compress, [bytes64(list(range(64))), bytes64([0] * 64), builder.bitcast(args[0], bits64)]
            )
            first = builder.shuffle_vector(found, bytes64([0] * 64), words32(list(range(32))))
            wide = builder.zext(first, words32)
            start = builder.insert_element(
                words32(ir.Undefined), builder.trunc(args[1], ir.IntType(32)), ir.IntType(32)(0)
            )
            spread = builder.shuffle_vector(start, words32(ir.Undefined), words32([0] * 32))
            store = builder.store(
                builder.add(wide, spread), _element_pointer(context, builder, signature, args, words32, 2)
            )
            store.align = 4
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64, out, types.intp), generate

    @_inline_ir
    def trailing_zeros(_typing: Any, value: Any) -> Any:
        """Position of the lowest set bit of a uint64; 64 when there is none."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

        return types.uint64(types.uint64), generate

    @_inline_ir
    def bit_count(_typing: Any, value: Any) -> Any:
        """How many bits of a uint64 are set."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.ctpop(args[0])

        return types.uint64(types.uint64), generate

    @_inline_ir
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

else:

    def load64(buffer: Any, at: int) -> Any:
        return np.uint64(int.from_bytes(buffer[at : at + 8].tobytes(), "little"))

    def load32(buffer: Any, at: int) -> Any:
        return np.uint64(int.from_bytes(buffer[at : at + 4].tobytes(), "little"))

    def _python_mask(width: int, byte: int) -> Callable[[Any, int], Any]:
        def mask(buffer: Any, at: int) -> Any:
            bits = np.packbits(buffer[at : at + width] == byte, bitorder="little")
            return np.uint64(int.from_bytes(bits.tobytes(), "little"))

        return mask

    blank_mask64 = _python_mask(64, 0x20)
    newline_mask64 = _python_mask(64, 0x0A)
    dot_mask16 = _python_mask(16, 0x2E)
    zero_mask16 = _python_mask(16, 0x30)

    def digit_mask16(buffer: Any, at: int) -> Any:
        bits = np.packbits((buffer[at : at + 16] - np.uint8(0x30)) < 10, bitorder="little")
        return np.uint64(int.from_bytes(bits.tobytes(), "little"))

    def shuffled_pair(buffer: Any, at: int, patterns: Any, row: int) -> tuple[Any, Any]:
        order = patterns[row].astype(np.intp)
        picked = np.where(order < 16, buffer[at : at + 16][order & 15], 0).astype(np.uint8).view(np.uint64)
        return picked[0], picked[1]

    def store_positions(mask: Any, base: Any, out: Any, at: Any) -> None:
        for lane, position in enumerate(bit for bit in range(64) if int(mask) >> bit & 1):
            out[int(at) + lane] = int(base) + position

    def trailing_zeros(value: Any) -> Any:
        bits = int(value)
        return np.uint64((bits & -bits).bit_length() - 1 if bits else 64)

    def bit_count(value: Any) -> Any:
        return np.uint64(int(value).bit_count())

    def prefetch(_buffer: Any, _at: int) -> None:
        return None
