"""Random clusters, judged by the evaluator after the way through YAML: sound, tight, stable."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from analyzers.inventory import Endpoint, Identity, Inventory
from analyzers.servicemap import Edge, External
from policygen.model import PolicySet
from policygen.synthesis.networkpolicies import PROTOCOLS, Synthesis, SynthesisOptions, synthesize
from policygen.synthesis.selectors import SelectorChooser
from policygen.verify.evaluate import selector_matches

from .clusters import ICMP, TCP, UDP, dns_service, edge, inventory, judge, node, pod, policy_lines, workload
from .clusters import written_and_read as through_yaml

NAMESPACES = ("shop", "bank", "kube-system")
PORTS = ((TCP, 80), (TCP, 81), (TCP, 53), (UDP, 53), (UDP, 81), (ICMP, 0))
OUTSIDE = ("8.8.8.8", "9.9.9.9", "1.1.1.1", "10.77.0.1", "2a00:1450::1", "10.244.0.7")
INTERNET_SOURCES = 2
KINDS = ("Deployment", "StatefulSet", "CronJob", "Pod")
VOLATILE = st.fixed_dictionaries({"pod-template-hash": st.sampled_from(["a1", "b2"]), "job-name": st.just("run-1")})
ODD = st.dictionaries(st.sampled_from(["app", "tier", "version"]), st.sampled_from(["no", "web", "v1"]), max_size=2)


@dataclass(frozen=True)
class World:
    """A cluster and what was seen in it."""

    inventory: Inventory
    edges: tuple[Edge, ...]
    seen: frozenset[Identity]
    options: SynthesisOptions


@st.composite
def worlds(draw: st.DrawFn) -> World:
    workloads = []
    for n in range(draw(st.integers(2, 6))):
        own = {"app": f"w{n % 4}"} if draw(st.integers(0, 3)) else {}
        name = draw(st.sampled_from([f"w{n}", "same"]))
        one = workload(draw(st.sampled_from(NAMESPACES)), name, draw(ODD) | own, draw(st.sampled_from(KINDS)))
        if not any((w.kind, w.namespace, w.name) == (one.kind, one.namespace, one.name) for w in workloads):
            workloads.append(one)
    endpoints: list[Endpoint] = [node("n1", "10.1.0.1"), node("n2", "10.1.0.2")]
    for n, one in enumerate(workloads):
        for p in range(draw(st.integers(0, 2))):
            odd = draw(ODD) if draw(st.integers(0, 4)) == 0 else {}
            host = draw(st.integers(0, 7)) == 0
            extra = draw(VOLATILE) | odd
            endpoints.append(pod(one, f"p{n}-{p}", extra, host=host, address="10.1.0.1" if host else f"10.244.{n}.{p}"))
    if draw(st.booleans()):
        dns = workload("kube-system", "coredns", {"k8s-app": "kube-dns"})
        workloads.append(dns)
        endpoints.append(pod(dns, address="10.244.9.9"))
    ends = [*workloads, endpoints[0].workload, endpoints[1].workload]
    ends += [External(a, private=a.startswith("10.")) for a in OUTSIDE]
    edges = []
    for client, server in draw(st.lists(st.tuples(st.sampled_from(ends), st.sampled_from(ends)), max_size=8)):
        protocol, port = draw(st.sampled_from(PORTS))
        edges.append(edge(client, server, port, protocol))
    services = (dns_service({"k8s-app": "kube-dns"}, draw(st.sampled_from([53, 5353]))),) if draw(st.booleans()) else ()
    return World(
        inventory(*endpoints, also=workloads, services=services, pod_cidrs=(("", "10.244.0.0/16"),)),
        tuple(edges),
        frozenset(draw(st.lists(st.sampled_from(workloads), max_size=3))),
        SynthesisOptions(draw(st.booleans()), 2, INTERNET_SOURCES, draw(st.booleans())),
    )


def pods_of(world: World, end: Identity) -> list[Endpoint]:
    """Its endpoints, and for workloads one of a run that has not happened yet."""
    found = [e for e in world.inventory.endpoints if e.workload == end]
    if end.namespace and (not found or any(e.policy_subject for e in found)):
        found.append(pod(end, "future", {"pod-template-hash": "zz", "controller-uid": "zz", "job-name": "run-9"}))
    return found


def made(world: World) -> tuple[Synthesis, PolicySet]:
    synthesis = synthesize(world.inventory, world.edges, world.seen, world.options)
    read = through_yaml(synthesis.policies)
    assert [p.meaning() for p in read.policies] == [p.meaning() for p in synthesis.policies.policies]
    return synthesis, read


def concrete(world: World, end: Identity | External) -> list[Endpoint] | list[str]:
    return [end.address] if isinstance(end, External) else pods_of(world, end)


SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(worlds())
def test_every_edge_is_allowed_for_pods_past_and_to_come(world: World) -> None:
    _, policies = made(world)
    for one in world.edges:
        blocked = any(isinstance(e, External) and e.address.startswith("10.244.") for e in (one.client, one.server))
        if one.protocol not in PROTOCOLS or blocked:
            continue  # not expressible; said in the notes, see the next test
        for source, destination in product(concrete(world, one.client), concrete(world, one.server)):
            verdict = judge(policies, source, destination, one.port, one.protocol)
            assert verdict.allowed, (str(one.client), str(one.server), str(verdict))


@SETTINGS
@given(worlds())
def test_what_has_no_rule_has_a_note(world: World) -> None:
    synthesis, _ = made(world)
    kinds = {n.kind for n in synthesis.notes}
    assert any(e.protocol == ICMP for e in world.edges) == ("not-expressible" in kinds)
    for one in world.edges:
        ends = (one.client, one.server), (one.server, one.client)
        for end, other in ends:
            inside = isinstance(end, External) and end.address.startswith("10.244.")
            if inside and one.protocol in PROTOCOLS and other in dict(synthesis.isolated):
                assert "inside-pod-range" in kinds


def told_apart(world: World) -> set[Identity]:
    """Workloads whose pods nobody else's selector matches, and whose own selector matches nobody else's."""
    named = [w for w in world.inventory.workloads if any(e.policy_subject for e in pods_of(world, w))]
    chooser = SelectorChooser(world.inventory, named)
    alone = set()
    for one in named:
        choice = chooser.choose(one)
        others = [chooser.choose(w) for w in named if w != one and w.namespace == one.namespace]
        mine = [dict(e.labels) for e in pods_of(world, one)]
        foreign = any(selector_matches(s, m) for c in others for s in (c.selector, c.as_peer) if c.usable for m in mine)
        loose = any(selector_matches(c.as_peer, m) for c in others for m in mine)
        if choice.exact and not foreign and not loose:
            alone.add(one)
    return alone


def unproven(world: World, synthesis: Synthesis) -> Iterator[tuple[Identity, Identity, int, int]]:
    """Every pair, protocol and port without an edge whose ends labels can tell apart, and that is not DNS."""
    edges = {(e.client, e.server, e.protocol, e.port) for e in world.edges}
    isolated = dict(synthesis.isolated)
    alone = told_apart(world)
    for (client, server), (protocol, port) in product(product(sorted(alone), repeat=2), PORTS[:-1]):
        dns = port in synthesis.dns.ports and (
            server in synthesis.dns.workloads or ("k8s-app", "kube-dns") in server.labels
        )
        if (client, server, protocol, port) not in edges and not dns and (client in isolated or server in isolated):
            yield client, server, protocol, port


@SETTINGS
@given(worlds())
def test_nothing_else_is_allowed_between_workloads(world: World) -> None:
    synthesis, policies = made(world)
    asked = 0
    for client, server, protocol, port in unproven(world, synthesis):
        for source, destination in product(pods_of(world, client), pods_of(world, server)):
            if source.policy_subject and destination.policy_subject and source != destination:
                asked += 1
                verdict = judge(policies, source, destination, port, protocol)
                assert not verdict.allowed, (str(client), str(server), protocol, port, str(verdict))
    event("pairs asked", bool(asked))


@SETTINGS
@given(worlds())
def test_nothing_else_is_allowed_from_and_to_outside(world: World) -> None:
    synthesis, policies = made(world)
    edges = {(str(e.client), str(e.server), e.protocol, e.port) for e in world.edges}
    facing = {(f.workload, f.protocol, f.port) for f in synthesis.internet_facing}
    alone = told_apart(world)
    for one in sorted(alone & dict(synthesis.isolated).keys()):
        subjects = [e for e in pods_of(world, one) if e.policy_subject]
        for (protocol, port), address in product(PORTS[:-1], (*OUTSIDE, "203.0.113.99", "10.99.0.1")):
            node_too = address == "10.1.0.1"
            if (str(one), address, protocol, port) not in edges:
                assert not any(judge(policies, s, address, port, protocol).allowed for s in subjects), "egress"
            if (address, str(one), protocol, port) in edges or node_too:
                continue
            opened = (one, PROTOCOLS[protocol], port) in facing and not address.startswith("10.")
            assert opened or not any(judge(policies, address, s, port, protocol).allowed for s in subjects), "ingress"


@SETTINGS
@given(worlds())
def test_a_port_faces_the_internet_only_by_many_public_sources(world: World) -> None:
    synthesis, _ = made(world)
    sources: dict[tuple[Identity, str, int], set[str]] = {}
    for one in world.edges:
        if isinstance(one.client, External) and not one.client.private and isinstance(one.server, Identity):
            key = one.server, PROTOCOLS.get(one.protocol, ""), one.port
            sources.setdefault(key, set()).add(one.client.address)
    expected = {key for key, some in sources.items() if len(some) > INTERNET_SOURCES and key[1]}
    found = {(f.workload, f.protocol, f.port) for f in synthesis.internet_facing}
    assert found <= expected
    assert {k for k in expected if k[0] in dict(synthesis.isolated)} <= found


@SETTINGS
@given(worlds(), st.integers(0, 2**16))
def test_the_order_of_the_input_leaves_no_trace(world: World, seed: int) -> None:
    chance = random.Random(seed)

    def shuffled(items: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(chance.sample(items, len(items)))

    before = world.inventory
    after = replace(
        before,
        endpoints=shuffled(before.endpoints),
        workloads=shuffled(before.workloads),
        services=shuffled(before.services),
        namespaces=dict(shuffled(tuple(before.namespaces.items()))),  # type: ignore[arg-type]
    )
    one = synthesize(before, world.edges, world.seen, world.options)
    two = synthesize(after, [*shuffled(world.edges), *world.edges], world.seen, world.options)  # type: ignore[list-item]
    assert policy_lines(one) == policy_lines(two)
    assert (one.notes, one.unseen, one.internet_facing, one.dns) == (
        two.notes,
        two.unseen,
        two.internet_facing,
        two.dns,
    )


@SETTINGS
@given(worlds())
def test_rules_are_never_empty_and_never_repeat(world: World) -> None:
    for policy in made(world)[0].policies.policies:
        for rules in (policy.ingress, policy.egress):
            pairs = [(peer, ports) for rule in rules or () for peer in rule.peers or () for ports in rule.ports or ()]
            assert len(pairs) == len(set(pairs))
            assert all(rule.peers and rule.ports and rule.evidence for rule in rules or ())
            assert len({rule.ports for rule in rules or ()}) == len(rules or ())
