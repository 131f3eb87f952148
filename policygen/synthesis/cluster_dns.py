"""Where pods of this cluster ask for names: found in the inventory, kept open for every isolated pod."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analyzers.inventory import Endpoint, Identity, Inventory, Service
from policygen.model import EVERYTHING, CidrPeer, Peer, PodPeer, Selector
from policygen.synthesis.census import Census, pod_peer
from policygen.synthesis.findings import Findings
from policygen.synthesis.normal_rules import Permission

NODE_LOCAL_ADDRESS = "169.254.20.10/32"
"""Where NodeLocal DNSCache listens unless told otherwise (Kubernetes documentation, NodeLocal DNSCache)."""

DNS_PORT = 53
_PROTOCOLS = ("UDP", "TCP")  # an answer that is too long for UDP is asked for again over TCP
_OPENSHIFT_LABEL = "dns.operator.openshift.io/daemonset-dns"
_OPENSHIFT_PORT = 5353  # the pods' own; the Service translates 53
_HOME = ("kube-system", "openshift-dns")
_KEPT = "DNS: kept for every isolated pod"


@dataclass(frozen=True, slots=True)
class DnsPlan:
    """How pods reach DNS. `ports` are the DNS pods' own. `found` False: the usual place is kept, unseen."""

    workloads: tuple[Identity, ...]
    ports: tuple[int, ...]
    found: bool
    node_local: bool = False

    def egress(self, namespace: str, census: Census) -> Iterator[Permission]:
        """What an isolated pod of `namespace` is allowed besides its evidence."""
        peers: list[Peer] = [p for w in self.workloads for p in census.peers(w, namespace)]
        if not self.found:
            peers.append(pod_peer("kube-system", Selector((("k8s-app", "kube-dns"),)), namespace))
        yield from (Permission(p, protocol, n, _KEPT) for p in peers for protocol in _PROTOCOLS for n in self.ports)
        if self.node_local:
            block = CidrPeer(NODE_LOCAL_ADDRESS)
            yield from (Permission(block, protocol, DNS_PORT, _KEPT) for protocol in _PROTOCOLS)

    def ingress(self, workload: Identity, census: Census) -> Iterator[Permission]:
        """What a DNS server has to let in when it is isolated itself; nothing for other workloads."""
        if workload not in self.workloads:
            return
        peers: list[Peer] = [PodPeer(EVERYTHING, None)]
        if self.node_local:  # the caches ask from their nodes' addresses
            peers += [CidrPeer(block) for block in census.node_blocks(workload.network)]
        reason = "DNS: every pod, and NodeLocal DNS where it is present, may ask"
        yield from (Permission(p, protocol, n, reason) for p in peers for protocol in _PROTOCOLS for n in self.ports)


def plan_dns(census: Census, findings: Findings) -> DnsPlan:
    """Finds the cluster's DNS by its labels, in kube-system and openshift-dns before other namespaces."""
    inventory = census.inventory
    everyone = sorted({*census.workloads, *census.on_host_network})
    caches = [w for w in everyone if _is_node_local(w)]
    servers = [w for w in everyone if w not in caches and _serves_dns(w)]
    at_home = [w for w in servers if w.namespace in _HOME]
    if servers and not at_home:
        names = ", ".join(map(str, servers))
        findings.add(
            "dns-elsewhere", "", f"taken for the cluster's DNS by their labels, outside of kube-system: {names}"
        )
    servers = at_home or servers
    found = bool(at_home) or (bool(servers) and any(w.namespace == "kube-system" for w in everyone))
    if not found:
        findings.add(
            "dns-fallback",
            "",
            "no DNS pods of kube-system are in the inventory; DNS is kept by the usual place: pods labelled"
            " k8s-app=kube-dns in kube-system, port 53. To be exact, add the workloads and Services of kube-system to"
            " the inventory",
        )
    ports = {port for w in servers for port in _ports_of(w, census.endpoints(w), inventory)} or {DNS_PORT}
    return DnsPlan(tuple(servers), tuple(sorted(ports)), found, bool(caches))


def _is_node_local(workload: Identity) -> bool:
    labels = dict(workload.labels)
    return labels.get("k8s-app") == "node-local-dns" or workload.name in ("node-local-dns", "nodelocaldns")


def _serves_dns(workload: Identity) -> bool:
    labels = dict(workload.labels)
    return (
        labels.get("k8s-app") in ("kube-dns", "coredns")
        or labels.get("app.kubernetes.io/name") == "coredns"
        or _OPENSHIFT_LABEL in labels
    )


def _ports_of(workload: Identity, endpoints: tuple[Endpoint, ...], inventory: Inventory) -> set[int]:
    """What port 53 of its Services leads to; else what the containers declare; else the product's default."""
    targets: set[int] = set()
    for service in inventory.services:
        if service.namespace != workload.namespace or not _selects(service, workload):
            continue
        for port in service.ports:
            if port.port == DNS_PORT and isinstance(port.target, int):
                targets.add(port.target)
            elif port.port == DNS_PORT:
                targets |= {p.number for e in endpoints for p in e.ports if p.name == port.target}
    if not targets:
        targets = {p.number for e in endpoints for p in e.ports if p.name in ("dns", "dns-tcp", "domain")}
    targets = {t for t in targets if 0 < t <= 65535}
    return targets or {_OPENSHIFT_PORT if _OPENSHIFT_LABEL in dict(workload.labels) else DNS_PORT}


def _selects(service: Service, workload: Identity) -> bool:
    return bool(service.selector) and set(service.selector or ()) <= set(workload.labels)
