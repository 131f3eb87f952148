"""Parquet flow logs: flowctl and DuckDB on the same file, fresh processes in turn, the same totals."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.engines import (
    NAMES,
    WARMED,
    Measured,
    both_ways,
    flowctl,
    forget_pages,
    stopped,
    totals_in,
    warm_memory,
)
from tests.bench.make_logs import write_logs
from tests.bench.result import Result

TITLE = "Parquet flow logs"
ORDER = 50

ROWS = 10_000_000
THREADS = 2
MUST = 1.5
DATA = Path("bench-data")
COLUMNS = (
    "version", "account_id", "interface_id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets",
    "bytes", "start", "end", "action", "log_status",
)  # fmt: skip


def duckdb(path: str, threads: int) -> Measured:
    """DuckDB: GROUP BY the service key, without the observer."""
    import duckdb as engine

    connection = engine.connect()
    connection.execute(f"SET threads={threads}")
    started = time.perf_counter()
    connection.execute(
        f"""CREATE TEMP TABLE result AS
        SELECT CASE WHEN dstport < 32768 THEN srcaddr ELSE dstaddr END AS client,
               CASE WHEN dstport < 32768 THEN dstaddr ELSE srcaddr END AS server,
               least(srcport, dstport) AS port, protocol, action,
               count(*) AS records, {both_ways("dstport < 32768")},
               min("start") AS first, max("end") AS last
        FROM read_parquet('{path}') WHERE log_status = 'OK' GROUP BY ALL"""
    )
    elapsed, peak = stopped(started)
    return elapsed, peak, totals_in(connection)


def make(path: Path) -> None:
    """The rows of the text bench as Parquet: documented names and types, zstd pages, a million rows a row group."""
    import duckdb as engine

    logs = DATA / f"flows-{ROWS}.log"
    if not logs.exists():
        partial = logs.with_suffix(".partial")
        write_logs(partial, ROWS)
        partial.replace(logs)
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in zip(COLUMNS, NAMES.values(), strict=True))
    partial = path.with_suffix(".partial")
    connection = engine.connect()
    connection.execute("SET enable_progress_bar=false")
    connection.execute(
        f"""COPY (SELECT * FROM read_csv('{logs}', delim=' ', header=false, nullstr='-', columns={{{columns}}}))
        TO '{partial}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 1000000)"""
    )
    partial.replace(path)


def once(engine: str, path: Path) -> dict[str, object]:
    """One fresh process."""
    warm_memory()
    command = [sys.executable, "-m", "tests.bench.works.parquet", engine, str(path)]
    found: dict[str, object] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def run(repeats: int) -> Result:
    """Both engines in turn, `repeats` times after one that is not counted."""
    DATA.mkdir(exist_ok=True)
    path = DATA / f"flows-{ROWS}.parquet"
    if not path.exists():  # by a process of its own, which gives its memory back
        subprocess.run([sys.executable, "-m", "tests.bench.works.parquet", "make", str(path)], check=True)
    engines = ("flowctl", "DuckDB")
    runs: dict[str, list[dict[str, object]]] = {name: [] for name in engines}
    forget_pages([str(path)])
    for turn in range(repeats + 1):
        for name in engines:
            done = once(name, path)
            if turn:
                runs[name].append(done)
    seconds = {name: statistics.median(float(str(r["seconds"])) for r in runs[name]) for name in engines}
    ratio = seconds["DuckDB"] / seconds["flowctl"]
    lines = [
        "| engine | seconds | fastest to slowest | peak MB | flowctl is |",
        "|---|---|---|---|---|",
    ]
    for name in engines:
        times = sorted(float(str(r["seconds"])) for r in runs[name])
        peak = statistics.median(int(str(r["peak_mb"])) for r in runs[name])
        faster = "" if name == "flowctl" else f"{ratio:.1f}x"
        lines.append(f"| {name} | {seconds[name]:.2f} | {times[0]:.2f} to {times[-1]:.2f} | {peak:.0f} | {faster} |")
    totals = [r["totals"] for name in engines for r in runs[name]]
    agree = all(total == totals[0] for total in totals)
    lines += [
        "",
        f"{ROWS:,} records ({path.stat().st_size / 1e6:,.0f} MB, zstd pages, a million rows in a row group), {THREADS} "
        f"threads, fresh processes in turn, {repeats} runs each after one that is not counted, medians; {WARMED}. "
        "flowctl keeps one row for each observer and settles directions, DuckDB groups by the service key alone; both "
        f"count packets and bytes of replies apart. Totals agree: {'yes' if agree else 'NO'}.",
    ]
    broken = [] if agree else ["Parquet: the totals of flowctl and DuckDB disagree"]
    if ratio < MUST:
        broken.append(f"Parquet: {ratio:.2f}x of DuckDB, must be {MUST}x")
    return Result(lines, broken)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
        raise SystemExit
    if sys.argv[1] == "flowctl":
        import pyarrow.parquet  # noqa: F401  (imports are not timed, for no engine)

    found_seconds, found_peak, found_totals = {"flowctl": flowctl, "DuckDB": duckdb}[sys.argv[1]](sys.argv[2], THREADS)
    print(json.dumps({"seconds": found_seconds, "peak_mb": found_peak, "totals": found_totals}))
