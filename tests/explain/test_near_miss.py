"""What a rule misses by is never said of one that matches, and the rule that is offered does allow it.

The oracle is asked both times; nothing here decides for itself.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, NamedPort
from policygen.explain.near_miss import Asked, rule_misses
from policygen.explain.smallest_rule import smallest_rule
from policygen.manifests import parse_policies
from policygen.model import CidrPeer, Peer, PodPeer, Policy, PolicySet, PortRange, Requirement, Rule, Selector
from policygen.verify.evaluate import Direction, Flow, decide
from policygen.verify.matching import FlowEnd, Surroundings
from policygen.verify.profiles import PROFILES, SPEC

NAMESPACES = {"a": {"team": "x"}, "b": {"team": "y"}, "c": {}}
VALUES = ("1", "2", "3")
ADDRESSES = ("10.0.0.7", "10.0.1.7", "192.0.2.9", "2001:db8::7")
CIDRS = ("10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "::/0", "192.0.2.9/32")

labels = st.dictionaries(st.sampled_from(("app", "tier")), st.sampled_from(VALUES), max_size=2)
selectors = st.builds(
    Selector,
    labels.map(lambda found: tuple(sorted(found.items()))),
    st.lists(
        st.one_of(
            st.builds(Requirement, st.just("app"), st.sampled_from(("In", "NotIn")), st.just(("1", "2"))),
            st.builds(Requirement, st.just("tier"), st.sampled_from(("Exists", "DoesNotExist"))),
        ),
        max_size=1,
    ).map(tuple),
)
spaces = st.one_of(
    st.none(),
    st.sampled_from((Selector(), Selector((("team", "x"),)), Selector((("kubernetes.io/metadata.name", "b"),)))),
)


@st.composite
def peers(draw: st.DrawFn) -> Peer:
    if draw(st.integers(0, 2)) == 0:
        return CidrPeer(draw(st.sampled_from(CIDRS)))
    space = draw(spaces)
    return PodPeer(space, draw(selectors) if space is None else draw(st.one_of(st.none(), selectors)))


ports = st.builds(
    lambda protocol, port, wide: PortRange(protocol, port, port + 10 if wide and isinstance(port, int) else None),
    st.sampled_from(("TCP", "UDP", "SCTP")),
    st.sampled_from((None, 80, 443, "http")),
    st.booleans(),
)
rules = st.builds(
    Rule,
    st.one_of(st.none(), st.lists(peers(), min_size=1, max_size=3).map(tuple)),
    st.one_of(st.none(), st.lists(ports, min_size=1, max_size=3).map(tuple)),
)


@st.composite
def ends(draw: st.DrawFn, name: str) -> FlowEnd:
    address = address_halves(draw(st.sampled_from(ADDRESSES)))
    if draw(st.integers(0, 3)) == 0:
        return FlowEnd(None, address)
    space = draw(st.sampled_from(tuple(NAMESPACES)))
    own = tuple(sorted(draw(labels).items()))
    declared = draw(st.sampled_from(((), (NamedPort("http", "TCP", 80),), (NamedPort("http", "UDP", 443),))))
    return FlowEnd(Endpoint(name, space, Identity("Deployment", space, name, "", own), own, (address,), ports=declared))


questions = st.tuples(
    ends("one"), ends("two"), st.sampled_from((6, 17, 132)), st.sampled_from((80, 85, 443, 8080)),
    st.sampled_from(("ingress", "egress")), st.sampled_from(tuple(PROFILES)),
)  # fmt: skip
Question = tuple[FlowEnd, FlowEnd, int, int, Direction, str]


def isolating(end: FlowEnd, direction: Direction, *own: Rule) -> PolicySet:
    """One policy that selects nobody but the namespace of `end`, for one direction."""
    assert end.endpoint is not None
    policy = Policy("p", end.endpoint.namespace, Selector())
    chosen = replace(policy, ingress=own) if direction == "ingress" else replace(policy, egress=own)
    return PolicySet((chosen,))


@given(rules, questions)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_rule_misses_by_something_exactly_when_it_does_not_match(rule: Rule, question: Question) -> None:
    source, destination, protocol, port, direction, cni = question
    end, peer = (source, destination) if direction == "egress" else (destination, source)
    if end.endpoint is None:
        return
    around = Surroundings(NAMESPACES, {}, PROFILES[cni])
    verdict = decide(isolating(end, direction, rule), Flow(source, destination, protocol, port), around)
    misses = rule_misses(rule, end.endpoint.namespace, Asked(peer, destination, protocol, port, around))
    assert verdict.allowed == (not misses)
    assert all(miss.part and miss.text and miss.change for miss in misses)


@given(questions)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_rule_that_is_offered_allows_it(question: Question) -> None:
    source, destination, protocol, port, direction, _ = question
    end, peer = (source, destination) if direction == "egress" else (destination, source)
    if end.endpoint is None:
        return
    around = Surroundings(NAMESPACES, {}, SPEC)
    flow = Flow(source, destination, protocol, port)
    assert not decide(isolating(end, direction), flow, around).allowed
    snippet = smallest_rule(direction, end, Asked(peer, destination, protocol, port, around))
    text = (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: p, namespace: {end.endpoint.namespace}}}\n"
        f"spec:\n  podSelector: {{}}\n  policyTypes: [{direction.capitalize()}]\n  {direction}:\n"
        + "\n".join(f"  {line}" for line in snippet.splitlines())
    )
    offered = parse_policies(text, "offered")
    assert not offered.problems
    assert decide(offered, flow, around).allowed


@given(questions)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_rule_that_is_offered_allows_no_other_port(question: Question) -> None:
    source, destination, protocol, port, direction, _ = question
    end, peer = (source, destination) if direction == "egress" else (destination, source)
    if end.endpoint is None:
        return
    around = Surroundings(NAMESPACES, {}, SPEC)
    snippet = smallest_rule(direction, end, Asked(peer, destination, protocol, port, around))
    assert f"protocol: {({6: 'TCP', 17: 'UDP', 132: 'SCTP'})[protocol]}\n    port: {port}" in snippet
    assert snippet.count("port:") == 1
