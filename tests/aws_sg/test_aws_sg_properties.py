"""Random clouds: what was seen passes, after the way through files, and nothing between workloads besides."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from analyzers.inventory import Identity, Inventory
from analyzers.servicemap import Edge, External
from policygen.model import GroupPeer
from policygen.synthesis.security_groups import GroupOptions, synthesize_groups
from policygen.targets.platforms import aws_sg
from policygen.verify.evaluate import Flow
from policygen.verify.replay import ReplayFlow
from policygen.verify.security_groups import GroupMembership, evaluate_groups, replay_groups

from .worlds import edge, end_at, instance, inventory, workload, written_and_read

PORTS = ((6, 80), (6, 81), (6, 50051), (17, 53), (1, 0), (47, 0))
OUTSIDE = ("8.8.8.8", "1.1.1.1", "9.9.9.9", "10.77.0.1", "2a00:1450::1")
INTERNET_SOURCES = 2


@dataclass(frozen=True)
class World:
    """A cloud of one or two VPCs, the edges seen in it, and which end of an edge is where."""

    inventory: Inventory
    edges: tuple[Edge, ...]
    seen: frozenset[Identity]
    addresses: dict[Identity, tuple[str, ...]]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    same_addresses = draw(st.booleans())
    instances, addresses = [], {}
    for number, vpc in enumerate(("vpc-a", "vpc-b")[: draw(st.integers(1, 2))]):
        block = 0 if same_addresses else number
        for index in range(draw(st.integers(1, 3))):
            identity = workload(f"w{index}", vpc)
            held = [f"10.{block}.{index}.{n}" for n in range(1, draw(st.integers(1, 2)) + 1)]
            if draw(st.booleans()):
                held[0:1] = [held[0], f"2600:{block}:{index}::1"]
            addresses[identity] = tuple(held)
            for n, address in enumerate(held):
                instances.append(instance(identity, f"{vpc}-{index}-{n}", address))
    identities = sorted(addresses)
    edges = [_edge(draw, identities, addresses, same_addresses) for _ in range(draw(st.integers(1, 7)))]
    kept = tuple(e for e in edges if e is not None)
    seen = {end for e in kept for end in (e.client, e.server) if isinstance(end, Identity)}
    seen |= set(draw(st.lists(st.sampled_from(identities), max_size=2)))
    return World(inventory(*instances), kept, frozenset(seen), addresses)


def _edge(
    draw: st.DrawFn, identities: list[Identity], addresses: dict[Identity, tuple[str, ...]], same_addresses: bool
) -> Edge | None:
    outside = [External(a, private=a.startswith("10.")) for a in OUTSIDE]
    inside = draw(st.sampled_from(identities))
    other = draw(st.sampled_from([*identities, *outside]))
    client, server = (inside, other) if draw(st.booleans()) else (other, inside)
    if same_addresses and isinstance(other, Identity) and other.network != inside.network:
        return None  # no network connects two VPCs of the same addresses
    places = [addresses[end] if isinstance(end, Identity) else (end.address,) for end in (client, server)]
    pairs = [pair for pair in product(*places) if (":" in pair[0]) == (":" in pair[1])]
    if not pairs:
        return None
    met = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=2, unique=True))
    if len({":" in a for a, _ in met}) > 1:
        met = met[:1]
    protocol, port = draw(st.sampled_from(PORTS))
    return edge(
        client,
        server,
        port,
        protocol,
        clients=tuple(sorted({a for a, _ in met})),
        servers=tuple(sorted({b for _, b in met})),
        networks=(inside.network,),
    )


def flows_of(world: World, seen: Edge) -> list[Flow]:
    """Every pair of addresses that the edge may stand for."""
    flows = []
    for source, destination in product(seen.client_addresses, seen.server_addresses):
        ends = []
        for end, address in ((seen.client, source), (seen.server, destination)):
            network = end.network if isinstance(end, Identity) else "outside"
            ends.append(end_at(world.inventory, network, address))
        flows.append(Flow(ends[0], ends[1], seen.protocol, seen.port))
    return flows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_what_was_seen_passes_and_nothing_between_workloads_besides(world: World) -> None:
    options = GroupOptions(internet_sources=INTERNET_SOURCES)
    result = synthesize_groups(world.inventory, world.edges, world.seen, options)
    assert result.errors == ()
    event(f"internet-facing: {bool(result.internet_facing)}")
    with tempfile.TemporaryDirectory() as directory:
        policies = written_and_read(result.policies, Path(directory))
    assert policies.problems == ()
    assert [p.meaning() for p in policies.policies] == [p.meaning() for p in result.policies.policies]
    assert {(p.namespace, p.name) for p in policies.policies} == {(i.network, f"flowctl-{i.name}") for i in world.seen}
    membership = GroupMembership(policies, world.inventory)
    for seen in world.edges:
        for flow in flows_of(world, seen):
            assert evaluate_groups(membership, flow).allowed, (seen, flow)
    true_edges = {(e.client, e.server, e.protocol, e.port) for e in world.edges}
    for client, server in product(sorted(world.seen), repeat=2):
        if client == server or client.network != server.network:
            continue
        for (protocol, port), source, destination in product(
            (*PORTS, (6, 82), (132, 80)), world.addresses[client][:1], world.addresses[server][:1]
        ):
            ends = [end_at(world.inventory, client.network, address) for address in (source, destination)]
            verdict = evaluate_groups(membership, Flow(ends[0], ends[1], protocol, port))
            assert verdict.allowed == ((client, server, protocol, port) in true_edges), verdict.path


@settings(max_examples=40, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_leaves_no_trace(world: World, chance: random.Random) -> None:
    first = synthesize_groups(world.inventory, world.edges, world.seen)
    shuffled = list(world.edges)
    chance.shuffle(shuffled)
    seen = list(world.seen)
    chance.shuffle(seen)
    second = synthesize_groups(world.inventory, shuffled, seen)
    assert first == second
    assert aws_sg.render(first.policies) == aws_sg.render(second.policies)


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_replay_says_what_one_by_one_says(world: World) -> None:
    policies = synthesize_groups(world.inventory, world.edges[1:], world.seen).policies
    membership = GroupMembership(policies, world.inventory)
    flows = [flow for seen in world.edges for flow in flows_of(world, seen)]
    replayed = [ReplayFlow(f.source, f.destination, f.protocol, f.port, records=3) for f in flows]
    report = replay_groups(policies, world.inventory, replayed)
    verdicts = [evaluate_groups(membership, flow) for flow in flows]
    assert report.flows == len(flows)
    refused = [(f, v) for f, v in zip(flows, verdicts, strict=True) if not v.allowed]
    told = [(Flow(d.flow.source, d.flow.destination, d.flow.protocol, d.flow.port), d.verdict) for d in report.denied]
    assert sorted(map(repr, told)) == sorted(map(repr, refused))
    assert report.always_allowed == sum(verdict.always for verdict in verdicts)
    assert {hit.rule: hit.flows for hit in report.hits if hit.flows} == {
        rule: sum(rule in v.rules for v in verdicts if v.allowed) for v in verdicts if v.allowed for rule in v.rules
    }
    assert report == replay_groups(policies, world.inventory, replayed[::-1])


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_references_stay_inside_their_vpc(world: World) -> None:
    result = synthesize_groups(world.inventory, world.edges, world.seen)
    names = {(p.namespace, p.name) for p in result.policies.policies}
    for policy in result.policies.policies:
        for rule in (*(policy.ingress or ()), *(policy.egress or ())):
            for peer in rule.peers or ():
                assert not isinstance(peer, GroupPeer) or (policy.namespace, peer.name) in names


def test_two_vpcs_of_the_same_addresses_stay_two_worlds() -> None:
    web, db = workload("web", "vpc-a"), workload("db", "vpc-a")
    other_web, other_db = workload("web", "vpc-b"), workload("db", "vpc-b")
    here = inventory(
        instance(web, "a1", "10.0.0.5"),
        instance(db, "a2", "10.0.0.6"),
        instance(other_web, "b1", "10.0.0.5"),
        instance(other_db, "b2", "10.0.0.6"),
    )
    edges = [
        edge(web, db, 5432, clients=("10.0.0.5",), servers=("10.0.0.6",), networks=("vpc-a",)),
        edge(other_web, other_db, 3306, clients=("10.0.0.5",), servers=("10.0.0.6",), networks=("vpc-b",)),
    ]
    policies = synthesize_groups(here, edges, {web, db, other_web, other_db}).policies
    assert sorted(aws_sg.render(policies)) == ["aws-sg/vpc-a.tf", "aws-sg/vpc-b.tf"]
    membership = GroupMembership(policies, here)
    for vpc, port, allowed in (
        ("vpc-a", 5432, True),
        ("vpc-a", 3306, False),
        ("vpc-b", 3306, True),
        ("vpc-b", 5432, False),
    ):
        asked = Flow(end_at(here, vpc, "10.0.0.5"), end_at(here, vpc, "10.0.0.6"), 6, port)
        assert evaluate_groups(membership, asked).allowed is allowed
