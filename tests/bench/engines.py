"""One engine, one file, one fresh process: prints seconds, peak memory and the totals that must agree.

Every engine is timed from the call to the finished table, imports excluded. The rows are normalised to the service
port: the side below the ephemeral range serves. All use as many threads as they are told.
"""

from __future__ import annotations

import glob
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = {
    "version": "INTEGER", "account": "VARCHAR", "interface": "VARCHAR", "src": "VARCHAR", "dst": "VARCHAR",
    "sport": "INTEGER", "dport": "INTEGER", "protocol": "INTEGER", "packets": "BIGINT", "bytes": "BIGINT",
    "start": "BIGINT", "finish": "BIGINT", "action": "VARCHAR", "status": "VARCHAR",
}  # fmt: skip

SUMS = ("records", "packets", "bytes", "reply_packets", "reply_bytes")

Totals = dict[str, int]
Measured = tuple[float, int, Totals]
"""Seconds, peak memory in MB when the clock stopped, totals."""


@dataclass(frozen=True)
class Run:
    """What one fresh process needed and found."""

    seconds: float
    peak_mb: int
    totals: Totals


def stopped(started: float) -> tuple[float, int]:
    """Seconds since `started`, and the process's peak memory so far in MB: checking the totals counts in neither."""
    return time.perf_counter() - started, peak_memory() >> 20


def peak_memory() -> int:
    """Bytes that the process had at most. Linux counts the process that started it into what getrusage says."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)[0]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


_TOUCH = """
import mmap
space = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
space.madvise(mmap.MADV_HUGEPAGE)
for page in range(0, len(space), mmap.PAGESIZE):
    space[page] = 1
"""


WARMED = "before each, 1 GiB of the machine's memory was touched and given back"
"""What the document says of `warm_memory`."""


def warm_memory() -> None:
    """Have 1 GiB touched and given back by a process of its own: before each run of each engine, so that none pays for
    memory that the machine below a virtual one has taken back (touched again, it costs twenty times as much)."""
    subprocess.run([sys.executable, "-I", "-S", "-c", _TOUCH], check=True)


def once(engine: str, path: str, threads: int = 2) -> Run:
    """One fresh process. Raises SystemExit with what it said when it failed."""
    warm_memory()
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.engines", engine, path, str(threads)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{engine} failed on {path}:\n{done.stderr}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def forget_pages(paths: Iterable[str]) -> None:
    """Take files out of the page cache, so that the first turn fills it by reading, as everybody's does: what was
    written there lies in smaller and more scattered pages."""
    for path in paths:
        with Path(path).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_turn(engines: Sequence[str], pattern: str, repeats: int) -> dict[str, list[Run]]:
    """`repeats` runs of each engine, one after the other, after a turn that warms the page cache and is not counted."""
    forget_pages(glob.glob(pattern))  # noqa: PTH207  (the pattern is absolute or relative)
    turns = [{name: once(name, pattern) for name in engines} for _ in range(repeats + 1)]
    return {name: [turn[name] for turn in turns[1:]] for name in engines}


def same_totals(runs: Mapping[str, list[Run]]) -> bool:
    """Whether all runs found the same."""
    totals = [run.totals for found in runs.values() for run in found]
    return all(one == totals[0] for one in totals)


def flowctl(path: str, threads: int) -> Measured:
    """Ours: the whole way from bytes to the FlowTable, one row for each observer, directions settled.

    Where nothing was left to settle, the table stands in rows until a column is asked for.
    """
    import numpy as np

    from analyzers.ingest.aggregate import IngestOptions, aggregate

    aggregate(["pcaps/shop-v2.log.gz", "pcaps/shop-v5.log.gz"], IngestOptions(threads=threads))  # loads kernels
    started = time.perf_counter()
    flows, _ = aggregate([path], IngestOptions(threads=threads))
    elapsed, peak = stopped(started)
    key = [flows[c] for c in ("client_hi", "client_lo", "server_hi", "server_lo", "port", "protocol", "verdict")]
    order = np.lexsort(key)
    fresh = np.ones(len(order), bool)
    fresh[1:] = np.logical_or.reduce([k[order][1:] != k[order][:-1] for k in key])
    totals = {
        "groups": int(fresh.sum()),
        "records": int(flows["records"].sum()),
        "packets": int(flows["packets"].sum()),
        "bytes": int(flows["bytes"].sum()),
        "reply_packets": int(flows["reply_packets"].sum()),
        "reply_bytes": int(flows["reply_bytes"].sum()),
        "first": int(flows["first"].min()),
        "last": int(flows["last"].max()),
    }
    return elapsed, peak, totals


def duckdb(path: str, threads: int) -> Measured:
    """DuckDB: read_csv with declared types and GROUP BY the service key (without the observer: less work).

    What the server sent is counted apart, as flowctl does."""
    import duckdb as engine

    connection = engine.connect()
    connection.execute(f"SET threads={threads}")
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in NAMES.items())
    started = time.perf_counter()
    connection.execute(
        f"""CREATE TEMP TABLE result AS
        SELECT CASE WHEN dport < 32768 THEN src ELSE dst END AS client,
               CASE WHEN dport < 32768 THEN dst ELSE src END AS server,
               least(sport, dport) AS port, protocol, action,
               count(*) AS records, {both_ways("dport < 32768")},
               min(start) AS first, max(finish) AS last
        FROM read_csv('{path}', delim=' ', header=false, nullstr='-', columns={{{columns}}})
        WHERE status = 'OK' GROUP BY ALL"""
    )
    elapsed, peak = stopped(started)
    return elapsed, peak, totals_in(connection)


def both_ways(forward: str) -> str:
    """DuckDB's sums of packets and bytes of the records that are `forward`, and of those that are replies."""
    return ", ".join(
        f"sum(CASE WHEN {forward} THEN {one} ELSE {other} END) AS {name}{counter}"
        for counter in ("packets", "bytes")
        for name, one, other in (("", counter, 0), ("reply_", 0, counter))
    )


def totals_in(connection: Any) -> Totals:
    """Of DuckDB's table `result`."""
    sums = ", ".join(f"sum({name})" for name in SUMS)
    row = connection.execute(f"SELECT count(*), {sums}, min(first), max(last) FROM result").fetchone()
    return dict(zip(("groups", *SUMS, "first", "last"), map(int, row), strict=True))


def polars(path: str, threads: int) -> Measured:
    """Polars: scan_csv and group_by on the streaming engine."""
    import os

    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as engine

    kinds = {"INTEGER": engine.Int32, "BIGINT": engine.Int64, "VARCHAR": engine.String}
    forward = engine.col("dport") < 32768
    started = time.perf_counter()
    result = (
        engine.scan_csv(
            path, separator=" ", has_header=False, null_values="-", schema={n: kinds[k] for n, k in NAMES.items()}
        )
        .filter(engine.col("status") == "OK")
        .group_by(
            engine.when(forward).then(engine.col("src")).otherwise(engine.col("dst")).alias("client"),
            engine.when(forward).then(engine.col("dst")).otherwise(engine.col("src")).alias("server"),
            engine.min_horizontal("sport", "dport").alias("port"),
            "protocol",
            "action",
        )
        .agg(
            engine.len().alias("records"),
            *(
                engine.when(way).then(counter).otherwise(0).sum().alias(f"{name}{counter}")
                for counter in ("packets", "bytes")
                for name, way in (("", forward), ("reply_", ~forward))
            ),
            engine.col("start").min().alias("first"),
            engine.col("finish").max().alias("last"),
        )
        .collect(engine="streaming")
    )
    elapsed, peak = stopped(started)
    totals = {
        "groups": result.height,
        **{name: int(result[name].sum()) for name in SUMS},
        "first": int(result["first"].min()),  # type: ignore[arg-type]
        "last": int(result["last"].max()),  # type: ignore[arg-type]
    }
    return elapsed, peak, totals


def inflate(path: str, threads: int) -> Measured:
    """Nothing but isal, in pieces that stay in the cache, on the same threads: what a gz reader cannot beat."""
    from concurrent.futures import ThreadPoolExecutor

    from analyzers.ingest.sources import inflate_into

    def size(name: str) -> int:
        memory = memoryview(bytearray(1 << 18))
        with Path(name).open("rb", buffering=0) as stream:
            return sum(inflate_into(stream, b"", lambda: memory))

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        total = sum(pool.map(size, sorted(glob.glob(path))))  # noqa: PTH207  (the pattern is absolute or relative)
    return *stopped(started), {"bytes": total}


ENGINES: dict[str, Callable[[str, int], Measured]] = {
    "flowctl": flowctl,
    "DuckDB": duckdb,
    "Polars": polars,
    "inflate": inflate,
}


if __name__ == "__main__":
    found_seconds, found_peak, found_totals = ENGINES[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    print(json.dumps({"seconds": found_seconds, "peak_mb": found_peak, "totals": found_totals}))
