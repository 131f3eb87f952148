"""Row groups of a Parquet flow log to kernel calls: dictionaries parsed once, numbers as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.ingest.coverage import SkipCounts, printable
from analyzers.ingest.formats import aws_parquet, aws_vpc
from analyzers.ingest.sources import Source
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels import tables as t
from analyzers.kernels import text
from analyzers.kernels.record import S_NETWORKS, S_OBSERVERS
from analyzers.kernels.record_columns import (
    BAD_VERDICT,
    DASH,
    V_ACTION,
    V_BYTES,
    V_COUNT,
    V_DPORT,
    V_DST,
    V_DST_PLAIN,
    V_END,
    V_FLAGS,
    V_INTERFACE,
    V_NETWORK,
    V_PACKETS,
    V_PEER_NETWORK,
    V_PROTOCOL,
    V_SPORT,
    V_SRC,
    V_SRC_PLAIN,
    V_START,
    V_STATUS,
    AddressTable,
    RecordColumns,
    parse_addresses,
    parse_numbers,
    read_columns_of_records,
)
from analyzers.kernels.separators import BLOCK_ROWS

BATCH_ROWS = 1 << 16
"""Records of one kernel call: their columns stay in the cache."""

READ_ROWS = 1 << 18
"""Records decoded at once, about 15 MB of columns; a multiple of BATCH_ROWS."""

VERDICTS = {"ACCEPT": 1, "REJECT": 2, "-": 0}
STATUSES = {"OK": 0, "NODATA": int(text.Reason.NODATA), "SKIPDATA": int(text.Reason.SKIPDATA)}

WIDTHS = {kind: kind for kind in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")}
Array = NDArray[Any]


class RowGroupReader:
    """One thread's reader of row groups; keeps what the last file and the last dictionaries gave."""

    def __init__(
        self, tables: WorkerTables, facts: text.Facts, scratch: text.Scratch, reasons: Mapping[text.Reason, str]
    ) -> None:
        """`reasons`: what the report calls each."""
        self._reasons = reasons
        self._tables = tables
        self._facts = facts
        self._scratch = scratch
        self._valid = np.zeros((V_COUNT, BATCH_ROWS // 8), np.uint8)
        self._nothing = np.zeros(BATCH_ROWS, np.int32)
        self._wide_nothing = np.zeros(BATCH_ROWS, np.int64)
        self._parsed: dict[tuple[str, Callable[[Any], Any]], tuple[Any, Any]] = {}  # -> (dictionary, what it gave)
        self._file: tuple[Source, Any] | None = None  # the last one

    def read(self, source: Source, layout: aws_vpc.Layout, group: int, skips: SkipCounts) -> Iterator[int]:
        """Aggregate a row group; yields now and then how many bytes of the file that was. Raises OSError and
        InputError for damaged data."""
        file = self._opened(source, layout)
        names = aws_parquet.column_names(file, layout)
        first = sum(file.metadata.row_group(g).num_rows for g in range(group))
        columns = list(dict.fromkeys(names.values()))
        self._parsed.clear()
        skips.unit = "row"
        described = file.metadata.row_group(group)
        row_bytes = _compressed_size(described) / max(described.num_rows, 1)
        for batch in file.iter_batches(READ_ROWS, row_groups=[group], columns=columns, use_threads=False):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                self._aggregate(part, names, first, skips)
                first += part.num_rows
                yield int(part.num_rows * row_bytes)

    def _opened(self, source: Source, layout: aws_vpc.Layout) -> Any:
        """The file, so that its text columns come as dictionaries."""
        if self._file is None or self._file[0] != source:
            file = aws_parquet.open_file(source)
            names = aws_parquet.column_names(file, layout)
            texts = [n for c, n in names.items() if c in aws_parquet.TEXTS or _is_text(file.schema_arrow.field(n).type)]
            self._file = (source, aws_parquet.open_file(source, texts))
        return self._file[1]

    def _aggregate(self, batch: Any, names: dict[int, str], first: int, skips: SkipCounts) -> None:
        columns = self._columns(batch, names)
        at = 0
        while True:
            at = read_columns_of_records(columns, at, batch.num_rows, self._tables.tables, self._facts, self._scratch)
            if at == batch.num_rows:
                break
            self._tables.make_room()
        counts = self._scratch.reason_counts
        for reason in np.flatnonzero(counts).tolist():
            count = int(counts[reason])
            places = self._scratch.reason_samples[reason, : min(count, text.SAMPLES)].tolist()
            skips.add(self._reasons[text.Reason(reason)], count, [(first + p, _row_text(batch, p)) for p in places])
        counts[:] = 0

    def _columns(self, batch: Any, names: dict[int, str]) -> RecordColumns:
        """The batch as the kernel wants it; a column that the file lacks is null throughout."""
        rows = batch.num_rows
        needed = np.zeros(V_COUNT, np.uint8)

        def coded(row: int, column: int, parse: Callable[[Any], Any]) -> tuple[NDArray[np.int32], Any]:
            if column not in names:
                self._valid[row] = 0
                return self._nothing[:rows], parse(None)
            array = batch.column(names[column])
            self._mark(row, array)
            needed[row] = 1
            key = (names[column], parse)
            seen = self._parsed.get(key)
            if seen is None or not _same(seen[0], array.dictionary):
                seen = self._parsed[key] = (array.dictionary, parse(array.dictionary))
            return _places(array), seen[1]

        def number(row: int, column: int) -> Array:
            wide = row >= V_PACKETS
            if column not in names:
                self._valid[row] = 0
                return (self._wide_nothing if wide else self._nothing)[:rows]
            needed[row] = 1
            return self._number(batch.column(names[column]), row, wide)

        src, src_addresses = coded(V_SRC, text.C_SRC, _addresses)
        dst, dst_addresses = coded(V_DST, text.C_DST, _addresses)
        src_plain, src_plain_addresses = coded(V_SRC_PLAIN, text.C_SRC_PLAIN, _addresses)
        dst_plain, dst_plain_addresses = coded(V_DST_PLAIN, text.C_DST_PLAIN, _addresses)
        verdict, verdicts = coded(V_ACTION, text.C_ACTION, _verdicts)
        status, statuses = coded(V_STATUS, text.C_STATUS, _statuses)
        interface, interfaces = coded(V_INTERFACE, text.C_INTERFACE, self._observers)
        network, networks = coded(V_NETWORK, text.C_NETWORK, self._networks)
        peer_network, peer_networks = coded(V_PEER_NETWORK, text.C_PEER_NETWORK, self._networks)
        columns = RecordColumns(
            valid=self._valid,
            src=src, dst=dst, src_plain=src_plain, dst_plain=dst_plain,
            src_addresses=src_addresses, dst_addresses=dst_addresses,
            src_plain_addresses=src_plain_addresses, dst_plain_addresses=dst_plain_addresses,
            sport=number(V_SPORT, text.C_SPORT), dport=number(V_DPORT, text.C_DPORT),
            protocol=number(V_PROTOCOL, text.C_PROTOCOL), flags=number(V_FLAGS, text.C_FLAGS),
            packets=number(V_PACKETS, text.C_PACKETS), octets=number(V_BYTES, text.C_BYTES),
            start=number(V_START, text.C_START), end=number(V_END, text.C_END),
            verdict=verdict, verdicts=verdicts, status=status, statuses=statuses,
            interface=interface, interfaces=interfaces, network=network, networks=networks,
            peer_network=peer_network, peer_networks=peer_networks, needed=needed,
        )  # fmt: skip
        needed[V_SRC_PLAIN] = needed[V_DST_PLAIN] = 0  # looked at only where the others are dashes
        return columns

    def _mark(self, row: int, array: Any) -> None:
        """Which values of a column are there, into a row of the bitmaps."""
        bitmap = array.buffers()[0] if array.null_count else None
        if bitmap is None:
            self._valid[row] = 255
            return
        bits = np.frombuffer(bitmap, np.uint8)
        size = (len(array) + 7) // 8
        if array.offset % 8:
            places = np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)]
            self._valid[row, :size] = np.packbits(places, bitorder="little")
        else:
            self._valid[row, :size] = bits[array.offset // 8 : array.offset // 8 + size]

    def _number(self, array: Any, row: int, wide: bool) -> Array:
        """A number column as int64 (`wide`) or int32; -1 for what is none that fits."""
        kind = str(array.type)
        self._mark(row, array.indices if kind.startswith("dictionary") else array)
        if kind == ("int64" if wide else "int32"):
            return _raw(array, kind)
        if kind.startswith("dictionary"):
            count = len(array.dictionary)
            parsed = np.full(count + 1, DASH, np.int64)
            parse_numbers(*_dictionary_text(array.dictionary), count, parsed)
            values = parsed[np.minimum(_places(array).view(np.uint32), count)]
            self._valid[row, : (len(array) + 7) // 8] &= np.packbits(values != DASH, bitorder="little")
        else:
            if kind.startswith("timestamp"):
                array = array.cast("timestamp[s]", safe=False).cast("int64")
            values = _whole_numbers(array)
        if not wide:
            return np.where((values < 0) | (values > 0x7FFF_FFFF), -1, values).astype(np.int32)
        return np.ascontiguousarray(values, np.int64)

    def _observers(self, dictionary: Any) -> NDArray[np.uint64]:
        return self._names(dictionary, "observer", S_OBSERVERS)

    def _networks(self, dictionary: Any) -> NDArray[np.uint64]:
        return self._names(dictionary, "network", S_NETWORKS)

    def _names(self, dictionary: Any, kind: str, counter: int) -> NDArray[np.uint64]:
        """Number + 1 of each name of a dictionary in the worker's tables, 0 for dashes and null."""
        count = 0 if dictionary is None else len(dictionary)
        numbers = np.zeros(count + 1, np.uint64)
        if not count:
            return numbers
        buffer, offsets = _dictionary_text(dictionary)
        begins, ends = offsets[:-1].astype(np.uint64), offsets[1:].astype(np.uint64)
        dash = (ends - begins == 1) & (buffer[np.minimum(offsets[:-1], buffer.size - 1)] == ord("-"))
        ends[dash] = begins[dash]
        scratch = self._scratch.names
        for start in range(0, count, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, count)
            self._tables.make_room(int(ends[stop - 1] - begins[start]))
            now = self._tables.tables
            now.state[counter] = t.intern_spans(
                buffer, begins[start:stop], ends[start:stop], stop - start, getattr(now, f"{kind}_index"),
                getattr(now, f"{kind}_names"), getattr(now, f"{kind}_arena"), int(now.state[counter]), scratch,
            )  # fmt: skip
        numbers[:count] = begins
        return numbers


def _compressed_size(row_group: Any) -> int:
    return sum(row_group.column(i).total_compressed_size for i in range(row_group.num_columns))


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "binary", "large_binary") or str(kind).startswith("dictionary")


def _raw(array: Any, kind: str) -> Array:
    """The values of an array as they lie in its buffer."""
    values: Array = np.frombuffer(array.buffers()[1], kind)
    return values[array.offset : array.offset + len(array)]


def _whole_numbers(array: Any) -> Array:
    """Integers of any width, at most int64; what does not fit or is no whole number is -1, what is null anything."""
    kind = str(array.type)
    if kind in WIDTHS:
        values = _raw(array, kind)
        if kind == "uint64":
            values = values.view(np.int64)
        return np.maximum(values, -1) if values.dtype.kind == "i" else values
    values = array.fill_null(-1).to_numpy(zero_copy_only=False)
    if values.dtype.kind != "f":
        return np.full(len(values), -1, np.int64)
    good = (values >= 0) & (values < float(1 << 63)) & (values == np.floor(values))
    return np.where(good, np.where(good, values, 0).astype(np.int64), -1)


def _places(array: Any) -> NDArray[np.int32]:
    """Places of a dictionary array in its dictionary; where it is null they mean nothing."""
    indices = array.indices
    return _raw(indices if str(indices.type) == "int32" else indices.cast("int32"), "int32")


def _same(one: Any, other: Any) -> bool:
    """Whether two dictionaries are the same; most often they are one."""
    if len(one) == len(other) and one.offset == other.offset:
        mine, theirs = one.buffers(), other.buffers()
        if all((a.address if a else 0) == (b.address if b else 0) for a, b in zip(mine, theirs, strict=True)):
            return True
    return bool(one.equals(other))


def _dictionary_text(dictionary: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(bytes with padding on both sides, int64[n + 1] offsets into them) of a dictionary of texts."""
    kind = str(dictionary.type)
    if kind not in ("string", "binary"):
        dictionary = dictionary.cast("string")
    _, offsets, data = dictionary.buffers()
    places = np.frombuffer(offsets, np.int32)[dictionary.offset : dictionary.offset + len(dictionary) + 1]
    begin, end = int(places[0]), int(places[-1])
    buffer = np.zeros(end - begin + 2 * text.PADDING, np.uint8)
    if end > begin:
        buffer[text.PADDING : text.PADDING + end - begin] = np.frombuffer(data, np.uint8)[begin:end]
    return buffer, places.astype(np.int64) - begin + text.PADDING


def _addresses(dictionary: Any) -> AddressTable:
    count = 0 if dictionary is None else len(dictionary)
    made = AddressTable(np.zeros(count + 1, np.uint64), np.zeros(count + 1, np.uint64), np.full(count + 1, 2, np.uint8))
    if count:
        parse_addresses(*_dictionary_text(dictionary), count, *made)
    return made


def _verdicts(dictionary: Any) -> NDArray[np.uint8]:
    entries = [] if dictionary is None else dictionary.to_pylist()
    return np.array([*(VERDICTS.get(e, BAD_VERDICT) for e in entries), 0], np.uint8)


def _statuses(dictionary: Any) -> NDArray[np.uint8]:
    if dictionary is None:
        return np.zeros(1, np.uint8)
    unknown = int(text.Reason.STATUS)
    return np.array([*(STATUSES.get(e, unknown) for e in dictionary.to_pylist()), unknown], np.uint8)


def _row_text(batch: Any, row: int) -> str:
    values = (batch.column(i)[row].as_py() for i in range(batch.num_columns))
    return printable(" ".join("-" if v is None else str(v) for v in values).encode("utf-8", "replace"))
