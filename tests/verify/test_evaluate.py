"""NetworkPolicy v1 point by point. Each case is a policy and what it lets through; everything else it must not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, NamedPort
from policygen.manifests import parse_policies
from policygen.model import EVERYTHING, GroupPeer, Policy, PolicySet, Rule
from policygen.verify import Flow, FlowEnd, Verdict, evaluate
from policygen.verify.profiles import PROFILES, CniProfile

NAMESPACES = {"shop": {"team": "red", "kubernetes.io/metadata.name": "forged"}, "bank": {"team": "blue"}}
TCP, UDP, SCTP, ICMP = 6, 17, 132, 1


def pod(namespace: str, name: str, address: str, *ports: NamedPort, node: str = "n1", host: bool = False) -> Endpoint:
    labels = (("app", name),)
    identity = Identity("Deployment", namespace, name, labels=labels)
    return Endpoint(
        name, namespace, identity, labels, (address_halves(address),), ports=ports, node=node, host_network=host
    )


def node(name: str, address: str) -> Endpoint:
    return Endpoint(name, "", Identity("Node", "", name), (), (address_halves(address),))


PODS = {
    "shop/web": pod("shop", "web", "10.1.0.1", NamedPort("http", "TCP", 8080), NamedPort("dns", "UDP", 5353)),
    "shop/db": pod("shop", "db", "10.1.0.2", NamedPort("http", "TCP", 9090)),
    "bank/web": pod("bank", "web", "10.2.0.1", node="n2"),
    "dark/web": pod("dark", "web", "10.3.0.1", node="n2"),  # of a namespace that nobody declared
    "shop/agent": pod("shop", "agent", "192.168.0.2", node="n2", host=True),
}
ENDS = {name: FlowEnd(endpoint, endpoint.addresses[0]) for name, endpoint in PODS.items()} | {
    "n1": FlowEnd(node("n1", "192.168.0.1")),
    "n2": FlowEnd(node("n2", "192.168.0.2")),
    "8.8.8.8": FlowEnd(None, address_halves("8.8.8.8")),
    "2001:db8::1": FlowEnd(None, address_halves("2001:db8::1")),
}


def policies(*specs: str, namespace: str = "shop") -> PolicySet:
    """Policies p0, p1, ... of one namespace; each spec in one line of YAML."""
    head = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p%d, namespace: %s}, spec: %s}"
    text = "".join(f"---\n{head % (index, namespace, spec)}\n" for index, spec in enumerate(specs))
    found = parse_policies(text, "test")
    assert not [problem for problem in found.problems if problem.fatal], found.problems
    assert len(found.policies) == len(specs)
    return found


def ask(
    found: PolicySet, source: str, destination: str, protocol: int = TCP, port: int = 8080, **how: CniProfile
) -> Verdict:
    return evaluate(found, NAMESPACES, Flow(ENDS[source], ENDS[destination], protocol, port), **how)


def sources(found: PolicySet, destination: str, protocol: int = TCP, port: int = 8080, **how: CniProfile) -> set[str]:
    return {name for name in ENDS if ask(found, name, destination, protocol, port, **how).allowed}


def destinations(found: PolicySet, source: str, protocol: int = TCP, port: int = 8080, **how: CniProfile) -> set[str]:
    return {name for name in ENDS if ask(found, source, name, protocol, port, **how).allowed}


EVERYBODY = set(ENDS)
ALWAYS = {"shop/web", "n1"}  # itself and its node
NODES = {"n1", "n2", "shop/agent"}


def test_without_policies_everything_passes() -> None:
    found = PolicySet()
    assert all(destinations(found, name) == EVERYBODY for name in ENDS)


def test_an_empty_selector_isolates_the_pods_of_its_namespace_alone() -> None:
    found = policies("{podSelector: {}, policyTypes: [Ingress]}")
    assert sources(found, "shop/web") == ALWAYS
    assert sources(found, "shop/db") == {"shop/db", "n1"}
    assert sources(found, "bank/web") == EVERYBODY
    assert destinations(found, "shop/web") == EVERYBODY - {"shop/db"}


def test_each_direction_is_isolated_by_itself() -> None:
    found = policies("{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}")
    assert sources(found, "shop/web") == EVERYBODY
    assert destinations(found, "shop/web") == ALWAYS
    assert destinations(found, "shop/db") == EVERYBODY


@pytest.mark.parametrize("rules", ["[{}]", "[{from: []}]", "[{ports: []}]", "[null]", "[{from: null, ports: null}]"])
def test_a_rule_without_restriction_allows_everybody(rules: str) -> None:
    found = policies(f"{{podSelector: {{}}, ingress: {rules}}}")
    assert sources(found, "shop/web") == EVERYBODY
    assert sources(found, "shop/web", UDP, 1) == EVERYBODY


@pytest.mark.parametrize(
    ("peers", "allowed"),
    [
        ("[{podSelector: {}}]", {"shop/db"}),
        ("[{podSelector: {matchLabels: {app: web}}}]", set()),
        ("[{namespaceSelector: {}}]", {"shop/db", "bank/web", "dark/web"}),
        ("[{namespaceSelector: {matchLabels: {team: blue}}}]", {"bank/web"}),
        ("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: dark}}}]", {"dark/web"}),
        ("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}]", {"shop/db"}),
        ("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: forged}}}]", set()),
        ("[{namespaceSelector: {matchLabels: {team: red}}, podSelector: {matchLabels: {app: web}}}]", set()),
        ("[{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: db}}}]",
         {"bank/web", "shop/db"}),
        ("[{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [red]}]}}]",
         {"bank/web", "dark/web"}),
        ("[{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [red, blue]}]}}]",
         {"shop/db", "bank/web"}),
        ("[{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}]", {"shop/db", "bank/web"}),
        ("[{namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}]", {"dark/web"}),
        ("[{namespaceSelector: {matchLabels: {team: blue}, "
         "matchExpressions: [{key: team, operator: DoesNotExist}]}}]", set()),
        ("[{ipBlock: {cidr: 8.8.8.0/24}}]", {"8.8.8.8"}),
        ("[{ipBlock: {cidr: 0.0.0.0/0}}]", NODES | {"8.8.8.8"}),
        ("[{ipBlock: {cidr: 0.0.0.0/0, except: [8.8.8.8/32]}}]", NODES),
        ("[{ipBlock: {cidr: 0.0.0.0/0, except: [8.8.8.8/32]}}, {ipBlock: {cidr: 8.0.0.0/8}}]", NODES | {"8.8.8.8"}),
        ("[{ipBlock: {cidr: 192.168.0.2/32}}]", {"n2", "shop/agent"}),
        ("[{ipBlock: {cidr: '::/0'}}]", {"2001:db8::1"}),
        ("[{ipBlock: {cidr: '2001:db8::/32', except: ['2001:db8::/64']}}]", set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_peers(direction: str, peers: str, allowed: set[str]) -> None:
    field = "from" if direction == "ingress" else "to"
    found = policies(
        f"{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [{direction.capitalize()}], "
        f"{direction}: [{{{field}: {peers}}}]}}"
    )
    reached = sources(found, "shop/web") if direction == "ingress" else destinations(found, "shop/web")
    assert reached == allowed | ALWAYS


def test_a_block_matches_pods_only_where_that_is_asked_for() -> None:
    found = policies("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.2.0.0/16}}]}]}")
    assert sources(found, "shop/web") == ALWAYS
    assert sources(found, "shop/web", profile=PROFILES["calico"]) == ALWAYS | {"bank/web"}


def test_an_end_of_unknown_address_needs_all_of_its_addresses_in_the_block() -> None:
    found = policies("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.168.9.0/24}}]}]}")
    far = node("n9", "192.168.9.9")
    both = replace(far, addresses=(*far.addresses, address_halves("2001:db8::9")))

    def allowed(end: FlowEnd) -> bool:
        return evaluate(found, NAMESPACES, Flow(end, ENDS["shop/web"], TCP, 80)).allowed

    assert allowed(FlowEnd(far))
    assert not allowed(FlowEnd(both))
    assert allowed(FlowEnd(both, far.addresses[0]))
    assert not allowed(FlowEnd(replace(far, addresses=())))
    assert not allowed(FlowEnd())


def test_peers_and_ports_of_one_rule_must_both_match_and_rules_are_a_union() -> None:
    found = policies(
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 443}]}]}",
    )
    assert sources(found, "shop/web", TCP, 80) == ALWAYS | {"shop/db"}
    assert sources(found, "shop/web", TCP, 443) == ALWAYS | {"shop/db", "bank/web", "dark/web"}
    assert sources(found, "shop/db", TCP, 443) == {"shop/db", "n1"}


def test_both_directions_must_allow() -> None:
    allow_in = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}"
    allow_out = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}"
    deny = "{podSelector: {}, policyTypes: [Ingress, Egress]}"
    assert not ask(policies(deny), "shop/web", "shop/db").allowed
    assert not ask(policies(deny, allow_in), "shop/web", "shop/db").allowed
    assert not ask(policies(deny, allow_out), "shop/web", "shop/db").allowed
    assert ask(policies(deny, allow_in, allow_out), "shop/web", "shop/db").allowed
    assert not ask(policies(deny, allow_in, allow_out), "shop/db", "shop/web").allowed  # replies need no rule


@pytest.mark.parametrize(
    ("ports", "allowed"),
    [
        ("[{}]", {(TCP, 1), (TCP, 80), (TCP, 8080), (TCP, 5353), (TCP, 65535)}),
        ("[{protocol: UDP}]", {(UDP, 1), (UDP, 80), (UDP, 8080), (UDP, 5353), (UDP, 65535)}),
        ("[{port: 80}]", {(TCP, 80)}),
        ("[{port: 80, protocol: SCTP}]", {(SCTP, 80)}),
        ("[{port: 80}, {port: 80, protocol: UDP}]", {(TCP, 80), (UDP, 80)}),
        ("[{port: 80, endPort: 8080}]", {(TCP, 80), (TCP, 5353), (TCP, 8080)}),
        ("[{port: 81, endPort: 8079}]", {(TCP, 5353)}),
        ("[{port: http}]", {(TCP, 8080)}),
        ("[{port: http, protocol: UDP}]", set()),
        ("[{port: dns, protocol: UDP}]", {(UDP, 5353)}),
        ("[{port: unknown}]", set()),
    ],
)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_ports(direction: str, ports: str, allowed: set[tuple[int, int]]) -> None:
    subject = "web" if direction == "ingress" else "db"
    found = policies(
        f"{{podSelector: {{matchLabels: {{app: {subject}}}}}, policyTypes: [{direction.capitalize()}], "
        f"{direction}: [{{ports: {ports}}}]}}"
    )
    asked = [(protocol, port) for protocol in (TCP, UDP, SCTP) for port in (1, 80, 5353, 8080, 65535)]
    assert {one for one in asked if ask(found, "shop/db", "shop/web", *one).allowed} == allowed


def test_a_named_port_is_resolved_at_each_destination() -> None:
    found = policies(
        "{podSelector: {matchLabels: {app: agent2}}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}"
    )
    client = FlowEnd(pod("shop", "agent2", "10.1.0.9"))
    reached = {
        (name, port)
        for name, end in ENDS.items()
        for port in (8080, 9090)
        if evaluate(found, NAMESPACES, Flow(client, end, TCP, port)).allowed
    }
    assert reached == {("shop/web", 8080), ("shop/db", 9090), ("n1", 8080), ("n1", 9090)}  # n1 is its own node


def test_host_network_pods_are_no_subject() -> None:
    found = policies("{podSelector: {}, policyTypes: [Ingress, Egress]}")
    assert destinations(found, "shop/agent") == EVERYBODY - {"shop/web", "shop/db"}
    assert sources(found, "shop/agent") == EVERYBODY - {"shop/web", "shop/db"}


def test_what_no_policy_can_stop() -> None:
    found = policies("{podSelector: {}, policyTypes: [Ingress, Egress]}", namespace="bank")
    assert sources(found, "bank/web") == {"bank/web", "n2", "shop/agent"}  # the agent has the address of n2
    assert destinations(found, "bank/web") == {"bank/web", "n2", "shop/agent"}
    assert ask(found, "n2", "bank/web", ICMP, 0).always
    assert ask(found, "bank/web", "bank/web").path == ("a pod always reaches itself",)
    assert ask(found, "n2", "bank/web").path == ("traffic between a pod and its own node is always allowed",)
    other_cluster = FlowEnd(replace(ENDS["n2"].endpoint or node("", "::"), network="other"))
    assert not evaluate(found, NAMESPACES, Flow(other_cluster, ENDS["bank/web"], TCP, 80)).allowed


def test_other_protocols_are_undefined_where_an_end_is_isolated() -> None:
    found = policies("{podSelector: {matchLabels: {app: web}}, ingress: [{}]}")
    verdict = ask(found, "shop/db", "shop/web", ICMP, 0)
    assert (verdict.allowed, verdict.undefined) == (False, True)
    assert "IP protocol 1" in verdict.path[-1]
    assert ask(found, "shop/db", "bank/web", ICMP, 0) == ask(PolicySet(), "shop/db", "bank/web", ICMP, 0)
    assert ask(found, "shop/web", "shop/db", ICMP, 0).allowed


def test_the_path_says_who_isolates_and_which_rule_allows() -> None:
    found = policies(
        "{podSelector: {}, ingress: []}",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 1}]}, {ports: [{port: 80}]}, {}]}",
    )
    verdict = ask(found, "8.8.8.8", "shop/web", TCP, 80)
    assert verdict.path == (
        "egress: no policy can select the source",
        "ingress: the destination is isolated by shop/p0, shop/p1; allowed by shop/p1 ingress rule 1",
    )
    assert [str(rule) for rule in verdict.rules] == ["shop/p1 ingress rule 1", "shop/p1 ingress rule 2"]
    assert str(ask(found, "bank/web", "shop/db")) == (
        "denied: egress: no policy isolates the source; "
        "ingress: the destination is isolated by shop/p0; no rule matches"
    )


def test_rules_that_match_nothing_by_construction_allow_nothing() -> None:
    for rule in (Rule(peers=(), ports=None), Rule(peers=None, ports=()), Rule(peers=(GroupPeer("sg"),), ports=None)):
        found = PolicySet((Policy("p", "shop", EVERYTHING, ingress=(rule,)),))
        assert sources(found, "shop/web") == ALWAYS
