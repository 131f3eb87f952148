"""`make bench`: flowctl, DuckDB and Polars in turn on the same file, fresh processes, and a check that they agree."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.bench.engines import ENGINES
from tests.bench.make_logs import write_logs

ROWS = int(os.environ.get("BENCH_ROWS", "10000000"))
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))
THREADS = 2
DATA = Path("bench-data")
DOCUMENT = Path("docs/benchmarks.md")


def once(engine: str, path: Path) -> dict[str, object]:
    """One fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.engines", engine, str(path), str(THREADS)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{engine} failed:\n{done.stderr}")
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print the table and write it to docs/benchmarks.md; exits with 1 when the tables disagree."""
    DATA.mkdir(exist_ok=True)
    path = DATA / f"flows-{ROWS}.log"
    if not path.exists():
        print(f"making {path} ...", flush=True)
        partial = path.with_suffix(".partial")
        write_logs(partial, ROWS)
        partial.replace(path)
    runs: dict[str, list[dict[str, object]]] = {name: [] for name in ENGINES}
    for name in ENGINES:
        once(name, path)  # warms the page cache and the compiled kernels
    for _ in range(REPEATS):
        for name in ENGINES:
            runs[name].append(once(name, path))
    totals = {name: results[0]["totals"] for name, results in runs.items()}
    agree = all(total == totals["flowctl"] for total in totals.values())
    seconds = {name: statistics.median(float(str(r["seconds"])) for r in results) for name, results in runs.items()}
    lines = [
        "# Benchmarks",
        "",
        f"`make bench`: {ROWS:,} records in the default format ({path.stat().st_size / 1e6:,.0f} MB),",
        f"aggregated to the service key; {THREADS} threads, fresh processes in turn, {REPEATS} runs each after one",
        "that is not",
        "counted, medians. flowctl's time includes merging the threads' tables and settling directions, and it keeps",
        "one row for each observer, which the others do not.",
        "",
        f"Python {platform.python_version()}, numba {version('numba')}, duckdb {version('duckdb')}, "
        f"polars {version('polars')}, {os.cpu_count()} cores.",
        "",
        "| engine | seconds | fastest to slowest | peak MB | flowctl is |",
        "|---|---|---|---|---|",
    ]
    for name, results in runs.items():
        times = sorted(float(str(r["seconds"])) for r in results)
        peak = statistics.median(int(str(r["peak_mb"])) for r in results)
        ratio = "" if name == "flowctl" else f"{seconds[name] / seconds['flowctl']:.1f}x"
        lines.append(f"| {name} | {seconds[name]:.2f} | {times[0]:.2f} to {times[-1]:.2f} | {peak:.0f} | {ratio} |")
    lines += ["", f"Totals agree: {'yes' if agree else 'NO'} ({totals['flowctl']})", ""]
    print("\n".join(lines))
    DOCUMENT.write_text("\n".join(lines), encoding="utf-8")
    if not agree:
        raise SystemExit(f"the tables disagree: {totals}")


if __name__ == "__main__":
    main()
