"""CloudWatch Logs: envelopes, exports, and formats that somebody else tells."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import FlowTable, IngestReport
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.coverage import CONTROL_MESSAGE, SkipCounts
from analyzers.ingest.formats import aws_cloudwatch
from analyzers.ingest.log_formats import DEFAULT_FIELDS, LogFormats, log_formats, normalise, parse_log_format
from analyzers.inventory.load import load_inventory
from flowctl.cli import main
from tests.ingest.test_text_kernel import generated

CUSTOM = ("interface-id", "dstaddr", "srcaddr", "dstport", "srcport", "protocol", "packets", "bytes", "start", "end")


def read(path: Path, formats: LogFormats | None = None) -> tuple[FlowTable, IngestReport]:
    return aggregate([str(path)], IngestOptions(log_formats=formats or LogFormats()))


def content(flows: FlowTable) -> list[tuple[object, ...]]:
    named = dict(flows.columns)
    observers = [flows.observers[n] for n in named.pop("observer")]
    return sorted(zip(observers, *(c.tolist() for c in named.values()), strict=True))


def envelope(messages: list[str], group: str = "/vpc", **more: object) -> str:
    events = [{"id": str(i), "timestamp": 1, "message": m} for i, m in enumerate(messages)]
    return json.dumps({"messageType": "DATA_MESSAGE", "logGroup": group, "logEvents": events, **more})


CONTROL = json.dumps({"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "CWL CONTROL MESSAGE"}]})


@pytest.mark.parametrize("between", ["", "\n", " \r\n\t"])
@pytest.mark.parametrize("packed", ["plain", "gz", "members"])
def test_envelopes_are_read_as_their_messages(tmp_path: Path, between: str, packed: str) -> None:
    lines = generated(3000).splitlines()
    chance = random.Random(1)
    envelopes: list[str] = []
    at = 0
    while at < len(lines):
        count = chance.randrange(1, 200)
        envelopes.append(envelope(lines[at : at + count], note='braces } and "quotes" \\ {'))
        at += count
    envelopes.insert(2, CONTROL)
    if packed == "members":
        (tmp_path / "log").write_bytes(b"".join(gzip.compress((e + between).encode()) for e in envelopes))
    else:
        raw = between.join(envelopes).encode()
        (tmp_path / "log").write_bytes(gzip.compress(raw) if packed == "gz" else raw)
    (tmp_path / "text").write_text("\n".join(lines) + "\n")
    flows, report = read(tmp_path / "log")
    assert report.records == 3000 and not report.skips
    assert [(c.reason, c.count) for c in report.coverage] == [(CONTROL_MESSAGE, 1)]
    assert content(flows) == content(read(tmp_path / "text")[0])


def test_other_wrappings_of_messages(tmp_path: Path) -> None:
    lines = generated(300).splitlines()
    (tmp_path / "firehose").write_text("".join(json.dumps({"message": line}) for line in lines))
    events = [{"logStreamName": "eni-1-all", "timestamp": 1, "message": line} for line in lines]
    (tmp_path / "filtered").write_text(json.dumps({"events": events, "searchedLogStreams": []}, indent=2))
    (tmp_path / "listed").write_text(json.dumps([json.loads(envelope(lines[:100])), json.loads(envelope(lines[100:]))]))
    (tmp_path / "text").write_text("\n".join(lines))
    expected = content(read(tmp_path / "text")[0])
    for name in ("firehose", "filtered", "listed"):
        flows, report = read(tmp_path / name)
        assert report.formats == {"aws-cloudwatch": 1} and not report.skips, name
        assert content(flows) == expected, name


def test_groups_of_different_formats_in_one_file(tmp_path: Path) -> None:
    rows = [dict(zip(DEFAULT_FIELDS, line.split(), strict=True)) for line in generated(400).splitlines()]
    default = [" ".join(row.values()) for row in rows[:200]]
    custom = [" ".join(row[name] for name in CUSTOM) for row in rows[200:]]
    parts = [
        envelope(default[:90]),
        envelope(custom[:50], "/other"),
        envelope(default[90:]),
        envelope(custom[50:], "/other"),
    ]
    (tmp_path / "log").write_text("".join(parts))
    _, report = read(tmp_path / "log", LogFormats(groups={"/other": CUSTOM}))
    assert report.records == 400 and not report.skips
    _, report = read(tmp_path / "log")
    assert report.records == 200
    assert [(s.reason.split(":")[0], s.count) for s in report.skips] == [
        ("messages of 10 fields whose format nobody told", 200)
    ]


def test_damage_in_envelopes_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = generated(30).splitlines()
    good = envelope(lines[:10])
    broken = envelope(lines[10:20]).replace('"id": "3",', '"id": 3 3,')
    odd = json.dumps({"messageType": "DATA_MESSAGE", "logEvents": [{"message": lines[20]}, {"message": 7}, "x"]})
    (tmp_path / "log").write_text(good + "junk" + broken + odd + json.dumps({"a": 1}) + good[:100])
    _, report = read(tmp_path / "log")
    assert report.records == 11
    assert {(s.reason.split(":")[0], s.count) for s in report.skips} == {
        ("no JSON", 1),
        ("bytes between JSON objects", 4),
        ("a log event without a message", 2),
        ("a JSON object that is no CloudWatch Logs envelope", 1),
        ("a JSON object that is cut short", 1),
    }


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=3), max_size=5),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
)
def test_objects_are_cut_wherever_the_pieces_end(texts: list[list[str]], cuts: list[int]) -> None:
    raw = "".join(envelope([" ".join(["x"] * 14), *messages]) for messages in texts).encode()
    pieces, at = [], 0
    while at < len(raw):
        size = cuts[len(pieces) % len(cuts)]
        pieces.append(raw[at : at + size])
        at += size
    skips = SkipCounts("x")
    joined = b"".join(aws_cloudwatch.lines(pieces, LogFormats(), skips))
    expected = "".join("\n".join([" ".join(["x"] * 14), *messages]) + "\n" for messages in texts)
    assert joined == expected.encode("utf-8", "replace") and not skips.counts


def test_an_export_to_s3_has_the_time_before_each_message(tmp_path: Path) -> None:
    lines = generated(500).splitlines()
    (tmp_path / "text").write_text("\n".join(lines))
    (tmp_path / "000000.gz").write_bytes(
        gzip.compress(
            "".join(f"2026-01-01T00:00:{i % 60:02}.{i % 1000:03}Z {line}\n" for i, line in enumerate(lines)).encode()
        )
    )
    flows, report = read(tmp_path / "000000.gz")
    assert report.records == 500 and not report.skips
    assert content(flows) == content(read(tmp_path / "text")[0])


def test_lines_without_header_need_a_format_and_get_it(tmp_path: Path) -> None:
    rows = [dict(zip(DEFAULT_FIELDS, line.split(), strict=True)) for line in generated(100).splitlines()]
    (tmp_path / "log").write_text(
        "".join("2026-01-01T00:00:00Z " + " ".join(r[n] for n in CUSTOM) + "\n" for r in rows)
    )
    _, report = read(tmp_path / "log")
    assert report.records == 0
    assert report.skips[0].reason.startswith("lines of 10 fields that may be flow-log records, without a header")
    for formats in (LogFormats(given=CUSTOM), LogFormats(groups={"a": CUSTOM, "b": DEFAULT_FIELDS})):
        _, report = read(tmp_path / "log", formats)
        assert report.records == 100 and not report.skips
    done = CliRunner().invoke(
        main, ["map", str(tmp_path / "log"), "--log-format", " ".join(f"${{{name}}}" for name in CUSTOM)]
    )
    assert done.exit_code == 0 and "records    100," in done.output
    done = CliRunner().invoke(main, ["map", str(tmp_path / "log"), "--log-format", "${no such field}"])
    assert done.exit_code == 2 and "no log format" in done.output


def test_formats_and_troubles_come_from_describe_flow_logs(tmp_path: Path) -> None:
    described = [
        {
            "FlowLogId": "fl-1", "ResourceId": "vpc-1", "LogGroupName": "/vpc", "TrafficType": "REJECT",
            "LogFormat": " ".join(f"${{{name}}}" for name in CUSTOM), "MaxAggregationInterval": 60,
            "DeliverLogsStatus": "FAILED", "DeliverLogsErrorMessage": "Rate limited",
        },
        {"FlowLogId": "fl-2", "ResourceId": "vpc-2", "LogGroupName": "/x", "LogFormat": "nonsense %"},
        {"ResourceId": "vpc-3"},
    ]  # fmt: skip
    (tmp_path / "flow-logs.json").write_text(json.dumps({"FlowLogs": described}))
    inventory = load_inventory([tmp_path / "flow-logs.json"])
    assert [(log.id, log.interval, log.error) for log in inventory.flow_logs] == [
        ("fl-1", 60, "Rate limited"),
        ("fl-2", 600, ""),
    ]
    assert [note.reason for note in inventory.notes] == ["FlowLogId is missing, so the object was left out"]
    assert log_formats((), inventory.flow_logs).groups == {"/vpc": CUSTOM}
    rows = [dict(zip(DEFAULT_FIELDS, line.split(), strict=True)) for line in generated(100).splitlines()]
    (tmp_path / "log").write_text(envelope([" ".join(row[name] for name in CUSTOM) for row in rows]))
    done = CliRunner().invoke(
        main, ["map", str(tmp_path / "log"), "--inventory", str(tmp_path / "flow-logs.json")], env={"COLUMNS": "200"}
    )
    assert done.exit_code == 0 and "records    100," in done.output
    assert "fl-1 of vpc-1" in done.output and "delivery failed: Rate limited" in done.output


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("${pkt-srcaddr}", "pkt-srcaddr"), ("log_status", "log-status"), ("logStatus", "log-status"), ("azId", "az-id"),
     ("instance-tag-2", "instance-tag-2"), ("SRCADDR", "srcaddr")],
)  # fmt: skip
def test_all_spellings_of_a_field_are_one(spelling: str, name: str) -> None:
    assert normalise(spelling) == name


@pytest.mark.parametrize("text", ["", "   ", "${}", "hello world", "${version} and <more>"])
def test_what_is_no_format_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no log format"):
        parse_log_format(text)
