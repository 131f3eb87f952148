"""What a run does with rows that outgrow its memory: a temporary database takes them, and directions are settled there.

The database and its library are loaded only when they are needed: for stores, or past the memory given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from analyzers.flows import FlowTable
from analyzers.ingest.direction import settle
from analyzers.ingest.threads import available_cores
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.record import S_CONNECTIONS, S_FIRST, S_LAST, S_RECORDS, S_SERVICES
from analyzers.kernels.tables import ALL_TIME
from analyzers.store.memory import CONNECTION_BYTES, FLOW_BYTES, BoundedTables, divide
from analyzers.store.rows import footprint

if TYPE_CHECKING:
    from analyzers.ingest.aggregate import IngestOptions
    from analyzers.ingest.windows import Windows
    from analyzers.store.rows import Emptier
    from analyzers.store.spill import Spill
    from analyzers.store.write import SourceFacts


class Overflow:
    """Of one run; a context manager that removes the database."""

    def __init__(self, options: IngestOptions) -> None:
        self._options = options
        self._spill: Spill | None = None
        self._lock = threading.Lock()
        self._emptiers: dict[int, Emptier] = {}
        self._gone: dict[int, int] = {}
        self.notes: tuple[str, ...] = ()  # what the user should know about the result
        self._begin()

    def _begin(self) -> None:
        self._records = 0
        self.outside = 0  # records that end outside of the window
        self._first, self._last = int(np.iinfo(np.int64).max), -1

    @property
    def used(self) -> bool:
        """Whether rows went into the database."""
        return self._spill is not None and self._spill.rows > 0

    @property
    def span(self) -> int:
        """Seconds of the time slices that rows are kept apart by."""
        return self._options.slice_seconds or int(ALL_TIME)

    def tables(
        self, networks: tuple[str, ...], interfaces: dict[str, int], threads: int, flow_log: str = ""
    ) -> WorkerTables:
        """Tables for one of so many threads, which come here when they are full."""
        limit = divide(self._options.memory_bytes, threads).tables
        made = BoundedTables(networks, interfaces, limit, lambda: self._empty(made), flow_log=flow_log, span=self.span)
        return made

    def gather(self, total: WorkerTables, part: Sequence[WorkerTables]) -> None:
        """What is done with one flow log's tables before the next one is read: into `total`, or the database."""
        for one in part:
            if footprint(total) + footprint(one) <= divide(self._options.memory_bytes, 1).tables:
                total.absorb(one)
            elif one.tables.state[S_RECORDS]:
                self._empty(one)
            one.release()

    def progress(self, tables: WorkerTables) -> Callable[[int, int], None] | None:
        """What a worker with these tables reports to: records that went over are added to those in the tables."""
        report = self._options.progress
        if report is None:
            return None
        return lambda size, records: report(size, records + self._gone.get(id(tables), 0))

    def _fits(self, tables: Sequence[WorkerTables]) -> bool:
        """Whether everything may be merged in memory, and directions settled there."""
        shares = divide(self._options.memory_bytes, 1)
        states = [one.tables.state for one in tables]
        settling = sum(int(s[S_CONNECTIONS]) * CONNECTION_BYTES + int(s[S_SERVICES]) * FLOW_BYTES for s in states)
        return sum(footprint(one) for one in tables) <= shares.tables and settling <= shares.settling

    def _empty(self, tables: WorkerTables) -> None:
        self._count(tables)
        self._gone[id(tables)] = self._gone.get(id(tables), 0) + int(tables.tables.state[S_RECORDS])
        spill = self._database()
        with self._lock:
            emptier = self._emptiers.setdefault(id(tables), spill.emptier(self._options.cuts))
        spill.take(tables, emptier)

    def _database(self) -> Spill:
        from analyzers.store.spill import Spill

        with self._lock:
            if self._spill is None:
                threads = self._options.threads or available_cores()
                self._spill = Spill(divide(self._options.memory_bytes, threads).database, threads)
            return self._spill

    def _count(self, tables: WorkerTables) -> None:
        state = tables.tables.state
        with self._lock:
            self._records += int(state[S_RECORDS])
            self._first = min(self._first, int(state[S_FIRST]))
            self._last = max(self._last, int(state[S_LAST]))

    @property
    def totals(self) -> tuple[int, int, int]:
        """(records, first, last) of everything, once it is settled."""
        return self._records, self._first, self._last

    def settle(self, tables: Sequence[WorkerTables], windows: Windows) -> tuple[FlowTable, list[SourceFacts]]:
        """Everything that went over, what is in `tables` and the stores; and what the stores tell of their sources.
        What they tell of the times covered is added to `windows`."""
        if not self.used and not self._options.stores and self._fits(tables):
            for one in tables:
                self._count(one)
            return settle(tables, self._options.declared, self._options.threads or available_cores()), []
        from analyzers.store.read import Reading

        spill = self._database()
        for one in tables:
            if one.tables.state[S_RECORDS]:
                self._empty(one)
            one.release()
        reading = Reading(spill, self._options.stores, self._options)
        flows = reading.flows(divide(self._options.memory_bytes, 1).settling)
        self.notes = tuple(reading.notes)
        if reading.first is not None and reading.last is not None:
            self._records, self._first, self._last = reading.records, reading.first, reading.last
        reading.windows(windows)
        return flows, reading.sources()

    def forget(self) -> None:
        """Drop what was read so far: it is read again in another way."""
        self.close()
        self._emptiers.clear()
        self._gone.clear()
        self._begin()

    def close(self) -> None:
        """Remove the database."""
        if self._spill is not None:
            self._spill.close()
            self._spill = None

    def __enter__(self) -> Overflow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
