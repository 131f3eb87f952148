"""Where references hold and where they don't: other VPCs, public addresses, pods, middleboxes, the past."""

from __future__ import annotations

from dataclasses import replace

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, Interface, Inventory
from analyzers.servicemap import External
from policygen.model import CidrPeer, GroupPeer, Peer, PortRange
from policygen.synthesis.security_groups import GroupOptions, GroupSynthesis, synthesize_groups
from policygen.verify.evaluate import Flow, FlowEnd
from policygen.verify.security_groups import GroupMembership, evaluate_groups

from .worlds import VPC, edge, end_at, instance, inventory, workload

WEB, DB = workload("web"), workload("db")
WEB1 = instance(WEB, "web1", "10.0.0.1", "52.1.1.1")
WEB2 = instance(WEB, "web2", "10.0.0.2", "52.1.1.2")
DB1 = instance(DB, "db1", "10.0.0.9", "52.9.9.9")


def peers(result: GroupSynthesis, name: str, direction: str) -> set[Peer]:
    policy = next(p for p in result.policies.policies if p.name == name)
    return {peer for rule in getattr(policy, direction) for peer in rule.peers}


def reasons(result: GroupSynthesis) -> set[str]:
    return {note.reason for note in result.notes}


def test_private_addresses_of_one_vpc_make_references() -> None:
    result = synthesize_groups(
        inventory(WEB1, WEB2, DB1), [edge(WEB, DB, 5432, clients=("10.0.0.1",), servers=("10.0.0.9",))], {WEB, DB}
    )
    assert peers(result, "flowctl-web", "egress") == {GroupPeer("flowctl-db")}
    assert peers(result, "flowctl-db", "ingress") == {GroupPeer("flowctl-web")}


def test_a_server_met_at_its_public_address_sees_its_clients_public_addresses() -> None:
    met = edge(WEB, DB, 5432, clients=("10.0.0.1",), servers=("52.9.9.9",))
    result = synthesize_groups(inventory(WEB1, WEB2, DB1), [met], {WEB, DB})
    assert peers(result, "flowctl-web", "egress") == {CidrPeer("52.9.9.9/32")}
    translated = {CidrPeer("52.1.1.1/32"), CidrPeer("52.1.1.2/32")}
    assert peers(result, "flowctl-db", "ingress") == {GroupPeer("flowctl-web"), *translated}
    assert "peer met at public addresses" in reasons(result)


def test_without_a_public_address_of_its_own_a_nat_gateway_is_mentioned() -> None:
    hidden = instance(WEB, "web1", "10.0.0.1")
    met = edge(WEB, DB, 5432, clients=("10.0.0.1",), servers=("52.9.9.9",))
    assert "met at its public address" in reasons(synthesize_groups(inventory(hidden, DB1), [met], {WEB, DB}))


def test_another_vpc_is_allowed_by_the_addresses_of_the_whole_workload() -> None:
    far = workload("far", "vpc-far")
    cloud = inventory(WEB1, WEB2, instance(far, "f1", "10.9.0.1"), instance(far, "f2", "10.9.0.2"))
    result = synthesize_groups(cloud, [edge(far, WEB, 443, clients=("10.9.0.1",), servers=("10.0.0.1",))], {WEB, far})
    assert peers(result, "flowctl-web", "ingress") == {CidrPeer("10.9.0.1/32"), CidrPeer("10.9.0.2/32")}
    assert peers(result, "flowctl-far", "egress") == {CidrPeer("10.0.0.1/32"), CidrPeer("10.0.0.2/32")}
    assert "peer in another VPC" in reasons(result)


def test_a_list_that_may_be_cut_short_is_filled_up() -> None:
    far = workload("far", "vpc-far")
    past = instance(far, "past", "10.9.0.200", until=5)
    cloud = inventory(WEB1, past, *(instance(far, f"f{n}", f"10.9.0.{n}") for n in range(1, 8)))
    listed = tuple(f"10.9.0.{n}" for n in range(1, 9))
    full = synthesize_groups(cloud, [edge(far, WEB, 443, clients=listed, servers=("10.0.0.1",))], {WEB, far})
    assert CidrPeer("10.9.0.200/32") in peers(full, "flowctl-web", "ingress")
    short = synthesize_groups(cloud, [edge(far, WEB, 443, clients=listed[:7], servers=("10.0.0.1",))], {WEB, far})
    assert CidrPeer("10.9.0.200/32") not in peers(short, "flowctl-web", "ingress")


def test_a_middlebox_carries_no_group_and_is_met_by_address() -> None:
    nat = Identity("Interface", "", "nat gateway", VPC)
    box = Endpoint("eni-nat", "", nat, (), (address_halves("10.0.0.50"),), VPC)
    card = Interface("eni-nat", VPC, (address_halves("10.0.0.50"),), kind="nat_gateway", requester_managed=True)
    cloud = inventory(WEB1, (box, card))
    met = edge(nat, WEB, 443, clients=("10.0.0.50",), servers=("10.0.0.1",))
    result = synthesize_groups(cloud, [met], {WEB, nat})
    assert [p.name for p in result.policies.policies] == ["flowctl-web"]
    assert peers(result, "flowctl-web", "ingress") == {CidrPeer("10.0.0.50/32")}
    assert {"no group", "peer without a group"} <= reasons(result)
    carried = inventory(WEB1, (box, replace(card, security_groups=("sg-1",))))
    assert len(synthesize_groups(carried, [met], {WEB, nat}).policies.policies) == 2


def test_pods_are_allowed_through_the_group_of_their_node() -> None:
    node = workload("nodes")
    endpoint, card = instance(node, "n1", "10.0.5.1")
    pod = Endpoint("api-1", "shop", Identity("Deployment", "shop", "api", VPC), (), (address_halves("10.0.5.20"),), VPC)
    here = inventory((endpoint, replace(card, prefixes=("10.0.5.16/28",))), DB1)
    cloud = replace(here, endpoints=(*here.endpoints, pod))
    met = edge(pod.workload, DB, 5432, clients=("10.0.5.20",), servers=("10.0.0.9",))
    result = synthesize_groups(cloud, [met], {pod.workload, DB})
    assert peers(result, "flowctl-nodes", "egress") == {GroupPeer("flowctl-db")}
    assert peers(result, "flowctl-db", "ingress") == {GroupPeer("flowctl-nodes")}
    asked = Flow(FlowEnd(pod, pod.addresses[0]), end_at(cloud, VPC, "10.0.0.9"), 6, 5432)
    assert evaluate_groups(GroupMembership(result.policies, cloud), asked).allowed
    # without an interface that holds it, the pod is met by its address, and its node's own groups are named
    alone = replace(here, endpoints=(*here.endpoints, replace(pod, security_groups=("sg-0a",))), interfaces=())
    by_address = synthesize_groups(alone, [met], {pod.workload, DB})
    assert peers(by_address, "flowctl-db", "ingress") == {CidrPeer("10.0.5.20/32")}
    assert any("sg-0a" in note.detail for note in by_address.notes)


def test_an_instance_that_is_gone_was_a_member_and_is_not_listed_as_one() -> None:
    gone = instance(WEB, "gone", "10.0.0.77", until=100)
    cloud = inventory(WEB1, gone, DB1)
    result = synthesize_groups(cloud, [edge(WEB, DB, 5432, clients=("10.0.0.77",), servers=("10.0.0.9",))], {WEB, DB})
    assert peers(result, "flowctl-db", "ingress") == {GroupPeer("flowctl-web")}
    web = next(p for p in result.policies.policies if p.name == "flowctl-web")
    assert web.members == ("eni-web1", "i-web1")
    past = Flow(FlowEnd(gone[0], gone[0].addresses[0]), end_at(cloud, VPC, "10.0.0.9"), 6, 5432)
    assert evaluate_groups(GroupMembership(result.policies, cloud), past).allowed


def test_the_resolver_needs_no_rule_once_the_vpcs_cidr_is_known() -> None:
    dns = edge(WEB, External("10.0.0.2", private=True), 53, 17, clients=("10.0.0.1",))
    unknown = synthesize_groups(inventory(WEB1), [dns], {WEB})
    assert peers(unknown, "flowctl-web", "egress") == {CidrPeer("10.0.0.2/32")}
    known = synthesize_groups(inventory(WEB1), [dns], {WEB}, GroupOptions(vpc_cidrs=((VPC, "10.0.0.0/16"),)))
    assert peers(known, "flowctl-web", "egress") == set()
    assert "no rule for the Amazon DNS resolver" in reasons(known)


def test_protocols_whose_ports_groups_do_not_compare_are_said() -> None:
    sctp = edge(WEB, DB, 3868, 132, clients=("10.0.0.1",), servers=("10.0.0.9",))
    result = synthesize_groups(inventory(WEB1, DB1), [sctp], {WEB, DB})
    web = next(p for p in result.policies.policies if p.name == "flowctl-web")
    assert [rule.ports for rule in web.egress or ()] == [(PortRange("132"),)]
    assert "ports cannot be restricted" in reasons(result)


def test_a_workload_without_a_vpc_is_said_and_gets_nothing() -> None:
    nowhere = workload("nowhere", "")
    result = synthesize_groups(inventory(instance(nowhere, "n", "10.0.0.1")), [], {nowhere})
    assert result.policies.policies == ()
    assert [(note.subject, note.detail) for note in result.notes] == [("nowhere", "no VPC is known for it")]


def test_an_end_without_any_address_is_an_error() -> None:
    ghost = Identity("Deployment", "shop", "ghost", VPC)
    result = synthesize_groups(
        Inventory(inventory(WEB1).endpoints), [edge(WEB, ghost, 80, clients=("10.0.0.1",))], {WEB}
    )
    (error,) = result.errors
    assert "no address is known of shop/ghost" in error.reason
    assert result.policies.policies == ()


def test_a_workload_in_two_vpcs_is_allowed_where_it_was_seen() -> None:
    both = workload("both", "")
    ends = [instance(both, vpc, address) for vpc, address in (("vpc-x", "10.0.0.1"), ("vpc-y", "10.8.0.1"))]
    placed = [
        (replace(endpoint, network=vpc), replace(card, network=vpc))
        for (endpoint, card), vpc in zip(ends, ("vpc-x", "vpc-y"), strict=True)
    ]
    out = edge(both, External("8.8.8.8"), 443, clients=("10.8.0.1",), networks=("vpc-y",))
    result = synthesize_groups(inventory(*placed), [out], {both})
    egress = {policy.namespace: len(policy.egress or ()) for policy in result.policies.policies}
    assert egress == {"vpc-x": 0, "vpc-y": 1}


def test_an_open_port_needs_no_narrower_addresses_of_its_family() -> None:
    visitors = [External(f"8.8.{n}.8") for n in range(3)]
    others = [External("10.99.0.1", private=True), External("2a00::1"), External("8.8.4.4")]
    edges = [edge(visitor, WEB, 443, servers=("10.0.0.1",)) for visitor in (*visitors, *others[:2])]
    edges += [edge(other, WEB, 80, servers=("10.0.0.1",)) for other in others]
    edges.append(edge(DB, WEB, 443, clients=("10.0.0.9",), servers=("10.0.0.1",)))
    result = synthesize_groups(inventory(WEB1, DB1), edges, {WEB, DB}, GroupOptions(internet_sources=2))
    web = next(p for p in result.policies.policies if p.name == "flowctl-web")
    by_port: dict[object, set[Peer]] = {}
    for rule in web.ingress or ():
        by_port.setdefault(rule.ports, set()).update(rule.peers or ())
    assert by_port == {
        (PortRange("TCP", 443),): {CidrPeer("0.0.0.0/0"), CidrPeer("2a00::1/128"), GroupPeer("flowctl-db")},
        (PortRange("TCP", 80),): {CidrPeer("10.99.0.1/32"), CidrPeer("2a00::1/128"), CidrPeer("8.8.4.4/32")},
    }
