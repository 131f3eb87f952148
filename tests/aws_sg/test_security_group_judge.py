"""What security groups do with single flows, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, Interface, Inventory
from policygen.model import CidrPeer, GroupPeer, Peer, Policy, PolicySet, PortRange, Rule, Selector
from policygen.verify.evaluate import Flow, FlowEnd
from policygen.verify.replay import ReplayFlow
from policygen.verify.security_groups import GroupMembership, evaluate_groups, replay_groups

from .worlds import VPC, end_at, flow, instance, inventory, workload

WEB, DB, FREE = workload("web"), workload("db"), workload("free")
PAST = instance(WEB, "gone", "10.0.0.9", until=100)
CLOUD = inventory(
    instance(WEB, "web", "10.0.0.1", "52.1.1.1", "2600::1"),
    instance(DB, "db", "10.0.0.2", "52.2.2.2", "2600::2"),
    instance(FREE, "free", "10.0.0.3", groups=("sg-0f",)),
    PAST,
)


def group(name: str, ingress: tuple[Rule, ...] = (), egress: tuple[Rule, ...] = (), *members: str) -> Policy:
    return Policy(name, VPC, Selector(), ingress, egress, members=members)


def allows(peer: Peer, *ports: PortRange) -> tuple[Rule, ...]:
    return (Rule((peer,), ports or None),)


def verdict(asked: Flow, *policies: Policy, cloud: Inventory = CLOUD, cidrs: tuple[tuple[str, str], ...] = ()) -> bool:
    return evaluate_groups(GroupMembership(PolicySet(policies), cloud, cidrs), asked).allowed


TCP80 = PortRange("TCP", 80)
OPEN = (Rule(None, None),)
WEB_TO_DB = flow(CLOUD, "10.0.0.1", "10.0.0.2", 80)


def test_both_ends_have_to_allow() -> None:
    out, into = allows(GroupPeer("db"), TCP80), allows(GroupPeer("web"), TCP80)
    for egress, ingress in ((True, True), (True, False), (False, True), (False, False)):
        web = group("web", (), out if egress else (), "i-web")
        db = group("db", into if ingress else (), (), "i-db")
        assert verdict(WEB_TO_DB, web, db) is (egress and ingress)


def test_an_end_without_a_group_is_not_filtered() -> None:
    assert verdict(WEB_TO_DB, group("web", (), (), "i-free"))
    assert verdict(WEB_TO_DB, group("web", (), allows(CidrPeer("10.0.0.2/32"), TCP80), "i-web"))
    assert not verdict(WEB_TO_DB, group("db", (), OPEN, "i-db"))


def test_groups_of_one_interface_add_up() -> None:
    closed, opened = group("web", (), (), "i-web"), group("more", (), allows(CidrPeer("10.0.0.0/24")), "eni-web")
    assert not verdict(WEB_TO_DB, closed)
    assert verdict(WEB_TO_DB, closed, opened)


def test_replies_need_no_rule() -> None:
    assert verdict(WEB_TO_DB, group("web", (), OPEN, "i-web"), group("db", OPEN, (), "i-db"))


@pytest.mark.parametrize(
    ("ports", "protocol", "port", "allowed"),
    [
        (TCP80, 6, 80, True),
        (TCP80, 6, 81, False),
        (TCP80, 17, 80, False),
        (PortRange("TCP", 80, 82), 6, 82, True),
        (PortRange("TCP", 80, 82), 6, 83, False),
        (PortRange("TCP", 80, 82), 6, 79, False),
        (PortRange("UDP"), 17, 9, True),
        (PortRange("-1"), 132, 9, True),
        (PortRange("132"), 132, 9, True),
        (PortRange("47"), 47, 0, True),
        (PortRange("47"), 50, 0, False),
        (PortRange("icmp"), 1, 0, True),
        (PortRange("icmp"), 58, 0, False),
        (PortRange("icmpv6"), 58, 0, True),
        (PortRange("icmp", 8, 0), 1, 0, False),
    ],
)
def test_ports(ports: PortRange, protocol: int, port: int, allowed: bool) -> None:
    asked = replace(WEB_TO_DB, protocol=protocol, port=port)
    assert (
        verdict(asked, group("db", allows(GroupPeer("web"), ports), (), "i-db"), group("web", (), OPEN, "i-web"))
        is allowed
    )


@pytest.mark.parametrize(
    ("source", "peer", "allowed"),
    [
        ("10.0.0.1", GroupPeer("web"), True),
        ("2600::1", GroupPeer("web"), True),
        ("52.1.1.1", GroupPeer("web"), False),  # a public address is never seen by a reference
        ("52.1.1.1", CidrPeer("52.1.1.1/32"), True),
        ("10.0.0.1", GroupPeer("db"), False),
        ("10.0.0.3", GroupPeer("web"), False),
        ("10.0.0.3", GroupPeer("sg-0f"), True),  # a group by its id, which the inventory shows
        ("10.0.0.99", GroupPeer("web"), False),
        ("10.0.0.99", CidrPeer("10.0.0.0/24"), True),
        ("10.0.0.99", CidrPeer("10.0.0.0/24", ("10.0.0.96/28",)), False),
        ("10.0.1.99", CidrPeer("10.0.0.0/24"), False),
        ("2600::1", CidrPeer("0.0.0.0/0"), False),
        ("10.0.0.1", CidrPeer("::/0"), False),
    ],
)
def test_peers(source: str, peer: Peer, allowed: bool) -> None:
    web, db = group("web", (), OPEN, "i-web"), group("db", allows(peer), (), "i-db")
    assert verdict(flow(CLOUD, source, "10.0.0.2", 80), web, db) is allowed


def test_a_reference_means_the_group_of_its_own_vpc() -> None:
    far = instance(workload("web", "vpc-far"), "far", "10.7.0.1")
    cloud = inventory(far, instance(DB, "db", "10.0.0.2"))
    policies = (
        group("db", allows(GroupPeer("web")), (), "i-db"),
        group("web", (), OPEN, "i-web"),
        replace(group("web", (), OPEN, "i-far"), namespace="vpc-far"),
    )
    asked = Flow(end_at(cloud, "vpc-far", "10.7.0.1"), end_at(cloud, VPC, "10.0.0.2"), 6, 80)
    assert not verdict(asked, *policies, cloud=cloud)


def test_an_ended_instance_carries_its_workloads_groups() -> None:
    past = Flow(FlowEnd(PAST[0], address_halves("10.0.0.9")), end_at(CLOUD, VPC, "10.0.0.2"), 6, 80)
    db = group("db", allows(GroupPeer("web"), TCP80), (), "i-db")
    assert verdict(past, db, group("web", (), OPEN, "i-web"))
    assert not verdict(past, db, group("web", (), (), "i-web"))
    assert not verdict(past, db, group("web", (), OPEN, "i-free"))


@pytest.mark.parametrize(
    ("address", "protocol", "port", "free"),
    [
        ("169.254.169.254", 6, 80, True),
        ("fd00:ec2::254", 6, 80, True),
        ("169.254.170.2", 6, 80, True),
        ("169.254.169.123", 17, 123, True),
        ("169.254.169.253", 17, 53, True),
        ("10.0.0.2", 17, 53, False),  # an instance of the inventory is no resolver, whatever its address
        ("10.0.1.2", 17, 53, True),
        ("10.0.1.2", 6, 53, True),
        ("10.0.1.2", 6, 54, False),
        ("10.0.1.3", 17, 53, False),
        ("255.255.255.255", 17, 67, True),
        ("ff02::1:2", 17, 547, True),
        ("10.0.1.1", 17, 67, False),
        ("169.254.169.1", 6, 80, False),
    ],
)
def test_the_platform_is_never_filtered(address: str, protocol: int, port: int, free: bool) -> None:
    closed = group("web", (), (), "i-web")
    asked = flow(CLOUD, "10.0.0.1", address, port, protocol)
    assert verdict(asked, closed, cidrs=((VPC, "10.0.1.0/24"), (VPC, "10.0.0.0/24"))) is free


def test_the_resolver_is_only_known_with_the_vpcs_cidr() -> None:
    asked = flow(CLOUD, "10.0.0.1", "10.0.1.2", 53, 17)
    assert not verdict(asked, group("web", (), (), "i-web"))
    assert not verdict(asked, group("web", (), (), "i-web"), cidrs=(("vpc-other", "10.0.1.0/24"),))


def test_an_instance_reaches_itself_except_by_its_public_address() -> None:
    closed = group("web", (), (), "i-web")
    assert verdict(flow(CLOUD, "10.0.0.1", "10.0.0.1", 80), closed)
    assert not verdict(flow(CLOUD, "10.0.0.1", "52.1.1.1", 80), closed)


def test_a_pod_is_filtered_by_the_interface_that_holds_its_address() -> None:
    node = Interface("eni-node", VPC, (address_halves("10.0.5.1"),), prefixes=("10.0.5.16/28",), instance="i-node")
    pods = tuple(
        Endpoint(f"pod{n}", "shop", Identity("Deployment", "shop", "api", VPC), (), (address_halves(a),), VPC)
        for n, a in enumerate(("10.0.5.17", "10.0.6.1"))
    )
    cloud = Inventory((*CLOUD.endpoints, *pods), interfaces=(*CLOUD.interfaces, node))
    nodes, db = group("nodes", (), (), "eni-node"), group("db", allows(GroupPeer("nodes")), (), "i-db")
    assert not verdict(flow(cloud, "10.0.5.17", "10.0.0.2", 80), nodes, db, cloud=cloud)
    assert verdict(flow(cloud, "10.0.5.17", "10.0.0.2", 80), replace(nodes, egress=OPEN), db, cloud=cloud)
    assert not verdict(flow(cloud, "10.0.6.1", "10.0.0.2", 80), nodes, db, cloud=cloud)


def test_the_path_names_the_rule() -> None:
    web = group("web", (), (*allows(CidrPeer("1.1.1.1/32")), *allows(GroupPeer("db"), TCP80)), "i-web")
    said = evaluate_groups(GroupMembership(PolicySet((web, group("db", (), (), "i-db"))), CLOUD), WEB_TO_DB)
    assert said.path == (
        "egress: the source carries vpc-0a1/web; allowed by vpc-0a1/web egress rule 1",
        "ingress: the destination carries vpc-0a1/db; no rule matches",
    )


def test_replay_counts() -> None:
    policies = PolicySet((group("web", (), allows(GroupPeer("db"), TCP80), "i-web"), group("db", OPEN, (), "i-db")))
    flows = [
        ReplayFlow(*(end_at(CLOUD, VPC, a) for a in ("10.0.0.1", "10.0.0.2")), 6, port, "web", "db", records=port)
        for port in (80, 81)
    ]
    flows.append(ReplayFlow(end_at(CLOUD, VPC, "10.0.0.3"), end_at(CLOUD, VPC, "1.1.1.1"), 6, 443, records=5))
    flows.append(ReplayFlow(end_at(CLOUD, VPC, "10.0.0.1"), end_at(CLOUD, VPC, "169.254.169.254"), 6, 80))
    report = replay_groups(policies, CLOUD, flows)
    assert (report.flows, report.records, report.always_allowed, report.unrestricted) == (4, 167, 1, 1)
    assert [denial.flow.port for denial in report.denied] == [81]
    assert [(str(hit.rule), hit.flows, hit.records) for hit in report.hits] == [
        ("vpc-0a1/db ingress rule 0", 1, 80),
        ("vpc-0a1/web egress rule 0", 1, 80),
    ]
