"""What can be read only once: pipes, as the shell makes them of `<(zcat flows.gz)`."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from analyzers.ingest.sources import InputError
from flowctl.cli import main
from tests.captures.writing import Packet, ethernet, ipv4, pcap, udp
from tests.ingest.test_text_files import rows
from tests.ingest.test_text_kernel import generated, read
from tests.store.logs import take

TEXT = generated(6000).encode()
CAPTURE = pcap([Packet(ethernet(ipv4(1, 2, 17, udp(40000, 53, bytes(900)))), 1_700_000_000 + i) for i in range(200)])


def write_slowly(path: Path, content: bytes) -> None:
    with path.open("wb", buffering=0) as pipe:
        pipe.write(content[:10])
        time.sleep(0.05)
        pipe.write(content[10:])


@contextmanager
def piped(path: Path, content: bytes) -> Iterator[Path]:
    os.mkfifo(path)
    writer = threading.Thread(target=write_slowly, args=(path, content))
    writer.start()
    yield path
    writer.join()


@pytest.mark.parametrize("content", [TEXT, gzip.compress(TEXT), CAPTURE], ids=["text", "gzip", "capture"])
def test_a_pipe_gives_what_the_file_gives(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "name").write_bytes(content)
    expected, told = read(tmp_path / "name")
    (tmp_path / "name").unlink()
    with piped(tmp_path / "name", content) as pipe:
        flows, report = read(pipe)
    assert len(content) > 100_000 and rows(flows) == rows(expected)
    assert (report.records, report.skips, report.formats) == (told.records, told.skips, told.formats)


def test_a_pipe_is_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 2000)
    (tmp_path / "mixed").write_text(generated(100) + "dstport srcport dstaddr srcaddr protocol\n" + "1 2 3 4 5\n" * 99)
    with (
        piped(tmp_path / "pipe", TEXT[:20_000]) as pipe,
        pytest.raises(InputError, match="mixed: lines of several"),
    ):
        read([pipe, tmp_path / "mixed"])


def test_a_store_takes_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no identity: save it to a file first"):
        take(tmp_path / "x.duckdb", [str(tmp_path / "pipe")])


def test_the_command_reads_all_of_a_pipe(tmp_path: Path) -> None:
    with piped(tmp_path / "pipe", TEXT) as pipe:
        done = CliRunner().invoke(main, ["map", str(pipe), "--format", "json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["ingest"]["records"] == 6000
