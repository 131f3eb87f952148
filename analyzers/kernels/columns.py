"""One field of many rows at a time: text to numbers, in loops that the compiler turns into vector code.

Each function takes `bases` uint32[n], the index in `separators` of the separator before each row, and the number of the
field in its row; it ORs into `wrong` uint64[n] a bit that says that the row has another shape there. That does not mean
that anything is the matter with it: the careful parser decides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.addresses import ipv4
from analyzers.kernels.jit import (
    SHUFFLES,
    digit_mask16,
    dot_mask16,
    eight_numbers,
    inlined,
    kernel,
    load64,
    mark_places,
    quad_pairs,
    shuffled_pair,
    transpose8,
    zero_mask16,
)

U0 = np.uint64(0)
U1 = np.uint64(1)
U3 = np.uint64(3)
U5 = np.uint64(5)
U7 = np.uint64(7)
U8 = np.uint64(8)
U15 = np.uint64(15)
U16 = np.uint64(16)
U24 = np.uint64(24)
U32 = np.uint64(32)
U56 = np.uint64(56)
U63 = np.uint64(63)
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
ZEROS = np.uint64(0x3030_3030_3030_3030)
NINES = np.uint64(0x7676_7676_7676_7676)
TOPS = np.uint64(0x8080_8080_8080_8080)
PAIRS = np.uint64(2561)
PAIR_MASK = np.uint64(0x00FF_00FF_00FF_00FF)
QUADS = np.uint64(6553601)
QUAD_MASK = np.uint64(0x0000_FFFF_0000_FFFF)
OCTS = np.uint64(42949672960001)
LOW32 = np.uint64(0xFFFF_FFFF)
TEN = np.uint64(10)
HUNDRED = np.uint64(100)
TEN8 = np.uint64(100_000_000)
DASH = np.uint64(45)
DIGITS4 = np.uint64(0x0F_0000_000F)
NOT_BYTES = np.uint64(0xFFFF_FF00_FFFF_FF00)
BYTE = np.uint64(0xFF)
BEHIND = np.uint64(0x0101_0101_0101_0100)
EIGHT_ONES = np.uint64(0x0101_0101_0101_0101)
NOT_1_TO_3 = np.uint64(0xFCFC_FCFC_FCFC_FCFC)
MAPPED = np.uint64(0xFFFF_0000_0000)
SIX_BYTES = np.uint64(0xFFFF_FFFF_FFFF)
ACCEPT6 = np.uint64(int.from_bytes(b"ACCEPT", "little"))
REJECT6 = np.uint64(int.from_bytes(b"REJECT", "little"))
ACCEPT_O = np.uint64(int.from_bytes(b"ACCEPT O", "little"))
REJECT_O = np.uint64(int.from_bytes(b"REJECT O", "little"))
LETTER_K = np.uint64(ord("K"))
TWO_BYTES = np.uint64(0xFFFF)
OK2 = np.uint64(int.from_bytes(b"OK", "little"))


@kernel
def number_column(
    buffer: Any, separators: Any, bases: Any, n: Any, field: Any, limit: Any, words: Any, lengths: Any, out: Any,
    wrong: Any,
) -> None:  # fmt: skip
    """Decimal fields of up to 16 digits, at most `limit`, into out[:n]. `words`, `lengths` uint64[n] are scratch."""
    longest = U0
    for row in range(n):
        at = bases[row] + field
        end = np.uint64(separators[at + U1])
        length = end - np.uint64(separators[at]) - U1
        words[row] = load64(buffer, end - U8)
        lengths[row] = length
        longest = max(longest, length)
    for row in range(n):
        length = min(lengths[row], U8)
        value = (words[row] ^ ZEROS) & (ONES << (((U8 - length) & U7) << U3))
        strange = ((value + NINES) | value) & TOPS
        strange |= U1 if lengths[row] - U1 > U15 else U0
        value = eight_digits(value)
        out[row] = value
        wrong[row] |= strange | (U1 if value > limit else U0)
    if longest <= U8:
        return
    for row in range(n):
        words[row] = load64(buffer, np.uint64(separators[bases[row] + field + U1]) - U16)
    for row in range(n):
        length = min(max(lengths[row], U8) - U8, U8)
        keep = (ONES << (((U8 - length) & U7) << U3)) if length != U0 else U0
        value = (words[row] ^ ZEROS) & keep
        strange = ((value + NINES) | value) & TOPS
        value = out[row] + eight_digits(value) * TEN8
        out[row] = value
        wrong[row] |= strange | (U1 if value > limit else U0)


RUN_FIELDS = 8
"""Neighbouring fields that are read at once, see `number_run`."""

RUN_ROWS = 64


class Run(NamedTuple):
    """Which of RUN_FIELDS neighbouring fields are number columns, and the working memory of `number_run`."""

    first: NDArray[np.uint64]  # [1] the first field
    numbers: NDArray[np.uint64]  # [1] eight bits for each field, set where it is a number
    targets: NDArray[np.int64]  # [RUN_FIELDS] the row of the result that each goes to
    limits: NDArray[np.uint64]  # [RUN_FIELDS] the largest number that is possible
    rows: NDArray[np.uint64]  # [RUN_ROWS * RUN_FIELDS]
    leading: NDArray[np.uint64]  # [2 * RUN_FIELDS] see `eight_numbers`


def new_run() -> Run:
    """Working memory for one thread."""
    return Run(
        first=np.zeros(1, np.uint64),
        numbers=np.zeros(1, np.uint64),
        targets=np.zeros(RUN_FIELDS, np.int64),
        limits=np.zeros(RUN_FIELDS, np.uint64),
        rows=np.zeros(RUN_ROWS * RUN_FIELDS, np.uint64),
        leading=np.zeros(2 * RUN_FIELDS, np.uint64),
    )


@kernel
def number_run(buffer: Any, separators: Any, bases: Any, n: Any, run: Any, out: Any, wrong: Any) -> None:
    """Decimal fields of up to 16 digits, eight neighbours at once, into out[run.targets, :n]; only where PERMUTES.

    What is behind out[:, n] may be overwritten, up to the next multiple of eight.
    """
    first = run.first[0]
    numbers = run.numbers[0]
    for start in range(0, n, RUN_ROWS):
        rows = min(RUN_ROWS, n - start)
        for row in range(rows):
            wrong[start + row] |= eight_numbers(
                buffer, separators, bases[start + row] + first, numbers, run.limits, run.leading, run.rows,
                np.uint64(row * RUN_FIELDS),
            )  # fmt: skip
        for row in range(0, rows, 8):
            transpose8(run.rows, np.uint64(row * RUN_FIELDS), out, run.targets, np.uint64(start + row))


@inlined
def eight_digits(value: Any) -> Any:
    """The number whose eight decimal digits are the bytes of `value`, the first one lowest."""
    value = ((value * PAIRS) >> U8) & PAIR_MASK
    value = ((value * QUADS) >> U16) & QUAD_MASK
    return (value * OCTS) >> U32


@kernel
def quad_columns(
    buffer: Any, separators: Any, bases: Any, n: Any, field: Any, words: Any, starts: Any, first: Any, second: Any,
    wrong: Any,
) -> None:  # fmt: skip
    """IPv4 addresses of two neighbouring fields into first[:n] and second[:n] (mapped); only where PERMUTES.

    In steps that are short: a processor has few of them at work at once where each needs the one before.
    `words` and `starts` are working memory; what is behind [:n] may be overwritten.
    """
    for row in range(n):
        at = bases[row] + field
        begin = np.uint64(separators[at]) + U1
        starts[row] = begin
        first[row] = np.uint64(separators[at + U1]) - begin
        length = np.uint64(separators[at + U1 + U1]) - begin
        words[row], marks = mark_places(buffer, begin, length)
        second[row] = (marks ^ U8) | (length >> U5)
    for row in range(n):
        ends = words[row]
        sizes = ends - ((ends << U8) + BEHIND)
        strange = (sizes | (sizes - EIGHT_ONES)) & NOT_1_TO_3
        wrong[row] |= strange | second[row] | (((ends >> U24) & BYTE) ^ first[row])
    last = np.uint64(n - 1)
    for row in range(U0, np.uint64(n), U1 + U1):
        other = min(row + U1, last)
        words[row], words[other], strange, others = quad_pairs(
            buffer, starts[row], starts[other], words[row], words[other]
        )  # fmt: skip
        wrong[row] |= strange
        wrong[other] |= others
    for row in range(n):
        first[row] = MAPPED | (words[row] >> U32)
        second[row] = MAPPED | (words[row] & LOW32)


@kernel
def flags_column(
    buffer: Any, separators: Any, bases: Any, n: Any, field: Any, missing: Any, words: Any, out: Any, wrong: Any
) -> None:
    """TCP flags of up to three digits into out[:n]; a dash gives `missing`."""
    for row in range(n):
        at = bases[row] + field
        end = np.uint64(separators[at + U1])
        length = end - np.uint64(separators[at]) - U1
        words[row] = load64(buffer, end - U8)
        out[row] = length
    for row in range(n):
        length = out[row]
        dash = (length == U1) & ((words[row] >> U56) == DASH)
        value = (words[row] ^ ZEROS) & (ONES << (((U8 - length) & U7) << U3))
        strange = (((value + NINES) | value) & TOPS) | (U1 if length - U1 > np.uint64(2) else U0)
        value = (value >> U56) + ((value >> np.uint64(48)) & BYTE) * TEN + ((value >> np.uint64(40)) & BYTE) * HUNDRED
        strange |= U1 if value > BYTE else U0
        out[row] = missing if dash else value
        wrong[row] |= U0 if dash else strange


@kernel
def verdict_column(
    buffer: Any, separators: Any, bases: Any, n: Any, field: Any, words: Any, lengths: Any, out: Any, wrong: Any
) -> None:
    """ACCEPT gives 1, REJECT 2."""
    _first_words(buffer, separators, bases, n, field, words, lengths)
    for row in range(n):
        word = words[row] & SIX_BYTES
        out[row] = U1 if word == ACCEPT6 else np.uint64(2)
        fits = ((word == ACCEPT6) | (word == REJECT6)) & (lengths[row] == np.uint64(6))
        wrong[row] |= U0 if fits else U1


@kernel
def status_column(
    buffer: Any, separators: Any, bases: Any, n: Any, field: Any, words: Any, lengths: Any, wrong: Any
) -> None:
    """Anything but OK is another shape."""
    _first_words(buffer, separators, bases, n, field, words, lengths)
    for row in range(n):
        fits = ((words[row] & TWO_BYTES) == OK2) & (lengths[row] == np.uint64(2))
        wrong[row] |= U0 if fits else U1


@kernel
def outcome_columns(buffer: Any, separators: Any, bases: Any, n: Any, field: Any, out: Any, wrong: Any) -> None:
    """`verdict_column` and `status_column` of two neighbours at once."""
    for row in range(n):
        at = bases[row] + field
        before = np.uint64(separators[at])
        word = load64(buffer, before + U1)
        accepts, rejects = word ^ ACCEPT_O, word ^ REJECT_O
        sizes = (np.uint64(separators[at + U1]) - before) ^ U7
        sizes |= (np.uint64(separators[at + U1 + U1]) - before) ^ TEN
        out[row] = U1 if accepts == U0 else np.uint64(2)
        wrong[row] |= sizes | min(accepts, rejects) | (np.uint64(buffer[before + U8 + U1]) ^ LETTER_K)


@kernel
def _first_words(buffer: Any, separators: Any, bases: Any, n: Any, field: Any, words: Any, lengths: Any) -> None:
    for row in range(n):
        at = bases[row] + field
        begin = np.uint64(separators[at]) + U1
        words[row] = load64(buffer, begin)
        lengths[row] = np.uint64(separators[at + U1]) - begin


@kernel
def span_column(buffer: Any, separators: Any, bases: Any, n: Any, field: Any, begins: Any, ends: Any) -> None:
    """Where a name stands, in begins[:n] and ends[:n]; (0, 0) for a dash."""
    for row in range(n):
        at = bases[row] + field
        begin = np.uint64(separators[at]) + U1
        end = np.uint64(separators[at + U1])
        dash = (end - begin == U1) & (buffer[begin] == 45)
        begins[row] = U0 if dash else begin
        ends[row] = U0 if dash else end


@kernel
def quad_column(
    buffer: Any, separators: Any, bases: Any, n: Any, field: Any, shapes: Any, words: Any, lengths: Any, out: Any,
    wrong: Any,
) -> None:  # fmt: skip
    """IPv4 addresses into out[:n] (mapped). `shapes`: see QuadShapes."""
    if SHUFFLES:
        for row in range(n):
            at = bases[row] + field
            begin = np.uint64(separators[at]) + U1
            length = np.uint64(separators[at + U1]) - begin
            inside = (U1 << min(length, U15)) - U1
            dots = dot_mask16(buffer, begin) & inside
            shape = np.uint64(shapes.numbers[(dots | (U1 << min(length, U15)))])
            digits = digit_mask16(buffer, begin)
            strange = ((digits | dots) & inside) ^ inside
            strange |= zero_mask16(buffer, begin) & shapes.leading[shape]
            strange |= U1 if (shape == U0) | (length > U15) else U0
            words[row], lengths[row] = shuffled_pair(buffer, begin, shapes.patterns, shape)
            wrong[row] |= strange
        for row in range(n):
            high = words[row]
            low = lengths[row]
            high = (high & DIGITS4) + ((high >> U8) & DIGITS4) * TEN + ((high >> U16) & DIGITS4) * HUNDRED
            low = (low & DIGITS4) + ((low >> U8) & DIGITS4) * TEN + ((low >> U16) & DIGITS4) * HUNDRED
            wrong[row] |= (high | low) & NOT_BYTES
            high = ((high & BYTE) << U8) | (high >> U32)
            low = ((low & BYTE) << U8) | (low >> U32)
            out[row] = MAPPED | (high << U16) | low
    else:
        for row in range(n):
            at = bases[row] + field
            quad = ipv4(buffer, np.int64(separators[at]) + 1, np.int64(separators[at + U1]))
            wrong[row] |= quad >> U63
            out[row] = MAPPED | quad
