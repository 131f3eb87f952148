"""The shipped shop: its files are what the generator makes, and they agree with one another and with their answer."""

from __future__ import annotations

import datetime
import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PCAPS = Path(__file__).resolve().parents[2] / "pcaps"
COMMITTED = (
    *("shop.pcap", "shop-v2.log.gz", "shop-v5.log.gz", "inventory.json", "expected.json"),
    *("aws/describe-network-interfaces.json", "aws/describe-instances.json", "aws/vpc-v5.log.gz"),
    "aws/expected-aws.json",
)
Met = tuple[str, str, int, int]
"""client address, server address, server port, protocol."""


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".gz":
        return raw
    assert raw[3] == 0 and raw[4:8] == b"\0\0\0\0", "no file name and no time in the gzip header"
    return gzip.decompress(raw)  # another build of zlib may press the same text into other bytes


def test_the_generator_makes_exactly_the_committed_files(tmp_path: Path) -> None:
    pytest.importorskip("scapy", reason="pcaps/make.py needs scapy: pip install 'flowctl-microseg[dev]'")
    command = [sys.executable, str(PCAPS / "make.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert made == sorted(COMMITTED)
    for name in COMMITTED:
        assert _content(tmp_path / name) == _content(PCAPS / name), f"{name} is out of date: run pcaps/make.py"


def _rows(path: Path) -> Iterator[dict[str, str]]:
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    default = [*("version", "account", "eni", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets")]
    default += ["bytes", "start", "end", "action", "log-status"]
    names = lines.pop(0).split() if lines[0].startswith("version") else default
    for text in lines:
        yield dict(zip(names, text.split(), strict=True))


def _met_in_log(path: Path) -> dict[Met, list[int]]:
    """Who met whom by the flags alone, with the starts: SYN from the client, and a SYN-ACK that came back."""
    opened: dict[tuple[str, str, str, str], list[int]] = {}
    answered = set()
    found: dict[Met, list[int]] = {}
    for row in _rows(path):
        if row["action"] != "ACCEPT":
            continue
        key = (row["srcaddr"], row["srcport"], row["dstaddr"], row["dstport"])
        start = int(row["start"])
        if row["protocol"] == "17" and row["dstport"] == "53":
            found.setdefault((key[0], key[2], 53, 17), []).append(start)
        elif int(row["tcp-flags"]) & 18 == 2:
            opened.setdefault(key, []).append(start)
        elif int(row["tcp-flags"]) & 18 == 18:
            answered.add((*key[2:], *key[:2]))
    for key, starts in opened.items():
        if key in answered:
            found.setdefault((key[0], key[2], int(key[3]), 6), []).extend(starts)
    return found


def _met_in_capture(path: Path) -> dict[Met, list[int]]:
    """The same from the capture, read by dpkt."""
    dpkt = pytest.importorskip("dpkt", reason="reading the capture needs dpkt: pip install 'flowctl-microseg[dev]'")
    opened: dict[tuple[str, int, str, int], int] = {}
    found: dict[Met, list[int]] = {}
    with path.open("rb") as stream:
        for time, frame in dpkt.pcap.Reader(stream):
            ip = dpkt.ethernet.Ethernet(frame).data
            source, destination = socket.inet_ntoa(ip.src), socket.inet_ntoa(ip.dst)
            if ip.p == 17:
                if ip.data.dport == 53:
                    found.setdefault((source, destination, 53, 17), []).append(int(time))
            elif ip.data.flags & 18 == 2:
                opened[source, ip.data.sport, destination, ip.data.dport] = int(time)
            elif ip.data.flags & 18 == 18:
                start = opened[destination, ip.data.dport, source, ip.data.sport]
                found.setdefault((destination, source, ip.data.sport, 6), []).append(start)
    return found


def _seconds(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def _owners() -> dict[str, list[tuple[int, int, str]]]:
    """address -> (since, until, workload key), from the pods and the owners of the inventory."""
    items = json.loads((PCAPS / "inventory.json").read_text(encoding="utf-8"))["items"]
    parents = {
        (i["kind"], i["metadata"].get("namespace"), i["metadata"]["name"]): i["metadata"].get("ownerReferences", [])
        for i in items
    }
    found: dict[str, list[tuple[int, int, str]]] = {}
    for pod in (i for i in items if i["kind"] == "Pod"):
        namespace, owner = pod["metadata"]["namespace"], pod["metadata"]["ownerReferences"][0]
        for parent in parents.get((owner["kind"], namespace, owner["name"]), []):
            owner = parent
        state = pod["status"]["containerStatuses"][0]["state"]
        until = _seconds(state["terminated"]["finishedAt"]) if "terminated" in state else 1 << 40
        life = (_seconds(pod["status"]["startTime"]), until, f"{namespace}/{owner['kind']}/{owner['name']}")
        found.setdefault(pod["status"]["podIP"], []).append(life)
    return found


def _edges(met: dict[Met, list[int]]) -> set[tuple[str, str, str, int]]:
    owners = _owners()

    def name(address: str, time: int) -> str:
        lives = owners.get(address)
        if lives is None:
            return address
        return next(key for since, until, key in lives if since <= time <= until + 30)

    return {
        (name(client, time), name(server, time), {6: "TCP", 17: "UDP"}[protocol], port)
        for (client, server, port, protocol), times in met.items()
        for time in times
    }


def _expected() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((PCAPS / "expected.json").read_text(encoding="utf-8"))
    return answer


def _answer() -> set[tuple[str, str, str, int]]:
    return {(e["client"], e["server"], e["protocol"], e["port"]) for e in _expected()["edges"]}


def test_the_custom_log_holds_exactly_the_expected_edges() -> None:
    assert _edges(_met_in_log(PCAPS / "shop-v5.log.gz")) == _answer()


def test_the_capture_holds_exactly_the_expected_edges() -> None:
    assert _edges(_met_in_capture(PCAPS / "shop.pcap")) == _answer()


def test_the_default_log_holds_the_same_rows_as_the_custom_one() -> None:
    shared = ("srcaddr", "dstaddr", "srcport", "dstport", "protocol", "packets", "bytes", "start", "end", "action")
    default, custom = (
        sorted(tuple(r[n] for n in shared) for r in _rows(PCAPS / name))
        for name in ("shop-v2.log.gz", "shop-v5.log.gz")
    )
    assert default == custom and len(default) > 500


def test_an_address_changes_its_owner_in_the_shop() -> None:
    shared = {a: [key for *_, key in sorted(lives)] for a, lives in _owners().items() if len(lives) > 1}
    assert list(shared.values()) == [["shop/CronJob/report", "shop/Deployment/catalog"]]


def test_what_must_not_be_allowed_is_in_no_expected_edge() -> None:
    wrong = {(e["client"], e["server"], e["protocol"], e["port"]) for e in _expected()["must_not_be_allowed"]}
    assert wrong and not wrong & _answer()
    assert {e["server"] for e in _expected()["internet_facing"]} == {"shop/Deployment/frontend"}


def test_the_logs_and_the_capture_hold_what_they_are_shipped_for() -> None:
    rows = list(_rows(PCAPS / "shop-v5.log.gz"))
    assert {r["log-status"] for r in rows} == {"OK", "NODATA", "SKIPDATA"}
    assert {r["action"] for r in rows} == {"ACCEPT", "REJECT", "-"}
    flags = {int(r["tcp-flags"]) for r in rows if r["protocol"] == "6"}
    assert {0, 2, 3, 4, 19} <= flags  # long-lived, unanswered, whole, reset, whole (the server's side)
    assert (PCAPS / "shop.pcap").stat().st_size < 400_000


def test_the_two_vpcs_share_addresses_and_differ_in_edges() -> None:
    interfaces = json.loads((PCAPS / "aws/describe-network-interfaces.json").read_text(encoding="utf-8"))
    roles: dict[tuple[str, str], str] = {}
    for entry in interfaces["NetworkInterfaces"]:
        tags = {t["Key"]: t["Value"] for t in entry["TagSet"]}
        roles[entry["VpcId"], entry["PrivateIpAddress"]] = tags["role"]
    vpcs = sorted({vpc for vpc, _ in roles})
    shared = {a for v, a in roles if v == vpcs[0]} & {a for v, a in roles if v == vpcs[1]}
    assert len(shared) == 3 and all(roles[vpcs[0], a] != roles[vpcs[1], a] for a in shared)
    answered = set()
    for row in _rows(PCAPS / "aws/vpc-v5.log.gz"):
        if row["action"] == "ACCEPT" and int(row["tcp-flags"]) & 18 == 18:
            ends = [
                roles.get((row["vpc-id"], row[a]), row[a]) for a in ("dstaddr", "srcaddr")
            ]  # a SYN-ACK goes to the client
            answered.add((row["vpc-id"], *ends, int(row["srcport"])))
    answer = json.loads((PCAPS / "aws/expected-aws.json").read_text(encoding="utf-8"))
    public = answer["internet_facing"][0]
    crowd = {e for e in answered if e[0] == public["vpc"] and e[2:] == ("web", 443)}
    assert len(crowd) == public["sources"] > 16
    assert answered - crowd == {
        (e["vpc"], *(end.get("role") or end["address"] for end in (e["client"], e["server"])), e["port"])
        for e in answer["edges"]
    }
