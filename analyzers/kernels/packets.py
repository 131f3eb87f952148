"""Packets to connection rows: both ends' ports, sizes in each direction, and what the handshake says."""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import kernel
from analyzers.kernels.tables import (
    ASK_A,
    ASK_B,
    FIN_A,
    FIN_B,
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
    epoch_of,
)

TCP = np.uint64(6)
ICMP = np.uint64(1)
ICMP6 = np.uint64(58)
SCTP = np.uint64(132)
BYTE = np.uint64(0xFF)
TCP_FIN = np.uint64(1)
TCP_SYN = np.uint64(2)
TCP_SYN_ACK = np.uint64(0x12)
ASKS = np.uint64(1)
ANSWERS = np.uint64(2)
ICMP_ERROR = np.uint64(4)


@kernel
def packets_to_connections(
    src_hi: Any,
    src_lo: Any,
    dst_hi: Any,
    dst_lo: Any,
    meta: Any,
    size: Any,
    time: Any,
    start: Any,
    end: Any,
    network: Any,
    observer: Any,
    facts: Any,
    rows: Any,
) -> Any:
    """Packets [start, end) of a PacketBatch's columns as connection rows; returns (rows written, ICMP errors left out).

    An ICMP error quotes a packet that never arrived: it is no flow of its own.
    """
    written = 0
    errors = 0
    scope = (network << U48) | observer
    cuts = facts.cut_keys.shape[0] > 0
    for i in range(start, end):
        word = meta[i]
        protocol = (word >> U24) & BYTE
        flags = (word >> U16) & BYTE
        if (protocol == ICMP or protocol == ICMP6) and flags & ICMP_ERROR:
            errors += 1
            continue
        sport = word >> U48
        dport = (word >> U32) & MASK16
        hi, lo = src_hi[i], src_lo[i]
        to_hi, to_lo = dst_hi[i], dst_lo[i]
        swap = to_hi < hi or (to_hi == hi and (to_lo < lo or (to_lo == lo and dport < sport)))
        evidence = U0
        if protocol == TCP:
            opened = flags & TCP_SYN_ACK
            if opened == TCP_SYN:
                evidence = SYN_B if swap else SYN_A
            elif opened == TCP_SYN_ACK:
                evidence = SYN_ACK_B if swap else SYN_ACK_A
            if flags & TCP_FIN:
                evidence |= FIN_B if swap else FIN_A
        elif protocol == SCTP:
            if flags & ASKS:
                evidence = SYN_B if swap else SYN_A
            elif flags & ANSWERS:
                evidence = SYN_ACK_B if swap else SYN_ACK_A
        elif flags & ASKS:
            evidence = ASK_B if swap else ASK_A
        elif flags & ANSWERS:
            evidence = ASK_A if swap else ASK_B
        source_epoch = U0
        target_epoch = U0
        if cuts:
            source_epoch = either_epoch(hi, lo, network, time[i], facts)
            target_epoch = either_epoch(to_hi, to_lo, network, time[i], facts)
        rows[written, 0] = to_hi if swap else hi
        rows[written, 1] = to_lo if swap else lo
        rows[written, 2] = hi if swap else to_hi
        rows[written, 3] = lo if swap else to_lo
        low = dport if swap else sport
        high = sport if swap else dport
        rows[written, 4] = (low << U48) | (high << U32) | (protocol << U24)
        rows[written, 5] = scope
        rows[written, 6] = ((target_epoch if swap else source_epoch) << U32) | (source_epoch if swap else target_epoch)
        rows[written, 7] = (evidence << U48) | U1
        rows[written, 8] = U0 if swap else U1
        rows[written, 9] = U0 if swap else size[i]
        rows[written, 10] = U1 if swap else U0
        rows[written, 11] = size[i] if swap else U0
        moment = min(time[i], MASK32)  # the row format ends in 2106
        rows[written, 12] = (moment << U32) | moment
        written += 1
    return written, errors


@kernel
def either_epoch(hi: Any, lo: Any, network: Any, time: Any, facts: Any) -> Any:
    """Stretch of ownership of an address at a moment, in its network or in the inventory without one."""
    got = epoch_of(hi, lo, network, time, time, facts.cut_index, facts.cut_keys, facts.cut_times)
    if got == U0:
        any_network = MASK16
        got = epoch_of(hi, lo, any_network, time, time, facts.cut_index, facts.cut_keys, facts.cut_times)
    return got
