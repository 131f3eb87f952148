"""How a memory budget is divided between the interpreter, the threads' tables and DuckDB."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.ingest.sources import InputError
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.tables import ALL_TIME
from analyzers.store.rows import footprint, holds_rows

OVERHEAD = 260 << 20
"""What the process takes without any data: interpreter, numba with loaded kernels, DuckDB's code, read buffers."""

SMALLEST = 512 << 20
"""Less than this leaves no room for tables of a useful size."""


FLOW_BYTES = 220
"""Memory that a row of the FlowTable takes while it is made and used."""

CONNECTION_BYTES = 700
"""Memory that a connection row takes while directions are settled in memory."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Bytes for each part of the work; see `divide`."""

    tables: int  # rows and indices of one thread
    database: int  # DuckDB's memory_limit
    pending: int  # rows on their way into the store
    settling: int  # for settling directions and the FlowTable, when nothing is read any more


def available_memory() -> int:
    """Bytes this process may hope for: what is free now, or its cgroup's limit where that is less."""
    free = 4 << 30
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123  (a kernel interface, not a file)
            facts = dict(line.split(":", 1) for line in lines)
        free = int(facts["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
        if pages > 0:
            free = pages * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit:  # noqa: PTH123
            free = min(free, int(limit.read()))
    except (OSError, ValueError):
        pass  # no cgroup, or no limit
    return free


def divide(memory: int, threads: int) -> Shares:
    """Shares of `memory` bytes (0: half of what is available) with so many threads. Raises InputError."""
    if memory and memory < SMALLEST:
        raise InputError(f"--memory {memory >> 20} MiB is too little; {SMALLEST >> 20} MiB is the least")
    room = max(memory or available_memory() // 2, SMALLEST) - OVERHEAD
    return Shares(
        tables=room * 40 // 100 // max(1, threads),
        database=room * 40 // 100,
        pending=room * 8 // 100,
        settling=room * 80 // 100,
    )


class BoundedTables(WorkerTables):
    """Worker tables that are emptied by `full` before they would outgrow `limit` bytes.

    `check` is called whenever the tables ask for room: a place to stop a thread at.
    """

    def __init__(
        self,
        networks: tuple[str, ...],
        interfaces: dict[str, int],
        limit: int,
        full: Callable[[], None],
        check: Callable[[], None] = lambda: None,
        flow_log: str = "",
        span: int = int(ALL_TIME),
    ) -> None:
        self._limit = limit
        self._full: Callable[[], None] | None = None  # not while the first names are being interned
        self._check = check
        super().__init__(networks, interfaces, flow_log, span)
        self._full = full

    def make_room(self, arena_bytes: int = 0, services: int = 0) -> None:
        """Grow, or make room by emptying."""
        self._check()
        if self._full is not None and footprint(self, growing=True) > self._limit and holds_rows(self):
            self._full()
        super().make_room(arena_bytes, services)

    def absorb(self, other: WorkerTables, threads: int = 1) -> None:
        """Add another's rows; the caller has seen that all of them fit."""
        with self._never_emptied():
            super().absorb(other, threads)

    def meet(self, other: WorkerTables, threads: int) -> list[NDArray[np.uint64]]:
        """Add another's rows but those with new keys; the caller has seen that all of them fit."""
        with self._never_emptied():
            return super().meet(other, threads)

    @contextmanager
    def _never_emptied(self) -> Iterator[None]:
        """Emptying while rows are added would lose the numbers that another's names and addresses have got here."""
        full, self._full = self._full, None
        yield
        self._full = full
