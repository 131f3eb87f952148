"""Random clusters and policies of all tiers, small enough that coincidences are common."""

from __future__ import annotations

from hypothesis import strategies as st

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, NamedPort
from policygen.model import (
    AdminPolicy,
    AdminRule,
    CidrPeer,
    DomainPeer,
    NodePeer,
    PodPeer,
    Policy,
    PolicySet,
    PortRange,
    Requirement,
    Rule,
    Selector,
)
from policygen.verify import FlowEnd

KEYS, VALUES = ("app", "tier"), ("a", "b")
NAMESPACES = ("red", "blue")
NODES = ("n1", "n2")
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
CIDRS = {
    "10.0.0.0/8": ("10.0.0.0/16", "10.0.0.1/32"),
    "10.0.0.0/24": ("10.0.0.1/32", "10.0.0.2/32"),
    "0.0.0.0/0": ("10.0.0.0/8",),
    "::/0": ("2001:db8::/64",),
    "2001:db8::/32": ("2001:db8::1/128", "2001:db8:0:1::/64"),
}
NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
PORTS = (1, 53, 80, 81, 8080)

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)).map(lambda d: tuple(sorted(d.items())))
values = st.lists(st.sampled_from(VALUES), min_size=1, unique=True).map(tuple)
requirements = st.one_of(
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(("In", "NotIn")), values),
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(("Exists", "DoesNotExist"))),
)
selectors = st.builds(Selector, labels, st.lists(requirements, max_size=1).map(tuple))
pod_peers = st.builds(PodPeer, st.none() | selectors, st.none() | selectors).filter(
    lambda peer: peer.namespaces is not None or peer.pods is not None
)
cidr_peers = st.sampled_from(sorted(CIDRS)).flatmap(
    lambda cidr: st.builds(CidrPeer, st.just(cidr), st.lists(st.sampled_from(CIDRS[cidr]), unique=True).map(tuple))
)
protocols = st.sampled_from(sorted(NUMBERS))
port_ranges = st.one_of(
    st.builds(PortRange, protocols, st.sampled_from((None, "web", "dns", *PORTS))),
    st.builds(PortRange, protocols, st.just(53), st.sampled_from((53, 80, 8079))),
)
rules = st.builds(
    Rule,
    st.none() | st.lists(pod_peers | cidr_peers, min_size=1, max_size=3).map(tuple),
    st.none() | st.lists(port_ranges, min_size=1, max_size=2).map(tuple),
)
directions = st.none() | st.lists(rules, max_size=3).map(tuple)


@st.composite
def policy_sets(draw: st.DrawFn) -> PolicySet:
    count = draw(st.integers(0, 4))
    return PolicySet(
        tuple(
            Policy(f"p{i}", draw(st.sampled_from(NAMESPACES)), draw(selectors), draw(directions), draw(directions))
            for i in range(count)
        )
    ).sorted()


network_peers = st.sampled_from(sorted(CIDRS)).map(CidrPeer)
admin_pods = st.builds(PodPeer, selectors, st.none() | selectors)
admin_ports = st.one_of(port_ranges, st.builds(PortRange, st.just("-1"), st.sampled_from(("web", "dns"))))


def admin_rules(egress: bool) -> st.SearchStrategy[AdminRule]:
    """Names of domains are for rules that accept, addresses and nodes for egress; Deny is rarer, or all is closed."""
    peers = admin_pods
    if egress:
        peers = st.one_of(admin_pods, network_peers, st.builds(NodePeer, selectors))
    ports = st.none() | st.lists(admin_ports, min_size=1, max_size=2).map(tuple)
    some = st.lists(peers, min_size=1, max_size=2).map(tuple)
    rule = st.builds(AdminRule, st.sampled_from(("Accept", "Pass", "Deny")), some, ports)
    named = st.builds(AdminRule, st.just("Accept"), st.just((DomainPeer("*.example.org"),)), ports)
    return st.one_of(rule, rule, rule, named) if egress else rule


@st.composite
def tiered_policies(draw: st.DrawFn) -> PolicySet:
    """NetworkPolicies with admin policies of both tiers, some of one priority."""
    admin = tuple(
        AdminPolicy(
            f"a{i}",
            draw(st.sampled_from(("ClusterNetworkPolicy", "AdminNetworkPolicy"))),
            draw(st.sampled_from(("Admin", "Baseline"))),
            draw(st.sampled_from((1, 2))),
            draw(admin_pods),
            draw(st.lists(admin_rules(False), max_size=3).map(tuple)),
            draw(st.lists(admin_rules(True), max_size=3).map(tuple)),
        )
        for i in range(draw(st.integers(0, 4)))
    )
    return PolicySet(draw(policy_sets()).policies, admin=admin).sorted()


@st.composite
def clusters(draw: st.DrawFn) -> list[FlowEnd]:
    """A few pods, hostNetwork pods, the nodes and addresses outside, in both families."""
    ends = [FlowEnd(Endpoint(name, "", Identity("Node", "", name), (("app", "a"),) if name == "n1" else (),
                            (address_halves(f"192.0.2.{name[1]}"),)))
            for name in NODES]  # fmt: skip
    addresses = st.lists(st.sampled_from(ADDRESSES), max_size=2, unique=True)
    for i in range(draw(st.integers(1, 4))):
        namespace, own = draw(st.sampled_from((*NAMESPACES, "dark"))), draw(labels)
        pod = Endpoint(
            f"pod{i}",
            namespace,
            Identity("Pod", namespace, f"pod{i}"),
            own,
            tuple(map(address_halves, draw(addresses))),
            host_network=draw(st.sampled_from((False, False, False, True))),
            node=draw(st.sampled_from(("", *NODES))),
            ports=draw(st.sampled_from(((), (NamedPort("web", "TCP", 80), NamedPort("dns", "UDP", 53))))),
        )
        ends.append(FlowEnd(pod, draw(st.sampled_from((None, *pod.addresses)))))
    ends += [FlowEnd(None, address_halves(draw(st.sampled_from(ADDRESSES)))), FlowEnd()]
    return ends


namespace_labels = st.dictionaries(st.sampled_from(NAMESPACES), labels.map(dict))
