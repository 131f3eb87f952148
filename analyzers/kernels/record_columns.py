"""Records that arrive in columns (Parquet) to service rows and connection rows, by the rules of the text kernel.

Texts come as indices into dictionaries, whose entries are parsed once: addresses here, names by `intern_spans`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.addresses import BAD, parse_address
from analyzers.kernels.jit import kernel, load64, trailing_zeros
from analyzers.kernels.log_line import MOST_BYTE, MOST_PORT, long_number, seconds
from analyzers.kernels.record import (
    NO_FLAGS,
    P_BYTES,
    P_DPORT,
    P_DST_HI,
    P_DST_LO,
    P_FIRST,
    P_FLAGS,
    P_INTERFACE,
    P_LAST,
    P_NETWORK,
    P_PACKETS,
    P_PEER_NETWORK,
    P_PROTOCOL,
    P_SPORT,
    P_SRC_HI,
    P_SRC_LO,
    P_VERDICT,
)
from analyzers.kernels.separators import BLOCK_ROWS
from analyzers.kernels.tables import MASK32, U0, U1
from analyzers.kernels.text import SAMPLES, add_records, pair_networks, room

# Rows of RecordColumns.valid and of the two kinds of numbers
V_SRC, V_DST, V_SRC_PLAIN, V_DST_PLAIN, V_ACTION, V_STATUS, V_INTERFACE, V_NETWORK, V_PEER_NETWORK = range(9)
V_SPORT, V_DPORT, V_PROTOCOL, V_FLAGS, V_PACKETS, V_BYTES, V_START, V_END = range(9, 17)
V_COUNT = 17

A_BAD, A_GOOD, A_DASH = range(3)
"""Kinds of entries of an AddressTable."""

BAD_VERDICT = 255
DASH = np.int64(-(1 << 63))
LARGEST = np.uint64((1 << 63) - 1)


class AddressTable(NamedTuple):
    """The dictionary of an address column, parsed; the last entry stands for null."""

    words: NDArray[np.uint64]  # [n, 2]: hi, lo
    kind: NDArray[np.uint8]
    has_others: bool  # whether any entry but the last one is no address


class RecordColumns(NamedTuple):
    """Up to a batch of n records, as they stand in Arrow's buffers wherever the types are those of the documentation.

    What is null has no value to rely on in its column. Places in dictionaries are never trusted to be inside them.
    """

    valid: NDArray[np.uint8]  # [V_COUNT, at least n / 8] bitmaps, lowest bit first, whole words; 0: null, or no column
    src: NDArray[np.int32]  # place of pkt-srcaddr where the file has it, else of srcaddr
    dst: NDArray[np.int32]
    src_plain: NDArray[np.int32]  # srcaddr and dstaddr, for the dashes of the pkt- ones
    dst_plain: NDArray[np.int32]
    src_addresses: AddressTable
    dst_addresses: AddressTable
    src_plain_addresses: AddressTable
    dst_plain_addresses: AddressTable
    sport: NDArray[np.int32]
    dport: NDArray[np.int32]
    protocol: NDArray[np.int32]
    flags: NDArray[np.int32]
    packets: NDArray[np.int64]
    octets: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    verdict: NDArray[np.int32]
    verdicts: NDArray[np.uint8]  # 0 unknown, 1 ACCEPT, 2 REJECT, BAD_VERDICT
    status: NDArray[np.int32]
    statuses: NDArray[np.uint8]  # Reason of each entry: 0 for OK
    interface: NDArray[np.int32]
    interfaces: NDArray[np.uint64]  # number + 1 of the interned name, 0: none
    network: NDArray[np.int32]
    networks: NDArray[np.uint64]
    peer_network: NDArray[np.int32]  # the destination's, where `network` is the source's
    peer_networks: NDArray[np.uint64]
    needed: NDArray[np.uint8]  # [V_COUNT] 1: null in this column makes the record one to be read with care


@kernel
def parse_addresses(text: Any, begins: Any, ends: Any, words: Any, kind: Any) -> None:
    """Parse all entries text[begins[i]:ends[i]] of a dictionary (uint8 with padding on both sides)."""
    for i in range(begins.size):
        begin, end = begins[i], ends[i]
        if end - begin == 1 and text[begin] == 45:
            kind[i] = A_DASH
            continue
        words[i, 0], words[i, 1], good = parse_address(text, begin, end)
        kind[i] = A_GOOD if good else A_BAD


@kernel
def parse_words(text: Any, begins: Any, ends: Any, known: Any, codes: Any) -> None:
    """Codes of all entries text[begins[i]:ends[i]] of a dictionary.

    `known` int64[n, 3]: characters (at most 8, the first one lowest), how many, code; the last one is that of the rest.
    """
    last = known.shape[0] - 1
    for i in range(begins.size):
        size = ends[i] - begins[i]
        word = np.uint64(0)
        for place in range(min(size, 8)):
            word |= np.uint64(text[begins[i] + place]) << np.uint64(place << 3)
        found = last
        for candidate in range(last):
            if known[candidate, 1] == size and np.uint64(known[candidate, 0]) == word:
                found = candidate
        codes[i] = known[found, 2]


@kernel
def parse_numbers(text: Any, offsets: Any, count: Any, out: Any) -> None:
    """Parse entries of a dictionary of decimal numbers into int64; DASH for a dash, -1 for what is no number."""
    for i in range(count):
        begin, end = offsets[i], offsets[i + 1]
        value = long_number(text, begin, end)
        out[i] = np.int64(value) if value != BAD else -1
        if end - begin == 1 and text[begin] == 45:
            out[i] = DASH


@kernel
def is_valid(columns: Any, column: Any, at: Any) -> Any:
    """Whether the column has a value there."""
    return (columns.valid[column, at >> 3] >> (at & 7)) & 1 != 0


@kernel
def entry(columns: Any, column: Any, places: Any, at: Any, size: Any) -> Any:
    """Place in a dictionary of `size` entries, the last of which stands for null."""
    if not is_valid(columns, column, at):
        return size - 1
    return min(np.int64(np.uint32(places[at])), size - 1)


@kernel
def value_or(columns: Any, column: Any, values: Any, at: Any, missing: Any) -> Any:
    """A number, `missing` where there is none."""
    return np.int64(values[at]) if is_valid(columns, column, at) else np.int64(missing)


@kernel
def address(columns: Any, column: Any, places: Any, table: Any, at: Any) -> Any:
    """(hi, lo, kind) of an address."""
    place = entry(columns, column, places, at, table.kind.size)
    return table.words[place, 0], table.words[place, 1], table.kind[place]


@kernel
def read_record(columns: Any, at: Any, parsed: Any, to: Any) -> Any:
    """Record `at` into parsed[:, to]; returns its Reason, 0 when it is one. The order of checks is careful_row's."""
    status = np.int64(columns.statuses[entry(columns, V_STATUS, columns.status, at, columns.statuses.size)])
    interface = entry(columns, V_INTERFACE, columns.interface, at, columns.interfaces.size)
    parsed[P_INTERFACE, to] = columns.interfaces[interface]
    if status == 8 or status == 9:
        first = value_or(columns, V_START, columns.start, at, 0)
        last = value_or(columns, V_END, columns.end, at, 0)
        good = first >= 0 and last >= 0
        good = good and seconds(np.uint64(first)) <= MASK32 and seconds(np.uint64(last)) <= MASK32
        parsed[P_FIRST, to] = seconds(np.uint64(first)) if good else U0
        parsed[P_LAST, to] = seconds(np.uint64(last)) if good else U0
    if status != 0:
        return status
    src_hi, src_lo, src_kind = address(columns, V_SRC, columns.src, columns.src_addresses, at)
    if src_kind == 2:
        src_hi, src_lo, src_kind = address(columns, V_SRC_PLAIN, columns.src_plain, columns.src_plain_addresses, at)
    dst_hi, dst_lo, dst_kind = address(columns, V_DST, columns.dst, columns.dst_addresses, at)
    if dst_kind == 2:
        dst_hi, dst_lo, dst_kind = address(columns, V_DST_PLAIN, columns.dst_plain, columns.dst_plain_addresses, at)
    if src_kind == 2 or dst_kind == 2:
        return 10
    if src_kind == 0 or dst_kind == 0:
        return 2
    sport = value_or(columns, V_SPORT, columns.sport, at, 0)
    dport = value_or(columns, V_DPORT, columns.dport, at, 0)
    if sport < 0 or dport < 0 or sport > 65535 or dport > 65535:
        return 3
    protocol = value_or(columns, V_PROTOCOL, columns.protocol, at, -1)
    if protocol < 0 or protocol > 255:
        return 4
    packets = value_or(columns, V_PACKETS, columns.packets, at, 0)
    octets = value_or(columns, V_BYTES, columns.octets, at, 0)
    if packets < 0 or octets < 0:
        return 5
    first = value_or(columns, V_START, columns.start, at, 0)
    last = value_or(columns, V_END, columns.end, at, 0)
    if first < 0 or last < 0:
        return 6
    first = np.int64(seconds(np.uint64(first)))
    last = np.int64(seconds(np.uint64(last)))
    if first > 0xFFFFFFFF or last > 0xFFFFFFFF:
        return 6
    verdict = columns.verdicts[entry(columns, V_ACTION, columns.verdict, at, columns.verdicts.size)]
    if verdict == BAD_VERDICT:
        return 7
    flags = value_or(columns, V_FLAGS, columns.flags, at, 0)
    if flags < 0 or flags > 255:
        return 13
    parsed[P_SRC_HI, to] = src_hi
    parsed[P_SRC_LO, to] = src_lo
    parsed[P_DST_HI, to] = dst_hi
    parsed[P_DST_LO, to] = dst_lo
    parsed[P_SPORT, to] = np.uint64(sport)
    parsed[P_DPORT, to] = np.uint64(dport)
    parsed[P_PROTOCOL, to] = np.uint64(protocol)
    parsed[P_PACKETS, to] = np.uint64(packets)
    parsed[P_BYTES, to] = np.uint64(octets)
    parsed[P_FIRST, to] = np.uint64(first)
    parsed[P_LAST, to] = np.uint64(last)
    parsed[P_VERDICT, to] = np.uint64(verdict)
    parsed[P_FLAGS, to] = np.uint64(flags) if is_valid(columns, V_FLAGS, at) else NO_FLAGS
    network = entry(columns, V_NETWORK, columns.network, at, columns.networks.size)
    parsed[P_NETWORK, to] = columns.networks[network]
    peer = entry(columns, V_PEER_NETWORK, columns.peer_network, at, columns.peer_networks.size)
    parsed[P_PEER_NETWORK, to] = columns.peer_networks[peer]
    return 0


@kernel
def plain_number(values: Any, start: Any, n: Any, limit: Any, out: Any, odd: Any) -> None:
    """values[start : start + n] into out[:n]; what is negative or above `limit` marks its row in `odd`."""
    part = values[start : start + n]
    for row in range(n):
        value = np.uint64(np.int64(part[row]))
        out[row] = value
        odd[row] |= U1 if value > limit else U0


@kernel
def plain_address(places: Any, table: Any, start: Any, n: Any, hi: Any, lo: Any, odd: Any) -> None:
    """Addresses into hi[:n] and lo[:n]; what is none marks its row in `odd`."""
    last = np.uint32(table.kind.size - 1)
    part = places[start : start + n]
    for row in range(n):
        place = min(np.uint32(part[row]), last)
        hi[row] = table.words[place, 0]
        lo[row] = table.words[place, 1]
    if table.has_others:
        for row in range(n):
            odd[row] |= U0 if table.kind[min(np.uint32(part[row]), last)] == A_GOOD else U1
    else:
        for row in range(n):
            odd[row] |= U0 if np.uint32(part[row]) < last else U1


@kernel
def plain_code(places: Any, codes: Any, start: Any, n: Any, out: Any) -> None:
    """codes[place] of each row into out[:n]."""
    last = np.uint32(codes.size - 1)
    part = places[start : start + n]
    for row in range(n):
        out[row] = np.uint64(codes[min(np.uint32(part[row]), last)])


@kernel
def mark_nulls(columns: Any, start: Any, n: Any, odd: Any) -> None:
    """Mark in `odd` the rows that are null in a needed column. `start` is a multiple of 64, and `valid` has as many
    bits."""
    for word in range((n + 63) >> 6):
        nulls = U0
        for column in range(V_COUNT):
            if columns.needed[column] != 0:
                nulls |= ~load64(columns.valid[column], (start >> 3) + (word << 3))
        while nulls != U0:
            row = (word << 6) + np.int64(trailing_zeros(nulls))
            nulls &= nulls - U1
            if row < n:
                odd[row] = U1


@kernel
def read_plainly(columns: Any, start: Any, n: Any, parsed: Any, odd: Any) -> None:
    """Records start to start + n into parsed[:, :n], a column at a time; odd[row] != 0 where a record needs care."""
    plain_code(columns.status, columns.statuses, start, n, odd)
    mark_nulls(columns, start, n, odd)
    plain_address(columns.src, columns.src_addresses, start, n, parsed[P_SRC_HI], parsed[P_SRC_LO], odd)
    plain_address(columns.dst, columns.dst_addresses, start, n, parsed[P_DST_HI], parsed[P_DST_LO], odd)
    plain_number(columns.sport, start, n, MOST_PORT, parsed[P_SPORT], odd)
    plain_number(columns.dport, start, n, MOST_PORT, parsed[P_DPORT], odd)
    plain_number(columns.protocol, start, n, MOST_BYTE, parsed[P_PROTOCOL], odd)
    plain_number(columns.packets, start, n, LARGEST, parsed[P_PACKETS], odd)
    plain_number(columns.octets, start, n, LARGEST, parsed[P_BYTES], odd)
    plain_number(columns.start, start, n, MASK32, parsed[P_FIRST], odd)
    plain_number(columns.end, start, n, MASK32, parsed[P_LAST], odd)
    plain_code(columns.verdict, columns.verdicts, start, n, parsed[P_VERDICT])
    plain_code(columns.interface, columns.interfaces, start, n, parsed[P_INTERFACE])
    plain_code(columns.network, columns.networks, start, n, parsed[P_NETWORK])
    if columns.needed[V_PEER_NETWORK] != 0:
        plain_code(columns.peer_network, columns.peer_networks, start, n, parsed[P_PEER_NETWORK])
    if columns.needed[V_FLAGS] != 0:
        plain_number(columns.flags, start, n, MOST_BYTE, parsed[P_FLAGS], odd)
    else:
        parsed[P_FLAGS][:n] = NO_FLAGS
    for row in range(n):
        odd[row] |= U1 if parsed[P_VERDICT, row] == BAD_VERDICT else U0


@kernel
def read_columns_of_records(columns: Any, start: Any, count: Any, tables: Any, facts: Any, scratch: Any) -> Any:
    """Aggregate records start to `count`; returns where it stopped: at `count`, or where a table wants to grow."""
    parsed = scratch.parsed
    kept = scratch.kept
    at = start
    while at < count:
        if not room(tables):
            return at
        rows = min(BLOCK_ROWS, count - at)
        read_plainly(columns, at, rows, parsed, scratch.wrong)
        for row in range(rows):
            kept[row] = 1
            if scratch.wrong[row] == U0:
                continue
            reason = read_record(columns, at + row, parsed, row)
            if reason != 0:
                kept[row] = reason - 6 if reason == 8 or reason == 9 else 0
                seen = scratch.reason_counts[reason]
                if seen < SAMPLES:
                    scratch.reason_samples[reason, seen] = at + row
                scratch.reason_counts[reason] = seen + 1
        if columns.needed[V_PEER_NETWORK] != 0:
            pair_networks(rows, tables, scratch)
        add_records(rows, tables, facts, scratch)
        at += rows
    return at
