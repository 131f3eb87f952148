"""Parts of plain files, which kernels read themselves, against the same text from a stream."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import pytest

from analyzers.flows import FlowTable
from analyzers.ingest.aggregate import IngestOptions, cut_facts
from analyzers.ingest.log_formats import DEFAULT_FIELDS
from analyzers.ingest.planning import TextItem, plan
from analyzers.ingest.reading import BUFFER_BYTES, Worker
from analyzers.ingest.sources import SHORTER, Source
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.record import S_RECORDS
from analyzers.kernels.text_files import READ_BYTES
from tests.ingest.test_text_kernel import generated, read

NODATA = "2 123456789012 eni-00000000000000001 - - - - - - - 1700000000 1700000060 - NODATA\n"
FIELDS = tuple(DEFAULT_FIELDS)


def odd_text() -> bytes:
    """Several times what is read at once, with lines of all kinds at its seams, and no newline at its end."""
    regular = generated(12_000).encode()
    text = bytearray()
    for part in range(4):
        text += regular
        seam = READ_BYTES * (-(-len(text) // READ_BYTES))
        text += generated((seam - len(text)) // 115).encode()
        text += b"bogus line\n" * 3 + NODATA.encode() + b"x" * (40_000 * part) + b"\n"
        text += b"2 123456789012 eni-1 10.0.0.999 10.0.0.1 1 2 6 1 1 1 1 ACCEPT OK\n" * 40
    return bytes(text.removesuffix(b"\n"))


def rows(flows: FlowTable) -> list[tuple[object, ...]]:
    """Sorted, interfaces by their names: their numbers depend on who met them first."""
    columns = {name: column.tolist() for name, column in flows.columns.items()}
    columns["observer"] = [flows.observers[number] for number in columns["observer"]]
    return sorted(zip(*columns.values(), strict=True))


@pytest.mark.parametrize("range_bytes", [300_000, 1 << 20, 3 << 20])
def test_parts_of_a_file_give_what_a_stream_gives(
    tmp_path: Path, range_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = odd_text()
    (tmp_path / "a.log").write_bytes(text)
    expected, told = read(tmp_path / "a.log", threads=1)
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", range_bytes)
    flows, report = read(tmp_path / "a.log", threads=2)
    assert {skip.reason for skip in report.skips} == {
        "wrong number of fields", "an address that is none", "a line longer than any record",
    }  # fmt: skip
    assert report.skips == told.skips and report.coverage == told.coverage
    assert (report.records, report.bytes_read) == (told.records, len(text)) and report.records > 48_000
    assert rows(flows) == rows(expected)


def test_a_part_with_a_line_that_fills_the_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 1 << 20)
    before = generated(5)
    for more in (0, READ_BYTES, 3 * BUFFER_BYTES):
        text = before + "2 " + "x" * (BUFFER_BYTES + more) + "\n"
        for behind in (generated(5), ""):
            (tmp_path / "a.log").write_text(text + behind)
            (tmp_path / "a.log.gz").write_bytes(gzip.compress((tmp_path / "a.log").read_bytes()))
            for path in (tmp_path / "a.log", tmp_path / "a.log.gz"):
                report = read(path)[1]
                assert report.records == (10 if behind else 5) and report.bytes_read == len(text + behind)
                (skip,) = report.skips
                assert (skip.reason, skip.count) == ("a line longer than any record", 1)
                assert f"offset {len(before)}" in skip.samples[0]


def worker() -> Worker:
    return Worker(WorkerTables((), {}), cut_facts(IngestOptions(), ()), ())


def test_a_file_that_became_shorter_ends_where_it_ends(tmp_path: Path) -> None:
    text = generated(100)
    (tmp_path / "a.log").write_text(text)
    one = worker()
    one.process(TextItem(Source(str(tmp_path / "a.log")), FIELDS, 0, 10 * len(text)))
    assert one.tables.tables.state[S_RECORDS] == 100 and one.bytes_read == len(text)
    assert dict(one.skips[0].counts) == {SHORTER: 1} and one.skips[0].samples[SHORTER] == [(len(text), "")]
    one.process(TextItem(Source(str(tmp_path / "a.log")), FIELDS, 2 * len(text), 10 * len(text)))
    assert not one.skips[1].counts  # its beginning was cut off as well: told once


@pytest.mark.skipif(sys.platform != "linux", reason="a file that can be opened and not be read, as Linux has one")
def test_a_file_that_cannot_be_read_says_why() -> None:
    one = worker()
    one.process(TextItem(Source("/proc/self/mem"), FIELDS, 0, 4096))
    assert dict(one.skips[0].counts) == {"reading failed: Input/output error": 1}


def test_files_that_vanish_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.log").write_text(generated(50))

    def planned(*arguments: Any) -> Any:
        found = plan(*arguments)
        for name in "bc":
            (tmp_path / f"{name}.log").unlink()
        return found

    monkeypatch.setattr("analyzers.ingest.aggregate.plan", planned)
    _, report = read(tmp_path, threads=2)
    assert report.records == 100
    assert [(skip.reason, skip.count) for skip in report.skips] == [
        ("cannot be read: No such file or directory", 1)
    ] * 2
