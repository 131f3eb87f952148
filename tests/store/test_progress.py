"""What is told while it takes long: sums that only grow, and stages with a percentage."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from analyzers.store.memory import Shares
from analyzers.store.upkeep import compact, export_parquet
from flowctl.progress import ReadingBar, taking_progress
from tests.store.logs import read, take, write_logs


def test_records_that_went_to_the_database_stay_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.ingest.overflow.divide", lambda *_: Shares(1, 128 << 20, 1, 1 << 30))
    write_logs(tmp_path / "in", 1, 60_000, 3)
    told: list[int] = []
    _, report = read([str(tmp_path / "in")], threads=1, progress=lambda _, records: told.append(records))
    assert told == sorted(told) and 0 < told[-1] <= report.records


def test_the_database_tells_its_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_logs(tmp_path / "in", 1, 500, 3)
    store = str(tmp_path / "x.duckdb")
    take(tmp_path / "x.duckdb", [str(tmp_path / "in")])
    stages: list[str] = []

    def stage(what: str, percent: Callable[[], float]) -> None:
        stages.append(what)
        assert -1.0 <= percent() <= 100.0

    monkeypatch.setattr("analyzers.store.read.CONNECTION_BYTES", 1 << 40)
    read([], stores=(store,), stage=stage)
    assert len(stages) == 7 and stages[-1].startswith("settling directions 5 of 5")
    compact(store, None, 256 << 20, 1, stage)
    export_parquet(store, tmp_path / "pq", 256 << 20, 1, stage)
    assert {"compacting flows", "writing flows"} <= set(stages)


def test_the_bar_shows_what_lasts_and_survives_a_closed_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flowctl.progress.DELAY", 0.0)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    bar = ReadingBar()
    bar(5_000_000, 1000)
    time.sleep(0.5)  # it is drawn ten times a second
    bar.stage("merging rows of flows", lambda: 40.0)
    bar.stop()
    shown = capsys.readouterr().err
    assert "5 MB, 1,000 records" in shown and "merging rows of flows" in shown


def test_nothing_is_shown_without_a_terminal() -> None:
    with taking_progress() as progress:
        assert progress is None
