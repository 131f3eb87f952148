"""A thread that reads objects for a store: its tables hold rows of one object at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from analyzers.ingest.aggregate import IngestOptions, cut_facts, network_names
from analyzers.ingest.flow_logs import flow_log_of
from analyzers.ingest.planning import Item
from analyzers.ingest.reading import Worker
from analyzers.ingest.windows import lost_in
from analyzers.kernels.record import S_FIRST, S_LAST, S_RECORDS
from analyzers.kernels.tables import ALL_TIME
from analyzers.objects.key_layout import Window
from analyzers.store.memory import BoundedTables
from analyzers.store.objects import IncomingObject
from analyzers.store.rows import Columns, Emptier
from analyzers.store.schema import StoreTable
from analyzers.store.write import FlowStore


class Stopped(Exception):
    """The user, or a failure elsewhere, stopped this thread."""


class Desk(Protocol):
    """Where readers hand over what they have; the run that they belong to."""

    def receive(self, one: IncomingObject, table: StoreTable, columns: Columns) -> None:
        """Rows of an object."""

    def let_go(self, one: IncomingObject) -> None:
        """The reader has no more rows of it."""

    def check(self) -> None:
        """Raises Stopped when the thread is to stop."""

    def told(self, records: int) -> None:
        """So many records so far in this thread."""


class ObjectReader:
    """One thread: a worker with bounded tables, and the object whose rows are in them."""

    def __init__(self, desk: Desk, options: IngestOptions, store: FlowStore, tables_limit: int) -> None:
        """`tables_limit`: bytes of its tables, see analyzers.store.memory."""
        self.object: IncomingObject | None = None
        self._desk = desk
        networks = network_names(options)
        number = {name: i + 1 for i, name in enumerate(networks)} | {"": 0}
        interfaces = {i: number[n] for i, n in options.interface_networks.items()}
        self._records = 0
        self._bytes = 0
        span = store.slice_seconds or int(ALL_TIME)
        self._tables = BoundedTables(networks, interfaces, tables_limit, self._empty, desk.check, span=span)
        # the window chooses objects, which are taken whole
        facts = cut_facts(replace(options, window=Window()), networks)
        self._worker = Worker(self._tables, facts, options.networks, self._progress, outer=options.outer)
        self._cuts, self._store = options.cuts, store
        self._emptiers: dict[str, Emptier] = {}  # by flow log, because observers' names tell it

    def read(self, item: Item) -> None:
        """Read one item of the present object."""
        self._worker.process(item)

    def turn_to(self, one: IncomingObject | None) -> None:
        """Hand over what belongs to the object before."""
        if self.object is one:
            return
        if self.object is not None:
            self._empty()
            before, self.object = self.object, None
            with before.lock:
                before.facts.bytes_read += self._worker.bytes_read - self._bytes
                before.facts.skips.extend(self._worker.skips)
                before.facts.format = before.facts.format or next(iter(self._worker.formats), "")
            self._worker.formats.clear()
            self._bytes = self._worker.bytes_read
            self._worker.skips.clear()
            self._desk.let_go(before)
        self.object = one
        if one is not None:
            self._tables.flow_log = flow_log_of(one.source.name)
            with one.lock:
                one.holders += 1

    def _empty(self) -> None:
        """The tables' rows to the object they belong to."""
        one, tables = self.object, self._tables
        state = tables.tables.state
        if one is None:
            return
        with one.lock:
            one.facts.add(int(state[S_RECORDS]), int(state[S_FIRST]), int(state[S_LAST]))
            one.facts.add_lost(lost_in(tables))
        self._records += int(state[S_RECORDS])
        emptier = self._emptiers.get(tables.flow_log)
        if emptier is None:
            emptier = Emptier(self._cuts, self._store.slice_seconds, self._store.numbers_of)
            self._emptiers[tables.flow_log] = emptier
        for table, columns in (*emptier.chunks(tables), emptier.windows(tables)):
            self._desk.receive(one, table, columns)

    def _progress(self, size: int, records: int) -> None:  # noqa: ARG002  (the worker's signature)
        self._desk.check()
        self._desk.told(self._records + records)
