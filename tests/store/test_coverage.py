"""What logs say about themselves survives the store: times covered, records and packets lost, what records lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzers.store.upkeep import compact, export_parquet, forget
from tests.shapes.test_transit_gateway import both_ways, write
from tests.store.logs import read, take

MEMORY, THREADS = 256 << 20, 2
DAY = 1_767_225_600  # 2026-01-01T00:00:00Z


def line(interface: str, start: int, status: str = "OK") -> str:
    if status == "OK":
        return f"2 1 {interface} 10.0.0.1 10.0.0.2 40000 443 6 1 100 {DAY + start} {DAY + start + 59} ACCEPT OK\n"
    return f"2 1 {interface} - - - - - - - {DAY + start} {DAY + start + 59} - {status}\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two flow logs, an object with a wrong row, a transit gateway; hours idle, hours missing, records lost."""
    folder = tmp_path / "in"
    folder.mkdir()
    for log, step in (("fl-0a", 60), ("fl-0b", 120)):
        for part in range(3):
            times = range(part * 7200, part * 7200 + 3600, step)
            lines = [line("eni-1", at) for at in times] + [line("eni-2", at, "NODATA") for at in times]
            lines += [line("eni-1", times[5], "SKIPDATA"), "2 1 eni-1 nonsense\n"]
            name = f"123456789012_vpcflowlogs_eu-west-1_{log}_20260101T0{2 * part}00Z_{part:08x}.log"
            (folder / name).write_text("".join(lines))
    for part in range(2):
        ends = ("vpc-a", "10.0.0.5"), ("vpc-b", "10.1.0.9")
        write(folder / f"tgw-{part}.log", both_ways(*ends, 443, 60 * part, lost=f"{part} 2 3 4"))
    return folder


def test_coverage_survives_the_store_and_all_its_forms(logs: Path, tmp_path: Path) -> None:
    rows, report = read([str(logs)])
    assert {fact.flow_log for fact in report.windows if fact.gap_minutes} >= {"fl-0a", "fl-0b"}
    assert any(fact.nodata for fact in report.windows) and any(fact.skipdata for fact in report.windows)
    assert report.lost_packets == {
        "tgw-attach-1": {"no-route": 2, "blackhole": 8, "mtu-exceeded": 12, "ttl-expired": 16}
    }
    assert report.plain_sources == 6 and report.skips[0].samples
    store = tmp_path / "x.duckdb"
    for path in sorted(logs.iterdir(), reverse=True):
        take(store, [str(path)])
    assert read([], stores=(str(store),)) == (rows, report)
    export_parquet(str(store), tmp_path / "pq", MEMORY, THREADS)
    assert read([], stores=(str(tmp_path / "pq"),)) == (rows, report)
    compact(str(store), DAY + 7200, MEMORY, THREADS)
    assert read([], stores=(str(store),)) == (rows, report)


def test_half_from_a_store_and_half_from_files_is_the_whole(logs: Path, tmp_path: Path) -> None:
    whole = read([str(logs)])
    store = tmp_path / "x.duckdb"
    paths = sorted(str(path) for path in logs.iterdir())
    take(store, paths[::2])
    assert read(paths[1::2], stores=(str(store),)) == whole


def test_what_is_forgotten_is_told_of_no_more(logs: Path, tmp_path: Path) -> None:
    store = tmp_path / "x.duckdb"
    take(store, [str(logs)])
    forget(str(store), [str(logs / "*fl-0b*"), str(logs / "tgw*")], None, MEMORY, THREADS)
    left = [str(path) for path in sorted(logs.glob("*fl-0a*"))]
    assert read([], stores=(str(store),)) == read(left)
