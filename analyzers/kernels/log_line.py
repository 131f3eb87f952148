"""One line of flow-log text, whatever is in it: the values of its fields, or the reason why it is no record.

This is the careful way, a byte at a time; analyzers.kernels.text has the quick one for lines like all the others.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from analyzers.kernels.addresses import BAD, parse_address
from analyzers.kernels.jit import kernel
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
    P_LOST,
    P_NETWORK,
    P_NETWORK_END,
    P_PACKETS,
    P_PEER_NETWORK,
    P_PEER_NETWORK_END,
    P_PROTOCOL,
    P_SPORT,
    P_SRC_HI,
    P_SRC_LO,
    P_VERDICT,
)
from analyzers.kernels.tables import MASK32, U0, U1

# Logical columns: positions in the `columns` array (int64[COLUMN_COUNT]: field number in the line, -1: not there).
C_SRC, C_DST, C_SPORT, C_DPORT, C_PROTOCOL, C_PACKETS, C_BYTES, C_START, C_END, C_ACTION, C_STATUS = range(11)
C_FLAGS, C_INTERFACE, C_NETWORK, C_SRC_PLAIN, C_DST_PLAIN, C_PEER_NETWORK, C_LOST = range(11, 18)
COLUMN_COUNT = 21
# C_PEER_NETWORK: the destination's, where C_NETWORK is the source's. C_LOST: the first of four.
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


LIMIT = np.uint64(1 << 63)
MOST_PORT = np.uint64(65535)
MOST_BYTE = np.uint64(255)

THOUSAND = np.uint64(1000)
FIRST_MILLISECONDS = np.uint64(100_000_000_000)
"""March 1973; as seconds it is a year that no record is from."""


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


@kernel
def seconds(time: Any) -> Any:
    """A time in seconds; milliseconds, which some exporters write, are recognised by their size: above MASK32 where it
    is neither."""
    if time <= MASK32:
        return time
    return time // THOUSAND if time >= FIRST_MILLISECONDS else MASK32 + U1


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
        if word_is(buffer, fields, status, W_NODATA) or word_is(buffer, fields, status, W_SKIPDATA):
            window_of(buffer, fields, columns, row)
            return 8 if word_is(buffer, fields, status, W_NODATA) else 9
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
    name_span(buffer, fields, columns[C_PEER_NETWORK], row, P_PEER_NETWORK)
    for lost in range(4):
        row[P_LOST + lost] = column_number(buffer, fields, columns, C_LOST + lost)
        if row[P_LOST + lost] == BAD:
            return 5
    return 0


@kernel
def window_of(buffer: Any, fields: Any, columns: Any, row: Any) -> None:
    """Interface and times of a record that tells nothing else; times that are none become 0."""
    first = seconds(column_number(buffer, fields, columns, C_START))
    last = seconds(column_number(buffer, fields, columns, C_END))
    good = first <= MASK32 and last <= MASK32
    row[P_FIRST] = first if good else U0
    row[P_LAST] = last if good else U0
    name_span(buffer, fields, columns[C_INTERFACE], row, P_INTERFACE)
    for word in (P_NETWORK, P_NETWORK_END, P_PEER_NETWORK, P_PEER_NETWORK_END):
        row[word] = U0


@kernel
def name_span(buffer: Any, fields: Any, field: Any, row: Any, word: Any) -> None:
    """Note where a name stands; (0, 0) when the format lacks it or the field is a dash."""
    there = field >= 0 and not is_dash(buffer, fields, field)
    row[word] = np.uint64(fields[field, 0]) if there else U0
    row[word + 1] = np.uint64(fields[field, 1]) if there else U0
