"""Many small files: read from memory, several at a turn, with the rows of one large file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard

from analyzers.ingest.log_formats import DEFAULT_FIELDS
from tests.ingest.test_text_files import rows
from tests.ingest.test_text_kernel import generated, read

HEADER = " ".join(DEFAULT_FIELDS) + "\n"


def packed(text: bytes, number: int) -> tuple[str, bytes]:
    """A file's name and content, plain or compressed in one of several ways."""
    middle = text.index(b"\n", len(text) // 2) + 1
    ways = {
        "log": text,
        "gz": gzip.compress(text),
        "members.gz": gzip.compress(text[:middle]) + gzip.compress(text[middle:]),
        "zst": zstandard.compress(text),
    }
    name = list(ways)[number % 4]
    return f"{number:03}.{name}", ways[name]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("small_text", [2000, 4 << 20])
def test_the_rows_are_those_of_one_file(
    tmp_path: Path, threads: int, small_text: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.ingest.sources.SMALL_TEXT_BYTES", small_text)
    monkeypatch.setattr("analyzers.ingest.planning.TINY_FILE_BYTES", 3000)  # some are, some are not
    lines = generated(6000).splitlines(keepends=True)
    (tmp_path / "whole").write_text("".join(lines))
    (tmp_path / "parts").mkdir()
    for number in range(200):
        text = "".join(lines[number * 30 : number * 30 + 30])
        text = (HEADER if number % 3 else "") + text + ("bogus line\n" if number % 7 == 0 else "")
        name, content = packed(text.encode(), number)
        (tmp_path / "parts" / name).write_bytes(content)
    (tmp_path / "parts" / "cut.gz").write_bytes(gzip.compress("".join(lines[:30]).encode())[:-9])
    (tmp_path / "parts" / "empty").touch()
    expected, _ = read(tmp_path / "whole", threads=1)
    flows, report = read(tmp_path / "parts", threads=threads)
    reasons = {skip.reason: 0 for skip in report.skips}
    for skip in report.skips:
        reasons[skip.reason] += skip.count
    assert reasons == {"wrong number of fields": 29, "gzip member cut short": 1, "the file is empty": 1}
    assert report.formats == {"aws-vpc": 201} and report.sources == 202
    cut = report.records - 6000
    assert 0 <= cut <= 30
    if not cut:
        assert rows(flows) == rows(expected)
    assert {row[:4] for row in rows(flows)} == {row[:4] for row in rows(expected)}


def test_a_file_that_vanishes_between_finding_and_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}.log").write_text(generated(3))
    opened = "analyzers.ingest.reading.open_small"
    from analyzers.ingest.sources import Source, open_small

    def vanishing(source: Source) -> object:
        if source.name.endswith("2.log"):
            Path(source.name).unlink()
        return open_small(source)

    monkeypatch.setattr(opened, vanishing)
    _, report = read(tmp_path)
    assert report.records == 12
    (skip,) = report.skips
    assert skip.reason == "cannot be read: No such file or directory" and skip.source.endswith("2.log")
