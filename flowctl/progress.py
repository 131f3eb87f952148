"""Progress on stderr for what takes longer than two seconds; nothing where stderr is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DELAY = 2.0


class ReadingBar:
    """What a run does, on one line: sums of all reading threads, then the database's work with its time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._parts: dict[int, tuple[int, int]] = {}
        self._task = self._progress.add_task("reading", total=None, left="")
        self._running = False
        self._percent: Callable[[], float] | None = None
        self._done = threading.Event()

    def __call__(self, size: int, records: int) -> None:
        """Bytes and records of the calling thread so far."""
        with self._lock:
            self._parts[threading.get_ident()] = (size, records)
            if not self._late():
                return
            total = sum(p[1] for p in self._parts.values())
            rate = total / (time.monotonic() - self._started)
            read = sum(p[0] for p in self._parts.values()) / 1e6
            self._progress.update(
                self._task, description=f"reading {read:,.0f} MB, {total:,} records, {rate:,.0f} records/s"
            )

    def stage(self, what: str, percent: Callable[[], float]) -> None:
        """The database begins with something; `percent` tells how far it is (0 to 100, less: not known)."""
        with self._lock:
            self._progress.reset(self._task, total=100, description=what, left="left:")
            if self._percent is None:
                threading.Thread(target=self._watch, daemon=True).start()
            self._percent = percent

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            with self._lock:
                if self._late() and self._percent is not None:
                    self._progress.update(self._task, completed=max(0.0, self._percent()))

    def _late(self) -> bool:
        if not self._running and time.monotonic() - self._started >= DELAY and not self._done.is_set():
            self._progress.start()
            self._running = True
        return self._running

    def stop(self) -> None:
        """Wipe the line."""
        self._done.set()
        with self._lock:
            if self._running:
                self._progress.stop()


@contextmanager
def reading_progress() -> Iterator[ReadingBar | None]:
    """The bar, to be called with (bytes read, records) by worker threads, or None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = ReadingBar()
    try:
        yield bar
    finally:
        bar.stop()


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
