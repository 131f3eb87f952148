"""Rows into a store: dictionary numbers, and transactions that hold an object's rows together with its identity."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analyzers.ingest.coverage import SkipCounts
from analyzers.ingest.formats.aws_vpc import LOST_REASONS
from analyzers.store.database import (
    insert,
    insert_rows,
    open_for_writing,
    plain_errors,
    plain_text,
    stored_slice_seconds,
    whole_number,
)
from analyzers.store.identity import Identity
from analyzers.store.rows import Columns
from analyzers.store.schema import CONNECTIONS, FLOWS, LOSSES, SKIPS, SOURCES, WINDOWS, StoreTable

if TYPE_CHECKING:
    pass

NO_TIME = -1


@dataclass(frozen=True, slots=True)
class Taken:
    """An object that is in the store."""

    number: int
    identity: Identity
    merged: int  # its rows in slices before this time are merged with other objects'


@dataclass
class SourceFacts:
    """What a source's row tells besides its identity; sums over its parts."""

    name: str
    format: str = ""
    bytes_read: int = 0
    records: int = 0
    first: int = NO_TIME
    last: int = NO_TIME
    skips: list[SkipCounts] = field(default_factory=list)
    lost: dict[str, list[int]] = field(default_factory=dict)  # attachment -> packets lost, as LOST_REASONS

    def add_lost(self, lost: Mapping[str, Sequence[int]]) -> None:
        """Packets that transit gateway attachments lost in a part."""
        for name, more in lost.items():
            sums = self.lost.setdefault(name, [0] * len(LOST_REASONS))
            sums[:] = [one + other for one, other in zip(sums, more, strict=True)]

    def add(self, records: int, first: int, last: int) -> None:
        """Records of a part, with the times of the earliest and latest."""
        if not records:
            return
        self.first = first if self.records == 0 else min(self.first, first)
        self.last = max(self.last, last)
        self.records += records


class FlowStore:
    """A store opened for writing, exclusively. Threads may share it; each transaction has a cursor of its own."""

    def __init__(
        self,
        path: str,
        *,
        create: bool = True,
        slice_seconds: int | None = None,
        memory: int = 1 << 30,
        threads: int = 1,
    ) -> None:
        """Raises StoreError."""
        self.path = path
        self.connection = open_for_writing(
            path, create=create, slice_seconds=slice_seconds, memory=memory, threads=threads
        )
        self.slice_seconds = stored_slice_seconds(self.connection)
        self._lock = threading.Lock()
        self._numbers: dict[str, dict[str, int]] = {}
        self._unwritten: dict[str, list[str]] = {"networks": [], "observers": []}
        for table in ("networks", "observers"):
            found = self.connection.execute(f"SELECT name, id FROM {table}").fetchall()
            self._numbers[table] = dict(found)
        columns = "key, id, size, digest, modified, merged"
        self.taken: dict[str, Taken] = {}
        for key, number, *rest, merged in self.connection.execute(f"SELECT {columns} FROM sources").fetchall():
            self.taken[key] = Taken(number, Identity(key, *rest), merged)
        self._next_source = whole_number(self.connection, "SELECT coalesce(max(id), 0) FROM sources") + 1

    def close(self) -> None:
        """Write the log into the file and let others have it."""
        self.connection.close()

    def new_source(self) -> int:
        """A number for a source that is about to be written."""
        with self._lock:
            self._next_source += 1
            return self._next_source - 1

    def numbers_of(self, table: str, names: Iterable[str]) -> list[int]:
        """Numbers of names in `networks` or `observers`; new ones are written before anything is committed that may
        point at them."""
        known, unwritten = self._numbers[table], self._unwritten[table]
        with self._lock:
            names = [plain_text(name) for name in names]
            for name in sorted({name for name in names if name not in known}):
                known[name] = len(known)
                unwritten.append(name)
            return [known[name] for name in names]

    def write_names(self) -> None:
        """Commit the names that are new. Raises StoreError; they are written another time then."""
        with self._lock, plain_errors(self.path):
            for table, names in self._unwritten.items():
                if names:
                    numbers = [self._numbers[table][name] for name in names]
                    rows = {"id": np.array(numbers, np.uint32), "name": np.array(names, object)}
                    insert(self.connection, table, rows)
                    names.clear()

    def begin(self) -> Transaction:
        """A transaction of its own."""
        return Transaction(self)


class Transaction:
    """Everything between `begin` and `commit` is in the store whole or not at all."""

    def __init__(self, store: FlowStore) -> None:
        self._store = store
        self._path = store.path
        self._sources: list[dict[str, object]] = []  # written at once, which is much faster
        self._skips: list[dict[str, object]] = []
        self._losses: list[dict[str, object]] = []
        with plain_errors(store.path):
            self._cursor = store.connection.cursor()
            self._cursor.execute("BEGIN TRANSACTION")

    def add_rows(self, table: StoreTable, columns: Columns) -> None:
        """Rows with all columns of schema.py; source, network and observer in the store's numbers."""
        if len(columns["observer"]):
            with plain_errors(self._path):
                insert(self._cursor, table.name, columns)

    def add_source(self, number: int, identity: Identity, facts: SourceFacts) -> None:
        """The source's own row and its skips."""
        merged = merged_counts(facts)
        self._sources.append(
            {
                "id": number, "key": identity.key, "name": plain_text(facts.name), "size": identity.size,
                "digest": identity.digest, "modified": identity.modified, "format": facts.format,
                "bytes_read": facts.bytes_read, "records": facts.records, "first": facts.first,
                "last": facts.last, "merged": 0, "notes": sorted(merged.notes), "unit": merged.unit,
                "plain": merged.plain,
            }
        )  # fmt: skip
        for reason, count in sorted(merged.counts.items()):
            places = merged.samples[reason]
            offsets, samples = [at for at, _ in places], [text for _, text in places]
            self._skips.append(
                {"source": number, "reason": reason, "count": count, "offsets": offsets, "samples": samples}
            )
        self._losses += [{"source": number, **row} for row in loss_rows(facts)]

    def remove(self, number: int) -> None:
        """A source with its rows."""
        with plain_errors(self._path):
            for table in (FLOWS, CONNECTIONS, SKIPS, LOSSES, WINDOWS):
                self._cursor.execute(f"DELETE FROM {table.name} WHERE source = ?", [number])
            self._cursor.execute(f"DELETE FROM {SOURCES.name} WHERE id = ?", [number])

    def rename(self, number: int) -> None:
        """A source that stays while another object takes its key, which must stay unique."""
        with plain_errors(self._path):
            self._cursor.execute(f"UPDATE {SOURCES.name} SET key = key || '#' || id WHERE id = ?", [number])

    def commit(self) -> None:
        """Make it so, durably."""
        self._store.write_names()
        with plain_errors(self._path):
            insert_rows(self._cursor, SOURCES, self._sources)
            insert_rows(self._cursor, SKIPS, self._skips)
            insert_rows(self._cursor, LOSSES, self._losses)
            self._cursor.execute("COMMIT")
            self._cursor.close()

    def roll_back(self) -> None:
        """As if it had never been; never raises."""
        import duckdb

        try:
            self._cursor.execute("ROLLBACK")
            self._cursor.close()
        except duckdb.Error:
            pass  # the transaction is lost already, which is what was wanted


def loss_rows(facts: SourceFacts) -> list[dict[str, object]]:
    """Rows of schema.LOSSES but `source`."""
    return [
        {"attachment": attachment, "reason": reason, "packets": count}
        for attachment, counts in sorted(facts.lost.items())
        for reason, count in zip(LOST_REASONS, counts, strict=True)
        if count
    ]


def merged_counts(facts: SourceFacts) -> SkipCounts:
    """The skips of a source's parts as one."""
    whole = SkipCounts(facts.name)
    for part in facts.skips:
        whole.notes |= part.notes
        whole.unit = max(whole.unit, part.unit)
        whole.plain |= part.plain
        for reason, count in part.counts.items():
            whole.add(reason, count, part.samples[reason])
    return whole
