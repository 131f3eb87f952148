"""Sources to a FlowTable: work is cut into items, threads pull them, every thread has its own tables, one merge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import FlowTable, IngestReport, Skip
from analyzers.ingest.coverage import SkipCounts, merge_skips
from analyzers.ingest.flow_logs import covered_twice, flow_log_of
from analyzers.ingest.log_formats import LogFormats
from analyzers.ingest.overflow import Overflow
from analyzers.ingest.planning import CaptureItem, Item, TextItem, is_tiny, plan
from analyzers.ingest.reading import MixedFormats, Worker
from analyzers.ingest.sources import InputError, Source, expand
from analyzers.ingest.threads import available_cores
from analyzers.ingest.windows import Windows
from analyzers.ingest.worker_tables import TooManyNames, WorkerTables
from analyzers.kernels import tables as t
from analyzers.kernels.record import S_OUTSIDE
from analyzers.kernels.text import Facts
from analyzers.kernels.window import ALWAYS
from analyzers.objects.key_layout import Window
from analyzers.objects.object_store import is_url
from analyzers.objects.object_stream import begun_ahead
from analyzers.ports import settling_ports

if TYPE_CHECKING:
    from analyzers.store.write import SourceFacts

TINY_FILES = 64
"""So many take some milliseconds."""

Cuts = Mapping[tuple[str, int, int], tuple[int, ...]]
"""(network, hi, lo) -> ascending times, s UTC, at which the address changes its owner; network "": any."""


@dataclass(frozen=True)
class IngestOptions:
    """How to read. `networks`: pairs (pattern of source names, network); the first that matches wins."""

    networks: tuple[tuple[str, str], ...] = ()
    format: str | None = None  # a format's NAME; None: sniffed
    threads: int = 0  # 0: as many as the process may use
    interface_networks: Mapping[str, str] = field(default_factory=dict)  # interface id -> network
    cuts: Cuts = field(default_factory=dict)
    declared: frozenset[tuple[int, int, int, int]] = frozenset()  # (hi, lo, port, protocol) that an inventory declares
    window: Window = field(default_factory=Window)  # records that end outside of it do not count
    slice_seconds: int = 0  # no row spans two slices of so many seconds (by its `first`); 0: one slice
    log_formats: LogFormats = field(default_factory=LogFormats)  # of records that carry no header
    intervals: Mapping[str, int] = field(default_factory=dict)  # flow log id, "" for others -> aggregation interval, s
    progress: Callable[[int, int], None] | None = None  # (bytes read, records), called from worker threads
    outer: bool = False  # tunnels in captures stay closed: the outer flow is the flow
    stage: Callable[[str, Callable[[], float]], None] | None = None  # (what begins now, its percentage when asked)
    memory_bytes: int = 0  # what the whole process may take; 0: half of what is available
    stores: tuple[str, ...] = ()  # flow stores that are read as sources besides


def aggregate(names: Sequence[str], options: IngestOptions | None = None) -> tuple[FlowTable, IngestReport]:
    """Read everything and settle who serves, within the memory given: what outgrows it goes through a temporary
    database. Raises InputError for names that lead nowhere and stores that cannot be read; all else is reported.
    """
    options = options or IngestOptions()
    sources, notes = expand(names, options.window)
    stores, left_out = _each_once(options.stores)
    options = replace(options, stores=stores)
    with Overflow(options) as overflow:
        whole: frozenset[str] = frozenset()
        while True:
            try:
                windows = Windows()
                tables, skips, formats, read = _read_all(sources, options, whole, overflow, windows)
                break
            except MixedFormats as mixed:
                if any(source.read_once for source in sources):
                    raise InputError(
                        f"{mixed.source}: lines of several formats, so that everything has to be read again, which "
                        "standard input and pipes cannot be: read it in a run without them"
                    ) from mixed
                whole |= {mixed.source}  # its parts have different formats: read it again from one end to the other
                overflow.forget()
        flows, stored = overflow.settle(tables, windows)
        records, first, last = overflow.totals
    notes += [*left_out, *covered_twice(flows), *_in_both(sources, stored)]
    for one in stored:
        skips.extend(one.skips)
        read += one.bytes_read
        if not options.window:  # nothing tells when
            windows.add_lost(one.lost)
        if one.format:
            formats[one.format] = formats.get(one.format, 0) + 1
    counted, coverage, remarks = merge_skips(skips)
    plain_sources = len({part.source for part in skips if part.plain})
    if options.stores and options.window:
        notes.append("of flow stores, rows count that lie in the window from their first record to their last")
    if overflow.outside:
        notes.append(f"{overflow.outside} records end outside of the window: not counted")
    report = IngestReport(
        sources=len(sources) + len(stored),
        bytes_read=read,
        records=records,
        skips=counted,
        coverage=coverage,
        notes=tuple(sorted({*notes, *remarks, *overflow.notes})),
        formats=dict(sorted(formats.items())),
        first=first if records else None,
        last=last if records else None,
        carried=tuple(sorted(one for part in skips for one in part.carried)),
        plain_sources=plain_sources,
        windows=windows.facts(options.intervals),
        lost_packets=windows.lost_packets(),
    )
    return flows, report


def _each_once(stores: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Stores, the same one under several names once, and a note of each that was left out."""
    found: dict[str, str] = {}
    notes = []
    for name in stores:
        place = name.rstrip("/") if is_url(name) else str(Path(name).resolve())
        if place in found:
            notes.append(f"{name} is the same store as {found[place]}: read once")
        found.setdefault(place, name)
    return tuple(found.values()), notes


def _in_both(sources: Sequence[Source], stored: Sequence[SourceFacts]) -> list[str]:
    """A note of sources that a store holds too."""
    if not stored:
        return []
    from analyzers.store.identity import key_of

    both = sorted({key_of(source) for source in sources} & {one.name for one in stored})
    more = f" and {len(both) - 1} more" if both[1:] else ""
    return [f"{both[0]}{more}: in a store too, so what it holds counts twice"] if both else []


def network_names(options: IngestOptions) -> tuple[str, ...]:
    """All networks known before reading, sorted, so that every thread numbers them alike."""
    known = {name for _, name in options.networks} | set(options.interface_networks.values())
    known |= {network for network, _, _ in options.cuts}
    return tuple(sorted(known - {""}))


def cut_facts(options: IngestOptions, networks: tuple[str, ...]) -> Facts:
    """The cuts as arrays for the kernels; see analyzers.kernels.tables.epoch_of."""
    number = {name: i + 1 for i, name in enumerate(networks)}
    keys = np.zeros((len(options.cuts), 5), np.uint64)
    times: list[int] = []
    for row, (network, hi, lo) in enumerate(sorted(options.cuts)):
        moments = options.cuts[network, hi, lo]
        keys[row] = (hi, lo, number.get(network, 0xFFFF), len(times), len(times) + len(moments))
        times.extend(max(0, m) for m in moments)
    size = 16
    while size < 4 * len(keys):
        size *= 2
    index = np.zeros(size, np.uint64)
    if len(keys):
        t.index_cuts(keys, index)
    moments_array: NDArray[np.uint64] = np.array(times or [0], np.uint64)
    since, until = options.window.since, options.window.until
    window = np.array([max(0, since or 0), ALWAYS if until is None else max(0, until)], np.int64)
    return Facts(settling_ports(), index, keys, moments_array, window)


def _read_all(
    sources: Sequence[Source], options: IngestOptions, whole: frozenset[str], overflow: Overflow, windows: Windows
) -> tuple[list[WorkerTables], list[SkipCounts], dict[str, int], int]:
    """(tables of every thread, skips, formats, bytes read)."""
    networks = network_names(options)
    number = {name: i + 1 for i, name in enumerate(networks)} | {"": 0}
    interfaces = {i: number[n] for i, n in options.interface_networks.items()}
    facts = cut_facts(options, networks)
    skips: list[SkipCounts] = []
    items, formats = plan(sources, options.format, whole, skips, options.log_formats)
    by_log: dict[str, list[Item]] = {}
    for item in items:
        by_log.setdefault(flow_log_of(item.source.name), []).append(item)
    workers: list[Worker] = []
    gathered: list[WorkerTables] = []
    for flow_log, part in sorted(by_log.items()):
        threads = max(1, min(options.threads or available_cores(), len(part)))

        def tables(log: str = flow_log, threads: int = threads) -> WorkerTables:
            return overflow.tables(networks, interfaces, threads, log)

        now = _read_items(part, options, tables, facts, threads, overflow)
        workers += now
        overflow.outside += sum(int(worker.tables.tables.state[S_OUTSIDE]) for worker in now)
        for worker in now:
            windows.take(worker.tables)
        if len(by_log) == 1:
            gathered = [worker.tables for worker in now]
        else:
            gathered = gathered or [WorkerTables(networks, {}, span=overflow.span)]
            overflow.gather(gathered[0], [worker.tables for worker in now])
    for worker in workers:
        skips.extend(worker.skips)
        for name, count in worker.formats.items():
            formats[name] = formats.get(name, 0) + count
    return gathered or [overflow.tables(networks, {}, 1)], skips, formats, sum(w.bytes_read for w in workers)


def _read_items(
    items: Sequence[Item],
    options: IngestOptions,
    tables: Callable[[], WorkerTables],
    facts: Facts,
    threads: int,
    overflow: Overflow,
) -> list[Worker]:
    """Work through the items of one flow log; the workers with what they have."""
    queue = _by_turns(begun_ahead(items))
    lock, turn = threading.Lock(), threading.Lock()
    stop = threading.Event()

    def next_items() -> list[Item]:
        with lock:
            return [] if stop.is_set() else next(queue, [])

    def work() -> Worker:
        own = tables()
        worker = Worker(own, facts, options.networks, overflow.progress(own), outer=options.outer)
        try:
            while some := next_items():
                with turn if some[1:] else nullcontext():
                    for item in some:
                        _process(worker, item)
            own.window_rows()  # closed here, where threads do it at the same time
        except BaseException:
            stop.set()
            raise
        return worker

    try:
        if threads == 1:
            return [work()]
        with ThreadPoolExecutor(threads) as pool:
            return [future.result() for future in [pool.submit(work) for _ in range(threads)]]
    except TooManyNames as problem:
        raise InputError(str(problem)) from problem


def _process(worker: Worker, item: Item) -> None:
    try:
        worker.process(item)
    except InputError as problem:  # it was there a moment ago
        worker.skips[-1].add(str(problem), 1, [(0, "")])


def _by_turns(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items, tiny ones many at a time: a thread reads those while others let it. They would pass Python's lock to
    and fro at every step, which takes longer than the steps."""
    for tiny, some in groupby(items, is_tiny):
        while part := list(islice(some, TINY_FILES if tiny else 1)):
            yield part


__all__ = ["CaptureItem", "IngestOptions", "IngestReport", "Skip", "TextItem", "aggregate", "available_cores"]
