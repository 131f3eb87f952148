"""Where the fields of flow-log text begin and end: every blank and newline of a block, 64 bytes at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import (
    COMPRESSES,
    bit_count,
    blank_mask64,
    inlined,
    kernel,
    newline_mask64,
    store_positions,
    trailing_zeros,
)

BLOCK_BYTES = 32 * 1024
BLOCK_ROWS = 512

SEPARATOR_ROOM = BLOCK_BYTES + 128
"""Positions that one block can have, and the surplus that is written behind them."""

U1 = np.uint64(1)
WORD = np.uint64(64)
LANES = 12
"""Positions taken from a word of 64 bytes in any case; a record of 115 bytes has 8 there on average."""


@kernel
def index_block(buffer: Any, start: Any, stop: Any, separators: Any) -> Any:
    """Positions of blanks and newlines of buffer[start:stop] -> (positions, rows), at least BLOCK_ROWS rows of them.

    `separators` uint32[SEPARATOR_ROOM]: [0] is start - 1, so that every field lies between two neighbours. Stops
    early once BLOCK_ROWS newlines were met. The caller guarantees 64 readable bytes behind `stop`, and
    stop - start <= BLOCK_BYTES.
    """
    separators[0] = np.uint32(start - 1)
    found = U1
    rows = np.uint64(0)
    at = np.uint64(start)
    end = np.uint64(stop)
    while at < end and rows < np.uint64(BLOCK_ROWS):
        newlines = newline_mask64(buffer, at)
        both = newlines | blank_mask64(buffer, at)
        if end - at < WORD:
            inside = (U1 << (end - at)) - U1
            both &= inside
            newlines &= inside
        rows += bit_count(newlines)
        count = bit_count(both)
        if COMPRESSES and count <= np.uint64(16):
            store_positions(both, at, separators, found)
        else:
            _store_one_by_one(both, at, separators, found)
        found += count
        at += WORD
    return found, rows


@inlined
def _store_one_by_one(mask: Any, base: Any, separators: Any, found: Any) -> None:
    # a fixed number of positions without a branch: what is too many is overwritten by the next word's
    for lane in range(LANES):
        separators[found + np.uint64(lane)] = np.uint32(base + trailing_zeros(mask))
        mask &= mask - U1
    surplus = found + np.uint64(LANES)
    while mask:
        separators[surplus] = np.uint32(base + trailing_zeros(mask))
        surplus += U1
        mask &= mask - U1


@kernel
def split_rows(buffer: Any, separators: Any, found: Any, rows: Any, field_count: Any, bases: Any, odd: Any) -> Any:
    """Up to BLOCK_ROWS rows of the indexed block -> (regular rows, odd rows, position behind the last of them).

    `bases` uint32[BLOCK_ROWS]: index in `separators` of the one before each row of exactly `field_count` fields.
    `odd` int64[BLOCK_ROWS, 3]: begin and end of each other line in the buffer, and how many regular rows precede it.
    """
    count = np.uint64(field_count)
    kept = min(rows, np.uint64(BLOCK_ROWS))
    # when every count-th separator is a newline, for as many as there are newlines, no other one can be
    regular = rows * count < found
    if regular:
        for row in range(U1, rows + U1):
            regular &= buffer[separators[row * count]] == 10
    if regular:
        for row in range(kept):
            bases[row] = np.uint32(row * count)
        return np.int64(kept), np.int64(0), np.int64(separators[kept * count]) + 1
    good = np.int64(0)
    others = np.int64(0)
    base = np.uint64(0)
    for at in range(U1, found):
        if buffer[separators[at]] != 10:
            continue
        if at - base == count:
            bases[good] = np.uint32(base)
            good += 1
        else:
            odd[others, 0] = np.int64(separators[base]) + 1
            odd[others, 1] = np.int64(separators[at])
            odd[others, 2] = good
            others += 1
        base = np.uint64(at)
        if good + others == np.int64(kept):
            break
    return good, others, np.int64(separators[base]) + 1
