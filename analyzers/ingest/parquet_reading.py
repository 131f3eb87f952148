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
    N_COUNT,
    NULL,
    AddressTable,
    RecordColumns,
    parse_addresses,
    parse_numbers,
    read_columns_of_records,
)
from analyzers.kernels.separators import BLOCK_ROWS

BATCH_ROWS = 1 << 16
"""Records of one kernel call: their columns stay in the cache."""

ROW_GROUP_ROWS = 1 << 21
"""Larger row groups are not decoded as a whole."""

NUMBERS = (
    text.C_SPORT, text.C_DPORT, text.C_PROTOCOL, text.C_PACKETS, text.C_BYTES, text.C_START, text.C_END, text.C_FLAGS,
)  # fmt: skip
"""Logical columns in the order of the kernel's N_ numbers."""

VERDICTS = {"ACCEPT": 1, "REJECT": 2, "-": 0}
STATUSES = {"OK": 0, "NODATA": int(text.Reason.NODATA), "SKIPDATA": int(text.Reason.SKIPDATA)}

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
        self._numbers = np.zeros((N_COUNT, BATCH_ROWS), np.int64)
        self._parsed: dict[int, tuple[Any, Any]] = {}  # logical column -> (dictionary, what it was parsed to)

    def read(self, source: Source, layout: aws_vpc.Layout, group: int, skips: SkipCounts) -> Iterator[int]:
        """Aggregate a row group; yields now and then how many bytes of the file that was. Raises OSError and
        InputError for damaged data."""
        file = aws_parquet.open_file(source)
        names = aws_parquet.column_names(file, layout)
        texts = [n for c, n in names.items() if c in aws_parquet.TEXTS or _is_text(file.schema_arrow.field(n).type)]
        file = aws_parquet.open_file(source, texts)
        first = sum(file.metadata.row_group(g).num_rows for g in range(group))
        columns = list(dict.fromkeys(names.values()))
        self._parsed.clear()
        skips.unit = "row"
        described = file.metadata.row_group(group)
        row_bytes = _compressed_size(described) / max(described.num_rows, 1)
        for batch in _batches(file, group, columns):
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                self._aggregate(part, names, first, skips)
                first += part.num_rows
                yield int(part.num_rows * row_bytes)

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
        """The batch as the kernel wants it; columns that the file lacks are made up of nulls."""
        rows = batch.num_rows
        nothing = np.zeros(rows, np.int32)

        def coded(column: int, parse: Callable[[Any], Any]) -> tuple[NDArray[np.int32], Any]:
            if column not in names:
                return nothing, parse(None)
            array = batch.column(names[column])
            dictionary = array.dictionary
            seen = self._parsed.get(column)
            if seen is None or not (seen[0] is dictionary or seen[0].equals(dictionary)):
                seen = self._parsed[column] = (dictionary, parse(dictionary))
            places = array.indices
            if places.null_count:
                places = places.fill_null(len(dictionary))
            return places.to_numpy(zero_copy_only=False).astype(np.int32, copy=False), seen[1]

        for slot, column in enumerate(NUMBERS):
            self._number(batch, names.get(column), slot)
        src, src_addresses = coded(text.C_SRC, _addresses)
        dst, dst_addresses = coded(text.C_DST, _addresses)
        src_plain, src_plain_addresses = coded(text.C_SRC_PLAIN, _addresses)
        dst_plain, dst_plain_addresses = coded(text.C_DST_PLAIN, _addresses)
        verdict, verdicts = coded(text.C_ACTION, _verdicts)
        status, statuses = coded(text.C_STATUS, _statuses)
        interface, interfaces = coded(text.C_INTERFACE, lambda d: self._names(d, "observer", S_OBSERVERS))
        network, networks = coded(text.C_NETWORK, lambda d: self._names(d, "network", S_NETWORKS))
        return RecordColumns(
            src, dst, src_plain, dst_plain, src_addresses, dst_addresses, src_plain_addresses, dst_plain_addresses,
            self._numbers, verdict, verdicts, status, statuses, interface, interfaces, network, networks,
        )  # fmt: skip

    def _number(self, batch: Any, name: str | None, slot: int) -> None:
        """A number column into its slot, NULL for null, -1 for what is no number."""
        out = self._numbers[slot, : batch.num_rows]
        if name is None:
            out[:] = NULL
            return
        array = batch.column(name)
        kind = str(array.type)
        if kind.startswith("dictionary"):
            buffer, offsets = _dictionary_text(array.dictionary)
            values = np.full(len(array.dictionary) + 1, NULL, np.int64)
            parse_numbers(buffer, offsets, len(array.dictionary), values)
            places = array.indices.fill_null(len(array.dictionary)) if array.null_count else array.indices
            np.take(values, places.to_numpy(zero_copy_only=False), out=out)
            return
        if kind.startswith("timestamp"):
            array = array.cast("timestamp[s]", safe=False).cast("int64")
        missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
        whole = array.fill_null(0) if array.null_count else array
        out[:] = _whole_numbers(whole)
        if missing is not None:
            out[missing] = NULL
        return

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


def _batches(file: Any, group: int, columns: list[str]) -> Iterator[Any]:
    if file.metadata.row_group(group).num_rows <= ROW_GROUP_ROWS:
        yield from file.read_row_group(group, columns=columns, use_threads=False).to_batches()
    else:
        yield from file.iter_batches(BATCH_ROWS * 4, row_groups=[group], columns=columns, use_threads=False)


def _compressed_size(row_group: Any) -> int:
    return sum(row_group.column(i).total_compressed_size for i in range(row_group.num_columns))


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "binary", "large_binary") or str(kind).startswith("dictionary")


def _whole_numbers(array: Any) -> NDArray[np.int64]:
    """Integers of any width as int64; what does not fit or is no whole number is -1."""
    values: Array = array.to_numpy(zero_copy_only=False)
    if values.dtype.kind == "u":
        return np.where(values > np.uint64(0x7FFF_FFFF_FFFF_FFFF), -1, values.astype(np.int64))
    if values.dtype.kind == "i":
        return np.maximum(values, -1).astype(np.int64, copy=False)
    if values.dtype.kind == "f":
        good = (values >= 0) & (values < float(1 << 63)) & (values == np.floor(values))
        return np.where(good, np.where(good, values, 0).astype(np.int64), -1)
    return np.full(len(values), -1, np.int64)


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
