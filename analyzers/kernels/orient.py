"""Parsed records to rows of the tables: who serves where flags or ports settle it, both ports where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import inlined, kernel, prefetch
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
    S_ADDRESSES,
    S_FIRST,
    S_FIXED_NETWORK,
    S_FIXED_OBSERVER,
    S_LAST,
    S_RECORDS,
    S_SPAN,
)
from analyzers.kernels.tables import (
    CLIENT_INTERNED,
    FIN_A,
    FIN_B,
    KEY1,
    MASK16,
    MASK32,
    SERVER_INTERNED,
    SYN_A,
    SYN_ACK_A,
    SYN_ACK_B,
    SYN_B,
    U0,
    U1,
    U8,
    U22,
    U24,
    U32,
    U40,
    U48,
    epoch_of,
    intern_address,
    service_hash,
    slice_of,
)
from analyzers.kernels.transit import swapped

EPHEMERAL = np.uint64(32768)  # Linux: 32768 to 60999; IANA and Windows: 49152 up
ANY_NETWORK = np.uint64(0xFFFF)
TCP = np.uint64(6)
UDP = np.uint64(17)
SCTP = np.uint64(132)
F_FIN = U1
F_SYN = np.uint64(2)
F_SYN_ACK = np.uint64(0x12)
U2 = np.uint64(2)
U4 = np.uint64(4)


@kernel
def orient(
    parsed: Any,
    kept: Any,
    count: Any,
    state: Any,
    observer_network: Any,
    network_sides: Any,
    address_index: Any,
    addresses: Any,
    facts: Any,
    services: Any,
    hashes: Any,
    slices: Any,
    service_index: Any,
    connections: Any,
) -> Any:
    """Records parsed[:, :count] with kept[i] == 1 to service rows and connection rows; returns how many of each.

    Service rows come with their hashes and slices, as analyzers.kernels.tables.add_services takes them.

    The network of a record is its own VPC id, else the one fixed for the source, else its interface's, else number 0.
    What differs from record to record without a pattern is chosen, not branched on: half of the records are replies.
    """
    settled = 0
    unsettled = 0
    cuts = facts.cut_keys.shape[0] > 0
    service_ports = facts.service_ports
    fixed_network = state[S_FIXED_NETWORK]
    fixed_observer = np.uint64(state[S_FIXED_OBSERVER])
    earliest = np.uint64(state[S_FIRST])
    latest = state[S_LAST]
    span = np.uint64(state[S_SPAN])
    mask = np.uint64(service_index.size - 1)
    for i in range(count):
        if kept[i] != 1:
            continue
        first = parsed[P_FIRST, i]
        last = parsed[P_LAST, i]
        earliest = min(earliest, first)
        latest = max(latest, np.int64(last))
        observer = parsed[P_INTERFACE, i] - U1 if parsed[P_INTERFACE, i] != U0 else fixed_observer
        network = parsed[P_NETWORK, i] - U1
        if parsed[P_NETWORK, i] == U0:
            network = np.uint64(max(observer_network[observer], np.int64(0)))
            if fixed_network >= 0:
                network = np.uint64(fixed_network)
        source_epoch = U0
        target_epoch = U0
        if cuts:
            source_network = target_network = network
            if network_sides[network] != U0:
                source_network, target_network = ends_of_pair(network_sides[network], parsed, i)
            source_epoch = epoch(parsed[P_SRC_HI, i], parsed[P_SRC_LO, i], source_network, first, last, facts)
            target_epoch = epoch(parsed[P_DST_HI, i], parsed[P_DST_LO, i], target_network, first, last, facts)
        flags = parsed[P_FLAGS, i]
        sport = parsed[P_SPORT, i]
        dport = parsed[P_DPORT, i]
        protocol = parsed[P_PROTOCOL, i]
        tcp = (protocol == TCP) & (flags != NO_FLAGS)
        opening = tcp & ((flags & F_SYN) != U0)
        ported = (protocol == TCP) | (protocol == UDP) | (protocol == SCTP)
        served = ported & (service_ports[min(sport, dport)] != 0) & (max(sport, dport) >= EPHEMERAL)
        if not (opening | served):
            write_connection(parsed, i, source_epoch, target_epoch, connections, unsettled)
            connections[unsettled, 5] = (network << U48) | observer
            unsettled += 1
            continue
        # all bits where the source is the client, none where it serves: half of the records are replies, so a branch
        # on it would be guessed wrong half of the time
        forward = U0 - np.uint64(((flags & F_SYN_ACK) == F_SYN) & opening | (dport < sport) & (not opening))
        open_bits = U0 - np.uint64(opening)
        evidence = (open_bits & (U2 + forward)) | (~open_bits & U8)  # SYN is 1, SYN-ACK 2
        evidence |= (forward & F_FIN & flags & (U0 - np.uint64(flags != NO_FLAGS))) << U2
        meta = (network << U48) | (protocol << U24) | (parsed[P_VERDICT, i] << U22) | evidence
        source = parsed[P_SRC_LO, i]
        target = parsed[P_DST_LO, i]
        unusual = parsed[P_SRC_HI, i] | parsed[P_DST_HI, i] | source_epoch | target_epoch
        unusual |= ((source >> U32) ^ MASK16) | ((target >> U32) ^ MASK16)
        if unusual != U0:
            source = end_number(parsed[P_SRC_HI, i], source, source_epoch, state, address_index, addresses)
            target = end_number(parsed[P_DST_HI, i], target, target_epoch, state, address_index, addresses)
            meta |= CLIENT_INTERNED if (source if forward != U0 else target) >> U32 != U0 else U0
            meta |= SERVER_INTERNED if (target if forward != U0 else source) >> U32 != U0 else U0
        source &= MASK32
        target &= MASK32
        differ = (source ^ target) & forward
        packets = parsed[P_PACKETS, i]
        octets = parsed[P_BYTES, i]
        services[settled, 0] = ((target ^ differ) << U32) | (source ^ differ)
        services[settled, 1] = meta | ((sport ^ ((sport ^ dport) & forward)) << U32)
        services[settled, 2] = (observer << U40) | U1
        services[settled, 3] = packets & forward
        services[settled, 4] = octets & forward
        services[settled, 5] = packets & ~forward
        services[settled, 6] = octets & ~forward
        services[settled, 7] = (first << U32) | last
        slices[settled] = slice_of(first, span)
        value = service_hash(services[settled, 0], services[settled, 1] & KEY1, observer, slices[settled])
        hashes[settled] = value
        prefetch(service_index, value & mask)
        settled += 1
    state[S_FIRST] = np.int64(earliest)
    state[S_LAST] = latest
    state[S_RECORDS] += settled + unsettled
    return settled, unsettled


@kernel
def ends_of_pair(sides: Any, parsed: Any, i: Any) -> Any:
    """Networks of source and destination of a record between two networks (see analyzers.kernels.transit)."""
    lower, higher = sides >> U32, sides & MASK32
    if swapped(parsed, i):
        lower, higher = higher, lower
    return max(lower, U1) - U1, max(higher, U1) - U1


@inlined
def epoch(hi: Any, lo: Any, network: Any, first: Any, last: Any, facts: Any) -> Any:
    """Stretch of ownership of the address during the record, in its network or in the inventory without one."""
    got = epoch_of(hi, lo, network, first, last, facts.cut_index, facts.cut_keys, facts.cut_times)
    if got == U0:
        got = epoch_of(hi, lo, ANY_NETWORK, first, last, facts.cut_index, facts.cut_keys, facts.cut_times)
    return got


@kernel
def end_number(hi: Any, lo: Any, epoch: Any, state: Any, address_index: Any, addresses: Any) -> Any:
    """Stand-in of an address: itself for an IPv4 address whose owner never changes, else 2^32 + its number."""
    if hi == U0 and epoch == U0 and (lo >> U32) == MASK16:
        return lo & MASK32
    got = intern_address(hi, lo, epoch, address_index, addresses, state[S_ADDRESSES])
    if got == state[S_ADDRESSES]:
        state[S_ADDRESSES] += 1
    return np.uint64(got) | (U1 << U32)


@kernel
def write_connection(parsed: Any, i: Any, source_epoch: Any, target_epoch: Any, batch: Any, at: Any) -> None:
    """Record `i` as connection row batch[at], ends in canonical order; word 5 is left to the caller."""
    sport = parsed[P_SPORT, i]
    dport = parsed[P_DPORT, i]
    src_hi, src_lo = parsed[P_SRC_HI, i], parsed[P_SRC_LO, i]
    dst_hi, dst_lo = parsed[P_DST_HI, i], parsed[P_DST_LO, i]
    swap = dst_hi < src_hi or (dst_hi == src_hi and (dst_lo < src_lo or (dst_lo == src_lo and dport < sport)))
    evidence = U0
    flags = parsed[P_FLAGS, i]
    if flags != NO_FLAGS:
        opened = flags & F_SYN_ACK
        if opened == F_SYN_ACK:
            evidence |= SYN_ACK_B if swap else SYN_ACK_A
        elif opened == F_SYN:
            evidence |= SYN_B if swap else SYN_A
        if flags & F_FIN:
            evidence |= FIN_B if swap else FIN_A
    batch[at, 0] = dst_hi if swap else src_hi
    batch[at, 1] = dst_lo if swap else src_lo
    batch[at, 2] = src_hi if swap else dst_hi
    batch[at, 3] = src_lo if swap else dst_lo
    low = dport if swap else sport
    high = sport if swap else dport
    meta = (parsed[P_PROTOCOL, i] << U24) | (parsed[P_VERDICT, i] << U22)
    batch[at, 4] = (low << U48) | (high << U32) | meta
    batch[at, 6] = ((target_epoch if swap else source_epoch) << U32) | (source_epoch if swap else target_epoch)
    batch[at, 7] = (evidence << U48) | U1
    batch[at, 8] = U0 if swap else parsed[P_PACKETS, i]
    batch[at, 9] = U0 if swap else parsed[P_BYTES, i]
    batch[at, 10] = parsed[P_PACKETS, i] if swap else U0
    batch[at, 11] = parsed[P_BYTES, i] if swap else U0
    batch[at, 12] = (parsed[P_FIRST, i] << U32) | parsed[P_LAST, i]
