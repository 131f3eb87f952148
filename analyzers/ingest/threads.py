"""How many threads there are, and work on rows that they share."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

ROWS_WORTH_A_THREAD = 1 << 14


def available_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parts(work: Callable[[int, int], T], rows: int, threads: int) -> list[T]:
    """What `work(start, stop)` gives for consecutive parts of so many rows: one a thread, where that is worth it."""
    parts = max(1, min(threads, rows // ROWS_WORTH_A_THREAD))
    cuts = list(pairwise(rows * part // parts for part in range(parts + 1)))
    if parts == 1:
        return [work(*cuts[0])]
    with ThreadPoolExecutor(parts) as pool:
        return list(pool.map(lambda cut: work(*cut), cuts))
