"""Synthesis, rule by rule: what each kind of evidence becomes, and what is said about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzers.inventory import Identity, NamedPort
from analyzers.servicemap import Edge
from policygen.model import EVERYTHING, CidrPeer, PodPeer, Policy, PortRange, Requirement, Rule, Selector
from policygen.synthesis.census import namespace_selector
from policygen.synthesis.networkpolicies import Synthesis, SynthesisOptions, synthesize

from .clusters import ICMP, SCTP, TCP, UDP, dns_service, edge, external, inventory, judge, node, pod, workload

WEB, CART, OTHER = workload("shop", "web"), workload("shop", "cart"), workload("bank", "ledger")
DNS = workload("kube-system", "coredns", {"k8s-app": "kube-dns"})
SHOP = (pod(WEB), pod(CART), pod(OTHER), pod(DNS))
DNS_RULE = Rule(
    (PodPeer(namespace_selector("kube-system"), Selector((("k8s-app", "kube-dns"),))),),
    (PortRange("TCP", 53), PortRange("UDP", 53)),
)


def made(*edges: Edge, options: SynthesisOptions | None = None, **fields: object) -> Synthesis:
    return synthesize(inventory(*SHOP, **fields), edges, frozenset(), options or SynthesisOptions())


def policy(synthesis: Synthesis, name: str) -> Policy:
    found = [p for p in synthesis.policies.policies if f"{p.namespace}/{p.name}" == name]
    assert len(found) == 1, [f"{p.namespace}/{p.name}" for p in synthesis.policies.policies]
    return found[0].meaning()


def kinds(synthesis: Synthesis) -> set[str]:
    return {note.kind for note in synthesis.notes}


def test_both_ends_allow_an_edge_and_nothing_else() -> None:
    synthesis = made(edge(WEB, CART, 8080))
    web, cart = policy(synthesis, "shop/web"), policy(synthesis, "shop/cart")
    assert web.ingress == ()
    assert web.egress == (DNS_RULE, Rule((PodPeer(None, Selector.of(app="cart")),), (PortRange("TCP", 8080),)))
    assert cart.ingress == (Rule((PodPeer(None, Selector.of(app="web")),), (PortRange("TCP", 8080),)),)
    assert cart.egress == (DNS_RULE,)
    assert synthesis.unseen == (OTHER, DNS)
    assert {"no-ingress", "no-egress"} <= kinds(synthesis)
    assert synthesis.isolated == ((CART, "shop/cart"), (WEB, "shop/web"))


def test_other_namespaces_are_named_by_the_label_nobody_can_forge() -> None:
    cart = policy(made(edge(OTHER, CART, 8080)), "shop/cart")
    assert cart.ingress is not None
    peer = PodPeer(Selector((("kubernetes.io/metadata.name", "bank"),)), Selector.of(app="ledger"))
    assert cart.ingress[0].peers == (peer,)


def test_peers_with_the_same_ports_share_a_rule() -> None:
    cart = policy(
        made(edge(OTHER, CART, 80), edge(WEB, CART, 80), edge(OTHER, CART, 81), edge(WEB, CART, 81)), "shop/cart"
    )
    assert cart.ingress is not None
    (rule,) = cart.ingress
    assert rule.peers is not None
    assert len(rule.peers) == 2
    assert rule.ports == (PortRange("TCP", 80), PortRange("TCP", 81))


def test_consecutive_ports_become_a_range_only_when_asked() -> None:
    edges = [edge(WEB, CART, port) for port in (80, 81, 82, 90, 91)] + [edge(WEB, CART, 92, UDP)]
    plain, merged = (made(*edges, options=SynthesisOptions(merge_ports=m)) for m in (False, True))
    some, few = policy(plain, "shop/cart").ingress, policy(merged, "shop/cart").ingress
    assert some is not None and few is not None
    assert len(some[0].ports or ()) == 6
    single = (PortRange("TCP", 90), PortRange("TCP", 91), PortRange("UDP", 92))
    assert few[0].ports == (PortRange("TCP", 80, 82), *single)


def test_a_workload_may_speak_to_itself() -> None:
    web = policy(made(edge(WEB, WEB, 7946, UDP)), "shop/web")
    rule = Rule((PodPeer(None, Selector.of(app="web")),), (PortRange("UDP", 7946),))
    assert web.ingress == (rule,)
    assert rule in (web.egress or ())


def test_sctp_is_written_and_icmp_is_reported() -> None:
    synthesis = made(
        edge(WEB, CART, 132, SCTP), edge(WEB, CART, 0, ICMP, records=7), edge(WEB, CART, 0, TCP, records=3)
    )
    assert policy(synthesis, "shop/cart").ingress == (
        Rule((PodPeer(None, Selector.of(app="web")),), (PortRange("SCTP", 132),)),
    )
    assert sorted(n.records for n in synthesis.notes if n.kind == "not-expressible") == [3, 7]


def test_evidence_says_who_what_how_much_when_and_how() -> None:
    (cart,) = (p for p in made(edge(WEB, CART, 8080, records=1204)).policies.policies if p.name == "cart")
    assert cart.ingress is not None
    expected = "shop/web -> shop/cart TCP 8080: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake"
    assert cart.ingress[0].evidence == (expected,)


def test_default_deny_isolates_the_unseen_and_keeps_dns() -> None:
    synthesis = made(edge(WEB, CART, 80), options=SynthesisOptions(default_deny=True))
    ledger = policy(synthesis, "bank/ledger")
    assert (ledger.ingress, ledger.egress) == ((), (DNS_RULE,))
    assert OTHER in synthesis.unseen
    assert policy(synthesis, "kube-system/coredns").ingress == (
        Rule((PodPeer(EVERYTHING, None),), (PortRange("TCP", 53), PortRange("UDP", 53))),
    )


# -- DNS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "service", "ports", "port"),
    [
        ({"k8s-app": "kube-dns"}, dns_service({"k8s-app": "kube-dns"}, 8053), (), 8053),
        ({"k8s-app": "kube-dns"}, dns_service({"k8s-app": "kube-dns"}, "dns"), (NamedPort("dns", "UDP", 1053),), 1053),
        ({"k8s-app": "coredns"}, dns_service({"app": "unrelated"}, 8053), (NamedPort("dns", "UDP", 1053),), 1053),
        ({"app.kubernetes.io/name": "coredns"}, None, (), 53),
        ({"dns.operator.openshift.io/daemonset-dns": "default"}, None, (), 5353),
    ],
)
def test_dns_is_kept_at_the_port_the_pods_listen_on(
    labels: dict[str, str], service: object, ports: tuple[NamedPort, ...], port: int
) -> None:
    dns = workload("kube-system", "dns", labels)
    services = () if service is None else (service,)
    some = inventory(pod(WEB), pod(CART), pod(dns, ports=ports), services=services)
    synthesis = synthesize(some, [edge(WEB, CART, 80)], frozenset())
    assert synthesis.dns.found
    assert synthesis.dns.ports == (port,)
    rule = Rule(
        (PodPeer(namespace_selector("kube-system"), Selector(tuple(labels.items()))),),
        (PortRange("TCP", port), PortRange("UDP", port)),
    )
    assert rule in (policy(synthesis, "shop/web").egress or ())


def test_without_dns_in_the_inventory_the_usual_place_is_kept_and_said() -> None:
    synthesis = synthesize(inventory(pod(WEB), pod(CART)), [edge(WEB, CART, 80)], frozenset())
    assert DNS_RULE in (policy(synthesis, "shop/web").egress or ())
    assert "dns-fallback" in kinds(synthesis)
    assert not synthesis.dns.found


def test_a_label_elsewhere_makes_no_cluster_dns_where_the_real_one_is_known() -> None:
    fake = workload("bank", "mine", {"k8s-app": "kube-dns"})
    synthesis = synthesize(inventory(*SHOP, pod(fake)), [edge(WEB, CART, 80)], frozenset())
    assert synthesis.dns.workloads == (DNS,)
    assert not judge(synthesis.policies, pod(WEB), pod(fake), 53, UDP).allowed


def test_node_local_dns_is_an_address_and_may_ask_the_servers() -> None:
    cache = workload("kube-system", "node-local-dns", {"k8s-app": "node-local-dns"}, "DaemonSet")
    some = inventory(*SHOP, pod(cache, host=True, address="10.9.0.1"), node("n1", "10.9.0.1"), node("n2", "10.9.0.2"))
    synthesis = synthesize(some, [edge(WEB, DNS, 53, UDP)], frozenset())
    for protocol in (TCP, UDP):
        assert judge(synthesis.policies, pod(WEB), "169.254.20.10", 53, protocol).allowed
        assert judge(synthesis.policies, "10.9.0.2", pod(DNS), 53, protocol).allowed
        assert not judge(synthesis.policies, "10.9.0.3", pod(DNS), 53, protocol).allowed
    assert not judge(synthesis.policies, pod(WEB), "169.254.20.11", 53, UDP).allowed


# -- outside ---------------------------------------------------------------------------------------------------------


def public(count: int) -> list[str]:
    return [f"198.18.0.{n}" for n in range(1, count + 1)]


def test_few_public_sources_stay_exact() -> None:
    synthesis = made(*(edge(external(a), WEB, 443) for a in public(16)))
    ingress = policy(synthesis, "shop/web").ingress or ()
    assert {p for r in ingress for p in r.peers or ()} == {CidrPeer(f"{a}/32") for a in public(16)}
    assert synthesis.internet_facing == ()


def test_many_public_sources_open_that_port_to_the_internet_but_not_to_private_ranges() -> None:
    lone = edge(external("198.18.0.1"), WEB, 22)
    private = edge(external("10.250.0.1", private=True), WEB, 443)
    synthesis = made(*(edge(external(a), WEB, 443) for a in public(17)), lone, private, edge(WEB, CART, 80))
    policies = synthesis.policies
    assert judge(policies, "8.8.8.8", pod(WEB), 443, TCP).allowed
    assert judge(policies, "10.250.0.1", pod(WEB), 443, TCP).allowed
    for address in ("10.250.0.2", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "127.0.0.1", "2600::1"):
        assert not judge(policies, address, pod(WEB), 443, TCP).allowed, address
    assert not judge(policies, "8.8.8.8", pod(WEB), 22, TCP).allowed
    (facing,) = synthesis.internet_facing
    assert (facing.workload, facing.port, facing.sources, facing.blocks) == (WEB, 443, 17, ("0.0.0.0/0",))
    assert {"internet-facing", "private-address"} <= kinds(synthesis)


def test_ipv6_is_opened_only_where_it_was_seen() -> None:
    synthesis = made(*(edge(external(f"2600::{n}"), WEB, 443) for n in range(1, 18)))
    assert judge(synthesis.policies, "2600:1::1", pod(WEB), 443, TCP).allowed
    assert not judge(synthesis.policies, "fd00::1", pod(WEB), 443, TCP).allowed
    assert not judge(synthesis.policies, "8.8.8.8", pod(WEB), 443, TCP).allowed


def test_an_open_port_stays_closed_to_pods_whose_addresses_look_public() -> None:
    edges = [edge(external(a), WEB, 443) for a in public(17)]
    ingress = policy(made(*edges, pod_cidrs=(("", "11.0.0.0/8"),)), "shop/web").ingress or ()
    (block,) = ingress[0].peers or ()
    assert isinstance(block, CidrPeer)
    assert "11.0.0.0/8" in " ".join(block.excepts) or "10.0.0.0/7" in block.excepts


def test_egress_never_becomes_the_internet() -> None:
    synthesis = made(*(edge(WEB, external(a), 443) for a in public(200)))
    blocks = [p for r in policy(synthesis, "shop/web").egress or () for p in r.peers or () if isinstance(p, CidrPeer)]
    assert sorted(b.cidr for b in blocks) == sorted(f"{a}/32" for a in public(200))
    assert "many-addresses" in kinds(synthesis)
    assert synthesis.internet_facing == ()


def test_addresses_of_pods_never_become_blocks() -> None:
    synthesis = made(edge(WEB, external("10.244.1.5", True), 80, records=5), pod_cidrs=(("", "10.244.0.0/16"),))
    assert policy(synthesis, "shop/web").egress == (DNS_RULE,)
    assert [n.records for n in synthesis.notes if n.kind == "inside-pod-range"] == [5]


def test_a_note_about_many_is_one_note_with_a_few_of_them_in_order() -> None:
    """Sorted, not in the order of a set: texts hash differently in each process."""
    edges = [edge(WEB, external(f"10.77.0.{n}", True), 80, records=2) for n in range(9)]
    (note,) = (n for n in made(*edges).notes if n.kind == "private-address")
    assert "9 (10.77.0.0, 10.77.0.1, 10.77.0.2, 10.77.0.3, 10.77.0.4, ...)" in note.detail
    assert note.records == 18


def test_what_is_no_address_is_reported() -> None:
    synthesis = made(edge(WEB, external("not-an-address"), 80), edge(external("fe80::1%eth0"), WEB, 80))
    assert policy(synthesis, "shop/web").egress == (DNS_RULE,)
    assert "not-expressible" in kinds(synthesis)


# -- nodes and pods on the host's network ----------------------------------------------------------------------------


def test_nodes_are_met_by_exactly_their_addresses() -> None:
    n1, n2 = node("n1", "10.9.0.1"), node("n2", "10.9.0.2")
    synthesis = synthesize(inventory(*SHOP, n1, n2), [edge(n1.workload, WEB, 9100)], frozenset())
    assert judge(synthesis.policies, n1, pod(WEB), 9100, TCP).allowed
    assert not judge(synthesis.policies, n2, pod(WEB), 9100, TCP).allowed
    assert "node-address" in kinds(synthesis)


def test_ranges_that_a_node_holds_for_its_pods_are_not_its_addresses() -> None:
    n1 = replace(node("n1", "10.9.0.1"), prefixes=("10.9.64.0/28",))
    host = replace(node("h1", "10.8.0.1"), workload=Identity("Host", "", "h1"), prefixes=("10.7.0.0/24",))
    edges = [edge(n1.workload, WEB, 9100), edge(host.workload, WEB, 9200)]
    synthesis = synthesize(inventory(*SHOP, n1, host), edges, frozenset())
    assert not judge(synthesis.policies, "10.9.64.1", pod(WEB), 9100, TCP).allowed
    assert judge(synthesis.policies, "10.7.0.9", pod(WEB), 9200, TCP).allowed


def test_a_daemonset_on_the_hosts_network_is_all_nodes_and_never_a_subject() -> None:
    agent = workload("monitoring", "agent", kind="DaemonSet")
    nodes = node("n1", "10.9.0.1"), node("n2", "10.9.0.2")
    some = inventory(*SHOP, pod(agent, host=True, address="10.9.0.1"), *nodes)
    synthesis = synthesize(some, [edge(agent, WEB, 9100), edge(CART, agent, 9101)], frozenset())
    for each in nodes:
        assert judge(synthesis.policies, each, pod(WEB), 9100, TCP).allowed
        assert judge(synthesis.policies, pod(CART), each, 9101, TCP).allowed
    assert {p.namespace for p in synthesis.policies.policies} == {"shop"}
    assert "host-network" in kinds(synthesis)


def test_a_peer_without_any_address_is_reported_not_widened() -> None:
    ghost = Identity("Host", "", "ghost")
    synthesis = made(edge(ghost, WEB, 80))
    assert policy(synthesis, "shop/web").ingress == ()
    assert "no-address" in kinds(synthesis)


# -- labels that tell too little -------------------------------------------------------------------------------------


def test_workloads_that_cannot_be_told_apart_share_one_policy_with_the_needs_of_both() -> None:
    one, two = (workload("shop", name, {"app": "twin"}) for name in ("one", "two"))
    some = inventory(*SHOP, pod(one), pod(two))
    synthesis = synthesize(some, [edge(one, CART, 80), edge(WEB, two, 81)], frozenset())
    assert [p.name for p in synthesis.policies.policies] == ["cart", "one-and-two", "web"]
    for each in (one, two):
        assert judge(synthesis.policies, pod(each), pod(CART), 80, TCP).allowed
        assert judge(synthesis.policies, pod(WEB), pod(each), 81, TCP).allowed
    assert {"shared-policy", "over-selection"} <= kinds(synthesis)


def test_an_unseen_twin_is_isolated_too_and_that_is_said() -> None:
    one, two = (workload("shop", name, {"app": "twin"}) for name in ("one", "two"))
    synthesis = synthesize(inventory(*SHOP, pod(one), pod(two)), [edge(one, CART, 80)], frozenset())
    assert [n.subject for n in synthesis.notes if n.kind == "isolated-with-others"] == ["shop/two"]


def test_a_pod_without_labels_gets_no_policy_and_is_met_narrowly() -> None:
    bare = workload("shop", "bare", {}, "Pod")
    synthesis = synthesize(inventory(*SHOP, pod(bare)), [edge(bare, CART, 80)], frozenset())
    assert [p.name for p in synthesis.policies.policies] == ["cart"]
    assert judge(synthesis.policies, pod(bare), pod(CART), 80, TCP).allowed
    assert not judge(synthesis.policies, pod(WEB), pod(CART), 80, TCP).allowed
    assert "unselectable" in kinds(synthesis)
    assert policy(synthesis, "shop/cart").ingress == (
        Rule((PodPeer(None, Selector((), (Requirement("app", "DoesNotExist"),))),), (PortRange("TCP", 80),)),
    )


def test_needs_of_a_labelless_workload_travel_with_the_policy_that_catches_its_pods() -> None:
    """A pod that happens to carry a foreign label is isolated by the foreign policy: it keeps what it needs."""
    loose = workload("shop", "loose", {})
    stray = pod(loose, "loose-1", {"app": "cart"})
    some = inventory(*SHOP, pod(loose, "loose-0"), stray)
    synthesis = synthesize(some, [edge(loose, WEB, 80), edge(WEB, CART, 81)], frozenset())
    assert judge(synthesis.policies, stray, pod(WEB), 80, TCP).allowed


def test_policies_of_one_name_are_told_apart_by_kind() -> None:
    deployment, stateful = workload("shop", "db", {"app": "a"}), workload("shop", "db", {"app": "b"}, "StatefulSet")
    edges = [edge(deployment, CART, 80), edge(stateful, CART, 80)]
    synthesis = synthesize(inventory(*SHOP, pod(deployment), pod(stateful)), edges, frozenset())
    assert [p.name for p in synthesis.policies.policies] == ["cart", "db-deployment", "db-statefulset"]


def test_names_that_kubernetes_would_refuse_are_made_to_fit() -> None:
    odd = [
        workload("shop", name, {"app": f"l{n}"}, "Host")
        for n, name in enumerate(["A b", "a_b", "é", "x" * 300, "a..b"])
    ]
    edges = [edge(o, CART, 80) for o in odd]
    synthesis = synthesize(inventory(*SHOP, *(pod(o) for o in odd)), edges, frozenset())
    names = [p.name for p in synthesis.policies.policies]
    assert len(set(names)) == 6
    assert {"a.b", "host"} <= set(names)
    assert max(map(len, names)) <= 253


def test_several_clusters_are_said() -> None:
    far = replace(WEB, name="far", network="cluster-b", labels=(("app", "far"),))
    synthesis = synthesize(inventory(*SHOP, pod(far)), [edge(far, CART, 80)], frozenset())
    assert "several-clusters" in kinds(synthesis)
