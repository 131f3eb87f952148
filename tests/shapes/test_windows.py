"""Coverage by interface and hour, against a twin that looks at one minute at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.flows import WindowFact
from analyzers.ingest import windows as facts_of_windows
from analyzers.ingest import worker_tables
from analyzers.ingest.aggregate import IngestOptions, aggregate

START = 1_700_000_000 // 3600 * 3600
Row = tuple[str, str, int, int]  # interface, status, first second, last second


def text(rows: list[Row]) -> str:
    out = []
    for interface, status, first, last in rows:
        what = "10.0.0.1 10.0.0.2 40000 443 6 1 40" if status == "OK" else "- - - - - - -"
        out.append(f"2 1 {interface} {what} {first} {last} {'ACCEPT' if status == 'OK' else '-'} {status}\n")
    return "".join(out)


def read(path: Path, **options: object) -> Sequence[WindowFact]:
    return aggregate([str(path)], IngestOptions(**options))[1].windows  # type: ignore[arg-type]


def twin(rows: list[Row], interval: int = 600, hour: int = 3600) -> list[WindowFact]:
    """One minute (a sixtieth of the slot) at a time, every hour on its own."""
    part = hour // 60
    touched: dict[str, set[int]] = defaultdict(set)
    skipped: dict[str, set[int]] = defaultdict(set)
    counts: dict[tuple[str, int, str], int] = defaultdict(int)
    for interface, status, first, last in rows:
        parts = {second // part for second in (*range(first, last, part), last)}
        touched[interface] |= parts
        if status == "SKIPDATA":
            skipped[interface] |= parts
        counts[interface, first // hour, status] += 1
    found = []
    for interface, parts in sorted(touched.items()):
        missing: set[int] = set()
        run: list[int] = []
        for at in range(min(parts), max(parts) + 1):
            if at not in parts:
                run.append(at)
            if at in parts or at == max(parts):
                if len(run) * part >= 2 * interval:
                    missing |= set(run)
                run = []
        for slot in range(min(parts) // 60, max(parts) // 60 + 1):
            mine = range(60 * slot, 60 * slot + 60)
            fact = WindowFact(
                interface, "", slot * hour, (slot + 1) * hour,
                counts[interface, slot, "NODATA"], counts[interface, slot, "SKIPDATA"],
                round(len(skipped[interface].intersection(mine)) * part / 60),
                round(len(missing.intersection(mine)) * part / 60),
            )  # fmt: skip
            if fact.nodata or fact.skipdata or fact.gap_minutes or fact.skipped_minutes:
                found.append(fact)
    return found


def hours(facts: Sequence[WindowFact], slot: int = 3600) -> set[tuple[object, ...]]:
    """Facts by the hour: what several alike hours say together, taken apart; NODATA of joined hours as a sum."""
    apart: set[tuple[object, ...]] = set()
    for fact in facts:
        for start in range(fact.start, fact.end, slot):
            gap = fact.gap_minutes * slot // (fact.end - fact.start)
            apart.add((fact.interface, start, bool(fact.nodata), fact.skipdata, fact.skipped_minutes, gap))
    return apart


row = st.tuples(
    st.sampled_from(["eni-1", "eni-2", "eni-3"]),
    st.sampled_from(["OK", "OK", "OK", "NODATA", "SKIPDATA"]),
    st.integers(0, 6 * 3600),
    st.integers(0, 900),
).map(lambda t: (t[0], t[1], START + t[2], START + t[2] + t[3]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(row, min_size=1, max_size=30), interval=st.sampled_from([60, 600]))
def test_every_hour_says_what_the_twin_says(tmp_path: Path, rows: list[Row], interval: int) -> None:
    (tmp_path / "log").write_text(text(rows))
    found = read(tmp_path / "log", threads=1, intervals={"": interval})
    expected = twin(rows, interval)
    assert hours(found) == hours(expected)
    for count in ("nodata", "skipdata", "gap_minutes"):
        assert sum(getattr(f, count) for f in found) == sum(getattr(f, count) for f in expected)


def steady(interface: str, first: int, minutes: int) -> list[Row]:
    return [(interface, "OK", first + 60 * m, first + 60 * m + 59) for m in range(minutes)]


def test_a_missing_interval_is_a_gap_and_a_short_pause_is_none(tmp_path: Path) -> None:
    rows = steady("eni-1", START, 30) + steady("eni-1", START + 49 * 60, 11)  # 19 minutes: no whole 10-minute interval
    rows += steady("eni-2", START, 30) + steady("eni-2", START + 50 * 60, 10)
    (tmp_path / "log").write_text(text(rows))
    assert read(tmp_path / "log") == (WindowFact("eni-2", "", START, START + 3600, gap_minutes=20),)
    assert {f.interface for f in read(tmp_path / "log", intervals={"": 60})} == {"eni-1", "eni-2"}


def test_a_long_gap_is_one_fact_for_its_whole_hours(tmp_path: Path) -> None:
    rows = steady("eni-1", START, 30) + steady("eni-1", START + 100 * 3600 + 1800, 30)
    (tmp_path / "log").write_text(text(rows))
    assert read(tmp_path / "log") == (
        WindowFact("eni-1", "", START, START + 3600, gap_minutes=30),
        WindowFact("eni-1", "", START + 3600, START + 100 * 3600, gap_minutes=99 * 60),
        WindowFact("eni-1", "", START + 100 * 3600, START + 101 * 3600, gap_minutes=30),
    )


def test_idle_hours_in_a_row_are_one_fact(tmp_path: Path) -> None:
    rows: list[Row] = [("eni-1", "NODATA", START + 600 * i, START + 600 * i + 599) for i in range(60)]
    (tmp_path / "log").write_text(text(rows))
    assert read(tmp_path / "log") == (WindowFact("eni-1", "", START, START + 36000, nodata=60),)


def test_flow_logs_have_facts_and_intervals_of_their_own(tmp_path: Path) -> None:
    for log, minutes in (("fl-1", 40), ("fl-2", 10)):
        rows = steady("eni-1", START, minutes) + steady("eni-1", START + 3300, 5)
        (tmp_path / f"1_vpcflowlogs_r_{log}_20231114T2200Z_a.log").write_text(text(rows))
    assert [(f.flow_log, f.gap_minutes) for f in read(tmp_path, threads=2)] == [("fl-2", 45)]
    assert [(f.flow_log, f.gap_minutes) for f in read(tmp_path, intervals={"fl-1": 60})] == [("fl-1", 15), ("fl-2", 45)]


@pytest.mark.parametrize("threads", [1, 2])
def test_slots_become_longer_where_there_are_too_many(
    tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Row] = []
    for number in range(120):
        rows += [(f"eni-{number}", "NODATA" if h % 5 else "SKIPDATA", START + 3600 * h, START + 3600 * h + 599)
                 for h in range(20)]  # fmt: skip
    half = len(rows) // 2
    (tmp_path / "a").write_text(text(rows[:half]))
    (tmp_path / "b").write_text(text(rows[half:]))
    for module in (worker_tables, facts_of_windows):
        monkeypatch.setattr(module, "MAX_WINDOWS", 1024 + 800)
    found = read(tmp_path, threads=threads)
    slot = min(f.end - f.start for f in found)
    assert slot == 4 * 3600
    assert hours(found, slot) == hours(twin(rows, 600, slot), slot)
    assert sum(f.skipdata for f in found) == 120 * 4 and sum(f.nodata for f in found) == 120 * 16
