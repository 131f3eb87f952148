"""The kernel against its slow twin: the same sums and the same reasons, whatever the text."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.flows import FlowTable, IngestReport, address_text
from analyzers.ingest.aggregate import IngestOptions, aggregate, cut_facts
from analyzers.ingest.planning import plan
from analyzers.ingest.reading import Worker
from analyzers.ingest.sources import Source
from analyzers.ingest.worker_tables import WorkerTables
from analyzers.kernels.record import S_CONNECTIONS
from analyzers.kernels.tables import ALL_TIME
from analyzers.objects.key_layout import Window
from analyzers.ports import EPHEMERAL_START, SERVICE_PORTS
from tests.ingest import text_twin

SERVICES = {p for p in SERVICE_PORTS if p < EPHEMERAL_START}
V5 = [
    "version",
    "vpc-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "tcp-flags",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
    "flow-direction",
    "brand-new-column",
]


def read(path: Path | list[Path], **options: object) -> tuple[FlowTable, IngestReport]:
    paths = path if isinstance(path, list) else [path]
    return aggregate([str(p) for p in paths], IngestOptions(**options))  # type: ignore[arg-type]


def settled(flows: FlowTable) -> dict[tuple[object, ...], text_twin.Sums]:
    """Rows whose direction the record itself settled, as the twin keeps them."""
    found: dict[tuple[object, ...], text_twin.Sums] = {}
    for i in range(len(flows)):
        key = (
            flows.networks[flows["network"][i]],
            address_text(flows["client_hi"][i], flows["client_lo"][i]),
            address_text(flows["server_hi"][i], flows["server_lo"][i]),
            int(flows["port"][i]), int(flows["protocol"][i]), int(flows["verdict"][i]),
            flows.observers[flows["observer"][i]],
        )  # fmt: skip
        sums = text_twin.Sums(
            *(int(flows[c][i]) for c in ("records", "packets", "bytes", "reply_packets", "reply_bytes")),
            int(flows["first"][i]), int(flows["last"][i]),
        )  # fmt: skip
        assert key not in found
        found[key] = sums
    return found


def reasons(report: IngestReport) -> dict[str, int]:
    found: dict[str, int] = {}
    for skip in (*report.skips, *report.coverage):
        reason = skip.reason.split(":")[0] if skip.reason.startswith(("NODATA", "SKIPDATA")) else skip.reason
        found[reason] = found.get(reason, 0) + skip.count
    return found


good_address = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "::ffff:1.2.3.4", "::ffff:0:0"]),
)
bad = st.sampled_from(
    ["-", "", "x", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "99999", "-1", "1e3", "1:2:3", "::1::", "9" * 20]
)
port = st.one_of(st.sampled_from([443, 53, 8080, 40000, 50051, 65535]), st.integers(0, 65535)).map(str)
counter = st.one_of(st.integers(0, 10**6), st.integers(0, 2**63 + 5)).map(str)
time = st.one_of(st.integers(1_700_000_000, 1_700_009_999), st.just(1_700_000_000_123), st.just(2**62)).map(str)


def mostly(good: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 19).flatmap(lambda roll: bad if roll == 0 else good)


COLUMNS: dict[str, st.SearchStrategy[str]] = {
    "version": st.just("2"),
    "account-id": st.just("123456789012"),
    "interface-id": st.sampled_from(["eni-0123456789abcdef0", "eni-1", "-", "eni-" + "a" * 40, "eni-" + "b" * 40]),
    "vpc-id": st.sampled_from(["vpc-1", "vpc-0123456789abcdef0", "-"]),
    "srcaddr": mostly(good_address), "dstaddr": mostly(good_address),
    "pkt-srcaddr": mostly(good_address), "pkt-dstaddr": mostly(good_address),
    "srcport": mostly(port), "dstport": mostly(port),
    "protocol": st.sampled_from(["6", "17", "1", "132", "256", "-"]),
    "tcp-flags": st.sampled_from(["-", "0", "2", "3", "18", "19", "4", "300"]),
    "packets": mostly(counter), "bytes": mostly(counter), "start": mostly(time), "end": mostly(time),
    "action": st.sampled_from(["ACCEPT", "ACCEPT", "REJECT", "-", "DROP"]),
    "log-status": st.sampled_from(["OK", "OK", "OK", "NODATA", "SKIPDATA", "NONE"]),
    "flow-direction": st.sampled_from(["ingress", "egress", "-"]),
    "brand-new-column": st.text("xyz", min_size=1, max_size=9),
}  # fmt: skip


def lines(fields: list[str]) -> st.SearchStrategy[str]:
    # an empty field that is not looked at may count as one, or as a double blank: either reading is right
    aside = {"srcaddr", "dstaddr"} if "pkt-srcaddr" in fields else set()
    row = st.tuples(*(COLUMNS[f].filter(bool) if f in aside else COLUMNS[f] for f in fields)).map(list)
    separator = st.sampled_from([" ", " ", " ", "  "])
    ending = st.sampled_from(["\n", "\n", "\r\n", "\n\n"])
    line = st.tuples(row, separator, ending).map(lambda t: t[1].join(t[0]) + t[2])
    return st.lists(line, min_size=1, max_size=40).map("".join)


@pytest.mark.parametrize("fields", [text_twin.DEFAULT, V5], ids=["v2", "v5"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_text_gives_the_sums_and_reasons_of_the_twin(
    tmp_path: Path, fields: list[str], data: st.DataObject
) -> None:
    text = data.draw(lines(fields))
    header = "" if fields is text_twin.DEFAULT else " ".join(fields) + "\n"
    path = tmp_path / "log"
    path.write_bytes((header + text).encode())
    flows, report = read(path, format="aws-vpc", threads=1)
    twin = text_twin.read(text, SERVICES, fields)
    assert reasons(report) == dict(twin.skips)
    assert report.records == sum(s.records for s in twin.services.values()) + twin.unsettled
    own = settled(flows.take((flows["direction"] == 1) | (flows["evidence"] & 8 != 0)))
    assert {k: v for k, v in own.items() if k in twin.services} == dict(twin.services)


def generated(rows: int, seed: int = 5) -> str:
    chance = random.Random(seed)
    out = []
    for i in range(rows):
        client, server = f"10.{chance.randrange(3)}.0.{chance.randrange(1, 99)}", f"10.9.0.{chance.randrange(1, 30)}"
        port, ephemeral = chance.choice([443, 53, 5432, 8080]), chance.randrange(32768, 61000)
        ends = (client, server, ephemeral, port) if chance.random() < 0.5 else (server, client, port, ephemeral)
        out.append(
            "2 123456789012 eni-{:017x} {} {} {} {} 6 {} {} {} {} {} OK\n".format(
                chance.randrange(60), *ends, chance.randrange(9), chance.randrange(10**6),
                1_700_000_000 + i, 1_700_000_060 + i, chance.choice(["ACCEPT", "REJECT"]),
            )
        )  # fmt: skip
    return "".join(out)


@pytest.mark.parametrize("how", ["plain", "gz", "members", "zst", "two-threads", "many-files"])
def test_however_the_bytes_arrive_the_sums_are_the_same(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = generated(20_000).encode()
    twin = text_twin.read(text.decode(), SERVICES)
    middle = text.index(b"\n", len(text) // 2) + 1
    paths = [tmp_path / "log"]
    if how == "gz":
        paths[0].write_bytes(gzip.compress(text))
    elif how == "members":
        paths[0].write_bytes(gzip.compress(text[: middle + 7]) + gzip.compress(text[middle + 7 :]) + b"\0" * 512)
    elif how == "zst":
        paths[0].write_bytes(zstandard.compress(text))
    elif how == "many-files":
        paths.append(tmp_path / "more")
        paths[0].write_bytes(text[:middle])
        paths[1].write_bytes(gzip.compress(text[middle:]))
    else:
        paths[0].write_bytes(text)
    if how == "two-threads":
        monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 100_000)
    flows, report = read(paths, threads=2)
    assert report.skips == ()
    assert settled(flows) == dict(twin.services)


def test_damage_keeps_what_came_before_and_says_where(tmp_path: Path) -> None:
    text = generated(30_000).encode()
    packed = gzip.compress(text)
    (tmp_path / "cut.gz").write_bytes(packed[: len(packed) // 2])
    _, report = read(tmp_path / "cut.gz")
    assert 1000 < report.records < 30_000
    assert any(s.reason == "gzip member cut short" and s.samples[0].startswith("offset ") for s in report.skips)


def test_a_header_without_addresses_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "bad.log").write_text("version srcaddr srcport dstport protocol\n2 10.0.0.1 1 2 6\n")
    (tmp_path / "good.log").write_text(generated(10))
    (tmp_path / "README").write_text("This is no flow log at all, nor will it ever be one.\n")
    flows, report = read(tmp_path)
    assert report.records == 10 and len(flows)
    assert {s.reason.split(":")[0] for s in report.skips} == {
        "the format lacks dstaddr (or pkt-dstaddr)",
        "no flow log and no capture",
    }


def test_lines_below_another_header_are_read_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 2000)
    second = "dstport srcport dstaddr srcaddr protocol interface-id start end packets bytes\n"
    second += "443 40000 10.0.0.2 10.0.0.1 6 eni-9 1700000000 1700000001 5 500\n" * 100
    (tmp_path / "log").write_text(generated(100) + second)
    flows, report = read(tmp_path / "log", threads=2)
    assert report.records == 200 and not report.skips
    mine = flows.take(flows["bytes"] == 50_000)
    assert (
        len(mine) == 1
        and mine["port"][0] == 443
        and address_text(mine["client_hi"][0], mine["client_lo"][0]) == "10.0.0.1"
    )


def test_a_line_that_never_ends_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(generated(5) + "2 " + "x" * 5_000_000 + "\n" + generated(5))
    _, report = read(tmp_path / "log")
    assert report.records >= 9
    assert any(s.reason == "a line longer than any record" for s in report.skips)


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT=1", "NUMBA_CPU_NAME=generic"])
def test_the_same_answers_without_the_jit_and_without_vector_instructions(tmp_path: Path, setting: str) -> None:
    (tmp_path / "log").write_text(generated(60) + "bogus\n2 1 eni-1 - - - - - - - 1 2 - NODATA\n")
    script = (
        "import sys; from analyzers.ingest.aggregate import aggregate; f, r = aggregate([sys.argv[1]]); "
        "print(sorted(zip(*(c.tolist() for c in f.columns.values()))), r.records, r.skips, r.coverage)"
    )
    outputs = []
    for settings_now in ({}, dict([setting.split("=")])):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "log")],
            capture_output=True, text=True, check=True, env={**os.environ, **settings_now},
        )  # fmt: skip
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


def connection_rows(paths: list[Path], span: int = int(ALL_TIME)) -> list[list[object]]:
    """The connection rows of files, each read into tables of its own, which the first ones then absorb; sorted."""
    first: WorkerTables | None = None
    for path in paths:
        tables = WorkerTables((), {}, span=span)
        worker = Worker(tables, cut_facts(IngestOptions(), ()), ())
        for item in plan([Source(str(path))], None, frozenset(), [])[0]:
            worker.process(item)
        if first is None:
            first = tables
        else:
            first.absorb(tables)
    assert first is not None
    names, rows = first.observer_names(), first.tables.connections[: first.tables.state[S_CONNECTIONS]].tolist()
    return sorted([*row[:5], names[row[5] & 0xFFFF_FFFF], *row[6:]] for row in rows)


def test_no_connection_row_spans_two_time_slices(tmp_path: Path) -> None:
    chance = random.Random(5)
    lines: list[str] = []
    for _ in range(9000):
        ends = [f"10.0.0.{chance.randrange(4)} {40000 + chance.randrange(300)}", "10.0.1.1 50000"]
        (src, sport), (dst, dport) = (end.split(" ") for end in chance.sample(ends, 2))
        start = 1_700_000_000 + chance.randrange(3600)
        lines.append(
            f"2 1 eni-{chance.randrange(2)} {src} {dst} {sport} {dport} 6 3 99 {start} {start + 60} ACCEPT OK\n"
        )
    (tmp_path / "one").write_text("".join(lines[:5000]))
    (tmp_path / "other").write_text("".join(lines[5000:]))
    found = connection_rows([tmp_path / "one", tmp_path / "other"], 900)
    expected: list[list[object]] = []
    slices = {int(line.split(" ")[10]) // 900 for line in lines}
    for number in slices:
        (tmp_path / "part").write_text("".join(line for line in lines if int(line.split(" ")[10]) // 900 == number))
        expected += connection_rows([tmp_path / "part"])
    assert len(slices) > 3 and len(found) > 3000  # the index has grown, and was filled anew
    assert found == sorted(expected)
    assert len(connection_rows([tmp_path / "one", tmp_path / "other"])) < len(found) / 2


def test_records_outside_of_the_window_are_only_counted(tmp_path: Path) -> None:
    lines = [line for line in generated(300).splitlines(keepends=True) if line[0] == "2"]
    for at in range(0, len(lines), 3):
        fields = lines[at].split(" ")
        fields[10], fields[11] = str(int(fields[10]) + at * 37), str(int(fields[11]) + at * 37)
        lines[at] = " ".join(fields)
    (tmp_path / "log").write_text("".join(lines))
    ends = sorted(int(line.split(" ")[11]) for line in lines)
    window = Window(ends[len(ends) // 2], ends[len(ends) * 3 // 4])
    inside = [line for line in lines if window.since <= int(line.split(" ")[11]) < window.until]  # type: ignore[operator]
    (tmp_path / "inside").write_text("".join(inside))
    flows, report = read(tmp_path / "log", window=window)
    alone, told = read(tmp_path / "inside")
    assert 10 < len(inside) < len(lines) - 10
    assert settled(flows) == settled(alone)
    assert (report.records, report.first, report.last, report.windows) == (
        told.records, told.first, told.last, told.windows,
    )  # fmt: skip
    outside, _ = read(tmp_path / "log")
    counted = int(outside["records"].sum()) - told.records
    assert f"{counted} records end outside of the window: not counted" in report.notes


def test_no_row_spans_two_time_slices(tmp_path: Path) -> None:
    lines = [line for line in generated(400).splitlines(keepends=True) if line[0] == "2"]
    for at in range(0, len(lines), 3):  # times of several hours, in no order
        fields = lines[at].split(" ")
        fields[10], fields[11] = str(int(fields[10]) + at * 37), str(int(fields[11]) + at * 37)
        lines[at] = " ".join(fields)
    (tmp_path / "log").write_text("".join(lines))
    sliced, _ = read(tmp_path / "log", slice_seconds=900, threads=1)
    expected: dict[int, list[str]] = {}
    for line in lines:
        expected.setdefault(int(line.split(" ")[10]) // 900, []).append(line)
    assert len(expected) > 3
    for number, part in expected.items():
        (tmp_path / "part").write_text("".join(part))
        alone, _ = read(tmp_path / "part")
        assert settled(sliced.take(sliced["first"] // 900 == number)) == settled(alone)
