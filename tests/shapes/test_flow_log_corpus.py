"""Every sample of the corpus: its rows, or the reason why it has none."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from analyzers.flows import address_text
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.log_formats import LogFormats, parse_log_format

CORPORA = os.environ.get("FLOWCTL_CORPORA")
SAMPLES = Path(CORPORA or "/nowhere") / "flow-logs"
pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="FLOWCTL_CORPORA is not set or holds no flow-logs: SAMPLES OF THE CORPUS ARE NOT READ"
)

COUNT = "wrong number of fields"
NODATA = "NODATA: no traffic in the window"
SKIPDATA = "SKIPDATA: the log lost records in the window"
NONE = "no flow log and no capture"
UNREAD = "recognised as {}, which flowctl does not read yet"

READ: dict[str, tuple[str, int, dict[str, int]]] = {  # file -> format, records, reasons
    "aws/flowlogs-reader/v2-default.log": ("aws-vpc", 3, {NODATA: 1, SKIPDATA: 1}),
    "aws/flowlogs-reader/v2-millisecond-timestamps.log": ("aws-vpc", 0, {SKIPDATA: 1}),
    "aws/flowlogs-reader/v2-with-bogus-line.log": ("aws-vpc", 3, {NODATA: 1, SKIPDATA: 1, COUNT: 1}),
    "aws/flowlogs-reader/v3.log": ("aws-vpc", 2, {}),
    "aws/flowlogs-reader/v4.log": ("aws-vpc", 2, {}),
    "aws/flowlogs-reader/v5-with-bogus-line.log": ("aws-vpc", 2, {COUNT: 1}),
    "aws/flowlogs-reader/flows.parquet": ("aws-vpc-parquet", 1, {NODATA: 2}),
    "aws/opentelemetry-collector-contrib/valid_vpc_flow_log.log": ("aws-vpc", 0, {NODATA: 1}),
    "aws/opentelemetry-collector-contrib/valid_vpc_flow_log_ecs.log": ("aws-vpc", 1, {}),
    "aws/opentelemetry-collector-contrib/valid_tgw_flow_log.log": ("aws-vpc", 1, {}),
    "aws/opentelemetry-collector-contrib/valid_vpc_flow_cw.json": ("aws-cloudwatch", 2, {}),
    "aws/opentelemetry-collector-contrib/valid_vpc_flow_cw_custom.json": (
        "aws-cloudwatch",
        0,
        {
            "messages of 4 fields whose format nobody told: give --log-format, "
            "or describe-flow-logs JSON as --inventory": 2
        },
    ),
    "aws/opentelemetry-collector-contrib/vpc_flow_log_too_few_fields.log": ("aws-vpc", 0, {COUNT: 1}),
}

REFUSED: dict[str, str] = {  # file -> how its reason begins
    "aws/flowlogs-reader/v6-tgw-partial-fields.log": "the format lacks srcaddr (or pkt-srcaddr), dstaddr (or pkt-",
    "aws/flowlogs-reader/*.expected.json": NONE,
    "aws/opentelemetry-collector-contrib/*.yaml": NONE,
    "azure/Azure-flowlog-parser/sample-flowlog.json": UNREAD.format("an Azure VNet flow log"),
    "azure/azure-vnet-flow-logs/appended-block-fragment.txt": UNREAD.format("an Azure VNet flow log"),
    "azure/azure-vnet-flow-logs/flow-tuples.txt": UNREAD.format("Azure flow tuples"),
    "azure/azure-vnet-flow-logs/vnet-v4-pt1h.json": UNREAD.format("an Azure VNet flow log"),
    "azure/azure-vnet-flow-logs/blob-paths.txt": NONE,
    "azure/cortex-azure-functions/nsg-v2-pt1h.json": UNREAD.format("an Azure NSG flow log"),
    "azure/cortex-azure-functions/vnet-*.json": UNREAD.format("an Azure VNet flow log"),
    "azure/cortex-azure-functions/truncated-blob.json": NONE,
    "gcp/opentelemetry-collector-contrib/*": UNREAD.format("GCP VPC flow logs"),
    "hubble/cpg/empty.jsonl": "the file is empty",
    "hubble/cpg/[!e]*.jsonl*": UNREAD.format("Hubble flows"),
    "zeek/zat/conn-bro2-excerpt.log": UNREAD.format("a Zeek conn.log"),
    "zeek/zat/conn-zeek4.log": UNREAD.format("a Zeek conn.log"),
    "zeek/zat/conn-json-excerpt.log": UNREAD.format("a Zeek conn.log as JSON"),
    "**/LICENSE*": NONE,
    "**/README*": NONE,
}


def test_no_sample_is_left_out() -> None:
    named = {path for name in (*READ, *REFUSED) for path in SAMPLES.glob(name) if path.is_file()}
    assert named == {path for path in SAMPLES.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(READ))
def test_a_sample_gives_its_rows_and_its_reasons(name: str) -> None:
    kind, records, expected = READ[name]
    flows, report = aggregate([str(SAMPLES / name)])
    assert report.formats == {kind: 1}
    assert report.records == records == int(flows["records"].sum())
    found: Counter[str] = Counter()
    for skip in (*report.skips, *report.coverage):
        found[skip.reason] += skip.count
    assert dict(found) == expected


def test_everything_else_is_refused_by_name() -> None:
    _, report = aggregate([str(SAMPLES)])
    reasons = {skip.source: skip.reason for skip in report.skips}
    for name, beginning in REFUSED.items():
        paths = [path for path in SAMPLES.glob(name) if path.is_file()]
        assert paths
        for path in paths:
            assert reasons[str(path)].startswith(beginning), path


@pytest.mark.parametrize("name", ["v3.log", "v4.log", "v5-with-bogus-line.log", "flows.parquet"])
def test_rows_are_what_the_samples_own_tests_expect(name: str) -> None:
    """Against the `expected.json` beside the sample: the packets' own addresses where they are told."""
    folder = SAMPLES / "aws/flowlogs-reader"
    expected: Counter[tuple[object, ...]] = Counter()
    for row in json.loads((folder / f"{name}.expected.json").read_text()):
        if row.get("log_status", "OK") == "OK":
            ends = sorted(row.get(f"pkt_{end}addr", row[f"{end}addr"]) for end in ("src", "dst"))
            expected[*ends, row["protocol"]] += row["bytes"]
    flows, _ = aggregate([str(folder / name)])
    found: Counter[tuple[object, ...]] = Counter()
    for i in range(len(flows)):
        ends = sorted(address_text(flows[f"{end}_hi"][i], flows[f"{end}_lo"][i]) for end in ("client", "server"))
        found[*ends, int(flows["protocol"][i])] += int(flows["bytes"][i] + flows["reply_bytes"][i])
    assert found == expected


def test_messages_of_four_fields_are_understood_and_make_no_flow() -> None:
    path = SAMPLES / "aws/opentelemetry-collector-contrib/valid_vpc_flow_cw_custom.json"
    fields = parse_log_format("${version} ${interface-id} ${srcaddr} ${dstaddr}")
    for formats in (LogFormats(given=fields), LogFormats(groups={"/aws/vpc/flowlogs": fields})):
        _, report = aggregate([str(path)], IngestOptions(log_formats=formats))
        (skip,) = report.skips
        assert (skip.reason, skip.count) == (
            "the format lacks srcport, dstport, protocol: no flow can be made of its records",
            2,
        )


def test_milliseconds_are_seconds(tmp_path: Path) -> None:
    text = (SAMPLES / "aws/flowlogs-reader/v2-default.log").read_text()
    (tmp_path / "seconds").write_text(text)
    (tmp_path / "milliseconds").write_text(
        "".join(
            " ".join([*p[:10], p[10] + "123", p[11] + "123", *p[12:]]) + "\n" for p in map(str.split, text.splitlines())
        )
    )
    reports = [aggregate([str(tmp_path / name)])[1] for name in ("seconds", "milliseconds")]
    assert reports[0].records == 3
    assert (reports[0].first, reports[0].last, reports[0].windows) == (
        reports[1].first, reports[1].last, reports[1].windows,
    )  # fmt: skip
