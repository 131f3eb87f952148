"""A file of flow-log text, read and parsed without coming back to Python in between.

So threads seldom wait for each other, however little is read at once: as much as stays in the processor's cache until
it is parsed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from analyzers.kernels.jit import kernel, read_at
from analyzers.kernels.text import PADDING, parse_lines, samples_taken

READ_BYTES = 1 << 18


class FileStop(IntEnum):
    """Why `parse_file` came back; ROOM and HEADER as in analyzers.kernels.text.Stop."""

    END = 0  # everything up to `stop` is read, or up to the end of the file, and all complete lines are done
    ROOM = 1
    HEADER = 2
    SAMPLE = 3  # a line is to be looked at before its place in the buffer is used again
    FULL = 4  # one line fills the buffer
    FAILED = 5  # the system does not let this be read


@kernel
def parse_file(
    descriptor: Any, offset: Any, stop: Any, buffer: Any, at: Any, fill: Any, columns: Any, field_count: Any,
    tables: Any, facts: Any, scratch: Any,
) -> Any:  # fmt: skip
    """Aggregate the complete lines of buffer[at:fill] and of the file from `offset` to `stop`.

    -> (where in the file to go on, at, fill, a FileStop value): buffer[at:fill] stands before that in the file and
    waits to be parsed. `buffer` is uint8 with PADDING bytes before `at`, and more than PADDING behind `fill`.
    """
    most = buffer.size - PADDING
    samples = samples_taken(scratch)
    while True:
        at, why = parse_lines(buffer, at, fill, columns, field_count, tables, facts, scratch)
        if why != 0:
            return offset, at, fill, why
        if samples_taken(scratch) != samples:
            return offset, at, fill, 3
        for left in range(fill - at):
            buffer[PADDING + left] = buffer[at + left]
        fill = PADDING + fill - at
        at = PADDING
        if offset >= stop:
            return offset, at, fill, 0
        if fill == most:
            return offset, at, fill, 4
        count = read_at(descriptor, buffer, fill, min(READ_BYTES, stop - offset, most - fill), offset)
        if count <= 0:
            return offset, at, fill, 0 if count == 0 else 5
        offset += count
        fill += count
