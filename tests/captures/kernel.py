"""What the kernels say about a capture, in the twin's words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import address_text
from analyzers.kernels.capture_files import CaptureReader
from analyzers.kernels.frame_status import FrameStatus
from analyzers.kernels.frames import PacketBatch, decode_frame
from captures.twin import Seen

Timed = tuple[Seen, int, int]
"""What was seen, the flag byte, the whole second."""


def array(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def row(batch: PacketBatch, i: int) -> Timed:
    meta = int(batch.meta[i])
    assert meta & 0xFFFF == 0
    seen = Seen(
        address_text(batch.src_hi[i], int(batch.src_lo[i])),
        address_text(batch.dst_hi[i], int(batch.dst_lo[i])),
        meta >> 24 & 0xFF,
        meta >> 48,
        meta >> 32 & 0xFFFF,
        int(batch.size[i]),
    )
    return seen, meta >> 16 & 0xFF, int(batch.time[i])


def drain(reader: CaptureReader, capacity: int = 64) -> list[Timed]:
    """Everything that the reader delivers from its present window."""
    batch, found = PacketBatch.allocate(capacity), []
    while count := reader.next_batch(batch):
        assert count <= capacity
        found += [row(batch, i) for i in range(count)]
    return found


def read(data: bytes, name: str = "capture", capacity: int = 64) -> tuple[list[Timed], CaptureReader]:
    reader = CaptureReader(array(data), name)
    return drain(reader, capacity), reader


def guarded(data: bytes, guard: int) -> tuple[list[Timed], CaptureReader]:
    """Read `data` where it lies between bytes of another content."""
    around = np.full(len(data) + 8192, guard, np.uint8)
    around[4096 : 4096 + len(data)] = array(data)
    reader = CaptureReader(around[4096 : 4096 + len(data)], "capture")
    return drain(reader), reader


def read_in_windows(data: bytes, size: int, name: str = "capture") -> tuple[list[Timed], CaptureReader]:
    """As `read`, through windows of `size` bytes, or of what the reader asks for when that is more."""
    end = min(size, len(data))
    reader = CaptureReader(array(data[:end]), name, final=end == len(data))
    found, begin = [], 0
    while True:
        found += drain(reader)
        if reader.finished:
            return found, reader
        assert end < len(data), "a final window always finishes the reader"
        begin += reader.consumed
        end = min(len(data), max(begin + size, begin + reader.wanted, end + 1))
        reader.feed(array(data[begin:end]), final=end == len(data))


def outcomes(data: bytes) -> list[tuple[int, int, Seen | str]]:
    """Offset, second and what was seen (or the status' name) of every record that has a frame."""
    reader, batch, found = CaptureReader(array(data), "capture"), PacketBatch.allocate(1), []
    count, _ = reader._walk(1 << 14)
    records = reader._records
    assert count < 1 << 14
    for i in range(count):
        where = records.start[i], records.end[i], records.wire[i], records.linktype[i]
        status = FrameStatus(
            decode_frame(reader._window, *where, records.time[i], True, reader._memory, batch, np.int64(0))
        )
        seen = row(batch, 0)[0] if status == FrameStatus.OK else status.name
        found.append((int(records.offset[i]), int(records.time[i]), seen))
    return found
