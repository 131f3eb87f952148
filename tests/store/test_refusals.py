"""Commands that cannot do what they are asked say so in a line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowctl.cli import main
from tests.store.logs import take, write_logs


def test_times_that_hold_nothing(tmp_path: Path) -> None:
    paths = [str(path) for path in write_logs(tmp_path / "in", 1, 50, 1)]
    take(tmp_path / "x.duckdb", paths)
    for command in (
        ["map", *paths, "--since", "2023-11-16", "--until", "2023-11-15"],
        ["store", "forget", str(tmp_path / "x.duckdb"), "--between", "2023-11-16", "2023-11-15"],
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 2 and "is not before" in done.output


@pytest.mark.parametrize(
    ("source", "reason"), [("-", "no identity"), ("other.duckdb", "is a flow store"), ("mistyped.log", "no such file")]
)
def test_what_cannot_be_taken_leaves_no_store(tmp_path: Path, source: str, reason: str) -> None:
    take(tmp_path / "other.duckdb", [str(path) for path in write_logs(tmp_path / "in", 1, 50, 1)])
    named = source if source == "-" else str(tmp_path / source)
    done = CliRunner().invoke(main, ["ingest", named, "--store", str(tmp_path / "x.duckdb")])
    assert done.exit_code == 2 and reason in done.output and "Usage" not in done.output
    assert not (tmp_path / "x.duckdb").exists()


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (path,) = write_logs(tmp_path / "in", 1, 50, 1)
    named = tmp_path / odd
    named.write_bytes(path.read_bytes())
    for command in (["ingest", str(path)], ["map"]):
        done = CliRunner().invoke(main, [*command, "--store", str(tmp_path / f"{odd}.duckdb")])
        assert done.exit_code == 2 and "caf\\udce9.duckdb: " in done.output and "Traceback" not in done.output
    store = tmp_path / "x.duckdb"
    take(store, [str(named)])
    done = CliRunner().invoke(main, ["store", "forget", str(store), "--source", str(named)])
    assert done.exit_code == 0 and "1 object" in done.output, done.output


def test_no_memory_is_too_little(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 50, 1)
    for size, reason in (("0", "no memory"), ("1MiB", "too little")):
        done = CliRunner().invoke(main, ["map", str(path), "--memory", size])
        assert done.exit_code == 2 and reason in done.output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_output_to_a_full_disk(tmp_path: Path) -> None:
    (path,) = write_logs(tmp_path / "in", 1, 50, 1)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flowctl", "map", str(path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == "flowctl: output: No space left on device"
    assert "Traceback" not in done.stderr
