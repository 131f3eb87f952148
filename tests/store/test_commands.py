"""The commands as a user types them: exit codes, and what is said when something is wrong."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowctl.cli import main
from flowctl.ingesting import ingest
from flowctl.options import INTERRUPTED, Inputs
from tests.store.logs import read, take, write_logs

ROOT = Path(__file__).resolve().parent.parent.parent


def flowctl(*arguments: str | Path) -> Result:
    """One command, in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments], env={"COLUMNS": "120"})


def refused(done: Result, *words: str) -> None:
    """Wrong usage, told in one message with these words, without a traceback."""
    assert done.exit_code == 2, done.stderr
    assert isinstance(done.exception, SystemExit)
    message = done.stderr.replace("\n", " ")
    for word in words:
        assert word in message, done.stderr


def test_every_command_reads_a_store_as_it_reads_the_sources(tmp_path: Path) -> None:
    shop = [ROOT / "pcaps" / name for name in ("shop-v2.log.gz", "shop-v5.log.gz", "shop.pcap")]
    inventory = ("--inventory", ROOT / "pcaps" / "inventory.json")
    store = tmp_path / "shop.duckdb"
    for path in reversed(shop):
        assert flowctl("ingest", path, "--store", store).exit_code == 0
    for command in (("map", "--format", "json"), ("map",), ("generate", "-o", tmp_path / "a")):
        one = flowctl(*command, *shop, *inventory)
        other = flowctl(*command, "--store", store, *inventory)
        assert (one.stdout, one.exit_code) == (other.stdout, other.exit_code)
    assert flowctl("map", store, *inventory).stdout == flowctl("map", *shop, *inventory).stdout
    kubernetes = tmp_path / "a" / "kubernetes"
    one = flowctl("verify", kubernetes, "--store", store, *inventory)
    assert one.stdout == flowctl("verify", kubernetes, "--flows", *shop, *inventory).stdout
    assert "0 of 73 qualified flows denied" in one.stdout


def test_there_must_be_something_to_read() -> None:
    refused(flowctl("map"), "name a SOURCE", "--store")


def test_a_store_that_another_process_writes_is_refused_with_its_number(tmp_path: Path) -> None:
    write_logs(tmp_path / "in", 1, 20, 1)
    store = tmp_path / "x.duckdb"
    take(store, [str(tmp_path / "in")])
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        for command in (
            ("ingest", tmp_path / "in", "--store", store),
            ("map", "--store", store),
            ("store", "info", store),
        ):
            refused(flowctl(*command), f"another process ({holder.pid}) has it open")
    finally:
        holder.communicate()
    assert flowctl("map", "--store", store).exit_code == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"2 123 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 1 1 2 ACCEPT OK\n" * 100, "no flow store"),
        (b"", "no flow store"),
        (b"cut", "damaged"),
        (b"other", "a DuckDB database, but no flow store"),
    ],
    ids=["text", "empty", "cut", "another-database"],
)
def test_files_that_are_no_stores_are_refused_and_left_alone(tmp_path: Path, content: bytes, words: str) -> None:
    import duckdb

    (path,) = write_logs(tmp_path / "in", 1, 20, 1)
    store = tmp_path / "x.duckdb"
    if content == b"cut":
        take(store, [str(path)])
        content = store.read_bytes()[:300_000]
    elif content == b"other":
        with duckdb.connect(str(store)) as connection:
            connection.execute("CREATE TABLE cats (name VARCHAR)")
        content = store.read_bytes()
    store.write_bytes(content)
    for command in (("ingest", path, "--store", store), ("map", "--store", store), ("store", "compact", store)):
        refused(flowctl(*command), str(store), words)
    assert store.read_bytes() == content


def test_a_store_that_is_not_there_is_made_by_ingest_only(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 20, 1)
    for command in (("map", "--store"), ("store", "info"), ("store", "forget", "--source", "x"), ("store", "migrate")):
        refused(flowctl(*command, tmp_path / "none.duckdb"), "there is no such store", "flowctl ingest")
    refused(flowctl("ingest", path, "--store", tmp_path / "none" / "x.duckdb"), "no such file or directory")
    refused(flowctl("ingest", path, "--store", tmp_path), "directory")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="no directory here that nobody may write to")
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 20, 1)
    done = flowctl("ingest", path, "--store", "/sys/kernel/x.duckdb")
    refused(done, "/sys/kernel/x.duckdb: ")
    assert any(words in done.stderr for words in ("permission denied", "read-only"))


def test_a_disk_that_fills_up_keeps_what_was_committed(tmp_path: Path) -> None:
    """The limit on file sizes stands in for the disk's end: writing fails in the same places."""
    small, large = tmp_path / "small", tmp_path / "large"
    write_logs(small, 1, 50, 1)
    write_logs(large, 2, 30_000, 2)
    store = tmp_path / "x.duckdb"
    take(store, [str(small)])
    limit = store.stat().st_size + 300_000
    done = subprocess.run(
        [sys.executable, "-m", "flowctl", "ingest", str(small), str(large), "--store", str(store)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert str(store) in done.stderr.replace("\n", "") and "grow" in done.stderr
    kept = read([], stores=(str(store),))
    assert kept[1].sources >= 1
    assert flowctl("ingest", small, large, "--store", store).exit_code == 0
    assert read([], stores=(str(store),)) == read([str(small), str(large)])


@pytest.mark.parametrize("size", ["x", "1XB", "-1"])
def test_sizes_that_are_none_are_refused(size: str) -> None:
    refused(flowctl("map", "x", f"--memory={size}"), "no size")


def test_too_little_memory_is_refused(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 20, 1)
    refused(flowctl("map", path, "--memory", "10MiB"), "too little", "MiB is the least")


def test_slices_stay_as_the_store_has_them(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 200, 1)
    store = tmp_path / "x.duckdb"
    assert flowctl("ingest", path, "--store", store, "--slice", "600").exit_code == 0
    assert "time slices of 600 s" in flowctl("store", "info", store).stdout
    refused(flowctl("ingest", path, "--store", store, "--slice", "3600"), "600 s long")


def test_interrupted_runs_say_so_in_one_line_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("analyzers.store.intake.COMMIT_SECONDS", 0.0)
    write_logs(tmp_path / "in", 30, 100, 4)
    store = tmp_path / "x.duckdb"
    calls = 0

    def interrupts(done: int, total: int, records: int) -> None:  # noqa: ARG001
        nonlocal calls
        calls += 1
        if calls == 8:
            os.kill(os.getpid(), signal.SIGINT)

    @contextlib.contextmanager
    def progress() -> Iterator[Callable[[int, int, int], None]]:
        yield interrupts

    monkeypatch.setattr("flowctl.ingesting.taking_progress", progress)
    inputs = Inputs((str(tmp_path / "in"),), threads=1)
    assert ingest(inputs, str(store), None, "skip") == INTERRUPTED == 130
    told = capsys.readouterr()
    assert told.out == "" and len(told.err.strip().splitlines()) == 1
    assert "of 30 objects are in" in told.err and "goes on from there" in told.err
    _, report = read([], stores=(str(store),))
    assert 1 <= report.sources < 30
    assert ingest(inputs, str(store), None, "skip") == 0
    assert read([], stores=(str(store),)) == read([str(tmp_path / "in")])


def test_an_interrupt_before_anything_was_read_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowctl.ingesting.load_inventory", interrupted)
    done = flowctl("ingest", "x", "--store", tmp_path / "x.duckdb", "--inventory", "y")
    assert done.exit_code == INTERRUPTED and len(done.stderr.strip().splitlines()) == 1


def test_strict_makes_skips_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("2 1 eni-1 10.0.0.1 10.0.0.2 400000 443 6 1 100 1 2 ACCEPT OK\n" * 3)
    assert flowctl("ingest", tmp_path / "bad", "--store", tmp_path / "x.duckdb", "--strict").exit_code == 3
    assert flowctl("ingest", tmp_path / "bad", "--store", tmp_path / "x.duckdb", "--strict").exit_code == 0


def test_the_database_is_loaded_only_when_it_is_needed(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 20, 1)
    script = "import sys; from flowctl.cli import main; main(['map', sys.argv[1]], standalone_mode=False); "
    script += "print('duckdb' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"
