"""Replay: the compiled path against `evaluate`, and `evaluate` against sets that are written out in full."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, Inventory, NamedPort
from policygen.model import CidrPeer, PodPeer, Policy, PolicySet, PortRange, Rule, Selector
from policygen.verify import Flow, FlowEnd, ReplayFlow, RuleRef, evaluate, replay
from policygen.verify.judge import Judge
from policygen.verify.profiles import PROFILES, SPEC
from tests.verify.random_clusters import (
    NAMESPACES,
    NUMBERS,
    PORTS,
    clusters,
    labels,
    namespace_labels,
    policy_sets,
    tiered_policies,
)


@settings(max_examples=150, deadline=None)
@given(tiered_policies(), clusters(), namespace_labels, st.sampled_from(sorted(PROFILES)), st.sampled_from((0, 10**6)))
def test_compiled_policies_say_what_evaluate_says(
    policies: PolicySet,
    ends: list[FlowEnd],
    namespaces: dict[str, dict[str, str]],
    profile: str,
    one_by_one: int,
) -> None:
    """Whole columns of flows, with every denial's reasons and every rule's count."""
    nodes = {e.endpoint.name: dict(e.endpoint.labels) for e in ends if e.endpoint and not e.endpoint.namespace}
    inventory = Inventory(endpoints=tuple(e.endpoint for e in ends if e.endpoint), namespaces=namespaces)
    cells = ((6, 80), (6, 53), (6, 0), (17, 53), (132, 8080), (1, 0))
    flows = [ReplayFlow(*pair, *cell, str(i), records=i) for i, (pair, cell) in enumerate(
        product(product(ends, ends), cells))]  # fmt: skip
    expected = [
        evaluate(policies, namespaces, Flow(f.source, f.destination, f.protocol, f.port), PROFILES[profile], nodes)
        for f in flows
    ]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Judge, "ASK_ONE_BY_ONE", one_by_one)
        report = replay(policies, inventory, flows, PROFILES[profile])

    refused = {int(d.flow.source_label): d.verdict for d in (*report.denied, *report.undefined)}
    assert refused == {i: verdict for i, verdict in enumerate(expected) if not verdict.allowed}
    assert {i for i, verdict in refused.items() if verdict.undefined} == {
        int(d.flow.source_label) for d in report.undefined
    }
    assert report.always_allowed == sum(verdict.always for verdict in expected)
    allowed = [(i, verdict) for i, verdict in enumerate(expected) if verdict.allowed and not verdict.always]
    assert report.unrestricted == sum(not verdict.rules for _, verdict in allowed)
    for hit in report.hits:
        needing = [i for i, verdict in allowed if hit.rule in verdict.rules]
        assert (hit.flows, hit.records) == (len(needing), sum(needing))


# -- the meaning, written out as sets ----------------------------------------------------------------------------------


def members(selector: Selector | None, things: dict[str, dict[str, str]]) -> set[str]:
    """Names of the things that a selector chooses, by subtraction: a second reading of the same definition."""
    chosen = set(things)
    for key, value in selector.labels if selector else ():
        chosen -= {name for name, own in things.items() if (key, value) not in own.items()}
    for requirement in selector.expressions if selector else ():
        having = {name for name, own in things.items() if requirement.key in own}
        holding = {name for name in having if things[name][requirement.key] in requirement.values}
        chosen &= {
            "In": holding,
            "NotIn": set(things) - holding,
            "Exists": having,
            "DoesNotExist": set(things) - having,
        }[requirement.operator]
    return chosen


def oracle(
    policies: PolicySet, pods: dict[str, Endpoint], outside: list[str], namespaces: dict[str, dict[str, str]]
) -> Iterator[tuple[str, str, str, int]]:
    """Every allowed (source, destination, protocol, port) among pods (no nodes) and outside addresses."""
    everywhere = {
        name: {**namespaces.get(name, {}), "kubernetes.io/metadata.name": name} for name in (*NAMESPACES, "dark")
    }
    universe = set(pods) | set(outside)

    def covered(policy: Policy, rule: Rule) -> set[str]:
        if rule.peers is None:
            return universe
        found: set[str] = set()
        for peer in rule.peers:
            if isinstance(peer, CidrPeer):
                nets = [ipaddress.ip_network(cidr) for cidr in (peer.cidr, *peer.excepts)]
                hits = {name: [ipaddress.ip_address(name) in net for net in nets] for name in outside}
                found |= {name for name, (inside, *excepted) in hits.items() if inside and not any(excepted)}
            elif isinstance(peer, PodPeer):
                where = {policy.namespace} if peer.namespaces is None else members(peer.namespaces, everywhere)
                chosen = members(peer.pods, {name: dict(pod.labels) for name, pod in pods.items()})
                found |= {name for name in chosen if pods[name].namespace in where}
        return found

    def open_ports(rule: Rule, destination: str) -> set[tuple[str, int]]:
        everything = set(product(NUMBERS, PORTS))
        if rule.ports is None:
            return everything
        named = {(p.name, p.protocol): p.number for p in (pods[destination].ports if destination in pods else ())}
        found: set[tuple[str, int]] = set()
        for allowed in rule.ports:
            first = named.get((allowed.port, allowed.protocol), 0) if isinstance(allowed.port, str) else allowed.port
            span = range(1, 65536) if first is None else range(first, (allowed.end or first) + 1)
            found |= {(name, port) for name, port in everything if name == allowed.protocol and port in span}
        return found

    permitted: dict[str, set[tuple[str, str, str, int]]] = {}
    for direction in ("egress", "ingress"):
        isolated: set[str] = set()
        allowed: set[tuple[str, str, str, int]] = set()
        for policy in policies.policies:
            listed = policy.egress if direction == "egress" else policy.ingress
            if listed is None:
                continue
            local = {name: dict(pod.labels) for name, pod in pods.items() if pod.namespace == policy.namespace}
            subjects = members(policy.subject, local)
            isolated |= subjects
            for rule, subject in product(listed, subjects):
                for peer in covered(policy, rule):
                    source, destination = (subject, peer) if direction == "egress" else (peer, subject)
                    allowed |= {(source, destination, *cell) for cell in open_ports(rule, destination)}
        free = universe - isolated
        permitted[direction] = allowed | {
            (source, destination, *cell)
            for source, destination in product(universe, universe)
            for cell in product(NUMBERS, PORTS)
            if (source if direction == "egress" else destination) in free
        }
    yield from permitted["egress"] & permitted["ingress"]
    yield from ((name, name, *cell) for name in pods for cell in product(NUMBERS, PORTS))


@settings(max_examples=60, deadline=None)
@given(policy_sets(), st.lists(st.tuples(st.sampled_from((*NAMESPACES, "dark")), labels), max_size=3), namespace_labels)
def test_evaluate_allows_exactly_what_the_sets_hold(
    policies: PolicySet, pods: list[tuple[str, tuple[tuple[str, str], ...]]], namespaces: dict[str, dict[str, str]]
) -> None:
    ports = (NamedPort("web", "TCP", 80), NamedPort("dns", "UDP", 53))
    cluster = {
        f"pod{i}": Endpoint(f"pod{i}", namespace, Identity("Pod", namespace, f"pod{i}"), own, (), ports=ports[: i + 1])
        for i, (namespace, own) in enumerate(pods)
    }
    outside = ["10.0.0.1", "10.1.0.1", "2001:db8::2"]
    ends = {name: FlowEnd(pod) for name, pod in cluster.items()}
    ends |= {name: FlowEnd(None, address_halves(name)) for name in outside}

    allowed = {
        (source, destination, name, port)
        for source, destination, name, port in product(ends, ends, NUMBERS, PORTS)
        if evaluate(policies, namespaces, Flow(ends[source], ends[destination], NUMBERS[name], port)).allowed
    }

    assert allowed == set(oracle(policies, cluster, outside, namespaces))


# -- the report --------------------------------------------------------------------------------------------------------


def shop() -> tuple[PolicySet, Inventory, dict[str, FlowEnd]]:
    def pod(name: str, address: str) -> Endpoint:
        own = (("app", name),)
        return Endpoint(name, "red", Identity("Deployment", "red", name), own, (address_halves(address),), node="n1")

    ends = {name: FlowEnd(pod(name, f"10.0.0.{i}")) for i, name in enumerate(("web", "db", "batch"))}
    ends["outside"] = FlowEnd(None, address_halves("8.8.8.8"))
    from_web = Rule((PodPeer(pods=Selector.of(app="web")),), (PortRange("TCP", 5432),))
    unused = Rule((CidrPeer("9.9.9.0/24"),), None)
    policies = PolicySet((Policy("db", "red", Selector.of(app="db"), ingress=(from_web, unused)),))
    return policies, Inventory(endpoints=tuple(e.endpoint for e in ends.values() if e.endpoint)), ends


def test_the_report_counts_every_flow_once_and_names_what_is_denied() -> None:
    policies, inventory, ends = shop()

    def flow(source: str, destination: str, protocol: int, port: int, records: int) -> ReplayFlow:
        return ReplayFlow(ends[source], ends[destination], protocol, port, source, destination, records)

    flows = [
        flow("web", "db", 6, 5432, 10),
        flow("web", "db", 6, 5432, 5),
        flow("outside", "db", 6, 5432, 3),
        flow("batch", "db", 6, 5432, 2),
        flow("batch", "db", 1, 0, 1),
        flow("db", "db", 6, 22, 1),
        flow("web", "batch", 6, 80, 4),
    ]
    report = replay(policies, inventory, flows)
    assert (report.flows, report.records, report.always_allowed, report.unrestricted) == (7, 26, 1, 1)
    assert [(d.flow.source_label, d.flow.destination_label, d.flow.port) for d in report.denied] == [
        ("batch", "db", 5432),
        ("outside", "db", 5432),
    ]
    assert report.denied[0].verdict == evaluate(policies, {}, Flow(ends["batch"], ends["db"], 6, 5432))
    assert [(d.flow.protocol, d.verdict.undefined) for d in report.undefined] == [(1, True)]
    assert [(str(h.rule), h.flows, h.records) for h in report.hits] == [
        ("red/db ingress rule 0", 2, 15),
        ("red/db ingress rule 1", 0, 0),
    ]
    assert not report.proven
    assert replay(policies, inventory, flows[:2]).proven

    for seed in range(5):
        shuffled = flows.copy()
        random.Random(seed).shuffle(shuffled)
        assert replay(policies, inventory, shuffled) == report


def test_nothing_to_replay_is_proven_and_lists_the_rules() -> None:
    policies, inventory, _ = shop()
    report = replay(policies, inventory, [])
    assert report.proven
    assert [hit.rule for hit in report.hits] == [RuleRef("red/db", "ingress", 0), RuleRef("red/db", "ingress", 1)]


def test_many_flows_share_few_verdicts() -> None:
    policies, inventory, ends = shop()
    flows = [
        ReplayFlow(FlowEnd(None, (0, 0xFFFF_0000_0000 | i)), ends["db"], 6, 5432)
        for i in range(9 << 24, (9 << 24) + 2000)
    ]
    denied = replay(policies, inventory, flows).denied
    assert len(denied) == 2000
    assert len({id(denial.verdict) for denial in denied}) == 1
    inside = ReplayFlow(FlowEnd(None, address_halves("9.9.9.200")), ends["db"], 6, 5432)
    assert replay(policies, inventory, [inside]).proven


def test_ends_that_differ_in_one_thing_alone_are_kept_apart() -> None:
    """Pods by their ports and by their addresses, outside ends by the borders of blocks and exceptions."""

    def pod(name: str, address: str, *ports: NamedPort) -> FlowEnd:
        return FlowEnd(Endpoint(name, "red", Identity("Pod", "red", name), (), (address_halves(address),), ports=ports))

    borders = (
        "9.255.255.255",
        "10.0.0.0",
        "10.0.0.255",
        "10.0.1.0",
        "10.0.1.255",
        "10.0.2.0",
        "10.255.255.255",
        "11.0.0.0",
    )
    block = CidrPeer("10.0.0.0/8", ("10.0.1.0/24",))
    subject = pod("subject", "10.0.0.9")
    rules = (Rule((block,), None), Rule(None, (PortRange("TCP", "web"),)))
    policies = PolicySet((Policy("p", "red", Selector(), ingress=rules, egress=rules),))
    ends = [FlowEnd(None, address_halves(border)) for border in borders]
    ends += [pod(f"pod-{border}", border) for border in borders]
    ends += [
        pod("web", "172.16.0.1", NamedPort("web", "TCP", 80)),
        pod("alt", "172.16.0.1", NamedPort("web", "TCP", 81)),
    ]
    for profile, order in product((SPEC, PROFILES["calico"]), (ends, ends[::-1])):
        flows = [ReplayFlow(*pair, 6, 80) for e in order for pair in ((subject, e), (e, subject))]
        denied = {id(denial.flow): denial.verdict for denial in replay(policies, Inventory(), flows, profile).denied}
        for flow in flows:
            expected = evaluate(policies, {}, Flow(flow.source, flow.destination, 6, 80), profile)
            assert denied.get(id(flow)) == (None if expected.allowed else expected), (flow, profile)
