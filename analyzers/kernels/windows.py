"""Which minutes of which hour an interface's records cover: NODATA and SKIPDATA counted, gaps to be found.

A row (uint64[WINDOW_WORDS]) is one interface in one slot of time:
    0  observer24 << 40 | slot40     slot: time / slot seconds, an hour at first
    1  bits of the sixtieths of the slot that a record with traffic or NODATA touches
    2  the same of SKIPDATA
    3  NODATA records32 << 32 | SKIPDATA records32, each in the slot in which it begins

The slot that an interface's records touched last stands beside its name (the words of the row, behind NAME_WORDS; 0: no
slot), in the cache line that finding its number brings near. `close_windows` enters it into the rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import inlined, kernel, trailing_zeros
from analyzers.kernels.record import (
    P_FIRST,
    P_LAST,
    S_SLOT_SECONDS,
    S_WINDOWS,
)
from analyzers.kernels.tables import ALL_ONES, HIGH32, MASK32, NAME_WORDS, U0, U1, U32, U40, mix, place

WINDOW_WORDS = 4
N_SLOT, N_SEEN, N_LOST, N_COUNTS, OBSERVER_WORDS = range(NAME_WORDS, NAME_WORDS + WINDOW_WORDS + 1)
"""The words of a window's row, beside the name of its interface."""

U57 = np.uint64(57)
U63 = np.uint64(63)
PARTS = np.uint64(60)
"""A slot is looked at in so many parts: minutes of an hour."""

KEPT, NODATA, SKIPDATA = 1, 2, 3
"""Values of `kept`: a record with traffic; one that says that there was none; one that says that some were lost."""


@kernel
def mark_windows(
    parsed: Any, kept: Any, count: Any, observers: Any, state: Any, names: Any, index: Any, rows: Any, bits: Any
) -> None:  # fmt: skip
    """Enter the windows of records parsed[:, :count] whose interface, observers[i], is known.

    `names` uint64[all observers, OBSERVER_WORDS]; `bits` uint64[>= count] is scratch. The caller guarantees room for
    two more rows a record.
    """
    slot_seconds = np.uint64(state[S_SLOT_SECONDS])
    firsts, lasts = parsed[P_FIRST], parsed[P_LAST]
    earliest = ALL_ONES
    latest = U0
    for i in range(count):
        there = kept[i] != 0
        earliest = min(earliest, firsts[i] if there else ALL_ONES)
        latest = max(latest, max(firsts[i], lasts[i]) if there else U0)
    if earliest > latest:
        return
    slot = earliest // slot_seconds
    if earliest == U0 or latest - slot * slot_seconds >= slot_seconds:
        mark_one_by_one(parsed, kept, count, observers, state, names, index, rows)
        return
    # all in one slot, as neighbours mostly are
    slot_begin = slot * slot_seconds
    inverse = part_inverse(slot_seconds)
    for i in range(count):
        begin = ((firsts[i] - slot_begin) * inverse) >> U57
        end = ((max(lasts[i], firsts[i]) - slot_begin) * inverse) >> U57
        bits[i] = (ALL_ONES >> (U63 - (end - begin))) << begin
    for i in range(count):
        observer = observers[i]
        if kept[i] == 0 or observer == U0:
            continue
        now = names[observer]
        if kept[i] == KEPT and now[N_SLOT] == ((observer << U40) | slot):
            now[N_SEEN] |= bits[i]
        else:
            mark(now, observer, slot, bits[i], kept[i], True, state, index, rows)


@inlined
def part_inverse(slot_seconds: Any) -> Any:
    """What a time in a slot is multiplied by: the product's bits from 57 on are the number of its part.

    Exact while slot_seconds * slot_seconds / PARTS < 2^57.
    """
    return (U1 << U57) // (slot_seconds // PARTS) + U1


@kernel
def mark_one_by_one(
    parsed: Any, kept: Any, count: Any, observers: Any, state: Any, names: Any, index: Any, rows: Any
) -> None:
    """`mark_windows` of records that are not all in one slot."""
    slot_seconds = np.uint64(state[S_SLOT_SECONDS])
    inverse = part_inverse(slot_seconds)
    for i in range(count):
        observer = observers[i]
        first = parsed[P_FIRST, i]
        last = max(parsed[P_LAST, i], first)
        if kept[i] == 0 or observer == U0 or last == U0:
            continue
        slot = first // slot_seconds
        to_slot = last // slot_seconds
        begin = ((first - slot * slot_seconds) * inverse) >> U57
        end = ((last - to_slot * slot_seconds) * inverse) >> U57
        now = names[observer]
        if to_slot == slot:
            mark(now, observer, slot, (ALL_ONES >> (U63 - (end - begin))) << begin, kept[i], True, state, index, rows)
            continue
        rest = (ALL_ONES >> (U63 - (PARTS - U1 - begin))) << begin
        mark(now, observer, slot, rest, kept[i], True, state, index, rows)
        mark(now, observer, to_slot, ALL_ONES >> (U63 - end), kept[i], False, state, index, rows)


@kernel
def mark(
    now: Any, observer: Any, slot: Any, bits: Any, kind: Any, counted: Any, state: Any, index: Any, rows: Any
) -> None:
    """Mark the parts `bits` of a slot beside the name `now` of an observer, and count the record there."""
    key = (observer << U40) | slot
    if now[N_SLOT] != key:
        close_window(now, state, index, rows)
        now[N_SLOT] = key
    if kind == SKIPDATA:
        now[N_LOST] |= bits
        now[N_COUNTS] += U1 if counted else U0
        return
    now[N_SEEN] |= bits
    if kind == NODATA and counted:
        now[N_COUNTS] += U1 << U32


@kernel
def close_window(now: Any, state: Any, index: Any, rows: Any) -> None:
    """Enter what stands beside a name into the rows."""
    if now[N_SLOT] == U0:
        return
    row = rows[window_row(now[N_SLOT], state, index, rows)]
    row[1] |= now[N_SEEN]
    row[2] |= now[N_LOST]
    row[3] += now[N_COUNTS]
    for word in range(N_SLOT, OBSERVER_WORDS):
        now[word] = U0


@kernel
def close_windows(names: Any, count: Any, state: Any, index: Any, rows: Any) -> None:
    """Enter what stands beside the first `count` names. The caller guarantees room for as many rows."""
    for number in range(count):
        close_window(names[number], state, index, rows)


@kernel
def window_row(key: Any, state: Any, index: Any, rows: Any) -> Any:
    """Number of the row of `key`, a new one where there is none."""
    mask = np.uint64(index.size - 1)
    value = mix(key * np.uint64(0x9E37_79B9_7F4A_7C15))
    slot = value & mask
    while index[slot] != U0:
        entry = index[slot]
        if (entry & HIGH32) == (value & HIGH32) and rows[(entry & MASK32) - U1, 0] == key:
            return (entry & MASK32) - U1
        slot = (slot + U1) & mask
    row = np.uint64(state[S_WINDOWS])
    index[slot] = (value & HIGH32) | (row + U1)
    for word in range(WINDOW_WORDS):
        rows[row, word] = U0
    rows[row, 0] = key
    state[S_WINDOWS] += 1
    return row


@kernel
def rehash_windows(rows: Any, count: Any, index: Any) -> None:
    """Fill an empty index for the first `count` rows."""
    mask = np.uint64(index.size - 1)
    for i in range(count):
        place(index, mask, mix(rows[i, 0] * np.uint64(0x9E37_79B9_7F4A_7C15)), np.uint64(i))


@kernel
def add_windows(theirs: Any, count: Any, state: Any, index: Any, rows: Any) -> None:
    """Add `count` rows of another table. The caller guarantees room."""
    for i in range(count):
        row = window_row(theirs[i, 0], state, index, rows)
        rows[row, 1] |= theirs[i, 1]
        rows[row, 2] |= theirs[i, 2]
        rows[row, 3] += theirs[i, 3]


@kernel
def halved(bits: Any) -> Any:
    """The 60 parts of a slot as the 30 parts that they are in one of twice the length."""
    found = U0
    for part in range(30):
        pair = (bits >> np.uint64(2 * part)) & np.uint64(3)
        found |= (U1 if pair != U0 else U0) << np.uint64(part)
    return found


@kernel
def coarser(rows: Any, count: Any, state: Any, index: Any) -> None:
    """Make the slots twice as long, in place; `index` is empty."""
    state[S_WINDOWS] = 0
    half = (U1 << U40) - U1
    for i in range(count):
        key, seen, lost, counts = rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3]
        shift = np.uint64(30) if key & U1 else U0
        key = (key & ~half) | ((key & half) >> U1)
        row = window_row(key, state, index, rows)  # at most row i, which was read
        rows[row, 1] |= halved(seen) << shift
        rows[row, 2] |= halved(lost) << shift
        rows[row, 3] += counts
    state[S_SLOT_SECONDS] *= 2


@kernel
def find_gaps(rows: Any, interval_parts: Any, found: Any) -> Any:
    """Stretches without records between the first and the last record of each interface; returns how many.

    `rows` sorted by their key; `interval_parts` int64 by observer: parts that a stretch has at least. Stretch number n
    goes into found[n] (int64[m, 3]: observer, first part, part behind the last, in parts since the epoch) while n < m.
    """
    count = 0
    last_observer = ALL_ONES
    last_part = np.int64(0)
    slot_mask = (U1 << U40) - U1
    for i in range(rows.shape[0]):
        observer = rows[i, 0] >> U40
        base = np.int64((rows[i, 0] & slot_mask) * PARTS)
        if observer != last_observer:
            last_part = np.int64(-1)
            last_observer = observer
        bits = rows[i, 1] | rows[i, 2]
        while bits:
            part = base + np.int64(trailing_zeros(bits))
            bits &= bits - U1
            if last_part >= 0 and part - last_part - 1 >= interval_parts[observer]:
                if count < found.shape[0]:
                    found[count, 0] = np.int64(observer)
                    found[count, 1] = last_part + 1
                    found[count, 2] = part
                count += 1
            last_part = part
    return count
