"""The pure-NetworkPolicy cases of the netpol-analyzer corpus: whole connectivity, cell by cell, through the oracle.

Everything but the policies is read here, with code of its own, so that no inventory code can hide a fault.
The corpus takes every pod, hostNetwork or not, for one that policies can select (the specification leaves both readings
open, "NetworkPolicies and hostNetwork pods"), so the loader drops the flag.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, NamedPort
from policygen.manifests import parse_policies, read_policies
from policygen.model import CidrPeer, PolicySet
from policygen.verify.evaluate import Flow, decide
from policygen.verify.matching import PROTOCOLS, FlowEnd, Surroundings
from policygen.verify.profiles import SPEC

CASES = [
    "core_pods_without_host_ip",
    "example_pods_w_same_owner_and_labels_gap_with_good_match_expression",
    "example_pods_w_same_owner_and_labels_gap_with_policy_selector_not_in_gap",
    "ipblockstest",
    "ipblockstest_2",
    "ipblockstest_3",
    "minimal_test_in_ns",
    "multiple_topology_resources_1",
    "multiple_topology_resources_2",
    "multiple_topology_resources_3",
    "netpol-analysis-example-minimal",
    "netpol_named_port_test_2",
    "new_online_boutique",
    "new_online_boutique_synthesis",
    "online_boutique_workloads_no_ns",
    "onlineboutique",
    "onlineboutique_workloads",
    "semanticDiff-different-topologies-policy-a",
    "semanticDiff-different-topologies-policy-a-with-ipblock",
    "semanticDiff-different-topologies-policy-b",
    "semanticDiff-different-topologies-policy-b-with-ipblock",
    "semanticDiff-orig-topologies-no-policy",
    "semanticDiff-same-topologies-new2",
    "semanticDiff-same-topologies-new3",
    "semanticDiff-same-topologies-old1",
    "test_with_named_ports",
    "test_with_named_ports_changed_netpol_2",
    "with_end_port_example",
]

MISNAMED = {
    # object names are RFC 1123 subdomains (Kubernetes, "Object Names and IDs"): the API server refuses an underscore
    "example_pods_w_same_owner_and_labels_gap_with_good_match_expression": "use_common_labels_same_values",
    "example_pods_w_same_owner_and_labels_gap_with_policy_selector_not_in_gap": "use_common_labels_same_values",
}
"""Cases whose policy no server would take, for its name alone: they are compared after the name is made valid."""

NUMBERS = {name: number for number, name in PROTOCOLS.items()}
LAST_PORT = 65535
LAST_ADDRESS = 2**32 - 1

Peer = str | int  # a workload's name, or the first address of a piece of the external space
Cell = tuple[str, int]  # protocol, first port of a piece of its ports
Connectivity = dict[tuple[Peer, Peer], frozenset[Cell]]


# -- the corpus ------------------------------------------------------------------------------------------------------


def corpus() -> Path:
    root = os.environ.get("FLOWCTL_CORPORA")
    if not root:
        pytest.skip("FLOWCTL_CORPORA is not set: THE NETPOL-ANALYZER CASES ARE NOT RUN")
    return Path(root, "netpol-analyzer")


def objects(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.rglob("*")):
        if file.suffix not in (".yaml", ".yml", ".json"):
            continue
        for document in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            if not document:
                continue
            kind = document["kind"]
            if kind.endswith("List"):
                yield from ({"kind": kind.removesuffix("List"), **item} for item in document["items"])
            else:
                yield document


def load_policies(folder: Path, misnamed: str | None) -> PolicySet:
    policies = read_policies([folder])
    if misnamed is None:
        return policies
    assert [p.where.rpartition(": ")[2] for p in policies.problems if p.fatal] == ["metadata.name"]
    assert not policies.policies
    text = "\n---\n".join(file.read_text() for file in sorted(folder.glob("*.yaml")))
    return parse_policies(text.replace(misnamed, misnamed.replace("_", "-")), str(folder))


def load_workloads(folder: Path) -> tuple[dict[str, list[Endpoint]], dict[str, dict[str, str]]]:
    """Workload name as the corpus writes it -> its pods; namespace -> labels."""
    workloads: dict[str, list[Endpoint]] = defaultdict(list)
    namespaces: dict[str, dict[str, str]] = {}
    for item in objects(folder):
        kind, metadata = item["kind"], item["metadata"]
        if kind == "Namespace":
            namespaces[metadata["name"]] = metadata.get("labels") or {}
        elif kind == "Pod":
            owner = next(iter(metadata.get("ownerReferences") or ()), {"kind": "Pod", "name": metadata["name"]})
            add_pod(workloads, metadata, owner.get("kind", "Pod"), owner["name"], metadata.get("labels"), item["spec"])
        elif "template" in (item.get("spec") or {}):
            template = item["spec"]["template"]
            add_pod(workloads, metadata, kind, metadata["name"], template["metadata"].get("labels"), template["spec"])
    return workloads, namespaces


def add_pod(
    workloads: dict[str, list[Endpoint]],
    metadata: dict[str, Any],
    kind: str,
    owner: str,
    labels: dict[str, str] | None,
    spec: dict[str, Any],
) -> None:
    namespace = metadata.get("namespace") or "default"
    pairs = tuple(sorted((labels or {}).items()))
    ports = tuple(
        NamedPort(port.get("name", ""), port.get("protocol", "TCP"), port["containerPort"])
        for container in spec.get("containers", ())
        for port in container.get("ports") or ()
        if "containerPort" in port
    )
    identity = Identity(kind, namespace, owner, labels=pairs)
    pod = Endpoint(metadata["name"], namespace, identity, pairs, addresses=(), ports=ports)
    workloads[f"{namespace}/{owner}[{kind}]"].append(pod)


# -- expected --------------------------------------------------------------------------------------------------------

LINE = re.compile(r"(?P<source>.+?) => (?P<destination>.+?) : (?P<connections>.+)")
PORTS = re.compile(r"(?:(?P<protocol>[A-Z]+) )?(?P<first>\d+)(?:-(?P<last>\d+))?")
Expected = list[tuple[str | tuple[int, int], str | tuple[int, int], list[tuple[str, int, int]]]]


def parse_peer(text: str) -> str | tuple[int, int]:
    if not text.endswith("[External]"):
        return text
    first, last = text.removesuffix("[External]").split("-")
    return int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))


def parse_connections(text: str) -> list[tuple[str, int, int]]:
    if text == "All Connections":
        return [(protocol, 1, LAST_PORT) for protocol in NUMBERS]
    ranges = []
    protocol = ""
    for token in text.split(","):
        match = PORTS.fullmatch(token)
        assert match, token
        protocol = match["protocol"] or protocol
        ranges.append((protocol, int(match["first"]), int(match["last"] or match["first"])))
    return ranges


def parse_expected(text: str) -> Expected:
    lines = []
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        source, destination = parse_peer(match["source"]), parse_peer(match["destination"])
        lines.append((source, destination, parse_connections(match["connections"])))
    return lines


# -- cells -----------------------------------------------------------------------------------------------------------


def cuts(policies: PolicySet, pods: list[Endpoint], expected: Expected) -> tuple[list[int], list[int]]:
    """First ports and first addresses of the pieces that neither the policies nor the expectation divide."""
    rules = [rule for p in policies.policies for rule in (*(p.ingress or ()), *(p.egress or ()))]
    names = {allowed.port for rule in rules for allowed in rule.ports or () if isinstance(allowed.port, str)}
    named = {port.number for pod in pods for port in pod.ports if port.name in names}
    ports = {1} | named | {number + 1 for number in named}
    addresses = {0}
    for source, destination, connections in expected:
        for peer in (source, destination):
            if isinstance(peer, tuple):
                addresses |= {peer[0], peer[1] + 1}
        ports |= {bound for _, first, last in connections for bound in (first, last + 1)}
    for rule in rules:
        for allowed in rule.ports or ():
            if isinstance(allowed.port, int):
                ports |= {allowed.port, (allowed.end or allowed.port) + 1}
        for peer in rule.peers or ():
            if isinstance(peer, CidrPeer):
                for cidr in (peer.cidr, *peer.excepts):
                    network = ipaddress.IPv4Network(cidr)
                    addresses |= {int(network[0]), int(network[-1]) + 1}
    return sorted(p for p in ports if p <= LAST_PORT), sorted(a for a in addresses if a <= LAST_ADDRESS)


def spread(expected: Expected, ports: list[int], addresses: list[int]) -> Connectivity:
    """The expected lines on the cells; several lines for one pair are a union."""

    def pieces(first: int, last: int, starts: list[int]) -> list[int]:
        return [start for start in starts if first <= start <= last]

    found: dict[tuple[Peer, Peer], set[Cell]] = defaultdict(set)
    for source, destination, connections in expected:
        cells = {(name, piece) for name, first, last in connections for piece in pieces(first, last, ports)}
        for one in [source] if isinstance(source, str) else pieces(*source, addresses):
            for other in [destination] if isinstance(destination, str) else pieces(*destination, addresses):
                found[one, other] |= cells
    return {pair: frozenset(cells) for pair, cells in found.items()}


def all_pairs(
    policies: PolicySet,
    namespaces: dict[str, dict[str, str]],
    workloads: dict[str, list[Endpoint]],
    ports: list[int],
    addresses: list[int],
) -> Connectivity:
    ends: dict[Peer, list[FlowEnd]] = {name: [FlowEnd(pod) for pod in pods] for name, pods in workloads.items()}
    for address in addresses:
        ends[address] = [FlowEnd(None, address_halves(str(ipaddress.IPv4Address(address))))]
    cells = [(name, port) for name in NUMBERS for port in ports]

    def allows(flow: Flow) -> bool:
        return decide(policies, flow, Surroundings(namespaces, {}, SPEC)).allowed

    found: Connectivity = {}
    for source in ends:
        for destination in ends:
            if source == destination or (isinstance(source, int) and isinstance(destination, int)):
                continue
            answers = {
                frozenset((name, port) for name, port in cells if allows(Flow(one, other, NUMBERS[name], port)))
                for one in distinct(ends[source])
                for other in distinct(ends[destination])
            }
            assert len(answers) == 1, f"pods of {source} or {destination} differ: a workload is no single peer"
            if allowed := answers.pop():
                found[source, destination] = allowed
    return found


def distinct(ends: list[FlowEnd]) -> list[FlowEnd]:
    """One end for each set of labels and ports: replicas have one answer."""
    return list({(e.endpoint.labels, e.endpoint.ports) if e.endpoint else None: e for e in ends}.values())


@pytest.mark.parametrize("case", CASES)
def test_connectivity_is_the_expected_one(case: str) -> None:
    root = corpus()
    policies = load_policies(root / "cases" / case, MISNAMED.get(case))
    assert not [problem for problem in policies.problems if problem.fatal]
    workloads, namespaces = load_workloads(root / "cases" / case)
    expected = parse_expected((root / "expected" / f"{case}.txt").read_text())
    pods = [pod for group in workloads.values() for pod in group]
    ports, addresses = cuts(policies, pods, expected)

    got = all_pairs(policies, namespaces, workloads, ports, addresses)

    want = spread(expected, ports, addresses)
    differences = {
        pair: (sorted(got.get(pair, ())), sorted(want.get(pair, ())))
        for pair in got.keys() | want.keys()
        if got.get(pair) != want.get(pair)
    }
    assert not differences


def test_every_pure_case_of_the_corpus_is_listed() -> None:
    readme = (corpus() / "README.md").read_text()
    assert re.findall(r"^\| (\S+) \| core \|", readme, re.MULTILINE) == CASES


def test_expected_lines_are_read_by_their_grammar() -> None:
    text = "10.0.0.0-10.0.0.255[External] => a/b[Pod] : SCTP 1-9002,9004-65535,UDP 53\n"
    assert parse_expected(text) == [
        ((10 << 24, (10 << 24) + 255), "a/b[Pod]", [("SCTP", 1, 9002), ("SCTP", 9004, 65535), ("UDP", 53, 53)])
    ]
