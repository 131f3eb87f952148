"""Kernels under analyzers.ingest.direction: connections numbered by what they share, summed, and folded once settled.

Hashing with the rows themselves as keys, in one pass each; only numbers of rows are kept beside them. The tests hold
a slow twin of the whole settling.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analyzers.kernels.jit import inlined, kernel, prefetch
from analyzers.kernels.tables import (
    FIN_A,
    FIN_B,
    HIGH32,
    MASK16,
    MASK32,
    MASK48,
    MIX1,
    MIX3,
    SYN_A,
    SYN_ACK_A,
    SYN_ACK_B,
    SYN_B,
    U0,
    U1,
    U8,
    U16,
    U22,
    U24,
    U32,
    U48,
    joined_times,
    mix,
)

AT_ONCE = 64

# Columns of a folded row, uint64: its key, then what is summed.
F_CLIENT_HI, F_CLIENT_LO, F_SERVER_HI, F_SERVER_LO = 0, 1, 2, 3
F_SERVICE = 4  # port << 32 | protocol << 16 | verdict << 8 | direction
F_PLACE = 5  # network << 48 | observer
F_EPOCHS = 6
F_EVIDENCE, F_RECORDS, F_PACKETS, F_BYTES, F_REPLY_PACKETS, F_REPLY_BYTES, F_TIMES = 7, 8, 9, 10, 11, 12, 13
FOLDED_KEY = 7
FOLDED_WORDS = 14

_TCP, _UDP, _SCTP = np.uint64(6), np.uint64(17), np.uint64(132)
_BYTE = np.uint64(0xFF)
_REJECT = np.uint64(2)
SYN, SYN_ACK, CLIENT_FIN = np.uint64(1), np.uint64(2), np.uint64(4)  # analyzers.flows.Evidence

# Facts of a group, bits.
REACHED_A, REACHED_B = np.uint8(1), np.uint8(2)


@inlined
def _end_port(row: Any, side: Any) -> Any:
    """port << 8 | protocol of an end (side 0: a, 1: b)."""
    port = (row[4] >> U32) & MASK16 if side else row[4] >> U48
    return (port << U8) | ((row[4] >> U24) & _BYTE)


@inlined
def _end_hash(row: Any, side: Any) -> Any:
    at = side * 2
    return mix(mix(row[at] * MIX1 ^ row[at + 1]) ^ _end_port(row, side) * MIX3 ^ (row[5] >> U48) * MIX1)


@inlined
def _number_end(rows: Any, i: Any, side: Any, index: Any, mask: Any, value: Any, refs: Any, count: Any) -> Any:
    """-> number of the end, how many there are now."""
    row = rows[i]
    at = side * 2
    tag = value & HIGH32
    slot = value & mask
    port, network = _end_port(row, side), row[5] >> U48
    while True:
        found = index[slot]
        if found == U0:
            index[slot] = tag | np.uint64(count + 1)
            refs[count] = i * 2 + side
            return count, count + 1
        if (found & HIGH32) == tag:
            number = np.int64((found & MASK32) - U1)
            its_side = refs[number] & 1
            other = rows[refs[number] >> 1]
            there = its_side * 2
            same = row[at] == other[there] and row[at + 1] == other[there + 1]
            if same and port == _end_port(other, its_side) and network == other[5] >> U48:
                return number, count
        slot = (slot + U1) & mask


@kernel
def number_ends(rows: Any, n: Any, index: Any, refs: Any, hashes: Any, a: Any, b: Any) -> Any:
    """Number the distinct ends (network, address, port, protocol) of connection rows -> how many.

    rows: uint64[n, CONNECTION_WORDS]; index: uint64[power of two >= 4 n], zeros. Written: refs int64[>= 2 n], for each
    end a row that has it * 2 + its side there; a, b int64[n], the number of each row's ends. hashes: uint64[2 AT_ONCE].
    """
    mask = np.uint64(index.size - 1)
    count = np.int64(0)
    for start in range(0, n, AT_ONCE):
        stop = min(start + AT_ONCE, n)
        for i in range(start, stop):
            for side in range(2):
                value = _end_hash(rows[i], side)
                hashes[(i - start) * 2 + side] = value
                prefetch(index, value & mask)
        for i in range(start, stop):
            a[i], count = _number_end(rows, i, np.int64(0), index, mask, hashes[(i - start) * 2], refs, count)
            b[i], count = _number_end(rows, i, np.int64(1), index, mask, hashes[(i - start) * 2 + 1], refs, count)
    return count


@kernel
def number_pairs(a: Any, b: Any, n: Any, index: Any, hashes: Any, first: Any, group: Any) -> Any:
    """Number the distinct pairs (a[i], b[i]) -> how many.

    index: uint64[power of two >= 2 n], zeros; first, group: int64[n]; first[g] is the first row of group g.
    """
    mask = np.uint64(index.size - 1)
    count = np.int64(0)
    for start in range(0, n, AT_ONCE):
        stop = min(start + AT_ONCE, n)
        for i in range(start, stop):
            value = mix(((np.uint64(a[i]) << U32) | np.uint64(b[i])) * MIX1)
            hashes[i - start] = value
            prefetch(index, value & mask)
        for i in range(start, stop):
            value = hashes[i - start]
            tag = value & HIGH32
            slot = value & mask
            while True:
                found = index[slot]
                if found == U0:
                    index[slot] = tag | np.uint64(count + 1)
                    first[count] = i
                    group[i] = count
                    count += 1
                    break
                if (found & HIGH32) == tag:
                    number = np.int64((found & MASK32) - U1)
                    if a[first[number]] == a[i] and b[first[number]] == b[i]:
                        group[i] = number
                        break
                slot = (slot + U1) & mask
    return count


@kernel
def sum_groups(rows: Any, group: Any, evidence: Any, sums: Any, reached: Any) -> None:
    """Facts of groups, all zeros before: evidence uint64[g] and reached uint8[g] are OR-ed over all rows, sums
    uint64[g, 4] (packets and bytes a to b, b to a) over those that were not rejected."""
    for i in range(len(group)):
        g = group[i]
        row = rows[i]
        evidence[g] |= row[7] >> U48
        if row[8] > U0:
            reached[g] |= REACHED_B
        if row[10] > U0:
            reached[g] |= REACHED_A
        if ((row[4] >> U22) & np.uint64(3)) != _REJECT:
            for word in range(4):
                sums[g, word] += row[8 + word]


@inlined
def _orient(row: Any, forward: Any, method: Any, out: Any) -> None:
    """A connection row as a folded row; forward: b serves."""
    protocol = (row[4] >> U24) & _BYTE
    ported = protocol == _TCP or protocol == _UDP or protocol == _SCTP
    port = U0
    if ported and method != 0:
        port = (row[4] >> U32) & MASK16 if forward else row[4] >> U48
    for word in range(2):
        out[F_CLIENT_HI + word] = row[word] if forward else row[2 + word]
        out[F_SERVER_HI + word] = row[2 + word] if forward else row[word]
        out[F_PACKETS + word] = row[8 + word] if forward else row[10 + word]
        out[F_REPLY_PACKETS + word] = row[10 + word] if forward else row[8 + word]
    verdict = (row[4] >> U22) & np.uint64(3)
    out[F_SERVICE] = (port << U32) | (protocol << U16) | (verdict << U8) | np.uint64(method)
    out[F_PLACE] = row[5]
    out[F_EPOCHS] = row[6]
    bits = row[7] >> U48
    seen = U0
    if bits & (SYN_A if forward else SYN_B):
        seen |= SYN
    if bits & (SYN_ACK_B if forward else SYN_ACK_A):
        seen |= SYN_ACK
    if bits & (FIN_A if forward else FIN_B):
        seen |= CLIENT_FIN
    out[F_EVIDENCE] = seen
    out[F_RECORDS] = row[7] & MASK48
    out[F_TIMES] = row[12]


@inlined
def _folded_hash(row: Any) -> Any:
    ends = mix(row[0] * MIX1 ^ row[1]) ^ mix(row[2] * MIX3 ^ row[3]) * MIX1
    return mix(ends ^ mix(row[4] * MIX3 ^ row[5]) * MIX3 ^ row[6] * MIX1)


@kernel
def fold_connections(
    rows: Any, at: Any, forward: Any, method: Any, index: Any, hashes: Any, batch: Any, out: Any
) -> Any:
    """Connection rows, settled, to one row for each key, observer, way of deciding and stretch of ownership.

    at: int64[m], which rows; forward bool[len(rows)], method uint8[len(rows)]; index: uint64[power of two >= 2 m],
    zeros; batch uint64[AT_ONCE, FOLDED_WORDS], scratch; out: uint64[>= m, FOLDED_WORDS] -> rows in it.
    """
    mask = np.uint64(index.size - 1)
    count = np.int64(0)
    for start in range(0, len(at), AT_ONCE):
        stop = min(start + AT_ONCE, len(at))
        for i in range(start, stop):
            new = batch[i - start]
            _orient(rows[at[i]], forward[at[i]], method[at[i]], new)
            value = _folded_hash(new)
            hashes[i - start] = value
            prefetch(index, value & mask)
        for i in range(start, stop):
            count = _fold_one(batch[i - start], hashes[i - start], index, mask, out, count)
    return count


@inlined
def _fold_one(new: Any, value: Any, index: Any, mask: Any, out: Any, count: Any) -> Any:
    tag = value & HIGH32
    slot = value & mask
    while True:
        found = index[slot]
        if found == U0:
            index[slot] = tag | np.uint64(count + 1)
            row = out[count]
            for word in range(FOLDED_WORDS):
                row[word] = new[word]
            return count + 1
        if (found & HIGH32) == tag:
            row = out[(found & MASK32) - U1]
            other = U0
            for word in range(FOLDED_KEY):
                other |= row[word] ^ new[word]
            if other == U0:
                row[F_EVIDENCE] |= new[F_EVIDENCE]
                for word in range(F_RECORDS, F_TIMES):
                    row[word] += new[word]
                row[F_TIMES] = joined_times(row[F_TIMES], new[F_TIMES])
                return count
        slot = (slot + U1) & mask
