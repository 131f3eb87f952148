"""What a walk over a capture carries from call to call, hands on, and counts: shared by the walkers and the decoder."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.kernels.frame_status import LINK_TYPE, FrameStatus
from analyzers.kernels.jit import inlined, prefetch
from analyzers.kernels.links import be32, le32

MAX_CAPTURED = 262_144
"""No tool captures more of a packet (MAXIMUM_SNAPLEN of tcpdump and libpcap); a longer one means a damaged file."""

SAMPLES = 3

_FETCH_BYTES = 8192
_CACHE_LINE = 64

# Fields of the walk's state, int64[STATE_FIELDS].
S_OFFSET = 0  # file offset of window[0]
S_POSITION = 1  # first byte of the window that no finished record covers
S_WANTED = 2  # after NEED_MORE: how many bytes from S_POSITION on the next record needs
S_UNFIT = 3  # pcapng: packet blocks that no frame could be taken from; the tally has the reasons
S_BIG_ENDIAN = 4
S_INTERFACES = 5  # pcapng: how many the section has described so far
S_SKIP = 6  # pcapng: bytes of a block of no interest still to be passed over
S_TRAILER = 7  # pcapng: its total length, which must be repeated behind it; 0: no block is being passed over
S_BLOCK = 8  # pcapng: its file offset
S_TIME = 9  # pcapng: the last time seen, seconds UTC
S_DETAIL = 10  # the number that ended the walk
S_SCOUTED = 11  # up to where in the window records' headers were asked for, see analyzers.kernels.scouting
S_NEXT = 12  # where the walk must be for the next region to be scouted
S_PART = 13  # bytes that each scout has to go
S_RUNNING = 14  # scouts on their way
S_CHAINS = 15  # where each of the SCOUTS is
SCOUTS = 8
STATE_FIELDS = S_CHAINS + SCOUTS


class Outcome(IntEnum):
    """Why a walk returned. From IMPOSSIBLE_LENGTH on: the file is damaged and nothing behind is read."""

    FULL = 0
    NEED_MORE = 1
    IMPOSSIBLE_LENGTH = 2
    BLOCK_LENGTH = 3
    TRAILER = 4
    SECTION = 5
    INTERFACE_COUNT = 6
    CUT = 7


FULL = int(Outcome.FULL)
NEED_MORE = int(Outcome.NEED_MORE)


class Tally(NamedTuple):
    """Counts of a walk. Samples are file offsets of the records, the first ones; -1: none."""

    counts: NDArray[np.int64]  # [len(FrameStatus)]
    samples: NDArray[np.int64]  # [len(FrameStatus), SAMPLES]
    link_packets: NDArray[np.int64]  # [65536], frames by link type
    link_samples: NDArray[np.int64]  # [65536, SAMPLES], of unsupported ones only; offset + 1, so that 0 is none

    @staticmethod
    def empty() -> Tally:
        """Nothing counted. The large arrays are zero pages until a link type is met."""
        return Tally(
            np.zeros(len(FrameStatus), np.int64),
            np.full((len(FrameStatus), SAMPLES), -1, np.int64),
            np.zeros(1 << 16, np.int64),
            np.zeros((1 << 16, SAMPLES), np.int64),
        )


class RecordBatch(NamedTuple):
    """Records that a walker found, int64[capacity] each: the hand-over from file formats to `decode_frames`."""

    start: NDArray[np.int64]  # first byte of the frame in the window
    end: NDArray[np.int64]  # behind its last captured byte; never behind the window's end
    wire: NDArray[np.int64]  # bytes of the frame before the snap length cut it, as the record says
    linktype: NDArray[np.int64]
    time: NDArray[np.int64]  # whole seconds UTC, not negative
    offset: NDArray[np.int64]  # of the record in the file

    @staticmethod
    def allocate(capacity: int) -> RecordBatch:
        """Room for `capacity` records."""
        return RecordBatch(*(np.zeros(capacity, np.int64) for _ in range(6)))


@inlined
def note(tally: Any, status: Any, linktype: Any, offset: Any) -> None:
    """Count a record that is not plainly OK, with its place while there are few."""
    seen = tally.counts[status]
    if seen < SAMPLES:
        tally.samples[status, seen] = offset
    tally.counts[status] = seen + 1
    if status == LINK_TYPE:
        for sample in range(SAMPLES):
            if tally.link_samples[linktype, sample] == 0:
                tally.link_samples[linktype, sample] = offset + 1
                break


@inlined
def u32(buf: Any, at: Any, big: Any) -> Any:
    """Four bytes in the file's order, as int64 (never negative)."""
    if big:
        return be32(buf, at)
    return le32(buf, at)


@inlined
def u16(buf: Any, at: Any, big: Any) -> Any:
    """Two bytes in the file's order, as int64."""
    if big:
        return (np.int64(buf[at]) << 8) | np.int64(buf[at + 1])
    return np.int64(buf[at]) | (np.int64(buf[at + 1]) << 8)


@inlined
def fetch_ahead(buf: Any, position: Any, fetched: Any) -> Any:
    """Ask for the next 4 KB of cache lines from `fetched` on -> what is asked for now.

    A chain of records is one cache miss a record; this makes a stream of it. Frames longer than that are leapt over.
    """
    fetched = max(position, fetched)
    ahead = min(position + _FETCH_BYTES, len(buf))
    while fetched < ahead:
        prefetch(buf, fetched)
        fetched += _CACHE_LINE
    return fetched
