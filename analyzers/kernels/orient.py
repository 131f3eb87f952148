"""Parsed records to rows of the tables: who serves where flags or ports settle it, both ports where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import eight_services, inlined, kernel
from analyzers.kernels.record import (
    NO_FLAGS,
    O_CLIENT_SERVER,
    O_FORWARD,
    O_HASH,
    O_META,
    O_NETWORK,
    O_OBSERVER,
    O_ORDER,
    O_OTHERS,
    O_SLICE,
    O_SLOT,
    O_STATE,
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
    R_OPEN,
    R_SETTLED,
    R_UNUSUAL,
    S_ADDRESSES,
    S_CONNECTIONS,
    S_FIRST,
    S_FIXED_NETWORK,
    S_FIXED_OBSERVER,
    S_LAST,
    S_RECORDS,
    S_SERVICES,
    S_SPAN,
)
from analyzers.kernels.tables import (
    AHEAD,
    ALL_ONES,
    ALL_TIME,
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
    U48,
    add_service,
    ask_ahead,
    epoch_of,
    intern_address,
    service_hash,
    slice_of,
    upsert_connections,
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
U3 = np.uint64(3)
U7 = np.uint64(7)


@kernel
def add_oriented(
    parsed: Any, kept: Any, count: Any, oriented: Any, epochs: Any, tables: Any, facts: Any, services: Any,
    connections: Any,
) -> None:  # fmt: skip
    """Add the records parsed[:, :count] with kept[i] == 1, which are placed (see `place_records`), to the tables, as
    service rows or as connection rows.

    `oriented` uint64[ORIENTED_WORDS, n], `epochs` uint64[2, n], `services` uint64[n, SERVICE_WORDS] and `connections`
    uint64[n, CONNECTION_WORDS] are working memory; of `parsed`, `oriented` and `services` there are up to the next
    multiple of eight. The caller guarantees room for `count` rows more of each kind.

    A column at a time, without branches, so that the compiler makes vector code of it; what differs from record to
    record without a pattern is chosen, not branched on: half of the records are replies.
    """
    state = tables.state
    decide(parsed, kept, count, oriented, facts.service_ports, state)
    if facts.cut_keys.shape[0] > 0:
        find_epochs(parsed, count, oriented, epochs, tables.network_sides, facts)
    settled, unsettled, unusual = sort_out(oriented, count)
    if unusual:
        number_ends(parsed, count, oriented, epochs, state, tables.address_index, tables.addresses)
    write_services(parsed, count, oriented, np.uint64(state[S_SPAN]), services)
    state[S_SERVICES] = add_services(
        services, oriented, np.int64(settled), np.uint64(state[S_SPAN]), tables.service_index, tables.services,
        state[S_SERVICES],
    )  # fmt: skip
    others = oriented[O_OTHERS]
    for at in range(unsettled):
        i = others[at]
        write_connection(parsed, i, epochs[0, i], epochs[1, i], connections, at)
        connections[at, 5] = (oriented[O_NETWORK, i] << U48) | oriented[O_OBSERVER, i]
    state[S_CONNECTIONS] = upsert_connections(
        connections, unsettled, np.uint64(state[S_SPAN]), tables.connection_index, tables.connections,
        state[S_CONNECTIONS],
    )  # fmt: skip
    state[S_RECORDS] += np.int64(settled + unsettled)


@kernel
def place_records(parsed: Any, count: Any, oriented: Any, state: Any, observer_network: Any) -> None:
    """Observers, and networks: a record's own VPC id, else the one fixed for the source, else its interface's."""
    fixed_observer = np.uint64(state[S_FIXED_OBSERVER])
    fixed_network = state[S_FIXED_NETWORK]
    for i in range(count):
        name = parsed[P_INTERFACE, i]
        oriented[O_OBSERVER, i] = name - U1 if name != U0 else fixed_observer
    if fixed_network >= 0:
        for i in range(count):
            name = parsed[P_NETWORK, i]
            oriented[O_NETWORK, i] = name - U1 if name != U0 else np.uint64(fixed_network)
    else:
        for i in range(count):
            name = parsed[P_NETWORK, i]
            known = observer_network[oriented[O_OBSERVER, i]]
            oriented[O_NETWORK, i] = name - U1 if name != U0 else known


@kernel
def decide(parsed: Any, kept: Any, count: Any, oriented: Any, service_ports: Any, state: Any) -> None:
    """Who serves, into O_FORWARD and O_STATE; O_META; and the times of the records that count."""
    known = oriented[O_STATE]
    for i in range(count):  # apart from what follows: places in a table are no vector code
        low = min(parsed[P_SPORT, i], parsed[P_DPORT, i]) & MASK16  # records that do not count may hold anything
        known[i] = np.uint64(service_ports[low >> U3] >> (low & U7)) & U1
    for i in range(count):
        flags = parsed[P_FLAGS, i]
        sport = parsed[P_SPORT, i]
        dport = parsed[P_DPORT, i]
        protocol = parsed[P_PROTOCOL, i]
        told = (U0 - np.uint64(protocol == TCP)) & (U0 - np.uint64(flags != NO_FLAGS))
        opening = told & (U0 - ((flags & F_SYN) >> U1))
        ported = np.uint64(protocol == TCP) | np.uint64(protocol == UDP) | np.uint64(protocol == SCTP)
        served = ported & known[i] & np.uint64(max(sport, dport) >= EPHEMERAL)
        asks = U0 - np.uint64((flags & F_SYN_ACK) == F_SYN)
        forward = (asks & opening) | ((U0 - np.uint64(dport < sport)) & ~opening)
        evidence = (opening & (U2 + forward)) | (~opening & U8)  # SYN is 1, SYN-ACK 2
        evidence |= (forward & F_FIN & flags & (U0 - np.uint64(flags != NO_FLAGS))) << U2
        port = sport ^ ((sport ^ dport) & forward)
        meta = (oriented[O_NETWORK, i] << U48) | (port << U32) | (protocol << U24)
        oriented[O_META, i] = meta | (parsed[P_VERDICT, i] << U22) | evidence
        oriented[O_FORWARD, i] = forward
        settled = (opening & U1) | served
        unusual = parsed[P_SRC_HI, i] | parsed[P_DST_HI, i]
        unusual |= ((parsed[P_SRC_LO, i] >> U32) ^ MASK16) | ((parsed[P_DST_LO, i] >> U32) ^ MASK16)
        oriented[O_STATE, i] = (R_OPEN - settled) | (R_UNUSUAL if unusual != U0 else U0)
    earliest = np.uint64(state[S_FIRST])
    latest = np.uint64(state[S_LAST] + 1)
    for i in range(count):
        counts = kept[i] == 1
        oriented[O_STATE, i] = oriented[O_STATE, i] if counts else U0
        earliest = min(earliest, parsed[P_FIRST, i] if counts else ALL_ONES)
        latest = max(latest, parsed[P_LAST, i] + U1 if counts else U0)
    state[S_FIRST] = np.int64(earliest)
    state[S_LAST] = np.int64(latest) - 1


@kernel
def sort_out(oriented: Any, count: Any) -> Any:
    """Numbers of the records to O_ORDER and O_OTHERS -> (how many there, how many here, whether any is unusual)."""
    order, others = oriented[O_ORDER], oriented[O_OTHERS]
    settled = U0
    unsettled = U0
    unusual = U0
    for i in range(count):
        state = oriented[O_STATE, i]
        order[settled] = np.uint64(i)
        others[unsettled] = np.uint64(i)
        settled += state & R_SETTLED
        unsettled += (state & R_OPEN) >> U1
        unusual |= state & R_UNUSUAL
    return settled, unsettled, unusual != U0


@kernel
def find_epochs(parsed: Any, count: Any, oriented: Any, epochs: Any, network_sides: Any, facts: Any) -> None:
    """Stretches of ownership of sources and destinations; a record that has one is unusual."""
    for i in range(count):
        if oriented[O_STATE, i] == U0:
            continue
        network = oriented[O_NETWORK, i]
        first, last = parsed[P_FIRST, i], parsed[P_LAST, i]
        source_network = target_network = network
        if network_sides[network] != U0:
            source_network, target_network = ends_of_pair(network_sides[network], parsed, i)
        epochs[0, i] = epoch(parsed[P_SRC_HI, i], parsed[P_SRC_LO, i], source_network, first, last, facts)
        epochs[1, i] = epoch(parsed[P_DST_HI, i], parsed[P_DST_LO, i], target_network, first, last, facts)
        if (epochs[0, i] | epochs[1, i]) != U0:
            oriented[O_STATE, i] |= R_UNUSUAL


@kernel
def number_ends(
    parsed: Any, count: Any, oriented: Any, epochs: Any, state: Any, address_index: Any, addresses: Any
) -> None:
    """Put numbers in the place of the addresses of settled records that need them, and say so in O_META."""
    for i in range(count):
        if (oriented[O_STATE, i] & R_SETTLED) == U0 or (oriented[O_STATE, i] & R_UNUSUAL) == U0:
            continue
        forward = oriented[O_FORWARD, i] != U0
        source = end_number(parsed[P_SRC_HI, i], parsed[P_SRC_LO, i], epochs[0, i], state, address_index, addresses)
        target = end_number(parsed[P_DST_HI, i], parsed[P_DST_LO, i], epochs[1, i], state, address_index, addresses)
        meta = oriented[O_META, i]
        meta |= CLIENT_INTERNED if (source if forward else target) >> U32 != U0 else U0
        meta |= SERVER_INTERNED if (target if forward else source) >> U32 != U0 else U0
        oriented[O_META, i] = meta
        parsed[P_SRC_LO, i] = source
        parsed[P_DST_LO, i] = target


@kernel
def write_services(parsed: Any, count: Any, oriented: Any, span: Any, services: Any) -> None:
    """The records as service rows, services[:count], with their slices and hashes; what is behind, up to the next
    multiple of eight, is overwritten."""
    if span == ALL_TIME:
        oriented[O_SLICE, :count] = U0
    else:
        for i in range(count):
            oriented[O_SLICE, i] = slice_of(parsed[P_FIRST, i], span)
    for i in range(count):
        source = parsed[P_SRC_LO, i] & MASK32
        target = parsed[P_DST_LO, i] & MASK32
        differ = (source ^ target) & oriented[O_FORWARD, i]
        key = ((target ^ differ) << U32) | (source ^ differ)
        oriented[O_CLIENT_SERVER, i] = key
        oriented[O_HASH, i] = service_hash(
            key, oriented[O_META, i] & KEY1, oriented[O_OBSERVER, i], oriented[O_SLICE, i]
        )
    for i in range(0, count, 8):
        eight_services(parsed, oriented, i, services)


@kernel
def add_services(batch: Any, oriented: Any, n: Any, span: Any, index: Any, rows: Any, count: Any) -> Any:
    """Add the `n` records of O_ORDER, as the service rows that `batch` has of them; returns how many rows there are."""
    order, slots = oriented[O_ORDER], oriented[O_SLOT]
    hashes, slices = oriented[O_HASH], oriented[O_SLICE]
    for at in range(n):
        slots[at] = hashes[order[at]]
    for step in range(n + 2 * AHEAD):
        at = ask_ahead(step, n, slots, index, rows)
        if at >= 0:
            i = order[at]
            count = add_service(batch, i, slices[i], span, hashes[i], slots[at], index, rows, count)
    return count


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
