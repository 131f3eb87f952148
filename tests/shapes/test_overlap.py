"""Several flow logs over one interface, gateways in the way, and formats that cannot tell pods."""

from __future__ import annotations

import json
from pathlib import Path

from analyzers.blind_spots import blind_spots
from analyzers.build_map import build_map
from analyzers.flows import IngestReport
from analyzers.identify import identify
from analyzers.ingest.aggregate import IngestOptions, aggregate
from analyzers.ingest.flow_logs import flow_log_of
from analyzers.inventory import Inventory
from analyzers.inventory.load import load_inventory
from analyzers.inventory.resolve import interface_networks
from analyzers.servicemap import Edge, ServiceMap

REQUEST = "2 1 {eni} 10.0.0.5 10.0.1.9 40000 443 6 {packets} {bytes} {at} {to} ACCEPT OK\n"
REPLY = "2 1 {eni} 10.0.1.9 10.0.0.5 443 40000 6 {packets} {bytes} {at} {to} ACCEPT OK\n"


def records(enis: list[str], windows: int, first: int = 1_700_000_000) -> str:
    out = []
    for window in range(windows):
        times = {"at": first + 60 * window, "to": first + 60 * window + 59}
        for eni in enis:
            out.append(REQUEST.format(eni=eni, packets=3, bytes=300, **times))
            out.append(REPLY.format(eni=eni, packets=2, bytes=2000, **times))
    return "".join(out)


def s3_name(log: str, hour: int = 0, ending: str = "log") -> str:
    return f"123456789012_vpcflowlogs_eu-west-1_{log}_20231114T{hour:02}00Z_abcdef{hour}.{ending}"


def mapped(paths: list[Path], inventory: Inventory | None = None) -> tuple[ServiceMap, IngestReport]:
    known = inventory or Inventory()
    flows, report = aggregate(
        [str(p) for p in paths], IngestOptions(threads=2, interface_networks=interface_networks(known))
    )
    return build_map(identify(flows, known))[0], report


def counters(edge: Edge) -> tuple[int, int, int, int, int]:
    return edge.records, edge.packets, edge.bytes, edge.reply_packets, edge.reply_bytes


def test_the_flow_log_is_found_in_the_names_of_s3_objects() -> None:
    assert flow_log_of(f"bucket/AWSLogs/1/vpcflowlogs/eu-west-1/2023/11/14/{s3_name('fl-0a1b')}") == "fl-0a1b"
    assert flow_log_of("x/" + s3_name("fl-0a1b", ending="log.parquet")) == "fl-0a1b"
    assert flow_log_of("some/flows.log.gz") == flow_log_of("-") == flow_log_of("a_fl-1_b.log") == ""


def test_what_several_flow_logs_recorded_counts_once_and_is_said(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / s3_name("fl-1")).write_text(records(["eni-a", "eni-b"], 5))
    once, report = mapped([alone])
    assert not report.notes
    both = tmp_path / "both"
    both.mkdir()
    (both / s3_name("fl-1")).write_text(records(["eni-a", "eni-b"], 5))
    (both / s3_name("fl-2")).write_text(records(["eni-a"], 3))
    (both / s3_name("fl-2", 1)).write_text(records(["eni-a"], 2, 1_700_000_180))
    (both / s3_name("fl-3")).write_text(records(["eni-a"], 1))
    twice, report = mapped([both])
    assert [counters(e) for e in twice.edges] == [counters(e) for e in once.edges] == [(10, 15, 1500, 10, 10_000)]
    assert report.records == 20 + 10 + 2
    assert report.notes == (
        "1 interfaces are covered by several flow logs (fl-1, fl-2, fl-3): what more than one recorded counts once",
    )


def test_one_flow_log_in_many_objects_is_still_added_up(tmp_path: Path) -> None:
    for hour in range(4):
        (tmp_path / s3_name("fl-1", hour)).write_text(records(["eni-a"], 5, 1_700_000_000 + 3600 * hour))
    edges = mapped([tmp_path])[0].edges
    assert [counters(e) for e in edges] == [(40, 60, 6000, 40, 40_000)]


def interface(name: str, address: str, kind: str = "interface", more: tuple[str, ...] = ()) -> dict[str, object]:
    addresses = [{"PrivateIpAddress": a, "Primary": a == address} for a in (address, *more)]
    return {
        "NetworkInterfaceId": name, "VpcId": "vpc-1", "PrivateIpAddress": address, "InterfaceType": kind,
        "PrivateIpAddresses": addresses, "RequesterManaged": kind != "interface", "Description": name,
    }  # fmt: skip


def aws(tmp_path: Path, *interfaces: dict[str, object]) -> Inventory:
    path = tmp_path / "describe-network-interfaces.json"
    path.write_text(json.dumps({"NetworkInterfaces": list(interfaces)}))
    return load_inventory([path])


NAT_V5 = """version interface-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr srcport dstport protocol packets bytes start end action log-status
5 eni-web 10.0.0.5 198.51.100.7 10.0.0.5 198.51.100.7 40000 443 6 3 300 1700000000 1700000059 ACCEPT OK
5 eni-nat 10.0.0.5 10.0.9.9 10.0.0.5 198.51.100.7 40000 443 6 3 300 1700000000 1700000059 ACCEPT OK
5 eni-nat 10.0.9.9 198.51.100.7 10.0.9.9 198.51.100.7 50000 443 6 3 300 1700000000 1700000059 ACCEPT OK
5 eni-nat 198.51.100.7 10.0.9.9 198.51.100.7 10.0.9.9 443 50000 6 2 900 1700000000 1700000059 ACCEPT OK
5 eni-nat 10.0.9.9 10.0.0.5 198.51.100.7 10.0.0.5 443 40000 6 2 900 1700000000 1700000059 ACCEPT OK
5 eni-web 198.51.100.7 10.0.0.5 198.51.100.7 10.0.0.5 443 40000 6 2 900 1700000000 1700000059 ACCEPT OK
"""  # noqa: E501


def test_the_legs_of_a_nat_gateway_merge_into_the_connection(tmp_path: Path) -> None:
    inventory = aws(tmp_path, interface("eni-web", "10.0.0.5"), interface("eni-nat", "10.0.9.9", "nat_gateway"))
    (tmp_path / "v5.log").write_text(NAT_V5)
    found, _ = mapped([tmp_path / "v5.log"], inventory)
    assert [(str(e.client), str(e.server), e.port, counters(e)) for e in found.edges] == [
        ("eni-web", "198.51.100.7", 443, (2, 3, 300, 2, 900))
    ]
    assert found.edges[0].observers == 2
    assert [(u.reason.split(":")[0], u.records) for u in found.unresolved] == [("a gateway's leg of a connection", 2)]


def test_without_packet_addresses_the_gateway_is_no_peer_either(tmp_path: Path) -> None:
    inventory = aws(tmp_path, interface("eni-web", "10.0.0.5"), interface("eni-nat", "10.0.9.9", "nat_gateway"))
    lines = [line.split() for line in NAT_V5.splitlines()]
    (tmp_path / "v2.log").write_text("\n".join(" ".join(p[:4] + p[6:]) for p in lines) + "\n")
    found, report = mapped([tmp_path / "v2.log"], inventory)
    assert [(str(e.client), str(e.server), counters(e)) for e in found.edges] == [
        ("eni-web", "198.51.100.7", (2, 3, 300, 2, 900))
    ]
    assert report.plain_sources == 1


def test_a_private_nat_gateway_stays_the_client_that_the_server_meets(tmp_path: Path) -> None:
    inventory = aws(tmp_path, interface("eni-db", "10.0.0.5"), interface("eni-nat", "10.0.9.9", "nat_gateway"))
    (tmp_path / "log").write_text(
        "2 1 eni-db 10.0.9.9 10.0.0.5 50000 5432 6 3 300 1700000000 1700000059 ACCEPT OK\n"
        "2 1 eni-nat 10.0.9.9 10.0.0.5 50000 5432 6 3 300 1700000000 1700000059 ACCEPT OK\n"
    )
    found, _ = mapped([tmp_path / "log"], inventory)
    assert [(str(e.client), str(e.server), e.observers, e.records) for e in found.edges] == [
        ("eni-nat", "eni-db", 1, 1)
    ]


def test_load_balancers_and_endpoints_stay_peers(tmp_path: Path) -> None:
    inventory = aws(
        tmp_path,
        interface("eni-web", "10.0.0.5"),
        interface("eni-nlb", "10.0.9.9", "network_load_balancer"),
        interface("eni-s3", "10.0.9.10", "vpc_endpoint"),
    )
    (tmp_path / "log").write_text(
        "2 1 eni-nlb 10.0.9.9 10.0.0.5 50000 8080 6 3 300 1700000000 1700000059 ACCEPT OK\n"
        "2 1 eni-s3 10.0.0.5 10.0.9.10 50000 443 6 3 300 1700000000 1700000059 ACCEPT OK\n"
    )
    found, _ = mapped([tmp_path / "log"], inventory)
    assert sorted((str(e.client), str(e.server)) for e in found.edges) == [
        ("eni-nlb", "eni-web"),
        ("eni-web", "eni-s3"),
    ]


def node_and_pods(tmp_path: Path, *pods: str) -> Path:
    items: list[dict[str, object]] = [
        {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.5"}]},
        }
    ]  # fmt: skip
    for number, address in enumerate(pods):
        items.append(
            {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": f"web-{number}", "namespace": "shop", "labels": {"app": "web"}},
                "spec": {"nodeName": "node-1", "containers": []},
                "status": {"podIP": address, "podIPs": [{"ip": address}], "phase": "Running"},
            }
        )  # fmt: skip
    path = tmp_path / "pods.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return path


def test_pods_behind_a_primary_address_are_told_to_be_out_of_sight(tmp_path: Path) -> None:
    (tmp_path / "v2.log").write_text(records(["eni-a"], 2))
    inventory = load_inventory([node_and_pods(tmp_path, "10.0.0.6", "10.0.0.7")])
    flows, report = aggregate([str(tmp_path / "v2.log")])
    (note,) = blind_spots(flows, inventory, report.plain_sources)
    assert "2 pods never appear while their nodes do (shop/web-0, shop/web-1)" in note and "${pkt-srcaddr}" in note
    assert blind_spots(flows, inventory, 0) == ()


def test_a_pod_that_appears_says_that_pods_do(tmp_path: Path) -> None:
    (tmp_path / "v2.log").write_text(records(["eni-a"], 2))
    inventory = load_inventory([node_and_pods(tmp_path, "10.0.1.9", "10.0.0.7")])
    flows, report = aggregate([str(tmp_path / "v2.log")])
    assert blind_spots(flows, inventory, report.plain_sources) == ()


def test_secondary_addresses_that_never_appear_are_told_without_pods(tmp_path: Path) -> None:
    (tmp_path / "v2.log").write_text(records(["eni-a"], 2))
    flows, report = aggregate([str(tmp_path / "v2.log")])
    inventory = aws(tmp_path, interface("eni-a", "10.0.0.5", more=("10.0.0.6", "10.0.0.7")))
    (note,) = blind_spots(flows, inventory, report.plain_sources)
    assert "2 such addresses never appear" in note
    seen = aws(tmp_path, interface("eni-a", "10.0.0.5", more=("10.0.1.9",)))
    assert blind_spots(flows, seen, report.plain_sources) == ()
