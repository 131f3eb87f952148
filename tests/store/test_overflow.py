"""What outgrows the memory goes through the database, and nothing in the answer tells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.store.memory import Shares, divide
from analyzers.store.spill import Spill
from tests.store.logs import FIELDS, START, read, take, write_logs
from tests.store.test_round_trip import INVENTORY

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Tables that are full whenever they ask for room; yields the numbers of rows of each emptying."""
    monkeypatch.setattr("analyzers.ingest.overflow.divide", lambda *_: Shares(1, 128 << 20, 1, 1 << 30))
    taken: list[int] = []
    take_rows = Spill.take

    def counting(self: Spill, *arguments: object) -> None:
        before = self.rows
        take_rows(self, *arguments)  # type: ignore[arg-type]
        taken.append(self.rows - before)

    monkeypatch.setattr(Spill, "take", counting)
    yield taken


@pytest.mark.parametrize("threads", [1, 2])
def test_logs(tmp_path: Path, tiny: list[int], monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 500_000)
    write_logs(tmp_path / "in", 3, 30_000, 21)
    found = read([str(tmp_path / "in")], threads=threads, **INVENTORY)
    assert len(tiny) > 3 and sum(tiny) > 30_000
    monkeypatch.undo()
    assert found == read([str(tmp_path / "in")], threads=1, **INVENTORY)


def test_the_columns_of_a_large_result_belong_together(tmp_path: Path, tiny: list[int]) -> None:
    """The database hands its row groups out to several threads."""
    count = 800_000
    with (tmp_path / "log").open("w") as log:
        for i in range(count):
            client = f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"
            log.write(
                f"2 1 eni-1 {client} 10.200.0.1 40000 443 6 {i % 97 + 1} {i + 1} {START + i} {START + i} ACCEPT OK\n"
            )
    flows, report = aggregate([str(tmp_path / "log")], IngestOptions(threads=2))
    assert tiny and report.records == len(flows) == count
    number = (flows["client_lo"] & np.uint64(0xFF_FFFF)).astype(np.int64)
    assert len(np.unique(number)) == count
    for name, expected in {
        "bytes": number + 1, "packets": number % 97 + 1, "first": START + number, "last": START + number,
    }.items():  # fmt: skip
        assert np.array_equal(flows[name].astype(np.int64), expected), name


def test_captures(tmp_path: Path, tiny: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    names = [shutil.copy(ROOT / "pcaps" / "shop.pcap", tmp_path / f"{number}.pcap") for number in range(3)]
    names = [str(name) for name in names]
    found = read(names)
    assert len(tiny) > 1
    monkeypatch.undo()
    assert found == read(names)


def test_a_file_of_several_formats_is_read_again_from_the_beginning(
    tmp_path: Path, tiny: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 200_000)
    (path,) = write_logs(tmp_path / "in", 1, 20_000, 5)
    other = "dstport srcport dstaddr srcaddr protocol interface-id start end packets bytes\n"
    path.write_text(path.read_text() + other + "443 40000 10.0.0.2 10.0.0.1 6 eni-9 1700000000 1700000001 5 500\n")
    assert path.read_text().startswith(FIELDS)
    found = read([str(path)], threads=2)
    assert tiny
    monkeypatch.undo()
    assert found == read([str(path)], threads=1)


def test_stores_beside_sources_that_overflow(tmp_path: Path, tiny: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(p) for p in write_logs(tmp_path / "in", 2, 20_000, 9)]
    take(tmp_path / "x.duckdb", paths[:1])
    found = read(paths[1:], stores=(str(tmp_path / "x.duckdb"),))
    assert len(tiny) > 1
    monkeypatch.undo()
    assert found == read(paths)


def test_what_would_count_twice_is_told(tmp_path: Path) -> None:
    paths = [str(p) for p in write_logs(tmp_path / "in", 2, 300, 9)]
    store = tmp_path / "x.duckdb"
    take(store, paths)
    (tmp_path / "same.duckdb").symlink_to(store)
    _, report = aggregate([], IngestOptions(stores=(str(store), str(tmp_path / "same.duckdb"))))
    assert report.notes == (f"{tmp_path / 'same.duckdb'} is the same store as {store}: read once",)
    once = report.records
    flows, report = aggregate(paths[:1], IngestOptions(stores=(str(store),)))
    assert report.notes == (f"{paths[0]}: in a store too, so what it holds counts twice",)
    assert once < report.records == int(flows["records"].sum())


def test_a_result_that_outgrows_the_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(p) for p in write_logs(tmp_path / "in", 1, 3000, 9)]
    monkeypatch.setattr("analyzers.ingest.overflow.divide", lambda *_: Shares(1, 128 << 20, 1, 64 << 20))
    monkeypatch.setattr("analyzers.store.read.FLOW_BYTES", 1 << 20)
    rows, report = read(names)
    assert any(f"{len(rows):,} service keys" in note and "--memory" in note for note in report.notes)


def test_nothing_is_left_behind(tmp_path: Path, tiny: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    read([str(p) for p in write_logs(tmp_path / "in", 1, 20_000, 9)])
    assert tiny and not list((tmp_path / "temporary").iterdir())


def test_the_budget_is_divided_and_never_exceeded() -> None:
    for memory in (512 << 20, 1 << 30, 8 << 30):
        for threads in (1, 2, 64):
            shares = divide(memory, threads)
            reading = shares.tables * threads + shares.database + 2 * shares.pending
            assert min(shares.tables, shares.database, shares.pending) > 0
            assert reading < memory and shares.settling < memory
