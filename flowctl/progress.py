"""Progress on stderr for what takes longer than two seconds; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DELAY = 2.0


@contextmanager
def reading_progress() -> Iterator[Callable[[int, int], None] | None]:
    """A callback (bytes read, records) for worker threads that reports their sums, or None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("reading"),
        TextColumn("{task.fields[size]:,.0f} MB, {task.fields[records]:,} records, {task.fields[rate]:,.0f} records/s"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    started = time.monotonic()
    lock = threading.Lock()
    parts: dict[int, tuple[int, int]] = {}
    task = progress.add_task("", total=None, size=0.0, records=0, rate=0.0)
    running = False

    def report(size: int, records: int) -> None:
        nonlocal running
        elapsed = time.monotonic() - started
        with lock:
            parts[threading.get_ident()] = (size, records)
            if elapsed < DELAY:
                return
            if not running:
                progress.start()
                running = True
            total = sum(p[1] for p in parts.values())
            progress.update(task, size=sum(p[0] for p in parts.values()) / 1e6, records=total, rate=total / elapsed)

    try:
        yield report
    finally:
        if running:
            progress.stop()


@contextmanager
def taking_progress() -> Iterator[Callable[[int, int, int], None] | None]:
    """A callback (bytes done, bytes of all objects, records) for worker threads, or None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    progress = Progress(
        TextColumn("taking"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %, {task.fields[records]:,} records, {task.fields[rate]:,.0f} records/s"),
        TextColumn("left:"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        transient=True,
    )
    started = time.monotonic()
    lock = threading.Lock()
    task = progress.add_task("", total=None, records=0, rate=0.0)
    running = False

    def report(done: int, total: int, records: int) -> None:
        nonlocal running
        elapsed = time.monotonic() - started
        with lock:
            if elapsed < DELAY:
                return
            if not running:
                progress.start()
                running = True
            progress.update(task, completed=done, total=total, records=records, rate=records / elapsed)

    try:
        yield report
    finally:
        if running:
            progress.stop()
