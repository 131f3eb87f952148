"""Flow-log text: flowctl, DuckDB and Polars in turn on the same files, fresh processes, and the same totals."""

from __future__ import annotations

import gzip
import os
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tests.bench.distinct_logs import write_distinct
from tests.bench.engines import WARMED, in_turn, same_totals
from tests.bench.make_logs import write_logs
from tests.bench.result import Result

TITLE = "Flow-log text"
ORDER = 10

ROWS = int(os.environ.get("BENCH_ROWS", "10000000"))
OBJECTS = 40
DATA = Path("bench-data")
RIVALS = ("DuckDB", "Polars")


@dataclass(frozen=True)
class Work:
    """One set of files. `must`: how many times faster than the better rival; `memory`: the share of DuckDB's peak."""

    name: str
    files: Callable[[], str]
    must: float
    memory: float | None = None


def plain() -> str:
    """One plain file."""
    path = DATA / f"flows-{ROWS}.log"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        write_logs(partial, ROWS)
        partial.replace(path)
    return str(path)


def _press(part: tuple[Path, list[str]]) -> None:
    path, lines = part
    path.write_bytes(gzip.compress("".join(lines).encode(), 6))


def objects() -> str:
    """The same records as gzip objects, as S3 has them; a pattern that every engine understands."""
    folder = DATA / f"flows-{ROWS}-gz"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        partial.mkdir(exist_ok=True, parents=True)
        with open(plain(), encoding="ascii") as lines, ProcessPoolExecutor(2) as pool:  # noqa: PTH123  (read in parts)
            size = -(-ROWS // OBJECTS)
            for at in range(0, OBJECTS, 2):
                parts = [(partial / f"part-{at + i:03}.log.gz", list(islice(lines, size))) for i in range(2)]
                list(pool.map(_press, parts))
        partial.rename(folder)
    return f"{folder}/*.gz"


def many_keys() -> str:
    """Records of half as many distinct service keys, each twice."""
    path = DATA / f"distinct-{ROWS}.log"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        write_distinct(partial, ROWS // 2)
        half = partial.read_bytes()
        with partial.open("ab") as out:
            out.write(half)
        partial.replace(path)
    return str(path)


WORKS = (
    Work(f"{ROWS // 1_000_000} M rows, plain", plain, 6.0, 0.5),
    Work(f"the same as {OBJECTS} gz objects", objects, 4.0, 0.5),
    Work(f"{ROWS // 2_000_000} M distinct keys, plain", many_keys, 2.5),
)
INFLATE_MUST = 0.55


def run(repeats: int) -> Result:
    """One table; see the paragraph it ends with."""
    lines = [
        "| work | flowctl s | DuckDB s | Polars s | against the better | peak MB | DuckDB MB | same totals |",
        "|---|---|---|---|---|---|---|---|",
    ]
    broken: list[str] = []
    share = ""
    for work in WORKS:
        pattern = work.files()
        engines = ("flowctl", *RIVALS, *(("inflate",) if pattern.endswith(".gz") else ()))
        runs = in_turn(engines, pattern, repeats)
        seconds = {name: statistics.median(r.seconds for r in found) for name, found in runs.items()}
        peak = {name: statistics.median(r.peak_mb for r in found) for name, found in runs.items()}
        ratio = min(seconds[name] for name in RIVALS) / seconds["flowctl"]
        same = same_totals({name: runs[name] for name in ("flowctl", *RIVALS)})
        lines.append(
            f"| {work.name} | {seconds['flowctl']:.2f} | {seconds['DuckDB']:.2f} | {seconds['Polars']:.2f} "
            f"| {ratio:.1f}x (must: {work.must:g}x) | {peak['flowctl']:.0f} | {peak['DuckDB']:.0f} "
            f"| {'yes' if same else 'NO'} |"
        )
        if ratio < work.must:
            broken.append(f"{work.name}: {ratio:.2f}x, not {work.must:g}x")
        if not same:
            broken.append(f"{work.name}: the totals differ")
        if work.memory and peak["flowctl"] > work.memory * peak["DuckDB"]:
            broken.append(f"{work.name}: {peak['flowctl'] / peak['DuckDB']:.2f} of DuckDB's memory")
        if "inflate" in seconds:
            part = seconds["inflate"] / seconds["flowctl"]
            share = f"Inflating the gz objects alone takes {seconds['inflate']:.2f} s, {part:.2f} of flowctl's time"
            share += f" (must: {INFLATE_MUST})."
            if part < INFLATE_MUST:
                broken.append(f"gz: {part:.2f} of the speed of inflating alone, not {INFLATE_MUST}")
    lines += [
        "",
        "Aggregation to the service key. 2 threads, a fresh process each, in turn, medians of "
        f"{repeats}; {WARMED}. Imports and the loading of compiled kernels are not counted, merging the threads' "
        "tables and settling directions are; peak memory is that when the clock stops. All count the replies' packets "
        "and bytes apart, each in the way that is its fastest. flowctl keeps a row for each interface that saw a flow, "
        "the others do not; its table stands in rows, of which columns are made when asked for.",
        share,
    ]
    return Result(lines, broken)
