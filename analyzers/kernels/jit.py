"""The one module that says what a kernel is: compiled code, kept on disk, or plain Python without the JIT.

With NUMBA_DISABLE_JIT=1 every kernel runs as plain Python: slow, but the same answers (the tests use it as a twin).
With it, a kernel runs as machine code (analyzers.kernels.machine_code), made on its first call with arguments of new
types (analyzers.kernels.compiling) and loaded ever after; numba itself is imported only to compile.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from analyzers.kernels.machine_code import Held, MachineCode, one_by_one, take_apart
from analyzers.kernels.processor import Processor, release_of, this_processor
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

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound=tuple[Any, ...])

JIT = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def _base_directory() -> Path | None:
    """Where compiled kernels are kept: FLOWCTL_CACHE_DIR, NUMBA_CACHE_DIR, the user's cache; None: nowhere writable."""
    configured = os.environ.get("FLOWCTL_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    try:
        base = Path(configured) if configured else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return _writable(base / "flowctl")
    except (RuntimeError, OSError):  # no home directory, no place there
        return None


def _writable(directory: Path) -> Path | None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory if os.access(directory, os.W_OK | os.X_OK) else None


_BASE_DIRECTORY = _base_directory() if JIT else None
_PROCESSOR = this_processor(_BASE_DIRECTORY) if JIT else Processor("", ())
_CHOSEN = os.environ.get("NUMBA_CPU_NAME", "host") != "host" or "NUMBA_CPU_FEATURES" in os.environ

# The extensions that compiled code may use, whose instructions LLVM has no portable name for: none where the user has
# chosen a processor to compile for.
_FEATURES = frozenset(() if _CHOSEN else _PROCESSOR.features)
SHUFFLES = "ssse3" in _FEATURES
COMPRESSES = "avx512vbmi2" in _FEATURES
PERMUTES = {"avx512vbmi2", "avx512vbmi", "avx512vl", "avx512bw", "avx512dq"} <= _FEATURES


def _sources_digest() -> str:
    """Digest of whatever compiled code depends on: all kernels' sources, the compiler, the processor, its options."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    digest.update(release_of("numba") + release_of("llvmlite") + repr(_PROCESSOR).encode())
    digest.update(repr(sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))).encode())
    return digest.hexdigest()[:16]


def _cache_directory() -> Path | None:
    try:
        return None if _BASE_DIRECTORY is None else _writable(_BASE_DIRECTORY / _sources_digest())
    except OSError:
        return None


CACHE_DIRECTORY = _cache_directory()


def compiled_before() -> bool:
    """Whether a cache of compiled kernels is there; when not, the first call of a kernel takes seconds."""
    return CACHE_DIRECTORY is not None and any(CACHE_DIRECTORY.glob("*.kernel"))


_loading = threading.RLock()


class Kernel:
    """A function and its machine code, one for each combination of argument types that it was called with."""

    def __init__(self, function: Callable[..., Any], *, forced_inline: bool = False) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.forced_inline = forced_inline
        self._code: dict[tuple[Any, ...], MachineCode] = {}

    def __call__(self, *arguments: Any) -> Any:
        kinds: list[Any] = []
        words = array("q")
        take_apart(arguments, kinds, words)
        key = tuple(kinds)
        code = self._code.get(key)
        if code is None:
            with _loading:
                code = self._code[key] = self._code.get(key) or self._load(key, arguments)
        return code(words)

    def _load(self, key: tuple[Any, ...], arguments: tuple[Any, ...]) -> MachineCode:
        path = None if CACHE_DIRECTORY is None else CACHE_DIRECTORY / self._file_name(one_by_one(key))
        code = None if path is None else MachineCode.read(path)
        if code is None:
            from analyzers.kernels.compiling import compiled

            code = compiled(self, tuple(one.value if isinstance(one, Held) else one for one in arguments))
            if path is not None:
                code.write(path)
        return code

    def _file_name(self, key: tuple[Any, ...]) -> str:
        source = Path(self.function.__code__.co_filename)
        own = b"" if source.parent == Path(__file__).parent else source.read_bytes()
        digest = hashlib.sha256(repr(key).encode() + own).hexdigest()[:16]
        return f"{self.function.__module__}.{self.function.__qualname__}-{digest}.kernel"

    @property
    def _numba_type_(self) -> Any:
        """What numba takes it for where another kernel calls it."""
        from analyzers.kernels.compiling import type_of

        return type_of(self)


def held(arguments: A) -> A:
    """A tuple for kernels, and for nothing else, to be given again and again: taking it apart once saves time."""
    return cast(A, Held(arguments)) if JIT else arguments


class Instruction:
    """What is one instruction, or few, inside of kernels: see analyzers.kernels.instructions."""

    def __init__(self, twin: Callable[..., Any]) -> None:
        self.name = twin.__name__
        self.__doc__ = twin.__doc__

    @property
    def _numba_type_(self) -> Any:
        from analyzers.kernels.compiling import type_of

        return type_of(self)


def kernel(function: F) -> F:
    """Compile for arrays without the GIL, cached on disk where a cache directory can be written.

    Bounds are not checked, and arrays are not reference-counted inside (a kernel allocates nothing and its caller
    holds its arguments): counting costs two atomic operations per array and call. Every kernel states what its
    caller guarantees.
    """
    return cast(F, Kernel(function)) if JIT else function


def inlined(function: F) -> F:
    """A kernel that is always inlined into the kernels that call it: for small ones that run per record."""
    return cast(F, Kernel(function, forced_inline=True)) if JIT else function


def _instruction(twin: F) -> F:
    """In kernels, what analyzers.kernels.instructions has by that name; without the JIT, `twin` itself."""
    return cast(F, Instruction(twin)) if JIT else twin


@_instruction
def load64(buffer: Any, at: Any) -> Any:
    """Eight bytes at any offset as a little-endian uint64."""
    return np.uint64(int.from_bytes(buffer[at : at + 8].tobytes(), "little"))


@_instruction
def load32(buffer: Any, at: Any) -> Any:
    """Four bytes at any offset as a little-endian uint32, widened to uint64."""
    return np.uint64(int.from_bytes(buffer[at : at + 4].tobytes(), "little"))


def _mask_of(width: int, byte: int, name: str) -> Callable[[Any, Any], Any]:
    def mask(buffer: Any, at: Any) -> Any:
        bits = np.packbits(buffer[at : at + width] == byte, bitorder="little")
        return np.uint64(int.from_bytes(bits.tobytes(), "little"))

    mask.__name__ = name
    return _instruction(mask)


blank_mask64 = _mask_of(64, 0x20, "blank_mask64")
newline_mask64 = _mask_of(64, 0x0A, "newline_mask64")
dot_mask16 = _mask_of(16, 0x2E, "dot_mask16")
zero_mask16 = _mask_of(16, 0x30, "zero_mask16")


@_instruction
def digit_mask16(buffer: Any, at: Any) -> Any:
    """Which of 16 bytes are decimal digits."""
    bits = np.packbits((buffer[at : at + 16] - np.uint8(0x30)) < 10, bitorder="little")
    return np.uint64(int.from_bytes(bits.tobytes(), "little"))


@_instruction
def shuffled_pair(buffer: Any, at: Any, patterns: Any, row: Any) -> tuple[Any, Any]:
    """The 16 bytes at `at` in the order of patterns[row] (uint8[n, 16], 128: a zero byte), as two uint64."""
    order = patterns[row].astype(np.intp)
    picked = np.where(order < 16, buffer[at : at + 16][order & 15], 0).astype(np.uint8).view(np.uint64)
    return picked[0], picked[1]


@_instruction
def store_positions(mask: Any, base: Any, out: Any, at: Any) -> None:
    """The positions of the bits of `mask`, added to `base`, into the uint32 array out[at:]; 16 are written.

    More than 16 bits: what is behind is not written. Only where COMPRESSES.
    """
    for lane, position in enumerate(bit for bit in range(64) if int(mask) >> bit & 1):
        out[int(at) + lane] = int(base) + position


@_instruction
def eight_numbers(
    buffer: Any, separators: Any, at: Any, numbers: Any, limits: Any, _leading: Any, out: Any, to: Any
) -> Any:  # fmt: skip
    """The eight fields behind separators[at], as decimal numbers of up to 16 digits, into out[to:]; 0 if they are.

    `numbers`: eight bits for each field, set for those that are asked for; the others may be anything. Not 0: one that
    is asked for is no number, is above its limit (uint64[8]), or ends more than 64 bytes behind separators[at].
    `_leading` uint64[16], zeros at first, is kept from call to call: the digits that precede the last eight of each
    field, which are the same from row to row as a rule, and what they are worth. 64 bytes are read. Only where
    PERMUTES.
    """
    start = int(separators[int(at)]) + 1
    strange = 0
    for lane in range(8):
        begin, end = int(separators[int(at) + lane]) + 1, int(separators[int(at) + lane + 1])
        text = buffer[begin:end].tobytes()
        out[int(to) + lane] = 0
        if not int(numbers) >> 8 * lane & 1:
            continue
        if not text.isdigit() or len(text) > 16 or end - start > 64 or int(text) > limits[lane]:
            strange |= 1 << lane
            continue
        out[int(to) + lane] = int(text)
    return np.uint64(strange)


@_instruction
def transpose8(rows: Any, at: Any, columns: Any, targets: Any, to: Any) -> None:
    """Eight rows of eight words from rows[at:] on become eight columns: columns[targets[lane], to : to + 8]."""
    for lane in range(8):
        columns[targets[lane], int(to) : int(to) + 8] = rows[int(at) + lane : int(at) + 64 : 8]


@_instruction
def eight_services(parsed: Any, oriented: Any, at: Any, rows: Any) -> None:
    """The records parsed[:, at : at + 8] and what `oriented` has of them as service rows, rows[at : at + 8]; what is
    there may be no record: the row is then of no use."""
    some = slice(int(at), int(at) + 8)
    forward = oriented[O_FORWARD, some]
    rows[some, 0] = oriented[O_CLIENT_SERVER, some]
    rows[some, 1] = oriented[O_META, some]
    rows[some, 2] = oriented[O_OBSERVER, some] << np.uint64(40) | np.uint64(1)
    for word, counter in ((3, P_PACKETS), (4, P_BYTES)):
        rows[some, word] = parsed[counter, some] & forward
        rows[some, word + 2] = parsed[counter, some] & ~forward
    rows[some, 7] = parsed[P_FIRST, some] << np.uint64(32) | parsed[P_LAST, some]


@_instruction
def same_key(rows: Any, number: Any, others: Any, other: Any, bits1: Any, bits2: Any) -> Any:
    """Whether rows[number] and others[other] agree in word 0, in `bits1` of word 1 and in `bits2` of word 2.

    Rows of eight words, one behind the other.
    """
    differ = rows[int(number)] ^ others[int(other)]
    return differ[0] == 0 and differ[1] & bits1 == 0 and differ[2] & bits2 == 0


@_instruction
def sum_rows(rows: Any, number: Any, others: Any, other: Any, joined: Any, added: Any) -> None:
    """Add others[other] to rows[number]: `joined` of word 1 by or, `added` of word 2 and the words 3 to 6 as numbers;
    of the upper halves of word 7 the smaller one stays, of the lower halves the larger one.

    Rows of eight words, one behind the other.
    """
    row, more = rows[int(number)], others[int(other)]
    upper, lower = np.uint64(32), np.uint64(0xFFFF_FFFF)
    row[1] |= more[1] & joined
    row[2] += more[2] & added
    row[3:7] += more[3:7]
    row[7] = min(row[7] >> upper, more[7] >> upper) << upper | max(row[7] & lower, more[7] & lower)


@_instruction
def open_or_tagged(index: Any, at: Any, tag: Any, most: Any) -> Any:
    """Which of the 16 slots index[at:] (uint32) are 0, or differ from `tag` by no more than `most`, all ones, in the
    bits that they differ in; as a word's bits."""
    slots = index[int(at) : int(at) + 16]
    bits = np.packbits((slots == 0) | ((slots ^ np.uint32(tag)) <= np.uint32(most)), bitorder="little")
    return np.uint64(int.from_bytes(bits.tobytes(), "little"))


@_instruction
def mark_places(buffer: Any, at: Any, length: Any) -> tuple[Any, Any]:
    """Where the first eight dots, blanks and the end of the `length` (less than 32) bytes from `at` on are, a byte for
    each, the first one lowest; how many there are. 32 bytes are read. Only where PERMUTES."""
    text = buffer[int(at) : int(at) + int(length)].tobytes()
    places = [place for place, character in enumerate(text) if character in b". "] + [int(length)]
    return np.uint64(int.from_bytes(bytes(places[:8]).ljust(8, b"\0"), "little")), np.uint64(len(places))


@_instruction
def quad_pairs(buffer: Any, at: Any, other_at: Any, ends: Any, other_ends: Any) -> tuple[Any, Any, Any, Any]:
    """Two times two dotted quads, (first << 32 | second, likewise of the others, 0, 0), whose octets end at the
    places that `mark_places` tells, one to three characters each: another word is not 0 where its pair is anything
    else. 32 bytes are read for each. Only where PERMUTES.
    """
    values, strange = [], []
    for start, packed in ((int(at), ends), (int(other_at), other_ends)):
        value = wrong = begin = 0
        for end in int(packed).to_bytes(8, "little"):
            octet = buffer[start + begin : start + end].tobytes()
            good = octet.isdigit() and octet == b"%d" % int(octet) and int(octet) < 256
            value = value << 8 | (int(octet) if good else 0)
            wrong |= not good
            begin = end + 1
        values.append(np.uint64(value))
        strange.append(np.uint64(wrong))
    return values[0], values[1], strange[0], strange[1]


@_instruction
def read_at(descriptor: Any, buffer: Any, at: Any, count: Any, offset: Any) -> Any:
    """Up to `count` bytes of the open file from `offset` on into buffer[at:] (uint8); how many, 0 at its end, -1 when
    the system refuses."""
    try:
        data = os.pread(int(descriptor), int(count), int(offset))
    except OSError:
        return np.int64(-1)
    buffer[int(at) : int(at) + len(data)] = np.frombuffer(data, np.uint8)
    return np.int64(len(data))


@_instruction
def trailing_zeros(value: Any) -> Any:
    """Position of the lowest set bit of a uint64; 64 when there is none."""
    bits = int(value)
    return np.uint64((bits & -bits).bit_length() - 1 if bits else 64)


@_instruction
def bit_count(value: Any) -> Any:
    """How many bits of a uint64 are set."""
    return np.uint64(int(value).bit_count())


@_instruction
def prefetch(_buffer: Any, _at: Any) -> None:
    """Ask for the cache line of a one-dimensional array's element; no effect on the result."""
    return
