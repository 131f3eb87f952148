"""Open-addressing hash tables: a compact index over dense rows of 64-bit words.

An index slot is tag << n | (row number + 1), 0 is empty: uint64 with n = 32, or, for service rows and names, uint32
with n bits for an index of 2^n slots, of which twice as many are in a cache. Tags are bits of the hash. Growing
rehashes the slots only, the rows never move.

Two kinds of rows:

Service rows (SERVICE_WORDS): one per service key and observer, for records whose direction is settled.
    0  client32 << 32 | server32     an IPv4 address, or the number of an interned one (see the two bits below)
    1  network16 << 48 | port16 << 32 | protocol8 << 24 | verdict2 << 22 | client interned << 21
       | server interned << 20 | evidence4
    2  observer24 << 40 | records40
    3  packets   4  bytes   5  reply packets   6  reply bytes   7  first32 << 32 | last32 (seconds UTC)

Connection rows (CONNECTION_WORDS): one per 5-tuple and observer, both ports kept, ends in canonical order (a < b).
    0  a_hi   1  a_lo   2  b_hi   3  b_lo
    4  a_port16 << 48 | b_port16 << 32 | protocol8 << 24 | verdict2 << 22
    5  network16 << 48 | observer32
    6  epoch of a << 32 | epoch of b (which owner held the address, see `epoch_of`)
    7  evidence16 << 48 | records48
    8  packets a to b   9  bytes a to b   10  packets b to a   11  bytes b to a   12  first32 << 32 | last32

Where a store asks for time slices, a row belongs to the slice in which its `first` lies, and to no other.

Interned strings and addresses use the same index over their own rows. All numbers are unsigned: a signed operand
would turn the expression into float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.jit import (
    inlined,
    kernel,
    load64,
    open_or_tagged,
    prefetch,
    same_key,
    sum_rows,
    trailing_zeros,
)

U0 = np.uint64(0)
U1 = np.uint64(1)
U8 = np.uint64(8)
U16 = np.uint64(16)
U22 = np.uint64(22)
U24 = np.uint64(24)
U32 = np.uint64(32)
U40 = np.uint64(40)
U48 = np.uint64(48)
MASK32 = np.uint64(0xFFFF_FFFF)
ALL_ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
MASK16 = np.uint64(0xFFFF)
MAPPED = np.uint64(0xFFFF_0000_0000)
MASK40 = np.uint64(0xFF_FFFF_FFFF)
MASK48 = np.uint64(0xFFFF_FFFF_FFFF)
HIGH32 = np.uint64(0xFFFF_FFFF_0000_0000)

GROUP = np.uint64(16)
"""Slots of a uint32 index that are looked at together, a cache line. The search for a service row or a name goes from
the first slot of its hash's group on: which of them it is needs no branch, of which processors guess many wrong."""

AHEAD = 16
"""Rows between asking for a part of the index, for the row that it points to, and adding to that. From memory it takes
as long; much further ahead it would no longer be in the first-level cache when it is needed."""

LINE_BYTES = 64
LINE_WORDS = 8
SERVICE_WORDS = LINE_WORDS
EVIDENCE4 = np.uint64(0xF)
KEY1 = ~EVIDENCE4
CLIENT_INTERNED = np.uint64(1 << 21)
SERVER_INTERNED = np.uint64(1 << 20)

CONNECTION_WORDS = 13
CONNECTION_KEY_WORDS = 7
SYN_A, SYN_B, SYN_ACK_A, SYN_ACK_B, FIN_A, FIN_B, ASK_A, ASK_B = (np.uint64(1 << i) for i in range(8))

ALL_TIME = np.uint64(1 << 32)
"""The `span` of tables that are not cut into time slices: every time of a row lies below it."""

MIX1 = np.uint64(0x9E37_79B9_7F4A_7C15)
MIX2 = np.uint64(0xD6E8_FEB8_6659_FD93)
MIX3 = np.uint64(0xC2B2_AE3D_27D4_EB4F)


INDEX_ROWS, INDEX_SLOTS = 3, 4
"""An index points to at most three rows for four slots: whoever adds rows and whoever makes room goes by that."""


def rows_on_cache_lines(count: int) -> NDArray[np.uint64]:
    """uint64[count, 8] of zeros, each row on a cache line of its own."""
    space = np.zeros((count + 1) * LINE_WORDS, np.uint64)
    begin = (-space.ctypes.data % LINE_BYTES) // 8
    return space[begin : begin + count * LINE_WORDS].reshape(count, LINE_WORDS)


@inlined
def index_takes(count: Any, index: Any) -> Any:
    """Whether an index may point to so many rows."""
    return INDEX_SLOTS * count <= INDEX_ROWS * index.size


@inlined
def mix(value: Any) -> Any:
    """A uint64 with its bits spread over all positions."""
    value = (value ^ (value >> U32)) * MIX2
    return value ^ (value >> U32)


@inlined
def service_hash(word0: Any, word1: Any, observer: Any, slice_start: Any) -> Any:
    """Hash of a service key; `word1` without its evidence bits."""
    return mix(word0 * MIX1 ^ mix(word1 ^ (observer ^ slice_start << U24) * MIX3))


@inlined
def slice_of(first: Any, span: Any) -> Any:
    """Begin of the time slice of `span` seconds that holds `first`; 0 where there is one slice, ALL_TIME."""
    return U0 if span == ALL_TIME else first - first % span


@kernel
def connection_hash(row: Any, at: Any, slice_start: Any) -> Any:
    """Hash of the key words of the connection row `row[at]`, and of its slice."""
    value = row[at, 0] ^ slice_start
    for word in range(1, CONNECTION_KEY_WORDS):
        value = mix(value * MIX1 ^ row[at, word])
    return value


@inlined
def row_hash(row: Any, span: Any) -> Any:
    """Hash of the key of a service row."""
    return service_hash(row[0], row[1] & KEY1, row[2] >> U40, slice_of(row[7] >> U32, span))


@kernel
def rehash_services(rows: Any, count: Any, index: Any, span: Any) -> None:
    """Fill an empty index (uint32[power of two], zeros) for the first `count` service rows."""
    mask = np.uint64(index.size - 1)
    for i in range(count + AHEAD):
        if i < count:
            prefetch(index, row_hash(rows[i], span) & mask)
        if i >= AHEAD:
            place_in_group(index, row_hash(rows[i - AHEAD], span), np.uint64(i - AHEAD))


@kernel
def rehash_connections(rows: Any, count: Any, index: Any, span: Any) -> None:
    """Fill an empty index for the first `count` connection rows."""
    mask = np.uint64(index.size - 1)
    for i in range(count):
        place(index, mask, connection_hash(rows, i, slice_of(rows[i, 12] >> U32, span)), np.uint64(i))


@inlined
def place(index: Any, mask: Any, value: Any, row: Any) -> None:
    """Put a row that is known to be new into a uint64 index, which is searched from the slot of its hash on."""
    slot = value & mask
    while index[slot] != U0:
        slot = (slot + U1) & mask
    index[slot] = (value & HIGH32) | (row + U1)


@inlined
def place_in_group(index: Any, value: Any, row: Any) -> None:
    """Put a row that is known to be new into a uint32 index, which is searched with `tagged_slot`."""
    slot = value & (np.uint64(index.size) - GROUP)
    while index[slot] != 0:
        slot = (slot + U1) & np.uint64(index.size - 1)
    index[slot] = slot_of(index, value, row)


@inlined
def slot_of(index: Any, value: Any, row: Any) -> Any:
    """What the slot of a uint32 index holds for a row and its hash."""
    return np.uint32(tag_of(index, value) | (row + U1))


@inlined
def row_of(index: Any, slot: Any) -> Any:
    """Number of the row that a slot of a uint32 index points to, which is not empty."""
    return (np.uint64(index[slot]) & np.uint64(index.size - 1)) - U1


@inlined
def tag_of(index: Any, value: Any) -> Any:
    """Tag of a hash in a uint32 index, where it stands in a slot."""
    return (value >> U32) & ~np.uint64(index.size - 1)


@inlined
def service_slot(
    batch: Any, at: Any, slice_start: Any, span: Any, value: Any, slot: Any, index: Any, rows: Any
) -> Any:  # fmt: skip
    """The index slot, from `slot` on, of the row with the key and the slice of batch[at]; an empty one where there is
    none."""
    mask = np.uint64(index.size - 1)
    tag = tag_of(index, value)
    while True:
        entry = np.uint64(index[slot])
        if entry == U0:
            return slot
        if (entry & ~mask) == tag:
            number = row_of(index, slot)
            if same_key(rows, number, batch, at, KEY1, ~MASK40) and (rows[number, 7] >> U32) - slice_start < span:
                return slot
        slot = (slot + U1) & mask


@inlined
def tagged_slot(value: Any, index: Any, rows: Any) -> Any:
    """The first index slot that may be that of a row of this hash; the row is asked for."""
    mask = np.uint64(index.size - 1)
    groups = np.uint64(index.size) - GROUP
    group = value & groups
    tag = tag_of(index, value)
    found = open_or_tagged(index, group, tag, mask)
    while found == U0:
        group = (group + GROUP) & groups
        found = open_or_tagged(index, group, tag, mask)
    slot = group + trailing_zeros(found)
    if index[slot] != 0:
        prefetch(rows[row_of(index, slot)], 0)
    return slot


@inlined
def sum_service(rows: Any, number: Any, batch: Any, at: Any) -> None:
    """Add the counters of the service row batch[at] to those of rows[number], which has the same key."""
    sum_rows(rows, number, batch, at, EVIDENCE4, MASK40)


@inlined
def add_service(
    batch: Any, at: Any, slice_start: Any, span: Any, value: Any, slot: Any, index: Any, rows: Any, count: Any
) -> Any:  # fmt: skip
    """Add the service row batch[at], whose hash is `value`, to the table; returns the new row count."""
    slot = service_slot(batch, at, slice_start, span, value, slot, index, rows)
    if index[slot] != 0:
        sum_service(rows, row_of(index, slot), batch, at)
        return count
    index[slot] = slot_of(index, value, np.uint64(count))
    for word in range(SERVICE_WORDS):
        rows[count, word] = batch[at, word]
    return count + 1


@inlined
def ask_ahead(step: Any, n: Any, slots: Any, index: Any, rows: Any) -> Any:
    """One of n + 2 * AHEAD steps that bring near what `n` rows touch -> the row to add now; below 0: none yet.

    slots[step] is the hash of a row; AHEAD steps later it becomes the index slot that may be the row's.
    """
    if step < n:
        prefetch(index, slots[step] & np.uint64(index.size - 1))
    asked = step - AHEAD
    if asked >= 0 and asked < n:
        slots[asked] = tagged_slot(slots[asked], index, rows)
    return asked - AHEAD


@kernel
def upsert_services(
    batch: Any, n: Any, span: Any, hashes: Any, slices: Any, slots: Any, index: Any, rows: Any, count: Any
) -> Any:
    """Add `n` service rows of `batch` (uint64[>= n, SERVICE_WORDS]) to the table; returns the new row count.

    `span`: seconds of a time slice, or ALL_TIME; rows of different slices are not added up. `hashes`, `slices` and
    `slots` are scratch (uint64[>= n]). The caller guarantees room: count + n rows, and an index at most three quarters
    full.
    """
    hash_services(batch, n, span, hashes, slices, slots)
    for step in range(n + 2 * AHEAD):
        at = ask_ahead(step, n, slots, index, rows)
        if at >= 0:
            count = add_service(batch, at, slices[at], span, hashes[at], slots[at], index, rows, count)
    return count


@inlined
def hash_services(batch: Any, n: Any, span: Any, hashes: Any, slices: Any, slots: Any) -> None:
    """Slices and hashes of `n` service rows; `slots` as `ask_ahead` wants it."""
    for i in range(n):
        slices[i] = slice_of(batch[i, 7] >> U32, span)
        hashes[i] = slots[i] = row_hash(batch[i], span)


@inlined
def joined_times(one: Any, other: Any) -> Any:
    """first32 << 32 | last32 of two such words together."""
    first = min(one >> U32, other >> U32)
    last = max(one & MASK32, other & MASK32)
    return (first << U32) | last


@kernel
def upsert_connection(entry: Any, at: Any, span: Any, index: Any, rows: Any, count: Any) -> Any:
    """Add the connection row `entry[at]` to the table; returns the new row count. The caller guarantees room.

    `span`: seconds of a time slice, or ALL_TIME; rows of different slices are not added up.
    """
    mask = np.uint64(index.size - 1)
    slice_start = slice_of(entry[at, 12] >> U32, span)
    value = connection_hash(entry, at, slice_start)
    tag = value & HIGH32
    slot = value & mask
    while True:
        found = index[slot]
        if found == U0:
            index[slot] = tag | np.uint64(count + 1)
            for word in range(CONNECTION_WORDS):
                rows[count, word] = entry[at, word]
            return count + 1
        if (found & HIGH32) == tag:
            row = rows[(found & MASK32) - U1]
            same = (row[12] >> U32) - slice_start < span
            for word in range(CONNECTION_KEY_WORDS):
                same = same and row[word] == entry[at, word]
            if same:
                row[7] = ((row[7] | entry[at, 7]) & ~MASK48) | ((row[7] & MASK48) + (entry[at, 7] & MASK48))
                for word in range(8, 12):
                    row[word] += entry[at, word]
                row[12] = joined_times(row[12], entry[at, 12])
                return count
        slot = (slot + U1) & mask


@kernel
def upsert_connections(batch: Any, n: Any, span: Any, index: Any, rows: Any, count: Any) -> Any:
    """Add `n` connection rows of `batch`; returns the new row count. The caller guarantees room for all."""
    mask = np.uint64(index.size - 1)
    for i in range(n):
        prefetch(index, connection_hash(batch, i, slice_of(batch[i, 12] >> U32, span)) & mask)
    for i in range(n):
        count = upsert_connection(batch, i, span, index, rows, count)
    return count


ADDRESS_WORDS = 3  # hi, lo, epoch


@kernel
def intern_address(hi: Any, lo: Any, epoch: Any, index: Any, rows: Any, count: Any) -> Any:
    """Number of (address, epoch) in the table, adding it at `count` when it is new. The caller guarantees room."""
    mask = np.uint64(index.size - 1)
    value = mix(mix(hi * MIX1 ^ lo) ^ epoch * MIX3)
    tag = value & HIGH32
    slot = value & mask
    while True:
        found = index[slot]
        if found == U0:
            index[slot] = tag | np.uint64(count + 1)
            rows[count, 0] = hi
            rows[count, 1] = lo
            rows[count, 2] = epoch
            return count
        if (found & HIGH32) == tag:
            number = (found & MASK32) - U1
            if rows[number, 0] == hi and rows[number, 1] == lo and rows[number, 2] == epoch:
                return np.int64(number)
        slot = (slot + U1) & mask


@kernel
def intern_addresses(theirs: Any, index: Any, rows: Any, count: Any, numbers: Any) -> Any:
    """Numbers of the addresses of another table (uint64[n, ADDRESS_WORDS]) into `numbers`; returns the new count."""
    for i in range(theirs.shape[0]):
        number = intern_address(theirs[i, 0], theirs[i, 1], theirs[i, 2], index, rows, count)
        count = max(count, number + 1)
        numbers[i] = np.uint64(number)
    return count


@kernel
def rehash_addresses(rows: Any, count: Any, index: Any) -> None:
    """Fill an empty index for the first `count` interned addresses."""
    mask = np.uint64(index.size - 1)
    for i in range(count):
        value = mix(mix(rows[i, 0] * MIX1 ^ rows[i, 1]) ^ rows[i, 2] * MIX3)
        place(index, mask, value, np.uint64(i))


NAME_WORDS = 4
"""An interned string: its last 24 bytes as three words (zero before its start), length32 << 32 | arena start32."""


@inlined
def masked_word(buffer: Any, end: Any, length: Any) -> Any:
    """The last `length` (at most 8) bytes before `end`, as a word whose other bytes are zero."""
    if length >= 8:
        return load64(buffer, end - 8)
    if length <= 0:
        return U0
    return load64(buffer, end - 8) & (ALL_ONES << np.uint64(8 * (8 - length)))


@inlined
def name_hash(word0: Any, word1: Any, length: Any) -> Any:
    """Hash of a string by its last 16 bytes and its length: ids of interfaces and networks differ there."""
    return mix((word0 * MIX1 ^ word1) * MIX3 ^ length)


@kernel
def same_bytes(one: Any, at: Any, other: Any, begin: Any, length: Any) -> Any:
    """Whether `length` bytes of two buffers are equal."""
    for i in range(length):
        if one[at + i] != other[begin + i]:
            return False
    return True


@kernel
def intern_spans(
    buffer: Any, begins: Any, ends: Any, n: Any, index: Any, names: Any, arena: Any, count: Any, scratch: Any
) -> Any:
    """Number the strings of `buffer` from begins[i] to ends[i] (uint64[>= n]).

    begins[i] becomes the string's number + 1, or 0 for an empty string. New strings are appended;
    returns the new count. `scratch` uint64[>= n, NAME_WORDS + 2]. The caller guarantees room for n more strings of
    these lengths, and 24 readable bytes before the first one.
    """
    mask = np.uint64(index.size - 1)
    for i in range(n):
        end = np.int64(ends[i])
        length = end - np.int64(begins[i])
        scratch[i, 0] = masked_word(buffer, end, length)
        scratch[i, 1] = masked_word(buffer, end - 8, length - 8)
        scratch[i, 2] = masked_word(buffer, end - 16, length - 16)
        scratch[i, 3] = np.uint64(length)
        value = name_hash(scratch[i, 0], scratch[i, 1], scratch[i, 3])
        scratch[i, 4] = scratch[i, 5] = value
    slots = scratch[:, 5]
    for step in range(n + 2 * AHEAD):
        i = ask_ahead(step, n, slots, index, names)
        if i < 0:
            continue
        length = np.int64(scratch[i, 3])
        start = np.int64(begins[i])
        if length == 0:
            begins[i] = U0
            continue
        tag = tag_of(index, scratch[i, 4])
        slot = scratch[i, 5]
        while True:
            entry = np.uint64(index[slot])
            if entry == U0:
                index[slot] = slot_of(index, scratch[i, 4], np.uint64(count))
                begin = np.int64(names[count - 1, 3] & MASK32) + np.int64(names[count - 1, 3] >> U32) if count else 0
                for at in range(length):
                    arena[begin + at] = buffer[start + at]
                names[count, 0] = scratch[i, 0]
                names[count, 1] = scratch[i, 1]
                names[count, 2] = scratch[i, 2]
                names[count, 3] = (np.uint64(length) << U32) | np.uint64(begin)
                count += 1
                begins[i] = np.uint64(count)
                break
            number = row_of(index, slot)
            if (
                (entry & ~mask) == tag
                and names[number, 0] == scratch[i, 0]
                and names[number, 1] == scratch[i, 1]
                and names[number, 2] == scratch[i, 2]
                and (names[number, 3] >> U32) == scratch[i, 3]
                and (length <= 24 or same_bytes(arena, np.int64(names[number, 3] & MASK32), buffer, start, length))
            ):
                begins[i] = number + U1
                break
            slot = (slot + U1) & mask
    return count


@kernel
def rehash_names(names: Any, count: Any, index: Any) -> None:
    """Fill an empty index (uint32) for the first `count` interned strings."""
    for i in range(count):
        value = name_hash(names[i, 0], names[i, 1], names[i, 3] >> U32)
        place_in_group(index, value, np.uint64(i))


@kernel
def epoch_of(hi: Any, lo: Any, network: Any, first: Any, last: Any, index: Any, keys: Any, times: Any) -> Any:
    """Which stretch of an address's ownership [first, last] (seconds) falls into; 0: its owner never changes.

    `keys` uint64[n, 5]: hi, lo, network, start and end in `times` (uint64, ascending within a key). A stretch is
    numbered 2 * (cuts at or before it) + 2; when the record spans a cut, one more than that of its beginning.
    """
    mask = np.uint64(index.size - 1)
    value = mix(mix(hi * MIX1 ^ lo) ^ network * MIX3)
    tag = value & HIGH32
    slot = value & mask
    while True:
        found = index[slot]
        if found == U0:
            return U0
        if (found & HIGH32) == tag:
            number = (found & MASK32) - U1
            if keys[number, 0] == hi and keys[number, 1] == lo and keys[number, 2] == network:
                begin = np.int64(keys[number, 3])
                end = np.int64(keys[number, 4])
                before = np.uint64(0)
                within = np.uint64(0)
                for i in range(begin, end):
                    if times[i] <= first:
                        before += U1
                    elif times[i] <= last:
                        within = U1
                return before + before + np.uint64(2) + within
        slot = (slot + U1) & mask


@kernel
def index_cuts(keys: Any, index: Any) -> None:
    """Fill an empty index for all rows of `keys` (see `epoch_of`)."""
    mask = np.uint64(index.size - 1)
    for i in range(keys.shape[0]):
        place(index, mask, mix(mix(keys[i, 0] * MIX1 ^ keys[i, 1]) ^ keys[i, 2] * MIX3), np.uint64(i))


ABSORB_ROWS = 256
"""Rows that `meet_services` works on at once: what it prefetches for them stays in the first-level cache."""


@kernel
def meet_services(
    theirs: Any, observers: Any, networks: Any, addresses: Any, span: Any, scratch: Any, batch: Any, index: Any,
    rows: Any,
) -> Any:  # fmt: skip
    """Add another worker's service rows to those of equal keys here; returns how many have none.

    Those move to the front of `theirs`, and have this worker's numbers there. `scratch` is uint64[3, ABSORB_ROWS] and
    `batch` uint64[ABSORB_ROWS, SERVICE_WORDS]. No row is made here, and rows of one worker have different keys: parts
    of `theirs` may be met at the same time.
    """
    hashes, slices, slots = scratch[0], scratch[1], scratch[2]
    kept = 0
    for start in range(0, theirs.shape[0], ABSORB_ROWS):
        n = min(ABSORB_ROWS, theirs.shape[0] - start)
        for at in range(n):
            for word in range(SERVICE_WORDS):
                batch[at, word] = theirs[start + at, word]
            renumber_service(batch[at], observers, networks, addresses)
        hash_services(batch, n, span, hashes, slices, slots)
        for step in range(n + 2 * AHEAD):
            at = ask_ahead(step, n, slots, index, rows)
            if at < 0:
                continue
            slot = service_slot(batch, at, slices[at], span, hashes[at], slots[at], index, rows)
            if index[slot] != 0:
                sum_service(rows, row_of(index, slot), batch, at)
                continue
            for word in range(SERVICE_WORDS):
                theirs[kept, word] = batch[at, word]
            kept += 1
    return kept


@inlined
def renumber_service(row: Any, observers: Any, networks: Any, addresses: Any) -> None:
    """Replace numbers by those that the arrays hold for them."""
    client = row[0] >> U32
    server = row[0] & MASK32
    if row[1] & CLIENT_INTERNED:
        client = addresses[client]
    if row[1] & SERVER_INTERNED:
        server = addresses[server]
    row[0] = (client << U32) | server
    row[1] = (networks[row[1] >> U48] << U48) | (row[1] & MASK48)
    row[2] = (observers[row[2] >> U40] << U40) | (row[2] & MASK40)
