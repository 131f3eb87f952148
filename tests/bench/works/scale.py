"""How the time and the memory of aggregating text grow: with records, and with keys. Fresh processes, DuckDB beside."""

from __future__ import annotations

import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.engines import WARMED, in_turn, same_totals
from tests.bench.make_logs import write_logs
from tests.bench.result import Result
from tests.bench.works.text import DATA, ROWS, plain

TITLE = "How text scales"
ORDER = 15

MILLION = 1_000_000
TUPLES = 300_000
WORKLOADS = 20_000
ENGINES = ("flowctl", "DuckDB")


@dataclass(frozen=True)
class Part:
    """One file: records of so many service tuples."""

    rows: int
    tuples: int
    seed: int = 1

    @property
    def path(self) -> Path:
        """Where it lies once it is made."""
        return DATA / f"scale-{self.rows}-{self.tuples}-{self.seed}.log"


@dataclass(frozen=True)
class Point:
    """One measurement, of the files together."""

    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        """Records of all files."""
        return sum(part.rows for part in self.parts)

    def pattern(self) -> str:
        """What every engine understands as these files."""
        rows, tuples = self.parts[0].rows, self.parts[0].tuples
        return str(DATA / f"scale-{rows}-{tuples}-*.log") if len(self.parts) > 1 else str(self.parts[0].path)


BY_ROWS = (
    Point((Part(ROWS // 10, TUPLES),)),
    Point((Part(ROWS * 3 // 10, TUPLES),)),
    Point((Part(ROWS, TUPLES),)),
    Point(tuple(Part(ROWS, TUPLES, seed) for seed in (1, 2, 3))),
)
BY_KEYS = tuple(Point((Part(ROWS, tuples),)) for tuples in (10_000, TUPLES, MILLION, 2 * MILLION, 10 * MILLION))


def make(part: Part) -> None:
    """Write a file, unless it is there."""
    if part.path.exists():
        return
    if part == Part(ROWS, TUPLES):  # what text.py measures with
        part.path.hardlink_to(plain())
        return
    partial = part.path.with_suffix(".partial")
    write_logs(partial, part.rows, part.tuples, WORKLOADS, part.seed)
    partial.replace(part.path)


def run(repeats: int) -> Result:
    """Two tables; see the contract of the bench."""
    points = dict.fromkeys((*BY_ROWS, *BY_KEYS))
    parts = sorted({part for point in points for part in point.parts}, key=lambda part: -part.rows)
    DATA.mkdir(exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(make, parts))
    broken: list[str] = []
    found = {point: measured(point, min(repeats, 3), broken) for point in points}
    head = "| records | keys | flowctl s | M records/s | ns a record | peak MB | DuckDB s | ratio | DuckDB MB |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|", *(found[point] for point in BY_ROWS), ""]
    lines += ["The same number of records, of ever more service keys:", ""]
    lines += [head, "|---|---|---|---|---|---|---|---|---|", *(found[point] for point in BY_KEYS), ""]
    lines += [
        f"2 threads, fresh processes in turn, medians; {WARMED}.",
        "Time grows with the records, each of which is read once; the first million costs most, because its rows are",
        "new, and the 30 M are three sets of keys. It grows with the keys by what memory costs: a record finds its row",
        "in a table that no cache holds, and each new row (64 bytes, 5 to 11 of the index) is part of a page that was",
        "never touched before. A key that two interfaces saw is two rows. Memory is the 50 MB of the process and those",
        "rows, once for each thread that met the key; the number of records adds nothing to it.",
    ]
    return Result(lines, broken)


def measured(point: Point, repeats: int, broken: list[str]) -> str:
    """A line of the table."""
    runs = in_turn(ENGINES, point.pattern(), repeats)
    ours, theirs = (statistics.median(run.seconds for run in runs[name]) for name in ENGINES)
    our_peak, their_peak = (statistics.median(run.peak_mb for run in runs[name]) for name in ENGINES)
    keys = runs["flowctl"][0].totals["groups"]
    if not same_totals(runs):
        broken.append(f"{point.rows} records of {keys} keys: the totals differ")
    return (
        f"| {point.rows:,} | {keys:,} | {ours:.2f} "
        f"| {point.rows / ours / MILLION:.1f} | {ours / point.rows * 1e9:.0f} | {our_peak:.0f} "
        f"| {theirs:.2f} | {theirs / ours:.1f}x | {their_peak:.0f} |"
    )
