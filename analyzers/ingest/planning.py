"""What there is to read: the format of each source, found by its first bytes, and the items that threads work on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from analyzers.ingest.coverage import SkipCounts, printable
from analyzers.ingest.formats import aws_cloudwatch, aws_parquet, aws_vpc, unread
from analyzers.ingest.log_formats import DEFAULT_FIELDS, LogFormats
from analyzers.ingest.sources import (
    GZIP_MAGIC,
    ZSTD_MAGIC,
    InputError,
    Source,
    StreamDamage,
    inflate,
    open_source,
)
from analyzers.kernels.capture_files import NotACapture

RANGE_BYTES = 32 << 20
"""Plain files above this are read in parts of about this size by several threads."""

SMALL_FILE_BYTES = 4 << 20
"""Files up to this are read by one thread, whatever is in them."""

TINY_FILE_BYTES = 32 << 10

SNIFF_BYTES = 64 * 1024
LINE_BYTES = 1024  # hold the end of a line as a rule
CAPTURE_MAGICS = (
    b"\xa1\xb2\xc3\xd4",
    b"\xd4\xc3\xb2\xa1",
    b"\xa1\xb2\x3c\x4d",
    b"\x4d\x3c\xb2\xa1",
    b"\x0a\x0d\x0d\x0a",
)

WRAPPINGS = {
    GZIP_MAGIC: "compressed twice: gzip data within compressed data; decompress it once",
    ZSTD_MAGIC: "compressed twice: zstandard data within compressed data; decompress it once",
    b"BZh": "bzip2 data, which flowctl does not read; decompress it, or compress it with gzip or zstd",
    b"\xfd7zXZ\0": "xz data, which flowctl does not read; decompress it, or compress it with gzip or zstd",
    b"PK\3\4": "a zip archive, which flowctl does not read; unpack it",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
}
"""How files begin that may hold flow logs, but not as they are, and what to do."""


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
    """An object, a small file or a compressed one, whose format the thread finds that reads it: asking a store for the
    first bytes alone costs a request, and such files are many."""

    source: Source
    forced: str | None
    known: LogFormats
    stream: BinaryIO | None = None  # of an object: what is asked for ahead
    tiny: bool = False  # see is_tiny

    @property
    def format(self) -> str:
        """Not known yet; the worker that reads it tells."""
        return ""


Item = TextItem | CaptureItem | ParquetItem | ObjectItem


def is_tiny(item: Item) -> bool:
    """Whether Python has more to do for it than kernels have."""
    return isinstance(item, ObjectItem) and item.tiny


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
        size = _whole_size(source)
        if size is not None and (size <= min(SMALL_FILE_BYTES, RANGE_BYTES) or _compressed(source)):
            items.append(ObjectItem(source, forced, known, tiny=size <= TINY_FILE_BYTES))
            continue
        refused = SkipCounts(source.name)
        found = recognised(source, forced, whole, known, formats, refused)
        if refused.counts:
            skips.append(refused)
        items.extend(found)
    return items, formats


def _whole_size(source: Source) -> int | None:
    """Bytes of a file; None: a pipe, or gone, which opening it tells."""
    try:
        return None if source.read_once else source.size
    except OSError:
        return None


def _compressed(source: Source) -> bool:
    """Whether one thread has to read the file from one end to the other, whatever is in it."""
    try:
        with open(source.name, "rb", buffering=0) as file:  # noqa: PTH123  (of many)
            return file.read(len(ZSTD_MAGIC)).startswith((GZIP_MAGIC, ZSTD_MAGIC))
    except OSError:
        return False  # opening it once more tells


def recognised(
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
    once = opened is None and source.read_once
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
    for magic, refusal in WRAPPINGS.items():
        if head.startswith(magic):
            raise InputError(refusal)
    if aws_cloudwatch.recognise(head):
        return [TextItem(source, DEFAULT_FIELDS, stream=kept, head=taken, formats=known)]
    fields = aws_vpc.recognise(head, known)
    if fields is None:
        if forced != aws_vpc.NAME:
            raise InputError(_refusal(head))
        fields = known.given or DEFAULT_FIELDS
    aws_vpc.layout(fields)
    if compressed or once or opened is not None or source.name in whole or source.size <= RANGE_BYTES:
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
