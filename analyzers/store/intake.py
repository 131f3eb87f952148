"""Objects into a store, each exactly once: threads read them, every object is committed whole with its identity.

A thread's tables hold rows of one object at a time. Small objects are gathered and committed together; an object that
outgrows the memory gets a transaction of its own, into which its tables are emptied, and is committed when its last
part is read. What is not committed leaves no trace, so a run that is stopped or killed is simply run again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from analyzers.flows import IngestReport, Skip
from analyzers.ingest.aggregate import IngestOptions, available_cores, cut_facts, network_names
from analyzers.ingest.coverage import SkipCounts, merge_skips
from analyzers.ingest.reading import Item, MixedFormats, Worker, plan
from analyzers.ingest.sources import InputError, Source, expand, open_source
from analyzers.kernels.text import S_FIRST, S_LAST, S_RECORDS
from analyzers.store.database import StoreError
from analyzers.store.identity import Change, Identity, change_since, identity_of, key_of
from analyzers.store.memory import BoundedTables, Shares, divide
from analyzers.store.rows import Columns, Emptier
from analyzers.store.schema import CONNECTIONS, FLOWS, StoreTable
from analyzers.store.write import FlowStore, SourceFacts, Transaction

COMMIT_SECONDS = 1.0
"""Finished objects wait at most so long for company in their transaction."""

ROW_BYTES = 170
"""About what a row takes as columns."""

Progress = Callable[[int, int, int], None]
"""(bytes of finished objects, bytes of all objects, records), called from worker threads."""


class Stopped(Exception):
    """The user, or a failure elsewhere, stopped this thread."""


@dataclass(frozen=True)
class IntakeSummary:
    """What a run did. `left`: objects that were not taken, by reason; `report` is about the taken ones only."""

    taken: int
    replaced: int
    unchanged: int
    objects: int
    left: tuple[Skip, ...]
    report: IngestReport
    interrupted: bool = False


Fate = Literal["new", "replace", "add"]
"""What becomes of what the store had under the same key: there was nothing, it goes, it stays under another key."""


@dataclass
class _Object:
    """One object on its way in."""

    source: Source
    identity: Identity
    number: int
    then: tuple[Fate, int]  # and the number of what was there
    facts: SourceFacts
    whole: bool = False  # to be read from one end to the other: its parts have different formats
    open_items: int = 0
    holders: int = 0  # threads whose tables have rows of it
    dead: bool = False
    transaction: Transaction | None = None
    chunks: list[tuple[StoreTable, Columns]] = field(default_factory=list)
    rows: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Intake:
    """One run of taking objects into a store."""

    def __init__(
        self,
        store: FlowStore,
        options: IngestOptions,
        changed: Literal["skip", "replace", "add"] = "skip",
        progress: Progress | None = None,
    ) -> None:
        self._store = store
        self._options = options
        self._changed = changed
        self._progress = progress
        self._lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._stop = threading.Event()
        self._waiting: deque[tuple[Source, Identity, tuple[Fate, int], bool]] = deque()
        self._items: deque[tuple[_Object, Item]] = deque()
        self._finished: list[_Object] = []
        self._finished_rows = 0
        self._last_commit = time.monotonic()
        self._left: list[SkipCounts] = []
        self._done: list[_Object] = []
        self._writing: list[_Object] = []  # with transactions of their own
        self._bytes_total = self._bytes_done = 0
        self._records: dict[int, int] = {}
        self._threads = max(1, options.threads or available_cores())
        self._shares: Shares = divide(options.memory_bytes, self._threads)
        self._networks = network_names(options)

    # -- the run -------------------------------------------------------------------------------------------------

    def run(self, names: Sequence[str]) -> IntakeSummary:
        """Take everything that is not there yet. Raises InputError (names that lead nowhere, a failing store);
        on KeyboardInterrupt what is finished is committed, and the summary says so."""
        sources, notes = expand(names)
        if any(source.is_stdin for source in sources):
            raise InputError("standard input cannot be taken into a store: it has no identity; save it to a file first")
        unchanged = sum(not self._consider(source) for source in sources)
        threads = max(1, min(self._threads, len(self._waiting)) if len(self._waiting) > 1 else self._threads)
        interrupted = False
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(self._work) for _ in range(threads)]
            try:
                for future in futures:
                    future.result()
            except KeyboardInterrupt:
                self._stop.set()
                interrupted = True
            except BaseException:
                self._stop.set()
                raise
            finally:
                pool.shutdown()
                for one in self._writing:
                    if one.transaction is not None:  # cut short
                        self._kill(one)
        self._commit_finished()
        return self._summary(len(sources), unchanged - len(self._left), notes, interrupted)

    def _summary(self, objects: int, unchanged: int, notes: list[str], interrupted: bool) -> IntakeSummary:
        done = self._done
        skips, coverage, remarks = merge_skips([part for one in done for part in one.facts.skips])
        left, _, _ = merge_skips(self._left)
        formats: dict[str, int] = {}
        for one in done:
            if one.facts.format:
                formats[one.facts.format] = formats.get(one.facts.format, 0) + 1
        times = [(one.facts.first, one.facts.last) for one in done if one.facts.records]
        report = IngestReport(
            sources=len(done),
            bytes_read=sum(one.facts.bytes_read for one in done),
            records=sum(one.facts.records for one in done),
            skips=skips,
            coverage=coverage,
            notes=tuple(sorted({*notes, *remarks})),
            formats=dict(sorted(formats.items())),
            first=min(t[0] for t in times) if times else None,
            last=max(t[1] for t in times) if times else None,
        )
        replaced = sum(one.then[0] == "replace" for one in done)
        return IntakeSummary(len(done), replaced, max(0, unchanged), objects, left, report, interrupted)

    def _consider(self, source: Source) -> bool:
        """Queue the source if it is to be read. False: it is in the store as it is, or was left for a reason."""
        then = self._store.taken.get(key_of(source))
        try:
            change = change_since(source, then.identity) if then else Change.OTHER
            if then and change is Change.NONE:
                return False
            identity = identity_of(source)
        except OSError as problem:
            self._leave(source, f"cannot be read: {problem.strerror or problem}", "")
            return False
        fate: Fate = "new"
        if then:
            if change is Change.OTHER and self._changed == "skip":
                was = f"{then.identity.size} bytes then, {identity.size} now"
                self._leave(source, "changed since it was taken, left as it was: see --changed", was)
                return False
            fate = "add" if change is Change.OTHER and self._changed == "add" else "replace"
            if fate == "replace" and then.merged:
                self._leave(source, "changed, but its earlier rows are merged with other objects' (see compact)", "")
                return False
        self._waiting.append((source, identity, (fate, then.number if then else 0), False))
        self._bytes_total += identity.size
        return True

    def _leave(self, source: Source, reason: str, sample: str) -> None:
        refused = SkipCounts(source.name)
        refused.add(reason, 1, [(0, sample)])
        self._left.append(refused)

    # -- threads -------------------------------------------------------------------------------------------------

    def _next(self) -> tuple[_Object, Item] | None:
        with self._lock:
            while not self._stop.is_set():
                if self._items:
                    one, item = self._items.popleft()
                    if one.dead:
                        continue
                    return one, item
                if not self._waiting:
                    return None
                self._plan(*self._waiting.popleft())
        return None

    def _plan(self, source: Source, identity: Identity, then: tuple[Fate, int], whole: bool) -> None:
        skips: list[SkipCounts] = []
        try:
            open_source(source).close()
            items, formats = self._items_of(source, whole, skips)
        except (InputError, OSError) as problem:  # it was there a moment ago; another run may find it again
            self._leave(source, f"cannot be read: {problem}", "")
            return
        facts = SourceFacts(source.name, next(iter(formats), ""), skips=skips)
        one = _Object(source, identity, self._store.new_source(), then, facts, whole, len(items))
        self._items.extend((one, item) for item in items)
        if not items:
            self._finish(one)

    def _items_of(self, source: Source, whole: bool, skips: list[SkipCounts]) -> tuple[list[Item], dict[str, int]]:
        return plan([source], self._options.format, frozenset({source.name} if whole else ()), skips)

    def _work(self) -> None:
        hand = _Hand(self)
        try:
            while (task := self._next()) is not None:
                one, item = task
                hand.turn_to(one)
                try:
                    hand.read(item)
                except MixedFormats:
                    self._restart(one)
                except StoreError:
                    raise
                except InputError as problem:  # gone since it was planned
                    self._kill(one)
                    self._leave(one.source, f"cannot be read: {problem}", "")
                with one.lock:
                    one.open_items -= 1
            hand.turn_to(None)
        except Stopped:
            pass
        except BaseException:
            self._stop.set()
            raise
        finally:
            if self._stop.is_set() and hand.object is not None:
                self._kill(hand.object)

    def _restart(self, one: _Object) -> None:
        """Its parts have different formats: forget them and read it whole."""
        with self._lock, one.lock:
            again, one.dead = not one.dead, True
            if again:
                self._waiting.appendleft((one.source, one.identity, one.then, True))
        self._kill(one)

    def _kill(self, one: _Object) -> None:
        with one.lock:
            one.dead = True
            one.chunks.clear()
            if one.transaction is not None:
                one.transaction.roll_back()
                one.transaction = None

    # -- rows on their way ---------------------------------------------------------------------------------------

    def _receive(self, one: _Object, table: StoreTable, columns: Columns) -> None:
        """Rows of a living object: kept while they are few, else written to a transaction of its own."""
        count = len(columns["first"])
        with one.lock:
            if one.dead or not count:
                return
            columns["source"] = np.full(count, one.number, np.uint32)
            one.rows += count
            one.chunks.append((table, columns))
            if one.transaction is not None or one.rows * ROW_BYTES > self._shares.pending // 2:
                self._write_through(one)

    def _write_through(self, one: _Object) -> None:
        if one.transaction is None:
            one.transaction = self._store.begin()
            self._writing.append(one)
        for table, columns in one.chunks:
            one.transaction.add_rows(table, columns)
        one.chunks.clear()

    def _let_go(self, one: _Object) -> None:
        """A thread has no more rows of it; the last one after its last part finishes it."""
        with one.lock:
            one.holders -= 1
            finished = one.open_items == 0 and one.holders == 0 and not one.dead
        if finished:
            self._finish(one)

    def _finish(self, one: _Object) -> None:
        failed = [r for part in one.facts.skips for r in part.counts if r.startswith("reading failed")]
        if failed:  # not the object's fault: another run may read it
            self._kill(one)
            self._leave(one.source, failed[0], "")
            return
        with self._commit_lock:
            if one.transaction is not None:
                self._write_through(one)
                self._write_facts(one.transaction, one)
                one.transaction.commit()
                one.transaction = None
                self._done.append(one)
                return
            self._finished.append(one)
            self._finished_rows += one.rows
            late = time.monotonic() - self._last_commit > COMMIT_SECONDS
        if late or self._finished_rows * ROW_BYTES > self._shares.pending // 2:
            self._commit_finished()

    def _write_facts(self, transaction: Transaction, one: _Object) -> None:
        fate, number = one.then
        if fate == "replace":
            transaction.remove(number)
        elif fate == "add":
            transaction.rename(number)
        transaction.add_source(one.number, one.identity, one.facts)
        self._bytes_done += one.identity.size

    def _commit_finished(self) -> None:
        with self._commit_lock:
            finished, self._finished, self._finished_rows = self._finished, [], 0
            if not finished:
                return
            transaction = self._store.begin()
            try:
                for table in (FLOWS, CONNECTIONS):
                    chunks = [columns for one in finished for of, columns in one.chunks if of is table]
                    if chunks:
                        transaction.add_rows(
                            table, {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}
                        )
                for one in finished:
                    self._write_facts(transaction, one)
                transaction.commit()
            except BaseException:
                transaction.roll_back()
                raise
            for one in finished:
                one.chunks.clear()
            self._done.extend(finished)
            self._last_commit = time.monotonic()

    def _told(self, records: int) -> None:
        """Progress, and the place where threads stop."""
        if self._stop.is_set():
            raise Stopped
        if self._progress is not None:
            self._records[threading.get_ident()] = records
            self._progress(self._bytes_done, self._bytes_total, sum(self._records.values()))


class _Hand:
    """One thread: a worker with bounded tables, and the object whose rows are in them."""

    def __init__(self, intake: Intake) -> None:
        self.object: _Object | None = None
        self._intake = intake
        options = intake._options
        networks = intake._networks
        number = {name: i + 1 for i, name in enumerate(networks)} | {"": 0}
        interfaces = {i: number[n] for i, n in options.interface_networks.items()}
        self._tables = BoundedTables(networks, interfaces, intake._shares.tables, self._empty, self._check)
        self._worker = Worker(self._tables, cut_facts(options, networks), options.networks, self._progress)
        self._emptier = Emptier(options.cuts, intake._store.slice_seconds, intake._store.numbers_of)
        self._records = 0
        self._bytes = 0

    def read(self, item: Item) -> None:
        """Read one item of the present object."""
        self._worker.process(item)

    def turn_to(self, one: _Object | None) -> None:
        """Hand over what belongs to the object before."""
        if self.object is one:
            return
        if self.object is not None:
            self._empty()
            before, self.object = self.object, None
            with before.lock:
                before.facts.bytes_read += self._worker.bytes_read - self._bytes
                before.facts.skips.extend(self._worker.skips)
            self._bytes = self._worker.bytes_read
            self._worker.skips.clear()
            self._intake._let_go(before)
        self.object = one
        if one is not None:
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
        self._records += int(state[S_RECORDS])
        for table, columns in self._emptier.chunks(tables):
            self._intake._receive(one, table, columns)

    def _check(self) -> None:
        if self._intake._stop.is_set():
            raise Stopped

    def _progress(self, size: int, records: int) -> None:  # noqa: ARG002  (the worker's signature)
        self._intake._told(self._records + records)
