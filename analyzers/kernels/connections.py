"""Packets into the table of connections: both ends' ports, sizes in each direction, and what the handshake says.

One call takes a capture's window from bytes to rows, a small batch at a time. A batch goes through steps whose memory
accesses are asked for one step ahead; between the steps, scouts ask for the bytes of batches that come later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.capture_state import FULL
from analyzers.kernels.frames import decode_frames
from analyzers.kernels.ipv4_flows import (
    F_COUNT,
    F_INDEX,
    F_SPAN,
    FLOW_WORDS,
    Flows,
    add_flows,
    flow_key,
    flush_flows,
    is_ipv4,
    make_room_for_flows,
)
from analyzers.kernels.jit import inlined, kernel, prefetch
from analyzers.kernels.pcap import walk_pcap
from analyzers.kernels.pcapng import walk_pcapng
from analyzers.kernels.scouting import scout, send_scouts
from analyzers.kernels.tables import (
    ALL_TIME,
    ASK_A,
    ASK_B,
    FIN_A,
    FIN_B,
    HIGH32,
    MASK16,
    MASK32,
    SYN_A,
    SYN_ACK_A,
    SYN_ACK_B,
    SYN_B,
    U0,
    U1,
    U16,
    U24,
    U32,
    U48,
    connection_hash,
    epoch_of,
    index_takes,
    joined_times,
    slice_of,
)
from analyzers.kernels.window import inside

PACKETS_AT_ONCE = 32
"""Few enough that what is passed from step to step stays in the first-level cache."""

# Counters of an aggregation, int64[COUNTERS].
C_CONNECTIONS = 0  # rows in the table
C_PACKETS = 1  # packets that are in the table
C_ERRORS = 2  # ICMP errors, which are not
C_FIRST = 3  # earliest and latest time of a packet, seconds UTC
C_LAST = 4
C_OUTSIDE = 5  # packets outside of the window, which are not in the table
COUNTERS = 6

ROOM = -1
"""Instead of an Outcome: the table needs room for PACKETS_AT_ONCE more rows before it can go on."""

# Columns of a packet on its way into the table: the first seven are the row's key, see analyzers.kernels.tables.
_EVIDENCE, _BACK, _SIZE, _TIME, _HASH, _SLOT = 7, 8, 9, 10, 11, 12
PACKET_WORDS = 13

_TCP, _ICMP, _ICMP6, _SCTP = np.uint64(6), np.uint64(1), np.uint64(58), np.uint64(132)
_BYTE = np.uint64(0xFF)
_ICMP_ERROR = np.uint64(4)


def _evidence() -> NDArray[np.uint64]:
    """uint64[3, 2, 256]: TCP, SCTP, anything else; sent by a, by b; the flag byte -> evidence bits of the row."""
    table = np.zeros((3, 2, 256), np.uint64)
    for flags in range(256):
        for back, (syn, syn_ack, fin) in enumerate(((SYN_A, SYN_ACK_A, FIN_A), (SYN_B, SYN_ACK_B, FIN_B))):
            opened = {0x02: syn, 0x12: syn_ack}.get(flags & 0x12, U0)
            table[0, back, flags] = opened | (fin if flags & 0x01 else U0)
            table[1, back, flags] = syn if flags & 1 else (syn_ack if flags & 2 else U0)
        if flags & 1:  # a question
            table[2, :, flags] = ASK_A, ASK_B
        elif flags & 2:  # an answer: the other end had asked
            table[2, :, flags] = ASK_B, ASK_A
    return table << U48


_EVIDENCE_OF = _evidence()


@inlined
def _evidence_kind(protocol: Any) -> Any:
    return 0 if protocol == _TCP else (1 if protocol == _SCTP else 2)


@inlined
def _either_epoch(hi: Any, lo: Any, network: Any, time: Any, facts: Any) -> Any:
    """Stretch of ownership of an address at a moment, in its network or in the inventory without one."""
    got = epoch_of(hi, lo, network, time, time, facts.cut_index, facts.cut_keys, facts.cut_times)
    if got == U0:
        got = epoch_of(hi, lo, MASK16, time, time, facts.cut_index, facts.cut_keys, facts.cut_times)
    return got


@inlined
def _packet_key(packets: Any, i: Any, network: Any, observer: Any, facts: Any, span: Any, batch: Any, at: Any) -> None:
    """Packet `i` as row `at` of the batch: its ends in canonical order."""
    word = packets.meta[i]
    protocol = (word >> U24) & _BYTE
    flags = (word >> U16) & _BYTE
    sport = word >> U48
    dport = (word >> U32) & MASK16
    hi, lo = packets.src_hi[i], packets.src_lo[i]
    to_hi, to_lo = packets.dst_hi[i], packets.dst_lo[i]
    time = packets.time[i]
    less = (to_lo < lo) | ((to_lo == lo) & (dport < sport))
    swap = (to_hi < hi) | ((to_hi == hi) & less)
    row = batch[at]
    row[0] = to_hi if swap else hi
    row[1] = to_lo if swap else lo
    row[2] = hi if swap else to_hi
    row[3] = lo if swap else to_lo
    row[4] = ((dport if swap else sport) << U48) | ((sport if swap else dport) << U32) | (protocol << U24)
    row[5] = (network << U48) | observer
    row[6] = U0
    if facts.cut_keys.shape[0] > 0:
        mine = _either_epoch(hi, lo, network, time, facts)
        yours = _either_epoch(to_hi, to_lo, network, time, facts)
        row[6] = ((yours if swap else mine) << U32) | (mine if swap else yours)
    back = np.int64(swap)
    row[_EVIDENCE] = _EVIDENCE_OF[_evidence_kind(protocol), back, np.int64(flags)]
    row[_BACK] = np.uint64(back * 2)
    row[_SIZE] = packets.size[i]
    moment = min(time, MASK32)  # the row format ends in 2106
    row[_TIME] = (moment << U32) | moment
    row[_HASH] = connection_hash(batch, at, slice_of(moment, span))


@inlined
def _find_slot(row: Any, index: Any, mask: Any, rows: Any) -> None:
    """Where the search for a packet's row goes on: the first slot that is free or has its tag."""
    value = row[_HASH]
    slot = value & mask
    tag = value & HIGH32
    entry = index[slot]
    while entry != U0 and (entry & HIGH32) != tag:
        slot = (slot + U1) & mask
        entry = index[slot]
    row[_SLOT] = slot
    if entry != U0:
        found = rows[(entry & MASK32) - U1]
        prefetch(found, 0)
        prefetch(found, 8)
        prefetch(found, 12)


@inlined
def _add_packet(new: Any, span: Any, index: Any, mask: Any, rows: Any, count: Any) -> Any:
    """Add a packet whose slot was looked for -> the row count."""
    tag = new[_HASH] & HIGH32
    slice_start = slice_of(new[_TIME] >> U32, span)
    slot = new[_SLOT]
    back = new[_BACK]
    while True:
        entry = index[slot]
        if entry == U0:
            index[slot] = tag | np.uint64(count + 1)
            row = rows[count]
            for word in range(7):
                row[word] = new[word]
            row[7] = new[_EVIDENCE] | U1
            for word in range(8, 12):
                row[word] = U0
            row[np.uint64(8) + back] = U1
            row[np.uint64(9) + back] = new[_SIZE]
            row[12] = new[_TIME]
            return count + 1
        if (entry & HIGH32) == tag:
            row = rows[(entry & MASK32) - U1]
            other = U0
            for word in range(7):
                other |= row[word] ^ new[word]
            if other == U0 and (row[12] >> U32) - slice_start < span:
                row[7] = (row[7] | new[_EVIDENCE]) + U1
                row[np.uint64(8) + back] += U1
                row[np.uint64(9) + back] += new[_SIZE]
                row[12] = joined_times(row[12], new[_TIME])
                return count
        slot = (slot + U1) & mask


@kernel
def add_packets(packets: Any, n: Any, network: Any, observer: Any, facts: Any, target: Any) -> None:
    """Add the first `n` packets to the target; what lies outside of the window of time, and ICMP errors, which quote a
    packet that never arrived, are counted only.

    The caller guarantees room: n rows in the table, an index with INDEX_SLOTS for INDEX_ROWS of them, n flows.
    """
    counters, batch, small = target.counters, target.batch, target.small
    index, rows, slots = target.slots, target.rows, target.flows.slots
    mask, flow_mask = np.uint64(index.size - 1), np.uint64(target.flows.counts[F_INDEX] - 1)
    first, last = counters[C_FIRST], counters[C_LAST]
    general, short = np.int64(0), np.int64(0)
    cuts = facts.cut_keys.shape[0] > 0
    span = np.uint64(target.flows.counts[F_SPAN])
    for i in range(n):
        time = np.int64(packets.time[i])
        if not inside(time, facts.window):
            counters[C_OUTSIDE] += 1
            continue
        first = min(first, time)
        last = max(last, time)
        protocol = (packets.meta[i] >> U24) & _BYTE
        if (protocol == _ICMP or protocol == _ICMP6) and (packets.meta[i] >> U16) & _ICMP_ERROR:
            counters[C_ERRORS] += 1
            continue
        if not cuts and is_ipv4(packets, i):
            value = flow_key(packets, i, _EVIDENCE_OF[_evidence_kind(protocol)], span, small, short)
            prefetch(slots, value & flow_mask)
            short += 1
        else:
            _packet_key(packets, i, network, observer, facts, span, batch, general)
            prefetch(index, batch[general, _HASH] & mask)
            general += 1
    for i in range(general):
        _find_slot(batch[i], index, mask, rows)
    add_flows(target.flows, small, short)
    count = counters[C_CONNECTIONS]
    for i in range(general):
        count = _add_packet(batch[i], span, index, mask, rows, count)
    counters[C_CONNECTIONS] = count
    counters[C_PACKETS] += general + short
    counters[C_FIRST], counters[C_LAST] = first, last


class Target(NamedTuple):
    """The table that packets go to (see analyzers.kernels.tables for the rows and the index), and the flows before it.

    Packets are in the table only when `flush` has said so.
    """

    slots: NDArray[np.uint64]
    rows: NDArray[np.uint64]  # [n, CONNECTION_WORDS]
    counters: NDArray[np.int64]  # [COUNTERS]
    flows: Flows
    batch: NDArray[np.uint64]  # [PACKETS_AT_ONCE, PACKET_WORDS], scratch
    small: NDArray[np.uint64]  # [PACKETS_AT_ONCE, FLOW_WORDS], scratch

    @staticmethod
    def over(
        index: NDArray[np.uint64], rows: NDArray[np.uint64], count: int, flows: Flows, span: int = int(ALL_TIME)
    ) -> Target:
        """A table that has `count` rows; nothing else was counted yet. `span`: seconds of its time slices."""
        flows.counts[F_SPAN] = span
        counters = np.zeros(COUNTERS, np.int64)
        counters[C_CONNECTIONS] = count
        counters[C_FIRST] = np.iinfo(np.int64).max
        counters[C_LAST] = -1
        batch = np.zeros((PACKETS_AT_ONCE, PACKET_WORDS), np.uint64)
        return Target(index, rows, counters, flows, batch, np.zeros((PACKETS_AT_ONCE, FLOW_WORDS), np.uint64))


@kernel
def flush(network: Any, observer: Any, target: Any) -> Any:
    """Move the flows into the table while it has room -> whether all are there."""
    counters, flows = target.counters, target.flows
    counters[C_CONNECTIONS] = flush_flows(
        flows, (network << U48) | observer, target.slots, target.rows, counters[C_CONNECTIONS], target.batch
    )
    return flows.counts[F_COUNT] == 0


@kernel
def aggregate_capture(
    buf: Any, linktype: Any, state: Any, interfaces: Any, tally: Any, records: Any, inner: Any, memory: Any,
    packets: Any, network: Any, observer: Any, facts: Any, target: Any,
) -> Any:  # fmt: skip
    """Walk, decode and add packets until the window ends or the table is full -> packets walked, Outcome or ROOM.

    linktype: of a pcap file; -1: it is pcapng. `records` and `packets` have PACKETS_AT_ONCE rows. `target`: Target.
    """
    counters = target.counters
    walked = np.int64(0)
    while True:
        if not make_room_for_flows(target.flows, PACKETS_AT_ONCE) and not flush(network, observer, target):
            return walked, ROOM
        count = counters[C_CONNECTIONS] + PACKETS_AT_ONCE  # what was flushed took room
        if count > target.rows.shape[0] or not index_takes(count, target.slots):
            return walked, ROOM
        send_scouts(buf, linktype < 0, state)
        if linktype < 0:
            found, outcome = walk_pcapng(buf, state, interfaces, tally, records)
        else:
            found, outcome = walk_pcap(buf, linktype, state, records)
        walked += found
        scout(buf, linktype < 0, state)
        filled = decode_frames(buf, records, found, inner, memory, packets, tally)
        scout(buf, linktype < 0, state)
        add_packets(packets, filled, network, observer, facts, target)
        scout(buf, linktype < 0, state)
        if outcome != FULL:
            return walked, outcome
