"""Records that arrive in columns (Parquet) to service rows and connection rows, by the rules of the text kernel.

Texts come as indices into dictionaries, whose entries are parsed once: addresses here, names by `intern_spans`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.addresses import BAD, parse_address
from analyzers.kernels.jit import kernel
from analyzers.kernels.orient import orient
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
    P_PROTOCOL,
    P_SPORT,
    P_SRC_HI,
    P_SRC_LO,
    P_VERDICT,
    S_CONNECTIONS,
    S_SERVICES,
)
from analyzers.kernels.separators import BLOCK_ROWS
from analyzers.kernels.tables import upsert_connections, upsert_services
from analyzers.kernels.text import SAMPLES, long_number, room, seconds

NULL = np.int64(-(1 << 63))
"""In a number column: null or a dash."""

N_SPORT, N_DPORT, N_PROTOCOL, N_PACKETS, N_BYTES, N_START, N_END, N_FLAGS = range(8)
N_COUNT = 8

A_BAD, A_GOOD, A_DASH = range(3)
"""Kinds of entries of an AddressTable."""

BAD_VERDICT = 255


class AddressTable(NamedTuple):
    """The dictionary of an address column, parsed; the last entry stands for null."""

    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]
    kind: NDArray[np.uint8]


class RecordColumns(NamedTuple):
    """Up to a batch of records; every column has a value for each, whether the file has the column or not.

    Numbers are int64, NULL for null. Places in dictionaries are int32, null being the place behind the last entry.
    """

    src: NDArray[np.int32]  # pkt-srcaddr where the file has it, else srcaddr
    dst: NDArray[np.int32]
    src_plain: NDArray[np.int32]  # srcaddr and dstaddr, for the dashes of the pkt- ones
    dst_plain: NDArray[np.int32]
    src_addresses: AddressTable
    dst_addresses: AddressTable
    src_plain_addresses: AddressTable
    dst_plain_addresses: AddressTable
    numbers: NDArray[np.int64]  # [N_COUNT, at least n], a row for each number column
    verdict: NDArray[np.int32]
    verdicts: NDArray[np.uint8]  # 0 unknown, 1 ACCEPT, 2 REJECT, BAD_VERDICT
    status: NDArray[np.int32]
    statuses: NDArray[np.uint8]  # Reason of each entry: 0 for OK
    interface: NDArray[np.int32]
    interfaces: NDArray[np.uint64]  # number + 1 of the interned name, 0: none
    network: NDArray[np.int32]
    networks: NDArray[np.uint64]


@kernel
def parse_addresses(text: Any, offsets: Any, count: Any, hi: Any, lo: Any, kind: Any) -> None:
    """Parse `count` entries text[offsets[i]:offsets[i + 1]] of a dictionary (uint8 with padding on both sides)."""
    for i in range(count):
        begin, end = offsets[i], offsets[i + 1]
        if end - begin == 1 and text[begin] == 45:
            kind[i] = 2
            continue
        hi[i], lo[i], good = parse_address(text, begin, end)
        kind[i] = 1 if good else 0


@kernel
def parse_numbers(text: Any, offsets: Any, count: Any, out: Any) -> None:
    """Parse entries of a dictionary of decimal numbers into int64; NULL for a dash, -1 for what is no number."""
    for i in range(count):
        begin, end = offsets[i], offsets[i + 1]
        value = long_number(text, begin, end)
        out[i] = np.int64(value) if value != BAD else -1
        if end - begin == 1 and text[begin] == 45:
            out[i] = NULL


@kernel
def read_record(columns: Any, at: Any, parsed: Any, to: Any) -> Any:
    """Record `at` into parsed[:, to]; returns its Reason, 0 when it is one. The order of checks is careful_row's."""
    status = np.int64(columns.statuses[columns.status[at]])
    if status != 0:
        return status
    source = columns.src[at]
    target = columns.dst[at]
    src_kind = columns.src_addresses.kind[source]
    dst_kind = columns.dst_addresses.kind[target]
    src_hi, src_lo = columns.src_addresses.hi[source], columns.src_addresses.lo[source]
    dst_hi, dst_lo = columns.dst_addresses.hi[target], columns.dst_addresses.lo[target]
    if src_kind == 2:
        source = columns.src_plain[at]
        src_kind = columns.src_plain_addresses.kind[source]
        src_hi, src_lo = columns.src_plain_addresses.hi[source], columns.src_plain_addresses.lo[source]
    if dst_kind == 2:
        target = columns.dst_plain[at]
        dst_kind = columns.dst_plain_addresses.kind[target]
        dst_hi, dst_lo = columns.dst_plain_addresses.hi[target], columns.dst_plain_addresses.lo[target]
    if src_kind == 2 or dst_kind == 2:
        return 10
    if src_kind == 0 or dst_kind == 0:
        return 2
    sport = known(columns.numbers[N_SPORT, at])
    dport = known(columns.numbers[N_DPORT, at])
    if sport < 0 or dport < 0 or sport > 65535 or dport > 65535:
        return 3
    protocol = columns.numbers[N_PROTOCOL, at]
    if protocol < 0 or protocol > 255:
        return 4
    packets = known(columns.numbers[N_PACKETS, at])
    octets = known(columns.numbers[N_BYTES, at])
    if packets < 0 or octets < 0:
        return 5
    first = np.int64(seconds(np.uint64(known(columns.numbers[N_START, at]))))
    last = np.int64(seconds(np.uint64(known(columns.numbers[N_END, at]))))
    if (
        first > 0xFFFFFFFF
        or last > 0xFFFFFFFF
        or columns.numbers[N_START, at] == -1
        or columns.numbers[N_END, at] == -1
    ):
        return 6
    verdict = columns.verdicts[columns.verdict[at]]
    if verdict == BAD_VERDICT:
        return 7
    flags = columns.numbers[N_FLAGS, at]
    if flags != NULL and (flags < 0 or flags > 255):
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
    parsed[P_FLAGS, to] = NO_FLAGS if flags == NULL else np.uint64(flags)
    parsed[P_INTERFACE, to] = columns.interfaces[columns.interface[at]]
    parsed[P_NETWORK, to] = columns.networks[columns.network[at]]
    return 0


@kernel
def known(value: Any) -> Any:
    """A number, 0 for NULL."""
    return np.int64(0) if value == NULL else value


@kernel
def read_columns_of_records(columns: Any, start: Any, count: Any, tables: Any, facts: Any, scratch: Any) -> Any:
    """Aggregate records start to `count`; returns where it stopped: at `count`, or where a table wants to grow."""
    state = tables.state
    parsed = scratch.parsed
    kept = scratch.kept
    at = start
    while at < count:
        if not room(tables):
            return at
        rows = min(BLOCK_ROWS, count - at)
        for row in range(rows):
            reason = read_record(columns, at + row, parsed, row)
            kept[row] = 1 if reason == 0 else 0
            if reason != 0:
                seen = scratch.reason_counts[reason]
                if seen < SAMPLES:
                    scratch.reason_samples[reason, seen] = at + row
                scratch.reason_counts[reason] = seen + 1
        services, connections = orient(
            parsed, kept, rows, state, tables.observer_network, tables.address_index, tables.addresses, facts,
            scratch.service_batch, scratch.connection_batch,
        )  # fmt: skip
        state[S_SERVICES] = upsert_services(
            scratch.service_batch, services, scratch.hashes, scratch.candidates,
            tables.service_index, tables.services, state[S_SERVICES],
        )  # fmt: skip
        state[S_CONNECTIONS] = upsert_connections(
            scratch.connection_batch, connections, tables.connection_index, tables.connections, state[S_CONNECTIONS]
        )
        at += rows
    return at
