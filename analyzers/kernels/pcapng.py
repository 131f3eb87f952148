"""pcapng: the walk over blocks of one or more sections, into a record batch.

Source: draft-ietf-opsawg-pcapng (sections 3 and 4). Interfaces are described once a section; their link type, snap
length and clock are kept in arrays that live as long as the reader.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.capture_state import (
    FULL,
    MAX_CAPTURED,
    NEED_MORE,
    S_BIG_ENDIAN,
    S_BLOCK,
    S_DETAIL,
    S_INTERFACES,
    S_OFFSET,
    S_POSITION,
    S_SCOUTED,
    S_SKIP,
    S_TIME,
    S_TRAILER,
    S_UNFIT,
    S_WANTED,
    Outcome,
    fetch_ahead,
    note,
    u16,
    u32,
)
from analyzers.kernels.frame_status import BAD_BLOCK, NO_INTERFACE, UNTIMED
from analyzers.kernels.jit import inlined, kernel
from analyzers.kernels.links import be32

MAX_INTERFACES = 1 << 16
MAX_BLOCK = 16 << 20
"""Blocks that are decoded are kept in memory whole; a longer one means a damaged file. Others may be of any length."""

SECTION_BLOCK = 0x0A0D0D0A  # the same in both byte orders
INTERFACE_BLOCK, PACKET_BLOCK, SIMPLE_PACKET_BLOCK, ENHANCED_PACKET_BLOCK = 1, 2, 3, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
_REVERSED_MAGIC = 0x4D3C2B1A
SMALLEST_BLOCK = 12

_OPTION_END, _OPTION_RESOLUTION, _OPTION_OFFSET = 0, 9, 14
_FAR = 1 << 62  # seconds; times are held within it so that sums cannot overflow
_FAR_HIGH = _FAR >> 32

_BLOCK_LENGTH = int(Outcome.BLOCK_LENGTH)
_TRAILER = int(Outcome.TRAILER)
_SECTION = int(Outcome.SECTION)
_INTERFACE_COUNT = int(Outcome.INTERFACE_COUNT)


class Interfaces(NamedTuple):
    """What the current section says about its interfaces, by their number; valid up to state[S_INTERFACES]."""

    linktype: NDArray[np.int64]
    snaplen: NDArray[np.int64]  # bytes, 0: no limit
    ticks: NDArray[np.uint64]  # clock ticks a second (if_tsresol); 0: more than 2^64
    offset: NDArray[np.int64]  # seconds to add (if_tsoffset)

    @staticmethod
    def empty(room: int = MAX_INTERFACES) -> Interfaces:
        """Room for so many; zero pages until they are described."""
        return Interfaces(
            np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room, np.uint64), np.zeros(room, np.int64)
        )


@inlined
def _offset(buf: Any, at: Any, big: Any) -> Any:
    """if_tsoffset: a signed 64-bit number of seconds, held within what can be added without overflow."""
    low = u32(buf, at if not big else at + 4, big)
    high = u32(buf, at + 4 if not big else at, big)
    if high >= 1 << 31:
        high -= 1 << 32
    return min(max(high, np.int64(-_FAR_HIGH)), np.int64(_FAR_HIGH - 1)) * (1 << 32) + low


@inlined
def _ticks(resolution: Any) -> Any:
    """if_tsresol to ticks a second: a power of two when the highest bit is set, of ten otherwise; 0: above 2^64."""
    power = int(resolution & 127)
    if resolution & 128:
        return np.uint64(1) << np.uint64(power) if power < 64 else np.uint64(0)
    if power > 19:
        return np.uint64(0)
    ticks = np.uint64(1)
    for _ in range(power):
        ticks = ticks * np.uint64(10)
    return ticks


@inlined
def _seconds(stamp: Any, ticks: Any, offset: Any) -> Any:
    """A time stamp (uint64 ticks) to whole seconds UTC, int64, never negative."""
    if ticks == np.uint64(0):
        return max(np.int64(0), offset)
    whole = min(stamp // ticks, np.uint64(_FAR - 1))
    return max(np.int64(0), np.int64(whole) + offset)


@inlined
def _describe_interface(buf: Any, at: Any, end: Any, big: Any, number: Any, interfaces: Any) -> Any:
    """Read the interface description block at buf[at:end] into row `number`."""
    interfaces.linktype[number] = u16(buf, at + 8, big)
    interfaces.snaplen[number] = u32(buf, at + 12, big)
    interfaces.ticks[number] = np.uint64(1_000_000)
    interfaces.offset[number] = 0
    option = at + 16
    while option + 4 <= end - 4:
        code = u16(buf, option, big)
        size = u16(buf, option + 2, big)
        value = option + 4
        if code == _OPTION_END or value + size > end - 4:
            break
        if code == _OPTION_RESOLUTION and size == 1:
            interfaces.ticks[number] = _ticks(buf[value])
        if code == _OPTION_OFFSET and size == 8:
            interfaces.offset[number] = _offset(buf, value, big)
        option = value + ((size + 3) & ~3)
    return number


@inlined
def _smallest(kind: Any) -> Any:
    """Bytes that a block of this kind has at least; 0: it is of no interest."""
    if kind in (ENHANCED_PACKET_BLOCK, PACKET_BLOCK):
        return 32
    if kind == SECTION_BLOCK:
        return 28
    if kind == INTERFACE_BLOCK:
        return 20
    if kind == SIMPLE_PACKET_BLOCK:
        return 16
    return 0


@inlined
def _pass_over(buf: Any, position: Any, state: Any) -> Any:
    """Go on passing over a block of no interest. -> position, Outcome (FULL: done)."""
    step = min(state[S_SKIP], len(buf) - position)
    state[S_SKIP] -= step
    position += step
    if state[S_SKIP] > 0 or position + 4 > len(buf):
        state[S_WANTED] = 4
        return position, NEED_MORE
    trailer = u32(buf, position, state[S_BIG_ENDIAN] != 0)
    if trailer != state[S_TRAILER]:
        state[S_DETAIL] = trailer
        return position, _TRAILER
    state[S_TRAILER] = 0
    return position + 4, FULL


@inlined
def _block(buf: Any, position: Any, state: Any) -> Any:
    """Frame the block at `position`. -> Outcome (FULL: framed), its type, its total length.

    A block of interest is framed when the whole of it is in buf and its length is repeated at its end; any other one
    when its header is there. A section header sets the byte order for itself and what follows.
    """
    left = len(buf) - position
    if left < SMALLEST_BLOCK:
        state[S_WANTED] = SMALLEST_BLOCK
        return NEED_MORE, 0, 0
    big = state[S_BIG_ENDIAN] != 0
    kind = u32(buf, position, big)
    if kind == SECTION_BLOCK:
        mark = be32(buf, position + 8)
        big = mark == BYTE_ORDER_MAGIC
        if not big and mark != _REVERSED_MAGIC:
            state[S_DETAIL] = mark
            return _SECTION, kind, 0
        state[S_BIG_ENDIAN] = 1 if big else 0
    total = u32(buf, position + 4, big)
    smallest = _smallest(kind)
    if total < max(SMALLEST_BLOCK, smallest) or total % 4 != 0 or (smallest > 0 and total > MAX_BLOCK):
        state[S_DETAIL] = total
        return _BLOCK_LENGTH, kind, total
    if smallest == 0:
        return FULL, kind, total
    if left < total:
        state[S_WANTED] = total
        return NEED_MORE, kind, total
    trailer = u32(buf, position + total - 4, big)
    if trailer != total:
        state[S_DETAIL] = trailer
        return _TRAILER, kind, total
    return FULL, kind, total


@inlined
def _metadata_block(buf: Any, position: Any, kind: Any, total: Any, state: Any, interfaces: Any) -> Any:
    """Take in a block that carries no packet. -> position behind it (or into it: state[S_SKIP]), Outcome."""
    big = state[S_BIG_ENDIAN] != 0
    if kind == SECTION_BLOCK:
        if u16(buf, position + 12, big) != 1:
            state[S_DETAIL] = u16(buf, position + 12, big)
            return position, _SECTION
        state[S_INTERFACES] = 0
        return position + total, FULL
    if kind == INTERFACE_BLOCK:
        number = state[S_INTERFACES]
        if number >= MAX_INTERFACES:
            return position, _INTERFACE_COUNT
        _describe_interface(buf, position, position + total, big, number, interfaces)
        state[S_INTERFACES] = number + 1
        return position + total, FULL
    state[S_SKIP] = total - 4
    state[S_TRAILER] = total
    state[S_BLOCK] = state[S_OFFSET] + position
    return position, FULL


@inlined
def _packet_block(
    buf: Any, at: Any, kind: Any, total: Any, state: Any, interfaces: Any, tally: Any, records: Any, i: Any
) -> Any:
    """Find the packet of a framed block and put it into row `i`. -> whether it is there; if not, it is counted."""
    big = state[S_BIG_ENDIAN] != 0
    offset = state[S_OFFSET] + at
    interface = np.int64(0)  # a simple packet block is always of the first interface
    if kind == ENHANCED_PACKET_BLOCK:
        interface = u32(buf, at + 8, big)
    elif kind == PACKET_BLOCK:
        interface = u16(buf, at + 8, big)
    if interface >= state[S_INTERFACES]:
        state[S_UNFIT] += 1
        note(tally, NO_INTERFACE, interface, offset)
        return False
    linktype = interfaces.linktype[interface]
    if kind == SIMPLE_PACKET_BLOCK:
        start = at + 12
        wire = u32(buf, at + 8, big)
        captured = min(wire, total - 16)  # padding cannot be told from data when the snap length cut the packet
        if interfaces.snaplen[interface] > 0:
            captured = min(captured, interfaces.snaplen[interface])
        note(tally, UNTIMED, linktype, offset)
    else:
        start = at + 28
        captured = u32(buf, at + 20, big)
        wire = u32(buf, at + 24, big)
        if captured > total - 32:
            state[S_UNFIT] += 1
            note(tally, BAD_BLOCK, linktype, offset)
            return False
        stamp = (np.uint64(u32(buf, at + 12, big)) << np.uint64(32)) | np.uint64(u32(buf, at + 16, big))
        state[S_TIME] = _seconds(stamp, interfaces.ticks[interface], interfaces.offset[interface])
    records.start[i] = start
    records.end[i] = start + min(captured, MAX_CAPTURED)
    records.wire[i] = wire
    records.linktype[i] = linktype
    records.time[i] = state[S_TIME]
    records.offset[i] = offset
    return True


@kernel
def walk_pcapng(buf: Any, state: Any, interfaces: Any, tally: Any, records: Any) -> Any:
    """Find packets in blocks from state[S_POSITION] on until the batch is full. -> records found, Outcome.

    buf: uint8[n], the window; `records`: RecordBatch. Never reads outside of buf. The file's first block must be a
    section header (the caller has looked). Blocks of no interest are passed over without being in memory at once.
    """
    capacity = len(records.start)
    position = state[S_POSITION]
    count = np.int64(0)
    outcome = FULL
    scouted = state[S_SCOUTED]
    fetched = max(position, scouted)
    while count < capacity:
        if position >= scouted:
            fetched = fetch_ahead(buf, position, fetched)
        if state[S_TRAILER] > 0:
            position, outcome = _pass_over(buf, position, state)
            if outcome != FULL:
                break
            continue
        outcome, kind, total = _block(buf, position, state)
        if outcome != FULL:
            break
        if kind in (ENHANCED_PACKET_BLOCK, PACKET_BLOCK, SIMPLE_PACKET_BLOCK):
            if _packet_block(buf, position, kind, total, state, interfaces, tally, records, count):
                count += 1
            position += total
            continue
        position, outcome = _metadata_block(buf, position, kind, total, state, interfaces)
        if outcome != FULL:
            break
    state[S_POSITION] = position
    return count, outcome
