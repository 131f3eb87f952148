"""IPv4 connections of a capture, one cache line each, on their way into the table of all connections.

Most packets are IPv4, and most captures have few connections for their packets: a row of eight words that two words
tell apart takes one memory access where a connection row takes three. What is the same for the whole capture (network,
observer) is left out; `flush_flows` adds it when the capture ends or MOST_FLOWS are here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.jit import inlined, kernel, prefetch
from analyzers.kernels.tables import (
    ALL_TIME,
    HIGH32,
    INDEX_ROWS,
    INDEX_SLOTS,
    MASK16,
    MASK32,
    MIX1,
    MIX3,
    U0,
    U1,
    U32,
    U48,
    joined_times,
    mix,
    place,
    rows_on_cache_lines,
    slice_of,
    upsert_connections,
)

MOST_FLOWS = 1 << 18
_SMALLEST_INDEX = 1 << 12

# A flow row, uint64[8]; one packet on its way into it has the same words, with its hash and slot in the spare two.
W_ENDS = 0  # a32 << 32 | b32, in canonical order
W_PORTS = 1  # a_port16 << 48 | b_port16 << 32 | protocol8 << 24, as in a connection row
W_EVIDENCE = 2  # evidence16 << 48
W_PACKETS = 3  # a to b; bytes a to b; packets b to a; bytes b to a
W_TIMES = 7  # first32 << 32 | last32
FLOW_WORDS = 8
# A packet, uint64[8]: the first three words as above, then:
P_BACK, P_SIZE, P_HASH, P_SLOT = 3, 4, 5, 6

# Counters of the flows, int64[4].
F_COUNT = 0
F_FLUSHED = 1  # rows that are in the connection table already
F_INDEX = 2  # slots of the index in use, a power of two
F_SPAN = 3  # seconds of a time slice, or ALL_TIME: no row spans two slices (by its first packet)

_MAPPED = np.uint64(0xFFFF_0000_0000)


class Flows(NamedTuple):
    """The flows of one capture."""

    rows: NDArray[np.uint64]  # [MOST_FLOWS, FLOW_WORDS]
    slots: NDArray[np.uint64]  # [2 * MOST_FLOWS], of which the first counts[F_INDEX] are the index
    counts: NDArray[np.int64]

    @staticmethod
    def empty() -> Flows:
        """Nothing in it; zero pages until there is. Rows lie on cache lines."""
        counts = np.array([0, 0, _SMALLEST_INDEX, ALL_TIME], np.int64)
        return Flows(rows_on_cache_lines(MOST_FLOWS), np.zeros(2 * MOST_FLOWS, np.uint64), counts)


@inlined
def is_ipv4(packets: Any, i: Any) -> Any:
    """Whether both addresses of a packet are IPv4 ones."""
    upper = packets.src_hi[i] | packets.dst_hi[i]
    return upper | (packets.src_lo[i] ^ _MAPPED) >> U32 | (packets.dst_lo[i] ^ _MAPPED) >> U32 == U0


@inlined
def flow_key(packets: Any, i: Any, evidence: Any, span: Any, batch: Any, at: Any) -> Any:
    """Packet `i` as row `at` of the batch -> its hash. evidence: uint64[2, 256], by direction and flag byte."""
    word = packets.meta[i]
    sport = word >> U48
    dport = (word >> U32) & MASK16
    src, dst = packets.src_lo[i] & MASK32, packets.dst_lo[i] & MASK32
    there, back = (src << U32) | dst, (dst << U32) | src
    swap = (back < there) | ((src == dst) & (dport < sport))
    ports = (dport << U48) | (sport << U32) if swap else word & HIGH32
    direction = np.int64(swap)
    row = batch[at]
    ends = back if swap else there
    ports |= word & np.uint64(0xFF00_0000)
    row[W_ENDS] = ends
    row[W_PORTS] = ports
    row[W_EVIDENCE] = evidence[direction, np.int64((word >> np.uint64(16)) & np.uint64(0xFF))]
    row[P_BACK] = np.uint64(direction * 2)
    row[P_SIZE] = packets.size[i]
    moment = min(packets.time[i], MASK32)  # the row format ends in 2106
    row[W_TIMES] = (moment << U32) | moment
    value = flow_hash(ends, ports, slice_of(moment, span))
    row[P_HASH] = value
    return value


@inlined
def flow_hash(ends: Any, ports: Any, slice_start: Any) -> Any:
    """Hash of a flow's key and its slice."""
    return mix(ends * MIX1 ^ mix((ports ^ slice_start) * MIX3))


@kernel
def make_room_for_flows(flows: Any, n: Any) -> Any:
    """Make sure that `n` more flows find room -> whether they do; if not, the flows must be flushed."""
    count, size = flows.counts[F_COUNT], flows.counts[F_INDEX]
    if count + n > flows.rows.shape[0]:
        return False
    if 2 * (count + n) <= size:
        return True
    while 2 * (count + n) > size:
        size *= 4
    size = min(size, flows.slots.shape[0])
    flows.counts[F_INDEX] = size
    index = flows.slots[:size]
    index[:] = U0
    span = np.uint64(flows.counts[F_SPAN])
    for i in range(count):
        row = flows.rows[i]
        value = flow_hash(row[W_ENDS], row[W_PORTS], slice_of(row[W_TIMES] >> U32, span))
        place(index, np.uint64(size - 1), value, np.uint64(i))
    return True


@kernel
def add_flows(flows: Any, batch: Any, n: Any) -> None:
    """Add the first `n` packets of the batch, whose index slots were asked for; there is room for them."""
    index, rows = flows.slots, flows.rows
    mask = np.uint64(flows.counts[F_INDEX] - 1)
    count = flows.counts[F_COUNT]
    span = np.uint64(flows.counts[F_SPAN])
    for i in range(n):
        value = batch[i, P_HASH]
        slot = value & mask
        tag = value & HIGH32
        entry = index[slot]
        while entry != U0 and (entry & HIGH32) != tag:
            slot = (slot + U1) & mask
            entry = index[slot]
        batch[i, P_SLOT] = slot
        if entry != U0:
            prefetch(rows[(entry & MASK32) - U1], 0)
    for i in range(n):
        count = _add_flow(batch[i], span, index, mask, rows, count)
    flows.counts[F_COUNT] = count


@inlined
def _add_flow(new: Any, span: Any, index: Any, mask: Any, rows: Any, count: Any) -> Any:
    slice_start = slice_of(new[W_TIMES] >> U32, span)
    ends, ports = new[W_ENDS], new[W_PORTS]
    tag = new[P_HASH] & HIGH32
    slot = new[P_SLOT]
    out = np.uint64(W_PACKETS) + new[P_BACK]
    while True:
        entry = index[slot]
        if entry == U0:
            index[slot] = tag | np.uint64(count + 1)
            row = rows[count]
            for word in range(W_EVIDENCE + 1):
                row[word] = new[word]
            for word in range(W_PACKETS, W_TIMES):
                row[word] = U0
            row[out] = U1
            row[out + U1] = new[P_SIZE]
            row[W_TIMES] = new[W_TIMES]
            return count + 1
        row = rows[(entry & MASK32) - U1]
        strange = (row[W_ENDS] ^ ends) | (row[W_PORTS] ^ ports)
        if strange == U0 and (row[W_TIMES] >> U32) - slice_start < span:
            row[W_EVIDENCE] |= new[W_EVIDENCE]
            row[out] += U1
            row[out + U1] += new[P_SIZE]
            row[W_TIMES] = joined_times(row[W_TIMES], new[W_TIMES])
            return count
        slot = (slot + U1) & mask


@kernel
def flush_flows(flows: Any, scope: Any, index: Any, rows: Any, count: Any, scratch: Any) -> Any:
    """Move flows into the connection table while it has room -> its row count; counts[F_COUNT] is 0 when all are there.

    scope: network16 << 48 | observer32; scratch: uint64[n, >= CONNECTION_WORDS], n rows are moved at a time.
    """
    at, total = flows.counts[F_FLUSHED], flows.counts[F_COUNT]
    span = np.uint64(flows.counts[F_SPAN])
    while True:
        now = min(min(scratch.shape[0], total - at), min(rows.shape[0], index.size * INDEX_ROWS // INDEX_SLOTS) - count)
        if now <= 0:
            break
        for i in range(now):
            row = flows.rows[at + i]
            new = scratch[i]
            new[0], new[2], new[6] = U0, U0, U0
            new[1] = _MAPPED | (row[W_ENDS] >> U32)
            new[3] = _MAPPED | (row[W_ENDS] & MASK32)
            new[4] = row[W_PORTS]
            new[5] = scope
            new[7] = row[W_EVIDENCE] | (row[W_PACKETS] + row[W_PACKETS + 2])
            for word in range(4):
                new[8 + word] = row[W_PACKETS + word]
            new[12] = row[W_TIMES]
        count = upsert_connections(scratch, now, span, index, rows, count)
        at += now
    flows.counts[F_FLUSHED] = at
    if at == total:
        flows.slots[: flows.counts[F_INDEX]] = U0
        flows.counts[F_COUNT] = 0
        flows.counts[F_FLUSHED] = 0
    return count
