"""The flow store: more keys than memory, and a directory of gz logs within the memory given."""

from __future__ import annotations

import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tests.bench.distinct_logs import write_distinct
from tests.bench.make_logs import write_logs
from tests.bench.result import Result

TITLE = "Flow store"
ORDER = 60

DATA = Path("bench-data")
DISTINCT = int(os.environ.get("BENCH_DISTINCT_ROWS", "50000000"))
CONNECTIONS = int(os.environ.get("BENCH_CONNECTION_ROWS", "10000000"))
TEXT_MB = int(os.environ.get("BENCH_STORE_MB", "500"))
ROWS_A_FILE = 250_000
ROW_BYTES = 116
GIB = 1 << 30


@dataclass(frozen=True)
class Run:
    """One fresh process."""

    seconds: float
    peak: int  # bytes
    output: str


def measured(*arguments: str | Path) -> Run:
    """`flowctl` with these arguments: wall time and peak memory of the process. Raises SystemExit when it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "flowctl", *map(str, arguments)], stdout=out, stderr=err, text=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        err.seek(0)
        if process.returncode:
            raise SystemExit(f"flowctl {' '.join(map(str, arguments))} failed:\n{err.read()}")
        out.seek(0)
        return Run(seconds, usage.ru_maxrss * 1024, out.read())


def run(repeats: int) -> Result:
    """The table, and what missed its mark."""
    DATA.mkdir(exist_ok=True)
    lines = ["| work | memory given | rows | seconds | rows/s | peak MB | store MB |", "|---|---|---|---|---|---|---|"]
    broken: list[str] = []
    for work in (_distinct, _undecided, _directory):
        row, missed = work(repeats)
        lines.append(row)
        broken += missed
    lines += [
        "",
        f"Fresh processes, peak resident memory of the whole process. Distinct keys: one run over {DISTINCT:,} records",
        "of which no two share a service key. Undecided connections: one run of `map --format json` over as many",
        f"5-tuples, whose direction only fan-in settles, in temporary files. Directory: medians of {repeats} runs into",
        "new stores (BENCH_STORE_MB=5000 makes it 5 GB of text).",
    ]
    return Result(lines, broken)


def _line(work: str, memory: str, rows: int, one: Run, store: Path | None) -> str:
    size = f"{store.stat().st_size / 1e6:,.0f}" if store else "-"
    rate, peak = f"{rows / one.seconds:,.0f}", f"{one.peak / 1e6:,.0f}"
    return f"| {work} | {memory} | {rows:,} | {one.seconds:.1f} | {rate} | {peak} | {size} |"


def _records(store: Path) -> tuple[int, int]:
    """(rows of flows, records) in a store, by plain SQL."""
    with duckdb.connect(str(store), read_only=True) as connection:
        rows, records = connection.execute(
            "SELECT (SELECT count(*) FROM flows), (SELECT coalesce(sum(records), 0) FROM flows) + "
            "(SELECT coalesce(sum(records), 0) FROM connections)"
        ).fetchall()[0]
    return int(rows), int(records)


def _distinct(repeats: int) -> tuple[str, list[str]]:  # noqa: ARG001  (one run is long enough)
    path, store = DATA / f"distinct-{DISTINCT}.log", DATA / "distinct.duckdb"
    if not path.exists():
        write_distinct(path, DISTINCT)
    _remove(store)
    one = measured("ingest", path, "--store", store, "--memory", "2GiB", "--threads", "2")
    broken = []
    if one.peak >= 2 * GIB:
        broken.append(f"{DISTINCT:,} distinct keys under 2 GiB: {one.peak / GIB:.2f} GiB")
    if _records(store) != (DISTINCT, DISTINCT):
        broken.append(f"{DISTINCT:,} distinct keys: the store has {_records(store)}")
    line = _line("ingest, distinct service keys", "2 GiB", DISTINCT, one, store)
    _remove(store)
    path.unlink()  # several gigabytes, made again in a minute
    return line, broken


def _undecided(repeats: int) -> tuple[str, list[str]]:  # noqa: ARG001
    path = DATA / f"undecided-{CONNECTIONS}.log"
    if not path.exists():
        write_distinct(path, CONNECTIONS, "connections")
    one = measured("map", path, "--format", "json", "--memory", "1GiB", "--threads", "2")
    broken = [f"map of {CONNECTIONS:,} connections in 1 GiB: {one.peak / GIB:.2f} GiB"] if one.peak >= GIB else []
    path.unlink()
    return _line("map, undecided connections", "1 GiB", CONNECTIONS, one, None), broken


def _directory(repeats: int) -> tuple[str, list[str]]:
    folder = DATA / f"store-gz-{TEXT_MB}"
    rows = _write_directory(folder)
    broken: list[str] = []
    runs: list[Run] = []
    store = DATA / "directory.duckdb"
    for _ in range(repeats):
        _remove(store)
        runs.append(measured("ingest", folder, "--store", store, "--memory", "1GiB", "--threads", "2"))
    before = _records(store)
    measured("ingest", folder, "--store", store, "--memory", "1GiB")
    if _records(store) != before:
        broken.append("the same ingest again changed the store")
    median = Run(statistics.median(r.seconds for r in runs), max(r.peak for r in runs), "")
    if median.peak >= GIB:
        broken.append(f"a directory of gz logs in 1 GiB: {median.peak / GIB:.2f} GiB")
    line = _line(
        f"ingest, {len(list(folder.glob('*.gz')))} gz files of {TEXT_MB} MB text", "1 GiB", rows, median, store
    )
    _remove(store)
    return line, broken


def _write_directory(folder: Path) -> int:
    """gz logs of about TEXT_MB of text; the number of their records."""
    files = max(1, round(TEXT_MB * 1e6 / ROW_BYTES / ROWS_A_FILE))
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for number in range(files):
            plain = partial / f"{number:04}.log"
            write_logs(plain, ROWS_A_FILE, seed=number)
            plain.with_suffix(".log.gz").write_bytes(gzip.compress(plain.read_bytes(), 6))
            plain.unlink()
        partial.rename(folder)
    return files * ROWS_A_FILE


def _remove(store: Path) -> None:
    store.unlink(missing_ok=True)
    Path(f"{store}.wal").unlink(missing_ok=True)
