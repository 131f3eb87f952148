"""kill -9 at any moment loses nothing that was committed and doubles nothing."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import duckdb
import pytest

from tests.store.logs import read, take, write_logs

KILLS = 100
OBJECTS = 40


def taken_in_child(store: Path, source: Path) -> int:
    """Forks a process that ingests and leaves without clean-up; its id. Modules are loaded, so it begins at once."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        take(store, [str(source)], threads=1)
        code = 0
    finally:
        os._exit(code)


def committed(store: Path) -> dict[str, int]:
    """Objects in the store with their records; the rows that are there must be exactly theirs."""
    if not store.exists():
        return {}
    with duckdb.connect(str(store), read_only=True) as connection:
        told = dict(connection.execute("SELECT id, records FROM sources").fetchall())
        found = connection.execute(
            "SELECT source, sum(records)::BIGINT FROM (SELECT source, records FROM flows UNION ALL "
            "SELECT source, records FROM connections) GROUP BY source"
        ).fetchall()
        assert dict(found) == {number: records for number, records in told.items() if records}
        return dict(connection.execute("SELECT key, records FROM sources").fetchall())


@pytest.mark.slow
def test_a_hundred_kills_at_random_moments_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20260101)
    monkeypatch.setattr("analyzers.store.intake.COMMIT_SECONDS", 0.01)  # many small transactions: many moments
    write_logs(tmp_path / "in", OBJECTS, 40, 1)
    # a few objects outgrow the memory, so that their rows are written before they are whole
    monkeypatch.setattr("analyzers.store.intake.ROW_BYTES", 600_000)
    write_logs(tmp_path / "in" / "large", 4, 400, 2)

    expected = read([str(tmp_path / "in")])  # loads the kernels here, so that no child has to

    undisturbed = tmp_path / "undisturbed.duckdb"
    started = time.monotonic()
    child = taken_in_child(undisturbed, tmp_path / "in")
    assert os.waitpid(child, 0)[1] == 0
    whole = time.monotonic() - started

    kills, rounds, seen_partly, finished = 0, 0, 0, 0
    store = tmp_path / "round-0.duckdb"
    before: dict[str, int] = {}
    while kills < KILLS:
        child = taken_in_child(store, tmp_path / "in")
        time.sleep(chance.uniform(0, whole * 0.8))
        os.kill(child, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            kills += 1
        after = committed(store)
        assert before.items() <= after.items()  # nothing that was committed is lost
        seen_partly += 0 < len(after) < OBJECTS + 4
        before = after
        if len(after) == OBJECTS + 4:  # this store is complete: begin another
            assert read([], stores=(str(store),)) == read([], stores=(str(undisturbed),))
            finished += 1
            rounds += 1
            store, before = tmp_path / f"round-{rounds}.duckdb", {}
    child = taken_in_child(store, tmp_path / "in")
    assert os.waitpid(child, 0)[1] == 0
    assert read([], stores=(str(store),)) == read([], stores=(str(undisturbed),)) == expected
    assert finished and seen_partly > KILLS // 10  # the kills did hit runs that were under way
    assert not list(tmp_path.glob(".*.new"))
