"""Flow-log text: bytes to service rows and connection rows in one pass, without a Python object per record.

Per block: separators are found 64 bytes at a time, rows with the expected number of fields go through a branch-poor
parser that works on whole words, every other row (dashes, IPv6, CRLF, double blanks, anything wrong) through a
careful scalar one that also tells the reason. Both fill the same parsed record; who serves is settled after that.

Buffers carry PADDING readable bytes on both sides of the data.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.addresses import BAD, ipv4, parse_address
from analyzers.kernels.jit import bit_count, blank_mask64, inlined, kernel, load64, newline_mask64, trailing_zeros
from analyzers.kernels.tables import (
    CLIENT_INTERNED,
    CONNECTION_WORDS,
    FIN_A,
    FIN_B,
    MASK32,
    NAME_WORDS,
    SERVER_INTERNED,
    SERVICE_WORDS,
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
    U40,
    U48,
    epoch_of,
    intern_address,
    intern_spans,
    upsert_connections,
    upsert_services,
)
from analyzers.kernels.window import keep_within

PADDING = 64
MAX_OBSERVERS = 1 << 24
MAX_NETWORKS = (1 << 16) - 1
BLOCK_BYTES = 32 * 1024
BLOCK_ROWS = 512
MAX_LINE = BLOCK_BYTES
"""A longer line is passed over with its reason; the longest legal record (version 11, all tags) is below 8 KiB."""

# Logical columns: positions in the `columns` array (int64[COLUMN_COUNT]: field number in the line, -1: not there).
C_SRC, C_DST, C_SPORT, C_DPORT, C_PROTOCOL, C_PACKETS, C_BYTES, C_START, C_END, C_ACTION, C_STATUS = range(11)
C_FLAGS, C_INTERFACE, C_NETWORK, C_SRC_PLAIN, C_DST_PLAIN = range(11, 16)
COLUMN_COUNT = 16
# C_SRC and C_DST are pkt-srcaddr and pkt-dstaddr where the format has them; the PLAIN ones stand in for their dashes.


class Reason(IntEnum):
    """Why a row is not in the tables. NODATA and SKIPDATA are facts about coverage, not errors."""

    NONE = 0
    FIELD_COUNT = 1
    ADDRESS = 2
    PORT = 3
    PROTOCOL = 4
    COUNTER = 5
    TIME = 6
    ACTION = 7
    NODATA = 8
    SKIPDATA = 9
    NO_ADDRESS = 10
    LONG_LINE = 11
    STATUS = 12
    FLAGS = 13
    EMPTY = 14
    HEADER = 15


class Stop(IntEnum):
    """Why the kernel came back."""

    END = 0  # all complete lines are done
    ROOM = 1  # a table wants to grow; call again from where it stopped
    HEADER = 2  # a header line stands here; read it and call again behind it


# Positions in the `state` array (int64)
(
    S_SERVICES,
    S_CONNECTIONS,
    S_ADDRESSES,
    S_OBSERVERS,
    S_NETWORKS,
    S_RECORDS,
    S_FIRST,
    S_LAST,
    S_FIXED_NETWORK,
    S_FIXED_OBSERVER,
    S_SINCE,  # records that end before it, or not before S_UNTIL (s UTC), are only counted, in S_OUTSIDE
    S_UNTIL,
    S_OUTSIDE,
    S_COUNT,
) = range(14)
ALWAYS = np.iinfo(np.int64).max

SAMPLES = 3


class Tables(NamedTuple):
    """Everything one thread writes to; grown by Python between calls."""

    state: NDArray[np.int64]
    service_index: NDArray[np.uint64]
    services: NDArray[np.uint64]
    connection_index: NDArray[np.uint64]
    connections: NDArray[np.uint64]
    address_index: NDArray[np.uint64]
    addresses: NDArray[np.uint64]
    observer_index: NDArray[np.uint64]
    observer_names: NDArray[np.uint64]
    observer_arena: NDArray[np.uint8]
    observer_network: NDArray[np.int64]  # network number of each observer; -1: not known
    network_index: NDArray[np.uint64]
    network_names: NDArray[np.uint64]
    network_arena: NDArray[np.uint8]


class Facts(NamedTuple):
    """What the kernel may look up; the same for all threads."""

    service_ports: NDArray[np.uint8]  # uint8[65536]: 1 for well-known service ports below the ephemeral range
    cut_index: NDArray[np.uint64]
    cut_keys: NDArray[np.uint64]
    cut_times: NDArray[np.uint64]


class Scratch(NamedTuple):
    """Working memory of one thread."""

    separators: NDArray[np.int64]
    row_ends: NDArray[np.int64]
    fields: NDArray[np.int64]
    parsed: NDArray[np.uint64]
    names: NDArray[np.uint64]
    quick_columns: NDArray[np.uint64]  # `columns` without a sign: signed indices cost wrap-around code
    service_batch: NDArray[np.uint64]
    connection_batch: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    candidates: NDArray[np.uint64]
    reason_counts: NDArray[np.int64]  # int64[len(Reason)]
    reason_samples: NDArray[np.int64]  # int64[len(Reason), SAMPLES]: offsets of line starts in the buffer


def new_scratch() -> Scratch:
    """Working memory for one thread, about 200 KB."""
    return Scratch(
        np.zeros(BLOCK_BYTES + 128, np.int64),
        np.zeros(BLOCK_ROWS + 72, np.int64),
        np.zeros((256, 2), np.int64),
        np.zeros((BLOCK_ROWS + 1, PARSED_WORDS), np.uint64),
        np.zeros((BLOCK_ROWS, NAME_WORDS + 2), np.uint64),
        np.zeros(COLUMN_COUNT, np.uint64),
        np.zeros((BLOCK_ROWS, SERVICE_WORDS), np.uint64),
        np.zeros((BLOCK_ROWS, CONNECTION_WORDS), np.uint64),
        np.zeros(BLOCK_ROWS, np.uint64),
        np.zeros(BLOCK_ROWS, np.uint64),
        np.zeros(len(Reason), np.int64),
        np.zeros((len(Reason), SAMPLES), np.int64),
    )


EPHEMERAL = np.uint64(32768)  # Linux: 32768 to 60999; IANA and Windows: 49152 up
ANY_NETWORK = np.uint64(0xFFFF)
THOUSAND = np.uint64(1000)
TCP = np.uint64(6)
UDP = np.uint64(17)
SCTP = np.uint64(132)
NO_FLAGS = np.uint64(0x8000)
F_FIN = U1
F_SYN = np.uint64(2)
F_SYN_ACK = np.uint64(0x12)

ZEROS = np.uint64(0x3030_3030_3030_3030)
NINES = np.uint64(0x7676_7676_7676_7676)
TOPS = np.uint64(0x8080_8080_8080_8080)
PAIRS = np.uint64(2561)
PAIR_MASK = np.uint64(0x00FF_00FF_00FF_00FF)
QUADS = np.uint64(6553601)
QUAD_MASK = np.uint64(0x0000_FFFF_0000_FFFF)
OCTS = np.uint64(42949672960001)
TEN8 = np.uint64(100_000_000)
U64 = np.uint64(64)
ONES = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
ACCEPT6 = np.uint64(int.from_bytes(b"ACCEPT", "little"))
REJECT6 = np.uint64(int.from_bytes(b"REJECT", "little"))
SIX_BYTES = np.uint64(0xFFFF_FFFF_FFFF)
OK2 = np.uint64(int.from_bytes(b"OK", "little"))
LIMIT = np.uint64(1 << 63)
U63 = np.uint64(63)
DASH = np.uint64(45)
MISSING = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@inlined
def digits8(word: Any, length: Any) -> Any:
    """Value of the last `length` (1 to 8) characters of a word, or BAD when one is no digit."""
    keep = ONES << ((U8 - length) << np.uint64(3))
    value = (word ^ ZEROS) & keep
    if ((value + NINES) | value) & TOPS:
        return BAD
    value = ((value * PAIRS) >> U8) & PAIR_MASK
    value = ((value * QUADS) >> U16) & QUAD_MASK
    return (value * OCTS) >> U32


@inlined
def number(buffer: Any, start: Any, end: Any) -> Any:
    """Unsigned decimal of 1 to 16 digits in buffer[start:end]; BAD for anything else."""
    length = np.uint64(end - start)
    if length - U1 < U8:
        return digits8(load64(buffer, end - 8), length)
    if length - U1 < U16:
        low = digits8(load64(buffer, end - 8), U8)
        high = digits8(load64(buffer, end - 16), length - U8)
        return (high * TEN8 + low) | ((high | low) & LIMIT)
    return BAD


@kernel
def long_number(buffer: Any, start: Any, end: Any) -> Any:
    """Unsigned decimal of any length below 2^63; BAD for anything else."""
    if end <= start or end - start > 19:
        return BAD
    value = U0
    for at in range(start, end):
        digit = np.uint64(buffer[at]) - np.uint64(48)
        if digit > np.uint64(9):
            return BAD
        value = value * np.uint64(10) + digit
    return value if value < LIMIT else BAD


@kernel
def index_block(buffer: Any, start: Any, stop: Any, separators: Any, row_ends: Any) -> Any:
    """Positions of blanks and newlines of buffer[start:stop], for up to BLOCK_ROWS rows; returns the rows found.

    separators[0] is start - 1, so that field f of a row lies between two neighbours; row_ends[r] is the index in
    `separators` of row r's newline.
    """
    separators[0] = start - 1
    found = np.uint64(1)
    rows = np.uint64(0)
    at = start
    while at < stop and rows < np.uint64(BLOCK_ROWS):
        newlines = newline_mask64(buffer, at)
        both = newlines | blank_mask64(buffer, at)
        left = stop - at
        if left < 64:
            inside = (U1 << np.uint64(left)) - U1
            both &= inside
            newlines &= inside
        # the first newline without a branch: whether there is one is a coin toss for the branch predictor
        below = newlines ^ (newlines - U1)
        row_ends[rows] = np.int64(found + bit_count(both & (below >> U1)))
        rows += U1 if newlines != U0 else U0
        rest = newlines & (newlines - U1)
        while rest:
            row_ends[rows] = np.int64(found + bit_count(both & ((rest ^ (rest - U1)) >> U1)))
            rows += U1
            rest &= rest - U1
        count = bit_count(both)
        # eight positions in any case, the surplus is overwritten by the next word's
        for lane in range(8):
            separators[found + np.uint64(lane)] = at + np.int64(trailing_zeros(both))
            both &= both - U1
        if both:
            surplus = found + U8
            while both:
                separators[surplus] = at + np.int64(trailing_zeros(both))
                surplus += U1
                both &= both - U1
        found += count
        at += 64
    return min(np.int64(rows), BLOCK_ROWS)


@kernel
def split_line(buffer: Any, start: Any, end: Any, fields: Any) -> Any:
    """Fields of one line, runs of blanks and tabs taken as one; returns how many (at most the room in `fields`)."""
    count = 0
    at = start
    while at < end and count < fields.shape[0]:
        while at < end and (buffer[at] == 32 or buffer[at] == 9 or buffer[at] == 13):
            at += 1
        begin = at
        while at < end and buffer[at] != 32 and buffer[at] != 9 and buffer[at] != 13:
            at += 1
        if at > begin:
            fields[count, 0] = begin
            fields[count, 1] = at
            count += 1
    return count


@kernel
def is_dash(buffer: Any, fields: Any, field: Any) -> Any:
    """Whether the field is a lone `-`: not applicable, not computable."""
    return fields[field, 1] - fields[field, 0] == 1 and buffer[fields[field, 0]] == 45


@kernel
def word_is(buffer: Any, fields: Any, field: Any, word: Any) -> Any:
    """Whether the field equals `word` (uint8 array)."""
    begin = fields[field, 0]
    if fields[field, 1] - begin != word.size:
        return False
    for i in range(word.size):
        if buffer[begin + i] != word[i]:
            return False
    return True


W_OK = np.frombuffer(b"OK", np.uint8)
W_NODATA = np.frombuffer(b"NODATA", np.uint8)
W_SKIPDATA = np.frombuffer(b"SKIPDATA", np.uint8)
W_ACCEPT = np.frombuffer(b"ACCEPT", np.uint8)
W_REJECT = np.frombuffer(b"REJECT", np.uint8)
W_SRCADDR = np.frombuffer(b"srcaddr", np.uint8)
W_PKT_SRCADDR = np.frombuffer(b"pkt-srcaddr", np.uint8)


# Words of a parsed record (uint64[BLOCK_ROWS, PARSED_WORDS]), before it is known who serves
P_SRC_HI, P_SRC_LO, P_DST_HI, P_DST_LO, P_SPORT, P_DPORT, P_PROTOCOL, P_PACKETS, P_BYTES, P_FIRST, P_LAST = range(11)
P_VERDICT, P_FLAGS, P_INTERFACE, P_INTERFACE_END, P_NETWORK, P_NETWORK_END = range(11, 17)
PARSED_WORDS = 17
# P_INTERFACE and P_NETWORK are spans of the buffer while parsing, number + 1 of the interned name (0: none) after it.


@kernel
def seconds(time: Any) -> Any:
    """A time in seconds; milliseconds, which some exporters write, are recognised by their size."""
    return time // THOUSAND if time > MASK32 else time


@kernel
def column_number(buffer: Any, fields: Any, columns: Any, column: Any) -> Any:
    """Value of a number column; 0 when the format lacks it or the field is a dash; BAD when it is no number."""
    field = columns[column]
    if field < 0 or is_dash(buffer, fields, field):
        return U0
    return long_number(buffer, fields[field, 0], fields[field, 1])


@kernel
def careful_row(buffer: Any, start: Any, end: Any, columns: Any, field_count: Any, fields: Any, row: Any) -> Any:
    """Parse one line, whatever is in it, into `row` (uint64[PARSED_WORDS]); returns a Reason, NONE when it worked."""
    found = split_line(buffer, start, end, fields)
    if found == 0:
        return 14
    for field in range(found):
        if word_is(buffer, fields, field, W_SRCADDR) or word_is(buffer, fields, field, W_PKT_SRCADDR):
            return 15
    if found != field_count:
        return 1
    status = columns[C_STATUS]
    if status >= 0:
        if word_is(buffer, fields, status, W_NODATA):
            return 8
        if word_is(buffer, fields, status, W_SKIPDATA):
            return 9
        if not word_is(buffer, fields, status, W_OK):
            return 12
    src = columns[C_SRC]
    if is_dash(buffer, fields, src) and columns[C_SRC_PLAIN] >= 0:
        src = columns[C_SRC_PLAIN]
    dst = columns[C_DST]
    if is_dash(buffer, fields, dst) and columns[C_DST_PLAIN] >= 0:
        dst = columns[C_DST_PLAIN]
    if is_dash(buffer, fields, src) or is_dash(buffer, fields, dst):
        return 10
    row[P_SRC_HI], row[P_SRC_LO], src_ok = parse_address(buffer, fields[src, 0], fields[src, 1])
    row[P_DST_HI], row[P_DST_LO], dst_ok = parse_address(buffer, fields[dst, 0], fields[dst, 1])
    if not (src_ok and dst_ok):
        return 2
    row[P_SPORT] = column_number(buffer, fields, columns, C_SPORT)
    row[P_DPORT] = column_number(buffer, fields, columns, C_DPORT)
    if row[P_SPORT] > np.uint64(65535) or row[P_DPORT] > np.uint64(65535):
        return 3
    row[P_PROTOCOL] = column_number(buffer, fields, columns, C_PROTOCOL)
    if row[P_PROTOCOL] > np.uint64(255) or is_dash(buffer, fields, columns[C_PROTOCOL]):
        return 4
    row[P_PACKETS] = column_number(buffer, fields, columns, C_PACKETS)
    row[P_BYTES] = column_number(buffer, fields, columns, C_BYTES)
    if row[P_PACKETS] == BAD or row[P_BYTES] == BAD:
        return 5
    row[P_FIRST] = seconds(column_number(buffer, fields, columns, C_START))
    row[P_LAST] = seconds(column_number(buffer, fields, columns, C_END))
    if row[P_FIRST] > MASK32 or row[P_LAST] > MASK32:
        return 6
    row[P_VERDICT] = U0
    action = columns[C_ACTION]
    if action >= 0:
        if word_is(buffer, fields, action, W_ACCEPT):
            row[P_VERDICT] = U1
        elif word_is(buffer, fields, action, W_REJECT):
            row[P_VERDICT] = np.uint64(2)
        elif not is_dash(buffer, fields, action):
            return 7
    row[P_FLAGS] = NO_FLAGS
    if columns[C_FLAGS] >= 0 and not is_dash(buffer, fields, columns[C_FLAGS]):
        row[P_FLAGS] = column_number(buffer, fields, columns, C_FLAGS)
        if row[P_FLAGS] > np.uint64(255):
            return 13
    name_span(buffer, fields, columns[C_INTERFACE], row, P_INTERFACE)
    name_span(buffer, fields, columns[C_NETWORK], row, P_NETWORK)
    return 0


@kernel
def name_span(buffer: Any, fields: Any, field: Any, row: Any, word: Any) -> None:
    """Note where a name stands; (0, 0) when the format lacks it or the field is a dash."""
    there = field >= 0 and not is_dash(buffer, fields, field)
    row[word] = np.uint64(fields[field, 0]) if there else U0
    row[word + 1] = np.uint64(fields[field, 1]) if there else U0


@inlined
def epoch(hi: Any, lo: Any, network: Any, first: Any, last: Any, facts: Any) -> Any:
    """Stretch of ownership of the address during the record, in its network or in the inventory without one."""
    got = epoch_of(hi, lo, network, first, last, facts.cut_index, facts.cut_keys, facts.cut_times)
    if got == U0:
        got = epoch_of(hi, lo, ANY_NETWORK, first, last, facts.cut_index, facts.cut_keys, facts.cut_times)
    return got


@inlined
def client_is_source(flags: Any, protocol: Any, sport: Any, dport: Any, service_ports: Any) -> Any:
    """1: the source is the client; 0: the destination is; -1: flags and ports don't settle it."""
    if flags != NO_FLAGS and protocol == TCP:
        opened = flags & F_SYN_ACK
        if opened == F_SYN:
            return 1
        if opened == F_SYN_ACK:
            return 0
    if protocol == TCP or protocol == UDP or protocol == SCTP:
        if service_ports[dport] != 0 and sport >= EPHEMERAL:
            return 1
        if service_ports[sport] != 0 and dport >= EPHEMERAL:
            return 0
    return -1


@kernel
def orient(
    parsed: Any,
    count: Any,
    state: Any,
    observer_network: Any,
    address_index: Any,
    addresses: Any,
    facts: Any,
    services: Any,
    connections: Any,
) -> Any:
    """Parsed records to service rows (direction settled) and connection rows; returns how many of each.

    The network of a record is its own VPC id, else the one fixed for the source, else its interface's, else number 0.
    """
    settled = 0
    unsettled = 0
    cuts = facts.cut_keys.shape[0] > 0
    for i in range(count):
        first = parsed[i, P_FIRST]
        last = parsed[i, P_LAST]
        state[S_FIRST] = min(state[S_FIRST], np.int64(first))
        state[S_LAST] = max(state[S_LAST], np.int64(last))
        observer = parsed[i, P_INTERFACE] - U1 if parsed[i, P_INTERFACE] != U0 else np.uint64(state[S_FIXED_OBSERVER])
        network = parsed[i, P_NETWORK] - U1
        if parsed[i, P_NETWORK] == U0:
            network = np.uint64(max(observer_network[observer], np.int64(0)))
            if state[S_FIXED_NETWORK] >= 0:
                network = np.uint64(state[S_FIXED_NETWORK])
        source_epoch = U0
        target_epoch = U0
        if cuts:
            source_epoch = epoch(parsed[i, P_SRC_HI], parsed[i, P_SRC_LO], network, first, last, facts)
            target_epoch = epoch(parsed[i, P_DST_HI], parsed[i, P_DST_LO], network, first, last, facts)
        flags = parsed[i, P_FLAGS]
        sport = parsed[i, P_SPORT]
        dport = parsed[i, P_DPORT]
        protocol = parsed[i, P_PROTOCOL]
        direction = client_is_source(flags, protocol, sport, dport, facts.service_ports)
        if direction < 0:
            write_connection(parsed, i, source_epoch, target_epoch, connections, unsettled)
            connections[unsettled, 5] = (network << U48) | observer
            unsettled += 1
            continue
        source = end_number(parsed[i, P_SRC_HI], parsed[i, P_SRC_LO], source_epoch, state, address_index, addresses)
        target = end_number(parsed[i, P_DST_HI], parsed[i, P_DST_LO], target_epoch, state, address_index, addresses)
        forward = direction == 1
        evidence = U8
        if flags != NO_FLAGS:
            if protocol == TCP and flags & F_SYN:
                evidence = U1 if forward else np.uint64(2)
            if forward and flags & F_FIN:
                evidence |= np.uint64(4)
        meta = (network << U48) | (protocol << U24) | (parsed[i, P_VERDICT] << U22) | evidence
        client = source if forward else target
        server = target if forward else source
        port = dport if forward else sport
        if client >> U32:
            meta |= CLIENT_INTERNED
        if server >> U32:
            meta |= SERVER_INTERNED
        packets = parsed[i, P_PACKETS]
        octets = parsed[i, P_BYTES]
        services[settled, 0] = (client << U32) | (server & MASK32)
        services[settled, 1] = meta | (port << U32)
        services[settled, 2] = (observer << U40) | U1
        services[settled, 3] = packets if forward else U0
        services[settled, 4] = octets if forward else U0
        services[settled, 5] = U0 if forward else packets
        services[settled, 6] = U0 if forward else octets
        services[settled, 7] = (first << U32) | last
        settled += 1
    state[S_RECORDS] += count
    return settled, unsettled


@inlined
def end_number(hi: Any, lo: Any, epoch: Any, state: Any, address_index: Any, addresses: Any) -> Any:
    """Stand-in of an address: itself for an IPv4 address whose owner never changes, else 2^32 + its number."""
    if hi == U0 and epoch == U0 and (lo >> U32) == np.uint64(0xFFFF):
        return lo & MASK32
    got = intern_address(hi, lo, epoch, address_index, addresses, state[S_ADDRESSES])
    if got == state[S_ADDRESSES]:
        state[S_ADDRESSES] += 1
    return np.uint64(got) | (U1 << U32)


@kernel
def write_connection(parsed: Any, i: Any, source_epoch: Any, target_epoch: Any, batch: Any, at: Any) -> None:
    """Record `i` as connection row batch[at], ends in canonical order; word 5 is left to the caller."""
    sport = parsed[i, P_SPORT]
    dport = parsed[i, P_DPORT]
    src_hi, src_lo = parsed[i, P_SRC_HI], parsed[i, P_SRC_LO]
    dst_hi, dst_lo = parsed[i, P_DST_HI], parsed[i, P_DST_LO]
    swap = dst_hi < src_hi or (dst_hi == src_hi and (dst_lo < src_lo or (dst_lo == src_lo and dport < sport)))
    evidence = U0
    flags = parsed[i, P_FLAGS]
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
    meta = (parsed[i, P_PROTOCOL] << U24) | (parsed[i, P_VERDICT] << U22)
    batch[at, 4] = (low << U48) | (high << U32) | meta
    batch[at, 6] = ((target_epoch if swap else source_epoch) << U32) | (source_epoch if swap else target_epoch)
    batch[at, 7] = (evidence << U48) | U1
    batch[at, 8] = U0 if swap else parsed[i, P_PACKETS]
    batch[at, 9] = U0 if swap else parsed[i, P_BYTES]
    batch[at, 10] = parsed[i, P_PACKETS] if swap else U0
    batch[at, 11] = parsed[i, P_BYTES] if swap else U0
    batch[at, 12] = (parsed[i, P_FIRST] << U32) | parsed[i, P_LAST]


@kernel
def room(tables: Any) -> Any:
    """Whether every table can take one more block of rows."""
    state = tables.state
    return (
        state[S_SERVICES] + BLOCK_ROWS <= tables.services.shape[0]
        and 2 * (state[S_SERVICES] + BLOCK_ROWS) <= tables.service_index.size
        and state[S_CONNECTIONS] + BLOCK_ROWS <= tables.connections.shape[0]
        and 2 * (state[S_CONNECTIONS] + BLOCK_ROWS) <= tables.connection_index.size
        and state[S_ADDRESSES] + 2 * BLOCK_ROWS <= tables.addresses.shape[0]
        and 2 * (state[S_ADDRESSES] + 2 * BLOCK_ROWS) <= tables.address_index.size
        and state[S_OBSERVERS] + BLOCK_ROWS < MAX_OBSERVERS
        and state[S_NETWORKS] + BLOCK_ROWS < MAX_NETWORKS
        and text_room(state[S_OBSERVERS], tables.observer_index, tables.observer_names, tables.observer_arena)
        and state[S_OBSERVERS] + BLOCK_ROWS <= tables.observer_network.size
        and text_room(state[S_NETWORKS], tables.network_index, tables.network_names, tables.network_arena)
    )


@kernel
def text_room(count: Any, index: Any, names: Any, arena: Any) -> Any:
    """Whether a string table can take the strings of one more block."""
    used = np.int64((names[count - 1, 3] & MASK32) + (names[count - 1, 3] >> U32)) if count > 0 else 0
    return (
        count + BLOCK_ROWS <= names.shape[0]
        and 2 * (count + BLOCK_ROWS) <= index.size
        and used + BLOCK_BYTES + 64 <= arena.size
    )


@inlined
def field_number(buffer: Any, separators: Any, base: Any, field: Any) -> Any:
    """Value of the field, 0 where the format lacks it (MISSING), BAD when it is no number of up to 16 digits."""
    if field == MISSING:
        return U0
    return number(buffer, separators[base + field] + 1, separators[base + field + U1])


@inlined
def quick_row(buffer: Any, separators: Any, base: Any, columns: Any, parsed: Any, at: Any) -> Any:
    """Parse a row in the plain shape (IPv4, all numbers there, OK) into parsed[at].

    False says that it has another shape, not that anything is wrong: the careful parser decides.
    """
    field = base + columns[C_SRC]
    src = ipv4(buffer, separators[field] + 1, separators[field + U1])
    field = base + columns[C_DST]
    dst = ipv4(buffer, separators[field] + 1, separators[field + U1])
    sport = field_number(buffer, separators, base, columns[C_SPORT])
    dport = field_number(buffer, separators, base, columns[C_DPORT])
    protocol = field_number(buffer, separators, base, columns[C_PROTOCOL])
    packets = field_number(buffer, separators, base, columns[C_PACKETS])
    octets = field_number(buffer, separators, base, columns[C_BYTES])
    first = field_number(buffer, separators, base, columns[C_START])
    last = field_number(buffer, separators, base, columns[C_END])
    wrong = (src | dst | sport | dport | protocol | packets | octets | first | last) >> U63
    wrong |= ((sport | dport) >> U16) | (protocol >> U8) | ((first | last) >> U32)
    verdict = U0
    if columns[C_ACTION] != MISSING:
        field = base + columns[C_ACTION]
        begin = separators[field] + 1
        word = load64(buffer, begin) & SIX_BYTES
        verdict = U1 if word == ACCEPT6 else np.uint64(2)
        if separators[field + U1] - begin != 6 or (word != ACCEPT6 and word != REJECT6):
            wrong |= U1
    if columns[C_STATUS] != MISSING:
        field = base + columns[C_STATUS]
        begin = separators[field] + 1
        if separators[field + U1] - begin != 2 or (load64(buffer, begin) & np.uint64(0xFFFF)) != OK2:
            wrong |= U1
    flags = NO_FLAGS
    if columns[C_FLAGS] != MISSING:
        field = base + columns[C_FLAGS]
        begin = separators[field] + 1
        if separators[field + U1] - begin != 1 or (load64(buffer, begin) & np.uint64(0xFF)) != DASH:
            flags = number(buffer, begin, separators[field + U1])
            wrong |= flags >> U8
    if wrong != U0:
        return False
    mapped = np.uint64(0xFFFF) << U32
    parsed[at, P_SRC_HI] = U0
    parsed[at, P_SRC_LO] = mapped | src
    parsed[at, P_DST_HI] = U0
    parsed[at, P_DST_LO] = mapped | dst
    parsed[at, P_SPORT] = sport
    parsed[at, P_DPORT] = dport
    parsed[at, P_PROTOCOL] = protocol
    parsed[at, P_PACKETS] = packets
    parsed[at, P_BYTES] = octets
    parsed[at, P_FIRST] = first
    parsed[at, P_LAST] = last
    parsed[at, P_VERDICT] = verdict
    parsed[at, P_FLAGS] = flags
    field_span(buffer, separators, base, columns[C_INTERFACE], parsed, at, P_INTERFACE)
    field_span(buffer, separators, base, columns[C_NETWORK], parsed, at, P_NETWORK)
    return True


@inlined
def field_span(buffer: Any, separators: Any, base: Any, field: Any, parsed: Any, at: Any, word: Any) -> None:
    """Note where a name stands; (0, 0) when the format lacks it or the field is a dash."""
    begin = U0
    end = U0
    if field != MISSING:
        begin = np.uint64(separators[base + field] + 1)
        end = np.uint64(separators[base + field + U1])
        if end - begin == U1 and (load64(buffer, np.int64(begin)) & np.uint64(0xFF)) == DASH:
            begin = U0
            end = U0
    parsed[at, word] = begin
    parsed[at, word + 1] = end


@kernel
def parse_block(buffer: Any, rows: Any, columns: Any, field_count: Any, scratch: Any) -> Any:
    """Parse `rows` indexed rows into scratch.parsed; returns (records, where it stopped, header?)."""
    separators = scratch.separators
    row_ends = scratch.row_ends
    parsed = scratch.parsed
    counts = scratch.reason_counts
    samples = scratch.reason_samples
    quick_columns = scratch.quick_columns
    expected = np.uint64(field_count)
    done = U0
    base = U0
    for row in range(rows):
        newline = np.uint64(row_ends[row])
        if newline - base != expected or not quick_row(buffer, separators, base, quick_columns, parsed, done):
            line = separators[base] + 1
            reason = careful_row(buffer, line, separators[newline], columns, field_count, scratch.fields, parsed[done])
            if reason == 15:
                return np.int64(done), line, True
            if reason != 0:
                if reason != 14:
                    seen = counts[reason]
                    if seen < SAMPLES:
                        samples[reason, seen] = line
                    counts[reason] = seen + 1
                done -= U1
        done += U1
        base = newline
    return np.int64(done), separators[base] + 1, False


@kernel
def parse_lines(
    buffer: Any, start: Any, stop: Any, columns: Any, field_count: Any, tables: Any, facts: Any, scratch: Any
) -> Any:
    """Aggregate the complete lines of buffer[start:stop]; returns (where it stopped, a Stop value).

    `buffer` is uint8 with PADDING readable bytes before `start` and after `stop`. Calls `room` before each block, so
    every table has space for BLOCK_ROWS more rows while a block is worked on.
    """
    state = tables.state
    for column in range(COLUMN_COUNT):
        scratch.quick_columns[column] = np.uint64(columns[column])
    at = start
    while at < stop:
        if not room(tables):
            return at, 1
        rows = index_block(buffer, at, min(at + BLOCK_BYTES, stop), scratch.separators, scratch.row_ends)
        if rows == 0:
            end = at
            while end < stop and buffer[end] != 10:
                end += 1
            if end == stop:
                return at, 0  # the rest of this line is not here yet
            seen = scratch.reason_counts[11]
            if seen < SAMPLES:
                scratch.reason_samples[11, seen] = at
            scratch.reason_counts[11] += 1
            at = end + 1
            continue
        count, at, header = parse_block(buffer, rows, columns, field_count, scratch)
        if state[S_SINCE] > 0 or state[S_UNTIL] < ALWAYS:
            kept = keep_within(scratch.parsed, count, P_LAST, np.uint64(state[S_SINCE]), np.uint64(state[S_UNTIL]))
            state[S_OUTSIDE] += count - kept
            count = kept
        state[S_OBSERVERS] = intern_spans(
            buffer, scratch.parsed, P_INTERFACE, count, tables.observer_index, tables.observer_names,
            tables.observer_arena, state[S_OBSERVERS], scratch.names,
        )  # fmt: skip
        if columns[C_NETWORK] >= 0:
            state[S_NETWORKS] = intern_spans(
                buffer, scratch.parsed, P_NETWORK, count, tables.network_index, tables.network_names,
                tables.network_arena, state[S_NETWORKS], scratch.names,
            )  # fmt: skip
        services, connections = orient(
            scratch.parsed, count, state, tables.observer_network, tables.address_index, tables.addresses, facts,
            scratch.service_batch, scratch.connection_batch,
        )  # fmt: skip
        state[S_SERVICES] = upsert_services(
            scratch.service_batch, services, scratch.hashes, scratch.candidates,
            tables.service_index, tables.services, state[S_SERVICES],
        )  # fmt: skip
        state[S_CONNECTIONS] = upsert_connections(
            scratch.connection_batch, connections, tables.connection_index, tables.connections, state[S_CONNECTIONS]
        )
        if header:
            return at, 2
    return at, 0
