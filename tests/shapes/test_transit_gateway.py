"""Transit Gateway flow logs: two networks, attachments as observers, lost packets."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analyzers.build_map import build_map
from analyzers.flows import FlowTable, address_text
from analyzers.identify import identify
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.inventory.load import load_inventory
from analyzers.inventory.resolve import cuts

HEADER = (
    "version resource-type account-id tgw-id tgw-attachment-id tgw-src-vpc-id tgw-dst-vpc-id srcaddr dstaddr srcport "
    "dstport protocol packets bytes start end log-status type packets-lost-no-route packets-lost-blackhole "
    "packets-lost-mtu-exceeded packets-lost-ttl-expired tcp-flags"
)


def row(
    networks: tuple[str, str], ends: tuple[str, str], ports: tuple[int, int], flags: int, at: int = 0,
    attachment: str = "tgw-attach-1", lost: str = "0 0 0 0",
) -> str:  # fmt: skip
    return (
        f"6 TransitGateway 1 tgw-1 {attachment} {networks[0]} {networks[1]} {ends[0]} {ends[1]} {ports[0]} {ports[1]} "
        f"6 3 300 {1_700_000_000 + at} {1_700_000_059 + at} OK IPv4 {lost} {flags}\n"
    )


def both_ways(client: tuple[str, str], server: tuple[str, str], port: int, at: int = 0, **more: str) -> str:
    """A request and its reply; ends are (network, address)."""
    return row((client[0], server[0]), (client[1], server[1]), (40000, port), 2, at, **more) + row(
        (server[0], client[0]), (server[1], client[1]), (port, 40000), 18, at, **more
    )


def write(path: Path, text: str) -> Path:
    path.write_text(HEADER + "\n" + text)
    return path


def ends_of(flows: FlowTable) -> set[tuple[str, str, str, str, int]]:
    found = set()
    networks = {side: flows.end_networks(side) for side in ("client", "server")}
    for i in range(len(flows)):
        where = []
        for side in ("client", "server"):
            names, of_row = networks[side]
            where += [names[of_row[i]], address_text(flows[f"{side}_hi"][i], flows[f"{side}_lo"][i])]
        found.add((*where, int(flows["port"][i])))
    return found  # type: ignore[return-value]


def test_each_end_has_its_own_network_whichever_address_is_lower(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log",
        both_ways(("vpc-a", "10.0.0.5"), ("vpc-b", "10.1.0.9"), 443)
        + both_ways(("vpc-b", "10.1.0.7"), ("vpc-a", "10.0.0.5"), 5432)
        + both_ways(("vpc-b", "10.1.0.7"), ("vpc-b", "10.1.0.9"), 80)
        + both_ways(("vpc-a", "10.0.0.5"), ("-", "192.168.7.7"), 22)
        + both_ways(("vpc-a", "2001:db8::5"), ("vpc-b", "10.1.0.9"), 8443),
    )
    flows, report = aggregate([str(log)])
    assert report.records == 10 and not report.skips and not report.notes
    assert ends_of(flows) == {
        ("vpc-a", "10.0.0.5", "vpc-b", "10.1.0.9", 443),
        ("vpc-b", "10.1.0.7", "vpc-a", "10.0.0.5", 5432),
        ("vpc-b", "10.1.0.7", "vpc-b", "10.1.0.9", 80),
        ("vpc-a", "10.0.0.5", "", "192.168.7.7", 22),
        ("vpc-a", "2001:db8::5", "vpc-b", "10.1.0.9", 8443),
    }
    assert set(flows.observers) == {"", "tgw-attach-1"}
    assert set(flows["verdict"].tolist()) == {0}


@pytest.mark.parametrize("threads", [1, 2])
def test_many_networks_in_many_files(tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More networks than fit into the tables at first, and the same pairs read by different threads."""
    monkeypatch.setattr("analyzers.ingest.planning.RANGE_BYTES", 40_000)
    chance = random.Random(3)
    expected = set()
    lines = []
    for number in range(3000):
        client = (f"vpc-{chance.randrange(1500):04}", f"10.{number % 200}.{number // 200}.{chance.randrange(250)}")
        server = (f"vpc-{chance.randrange(1500):04}", f"10.{chance.randrange(200)}.7.9")
        expected.add((*client, *server, 443))
        lines.append(both_ways(client, server, 443, number))
    log = write(tmp_path / "log", "".join(lines))
    flows, report = aggregate([str(log)], IngestOptions(threads=threads))
    assert report.records == 6000 and not report.skips
    assert ends_of(flows) == expected


def test_parquet_tells_the_same(tmp_path: Path) -> None:
    rows = [
        both_ways((f"vpc-{i % 7}", f"10.0.{i}.5"), (f"vpc-{i % 5}" if i % 3 else "-", f"10.0.{i * 7 % 250}.9"), 443)
        for i in range(200)
    ]
    log = write(tmp_path / "log", "".join(rows))
    cells = [line.split() for line in "".join(rows).splitlines()]
    columns = {
        name.replace("-", "_"): [None if row[place] == "-" else row[place] for row in cells]
        for place, name in enumerate(HEADER.split())
    }
    pq.write_table(pa.table(columns), tmp_path / "parquet", row_group_size=150)
    texts, _ = aggregate([str(log)])
    found, report = aggregate([str(tmp_path / "parquet")])
    assert report.records == 400 and not report.skips
    assert ends_of(found) == ends_of(texts)


def inventory(tmp_path: Path) -> Path:
    """10.0.0.5 in two VPCs, and 10.1.0.9 in one."""
    described = [
        {
            "NetworkInterfaceId": f"eni-{name}", "VpcId": network, "PrivateIpAddress": address, "Description": name,
            "InterfaceType": "interface", "PrivateIpAddresses": [{"PrivateIpAddress": address, "Primary": True}],
        }
        for name, network, address in (
            ("web", "vpc-a", "10.0.0.5"), ("other", "vpc-c", "10.0.0.5"), ("db", "vpc-b", "10.1.0.9"),
        )
    ]  # fmt: skip
    path = tmp_path / "interfaces.json"
    path.write_text(json.dumps({"NetworkInterfaces": described}))
    return path


def test_an_edge_crosses_two_networks(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log",
        both_ways(("vpc-a", "10.0.0.5"), ("vpc-b", "10.1.0.9"), 5432)
        + both_ways(("vpc-b", "10.1.0.9"), ("vpc-d", "10.0.0.5"), 80),
    )
    known = load_inventory([inventory(tmp_path)])
    flows, _ = aggregate([str(log)])
    found, _ = build_map(identify(flows, known))
    (edge,) = found.edges
    assert (str(edge.client), str(edge.server), edge.port) == ("web", "db", 5432)
    assert edge.networks == ("vpc-a", "vpc-b")
    # vpc-d is in no inventory, and the address in two networks of it: nobody is guessed
    assert [u.records for u in found.unresolved] == [2]
    assert "ambiguous address" in found.unresolved[0].reason
    assert found.unresolved[0].samples == ("10.1.0.9 -> 10.0.0.5 TCP 80 in vpc-d and vpc-b",)


def test_what_an_interface_and_a_transit_gateway_recorded_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "tgw.log", both_ways(("vpc-a", "10.0.0.5"), ("vpc-b", "10.1.0.9"), 5432))
    (tmp_path / "vpc.log").write_text(
        "version vpc-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action tcp-flags "
        "log-status\n"
        "3 vpc-b eni-db 10.0.0.5 10.1.0.9 40000 5432 6 3 300 1700000000 1700000059 ACCEPT 2 OK\n"
        "3 vpc-b eni-db 10.1.0.9 10.0.0.5 5432 40000 6 3 300 1700000000 1700000059 ACCEPT 18 OK\n"
    )
    known = load_inventory([inventory(tmp_path)])
    flows, report = aggregate([str(tmp_path / "tgw.log"), str(tmp_path / "vpc.log")])
    assert report.records == 4
    edges = [e for e in build_map(identify(flows, known))[0].edges if str(e.server) == "db" and str(e.client) == "web"]
    assert [(e.records, e.packets, e.reply_packets) for e in edges] == [(2, 3, 3)]


def test_owners_change_in_the_ends_own_networks(tmp_path: Path) -> None:
    """A row of a pair of networks never spans two owners of an address."""
    (tmp_path / "owners.csv").write_text(
        "address,name,network,since,until\n10.0.0.5,old,vpc-a,1699990000,1700000100\n10.0.0.5,new,vpc-a,1700000100,\n"
        "10.0.0.5,elsewhere,vpc-c,1700000200,\n"
    )
    known = load_inventory([tmp_path / "owners.csv"])
    server = ("vpc-b", "10.1.0.9")
    log = write(
        tmp_path / "log",
        "".join(both_ways(("vpc-a", "10.0.0.5"), server, 443, at) for at in (0, 20, 120, 220, 300)),
    )
    flows, _ = aggregate([str(log)], IngestOptions(cuts=cuts(known)))
    found, _ = build_map(identify(flows, known))
    assert sorted((str(e.client), e.records) for e in found.edges) == [("new", 6), ("old", 4)]


def test_lost_packets_are_facts_by_attachment(tmp_path: Path) -> None:
    client, server = ("vpc-a", "10.0.0.5"), ("vpc-b", "10.1.0.9")
    log = write(
        tmp_path / "log",
        both_ways(client, server, 443, lost="1 2 3 4")
        + both_ways(client, server, 443, 60, lost="10 0 0 -")
        + both_ways(client, server, 443, attachment="tgw-attach-2"),
    )
    _, report = aggregate([str(log)], IngestOptions(threads=1))
    assert not report.skips
    assert report.lost_packets == {
        "tgw-attach-1": {"no-route": 22, "blackhole": 4, "mtu-exceeded": 6, "ttl-expired": 8}
    }


def test_bad_rows_have_their_reasons(tmp_path: Path) -> None:
    good = both_ways(("vpc-a", "10.0.0.5"), ("vpc-b", "10.1.0.9"), 443)
    log = write(
        tmp_path / "log", good + good.replace("10.1.0.9", "10.1.0.256") + good.replace("0 0 0 0", "0 x 0 0") + "6 x\n"
    )
    _, report = aggregate([str(log)])
    assert report.records == 2
    assert {s.reason: s.count for s in report.skips} == {
        "an address that is none": 2,
        "packets or bytes that are no number below 2^63": 2,
        "wrong number of fields": 1,
    }
