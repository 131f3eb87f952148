"""Parquet flow logs: the same tables, sums and reasons as the text form of the same rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.flows import FlowTable, IngestReport
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.log_formats import DEFAULT_FIELDS
from tests.ingest.test_text_kernel import COLUMNS, V5, generated

NUMBERS = {
    "version": pa.int32(), "srcport": pa.int32(), "dstport": pa.int32(), "protocol": pa.int32(),
    "tcp-flags": pa.int32(), "packets": pa.int64(), "bytes": pa.int64(), "start": pa.int64(), "end": pa.int64(),
}  # fmt: skip


def read(path: Path, **options: object) -> tuple[FlowTable, IngestReport]:
    return aggregate([str(path)], IngestOptions(**options))  # type: ignore[arg-type]


def content(flows: FlowTable) -> list[tuple[object, ...]]:
    """Rows without the numbers that the order of reading gives to names."""
    named = dict(flows.columns)
    columns = [[flows.networks[n] for n in named.pop("network")], [flows.observers[n] for n in named.pop("observer")]]
    return sorted(zip(*columns, *(c.tolist() for c in named.values()), strict=True))


def reasons(report: IngestReport) -> list[tuple[str, int]]:
    return sorted((s.reason, s.count) for s in (*report.skips, *report.coverage))


def is_number(text: str, bits: int) -> bool:
    return text.isdigit() and text == str(int(text)) and int(text) < 1 << (bits - 1)


def table(fields: list[str], rows: list[list[str]], as_text: frozenset[str] = frozenset()) -> pa.Table:
    """The rows as AWS writes them: numbers where they are, null for what is none of either."""
    columns = {}
    for place, name in enumerate(fields):
        cells = [row[place] for row in rows]
        kind = NUMBERS.get(name)
        if kind is not None and name not in as_text and all(c == "-" or is_number(c, kind.bit_width) for c in cells):
            columns[name.replace("-", "_")] = pa.array([None if c == "-" else int(c) for c in cells], kind)
        else:
            columns[name.replace("-", "_")] = pa.array([None if c == "-" else c for c in cells], pa.string())
    return pa.table(columns)


def rows_of(fields: list[str]) -> st.SearchStrategy[list[list[str]]]:
    row = st.tuples(*(COLUMNS[f].filter(bool) for f in fields)).map(list)
    return st.lists(row, min_size=1, max_size=40)


@pytest.mark.parametrize("fields", [list(DEFAULT_FIELDS), V5], ids=["v2", "v5"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rows_give_what_their_text_gives(tmp_path: Path, fields: list[str], data: st.DataObject) -> None:
    rows = data.draw(rows_of(fields))
    as_text = data.draw(st.frozensets(st.sampled_from(sorted(NUMBERS))))
    (tmp_path / "log").write_text("\n".join(" ".join(cells) for cells in [fields, *rows]) + "\n")
    size = data.draw(st.integers(1, 20))
    pq.write_table(
        table(fields, rows, as_text), tmp_path / "parquet", row_group_size=size, use_dictionary=data.draw(st.booleans())
    )
    texts, text_report = read(tmp_path / "log", threads=1)
    columns, column_report = read(tmp_path / "parquet", threads=2)
    assert reasons(column_report) == reasons(text_report)
    assert content(columns) == content(texts)
    assert (column_report.records, column_report.first, column_report.last) == (
        text_report.records, text_report.first, text_report.last,
    )  # fmt: skip
    assert column_report.windows == text_report.windows
    assert column_report.formats == {"aws-vpc-parquet": 1}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "snappy"])
def test_many_row_groups_and_two_threads(tmp_path: Path, compression: str) -> None:
    text = generated(30_000)
    (tmp_path / "log").write_text(text)
    rows = [line.split() for line in text.splitlines()]
    pq.write_table(table(list(DEFAULT_FIELDS), rows), tmp_path / "p", row_group_size=7000, compression=compression)
    texts, _ = read(tmp_path / "log", threads=1)
    columns, report = read(tmp_path / "p", threads=2)
    assert report.records == 30_000 and not report.skips
    assert content(columns) == content(texts)


def test_times_may_be_timestamps_and_texts_may_be_dictionaries(tmp_path: Path) -> None:
    text = generated(500)
    (tmp_path / "log").write_text(text)
    made = table(list(DEFAULT_FIELDS), [line.split() for line in text.splitlines()])
    for name in ("start", "end"):
        place = made.schema.get_field_index(name)
        made = made.set_column(place, name, made.column(name).cast(pa.timestamp("s")).cast(pa.timestamp("us", "UTC")))
    place = made.schema.get_field_index("srcaddr")
    made = made.set_column(place, "srcaddr", made.column("srcaddr").dictionary_encode())
    place = made.schema.get_field_index("dstaddr")
    made = made.set_column(place, "dstaddr", made.column("dstaddr").cast(pa.large_string()))
    pq.write_table(made, tmp_path / "p")
    assert content(read(tmp_path / "p")[0]) == content(read(tmp_path / "log")[0])


def test_places_of_skipped_rows_are_row_numbers(tmp_path: Path) -> None:
    rows = [line.split() for line in generated(10).splitlines()]
    rows[7][5] = "70000"
    pq.write_table(table(list(DEFAULT_FIELDS), rows), tmp_path / "p", row_group_size=4)
    _, report = read(tmp_path / "p")
    (skip,) = report.skips
    assert skip.reason == "a port that is no number up to 65535" and skip.count == 1
    assert skip.samples[0].startswith("row 7: ") and " 70000 " in skip.samples[0]


def test_what_is_no_parquet_or_no_flow_log_is_refused(tmp_path: Path) -> None:
    rows = [line.split() for line in generated(2000).splitlines()]
    made = table(list(DEFAULT_FIELDS), rows)
    pq.write_table(made.drop_columns(["dstaddr", "protocol"]), tmp_path / "lacking.parquet")
    pq.write_table(made, tmp_path / "whole.parquet", compression="gzip")
    raw = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "spoilt.parquet").write_bytes(raw[:400] + bytes(200) + raw[600:])
    _, report = read(tmp_path)
    assert report.records >= 2000
    found = {s.source.rsplit("/", 1)[1]: s.reason for s in report.skips}
    assert found["lacking.parquet"] == (
        "the format lacks dstaddr (or pkt-dstaddr), protocol: no flow can be made of its records"
    )
    assert found["cut.parquet"].startswith("unreadable Parquet: ")
    assert found["spoilt.parquet"].startswith("unreadable Parquet data: ")
    assert set(found) == {"lacking.parquet", "cut.parquet", "spoilt.parquet"}


@pytest.mark.parametrize(
    ("name", "cells", "told"),
    [
        ("action", pa.array([True] * 20), "an action other than"),
        ("protocol", pa.array([True] * 20), None),  # 1, ICMP: a number as good as any
        ("srcaddr", pa.nulls(20), "a record without addresses"),
        ("packets", pa.nulls(20), None),
        ("srcaddr", pa.array([["10.0.0.1"]] * 20), "the column srcaddr holds list<"),
        ("srcport", pa.array([{"a": 1}] * 20), "the column srcport holds struct<"),
    ],
)
def test_columns_of_odd_types(tmp_path: Path, name: str, cells: pa.Array, told: str | None) -> None:
    made = table(list(DEFAULT_FIELDS), [line.split() for line in generated(20).splitlines()])
    made = made.set_column(made.schema.get_field_index(name), name, cells)
    pq.write_table(made, tmp_path / "odd.parquet")
    (tmp_path / "good.log").write_text(generated(7))
    _, report = read(tmp_path)
    found = [skip.reason for skip in report.skips]
    assert report.records == 7 + (20 if told is None else 0)
    assert len(found) == (0 if told is None else 1) and all((told or "") in reason for reason in found)
