"""Columns of a Parquet row group, from the pages as most writers write them: much quicker than by way of Arrow.

Whatever else a page may be raises UnreadPages; pyarrow reads it then, or says what is wrong with it.
"""

from __future__ import annotations

import mmap
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from isal import isal_zlib
from numpy.typing import NDArray

from analyzers.ingest.parquet_entries import Bitmap, Entries, fitting
from analyzers.kernels import parquet_pages as p
from analyzers.kernels.text import PADDING

ENCODINGS = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}
"""Of chunks that are read here; BIT_PACKED stands for levels that flat columns don't have."""

CODECS = {"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"}
GZIP_WBITS = 31
KINDS = {"int8", "int16", "int32", "int64", "uint8", "uint16"}
"""Number types whose values are those of the pages, as int32 or int64."""

DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = range(4)
PLAIN, RLE, CODED = 0, 3, (2, 8)
H_KIND, H_SIZE, H_STORED = (1, 0), (2, 0), (3, 0)
"""Fields of page headers: [field, field of its struct, or 0]."""
STRUCTS = {DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_V2: 8}
V1_ROWS, V1_ENCODING, V1_LEVELS = 1, 2, 3  # of the structs of data pages and dictionary pages
V2_ROWS, V2_ENCODING, V2_LEVEL_BYTES, V2_REPETITION_BYTES, V2_COMPRESSED = 1, 4, 5, 6, 7


READ_AT_ONCE = 64 << 20
"""Bytes of a row group that are read into memory. Mapping them costs more; and where a mapped file is cut short, the
process ends."""


class UnreadPages(Exception):
    """Pages that are damaged, or of a kind that is left to pyarrow."""


def readable(column: Any, kind: str, chunk: Any, *, number: bool) -> bool:
    """Whether the chunk of a column (its schema, Arrow type, metadata) is one of those that are read here: numbers, or
    else texts."""
    return (
        (column.physical_type in ("INT32", "INT64") and kind in KINDS if number else kind == "string")
        and column.max_repetition_level == 0
        and column.max_definition_level <= 1
        and chunk.compression in CODECS
        and set(chunk.encodings) <= ENCODINGS
        and not chunk.file_path
    )


class Spare:
    """Arrays of a column that are used again for its next chunk: memory that is fresh costs more than filling it."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, size: int, kind: Any) -> NDArray[Any]:
        """The array of that name with `size` elements or more, whatever they are."""
        found = self._arrays.get(name)
        if found is None or found.size < size or found.dtype != kind:
            found = self._arrays[name] = np.zeros(size, kind)
        return found


class RowGroupBytes:
    """The bytes of the column chunks of a row group: read, or mapped where they are many."""

    def __init__(self, path: str, chunks: Mapping[str, Any], spare: Spare) -> None:
        """`chunks`: metadata of those that are wanted, by the names of their columns. Raises UnreadPages where the file
        ends before they do."""
        self._spans: dict[str, tuple[int, int]] = {}
        for name, chunk in chunks.items():
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            self._spans[name] = (start, start + chunk.total_compressed_size)
        first = min(start for start, _ in self._spans.values()) // mmap.ALLOCATIONGRANULARITY
        self._first = first * mmap.ALLOCATIONGRANULARITY
        last = max(end for _, end in self._spans.values())
        with Path(path).open("rb") as file:
            if self._first < 0 or not self._first < last <= file.seek(0, 2):
                raise UnreadPages
            size = last - self._first
            if size <= READ_AT_ONCE:
                self._bytes = spare.array("bytes", size, np.uint8)[:size]
                file.seek(self._first)
                if file.readinto(self._bytes.data) != size:
                    raise UnreadPages
                self._bytes.flags.writeable = False
            else:
                mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=self._first)
                self._bytes = np.frombuffer(mapped, np.uint8)

    def chunk(self, name: str) -> NDArray[np.uint8]:
        """Of one column."""
        start, end = self._spans[name]
        return self._bytes[start - self._first : end - self._first]


class ColumnPages:
    """The values of a column chunk, a batch after the other."""

    def __init__(self, chunk: NDArray[np.uint8], described: Any, optional: bool, rows: int, spare: Spare) -> None:
        """`described`: the chunk's metadata; `rows`: of the largest batch; `spare`: what it may use as long as it is
        in use itself."""
        self.valid = spare.array("valid", rows // 8 + 8, np.uint8)
        self.has_nulls = False  # whether the bits of `valid` tell anything
        self._chunk = chunk
        self._at = 0
        self._codec = described.compression
        self._most = described.total_uncompressed_size
        self._fields = np.zeros((p.HEADER_FIELDS, p.HEADER_FIELDS), np.int64)
        self._depths = np.zeros(p.DEEPEST, np.int64)
        self._optional = optional
        self._runs = np.zeros((2, p.RUN_WORDS), np.int64)
        self._page = np.zeros(0, np.uint8)
        self._coded = False
        self._left = 0  # rows of the page

    def read(self, rows: int) -> None:
        """The next `rows` rows. Raises UnreadPages."""
        self.valid[:] = 0
        self.has_nulls = self._optional
        to = 0
        while to < rows:
            if self._left == 0:
                self._turn()
            count = min(rows - to, self._left)
            self._take(count, to)
            self._left -= count
            to += count

    def _take(self, count: int, to: int) -> None:
        raise NotImplementedError

    def _take_dictionary(self, page: NDArray[np.uint8], count: int) -> None:
        raise NotImplementedError

    def _turn(self) -> None:
        """Go to the next data page that has rows."""
        while self._left == 0:
            self._fields[:] = 0
            self._fields[STRUCTS[DATA_PAGE_V2], V2_COMPRESSED] = 1
            end = p.read_page_header(self._chunk, self._at, self._chunk.size, self._depths, self._fields)
            kind, size, stored = (int(self._fields[field]) for field in (H_KIND, H_SIZE, H_STORED))
            if end < 0 or not 0 <= size <= self._most or not 0 <= stored <= self._chunk.size - end:
                raise UnreadPages
            self._at = end + stored
            if kind == INDEX_PAGE:
                continue
            if kind not in STRUCTS:
                raise UnreadPages
            struct = self._fields[STRUCTS[kind]]
            raw = self._chunk[end : self._at]
            if kind == DICTIONARY_PAGE:
                if struct[V1_ENCODING] not in (PLAIN, 2) or struct[V1_ROWS] < 0:
                    raise UnreadPages
                self._take_dictionary(self._unpacked(raw, size), int(struct[V1_ROWS]))
            elif kind == DATA_PAGE:
                if self._optional and struct[V1_LEVELS] != RLE:
                    raise UnreadPages
                self._open(self._unpacked(raw, size), int(struct[V1_ROWS]), int(struct[V1_ENCODING]), -1)
            else:
                levels = int(struct[V2_LEVEL_BYTES])
                if struct[V2_REPETITION_BYTES] != 0 or not 0 <= levels <= min(stored, size):
                    raise UnreadPages
                page = raw
                if struct[V2_COMPRESSED] and self._codec != "UNCOMPRESSED":
                    page = np.concatenate([raw[:levels], self._unpacked(raw[levels:], size - levels)])
                    page.flags.writeable = False
                self._open(page, int(struct[V2_ROWS]), int(struct[V2_ENCODING]), levels)

    def _open(self, page: NDArray[np.uint8], rows: int, encoding: int, levels: int) -> None:
        """Stand at the beginning of a data page. `levels`: bytes of its levels, -1 where the page itself tells."""
        at = 0
        self._runs[:] = 0
        if self._optional:
            if levels < 0:
                levels = int.from_bytes(page[:4].tobytes(), "little")
                at = 4
            self._runs[p.LEVELS] = (at, at + levels, 0, -1, 0, 1)
            at += levels
        self._coded = encoding in CODED
        width = 0
        if self._coded:
            width = int(page[at]) if at < page.size else 255
            at += 1
        if rows < 0 or at > page.size or width > 32 or not (self._coded or encoding == PLAIN):
            raise UnreadPages
        self._runs[p.VALUES] = (at, page.size, 0, -1, 0, width)
        self._page = page
        self._left = rows

    def _unpacked(self, raw: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        if self._codec == "UNCOMPRESSED":
            page = raw
        else:
            try:
                page = np.frombuffer(_inflated(self._codec, raw, size), np.uint8)
                page.flags.writeable = False  # as all pages are: kernels are compiled for one kind
            except Exception as problem:  # whatever the libraries raise for damaged data
                raise UnreadPages from problem
        if page.size != size:
            raise UnreadPages
        return page


class NumberPages(ColumnPages):
    """A column of whole numbers: `values`, int32 or int64 as in the file."""

    def __init__(self, chunk: NDArray[np.uint8], described: Any, optional: bool, rows: int, spare: Spare) -> None:
        super().__init__(chunk, described, optional, rows, spare)
        self.values = spare.array("values", rows, np.int32 if described.physical_type == "INT32" else np.int64)
        self._dictionary = np.zeros(0, self.values.dtype)
        self._places = spare.array("places", rows, np.int32)
        self._dense_places = spare.array("dense_places", rows + 1, np.int32)
        self._dense_values = spare.array("dense_values", rows + 1, self.values.dtype)

    def text(self, row: int) -> str:
        """A value that is not null."""
        return str(int(self.values[row]))

    def _take(self, count: int, to: int) -> None:
        out = self.values[to : to + count]
        if self._coded:
            places = self._places[:count]
            good = p.read_places(
                self._page, self._runs, self._optional, self.valid, to, self._dictionary.size, self._dense_places,
                places,
            )  # fmt: skip
            if good:
                p.pick(self._dictionary, places, out)
        else:
            good = p.read_plain_numbers(self._page, self._runs, self._optional, self.valid, to, self._dense_values, out)
        if not good:
            raise UnreadPages

    def _take_dictionary(self, page: NDArray[np.uint8], count: int) -> None:
        if count * self.values.itemsize > page.size:
            raise UnreadPages
        self._dictionary = np.frombuffer(page.tobytes(), self.values.dtype, count)


class TextPages(ColumnPages):
    """A column of texts: `places` of their meanings in `entries`; texts outside of a dictionary become entries too."""

    def __init__(
        self, chunk: NDArray[np.uint8], described: Any, optional: bool, rows: int, spare: Spare, entries: Entries
    ) -> None:
        super().__init__(chunk, described, optional, rows, spare)
        self.places = spare.array("places", rows, np.int32)
        self._dense = spare.array("dense", rows + 1, np.int32)
        self._spare = spare
        self._entries = entries
        self._coded_entries = 0  # that come from the dictionary page
        self._size = 0  # entries now
        self._rows = rows
        self._begins = spare.array("begins", rows + 1, np.int64)
        self._ends = spare.array("ends", rows + 1, np.int64)
        self._buffers: list[tuple[int, NDArray[np.uint8]]] = []  # (first entry, where it and those behind it stand)
        entries.cut(0)

    def read(self, rows: int) -> None:
        """The next `rows` rows, whose own entries replace those of the rows before. Raises UnreadPages."""
        if self._size > self._coded_entries:
            self._size = self._coded_entries
            self._entries.cut(self._size)
            self._buffers = [part for part in self._buffers if part[0] < self._size]
        super().read(rows)

    def text(self, row: int) -> str:
        """A value that is not null."""
        place = int(self.places[row])
        buffer = next(buffer for first, buffer in reversed(self._buffers) if first <= place)
        return buffer[self._begins[place] : self._ends[place]].tobytes().decode("utf-8", "replace")

    def _take(self, count: int, to: int) -> None:
        out = self.places[to : to + count]
        if self._coded:
            if not p.read_places(
                self._page, self._runs, self._optional, self.valid, to, self._coded_entries, self._dense, out
            ):
                raise UnreadPages
            return
        size = p.read_plain_texts(
            self._page, self._runs, self._optional, self.valid, to, self._size, self._begins, self._ends,
            self._dense, out,
        )  # fmt: skip
        if size < 0:
            raise UnreadPages
        self._add(self._page, int(size))

    def _open(self, page: NDArray[np.uint8], rows: int, encoding: int, levels: int) -> None:
        super()._open(page, rows, encoding, levels)
        if not self._coded:
            self._page = _padded(page)
            self._runs[:, p.R_AT : p.R_STOP + 1] += PADDING

    def _take_dictionary(self, page: NDArray[np.uint8], count: int) -> None:
        padded = _padded(page)
        run = np.zeros(p.RUN_WORDS, np.int64)
        run[p.R_AT], run[p.R_STOP] = PADDING, PADDING + page.size
        if self._size or count * 4 > page.size:
            raise UnreadPages
        self._begins = self._spare.array("begins", count + self._rows + 1, np.int64)
        self._ends = self._spare.array("ends", count + self._rows + 1, np.int64)
        if not p.plain_spans(padded, run, count, self._begins, self._ends, 0):
            raise UnreadPages
        self._add(padded, count)
        self._coded_entries = count

    def _add(self, buffer: NDArray[np.uint8], size: int) -> None:
        """Entries up to `size`, whose spans are there, are in `buffer`."""
        self._buffers.append((self._size, buffer))
        self._entries.add(buffer, self._begins[self._size : size], self._ends[self._size : size])
        self._size = size


def _padded(page: NDArray[np.uint8]) -> NDArray[np.uint8]:
    padded = np.zeros(page.size + 2 * PADDING, np.uint8)
    padded[PADDING : PADDING + page.size] = page
    return padded


def _inflated(codec: str, raw: NDArray[np.uint8], size: int) -> Any:
    """Decompressed bytes of a page, not many more than the `size` that there should be."""
    if codec == "GZIP":
        return isal_zlib.decompressobj(wbits=GZIP_WBITS).decompress(raw, size + 1)
    # pyarrow takes memory that was used before, but does not tell how many bytes there were
    told = zstandard.frame_content_size(raw.data) if codec == "ZSTD" else p.variable(raw, 0, raw.size)[1]
    if codec == "ZSTD" and told == -1:
        return zstandard.ZstdDecompressor().decompress(raw.data, max_output_size=size)
    if told != size:
        raise UnreadPages
    import pyarrow

    return pyarrow.Codec(codec.lower()).decompress(pyarrow.py_buffer(raw), size) if size else b""


class PagedColumns:
    """The columns of a row group, read from its pages a batch after the other."""

    def __init__(
        self, path: str, file: Any, group: int, entries: Mapping[str, Entries | None], batch_rows: int,
        spares: defaultdict[str, Spare],
    ) -> None:  # fmt: skip
        """`entries`: of each column that is wanted, by its name in the file; None for one of numbers; `spares`: of the
        columns, used by one row group at a time. Raises UnreadPages when one of them is not readable here."""
        self.rows = 0  # of the present batch
        described = file.metadata.row_group(group)
        arrow = file.schema_arrow
        schema = file.schema
        if len(schema) != len(arrow.names):
            raise UnreadPages  # nested columns
        places = {name: arrow.names.index(name) for name in entries}
        chunks = {name: described.column(place) for name, place in places.items()}
        stored = RowGroupBytes(path, chunks, spares[""])
        self._columns: dict[str, NumberPages | TextPages] = {}
        for name, meaning in entries.items():
            column, chunk = schema.column(places[name]), chunks[name]
            if not readable(column, str(arrow.types[places[name]]), chunk, number=meaning is None):
                raise UnreadPages
            optional = column.max_definition_level == 1
            if meaning is None:
                self._columns[name] = NumberPages(stored.chunk(name), chunk, optional, batch_rows, spares[name])
            else:
                self._columns[name] = TextPages(
                    stored.chunk(name), chunk, optional, batch_rows, spares[name], meaning
                )  # fmt: skip

    def take(self, rows: int) -> None:
        """Go to the next `rows` rows. Raises UnreadPages."""
        for column in self._columns.values():
            column.read(rows)
        self.rows = rows

    def places(self, name: str) -> tuple[NDArray[np.int32], Bitmap]:
        """Entries of each row's text, and which rows have one."""
        column = self._columns[name]
        assert isinstance(column, TextPages)
        return column.places[: self.rows], column.valid if column.has_nulls else None

    def numbers(self, name: str, kind: type[np.signedinteger[Any]]) -> tuple[NDArray[Any], Bitmap]:
        """Values as `kind`, int32 or int64 (below 0 where one does not fit), and which rows have one."""
        column = self._columns[name]
        assert isinstance(column, NumberPages)
        return fitting(column.values[: self.rows], kind), column.valid if column.has_nulls else None

    def text(self, row: int) -> str:
        """All columns of a row."""
        there = {n: not c.has_nulls or c.valid[row >> 3] >> (row & 7) & 1 for n, c in self._columns.items()}
        return " ".join(column.text(row) if there[name] else "-" for name, column in self._columns.items())
