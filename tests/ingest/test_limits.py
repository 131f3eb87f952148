"""Where numbers end: interfaces, networks, windows, address space."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analyzers.ingest.sources import InputError
from analyzers.ingest.worker_tables import WorkerTables
from tests.ingest.test_text_kernel import read

LINE = "2 1 {} 10.0.0.1 10.1.0.1 40000 443 6 1 100 {} {} ACCEPT OK\n"


@pytest.mark.parametrize("threads", [1, 2])
def test_more_interfaces_than_windows(tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("worker_tables", "windows"):
        monkeypatch.setattr(f"analyzers.ingest.{module}.MAX_WINDOWS", 1 << 12)
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 100_000)
    hours = range(1_700_000_000, 1_700_000_000 + 3 * 3600, 3600)
    lines = [LINE.format(f"eni-{i}", hour, hour + 60) for hour in hours for i in range(5000)]
    (tmp_path / "a.log").write_text("".join(lines))
    flows, report = read(tmp_path / "a.log", threads=threads)
    assert (report.records, len(flows.observers)) == (15_000, 5001)
    assert report.windows == ()  # of so many interfaces, slots are too long to find a gap in


def test_more_networks_than_can_be_numbered(tmp_path: Path) -> None:
    header = "vpc-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n"
    line = "vpc-{} eni-1 10.0.0.1 10.1.0.1 40000 443 6 1 100 1700000000 1700000010 ACCEPT OK\n"
    (tmp_path / "a.log").write_text(header + "".join(line.format(i) for i in range(70_000)))
    with pytest.raises(InputError, match="63998 networks; give the input in parts"):
        read(tmp_path / "a.log")


def test_interfaces_of_the_inventory_keep_their_networks_when_tables_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.ingest.worker_tables.RESERVED_NAMES", 1 << 11)
    tables = WorkerTables(("a", "b", "c"), {f"eni-{i}": 1 + i % 3 for i in range(9000)})
    found = dict(zip(tables.observer_names(), tables.tables.observer_network.tolist(), strict=False))
    assert len(found) == 9001 and all(found[f"eni-{i}"] == 1 + i % 3 for i in range(9000))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_little_address_space(tmp_path: Path) -> None:
    lines = [LINE.format(f"eni-{i % 50}", 1_700_000_000, 1_700_000_060).replace("443", str(i)) for i in range(30_000)]
    (tmp_path / "a.log").write_text("".join(lines))
    limited = f"ulimit -v 4000000; exec {sys.executable} -m flowctl map {tmp_path / 'a.log'}"
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "30,000" in done.stdout
