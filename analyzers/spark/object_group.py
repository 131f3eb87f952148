"""What one task reads: a group of objects to partial rows, added up by slice as far as the memory allows.

The tables hold one object at a time, so that every row's slice is that of its own first record, as it is when a single
machine takes the objects; then its rows join those of their slice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analyzers.ingest.aggregate import IngestOptions, cut_facts, network_names
from analyzers.ingest.coverage import SkipCounts
from analyzers.ingest.flow_logs import flow_log_of
from analyzers.ingest.planning import Item, plan
from analyzers.ingest.reading import Worker
from analyzers.ingest.sources import Source
from analyzers.ingest.windows import Windows, lost_in
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels import tables as t
from analyzers.kernels.record import S_CONNECTIONS, S_FIRST, S_LAST, S_RECORDS, S_SERVICES
from analyzers.kernels.separators import BLOCK_ROWS
from analyzers.objects.key_layout import Window
from analyzers.objects.object_stream import begun_ahead
from analyzers.spark.partial_rows import fact_batch, partial_batch, window_batch
from analyzers.store.identity import Identity, identity_of
from analyzers.store.rows import Stretches, connection_chunks, flow_chunks
from analyzers.store.schema import CONNECTIONS, FLOWS
from analyzers.store.write import SourceFacts

Array = NDArray[Any]

ROWS_HELD = 4 << 20
"""Rows of a task that are added up in memory: about 300 MB; beyond that they go to Spark as they are."""

BATCH_ROWS = 1 << 17


@dataclass(frozen=True)
class GroupOptions:
    """What tasks need to know besides their objects; travels with the task."""

    ingest: IngestOptions
    slice_seconds: int


def read_group(sources: Sequence[Source], options: GroupOptions) -> Iterator[pa.RecordBatch]:
    """Partial rows and facts of the objects. One that cannot be read to its end is left out; its fact says why."""
    group = _Group(options)
    yield from group.read(sources)
    for start in range(0, len(group.facts), BATCH_ROWS):
        yield fact_batch(group.facts[start : start + BATCH_ROWS])


class _Slice:
    """Rows of one time slice, numbered as the group's tables number names and addresses."""

    def __init__(self) -> None:
        self.services = _Rows(t.SERVICE_WORDS)
        self.connections = _Rows(t.CONNECTION_WORDS)


class _Rows:
    """A growing table of service or connection rows."""

    def __init__(self, words: int) -> None:
        self.count = 0
        self._service = words == t.SERVICE_WORDS
        self.rows = np.zeros((1 << 12, words), np.uint64)
        self._index: Array = np.zeros(1 << 13, np.uint32 if self._service else np.uint64)
        self._scratch = np.zeros((3, BLOCK_ROWS), np.uint64)

    def add(self, rows: Array) -> None:
        """Rows to those of equal keys."""
        for start in range(0, len(rows), BLOCK_ROWS):
            self._make_room()
            part = rows[start : start + BLOCK_ROWS]
            if self._service:
                hashes, slices, candidates = self._scratch[0], self._scratch[1], self._scratch[2]
                self.count = t.upsert_services(
                    part, len(part), t.ALL_TIME, hashes, slices, candidates, self._index, self.rows, self.count
                )
            else:
                self.count = t.upsert_connections(part, len(part), t.ALL_TIME, self._index, self.rows, self.count)

    def _make_room(self) -> None:
        needed = self.count + BLOCK_ROWS
        if needed > len(self.rows):
            grown = np.zeros((2 * len(self.rows), self.rows.shape[1]), np.uint64)
            grown[: self.count] = self.rows[: self.count]
            self.rows = grown
        if t.INDEX_SLOTS * needed > t.INDEX_ROWS * self._index.size:
            self._index = np.zeros(4 * self._index.size, self._index.dtype)
            if self._service:
                t.rehash_services(self.rows, self.count, self._index, t.ALL_TIME)
            else:
                t.rehash_connections(self.rows, self.count, self._index, t.ALL_TIME)


class _Group:
    """The state of one task."""

    def __init__(self, options: GroupOptions) -> None:
        self.facts: list[str] = []
        ingest = options.ingest
        networks = network_names(ingest)
        number = {name: i + 1 for i, name in enumerate(networks)} | {"": 0}
        interfaces = {i: number[n] for i, n in ingest.interface_networks.items()}
        self._options = options
        self._tables = WorkerTables(networks, interfaces, span=options.slice_seconds)
        self._worker = Worker(
            self._tables, cut_facts(replace(ingest, window=Window()), networks), ingest.networks, outer=ingest.outer
        )
        self._windows = Windows()
        self._slices: dict[tuple[str, int], _Slice] = {}  # by flow log and number of the slice

    def read(self, sources: Sequence[Source]) -> Iterator[pa.RecordBatch]:
        """Partial rows of all of them, in batches that Spark's memory takes."""
        for entry in begun_ahead(map(self._planned, sources)):
            self._take(entry)
            if sum(one.services.count + one.connections.count for one in self._slices.values()) > ROWS_HELD:
                yield from self._emptied()
        yield from self._emptied()
        batch = window_batch(*self._windows.rows)
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)

    def _planned(self, source: Source) -> _Planned:
        skips: list[SkipCounts] = []
        # whole: a task has one thread, and an object's rows must not come in parts
        items, formats = plan(
            [source], self._options.ingest.format, frozenset({source.name}), skips, self._options.ingest.log_formats
        )
        return _Planned(source, items, formats, skips)

    def _take(self, entry: _Planned) -> None:
        """One object's rows to their slices, and its facts; or neither."""
        facts = SourceFacts(entry.source.name, next(iter(entry.formats), ""), skips=entry.skips)
        worker = self._worker
        self._tables.flow_log = flow_log_of(entry.source.name)
        before = worker.bytes_read
        worker.skips.clear()
        worker.formats.clear()
        failed = ""
        try:
            for item in entry.items:
                worker.process(item)
            identity = identity_of(entry.source)
        except OSError as problem:
            failed = f"reading failed: {problem.strerror or problem}"
        facts.skips.extend(worker.skips)
        reasons = [reason for part in facts.skips for reason in part.counts if reason.startswith("reading failed")]
        if failed or reasons:
            self.facts.append(json.dumps({"left": entry.source.name, "reason": failed or reasons[0]}))
            self._clear()
            return
        state = self._tables.tables.state
        facts.format = facts.format or next(iter(worker.formats), "")
        facts.bytes_read = worker.bytes_read - before
        facts.add(int(state[S_RECORDS]), int(state[S_FIRST]), int(state[S_LAST]))
        facts.add_lost(lost_in(self._tables))
        self.facts.append(fact_text(identity, facts))
        self._windows.take(self._tables)
        self._to_slices()
        self._clear()

    def _to_slices(self) -> None:
        """The object's rows to their slices."""
        flow_log = self._tables.flow_log
        now = self._tables.tables
        state = now.state
        for counter, rows, word, kind in (
            (S_SERVICES, now.services, 7, "services"),
            (S_CONNECTIONS, now.connections, 12, "connections"),
        ):
            rows = rows[: state[counter]]
            first = (rows[:, word] >> t.U32).astype(np.int64)
            slices = first // self._options.slice_seconds
            for number in np.unique(slices).tolist():
                inside = slices == number
                target: _Rows = getattr(self._slices.setdefault((flow_log, number), _Slice()), kind)
                target.add(rows if inside.all() else rows[inside])

    def _clear(self) -> None:
        """Forget the object's rows; names and addresses keep their numbers."""
        now = self._tables.tables
        state = now.state
        state[S_SERVICES] = state[S_CONNECTIONS] = state[S_RECORDS] = 0
        state[S_FIRST], state[S_LAST] = np.iinfo(np.int64).max, -1
        now.service_index[:] = 0
        now.connection_index[:] = 0
        self._tables.clear_windows()

    def _emptied(self) -> Iterator[pa.RecordBatch]:
        """Everything added up so far as partial rows; nothing is held afterwards."""
        tables = self._tables
        stretches = Stretches(self._options.ingest.cuts)
        kept = tables.tables
        slices, self._slices = self._slices, {}
        for (flow_log, _), one in slices.items():
            tables.flow_log = flow_log
            names = {"network": tables.network_names(), "observer": tables.observer_names()}
            state = kept.state.copy()
            state[S_SERVICES], state[S_CONNECTIONS] = one.services.count, one.connections.count
            tables.tables = kept._replace(state=state, services=one.services.rows, connections=one.connections.rows)
            for table, chunks in ((FLOWS, flow_chunks), (CONNECTIONS, connection_chunks)):
                for columns in chunks(tables, stretches, self._options.slice_seconds):
                    batch = partial_batch(table, columns, names)
                    for start in range(0, batch.num_rows, BATCH_ROWS):
                        yield batch.slice(start, BATCH_ROWS)
            tables.tables = kept


@dataclass(frozen=True)
class _Planned:
    source: Source
    items: list[Item]
    formats: dict[str, int]
    skips: list[SkipCounts]

    @property
    def stream(self) -> Any:
        """Of an object: what `begun_ahead` asks for."""
        return getattr(self.items[0], "stream", None) if self.items else None


def fact_text(identity: Identity, facts: SourceFacts) -> str:
    """What the sources and skips tables say of an object, as one line."""
    plain = {field.name: getattr(facts, field.name) for field in fields(facts) if field.name != "skips"}
    skips: list[dict[str, Any]] = [
        {
            "counts": dict(one.counts), "samples": dict(one.samples), "notes": sorted(one.notes),
            "unit": one.unit, "plain": one.plain,
        }
        for one in facts.skips
    ]  # fmt: skip
    return json.dumps({"identity": asdict(identity), "facts": plain, "skips": skips})


def read_fact(document: dict[str, Any]) -> tuple[Identity, SourceFacts]:
    """The way back of `fact_text`, its JSON read already."""
    facts = SourceFacts(**document["facts"])
    for part in document["skips"]:
        counts = SkipCounts(facts.name, notes=set(part["notes"]), unit=part["unit"], plain=part["plain"])
        for reason, count in part["counts"].items():
            counts.add(reason, count, [(at, text) for at, text in part["samples"].get(reason, ())])
        facts.skips.append(counts)
    return Identity(**document["identity"]), facts
