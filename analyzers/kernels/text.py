"""Flow-log text: bytes to service rows and connection rows in one pass, without a Python object per record.

Per block: separators are found 64 bytes at a time, rows with the expected number of fields go through a branch-poor
parser that works on whole words, every other row (dashes, IPv6, CRLF, double blanks, anything wrong) through a
careful one that also tells the reason (analyzers.kernels.log_line). Both fill the same parsed record; who serves is
settled after that.

Buffers carry PADDING readable bytes on both sides of the data.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels import columns as c
from analyzers.kernels.addresses import QuadShapes, parse_address, quad_shapes
from analyzers.kernels.jit import PERMUTES, kernel
from analyzers.kernels.log_line import (
    C_ACTION,
    C_BYTES,
    C_DPORT,
    C_DST,
    C_END,
    C_FLAGS,
    C_INTERFACE,
    C_NETWORK,
    C_PACKETS,
    C_PEER_NETWORK,
    C_PROTOCOL,
    C_SPORT,
    C_SRC,
    C_START,
    C_STATUS,
    COLUMN_COUNT,
    LIMIT,
    MOST_BYTE,
    MOST_PORT,
    Reason,
    careful_row,
    seconds,
)
from analyzers.kernels.orient import add_oriented, place_records
from analyzers.kernels.record import (
    NO_FLAGS,
    O_HASH,
    O_OBSERVER,
    ORIENTED_WORDS,
    P_BYTES,
    P_DPORT,
    P_DST_HI,
    P_DST_LO,
    P_FIRST,
    P_FLAGS,
    P_INTERFACE,
    P_INTERFACE_END,
    P_LAST,
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
    PARSED_WORDS,
    S_ADDRESSES,
    S_CONNECTIONS,
    S_NETWORKS,
    S_OBSERVERS,
    S_OUTSIDE,
    S_SERVICES,
    S_WINDOWS,
)
from analyzers.kernels.separators import BLOCK_BYTES, BLOCK_ROWS, SEPARATOR_ROOM, index_block, split_rows
from analyzers.kernels.tables import (
    CONNECTION_WORDS,
    MASK32,
    NAME_WORDS,
    U0,
    U1,
    U32,
    index_takes,
    intern_spans,
    rows_on_cache_lines,
)
from analyzers.kernels.transit import count_lost, pair_names, use_pairs
from analyzers.kernels.window import leave_outside
from analyzers.kernels.windows import mark_windows

PADDING = 64
MAX_OBSERVERS = 1 << 24
MAX_NETWORKS = (1 << 16) - 1
NETWORK_BLOCKS = 3
"""Names of networks that a record can bring: its source's, its destination's, and the pair of both."""

MAX_LINE = BLOCK_BYTES
"""A longer line is passed over with its reason; the longest legal record (version 11, all tags) is below 8 KiB."""


class Stop(IntEnum):
    """Why the kernel came back."""

    END = 0  # all complete lines are done
    ROOM = 1  # a table wants to grow; call again from where it stopped
    HEADER = 2  # a header line stands here; read it and call again behind it


SAMPLES = 3


class Tables(NamedTuple):
    """Everything one thread writes to; grown by Python between calls."""

    state: NDArray[np.int64]
    service_index: NDArray[np.uint32]
    services: NDArray[np.uint64]
    connection_index: NDArray[np.uint64]
    connections: NDArray[np.uint64]
    address_index: NDArray[np.uint64]
    addresses: NDArray[np.uint64]
    observer_index: NDArray[np.uint32]
    observer_names: NDArray[np.uint64]  # with what analyzers.kernels.windows keeps beside them
    observer_arena: NDArray[np.uint8]
    observer_network: NDArray[np.uint64]  # network number of each observer; 0: not known
    network_index: NDArray[np.uint32]
    network_names: NDArray[np.uint64]
    network_arena: NDArray[np.uint8]
    window_index: NDArray[np.uint64]
    windows: NDArray[np.uint64]  # see analyzers.kernels.windows
    lost_packets: NDArray[np.uint64]  # [observers, 4]: see analyzers.kernels.transit
    network_sides: NDArray[np.uint64]  # two networks' numbers, 32 bits each, of a pair; 0: no pair


class Facts(NamedTuple):
    """What the kernel may look up; the same for all threads."""

    service_ports: NDArray[np.uint8]  # uint8[8192]: a bit for each well-known service port below the ephemeral range
    cut_index: NDArray[np.uint64]
    cut_keys: NDArray[np.uint64]
    cut_times: NDArray[np.uint64]
    window: NDArray[np.int64]  # int64[2]: records count that end at or after the first and before the second, s UTC


class Scratch(NamedTuple):
    """Working memory of one thread, about 450 KB."""

    separators: NDArray[np.uint32]
    bases: NDArray[np.uint32]
    odd: NDArray[np.int64]
    fields: NDArray[np.int64]
    shapes: QuadShapes
    words: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    wrong: NDArray[np.uint64]  # rows whose numbers or words have another shape
    no_quad: NDArray[np.uint64]  # rows whose addresses are not both IPv4
    kept: NDArray[np.uint8]  # 0: passed over
    parsed: NDArray[np.uint64]
    row: NDArray[np.uint64]
    names: NDArray[np.uint64]
    pairs: NDArray[np.uint8]  # names of pairs of networks
    quick_columns: NDArray[np.uint64]  # `columns` without a sign: signed indices cost wrap-around code
    run: c.Run  # its targets are rows of `columns`; run.first[0] MISSING: no run
    columns: NDArray[np.uint64]  # `parsed` and behind it `words`, where a run puts what it was not asked for
    oriented: NDArray[np.uint64]
    epochs: NDArray[np.uint64]
    service_batch: NDArray[np.uint64]  # on cache lines
    connection_batch: NDArray[np.uint64]
    reason_counts: NDArray[np.int64]  # int64[len(Reason)]
    reason_samples: NDArray[np.int64]  # int64[len(Reason), SAMPLES]: offsets of line starts in the buffer


def new_scratch() -> Scratch:
    """Working memory for one thread."""

    def words(*shape: int) -> NDArray[np.uint64]:
        return np.zeros(shape, np.uint64)

    # rows of 4096 bytes would all fall into the same few sets of the first-level cache
    columns = words(PARSED_WORDS + 4, BLOCK_ROWS + 8)
    return Scratch(
        separators=np.zeros(SEPARATOR_ROOM, np.uint32),
        bases=np.zeros(BLOCK_ROWS, np.uint32),
        odd=np.zeros((BLOCK_ROWS, 3), np.int64),
        fields=np.zeros((256, 2), np.int64),
        shapes=quad_shapes(),
        words=columns[PARSED_WORDS],
        lengths=columns[PARSED_WORDS + 1],
        wrong=columns[PARSED_WORDS + 2],
        no_quad=columns[PARSED_WORDS + 3],
        kept=np.zeros(BLOCK_ROWS, np.uint8),
        parsed=columns[:PARSED_WORDS],
        row=words(PARSED_WORDS),
        names=words(BLOCK_ROWS, NAME_WORDS + 2),
        pairs=np.zeros(BLOCK_BYTES + 2 * BLOCK_ROWS + 2 * PADDING, np.uint8),
        quick_columns=words(COLUMN_COUNT),
        run=c.new_run(),
        columns=columns,
        oriented=words(ORIENTED_WORDS, BLOCK_ROWS + 8),
        epochs=words(2, BLOCK_ROWS),
        service_batch=rows_on_cache_lines(BLOCK_ROWS + 8),
        connection_batch=words(BLOCK_ROWS, CONNECTION_WORDS),
        reason_counts=np.zeros(len(Reason), np.int64),
        reason_samples=np.zeros((len(Reason), SAMPLES), np.int64),
    )


# the number columns, the rows of `parsed` that they go to, and what is possible there
NUMBER_COLUMNS = np.array([C_SPORT, C_DPORT, C_PROTOCOL, C_PACKETS, C_BYTES, C_START, C_END])
NUMBER_TARGETS = np.array([P_SPORT, P_DPORT, P_PROTOCOL, P_PACKETS, P_BYTES, P_FIRST, P_LAST])
NUMBER_LIMITS = np.array([MOST_PORT, MOST_PORT, MOST_BYTE, LIMIT, LIMIT, LIMIT, LIMIT])

MISSING = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
NO_ROW = np.int64(1 << 20)


@kernel
def room(tables: Any) -> Any:
    """Whether every table can take one more block of rows."""
    state = tables.state
    return (
        state[S_SERVICES] + BLOCK_ROWS <= tables.services.shape[0]
        and index_takes(state[S_SERVICES] + BLOCK_ROWS, tables.service_index)
        and state[S_CONNECTIONS] + BLOCK_ROWS <= tables.connections.shape[0]
        and index_takes(state[S_CONNECTIONS] + BLOCK_ROWS, tables.connection_index)
        and state[S_ADDRESSES] + 2 * BLOCK_ROWS <= tables.addresses.shape[0]
        and index_takes(state[S_ADDRESSES] + 2 * BLOCK_ROWS, tables.address_index)
        and state[S_OBSERVERS] + BLOCK_ROWS < MAX_OBSERVERS
        and state[S_NETWORKS] + NETWORK_BLOCKS * BLOCK_ROWS < MAX_NETWORKS
        and text_room(state[S_OBSERVERS], tables.observer_index, tables.observer_names, tables.observer_arena, 1)
        and state[S_OBSERVERS] + BLOCK_ROWS <= tables.lost_packets.shape[0]
        and state[S_OBSERVERS] + BLOCK_ROWS <= tables.observer_network.size
        and state[S_WINDOWS] + 2 * BLOCK_ROWS <= tables.windows.shape[0]
        and index_takes(state[S_WINDOWS] + 2 * BLOCK_ROWS, tables.window_index)
        and text_room(
            state[S_NETWORKS], tables.network_index, tables.network_names, tables.network_arena, NETWORK_BLOCKS
        )
        and state[S_NETWORKS] + NETWORK_BLOCKS * BLOCK_ROWS <= tables.network_sides.size
    )


@kernel
def text_room(count: Any, index: Any, names: Any, arena: Any, blocks: Any) -> Any:
    """Whether a string table can take the strings of so many more blocks."""
    used = np.int64((names[count - 1, 3] & MASK32) + (names[count - 1, 3] >> U32)) if count > 0 else 0
    return (
        count + blocks * BLOCK_ROWS <= names.shape[0]
        and index_takes(count + blocks * BLOCK_ROWS, index)
        and used + blocks * (BLOCK_BYTES + BLOCK_ROWS) + 64 <= arena.size
    )


LEAST_RUN = 3
"""Number columns in a run that make reading them at once worth while."""


@kernel
def plan_run(columns: Any, field_count: Any, run: Any) -> None:
    """Choose the run of neighbouring fields that has most number columns.

    All fields of a run are short, so that it lies within 64 bytes as a rule.
    """
    best = LEAST_RUN - 1
    begin = end = -1
    for first in range(field_count):
        numbers = 0
        field = first
        while field < min(first + c.RUN_FIELDS, field_count) and short_field(columns, field) != 0:
            numbers += 1 if short_field(columns, field) == 2 else 0
            field += 1
        if numbers > best:
            best, begin, end = numbers, first, field
    run.first[0] = np.uint64(begin)
    run.numbers[0] = U0
    run.targets[:] = PARSED_WORDS
    if begin < 0:
        return
    for column in range(NUMBER_COLUMNS.size):
        place = columns[NUMBER_COLUMNS[column]] - begin
        if 0 <= place < end - begin:
            run.targets[place] = NUMBER_TARGETS[column]
            run.limits[place] = NUMBER_LIMITS[column]
            run.numbers[0] |= np.uint64(255) << np.uint64(8 * place)


@kernel
def short_field(columns: Any, field: Any) -> Any:
    """2: a number column; 1: another one of few characters; 0: anything else."""
    for column in range(NUMBER_COLUMNS.size):
        if columns[NUMBER_COLUMNS[column]] == field:
            return 2
    return 1 if columns[C_ACTION] == field or columns[C_STATUS] == field or columns[C_FLAGS] == field else 0


@kernel
def in_run(scratch: Any, into: Any) -> Any:
    """Whether `number_run` reads parsed[into]."""
    found = False
    for field in range(c.RUN_FIELDS):
        found |= scratch.run.targets[field] == into
    return found


@kernel
def read_numbers(buffer: Any, scratch: Any, n: Any, column: Any, limit: Any, into: Any) -> None:
    """A number column of the regular rows into parsed[into]; 0 where the format lacks it."""
    if PERMUTES and in_run(scratch, into):
        return
    field = scratch.quick_columns[column]
    out = scratch.parsed[into]
    if field == MISSING:
        out[:n] = U0
        return
    c.number_column(
        buffer, scratch.separators, scratch.bases, n, field, limit, scratch.words, scratch.lengths, out, scratch.wrong
    )


@kernel
def to_seconds(times: Any, n: Any, wrong: Any) -> None:
    """times[:n], in seconds or milliseconds, in seconds; what is no time is marked in `wrong`."""
    above = U0
    for row in range(n):
        above |= times[row] >> U32
    if above == U0:  # seconds, all of them
        return
    for row in range(n):
        time = seconds(times[row])
        wrong[row] |= time >> U32
        times[row] = time


@kernel
def read_names(buffer: Any, scratch: Any, n: Any, column: Any, begins: Any) -> None:
    """Spans of a name column into parsed[begins] and the row behind it; (0, 0) where the format lacks it."""
    field = scratch.quick_columns[column]
    if field == MISSING:
        scratch.parsed[begins][:n] = U0
        scratch.parsed[begins + 1][:n] = U0
        return
    c.span_column(
        buffer, scratch.separators, scratch.bases, n, field, scratch.parsed[begins], scratch.parsed[begins + 1]
    )


@kernel
def read_columns(buffer: Any, n: Any, scratch: Any) -> None:
    """All columns of the `n` regular rows into scratch.parsed, and what has another shape into wrong and no_quad."""
    separators, bases, fields, parsed = scratch.separators, scratch.bases, scratch.quick_columns, scratch.parsed
    words, lengths, wrong = scratch.words, scratch.lengths, scratch.wrong
    wrong[:n] = U0
    scratch.no_quad[:n] = U0
    parsed[P_SRC_HI][:n] = U0
    parsed[P_DST_HI][:n] = U0
    if PERMUTES and fields[C_SRC] + U1 == fields[C_DST]:
        c.quad_columns(
            buffer, separators, bases, n, fields[C_SRC], words, lengths, parsed[P_SRC_LO], parsed[P_DST_LO],
            scratch.no_quad,
        )  # fmt: skip
    else:
        c.quad_column(
            buffer, separators, bases, n, fields[C_SRC], scratch.shapes, words, lengths, parsed[P_SRC_LO],
            scratch.no_quad,
        )  # fmt: skip
        c.quad_column(
            buffer, separators, bases, n, fields[C_DST], scratch.shapes, words, lengths, parsed[P_DST_LO],
            scratch.no_quad,
        )  # fmt: skip
    if PERMUTES and scratch.run.first[0] != MISSING:
        c.number_run(buffer, separators, bases, n, scratch.run, scratch.columns, wrong)
    for number in range(NUMBER_COLUMNS.size):
        read_numbers(
            buffer, scratch, n, NUMBER_COLUMNS[number], NUMBER_LIMITS[number], NUMBER_TARGETS[number]
        )  # fmt: skip
    to_seconds(parsed[P_FIRST], n, wrong)
    to_seconds(parsed[P_LAST], n, wrong)
    if fields[C_ACTION] != MISSING and fields[C_ACTION] + U1 == fields[C_STATUS]:
        c.outcome_columns(buffer, separators, bases, n, fields[C_ACTION], parsed[P_VERDICT], wrong)
    else:
        if fields[C_ACTION] == MISSING:
            parsed[P_VERDICT][:n] = U0
        else:
            c.verdict_column(
                buffer, separators, bases, n, fields[C_ACTION], words, lengths, parsed[P_VERDICT], wrong
            )  # fmt: skip
        if fields[C_STATUS] != MISSING:
            c.status_column(buffer, separators, bases, n, fields[C_STATUS], words, lengths, wrong)
    if fields[C_FLAGS] == MISSING:
        parsed[P_FLAGS][:n] = NO_FLAGS
    else:
        c.flags_column(buffer, separators, bases, n, fields[C_FLAGS], NO_FLAGS, words, parsed[P_FLAGS], wrong)
    read_names(buffer, scratch, n, C_INTERFACE, P_INTERFACE)
    read_names(buffer, scratch, n, C_NETWORK, P_NETWORK)


@kernel
def other_addresses(buffer: Any, scratch: Any, row: Any) -> Any:
    """Read the addresses of a regular row that are not both IPv4; whether they are addresses."""
    parsed = scratch.parsed
    at = scratch.bases[row] + scratch.quick_columns[C_SRC]
    src_hi, src_lo, src_ok = parse_address(
        buffer, np.int64(scratch.separators[at]) + 1, np.int64(scratch.separators[at + U1])
    )
    at = scratch.bases[row] + scratch.quick_columns[C_DST]
    dst_hi, dst_lo, dst_ok = parse_address(
        buffer, np.int64(scratch.separators[at]) + 1, np.int64(scratch.separators[at + U1])
    )
    parsed[P_SRC_HI, row], parsed[P_SRC_LO, row] = src_hi, src_lo
    parsed[P_DST_HI, row], parsed[P_DST_LO, row] = dst_hi, dst_lo
    return src_ok and dst_ok


@kernel
def read_carefully(buffer: Any, begin: Any, end: Any, columns: Any, field_count: Any, scratch: Any, at: Any) -> Any:
    """Read one line into parsed[:, at], or pass over it with its reason; True when it is a header."""
    reason = careful_row(buffer, begin, end, columns, field_count, scratch.fields, scratch.row)
    scratch.kept[at] = 1 if reason == 0 else reason - 6 if reason == 8 or reason == 9 else 0
    for word in range(PARSED_WORDS):
        scratch.parsed[word, at] = scratch.row[word] if scratch.kept[at] != 0 else U0
    if reason != 0 and reason != 14 and reason != 15:
        seen = scratch.reason_counts[reason]
        if seen < SAMPLES:
            scratch.reason_samples[reason, seen] = begin
        scratch.reason_counts[reason] = seen + 1
    return reason == 15


@kernel
def samples_taken(scratch: Any) -> Any:
    """How many places are noted in scratch.reason_samples."""
    taken = 0
    for reason in range(scratch.reason_counts.size):
        taken += min(scratch.reason_counts[reason], SAMPLES)
    return taken


@kernel
def parse_block(buffer: Any, found: Any, rows: Any, columns: Any, field_count: Any, scratch: Any) -> Any:
    """Parse the indexed rows into scratch.parsed -> (records, kept or not; where it stopped; at a header?)."""
    separators, bases, odd, kept = scratch.separators, scratch.bases, scratch.odd, scratch.kept
    # the quick way has no eyes for what only transit gateways tell: no row is regular there
    regular_count = field_count if columns[C_PEER_NETWORK] < 0 else NO_ROW
    regular, others, behind = split_rows(buffer, separators, found, rows, regular_count, bases, odd)
    read_columns(buffer, regular, scratch)
    kept[:regular] = 1
    count = regular
    row = 0
    while row <= regular:
        odd_row = odd[count - regular, 2] if count - regular < others else regular
        row = next_strange(scratch, row, odd_row)
        header = np.int64(-1)
        if row < odd_row:
            header = look_at_row(buffer, row, columns, field_count, scratch)
            row += 1
        elif count - regular < others:
            begin, end = odd[count - regular, 0], odd[count - regular, 1]
            if read_carefully(buffer, begin, end, columns, field_count, scratch, count):
                header = begin
            count += 1
        else:
            break
        if header >= 0:
            leave_rest(row, regular, scratch)
            return count, header, True
    return count, behind, False


@kernel
def next_strange(scratch: Any, row: Any, stop: Any) -> Any:
    """The first regular row from `row` on whose columns have another shape; `stop` where there is none before."""
    wrong, no_quad = scratch.wrong, scratch.no_quad
    while row + 8 <= stop:
        any_of = U0
        for i in range(8):
            any_of |= wrong[row + i] | no_quad[row + i]
        if any_of != U0:
            break
        row += 8
    while row < stop and (wrong[row] | no_quad[row]) == U0:
        row += 1
    return row


@kernel
def look_at_row(buffer: Any, row: Any, columns: Any, field_count: Any, scratch: Any) -> Any:
    """Read a regular row whose columns have another shape -> where it begins if it is a header, else -1."""
    if scratch.wrong[row] == U0 and other_addresses(buffer, scratch, row):
        return np.int64(-1)
    base = scratch.bases[row]
    begin = np.int64(scratch.separators[base]) + 1
    end = np.int64(scratch.separators[base + np.uint64(field_count)])
    return begin if read_carefully(buffer, begin, end, columns, field_count, scratch, row) else np.int64(-1)


@kernel
def leave_rest(row: Any, regular: Any, scratch: Any) -> None:
    """Pass over the regular rows from `row` on: they are read again, by a new header."""
    for rest in range(row, regular):
        scratch.kept[rest] = 0
        for word in range(PARSED_WORDS):
            scratch.parsed[word, rest] = U0


@kernel
def add_records(count: Any, tables: Any, facts: Any, scratch: Any) -> None:
    """Directions and tables for scratch.parsed[:, :count]; the caller has asked for `room`."""
    state = tables.state
    state[S_OUTSIDE] += leave_outside(scratch.parsed[P_LAST], scratch.kept, count, facts.window)
    place_records(scratch.parsed, count, scratch.oriented, state, tables.observer_network)
    mark_windows(
        scratch.parsed, scratch.kept, count, scratch.oriented[O_OBSERVER], state, tables.observer_names,
        tables.window_index, tables.windows, scratch.oriented[O_HASH],
    )  # fmt: skip
    add_oriented(
        scratch.parsed, scratch.kept, count, scratch.oriented, scratch.epochs, tables, facts, scratch.service_batch,
        scratch.connection_batch,
    )  # fmt: skip


@kernel
def pair_networks(count: Any, tables: Any, scratch: Any) -> None:
    """Numbers of sources' and destinations' networks in scratch.parsed: P_NETWORK becomes the pair of both."""
    state = tables.state
    parsed = scratch.parsed
    begins, ends = scratch.words, scratch.lengths
    pair_names(parsed, scratch.kept, count, tables.network_names, tables.network_arena, scratch.pairs, begins, ends)
    state[S_NETWORKS] = intern_spans(
        scratch.pairs, begins, ends, count, tables.network_index, tables.network_names, tables.network_arena,
        state[S_NETWORKS], scratch.names,
    )  # fmt: skip
    use_pairs(parsed, scratch.kept, count, begins, tables.network_sides)


@kernel
def parse_lines(
    buffer: Any, start: Any, stop: Any, columns: Any, field_count: Any, tables: Any, facts: Any, scratch: Any
) -> Any:
    """Aggregate the complete lines of buffer[start:stop]; returns (where it stopped, a Stop value).

    `buffer` is uint8 with PADDING readable bytes before `start` and after `stop`. Calls `room` before each block, so
    every table has space for BLOCK_ROWS more rows while a block is worked on.
    """
    state = tables.state
    parsed = scratch.parsed
    for column in range(COLUMN_COUNT):
        scratch.quick_columns[column] = np.uint64(columns[column])
    if PERMUTES:
        plan_run(columns, field_count, scratch.run)
    at = start
    while at < stop:
        if not room(tables):
            return at, 1
        found, rows = index_block(buffer, at, min(at + BLOCK_BYTES, stop), scratch.separators)
        if rows == U0:
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
        count, at, header = parse_block(buffer, found, rows, columns, field_count, scratch)
        state[S_OBSERVERS] = intern_spans(
            buffer, parsed[P_INTERFACE], parsed[P_INTERFACE_END], count, tables.observer_index, tables.observer_names,
            tables.observer_arena, state[S_OBSERVERS], scratch.names,
        )  # fmt: skip
        if columns[C_NETWORK] >= 0:
            state[S_NETWORKS] = intern_spans(
                buffer, parsed[P_NETWORK], parsed[P_NETWORK_END], count, tables.network_index, tables.network_names,
                tables.network_arena, state[S_NETWORKS], scratch.names,
            )  # fmt: skip
        if columns[C_PEER_NETWORK] >= 0:
            state[S_NETWORKS] = intern_spans(
                buffer, parsed[P_PEER_NETWORK], parsed[P_PEER_NETWORK_END], count, tables.network_index,
                tables.network_names, tables.network_arena, state[S_NETWORKS], scratch.names,
            )  # fmt: skip
            pair_networks(count, tables, scratch)
            count_lost(parsed, scratch.kept, count, state, tables.lost_packets)
        add_records(count, tables, facts, scratch)
        if header:
            return at, 2
    return at, 0
