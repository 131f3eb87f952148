"""One item of input at a time: bytes to kernel calls, and every passed-over record to its reason and place."""

from __future__ import annotations

import fnmatch
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import Carried
from analyzers.ingest.coverage import COVERAGE_REASONS, ReasonCounts, SkipCounts, printable
from analyzers.ingest.formats import aws_cloudwatch, aws_parquet, aws_vpc, unread
from analyzers.ingest.log_formats import DEFAULT_FIELDS, LogFormats, normalise
from analyzers.ingest.sources import (
    GZIP_MAGIC,
    READ_BYTES,
    ZSTD_MAGIC,
    InputError,
    Source,
    StreamDamage,
    inflate,
    inflate_into,
    open_source,
    put_into,
)
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.capture_files import SMALLEST_WINDOW, CaptureReader, NotACapture
from analyzers.kernels.connections import C_CONNECTIONS, C_ERRORS, C_FIRST, C_LAST, C_OUTSIDE, C_PACKETS, Target
from analyzers.kernels.ipv4_flows import Flows
from analyzers.kernels.jit import held
from analyzers.kernels.log_line import Reason
from analyzers.kernels.record import S_CONNECTIONS, S_FIRST, S_LAST, S_OUTSIDE, S_RECORDS, S_SPAN
from analyzers.kernels.text import PADDING, Facts, Stop, new_scratch, parse_lines
from analyzers.kernels.text_files import FileStop, parse_file

if TYPE_CHECKING:
    from analyzers.ingest.parquet_reading import RowGroupReader

BUFFER_BYTES = 1 << 22
FILL_BYTES = BUFFER_BYTES // 2
"""What is parsed at once: enough that threads seldom wait for each other between two calls."""

RANGE_BYTES = 32 << 20
"""Plain files above this are read in parts of about this size by several threads."""

SHOWN_BYTES = 8 << 20
"""How much of a part is read before progress is told again."""

SHORTER = "the file became shorter while it was read"
SNIFF_BYTES = 64 * 1024
LINE_BYTES = 1024  # hold the end of a line as a rule
CAPTURE_WINDOW = 4 << 20
MAPPED_WINDOW = 64 << 20
CAPTURE_MAGICS = (
    b"\xa1\xb2\xc3\xd4",
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x4d\x3c\xb2\xa1",
    b"\x0a\x0d\x0d\x0a",
)

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


@dataclass(frozen=True, slots=True)
class TextItem:
    """Flow-log text: the whole source, or the complete lines of bytes [start, end) of a plain file."""

    source: Source
    fields: tuple[str, ...]
    start: int = 0
    end: int | None = None
    stream: BinaryIO | None = None  # of what can be read only once
    head: bytes = b""  # taken from that while sniffing
    formats: LogFormats | None = None  # not None: JSON envelopes, whose messages these may be

    @property
    def format(self) -> str:
        """What the report calls it."""
        return aws_vpc.NAME if self.formats is None else aws_cloudwatch.NAME


@dataclass(frozen=True, slots=True)
class CaptureItem:
    """A pcap or pcapng capture."""

    source: Source
    stream: BinaryIO | None = None  # of what can be read only once
    head: bytes = b""  # taken from that while sniffing

    @property
    def format(self) -> str:
        """What the report calls it."""
        return "capture"


@dataclass(frozen=True, slots=True)
class ParquetItem:
    """One row group of a Parquet flow log."""

    source: Source
    fields: tuple[str, ...]
    row_group: int

    @property
    def format(self) -> str:
        """What the report calls it."""
        return aws_parquet.NAME


@dataclass(frozen=True, slots=True)
class ObjectItem:
    """An object, whose format is found when its first bytes are there: asking for them alone costs a request."""

    source: Source
    forced: str | None
    known: LogFormats
    stream: BinaryIO

    @property
    def format(self) -> str:
        """Not known yet; the worker that reads it tells."""
        return ""


Item = TextItem | CaptureItem | ParquetItem | ObjectItem


def plan(
    sources: Sequence[Source],
    forced: str | None,
    whole: frozenset[str],
    skips: list[SkipCounts],
    formats_known: LogFormats | None = None,
) -> tuple[list[Item], dict[str, int]]:
    """Work items, and how many sources have which format. What cannot be read is added to `skips`."""
    items: list[Item] = []
    formats: dict[str, int] = {}
    for source in sources:
        known = formats_known or LogFormats()
        if source.stored is not None:
            items.append(ObjectItem(source, forced, known, open_source(source)))
            continue
        refused = SkipCounts(source.name)
        found = _recognised(source, forced, whole, known, formats, refused)
        if refused.counts:
            skips.append(refused)
        items.extend(found)
    return items, formats


def _recognised(
    source: Source,
    forced: str | None,
    whole: frozenset[str],
    known: LogFormats,
    formats: dict[str, int],
    refused: SkipCounts,
    stream: BinaryIO | None = None,
) -> list[Item]:
    """The items of one source, its format counted; none, and the reason in `refused`, when it cannot be read."""
    try:
        found = _sniff(source, forced, whole, known, stream)
    except StreamDamage as damage:
        refused.add(damage.reason, 1, [(damage.offset, "")])
        return []
    except (aws_vpc.UnusableHeader, NotACapture, InputError) as problem:
        refused.add(str(problem), 1, [(0, "")])
        return []
    if found:
        formats[found[0].format] = formats.get(found[0].format, 0) + 1
    return found


def _sniff(
    source: Source, forced: str | None, whole: frozenset[str], known: LogFormats, opened: BinaryIO | None = None
) -> list[Item]:
    """`opened`: an object's stream, which is left open at its beginning."""
    once = source.read_once
    stream = opened or open_source(source)
    raw = stream.read(SNIFF_BYTES)
    taken = raw if once else b""
    if not raw:
        raise InputError("the file is empty")
    if aws_parquet.recognise(raw):
        return _row_groups(source)
    compressed = raw.startswith((GZIP_MAGIC, ZSTD_MAGIC))
    head = raw
    if compressed:
        pieces = _first_piece(stream, raw)
        head = pieces[0]
        taken = pieces[1] if once else b""
    if opened is not None:
        opened.seek(0)
    elif not once:
        stream.close()
    kept = stream if once else None
    if forced == "capture" or (forced is None and head.startswith(CAPTURE_MAGICS)):
        return [CaptureItem(source, kept, taken)]
    if aws_cloudwatch.recognise(head):
        return [TextItem(source, DEFAULT_FIELDS, stream=kept, head=taken, formats=known)]
    fields = aws_vpc.recognise(head, known)
    if fields is None:
        if forced != aws_vpc.NAME:
            raise InputError(_refusal(head))
        fields = known.given or DEFAULT_FIELDS
    aws_vpc.layout(fields)
    if compressed or once or source.stored is not None or source.name in whole or source.size <= RANGE_BYTES:
        return [TextItem(source, fields, stream=kept, head=taken)]
    return list(_ranges(source, fields))


def _row_groups(source: Source) -> list[Item]:
    """All row groups of a Parquet file. Raises InputError or UnusableHeader."""
    if source.read_once:
        raise InputError("Parquet cannot be read from standard input or a pipe; name the file")
    file = aws_parquet.open_file(source)
    fields = aws_parquet.fields_of(file)
    aws_vpc.layout(fields)
    return [ParquetItem(source, fields, group) for group in range(file.metadata.num_row_groups)]


def _refusal(head: bytes) -> str:
    """Why a file that begins with `head` is not read."""
    name = unread.recognise(head)
    if name is not None:
        return f"recognised as {name}, which flowctl does not read yet"
    if count := aws_vpc.unnamed_fields(head):
        return (
            f"lines of {count} fields that may be flow-log records, without a header: say what the fields are, with "
            "--log-format or describe-flow-logs JSON as --inventory"
        )
    return f"no flow log and no capture: it begins with '{printable(head, 40)}'; --format forces one"


def _first_piece(stream: BinaryIO, raw: bytes) -> tuple[bytes, bytes]:
    """(decompressed beginning, everything read from `stream` so far)."""
    seen = [raw]

    class Recorder:
        def read(self, size: int) -> bytes:
            more = stream.read(size)
            seen.append(more)
            return more

    head = b""
    try:
        for piece in inflate(Recorder(), raw, SNIFF_BYTES):  # type: ignore[arg-type]
            head += piece
            if len(head) >= SNIFF_BYTES // 4:
                break
    except StreamDamage:
        if not head:
            raise
    return head, b"".join(seen)


def _ranges(source: Source, fields: tuple[str, ...]) -> Iterator[TextItem]:
    """Parts that begin and end at line boundaries: of about RANGE_BYTES, and smaller towards the end of the file, so
    that no thread waits long for the last one."""
    size = source.size
    start = 0
    with open_source(source) as stream:
        while start < size:
            end = min(start + min(RANGE_BYTES, max((size - start) // 4, RANGE_BYTES // 8)), size)
            stream.seek(end)
            while end < size:
                piece = stream.read(LINE_BYTES)
                newline = piece.find(b"\n")
                if newline >= 0 or not piece:
                    end += newline + 1
                    break
                end += len(piece)
            yield TextItem(source, fields, start, end)
            start = end


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
        self._flows: Flows | None = None
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
        stream = item.stream or open_source(item.source)
        try:
            items: list[Item] = [item]
            if isinstance(item, ObjectItem):
                items = _recognised(item.source, item.forced, frozenset(), item.known, self.formats, skips, stream)
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
                layout, used = self._parse(item, layout, self._fill, offset, skips)
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
            self._end_with(item, layout, self._fill, offset, skips)

    def _count(self, size: int) -> None:
        """So many bytes more were read."""
        self.bytes_read += size
        if self._progress is not None:
            self._progress(self.bytes_read, int(self.tables.tables.state[S_RECORDS]))

    def _pass_long_line(self, size: int, offset: int, skips: SkipCounts) -> None:
        line = printable(self._buffer[PADDING : PADDING + min(size, 80)].tobytes())
        skips.add(REASONS[Reason.LONG_LINE], 1, [(offset, line)])

    def _end_with(self, item: TextItem, layout: aws_vpc.Layout, fill: int, offset: int, skips: SkipCounts) -> None:
        """Parse what is left, whose last line may lack its newline."""
        self._buffer[PADDING + fill] = ord("\n")
        self._parse(item, layout, fill + 1, offset, skips)

    def _parse(
        self, item: TextItem, layout: aws_vpc.Layout, fill: int, offset: int, skips: SkipCounts
    ) -> tuple[aws_vpc.Layout, int]:
        """Run the kernel over the buffer; returns the layout that holds now and how many bytes are done."""
        at, stop = PADDING, PADDING + fill
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
                self.bytes_read += size
                if self._progress is not None:
                    self._progress(self.bytes_read, int(self.tables.tables.state[S_RECORDS]))
        except ObjectFailure as problem:
            skips.add(f"reading failed: {problem.strerror}", 1, [(self.bytes_read, "")])
        except (OSError, InputError) as problem:
            skips.add(f"unreadable Parquet data: {problem}", 1, [])

    # -- captures ----------------------------------------------------------------------------------------------

    def _read_capture(
        self, item: CaptureItem, stream: BinaryIO, skips: SkipCounts, network: int, observer: int
    ) -> None:
        errors = 0
        readers: list[CaptureReader] = []  # none until the first window told that it is a capture
        try:
            for window, final in self._windows(item, stream, readers):
                if not readers:
                    readers.append(CaptureReader(window, item.source.name, final=final, outer=self._outer))
                else:
                    readers[0].feed(window, final=final)
                reader = readers[0]
                errors += self._with_room(lambda target: readers[0].aggregate(target, network, observer, self._facts))
                if self._progress is not None:
                    self._progress(self.bytes_read, int(self.tables.tables.state[S_RECORDS]))
                if reader.finished:
                    break
        except StreamDamage as damage:
            skips.add(damage.reason, 1, [(damage.offset, "")])
        except NotACapture as problem:
            skips.add(str(problem), 1, [(0, "")])
        self._with_room(lambda target: CaptureReader.finish(target, network, observer))
        for reader in readers:
            self._note_tunnels(reader, skips)
            for reason, (count, samples) in reader.counts().items():
                skips.add(reason, count, [(at, "") for at in samples])
            skips.notes.update(f"{text} ({count} packets)" for text, (count, _) in reader.notes().items())
        if errors:
            skips.add("ICMP errors, which quote another packet", errors, [])

    @staticmethod
    def _note_tunnels(reader: CaptureReader, skips: SkipCounts) -> None:
        found = reader.carriers()
        skips.carried.extend(Carried(skips.source, one.tunnel.text, one.one, one.other, one.packets) for one in found)
        for kind in sorted({one.tunnel for one in found}):
            packets = sum(one.packets for one in found if one.tunnel == kind)
            pairs = [f"{one.one} and {one.other}" for one in found if one.tunnel == kind and one.one]
            between = f" between {', '.join(pairs[:3])}{f' and {len(pairs) - 3} more pairs' if pairs[3:] else ''}"
            skips.notes.add(
                f"{packets} packets inside {kind.text}{between if pairs else ''}: the inner flows are the flows"
                f"{' (--outer keeps the outer ones)' if pairs else ''}"
            )

    def _windows(
        self, item: CaptureItem, stream: BinaryIO, readers: list[CaptureReader]
    ) -> Iterator[tuple[NDArray[np.uint8], bool]]:
        """Windows over the capture, each beginning where the reader stands: the mapped file, or pieces of a stream."""
        head = item.head or stream.read(4)
        on_disk = item.stream is None and item.source.stored is None
        if on_disk and not head.startswith((GZIP_MAGIC, ZSTD_MAGIC)):
            yield from self._mapped(item.source, readers)
            return
        pieces = inflate(stream, head + (b"" if item.head else stream.read(READ_BYTES)))
        window = np.zeros(0, np.uint8)
        final = False
        while not final:
            now = readers[0] if readers else None
            rest = window if now is None else window[now.consumed :]
            wanted = CAPTURE_WINDOW if now is None else max(CAPTURE_WINDOW, now.wanted)
            parts = [rest]
            size = rest.size
            while size < max(wanted, SMALLEST_WINDOW):
                piece = next(pieces, None)
                if piece is None:
                    final = True
                    break
                self.bytes_read += len(piece)
                parts.append(np.frombuffer(piece, np.uint8))
                size += len(piece)
            window = np.concatenate(parts)
            yield window, final

    def _mapped(self, source: Source, readers: list[CaptureReader]) -> Iterator[tuple[NDArray[np.uint8], bool]]:
        """Windows over the mapped file, for a sign of life between them, and for a look at how long it is now: the
        system ends a process that touches what was cut off. Raises StreamDamage when it was."""
        with Path(source.name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise StreamDamage(SHORTER, 0)
            whole = np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
            start, end = 0, 0
            while end < size:
                wanted = readers[0].wanted if readers else 0
                before, end = end, min(size, start + max(MAPPED_WINDOW, wanted))
                there = os.fstat(file.fileno()).st_size
                if there < end:
                    yield whole[start : max(start, there)], False
                    raise StreamDamage(SHORTER, there)
                self.bytes_read += end - before
                yield whole[start:end], end == size
                start += readers[0].consumed

    def _with_room(self, step: Callable[[Target], bool]) -> int:
        """Let `step` add packets to the tables, with more room as often as it asks -> ICMP errors, left out."""
        if self._flows is None:
            self._flows = Flows.empty()
        state = self.tables.tables.state
        errors = 0
        done = False
        while not done:
            self.tables.make_room()
            now = self.tables.tables
            target = Target.over(
                now.connection_index, now.connections, int(state[S_CONNECTIONS]), self._flows, int(state[S_SPAN])
            )
            done = step(target)
            counted = target.counters
            state[S_CONNECTIONS] = counted[C_CONNECTIONS]
            state[S_RECORDS] += counted[C_PACKETS]
            state[S_OUTSIDE] += counted[C_OUTSIDE]
            state[S_FIRST] = min(state[S_FIRST], counted[C_FIRST])
            state[S_LAST] = max(state[S_LAST], counted[C_LAST])
            errors += int(counted[C_ERRORS])
        return errors
