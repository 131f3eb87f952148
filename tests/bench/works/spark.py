"""Spark local[2] over gzip objects: the kernels in mapInArrow against Spark SQL's own CSV parser and groupBy."""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.engines import NAMES
from tests.bench.make_logs import write_logs
from tests.bench.result import Result

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TITLE = "Spark"
ORDER = 70
MUST, AIM = 3.5, 5.0
ROWS = int(os.environ.get("BENCH_ROWS", "10000000"))
OBJECTS = 40
DATA = Path("bench-data")
SLICE = 3600
PROMISED, KEPT = "service key", "what the store keeps"
KEYS = {
    PROMISED: ["client", "server", "port", "protocol", "action"],
    KEPT: ["slice", "interface", "client", "server", "port", "protocol", "action"],
}


def run(repeats: int) -> Result:
    """Fresh processes in turn; see the contract of the bench."""
    folder = _objects()
    size = sum(path.stat().st_size for path in folder.iterdir())
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {(e, k): [] for k in KEYS for e in ENGINES}
    for _ in range(repeats):
        for engine, key in runs:
            runs[engine, key].append(_once(engine, key, folder))
    lines = [
        f"{ROWS:,} records as {OBJECTS} gzip objects ({size / 1e6:,.0f} MB), `local[2]`, fresh processes in turn,",
        f"{repeats} runs each, medians. Spark is started and has done the same query twice before the clock starts, so",
        "that the JVM's compiler and ours are warm. Both end in Spark's `noop` sink, which takes every merged row; by",
        "the service key, flowctl merges what it kept apart by interface. Core seconds are those of the JVM and of the",
        "Python workers together.",
        "",
        "| merged by | Spark SQL s | flowctl s | ratio | core seconds | flowctl's | gz MB a core second, flowctl |",
        "|---|---|---|---|---|---|---|",
    ]
    broken: list[str] = []
    for key in KEYS:
        seconds, cores = (
            {e: statistics.median(r[what] for r in runs[e, key]) for e in ENGINES}
            for what in ("seconds", "core_seconds")
        )
        ratio = seconds["sql"] / seconds["flowctl"]
        lines.append(
            f"| {key} | {seconds['sql']:.2f} | {seconds['flowctl']:.2f} | {ratio:.1f}x | {cores['sql']:.1f} "
            f"| {cores['flowctl']:.1f} | {size / 1e6 / cores['flowctl']:.0f} |"
        )
        totals = {e: runs[e, key][0]["totals"] for e in ENGINES}
        if totals["sql"] != totals["flowctl"]:
            broken.append(f"Spark, {key}: the totals disagree: {totals}")
        if key == PROMISED and ratio < MUST:
            broken.append(f"Spark, {key}: {ratio:.1f}x of Spark SQL, must be {MUST}x")
    agree = "NO" if any("totals" in line for line in broken) else "yes"
    rate = size / 1e6 / statistics.median(r["core_seconds"] for r in runs["flowctl", KEPT])
    lines += [
        "",
        f"Must {MUST}x by the service key, aim {AIM}x. Totals agree: {agree}.",
        f"So 1 TB of gzip objects takes {1e6 / rate / 3600:.1f} core hours into the store, see docs/scale.md.",
    ]
    return Result(lines, broken)


def core_seconds() -> float:
    """User and system time of this process's living descendants, and of those of theirs that have ended."""
    found: dict[int, list[tuple[int, float]]] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            facts = (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        found.setdefault(int(facts[1]), []).append(
            (int(process.name), sum(map(int, facts[11:15])) / os.sysconf("SC_CLK_TCK"))
        )

    def below(parent: int) -> float:
        return sum(own + below(child) for child, own in found.get(parent, ()))

    return below(os.getpid())


def _objects() -> Path:
    """The records in gzip objects, as `gzip -6` packs them."""
    folder = DATA / f"flows-{ROWS}-gz{OBJECTS}"
    if folder.is_dir():
        return folder
    whole = DATA / f"flows-{ROWS}.log"
    if not whole.exists():
        partial = whole.with_suffix(".partial")
        write_logs(partial, ROWS)
        partial.replace(whole)
    making = folder.with_suffix(".partial")
    making.mkdir(exist_ok=True)
    with whole.open("rb") as lines:
        for number in range(OBJECTS):
            size = whole.stat().st_size * (number + 1) // OBJECTS - lines.tell()
            text = lines.read(max(size, 0)) + lines.readline()
            (making / f"part-{number:02d}.log.gz").write_bytes(gzip.compress(text, 6, mtime=0))
    making.rename(folder)
    return folder


def _once(engine: str, key: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.works.spark", engine, key, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"Spark ({engine}) failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _flowctl(session: SparkSession, key: str, folder: Path) -> DataFrame:
    """What `flowctl ingest --engine spark` runs, up to the merged rows; by the service key alone where so asked."""
    from pyspark.sql import functions as f

    from analyzers.ingest.aggregate import IngestOptions
    from analyzers.ingest.sources import expand
    from analyzers.spark.job import _pack, balanced, merged, partials
    from analyzers.spark.object_group import GroupOptions

    sources, _ = expand([str(folder)])
    groups = [[_pack(one) for one in group] for group in balanced(sources, 2)]
    whole = key == PROMISED
    rows = partials(session, groups, GroupOptions(IngestOptions(), 1 << 40 if whole else SLICE))
    rows = rows.where("meta < 131072")  # without the facts about objects
    return merged(rows.drop("observer").withColumn("observer", f.lit("")) if whole else rows)


def _sql(session: SparkSession, key: str, folder: Path) -> DataFrame:
    """Declared types, the CSV parser, the same normalisation to the port below the ephemeral range."""
    from pyspark.sql import functions as f

    kinds = {"INTEGER": "int", "BIGINT": "bigint", "VARCHAR": "string"}
    rows = session.read.csv(
        str(folder), sep=" ", nullValue="-", schema=", ".join(f"{n} {kinds[k]}" for n, k in NAMES.items())
    ).where("status = 'OK'")
    forward = f.col("dport") < 32768
    rows = rows.select(
        f.when(forward, f.col("src")).otherwise(f.col("dst")).alias("client"),
        f.when(forward, f.col("dst")).otherwise(f.col("src")).alias("server"),
        f.least("sport", "dport").alias("port"),
        (f.col("start") - f.col("start") % SLICE).alias("slice"),
        "interface", "protocol", "action", "packets", "bytes", "start", "finish",
    )  # fmt: skip
    return rows.groupBy(*KEYS[key]).agg(
        f.count("*").alias("records"),
        f.sum("packets").alias("packets"),
        f.sum("bytes").alias("bytes"),
        f.min("start").alias("first"),
        f.max("finish").alias("last"),
    )


ENGINES: dict[str, Callable[[SparkSession, str, Path], DataFrame]] = {"sql": _sql, "flowctl": _flowctl}


def _totals(engine: str, rows: DataFrame) -> dict[str, int]:
    both = {
        "sql": ("packets", "bytes"),
        "flowctl": ("forward_packets + backward_packets", "forward_bytes + backward_bytes"),
    }
    packets, octets = both[engine]
    found = rows.selectExpr(
        "count(*) groups", "sum(records) records", f"sum({packets}) packets", f"sum({octets}) bytes",
        "min(first) first", "max(last) last",
    ).collect()[0]  # fmt: skip
    return {name: int(found[name]) for name in ("groups", "records", "packets", "bytes", "first", "last")}


def main(engine: str, key: str, folder: str) -> None:
    """One engine, one fresh process."""
    from analyzers.spark.job import open_session

    session = open_session("local[2]")
    session.conf.set("spark.sql.shuffle.partitions", "4")  # as flowctl sets it; the default of 200 is worse for both
    rows = ENGINES[engine](session, key, Path(folder))
    totals = _totals(engine, rows)
    rows.write.format("noop").mode("overwrite").save()
    before = core_seconds()
    started = time.perf_counter()
    rows.write.format("noop").mode("overwrite").save()
    seconds = time.perf_counter() - started
    cores = core_seconds() - before
    session.stop()
    print(json.dumps({"seconds": seconds, "core_seconds": cores, "totals": totals}))


if __name__ == "__main__":
    main(*sys.argv[1:])
