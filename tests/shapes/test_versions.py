"""Text of every version: all fields in any order and subset, from several formats in one place, late or not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from analyzers.flows import FlowTable, IngestReport
from analyzers.ingest.aggregate import aggregate
from analyzers.ingest.log_formats import DEFAULT_FIELDS, FIELDS_BY_VERSION
from tests.ingest.test_text_kernel import generated

ALL_FIELDS = tuple(name for version, names in FIELDS_BY_VERSION.items() if version != 6 for name in names)
KEPT = ("interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol")
LATER = {
    "instance-tag": "my%2Dapp", "interface-tag": "a%20b%C3%BC", "asg-tag-2": "-", "encryption-status": "3",
    "reject-reason": "BPA", "ecs-task-arn": "arn:aws:ecs:eu-west-1:1:task/x/y", "tcp-flags": "-", "vpc-id": "-",
    "brand-new": "192.0.2.1", "next-hop-interface-type": "nat_gateway", "type": "IPv4",
}  # fmt: skip


def read(path: Path) -> tuple[FlowTable, IngestReport]:
    return aggregate([str(path)])


def content(flows: FlowTable) -> list[tuple[object, ...]]:
    named = dict(flows.columns)
    observers = [flows.observers[n] for n in named.pop("observer")]
    networks = [flows.networks[n] for n in named.pop("network")]
    return sorted(zip(networks, observers, *(c.tolist() for c in named.values()), strict=True))


def rows(count: int) -> list[dict[str, str]]:
    made = []
    for line in generated(count).splitlines():
        row = dict(zip(DEFAULT_FIELDS, line.split(), strict=True))
        made.append({**LATER, "pkt-srcaddr": row["srcaddr"], "pkt-dstaddr": row["dstaddr"], **row})
    return made


def text(fields: list[str], records: list[dict[str, str]], end: str = "\n", blank: str = " ") -> str:
    lines = [" ".join(fields), *(blank.join(record.get(name, "-") for name in fields) for record in records)]
    return end.join(lines) + end


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_all_fields_up_to_version_11(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    fields = [*ALL_FIELDS, "brand-new"]
    chance.shuffle(fields)
    records = rows(300)
    (tmp_path / "v2").write_text(text(list(DEFAULT_FIELDS), records))
    ending, blank = chance.choice([("\n", " "), ("\r\n", " "), ("\n", "  ")])
    (tmp_path / "v11").write_bytes(text(fields, records, ending, blank).encode())
    expected, _ = read(tmp_path / "v2")
    found, report = read(tmp_path / "v11")
    assert report.records == 300 and not report.skips
    assert content(found) == content(expected)
    assert report.plain_sources == 0


@pytest.mark.parametrize("seed", range(6))
def test_any_subset_that_can_make_a_flow(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    fields = [*KEPT, *chance.sample([f for f in DEFAULT_FIELDS if f not in KEPT], chance.randrange(9))]
    chance.shuffle(fields)
    records = rows(200)
    (tmp_path / "log").write_text(text(fields, records))
    flows, report = read(tmp_path / "log")
    assert report.records == 200 and not report.skips
    for column, reply, name in (("packets", "reply_packets", "packets"), ("bytes", "reply_bytes", "bytes")):
        total = sum(int(r[name]) for r in records) if name in fields else 0
        assert int(flows[column].sum() + flows[reply].sum()) == total


def test_several_formats_in_one_place_and_records_that_come_late(tmp_path: Path) -> None:
    chance = random.Random(9)
    records = rows(600)
    (tmp_path / "whole.log").write_text(text(list(DEFAULT_FIELDS), records))
    expected, whole = read(tmp_path / "whole.log")
    late = list(records)
    chance.shuffle(late)
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    for number in range(6):
        fields = [*DEFAULT_FIELDS, *chance.sample(sorted(LATER), 4)]
        chance.shuffle(fields)
        (bucket / f"{number}.log").write_text(text(fields, late[number * 100 : number * 100 + 100]))
    found, report = read(bucket)
    assert content(found) == content(expected)
    assert (report.records, report.first, report.last) == (600, whole.first, whole.last)
    assert list(report.windows) == list(whole.windows)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("srcaddr", "10.0.0.256", "an address that is none"),
        ("dstport", "65536", "a port that is no number up to 65535"),
        ("bytes", str(1 << 63), "packets or bytes that are no number below 2^63"),
        ("packets", "9" * 30, "packets or bytes that are no number below 2^63"),
        ("protocol", "256", "a protocol that is no number up to 255"),
        ("end", "5000000000", "a time that is no number of seconds or milliseconds"),
        ("start", "17000000000000000000", "a time that is no number of seconds or milliseconds"),
    ],
)
def test_a_row_that_cannot_be_is_skipped_with_its_reason(tmp_path: Path, name: str, value: str, reason: str) -> None:
    records = rows(20)
    records[7] = {**records[7], name: value}
    (tmp_path / "log").write_text(text(list(DEFAULT_FIELDS), records))
    _, report = read(tmp_path / "log")
    (skip,) = report.skips
    assert (skip.reason, skip.count, report.records) == (reason, 1, 19)
    assert skip.samples[0].startswith("offset ")


def test_the_largest_counter_is_counted(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text(list(DEFAULT_FIELDS), [{**rows(1)[0], "bytes": str((1 << 63) - 1)}]))
    flows, report = read(tmp_path / "log")
    assert report.records == 1 and int((flows["bytes"] + flows["reply_bytes"])[0]) == (1 << 63) - 1
