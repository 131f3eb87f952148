"""Sources to a FlowTable: work is cut into items, threads pull them, every thread has its own tables, one merge."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import FlowTable, IngestReport, Skip
from analyzers.ingest.coverage import SkipCounts, merge_skips
from analyzers.ingest.direction import settle
from analyzers.ingest.flow_logs import covered_twice, flow_log_of
from analyzers.ingest.log_formats import LogFormats
from analyzers.ingest.reading import CaptureItem, Item, MixedFormats, TextItem, Worker, plan
from analyzers.ingest.sources import Source, expand
from analyzers.ingest.windows import window_facts
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels import tables as t
from analyzers.kernels.record import S_FIRST, S_LAST, S_RECORDS
from analyzers.kernels.text import Facts
from analyzers.ports import settling_ports

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
    log_formats: LogFormats = field(default_factory=LogFormats)  # of records that carry no header
    intervals: Mapping[str, int] = field(default_factory=dict)  # flow log id, "" for others -> aggregation interval, s
    progress: Callable[[int, int], None] | None = None  # (bytes read, records), called from worker threads


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def aggregate(names: Sequence[str], options: IngestOptions | None = None) -> tuple[FlowTable, IngestReport]:
    """Read everything and settle who serves. Raises InputError for names that lead nowhere; all else is reported."""
    options = options or IngestOptions()
    sources, notes = expand(names)
    whole: frozenset[str] = frozenset()
    while True:
        try:
            tables, skips, formats, read = _read_all(sources, options, whole)
            break
        except MixedFormats as mixed:
            whole |= {mixed.source}  # its parts have different formats: read it again from one end to the other
    flows = settle(tables, options.declared)
    notes += covered_twice(flows)
    state = tables.tables.state
    records = int(state[S_RECORDS])
    counted, coverage, remarks = merge_skips(skips)
    report = IngestReport(
        sources=len(sources),
        bytes_read=read,
        records=records,
        skips=counted,
        coverage=coverage,
        notes=tuple(sorted({*notes, *remarks})),
        formats=dict(sorted(formats.items())),
        first=int(state[S_FIRST]) if records else None,
        last=int(state[S_LAST]) if records else None,
        windows=window_facts(tables, options.intervals),
        plain_sources=len({part.source for part in skips if part.plain}),
    )
    return flows, report


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
    return Facts(settling_ports(), index, keys, moments_array)


def _read_all(
    sources: Sequence[Source], options: IngestOptions, whole: frozenset[str]
) -> tuple[WorkerTables, list[SkipCounts], dict[str, int], int]:
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
    total: WorkerTables | None = None
    for flow_log, part in sorted(by_log.items()):
        now = _read_items(part, options, lambda log=flow_log: WorkerTables(networks, interfaces, log), facts)  # type: ignore[misc]
        workers += now
        if total is None:
            total = now[0].tables if len(by_log) == 1 else WorkerTables(networks, {})
        for worker in now:
            if worker.tables is not total:
                total.absorb(worker.tables)
    for worker in workers:
        skips.extend(worker.skips)
    return total or WorkerTables(networks, interfaces), skips, formats, sum(w.bytes_read for w in workers)


def _read_items(
    items: Sequence[Item], options: IngestOptions, tables: Callable[[], WorkerTables], facts: Facts
) -> list[Worker]:
    """Work through the items of one flow log; the workers with what they have."""
    queue = iter(items)
    lock = threading.Lock()
    stop = threading.Event()

    def next_item() -> Item | None:
        with lock:
            return None if stop.is_set() else next(queue, None)

    def work() -> Worker:
        worker = Worker(tables(), facts, options.networks, options.progress)
        try:
            while (item := next_item()) is not None:
                worker.process(item)
        except BaseException:
            stop.set()
            raise
        return worker

    threads = max(1, min(options.threads or available_cores(), len(items)))
    if threads == 1:
        return [work()]
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(work) for _ in range(threads)]]


__all__ = ["CaptureItem", "IngestOptions", "IngestReport", "Skip", "TextItem", "aggregate", "available_cores"]
