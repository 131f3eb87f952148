"""Each object exactly once, whatever becomes of it between runs."""

from __future__ import annotations

import gzip
import os
import random
import signal
import time
from pathlib import Path

import duckdb
import pytest

from analyzers.ingest.sources import InputError
from analyzers.store import intake
from tests.store.logs import FIELDS, read, rows, take, write_logs


def stored(store: Path) -> tuple[int, int]:
    """(objects, records in rows), as plain SQL sees them."""
    with duckdb.connect(str(store), read_only=True) as connection:
        objects = connection.execute("SELECT count(*) FROM sources").fetchall()[0][0]
        records = connection.execute(
            "SELECT (SELECT coalesce(sum(records), 0) FROM flows) + (SELECT coalesce(sum(records), 0) FROM connections)"
        ).fetchall()[0][0]
    return objects, int(records)


def test_the_same_command_again_adds_nothing(tmp_path: Path) -> None:
    write_logs(tmp_path / "in", 3, 50, 1)
    first = take(tmp_path / "x.duckdb", [str(tmp_path / "in")])
    assert (first.taken, first.unchanged) == (3, 0)
    before = stored(tmp_path / "x.duckdb")
    assert before[1] == first.report.records
    again = take(tmp_path / "x.duckdb", [str(tmp_path / "in")])
    assert (again.taken, again.unchanged, again.left) == (0, 3, ())
    assert stored(tmp_path / "x.duckdb") == before


def test_it_is_the_same_object_by_whichever_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 50, 1)
    take(tmp_path / "x.duckdb", [str(path)])
    monkeypatch.chdir(tmp_path / "in")
    os.utime(path, (1, 1))  # touched, or restored from a copy: the content is what counts
    assert take(tmp_path / "x.duckdb", [path.name]).unchanged == 1
    (tmp_path / "link.log").symlink_to(path)
    assert take(tmp_path / "x.duckdb", [str(tmp_path / "link.log")]).unchanged == 1


def test_an_object_that_grew_is_read_again_in_place_of_what_was_taken(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 300, 2)
    take(tmp_path / "x.duckdb", [str(path)])
    with path.open("a") as out:
        out.write("\n".join(rows(200, random.Random(9))) + "\n")
    summary = take(tmp_path / "x.duckdb", [str(path)])
    assert (summary.taken, summary.replaced) == (1, 1)
    assert read([], stores=(str(tmp_path / "x.duckdb"),)) == read([str(path)])


@pytest.mark.parametrize(("changed", "taken"), [("skip", 0), ("replace", 1), ("add", 1)])
def test_an_object_with_other_content_is_left_unless_told_otherwise(tmp_path: Path, changed: str, taken: int) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 100, 3)
    (other,) = write_logs(tmp_path / "other", 1, 110, 4)
    first = take(tmp_path / "x.duckdb", [str(path)])
    (tmp_path / "was.log").write_bytes(path.read_bytes())
    path.write_bytes(other.read_bytes())
    summary = take(tmp_path / "x.duckdb", [str(path)], changed)
    assert summary.taken == taken
    assert bool(summary.left) == (changed == "skip")
    records = stored(tmp_path / "x.duckdb")[1]
    if changed == "skip":
        assert records == first.report.records
        assert summary.left[0].source == str(path) and "changed" in summary.left[0].reason
    elif changed == "replace":
        assert read([], stores=(str(tmp_path / "x.duckdb"),))[0] == read([str(path)])[0]
    else:
        both = read([str(path), str(tmp_path / "was.log")])[0]
        assert read([], stores=(str(tmp_path / "x.duckdb"),))[0] == both
        assert take(tmp_path / "x.duckdb", [str(path)], changed).unchanged == 1


def test_a_file_of_several_formats_that_was_cut_into_parts_is_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 3000)
    body = "\n".join(rows(150, random.Random(1)))
    other = "dstport srcport dstaddr srcaddr protocol interface-id start end packets bytes\n"
    other += "443 40000 10.0.0.2 10.0.0.1 6 eni-9 1700000000 1700000001 5 500\n" * 80
    (tmp_path / "log").write_text(f"{FIELDS}\n{body}\n{other}")
    summary = take(tmp_path / "x.duckdb", [str(tmp_path / "log")], threads=2)
    assert summary.taken == 1
    expected = read([str(tmp_path / "log")], threads=1)
    assert read([], stores=(str(tmp_path / "x.duckdb"),)) == expected
    assert stored(tmp_path / "x.duckdb") == (1, expected[1].records)


def test_an_object_larger_than_the_memory_is_taken_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.store.intake.ROW_BYTES", 1 << 30)  # every row is too many: own transactions
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 20_000)
    paths = write_logs(tmp_path / "in", 2, 2000, 6)
    take(tmp_path / "x.duckdb", [str(p) for p in paths], threads=2)
    assert read([], stores=(str(tmp_path / "x.duckdb"),)) == read([str(p) for p in paths])


def test_damage_and_foreign_files_are_kept_as_skips(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 3000, 8)
    packed = gzip.compress(path.read_bytes())
    (tmp_path / "in" / "cut.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "in" / "notes.txt").write_text("not a flow log\n")
    (tmp_path / "in" / "empty").write_bytes(b"")
    summary = take(tmp_path / "x.duckdb", [str(tmp_path / "in")])
    assert summary.report.skipped
    assert read([], stores=(str(tmp_path / "x.duckdb"),)) == read([str(tmp_path / "in")])


def test_standard_input_has_no_identity(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="standard input"):
        take(tmp_path / "x.duckdb", ["-"])


def test_a_failing_disk_read_is_tried_again_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_logs(tmp_path / "in", 2, 100, 5)

    def broken(*_: object) -> object:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("analyzers.ingest.reading.Worker._fills", broken)
        summary = take(tmp_path / "x.duckdb", [str(tmp_path / "in")])
    assert summary.taken == 0 and {s.reason for s in summary.left} == {"reading failed: Input/output error"}
    assert take(tmp_path / "x.duckdb", [str(tmp_path / "in")]).taken == 2
    assert read([], stores=(str(tmp_path / "x.duckdb"),)) == read([str(p) for p in paths])


@pytest.mark.parametrize("moment", ["identity_of", "plan"])
def test_an_object_that_vanishes_meanwhile_is_left_and_the_rest_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    paths = write_logs(tmp_path / "in", 3, 50, 5)
    content = paths[1].read_bytes()
    real = getattr(intake, moment)

    def vanishing(*arguments: object) -> object:
        found = real(*arguments)
        if "part-1" in str(arguments[0]):
            paths[1].unlink()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(intake, moment, vanishing)
        summary = take(tmp_path / "x.duckdb", [str(tmp_path / "in")])
    assert summary.taken == 2 and len(summary.left) == 1
    assert summary.left[0].source == str(paths[1]) and "No such file" in summary.left[0].reason
    paths[1].write_bytes(content)
    assert take(tmp_path / "x.duckdb", [str(tmp_path / "in")]).taken == 1
    assert read([], stores=(str(tmp_path / "x.duckdb"),)) == read([str(p) for p in paths])


def test_what_is_done_undisturbed_is_not_ended_halfway() -> None:
    steps: list[str] = []

    def work() -> None:
        steps.append("begun")
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)  # the main thread gets it, which waits
        time.sleep(0.2)
        steps.append("done")

    assert intake.undisturbed(work)
    assert steps == ["begun", "done"]
    assert not intake.undisturbed(lambda: steps.append("again"))
    with pytest.raises(InputError, match="told"):
        intake.undisturbed(failing)


def failing() -> None:
    raise InputError("told")
