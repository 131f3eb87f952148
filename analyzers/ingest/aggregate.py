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
from analyzers.ingest.overflow import Overflow
from analyzers.ingest.reading import CaptureItem, Item, MixedFormats, TextItem, Worker, plan
from analyzers.ingest.sources import Source, expand
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels import tables as t
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
    progress: Callable[[int, int], None] | None = None  # (bytes read, records), called from worker threads
    stage: Callable[[str, Callable[[], float]], None] | None = None  # (what begins now, its percentage when asked)
    memory_bytes: int = 0  # what the whole process may take; 0: half of what is available
    stores: tuple[str, ...] = ()  # flow stores that are read as sources besides


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def aggregate(names: Sequence[str], options: IngestOptions | None = None) -> tuple[FlowTable, IngestReport]:
    """Read everything and settle who serves, within the memory given: what outgrows it goes through a temporary
    database. Raises InputError for names that lead nowhere and stores that cannot be read; all else is reported.
    """
    options = options or IngestOptions()
    sources, notes = expand(names)
    with Overflow(options) as overflow:
        whole: frozenset[str] = frozenset()
        while True:
            try:
                tables, skips, formats, read = _read_all(sources, options, whole, overflow)
                break
            except MixedFormats as mixed:
                whole |= {mixed.source}  # its parts have different formats: read it again from one end to the other
                overflow.forget()
        flows, stored = overflow.settle(tables)
        records, first, last = overflow.totals
    for one in stored:
        skips.extend(one.skips)
        read += one.bytes_read
        if one.format:
            formats[one.format] = formats.get(one.format, 0) + 1
    counted, coverage, remarks = merge_skips(skips)
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
    sources: Sequence[Source], options: IngestOptions, whole: frozenset[str], overflow: Overflow
) -> tuple[list[WorkerTables], list[SkipCounts], dict[str, int], int]:
    """(tables of every thread, skips, formats, bytes read)."""
    networks = network_names(options)
    number = {name: i + 1 for i, name in enumerate(networks)} | {"": 0}
    interfaces = {i: number[n] for i, n in options.interface_networks.items()}
    facts = cut_facts(options, networks)
    skips: list[SkipCounts] = []
    items, formats = plan(sources, options.format, whole, skips)
    queue = iter(items)
    lock = threading.Lock()
    stop = threading.Event()
    threads = max(1, min(options.threads or available_cores(), len(items)))

    def next_item() -> Item | None:
        with lock:
            return None if stop.is_set() else next(queue, None)

    def work() -> Worker:
        tables = overflow.tables(networks, interfaces, threads)
        worker = Worker(tables, facts, options.networks, overflow.progress(tables))
        try:
            while (item := next_item()) is not None:
                worker.process(item)
        except BaseException:
            stop.set()
            raise
        return worker

    if threads == 1:
        workers = [work()]
    else:
        with ThreadPoolExecutor(threads) as pool:
            workers = [future.result() for future in [pool.submit(work) for _ in range(threads)]]
    for worker in workers:
        skips.extend(worker.skips)
    return [w.tables for w in workers], skips, formats, sum(w.bytes_read for w in workers)


__all__ = ["CaptureItem", "IngestOptions", "IngestReport", "Skip", "TextItem", "aggregate", "available_cores"]
