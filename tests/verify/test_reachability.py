"""The engine against the oracle: every pair of random clusters under random policies of all tiers, both families."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, Inventory
from policygen.model import CidrPeer, PodPeer, Policy, PolicySet, PortRange, Rule, Selector
from policygen.verify.connections import ConnectionSet, PortSpan
from policygen.verify.differences import difference, same_reachability
from policygen.verify.evaluate import Flow, decide
from policygen.verify.matching import FlowEnd, Surroundings
from policygen.verify.profiles import PROFILES, SPEC, CniProfile
from policygen.verify.reachability import Reachability
from policygen.verify.spaces import MAPPED_FIRST
from tests.verify.random_clusters import ADDRESSES, NUMBERS, PORTS, clusters, namespace_labels, tiered_policies

CELLS = [(name, port) for name in NUMBERS for port in (*PORTS, 54, 8079)]
OUTSIDE = [FlowEnd(None, address_halves(text)) for text in (*ADDRESSES, "0.0.0.0", "255.255.255.255", "::", "ffff::1")]


def inventory_of(ends: list[FlowEnd], namespaces: dict[str, dict[str, str]]) -> Inventory:
    return Inventory(endpoints=tuple(e.endpoint for e in ends if e.endpoint), namespaces=namespaces)


def allowed(found: Reachability, source: FlowEnd, destination: FlowEnd) -> set[tuple[str, int]]:
    """What the oracle lets through, of CELLS."""
    around = Surroundings(found.judge.namespaces, found.judge.nodes, found.profile)
    return {
        (name, port)
        for name, port in CELLS
        if decide(found.policies, Flow(source, destination, NUMBERS[name], port), around).allowed
    }


def listed(found: Reachability) -> dict[tuple[str, str], ConnectionSet]:
    """The pairs, each once."""
    pairs = [((str(p.source), str(p.destination)), p.connections) for p in found.pairs(ipv6=True)]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def holds(name: str, place: int) -> bool:
    """Whether a party is a range with this place on the line in it; the IPv4 part belongs to no IPv6 range."""
    if not name.endswith("[External]"):
        return False
    first, last = (ipaddress.ip_address(text) for text in name.removesuffix("[External]").split("-"))
    shift = MAPPED_FIRST if first.version == 4 else 0
    mapped = MAPPED_FIRST <= place < MAPPED_FIRST + (1 << 32)
    return mapped == (first.version == 4) and int(first) + shift <= place <= int(last) + shift


def outside_of(
    pairs: dict[tuple[str, str], ConnectionSet], workload: str, place: int
) -> Iterator[set[tuple[str, int]]]:
    """What the lines say of one address and a workload: to it, and from it."""
    for at in (0, 1):
        sets = [c for pair, c in pairs.items() if pair[1 - at] == workload and holds(pair[at], place)]
        assert len(sets) <= 1
        yield {cell for cell in CELLS if sets and cell in sets[0]}


READINGS = (SPEC, PROFILES["calico"], PROFILES["cilium"], PROFILES["aws"], replace(SPEC, selects_host_network=True))


@settings(max_examples=60, deadline=None)
@given(tiered_policies(), clusters(), namespace_labels, st.sampled_from(READINGS))
def test_every_pair_is_what_the_oracle_says(
    policies: PolicySet, ends: list[FlowEnd], namespaces: dict[str, dict[str, str]], profile: CniProfile
) -> None:
    found = Reachability.compile(policies, inventory_of(ends, namespaces), profile)
    pairs = listed(found)
    pods = {f"{p.namespace}/{p.name}[Pod]": FlowEnd(p) for p in (e.endpoint for e in ends) if p and p.namespace}
    assert list(found.workloads) == sorted(pods)
    for (one, source), (other, destination) in product(pods.items(), pods.items()):
        # a pod on the host's network may share the node of the other: nothing but that is always allowed
        if one == other or (source.endpoint and destination.endpoint and on_one_node(source, destination)):
            continue
        said = pairs.get((one, other), ConnectionSet())
        assert said == found.connections(one, other)
        assert {cell for cell in CELLS if cell in said} == allowed(found, source, destination)
    for (name, pod), end in product(pods.items(), OUTSIDE):
        assert end.address
        from_it, to_it = outside_of(pairs, name, end.address[0] << 64 | end.address[1])
        assert from_it == allowed(found, end, pod)
        assert to_it == allowed(found, pod, end)


def on_one_node(one: FlowEnd, other: FlowEnd) -> bool:
    assert one.endpoint and other.endpoint
    return bool(one.endpoint.node) and one.endpoint.node == other.endpoint.node


@settings(max_examples=120, deadline=None)
@given(tiered_policies(), tiered_policies(), clusters(), namespace_labels)
def test_the_difference_is_what_the_two_oracles_disagree_on(
    before: PolicySet, after: PolicySet, ends: list[FlowEnd], namespaces: dict[str, dict[str, str]]
) -> None:
    inventory = inventory_of([end for end in ends if end.endpoint and not end.endpoint.host_network], namespaces)
    old, new = Reachability.compile(before, inventory), Reachability.compile(after, inventory)
    changes = {(str(c.source), str(c.destination)): c for c in difference(old, new, ipv6=True)}
    for pair in product(old.workloads, old.workloads):
        one, other = old.connections(*pair), new.connections(*pair)
        assert (pair in changes) == (one != other and pair[0] != pair[1])
        if pair in changes:
            change = changes[pair]
            assert (change.before, change.after) == (one, other)
            assert bool(change.opened) + bool(change.closed) == len(change.witnesses)
    for name, end in product(old.workloads, OUTSIDE):
        assert end.address and end.endpoint is None
        place = end.address[0] << 64 | end.address[1]
        for to_it in (False, True):
            one, other = (
                side.cell(*((side.outside_unit(place), own) if to_it else (own, side.outside_unit(place))))
                for side in (old, new)
                for own in side.workload_units[name]
            )
            said = [
                change
                for change in changes.values()
                if str(change.destination if to_it else change.source) == name
                and holds(str(change.source if to_it else change.destination), place)
            ]
            assert [(change.before, change.after) for change in said] == ([(one, other)] if one != other else [])
    for change in changes.values():
        for witness in change.witnesses:
            assert witness.before.allowed != witness.after.allowed
            assert ((witness.protocol, witness.port) in change.opened) == witness.after.allowed
    same = same_reachability(old, new)
    assert (same is None) == (not changes)
    assert difference(new, old, ipv6=True) == [] if not changes else True
    assert same_reachability(old, old) is None


# -- by hand -----------------------------------------------------------------------------------------------------------


def pod(name: str, kind: str = "Deployment", workload: str = "", **labels: str) -> Endpoint:
    own = tuple(sorted(labels.items()))
    return Endpoint(name, "shop", Identity(kind, "shop", workload or name, labels=own), own, ())


WEB, DB = pod("web", app="web"), pod("db", app="db")


def isolating(*rules: Rule) -> PolicySet:
    return PolicySet((Policy("p", "shop", Selector.of(app="db"), ingress=rules),))


def lines(policies: PolicySet, *pods: Endpoint) -> list[str]:
    found = Reachability.compile(policies, Inventory(endpoints=pods))
    return [f"{p.source} => {p.destination} : {p.connections}" for p in found.pairs()]


def test_lines_are_those_of_np_guard() -> None:
    from_web = Rule((PodPeer(pods=Selector.of(app="web")),), (PortRange("TCP", 443, 445), PortRange("TCP", 80)))
    from_net = Rule((CidrPeer("10.0.0.0/8", ("10.1.0.0/16",)),), (PortRange("UDP"), PortRange("SCTP", 7)))
    assert lines(isolating(from_web, from_net), WEB, DB) == [
        "10.0.0.0-10.0.255.255[External] => shop/db[Deployment] : SCTP 7,UDP 1-65535",
        "10.2.0.0-10.255.255.255[External] => shop/db[Deployment] : SCTP 7,UDP 1-65535",
        "shop/db[Deployment] => shop/web[Deployment] : All Connections",
        "shop/db[Deployment] => 0.0.0.0-255.255.255.255[External] : All Connections",
        "0.0.0.0-255.255.255.255[External] => shop/web[Deployment] : All Connections",
        "shop/web[Deployment] => shop/db[Deployment] : TCP 80,443-445",
        "shop/web[Deployment] => 0.0.0.0-255.255.255.255[External] : All Connections",
    ]


def test_ipv6_is_listed_where_it_is_spoken_of() -> None:
    assert lines(isolating(Rule((CidrPeer("2001:db8::/32"),), None)), DB) == [
        "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff[External] => shop/db[Deployment] : All Connections",
        "shop/db[Deployment] => 0.0.0.0-255.255.255.255[External] : All Connections",
        "shop/db[Deployment] => ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff[External] : All Connections",
    ]
    assert lines(PolicySet(), DB) == lines(isolating(Rule(None, None)), DB)


def test_pods_of_one_workload_that_policies_tell_apart_are_a_union_and_are_named() -> None:
    red, blue = pod("db-0", workload="db", app="db", shard="red"), pod("db-1", workload="db", app="db", shard="blue")
    policies = PolicySet((Policy("p", "shop", Selector.of(shard="red"), ingress=()),))
    found = Reachability.compile(policies, Inventory(endpoints=(red, blue, WEB)))
    assert found.uneven() == ["shop/db[Deployment]"]
    assert str(found.connections("shop/web[Deployment]", "shop/db[Deployment]")) == "All Connections"
    (within, outside, peer) = difference(Reachability.compile(PolicySet(), found.inventory), found)[::-1]
    assert (str(peer.source), within.within, peer.partly, peer.witnesses[0].destination) == (
        "0.0.0.0-255.255.255.255[External]", False, True, "shop/db-0",
    )  # fmt: skip
    assert outside.within
    (witness,) = outside.witnesses
    assert (witness.source, witness.destination) == ("shop/db-0", "shop/db-0 (another replica)")


def test_replicas_of_a_workload_are_compared_with_each_other() -> None:
    inventory = Inventory(endpoints=(WEB,))
    before = Reachability.compile(PolicySet(), inventory)
    after = Reachability.compile(PolicySet((Policy("p", "shop", Selector(), ingress=()),)), inventory)
    change = next(c for c in difference(before, after) if c.within)
    assert (str(change.source), str(change.before), str(change.after)) == (
        "shop/web[Deployment]",
        "All Connections",
        "No Connections",
    )
    assert same_reachability(before, after) is not None


def test_workloads_of_one_side_appear_or_vanish_without_a_witness() -> None:
    before = Reachability.compile(PolicySet(), Inventory(endpoints=(WEB,)))
    after = Reachability.compile(PolicySet(), Inventory(endpoints=(WEB, DB)))
    changes = difference(before, after)
    assert len(changes) == 4
    assert all(c.kind == "added" and c.appeared == ("shop/db[Deployment]",) and not c.witnesses for c in changes)
    assert {c.vanished for c in difference(after, before)} == {("shop/db[Deployment]",)}
    with pytest.raises(ValueError, match="different workloads"):
        same_reachability(before, after)


def test_sets_of_connections_are_values() -> None:
    web, more = ConnectionSet.of([PortSpan("TCP", 80, 90)]), ConnectionSet.of([PortSpan("TCP", 85, 100)])
    assert str(web | more) == "TCP 80-100"
    assert str(web & more) == "TCP 85-90"
    assert str(ConnectionSet.everything() - web) == "SCTP 1-65535,TCP 1-79,91-65535,UDP 1-65535"
    assert not web - web
    assert str(web - web) == "No Connections"
    assert (web | more) - more == ConnectionSet.of([PortSpan("TCP", 80, 84)])
