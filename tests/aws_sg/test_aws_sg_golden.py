"""A three-tier setup, byte for byte. `FLOWCTL_UPDATE_GOLDEN=1 pytest tests/aws_sg` writes the files anew."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from analyzers.servicemap import External
from policygen.model import CidrPeer, GroupPeer, PolicySet, PortRange
from policygen.synthesis.security_groups import GroupOptions, GroupSynthesis, OpenPort, synthesize_groups
from policygen.targets.platforms import aws_sg

from .worlds import VPC, edge, instance, inventory, workload, written_and_read

GOLDEN = Path(__file__).parent / "golden" / "three_tier"

WEB, APP, DB = workload("web", app="web", tier="front"), workload("app"), workload("db")
BATCH = workload("batch", "vpc-0b2")
IDLE = workload("idle")
INSTANCES = (
    instance(WEB, "web1", "10.0.1.10", "198.51.100.10"),
    instance(WEB, "web2", "10.0.1.11"),
    instance(APP, "app1", "10.0.2.10", "2600:1f18::a"),
    instance(DB, "db1", "10.0.3.10"),
    instance(BATCH, "batch1", "10.9.0.5"),
    instance(BATCH, "batch2", "10.9.0.6"),
    instance(IDLE, "idle1", "10.0.4.10"),
)
VISITORS = tuple(External(f"8.8.{n}.{n}") for n in range(1, 18))
EDGES = (
    *(edge(visitor, WEB, 443, servers=("10.0.1.10",)) for visitor in VISITORS),
    edge(External("8.8.1.1"), WEB, 22, servers=("10.0.1.10",)),
    edge(WEB, APP, 8080, clients=("10.0.1.10", "10.0.1.11"), servers=("10.0.2.10",)),
    edge(WEB, APP, 8081, clients=("10.0.1.10",), servers=("10.0.2.10",)),
    edge(APP, DB, 5432, clients=("10.0.2.10",), servers=("10.0.3.10",)),
    edge(APP, APP, 7946, 17, clients=("10.0.2.10",), servers=("10.0.2.10",)),
    edge(APP, External("2a00:1450:4001::5"), 443, clients=("2600:1f18::a",)),
    edge(BATCH, DB, 5432, clients=("10.9.0.5",), servers=("10.0.3.10",)),
    edge(WEB, DB, 0, 1, clients=("10.0.1.10",), servers=("10.0.3.10",)),
    edge(DB, External("10.200.0.7", private=True), 514, 17, clients=("10.0.3.10",)),
    edge(APP, External("169.254.169.254", private=True), 80, clients=("10.0.2.10",)),
)
SEEN = frozenset({WEB, APP, DB, BATCH})


def synthesis() -> GroupSynthesis:
    return synthesize_groups(inventory(*INSTANCES), EDGES, SEEN)


def test_the_files_are_the_golden_ones() -> None:
    texts = aws_sg.render(synthesis().policies)
    if os.environ.get("FLOWCTL_UPDATE_GOLDEN"):
        for path, text in texts.items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_text(text, encoding="utf-8", newline="")
    expected = {str(p.relative_to(GOLDEN)): p.read_bytes().decode() for p in GOLDEN.rglob("*.tf")}
    assert sorted(expected) == ["aws-sg/vpc-0a1.tf", "aws-sg/vpc-0b2.tf"]
    assert texts == expected


def test_any_order_gives_the_same_bytes() -> None:
    expected = aws_sg.render(synthesis().policies)
    for instances in (INSTANCES[::-1], INSTANCES[3:] + INSTANCES[:3]):
        for edges in (EDGES[::-1], *list(permutations(EDGES[-4:], 4))[::5]):
            again = synthesize_groups(
                inventory(*instances), (*edges, *EDGES[: -len(edges)], *edges), sorted(SEEN, reverse=True)
            )
            assert aws_sg.render(again.policies) == expected


def test_the_order_of_policies_and_rules_leaves_no_trace() -> None:
    policies = synthesis().policies
    turned = PolicySet(
        tuple(
            replace(p, ingress=(p.ingress or ())[::-1], egress=(p.egress or ())[::-1], members=p.members[::-1])
            for p in policies.policies[::-1]
        )
    )
    assert list(aws_sg.render(turned).items()) == list(aws_sg.render(policies).items())


def test_what_is_written_is_read_back_as_itself(tmp_path: Path) -> None:
    policies = synthesis().policies
    read = written_and_read(policies, tmp_path)
    assert read.problems == ()
    assert [p.meaning() for p in read.policies] == [p.meaning() for p in policies.policies]
    assert read.policies[0].labels == (("managed-by", "flowctl"),)


def test_the_rules_say_what_was_seen() -> None:
    web = next(p for p in synthesis().policies.policies if p.name == "flowctl-web")
    assert {(r.peers, r.ports) for r in web.ingress or ()} == {
        ((CidrPeer("0.0.0.0/0"),), (PortRange("TCP", 443),)),
        ((CidrPeer("8.8.1.1/32"),), (PortRange("TCP", 22),)),
    }
    assert {(r.peers, r.ports) for r in web.egress or ()} == {
        ((GroupPeer("flowctl-app"),), (PortRange("TCP", 8080),)),
        ((GroupPeer("flowctl-app"),), (PortRange("TCP", 8081),)),
        ((GroupPeer("flowctl-db"),), (PortRange("icmp"),)),
    }
    assert web.members == ("eni-web1", "eni-web2", "i-web1", "i-web2")
    assert web.namespace == VPC


def test_what_is_not_certain_is_said() -> None:
    result = synthesis()
    assert result.errors == ()
    assert result.unseen == (IDLE,)
    assert result.internet_facing == (OpenPort(VPC, "flowctl-web", "TCP 443", "0.0.0.0/0", 17),)
    said = {(note.subject, note.reason) for note in result.notes}
    assert said == {
        ("vpc-0a1/flowctl-web", "internet-facing"),
        ("vpc-0a1/flowctl-db", "peer in another VPC"),
        ("vpc-0b2/flowctl-batch", "peer in another VPC"),
        ("vpc-0b2/flowctl-batch", "no ingress"),
        ("vpc-0a1/flowctl-db", "unidentified private address"),
        ("vpc-0a1/flowctl-app", "no rule for instance metadata"),
    }


def test_at_the_limit_public_sources_stay_exact() -> None:
    few = [e for e in EDGES if e.client != VISITORS[-1]]
    result = synthesize_groups(inventory(*INSTANCES), few, SEEN)
    assert result.internet_facing == ()
    web = next(p for p in result.policies.policies if p.name == "flowctl-web")
    assert sum(rule.ports == (PortRange("TCP", 443),) for rule in web.ingress or ()) == 16


def test_many_public_destinations_never_open_egress() -> None:
    edges = [edge(APP, External(f"8.8.{n}.8"), 443, clients=("10.0.2.10",)) for n in range(1, 50)]
    result = synthesize_groups(inventory(*INSTANCES), edges, SEEN, GroupOptions(internet_sources=1))
    app = next(p for p in result.policies.policies if p.name == "flowctl-app")
    assert len(app.egress or ()) == 49
    assert result.internet_facing == ()
