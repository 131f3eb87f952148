"""What tasks write: merged rows as files of the store, under names that only this attempt of this task has."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from analyzers.spark.object_group import read_fact
from analyzers.spark.partial_rows import facts_of, store_columns
from analyzers.store.places import Place, place_of
from analyzers.store.schema import CONNECTIONS, FLOWS, LOSSES, SKIPS, SOURCES, WINDOWS, StoreTable
from analyzers.store.write import loss_rows, merged_counts

ROWS_A_FILE = 4 << 20
"""A file of so many rows is finished and written: some 100 MB, and what a task holds."""

MERGED_FOR_GOOD = 1 << 62
"""The time before which an object's rows are merged with others': later than any record."""

DONE_SCHEMA = pa.schema([("table", pa.string()), ("file", pa.string()), ("keys", pa.list_(pa.string()))])
DONE_SPARK_SCHEMA = "table string, file string, keys array<string>"
LEFT = "left"
"""In the place of a table: an object that was not taken; `file` is its name, `keys` the reason."""


def write_files(batches: Iterable[pa.RecordBatch], path: str, job: str) -> Iterator[pa.RecordBatch]:
    """Write merged rows; yields what was written, which becomes part of the store when the job commits it."""
    writer = _Writer(place_of(path), job)
    for batch in batches:
        for table, rows in store_columns(batch):
            writer.add(table, rows)
        for text in facts_of(batch):
            writer.add_fact(json.loads(text))
    done = writer.finished()
    if done:
        columns = [pa.array([row[at] for row in done], DONE_SCHEMA.field(at).type) for at in range(3)]
        yield pa.record_batch(columns, schema=DONE_SCHEMA)


class _Writer:
    def __init__(self, place: Place, job: str) -> None:
        self._place = place
        self._job = job
        self._rows: dict[str, list[pa.Table]] = {FLOWS.name: [], CONNECTIONS.name: [], WINDOWS.name: []}
        self._facts: dict[str, list[dict[str, Any]]] = {SOURCES.name: [], SKIPS.name: [], LOSSES.name: []}
        self._done: list[tuple[str, str, list[str]]] = []

    def add(self, table: StoreTable, rows: pa.Table) -> None:
        """Rows of flows or connections."""
        held = self._rows[table.name]
        held.append(rows)
        if sum(part.num_rows for part in held) >= ROWS_A_FILE:
            self._write(table, pa.concat_tables(held))
            held.clear()

    def add_fact(self, document: dict[str, Any]) -> None:
        """An object's facts."""
        if "left" in document:
            self._done.append((LEFT, document["left"], [document["reason"]]))
            return
        identity, facts = read_fact(document)
        merged = merged_counts(facts)
        self._facts[SOURCES.name].append(
            {
                "key": identity.key, "name": facts.name, "size": identity.size, "digest": identity.digest,
                "modified": identity.modified, "format": facts.format, "bytes_read": facts.bytes_read,
                "records": facts.records, "first": facts.first, "last": facts.last, "merged": MERGED_FOR_GOOD,
                "notes": sorted(merged.notes), "unit": merged.unit, "plain": merged.plain,
            }
        )  # fmt: skip
        for reason, count in sorted(merged.counts.items()):
            places = merged.samples[reason]
            self._facts[SKIPS.name].append(
                {
                    "source": identity.key, "reason": reason, "count": count,
                    "offsets": [at for at, _ in places], "samples": [text for _, text in places],
                }
            )  # fmt: skip

        self._facts[LOSSES.name] += [{"source": identity.key, **row} for row in loss_rows(facts)]

    def finished(self) -> list[tuple[str, str, list[str]]]:
        """Write what is held; everything that was written."""
        for table in (FLOWS, CONNECTIONS, WINDOWS):
            if self._rows[table.name]:
                self._write(table, pa.concat_tables(self._rows[table.name]))
        for table in (SOURCES, SKIPS, LOSSES):
            rows = self._facts[table.name]
            if rows:
                schema = pa.schema([(c.name, _ARROW_TYPES[c.parquet_type]) for c in table.columns if c.name != "id"])
                keys = [str(row["key"]) for row in rows] if table is SOURCES else []
                self._write(table, pa.Table.from_pylist(rows, schema), keys)
        return self._done

    def _write(self, table: StoreTable, rows: pa.Table, keys: list[str] | None = None) -> None:
        content = io.BytesIO()
        parquet.write_table(rows, content, compression="zstd")
        name = f"{table.name}/{self._job}-{uuid.uuid4().hex}.parquet"
        self._place.write(name, content.getvalue())
        self._done.append((table.name, name, keys or []))


_ARROW_TYPES = {
    "VARCHAR": pa.string(), "VARCHAR[]": pa.list_(pa.string()), "BIGINT[]": pa.list_(pa.int64()),
    "BOOLEAN": pa.bool_(), "BIGINT": pa.int64(), "INTEGER": pa.int32(), "SMALLINT": pa.int16(),
}  # fmt: skip
