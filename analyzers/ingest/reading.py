"""One item of input at a time: bytes to kernel calls, and every passed-over record to its reason and place."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator
from io import FileIO
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from analyzers.ingest.coverage import COVERAGE_REASONS, ReasonCounts, SkipCounts, printable
from analyzers.ingest.formats import aws_cloudwatch, aws_vpc
from analyzers.ingest.log_formats import normalise
from analyzers.ingest.planning import CaptureItem, Item, ObjectItem, ParquetItem, TextItem, is_tiny, recognised
from analyzers.ingest.sources import (
    INFLATE_BYTES,
    READ_BYTES,
    SHORTER,
    InputError,
    StreamDamage,
    inflate,
    inflate_into,
    open_small,
    open_source,
    put_into,
)
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.jit import held
from analyzers.kernels.log_line import Reason
from analyzers.kernels.record import S_RECORDS
from analyzers.kernels.text import PADDING, Facts, Stop, new_scratch, parse_lines
from analyzers.kernels.text_files import FileStop, parse_file

if TYPE_CHECKING:
    from analyzers.ingest.capture_reading import CaptureAggregator
    from analyzers.ingest.parquet_reading import RowGroupReader

BUFFER_BYTES = 1 << 22
FILL_BYTES = INFLATE_BYTES
"""What is parsed at once: enough that threads seldom wait for each other between two calls."""

HEADER_BYTES = 4096
SHOWN_BYTES = 8 << 20
"""How much of a part is read before progress is told again."""

REASONS = {
    Reason.FIELD_COUNT: "wrong number of fields",
    Reason.ADDRESS: "an address that is none",
    Reason.PORT: "a port that is no number up to 65535",
    Reason.PROTOCOL: "a protocol that is no number up to 255",
    Reason.COUNTER: "packets or bytes that are no number below 2^63",
    Reason.TIME: "a time that is no number of seconds or milliseconds",
    Reason.ACTION: "an action other than ACCEPT and REJECT",
    Reason.NODATA: COVERAGE_REASONS[0],
    Reason.SKIPDATA: COVERAGE_REASONS[1],
    Reason.NO_ADDRESS: "a record without addresses",
    Reason.LONG_LINE: "a line longer than any record",
    Reason.STATUS: "an unknown log-status",
    Reason.FLAGS: "TCP flags that are no number up to 255",
}


class MixedFormats(Exception):
    """A file that was cut into parts turned out to hold lines of several formats."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source


def _behind_line(file: FileIO, offset: int, stop: int) -> int:
    """Where the line that `offset` is in ends, at most `stop`."""
    while offset < stop and (piece := os.pread(file.fileno(), min(READ_BYTES, stop - offset), offset)):
        newline = piece.find(b"\n")
        if newline >= 0:
            return offset + newline + 1
        offset += len(piece)
    return offset


class Worker:
    """One thread's hands: its tables, its scratch memory, what it passed over."""

    def __init__(
        self,
        tables: WorkerTables,
        facts: Facts,
        networks: tuple[tuple[str, str], ...],
        progress: Callable[[int, int], None] | None = None,
        *,
        outer: bool = False,
    ) -> None:
        self.tables = tables
        self.skips: list[SkipCounts] = []
        self.formats: dict[str, int] = {}  # of objects, whose formats are found here
        self.bytes_read = 0
        self._facts = facts
        self._networks = networks
        self._progress = progress
        self._outer = outer
        self._scratch = new_scratch()
        self._reasons = ReasonCounts(self._scratch.reason_counts, self._scratch.reason_samples, REASONS)
        self._held_facts, self._held_scratch = held(facts), held(self._scratch)
        self._captures: CaptureAggregator | None = None
        self._row_groups: RowGroupReader | None = None
        self._buffer = np.zeros(PADDING + BUFFER_BYTES + PADDING, np.uint8)
        self._fill = 0  # bytes of it that wait to be parsed

    def process(self, item: Item) -> None:
        """Read one item into the tables. Raises MixedFormats, and InputError where it cannot be opened; damage in the
        input is noted, not raised."""
        skips = SkipCounts(item.source.name)
        self.skips.append(skips)
        network = -1
        for pattern, name in self._networks:
            if fnmatch.fnmatch(item.source.name, pattern):
                network = self.tables.network(name)
                break
        try:
            if isinstance(item, ParquetItem):
                self.tables.fix(network, 0)
                self._read_row_group(item, skips)
            else:
                self._read_stream(item, network, skips)
        finally:
            self._reasons.settle(skips)

    def _read_stream(self, item: TextItem | CaptureItem | ObjectItem, network: int, skips: SkipCounts) -> None:
        stream = item.stream or (open_small(item.source) if is_tiny(item) else open_source(item.source))
        try:
            items: list[Item] = [item]
            if isinstance(item, ObjectItem):
                items = recognised(item.source, item.forced, frozenset(), item.known, self.formats, skips, stream)
            for part in items:  # several only when they are row groups
                observer = self.tables.observer(part.source.name) if isinstance(part, CaptureItem) else 0
                self.tables.fix(network, observer)
                if isinstance(part, TextItem) and part.end is not None:
                    self._read_range(part, part.end, cast(FileIO, stream), skips)
                elif isinstance(part, TextItem):
                    self._read_text(part, stream, skips)
                elif isinstance(part, ParquetItem):
                    self._read_row_group(part, skips)
                elif isinstance(part, CaptureItem):
                    self._read_capture(part, stream, skips, max(network, 0), observer)
        except OSError as problem:
            skips.add(f"reading failed: {problem.strerror or problem}", 1, [(self.bytes_read, "")])
        finally:
            if not item.source.is_stdin:
                stream.close()

    # -- text --------------------------------------------------------------------------------------------------

    def _fills(self, item: TextItem, stream: BinaryIO, skips: SkipCounts) -> Iterator[int]:
        """Bytes put into the free part of the buffer, one count for each time."""
        if item.formats is None:
            yield from inflate_into(stream, item.head, self._free)
            return
        for piece in aws_cloudwatch.lines(inflate(stream, item.head), item.formats, skips):
            yield from put_into(piece, self._free)

    def _free(self) -> memoryview:
        return memoryview(self._buffer.data)[PADDING + self._fill : PADDING + BUFFER_BYTES]

    def _read_range(self, item: TextItem, end: int, file: FileIO, skips: SkipCounts) -> None:
        """A part of a plain file, up to `end`."""
        layout = aws_vpc.layout(item.fields)
        skips.notes.update(layout.notes)
        offset = item.start  # in the file, behind what is in the buffer
        at = fill = PADDING
        why = FileStop.ROOM
        while why or offset < end:
            before, stop = offset, min(offset + SHOWN_BYTES, end)
            offset, at, fill, why = parse_file(
                file.fileno(), offset, stop, self._buffer, at, fill, layout.columns, len(layout.fields),
                self.tables.held, self._held_facts, self._held_scratch,
            )  # fmt: skip
            self._count(offset - before)
            begin = offset - (fill - PADDING)
            self._note_reasons(begin, skips)
            if why == FileStop.ROOM:
                self.tables.make_room()
            elif why == FileStop.HEADER:
                layout, at = self._after_header(item, layout, at, fill, begin, skips)
            elif why == FileStop.FULL:
                self._pass_long_line(fill - PADDING, begin, skips)
                behind = _behind_line(file, offset, end)
                self._count(behind - offset)
                offset, fill = behind, PADDING
            elif why == FileStop.FAILED:
                os.pread(file.fileno(), stop - offset, offset)  # raises OSError with what is the matter
            elif why == FileStop.END and offset < stop:
                if os.fstat(file.fileno()).st_size >= item.start:  # of several parts behind its end, one tells
                    skips.add(SHORTER, 1, [(offset, "")])
                break
        self._end_with(item, layout, fill - PADDING, offset - (fill - PADDING), skips)

    def _read_text(self, item: TextItem, stream: BinaryIO, skips: SkipCounts) -> None:
        layout = aws_vpc.layout(item.fields)
        skips.notes.update(layout.notes)
        view = memoryview(self._buffer.data)[PADDING : PADDING + BUFFER_BYTES]
        self._fill = 0
        offset = item.start  # of the buffer's first data byte, in the (decompressed) text
        begin = -1  # of what is parsed in the buffer, behind the header that the format is known from
        within = False  # a line that is passed over
        try:
            for count in self._fills(item, stream, skips):
                self._fill += count
                self._count(count)
                if within:
                    newline = view[: self._fill].tobytes().find(b"\n")
                    behind = newline + 1 if newline >= 0 else self._fill
                    view[: self._fill - behind] = view[behind : self._fill]
                    offset += behind
                    self._fill -= behind
                    within = newline < 0
                if self._fill < FILL_BYTES:
                    continue  # small pieces are gathered, the kernel likes larger ones
                begin = self._behind_header(item) if begin < 0 else 0
                layout, used = self._parse(item, layout, self._fill, offset, skips, begin)
                offset += used
                view[: self._fill - used] = view[used : self._fill]
                self._fill -= used
                if self._fill == BUFFER_BYTES:
                    self._pass_long_line(self._fill, offset, skips)
                    offset += self._fill
                    self._fill = 0
                    within = True
        except StreamDamage as damage:
            skips.add(damage.reason, 1, [(damage.offset, "")])
        if not within:
            begin = self._behind_header(item) if begin < 0 else 0
            self._end_with(item, layout, self._fill, offset, skips, begin)

    def _behind_header(self, item: TextItem) -> int:
        """Where the first line in the buffer ends, if it is the header that told the item's fields, else 0."""
        line, newline, _ = self._buffer[PADDING : PADDING + min(self._fill, HEADER_BYTES)].tobytes().partition(b"\n")
        names = aws_vpc.header(line.decode("utf-8", "replace")) if newline else None
        return len(line) + 1 if names == item.fields else 0

    def _count(self, size: int) -> None:
        """So many bytes more were read."""
        self.bytes_read += size
        if self._progress is not None:
            self._progress(self.bytes_read, int(self.tables.tables.state[S_RECORDS]))

    def _pass_long_line(self, size: int, offset: int, skips: SkipCounts) -> None:
        line = printable(self._buffer[PADDING : PADDING + min(size, 80)].tobytes())
        skips.add(REASONS[Reason.LONG_LINE], 1, [(offset, line)])

    def _end_with(
        self, item: TextItem, layout: aws_vpc.Layout, fill: int, offset: int, skips: SkipCounts, begin: int = 0
    ) -> None:
        """Parse what is left, whose last line may lack its newline."""
        self._buffer[PADDING + fill] = ord("\n")
        self._parse(item, layout, fill + 1, offset, skips, begin)

    def _parse(
        self, item: TextItem, layout: aws_vpc.Layout, fill: int, offset: int, skips: SkipCounts, begin: int
    ) -> tuple[aws_vpc.Layout, int]:
        """Run the kernel over the buffer, from `begin` on; returns the layout that holds now and how many bytes are
        done."""
        at, stop = PADDING + begin, PADDING + fill
        while True:
            at, why = parse_lines(
                self._buffer, at, stop, layout.columns, len(layout.fields),
                self.tables.held, self._held_facts, self._held_scratch,
            )  # fmt: skip
            self._note_reasons(offset, skips)
            skips.plain |= at > PADDING and layout.lacks_packet_addresses
            if why == Stop.ROOM:
                self.tables.make_room()
            elif why == Stop.HEADER:
                layout, at = self._after_header(item, layout, at, stop, offset, skips)
            else:
                return layout, at - PADDING

    def _after_header(
        self, item: TextItem, layout: aws_vpc.Layout, at: int, stop: int, offset: int, skips: SkipCounts
    ) -> tuple[aws_vpc.Layout, int]:
        """The layout by the header line at buffer[at], and where the line behind it begins."""
        newline = at + int(np.argmax(self._buffer[at:stop] == 10))
        line = self._buffer[at:newline].tobytes()
        return self._next_layout(item, layout, line, offset + at - PADDING, skips), newline + 1

    def _next_layout(
        self, item: TextItem, layout: aws_vpc.Layout, line: bytes, offset: int, skips: SkipCounts
    ) -> aws_vpc.Layout:
        fields = tuple(normalise(part) for part in line.decode("utf-8", "replace").split())
        if fields == layout.fields:
            return layout
        if item.end is not None:
            raise MixedFormats(item.source.name)
        try:
            changed = aws_vpc.layout(fields)
        except aws_vpc.UnusableHeader as problem:
            skips.add(str(problem), 1, [(offset, printable(line))])
            return aws_vpc.nothing_usable()
        skips.notes.add("lines of several formats in one file, each read by the header above it")
        return changed

    def _note_reasons(self, offset: int, skips: SkipCounts) -> None:
        def place(at: int) -> tuple[int, str]:
            return offset + at - PADDING, self._line(at)

        self._reasons.note(skips, place)

    def _line(self, at: int) -> str:
        raw = self._buffer[at : at + 400].tobytes()
        return printable(raw.split(b"\n", 1)[0])

    # -- Parquet -----------------------------------------------------------------------------------------------

    def _read_row_group(self, item: ParquetItem, skips: SkipCounts) -> None:
        from analyzers.ingest.parquet_reading import RowGroupReader
        from analyzers.objects.patience import ObjectFailure

        layout = aws_vpc.layout(item.fields)
        skips.notes.update(layout.notes)
        skips.plain |= layout.lacks_packet_addresses
        if self._row_groups is None:
            self._row_groups = RowGroupReader(self.tables, self._facts, self._scratch, self._reasons)
        try:
            for size in self._row_groups.read(item.source, layout, item.row_group, skips):
                self._count(size)
        except ObjectFailure as problem:
            skips.add(f"reading failed: {problem.strerror}", 1, [(self.bytes_read, "")])
        except (OSError, InputError) as problem:
            skips.add(f"unreadable Parquet data: {problem}", 1, [])

    # -- captures ----------------------------------------------------------------------------------------------

    def _read_capture(
        self, item: CaptureItem, stream: BinaryIO, skips: SkipCounts, network: int, observer: int
    ) -> None:
        from analyzers.ingest.capture_reading import CaptureAggregator

        if self._captures is None:
            self._captures = CaptureAggregator(self.tables, self._facts, outer=self._outer)
        for size in self._captures.read(item, stream, skips, network, observer):
            self._count(size)
