"""pcap: the walk over the records behind the file header, into a record batch.

Source: draft-ietf-opsawg-pcap. Times are read in whole seconds, so microsecond and nanosecond files are walked alike.
"""

from __future__ import annotations

from typing import Any

from analyzers.kernels.capture_state import (
    FULL,
    MAX_CAPTURED,
    NEED_MORE,
    S_BIG_ENDIAN,
    S_DETAIL,
    S_OFFSET,
    S_POSITION,
    S_SCOUTED,
    S_WANTED,
    Outcome,
    fetch_ahead,
    u32,
)
from analyzers.kernels.jit import kernel

FILE_HEADER = 24
RECORD_HEADER = 16
_IMPOSSIBLE_LENGTH = int(Outcome.IMPOSSIBLE_LENGTH)


@kernel
def walk_pcap(buf: Any, linktype: Any, state: Any, records: Any) -> Any:
    """Find records from state[S_POSITION] on until the batch is full. -> records found, Outcome.

    buf: uint8[n], the window; `records`: RecordBatch. Never reads outside of buf: a record is found only when the
    whole of it is there (NEED_MORE otherwise).
    """
    length = len(buf)
    capacity = len(records.start)
    base = state[S_OFFSET]
    position = state[S_POSITION]
    big = state[S_BIG_ENDIAN] != 0
    count = 0
    outcome = FULL
    scouted = state[S_SCOUTED]
    fetched = max(position, scouted)
    while count < capacity:
        if position >= scouted:
            fetched = fetch_ahead(buf, position, fetched)
        left = length - position
        if left < RECORD_HEADER:
            state[S_WANTED] = RECORD_HEADER
            outcome = NEED_MORE
            break
        captured = u32(buf, position + 8, big)
        if captured > MAX_CAPTURED:
            state[S_DETAIL] = captured
            outcome = _IMPOSSIBLE_LENGTH
            break
        if left < RECORD_HEADER + captured:
            state[S_WANTED] = RECORD_HEADER + captured
            outcome = NEED_MORE
            break
        records.start[count] = position + RECORD_HEADER
        records.end[count] = position + RECORD_HEADER + captured
        records.wire[count] = u32(buf, position + 12, big)
        records.linktype[count] = linktype
        records.time[count] = u32(buf, position, big)
        records.offset[count] = base + position
        count += 1
        position += RECORD_HEADER + captured
    state[S_POSITION] = position
    return count, outcome
