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
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal

import numpy as np

from analyzers.ingest.aggregate import TINY_FILES, IngestOptions, available_cores
from analyzers.ingest.coverage import SkipCounts
from analyzers.ingest.planning import Item, is_tiny, plan
from analyzers.ingest.reading import MixedFormats
from analyzers.ingest.sources import InputError, Source, open_source
from analyzers.ingest.worker_tables import TooManyNames
from analyzers.store.database import StoreError
from analyzers.store.identity import Change, Identity, change_since, identity_of, key_of
from analyzers.store.memory import Shares, divide
from analyzers.store.object_reader import ObjectReader, Stopped
from analyzers.store.objects import Fate, IncomingObject, IntakeSummary, summarise
from analyzers.store.rows import Columns
from analyzers.store.schema import CONNECTIONS, FLOWS, WINDOWS, StoreTable
from analyzers.store.write import FlowStore, SourceFacts, Transaction

COMMIT_SECONDS = 1.0
"""Finished objects wait at most so long for company in their transaction."""

ROW_BYTES = 170
"""About what a row takes as columns."""

Progress = Callable[[int, int, int], None]
"""(bytes of finished objects, bytes of all objects, records), called from worker threads."""


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
        self._turn = threading.Lock()  # of threads with tiny files, see analyzers.ingest.aggregate
        self._stop = threading.Event()
        self._waiting: deque[tuple[Source, Identity, tuple[Fate, int], bool]] = deque()
        self._items: deque[tuple[IncomingObject, Item]] = deque()
        self._finished: list[IncomingObject] = []
        self._finished_rows = 0
        self._last_commit = time.monotonic()
        self._left: list[SkipCounts] = []
        self._done: list[IncomingObject] = []
        self._writing: list[IncomingObject] = []  # with transactions of their own
        self._bytes_total = self._bytes_done = 0
        self._records: dict[int, int] = {}
        self._threads = max(1, options.threads or available_cores())
        self._shares: Shares = divide(options.memory_bytes, self._threads)

    # -- the run -------------------------------------------------------------------------------------------------

    def run(self, sources: Sequence[Source], notes: Sequence[str] = ()) -> IntakeSummary:
        """Take everything of `identifiable_sources`, which made the notes, that is not there yet. Raises InputError (a
        failing store); on KeyboardInterrupt what is finished is committed, and the summary says so."""
        unchanged = sum(not self._consider(source) for source in sources) - len(self._left)
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
            except TooManyNames as problem:
                self._stop.set()
                raise InputError(str(problem)) from problem
            except BaseException:
                self._stop.set()
                raise
            finally:
                pool.shutdown()
                for one in self._writing:
                    if one.transaction is not None:  # cut short
                        self._kill(one)
        interrupted |= undisturbed(self._commit_finished)
        summary = summarise(self._done, self._left, len(sources), unchanged, notes)
        return replace(summary, interrupted=interrupted)

    def _consider(self, source: Source) -> bool:
        """Queue the source if it is to be read. False: it is in the store as it is, or was left for a reason."""
        key = key_of(source)
        then = self._store.taken.get(key)
        try:
            change = change_since(source, then.identity) if then else Change.OTHER
            if then and change is Change.NONE:
                return False
            identity = identity_of(source, key)
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

    def _next(self) -> tuple[IncomingObject, Item] | None:
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
            if source.stored is None:  # objects of a store are opened when they are read
                open_source(source).close()
            items, formats = self._items_of(source, whole, skips)
        except InputError as problem:  # it was there a moment ago; another run may find it again
            self._leave(source, str(problem), "")
            return
        except OSError as problem:
            self._leave(source, f"cannot be read: {problem.strerror or problem}", "")
            return
        facts = SourceFacts(source.name, next(iter(formats), ""), skips=skips)
        one = IncomingObject(source, identity, self._store.new_source(), then, facts, whole, len(items))
        self._items.extend((one, item) for item in items)
        if not items:
            self._finish(one)

    def _items_of(self, source: Source, whole: bool, skips: list[SkipCounts]) -> tuple[list[Item], dict[str, int]]:
        parted = frozenset({source.name} if whole else ())
        return plan([source], self._options.format, parted, skips, self._options.log_formats)

    def _work(self) -> None:
        reader = ObjectReader(self, self._options, self._store, self._shares.tables)
        try:
            task = self._next()
            while task is not None:
                with self._turn if is_tiny(task[1]) else nullcontext() as turn:
                    for _ in range(TINY_FILES if turn else 1):
                        self._read(reader, *task)
                        task = self._next()
                        if task is None or not is_tiny(task[1]):
                            break
            reader.turn_to(None)
        except Stopped:
            pass
        except BaseException:
            self._stop.set()
            raise
        finally:
            if self._stop.is_set() and reader.object is not None:
                self._kill(reader.object)

    def _read(self, reader: ObjectReader, one: IncomingObject, item: Item) -> None:
        reader.turn_to(one)
        try:
            reader.read(item)
        except MixedFormats:
            self._restart(one)
        except StoreError:
            raise
        except InputError as problem:  # gone since it was planned
            self._kill(one)
            self._leave(one.source, str(problem), "")
        with one.lock:
            one.open_items -= 1

    def _restart(self, one: IncomingObject) -> None:
        """Its parts have different formats: forget them and read it whole."""
        with self._lock, one.lock:
            again, one.dead = not one.dead, True
            if again:
                self._waiting.appendleft((one.source, one.identity, one.then, True))
        self._kill(one)

    def _kill(self, one: IncomingObject) -> None:
        with one.lock:
            one.dead = True
            one.chunks.clear()
            if one.transaction is not None:
                one.transaction.roll_back()
                one.transaction = None

    # -- rows on their way ---------------------------------------------------------------------------------------

    def receive(self, one: IncomingObject, table: StoreTable, columns: Columns) -> None:
        """Rows of a living object: kept while they are few, else written to a transaction of its own."""
        count = len(columns["observer"])
        with one.lock:
            if one.dead or not count:
                return
            columns["source"] = np.full(count, one.number, np.uint32)
            one.rows += count
            one.chunks.append((table, columns))
            if one.transaction is not None or one.rows * ROW_BYTES > self._shares.pending // 2:
                self._write_through(one)

    def _write_through(self, one: IncomingObject) -> None:
        if one.transaction is None:
            one.transaction = self._store.begin()
            self._writing.append(one)
        for table, columns in one.chunks:
            one.transaction.add_rows(table, columns)
        one.chunks.clear()

    def let_go(self, one: IncomingObject) -> None:
        """A thread has no more rows of it; the last one after its last part finishes it."""
        with one.lock:
            one.holders -= 1
            finished = one.open_items == 0 and one.holders == 0 and not one.dead
        if finished:
            self._finish(one)

    def _finish(self, one: IncomingObject) -> None:
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

    def _write_facts(self, transaction: Transaction, one: IncomingObject) -> None:
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
                for table in (FLOWS, CONNECTIONS, WINDOWS):
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

    def check(self) -> None:
        """The place where threads stop."""
        if self._stop.is_set():
            raise Stopped

    def told(self, records: int) -> None:
        """Progress."""
        if self._progress is not None:
            self._records[threading.get_ident()] = records
            self._progress(self._bytes_done, self._bytes_total, sum(self._records.values()))


def undisturbed(work: Callable[[], None]) -> bool:
    """Do it in another thread, where no Ctrl-C ends it halfway; whether one came."""
    pool = ThreadPoolExecutor(1)
    done = pool.submit(work)
    interrupted = False
    while True:
        try:
            wait([done])
            break
        except KeyboardInterrupt:
            interrupted = True
    pool.shutdown()
    done.result()
    return interrupted
