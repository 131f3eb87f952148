"""Row groups of a Parquet flow log to kernel calls: dictionaries parsed once, numbers as they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.ingest.coverage import ReasonCounts, SkipCounts, printable
from analyzers.ingest.formats import aws_parquet, aws_vpc
from analyzers.ingest.parquet_arrow import ArrowColumns, is_text
from analyzers.ingest.parquet_entries import (
    AddressEntries,
    Bitmap,
    Entries,
    NameEntries,
    status_entries,
    verdict_entries,
)
from analyzers.ingest.parquet_pages import PagedColumns, Spare, UnreadPages
from analyzers.ingest.sources import InputError, Source
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels import log_line
from analyzers.kernels.record_columns import (
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
    RecordColumns,
    read_columns_of_records,
)
from analyzers.kernels.text import Facts, Scratch

BATCH_ROWS = 1 << 16
"""Records decoded at once and given to one kernel call: about 5 MB of columns."""

ADDRESSES = (log_line.C_SRC, log_line.C_DST, log_line.C_SRC_PLAIN, log_line.C_DST_PLAIN)
NETWORKS = (log_line.C_NETWORK, log_line.C_PEER_NETWORK)
Columns = PagedColumns | ArrowColumns


class RowGroupReader:
    """One thread's reader of row groups; keeps the last file."""

    def __init__(self, tables: WorkerTables, facts: Facts, scratch: Scratch, reasons: ReasonCounts) -> None:
        """`reasons`: of `scratch`; whoever reads settles them."""
        self._reasons = reasons
        self._tables = tables
        self._facts = facts
        self._scratch = scratch
        self._valid = np.zeros((V_COUNT, BATCH_ROWS // 8), np.uint8)
        self._no_places = np.zeros(BATCH_ROWS, np.int32)
        self._no_numbers = np.zeros(BATCH_ROWS, np.int64)
        self._spares: defaultdict[str, Spare] = defaultdict(Spare)
        self._file: tuple[Source, Any] | None = None  # the last one
        self._texts_file: tuple[Source, Any] | None = None  # the last one that pyarrow had to read

    def read(self, source: Source, layout: aws_vpc.Layout, group: int, skips: SkipCounts) -> Iterator[int]:
        """Aggregate a row group; yields now and then how many bytes of the file that was. Raises OSError and
        InputError for damaged data."""
        if self._file is None or self._file[0] != source:
            self._file = (source, aws_parquet.open_file(source))
        file = self._file[1]
        names = aws_parquet.column_names(file, layout)
        entries = self._entries(names)
        first = sum(file.metadata.row_group(g).num_rows for g in range(group))
        skips.unit = "row"
        described = file.metadata.row_group(group)
        row_bytes = _compressed_size(described) / max(described.num_rows, 1)
        done = 0
        try:
            for paged in _paged(source, file, group, entries, self._spares):
                self._aggregate(paged, names, entries, first + done, skips)
                done += paged.rows
                yield int(paged.rows * row_bytes)
        except UnreadPages:
            for columns in self._by_arrow(source, file, group, entries, done):
                self._aggregate(columns, names, entries, first + done, skips)
                done += columns.rows
                yield int(columns.rows * row_bytes)

    def _entries(self, names: Mapping[int, str]) -> dict[str, Entries | None]:
        """Meanings of each column that is wanted; None for numbers."""
        found: dict[str, Entries | None] = {}
        for column, name in names.items():
            if name in found:
                continue
            if column in ADDRESSES:
                found[name] = AddressEntries()
            elif column == log_line.C_ACTION:
                found[name] = verdict_entries()
            elif column == log_line.C_STATUS:
                found[name] = status_entries()
            elif column == log_line.C_INTERFACE or column in NETWORKS:
                kind = "network" if column in NETWORKS else "observer"
                found[name] = NameEntries(self._tables, kind)
            else:
                found[name] = None
        return found

    def _by_arrow(
        self, source: Source, file: Any, group: int, entries: dict[str, Entries | None], done: int
    ) -> Iterator[ArrowColumns]:
        """Columns of all rows of a row group but the first `done`. Raises OSError and InputError."""
        if self._texts_file is None or self._texts_file[0] != source:
            schema = file.schema_arrow
            texts = [name for name in entries if is_text(schema.field(name).type)]
            self._texts_file = (source, aws_parquet.open_file(source, texts))
        columns = ArrowColumns(entries)
        rows = 0
        batches = self._texts_file[1].iter_batches(
            BATCH_ROWS, row_groups=[group], columns=list(entries), use_threads=False
        )
        while (batch := _next(batches)) is not None:
            rows += batch.num_rows
            if rows > done:
                columns.take(batch.slice(max(0, done - rows + batch.num_rows)))
                yield columns

    def _aggregate(
        self, columns: Columns, names: Mapping[int, str], entries: dict[str, Entries | None], first: int,
        skips: SkipCounts,
    ) -> None:  # fmt: skip
        records = self._records(columns, names, entries)
        at = 0
        while True:
            at = read_columns_of_records(records, at, columns.rows, self._tables.tables, self._facts, self._scratch)
            if at == columns.rows:
                break
            self._tables.make_room()

        def place(row: int) -> tuple[int, str]:
            return first + row, printable(columns.text(row).encode("utf-8", "replace"))

        self._reasons.note(skips, place)

    def _records(self, columns: Columns, names: Mapping[int, str], entries: dict[str, Entries | None]) -> RecordColumns:
        """The batch as the kernel wants it; a column that the file lacks is null throughout."""
        rows = columns.rows
        needed = np.zeros(V_COUNT, np.uint8)

        def mark(row: int, bitmap: Bitmap) -> None:
            needed[row] = 1
            self._valid[row, : (rows + 7) // 8] = 255 if bitmap is None else bitmap[: (rows + 7) // 8]

        def coded(row: int, column: int, otherwise: Any) -> tuple[NDArray[np.int32], Any]:
            if column not in names:
                self._valid[row] = 0
                return self._no_places[:rows], otherwise
            places, bitmap = columns.places(names[column])
            mark(row, bitmap)
            meanings = entries[names[column]]
            assert meanings is not None
            return places, meanings.table()

        def number(row: int, column: int) -> NDArray[Any]:
            wide = row >= V_PACKETS
            if column not in names:
                self._valid[row] = 0
                return (self._no_numbers if wide else self._no_places)[:rows]
            values, bitmap = columns.numbers(names[column], np.int64 if wide else np.int32)
            mark(row, bitmap)
            return values

        no_address = AddressEntries().table()
        no_name, no_word = np.zeros(1, np.uint64), np.zeros(1, np.uint8)
        src, src_addresses = coded(V_SRC, log_line.C_SRC, no_address)
        dst, dst_addresses = coded(V_DST, log_line.C_DST, no_address)
        src_plain, src_plain_addresses = coded(V_SRC_PLAIN, log_line.C_SRC_PLAIN, no_address)
        dst_plain, dst_plain_addresses = coded(V_DST_PLAIN, log_line.C_DST_PLAIN, no_address)
        verdict, verdicts = coded(V_ACTION, log_line.C_ACTION, no_word)
        status, statuses = coded(V_STATUS, log_line.C_STATUS, no_word)
        interface, interfaces = coded(V_INTERFACE, log_line.C_INTERFACE, no_name)
        network, networks = coded(V_NETWORK, log_line.C_NETWORK, no_name)
        peer_network, peer_networks = coded(V_PEER_NETWORK, log_line.C_PEER_NETWORK, no_name)
        records = RecordColumns(
            valid=self._valid,
            src=src, dst=dst, src_plain=src_plain, dst_plain=dst_plain,
            src_addresses=src_addresses, dst_addresses=dst_addresses,
            src_plain_addresses=src_plain_addresses, dst_plain_addresses=dst_plain_addresses,
            sport=number(V_SPORT, log_line.C_SPORT), dport=number(V_DPORT, log_line.C_DPORT),
            protocol=number(V_PROTOCOL, log_line.C_PROTOCOL), flags=number(V_FLAGS, log_line.C_FLAGS),
            packets=number(V_PACKETS, log_line.C_PACKETS), octets=number(V_BYTES, log_line.C_BYTES),
            start=number(V_START, log_line.C_START), end=number(V_END, log_line.C_END),
            verdict=verdict, verdicts=verdicts, status=status, statuses=statuses,
            interface=interface, interfaces=interfaces, network=network, networks=networks,
            peer_network=peer_network, peer_networks=peer_networks, needed=needed,
        )  # fmt: skip
        needed[V_SRC_PLAIN] = needed[V_DST_PLAIN] = 0  # looked at only where the others are dashes
        return records


def _paged(
    source: Source, file: Any, group: int, entries: dict[str, Entries | None], spares: defaultdict[str, Spare]
) -> Iterator[PagedColumns]:
    """Columns of a row group, a batch after the other. Raises UnreadPages where pyarrow has to read on."""
    if not source.local_path:
        raise UnreadPages
    columns = PagedColumns(source.local_path, file, group, entries, BATCH_ROWS, spares)
    left = file.metadata.row_group(group).num_rows
    while left > 0:
        columns.take(min(left, BATCH_ROWS))
        left -= columns.rows
        yield columns


def _next(batches: Iterator[Any]) -> Any:
    """The next record batch, or None."""
    from pyarrow import ArrowException

    try:
        return next(batches, None)
    except ArrowException as problem:
        raise InputError(str(problem)) from problem


def _compressed_size(row_group: Any) -> int:
    return sum(row_group.column(i).total_compressed_size for i in range(row_group.num_columns))
