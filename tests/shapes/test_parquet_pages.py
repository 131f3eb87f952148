"""Parquet pages that are read here: the same as what pyarrow reads of them, whatever the writer's choices were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analyzers.flows import IngestReport
from analyzers.ingest import parquet_reading
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.log_formats import DEFAULT_FIELDS
from analyzers.ingest.parquet_pages import UnreadPages
from tests.ingest.test_text_kernel import V5, generated
from tests.shapes.test_parquet import content, table

CHOICES: dict[str, dict[str, Any]] = {
    "one page": {},
    "many pages": {"data_page_size": 300, "write_batch_size": 37},
    "pages of the second version": {"data_page_version": "2.0", "data_page_size": 300, "write_batch_size": 37},
    "dictionaries that grow too large": {"dictionary_pagesize_limit": 200, "data_page_size": 500},
    "no dictionaries": {"use_dictionary": False, "data_page_size": 3000},
    "no compression": {"compression": "none", "data_page_size": 300},
    "gzip": {"compression": "gzip", "data_page_size": 3000},
    "zstd, second version": {"compression": "zstd", "data_page_version": "2.0"},
}


def rows(count: int, seed: int) -> list[list[str]]:
    """Records of which some have what is none, and some have nothing."""
    chance = random.Random(seed)
    made = [line.split() for line in generated(count).splitlines()]
    for cells in made:
        if chance.random() < 0.05:
            cells[chance.randrange(2, 14)] = "-"
        if chance.random() < 0.02:
            place, odd = chance.choice(
                [(3, "10.0.0.256"), (4, "2001:db8::7"), (5, "70000"), (12, "DROP"), (13, "NODATA")]
            )
            cells[place] = odd
    return made


def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """What the pages give, and what pyarrow gives."""

    def outcome() -> tuple[list[tuple[object, ...]], IngestReport]:
        flows, report = aggregate([str(path)], IngestOptions(threads=1))
        return content(flows), report

    pages = outcome()
    with monkeypatch.context() as patch:
        patch.setattr(parquet_reading, "_paged", unread)
        return pages, outcome()


def unread(*_: object) -> Iterator[Any]:
    raise UnreadPages


def no_arrow(*_: object) -> None:
    raise AssertionError("pyarrow was asked")


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("wide", [False, True], ids=["documented types", "int64"])
def test_pages_give_what_pyarrow_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str, wide: bool
) -> None:
    made = table(list(DEFAULT_FIELDS), rows(3000, seed=len(choice)))
    if wide:
        kinds = [pa.int64() if pa.types.is_integer(kind) else kind for kind in made.schema.types]
        made = made.cast(pa.schema(list(zip(made.schema.names, kinds, strict=True))))
    pq.write_table(made, tmp_path / "p", row_group_size=1700, **CHOICES[choice])
    monkeypatch.setattr(parquet_reading, "BATCH_ROWS", 1000)  # not where pages or runs end
    pages, arrow = both(tmp_path / "p", monkeypatch)
    assert pages == arrow and pages[0] and pages[1].skips
    monkeypatch.setattr(parquet_reading.ArrowColumns, "take", no_arrow)
    aggregate([str(tmp_path / "p")], IngestOptions(threads=1))


def test_columns_without_levels_and_other_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = table(list(DEFAULT_FIELDS), [line.split() for line in generated(500).splitlines()])
    fields = [pa.field(field.name, field.type, nullable=False) for field in made.schema]
    place = made.schema.get_field_index("protocol")
    fields[place] = fields[place].with_type(pa.uint8())
    pq.write_table(made.cast(pa.schema(fields)), tmp_path / "p", data_page_size=1000, data_page_version="2.0")
    pages, arrow = both(tmp_path / "p", monkeypatch)
    assert pages == arrow and len(pages[0]) > 0


def test_networks_flags_and_addresses_of_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    made = []
    for line in generated(700).splitlines():
        cells = dict(zip(DEFAULT_FIELDS, line.split(), strict=True))
        cells |= {"pkt-srcaddr": chance.choice(["-", "10.9.0.1"]), "pkt-dstaddr": cells["dstaddr"]}
        cells |= {
            "vpc-id": chance.choice(["vpc-1", "vpc-22", "-"]),
            "tcp-flags": chance.choice(["2", "18", "-", "300"]),
        }
        made.append([cells.get(name, "-") for name in V5])
    pq.write_table(table(list(V5), made), tmp_path / "p", row_group_size=300, dictionary_pagesize_limit=60)
    pages, arrow = both(tmp_path / "p", monkeypatch)
    assert pages == arrow and len(pages[0]) > 0


@pytest.mark.parametrize(
    "other",
    [
        {"use_dictionary": False, "column_encoding": {"bytes": "DELTA_BINARY_PACKED"}},
        {"use_dictionary": False, "column_encoding": {"start": "BYTE_STREAM_SPLIT"}},
        {"compression": "brotli"},
    ],
    ids=str,
)
def test_what_few_writers_do_is_left_to_pyarrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    made = table(list(DEFAULT_FIELDS), [line.split() for line in generated(300).splitlines()])
    pq.write_table(made, tmp_path / "p", **other)
    pages, arrow = both(tmp_path / "p", monkeypatch)
    assert pages == arrow and pages[1].records == 300
    monkeypatch.setattr(parquet_reading.ArrowColumns, "take", no_arrow)
    with pytest.raises(AssertionError, match="pyarrow was asked"):
        aggregate([str(tmp_path / "p")], IngestOptions(threads=1))


def test_damage_is_pyarrows_to_describe_and_what_is_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = table(list(DEFAULT_FIELDS), rows(3000, seed=9))
    pq.write_table(made, tmp_path / "p", compression="zstd", data_page_size=2000, write_batch_size=200)
    whole = (tmp_path / "p").read_bytes()
    last = pq.ParquetFile(tmp_path / "p").metadata.row_group(0).column(3)
    at = last.dictionary_page_offset + last.total_compressed_size - 500
    (tmp_path / "p").write_bytes(whole[:at] + bytes(500) + whole[at + 500 :])
    monkeypatch.setattr(parquet_reading, "BATCH_ROWS", 1000)
    pages, arrow = both(tmp_path / "p", monkeypatch)
    assert pages == arrow
    assert [s.reason for s in pages[1].skips if s.reason.startswith("unreadable Parquet data: ")]
    assert 0 < pages[1].records < 3000


def test_any_spoilt_byte_is_survived(tmp_path: Path) -> None:
    made = table(list(DEFAULT_FIELDS), rows(200, seed=1))
    chance = random.Random(2)
    for number, choice in enumerate(("no compression", "pages of the second version", "no dictionaries")):
        pq.write_table(made, tmp_path / "whole", **CHOICES[choice])
        whole = (tmp_path / "whole").read_bytes()
        end = len(whole) - int.from_bytes(whole[-8:-4], "little") - 8
        for turn in range(40):
            spoilt = bytearray(whole)
            for _ in range(chance.randint(1, 3)):
                spoilt[chance.randrange(4, end)] ^= 1 << chance.randrange(8)
            (tmp_path / f"{number}-{turn}").write_bytes(spoilt)
    (tmp_path / "whole").unlink()
    _, report = aggregate([str(tmp_path)], IngestOptions(threads=1))
    assert report.sources == 120 and 0 < report.records <= 120 * 200
