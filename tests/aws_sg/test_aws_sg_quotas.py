"""Quotas at their edges, and the joining of rules that keeps what they allow."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.inventory import Inventory
from analyzers.servicemap import Edge, External
from policygen.group_rules import split
from policygen.model import CidrPeer, GroupPeer, PortRange, Rule
from policygen.synthesis.group_quotas import counted, fitted
from policygen.synthesis.security_groups import GroupOptions, synthesize_groups

from .worlds import edge, instance, inventory, workload

Edges = Callable[[int, int], list[Edge]]

WEB = workload("web")
OTHER = workload("other", "vpc-b")


def apart(number: int, family: int) -> str:
    """Public addresses of which no two are adjacent."""
    return f"8.8.{number}.8" if family == 4 else f"2a00:1450:{number:x}::8"


def outward(count: int, family: int) -> list[Edge]:
    return [edge(WEB, External(apart(n, family)), 443, clients=("10.0.0.1",)) for n in range(count)]


def inward(count: int, family: int) -> list[Edge]:
    """Ingress from few sources on many ports, so that nothing becomes internet-facing or adjacent."""
    return [edge(External(apart(n % 7, family)), WEB, 1000 + 2 * n, servers=("10.0.0.1",)) for n in range(count)]


CLOUD = inventory(instance(WEB, "web", "10.0.0.1"), instance(OTHER, "other", "10.9.0.1"))


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("edges", "direction"), [(outward, "egress"), (inward, "ingress")])
def test_sixty_rules_fit_and_sixty_one_do_not(edges: Edges, direction: str, family: int) -> None:
    fits = synthesize_groups(CLOUD, edges(60, family), {WEB})
    assert fits.errors == ()
    assert len(getattr(fits.policies.policies[0], direction)) == 60
    too_many = synthesize_groups(CLOUD, edges(61, family), {WEB})
    (error,) = too_many.errors
    assert (error.network, error.group) == ("vpc-0a1", "flowctl-web")
    assert error.reason.startswith(f"61 IPv{family} {direction} rules are needed and the quota is 60")
    assert "raise the quota" in error.remedy
    assert too_many.policies.policies == ()


def test_the_families_are_counted_apart() -> None:
    result = synthesize_groups(CLOUD, outward(60, 4) + outward(60, 6), {WEB})
    assert result.errors == ()
    assert len(result.policies.policies[0].egress or ()) == 120


@pytest.mark.parametrize("family", [4, 6])
def test_a_reference_counts_for_both_families(family: int) -> None:
    app = workload("app")
    cloud = inventory(instance(WEB, "web", "10.0.0.1"), instance(app, "app", "10.0.0.2"))
    reference = edge(WEB, app, 80, clients=("10.0.0.1",), servers=("10.0.0.2",))
    assert synthesize_groups(cloud, [*outward(59, family), reference], {WEB, app}).errors == ()
    (error,) = synthesize_groups(cloud, [*outward(60, family), reference], {WEB, app}).errors
    assert "1 references to groups" in error.reason
    assert f"61 IPv{family} egress" in error.reason


def test_an_error_stops_its_own_vpc_only() -> None:
    result = synthesize_groups(CLOUD, outward(61, 4), {WEB, OTHER})
    assert [policy.namespace for policy in result.policies.policies] == ["vpc-b"]
    assert {error.network for error in result.errors} == {"vpc-0a1"}


def test_a_raised_quota_is_believed_up_to_the_product() -> None:
    raised = GroupOptions(rules_per_group=200, groups_per_interface=5)
    assert synthesize_groups(CLOUD, outward(61, 4), {WEB}, raised).errors == ()
    result = synthesize_groups(CLOUD, outward(1, 4), {WEB}, replace(raised, rules_per_group=201))
    (error,) = result.errors
    assert "1,005, and AWS allows at most 1,000" in error.reason
    assert result.policies.policies == ()


def test_beyond_every_raise_no_raise_is_advised() -> None:
    (error,) = synthesize_groups(CLOUD, outward(201, 4), {WEB}).errors
    assert "raise" not in error.remedy


def _sharing(count: int) -> Inventory:
    """Workloads that share one interface, each by an address of its own."""
    pairs = [instance(workload(f"w{n}"), f"w{n}", f"10.0.0.{n + 1}") for n in range(count)]
    shared = replace(pairs[0][1], id="eni-shared", instance="", addresses=tuple(e.addresses[0] for e, _ in pairs))
    return Inventory(tuple(e for e, _ in pairs), interfaces=(shared,))


def test_five_groups_an_interface_fit_and_six_do_not() -> None:
    for count, errors in ((5, 0), (6, 1)):
        cloud = _sharing(count)
        result = synthesize_groups(cloud, [], {e.workload for e in cloud.endpoints})
        assert len(result.errors) == errors
        assert len(result.policies.policies) == (0 if errors else count)
    assert "eni-shared would carry 6 groups" in result.errors[0].reason


def test_groups_of_a_region() -> None:
    cloud = inventory(*(instance(workload(f"w{n}"), f"w{n}", f"10.0.0.{n}") for n in range(4)))
    seen = {e.workload for e in cloud.endpoints}
    assert synthesize_groups(cloud, [], seen, GroupOptions(groups_per_region=4)).errors == ()
    (error,) = synthesize_groups(cloud, [], seen, GroupOptions(groups_per_region=3)).errors
    assert error.reason == "4 groups are needed and the quota is 3 in a Region"


def test_full_interfaces_are_told() -> None:
    carried = tuple(f"sg-{n}" for n in range(5))
    cloud = inventory(instance(WEB, "web", "10.0.0.1", groups=carried))
    result = synthesize_groups(cloud, [], {WEB})
    assert result.errors == ()
    assert "interfaces carry 5 groups or more already" in {note.reason for note in result.notes}


def test_adjacent_ports_and_addresses_are_joined_only_when_needed() -> None:
    edges = [edge(WEB, External(f"8.8.8.{n}"), 443, clients=("10.0.0.1",)) for n in range(61)]
    egress = synthesize_groups(CLOUD, edges[:60], {WEB}).policies.policies[0].egress or ()
    assert len(egress) == 60
    result = synthesize_groups(CLOUD, edges, {WEB})
    cidrs = [rule.peers[0].cidr for rule in result.policies.policies[0].egress or ()]  # type: ignore[index,union-attr]
    assert cidrs == ["8.8.8.0/27", "8.8.8.32/28", "8.8.8.48/29", "8.8.8.56/30", "8.8.8.60/32"]
    assert "adjacent ports or addresses were joined to fit the quota" in {note.reason for note in result.notes}


_PEERS = st.one_of(
    st.builds(GroupPeer, st.sampled_from(["a", "b"])),
    st.builds(lambda n: CidrPeer(f"10.0.0.{n}/32"), st.integers(0, 9)),
    st.builds(lambda n: CidrPeer(f"2001:db8::{n:x}/128"), st.integers(0, 9)),
)
_PORTS = st.one_of(
    st.builds(PortRange, st.sampled_from(["TCP", "UDP"]), st.integers(1, 8)),
    st.sampled_from([PortRange("icmp"), PortRange("47")]),
)


def _cells(rules: tuple[Rule, ...]) -> set[tuple[str, str, int]]:
    """Every single (peer, protocol, port) that the rules allow."""
    found = set()
    for rule in rules:
        for peer in rule.peers or ():
            names = [peer.name] if isinstance(peer, GroupPeer) else map(str, ipaddress.ip_network(peer.cidr))  # type: ignore[union-attr]
            for name in names:
                for ports in rule.ports or ():
                    first = ports.port if isinstance(ports.port, int) else -1
                    for port in range(first, (first if ports.end is None else ports.end) + 1):
                        found.add((name, ports.protocol, port))
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(st.builds(lambda peer, ports: Rule((peer,), (ports,)), _PEERS, _PORTS), max_size=40))
def test_joined_rules_allow_the_same_to_the_packet(wanted: list[Rule]) -> None:
    plain = split(wanted)
    joined = fitted(plain, 0)
    assert _cells(joined) == _cells(plain)
    assert len(joined) <= len(plain)
    assert fitted(plain, max(counted(plain).values())) == plain
    assert fitted(split(wanted[::-1]), 0) == joined
