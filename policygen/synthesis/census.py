"""Who can be the subject or the peer of a policy, and by what: the inventory as the synthesis needs it."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable

from analyzers.flows import address_text
from analyzers.inventory import Endpoint, Identity, Inventory
from analyzers.servicemap import Edge, External
from policygen.model import EVERYTHING, CidrPeer, Peer, PodPeer, Selector
from policygen.synthesis.findings import Findings
from policygen.synthesis.selectors import SelectorChoice, SelectorChooser

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server sets on every namespace and lets nobody change (GA in Kubernetes 1.22)."""


def namespace_selector(namespace: str) -> Selector:
    """Selects one namespace by its name."""
    return Selector(((NAMESPACE_NAME, namespace),))


class Census:
    """Workloads, their selectors, and the peers that stand for them. `findings` hears what is less than exact."""

    def __init__(
        self, inventory: Inventory, edges: Iterable[Edge], seen: Iterable[Identity], findings: Findings
    ) -> None:
        self.inventory = inventory
        self._findings = findings
        self._endpoints: dict[Identity, list[Endpoint]] = defaultdict(list)
        for endpoint in inventory.endpoints:
            self._endpoints[endpoint.workload].append(endpoint)
        ends = {end for edge in edges for end in (edge.client, edge.server) if isinstance(end, Identity)}
        self.seen = frozenset(ends | set(seen))
        known = {*inventory.workloads, *self._endpoints, *self.seen}
        self.workloads = tuple(sorted(w for w in known if w.namespace and self.has_pods_of_its_own(w)))
        self.on_host_network = tuple(sorted(w for w in known if w.namespace and self._host_endpoints(w)))
        self._selectable = frozenset(self.workloads)
        self._chooser = SelectorChooser(inventory, self.workloads)
        self._pod_ranges = tuple((network, ipaddress.ip_network(cidr)) for network, cidr in _valid(inventory.pod_cidrs))
        self._blocks: dict[Identity, tuple[str, ...]] = {}

    def has_pods_of_its_own(self, workload: Identity) -> bool:
        """Whether a policy can select its pods: not all of them are on the host's network. True where none is known."""
        endpoints = self._endpoints.get(workload, ())
        return not endpoints or any(e.policy_subject for e in endpoints)

    def selectable(self, end: object) -> bool:
        """Whether policies can select this end, as far as the kind goes."""
        return isinstance(end, Identity) and end in self._selectable

    def choice(self, workload: Identity) -> SelectorChoice:
        """How to select a selectable workload."""
        return self._chooser.choose(workload)

    def endpoints(self, workload: Identity) -> tuple[Endpoint, ...]:
        """Its pods, instances or nodes."""
        return tuple(self._endpoints.get(workload, ()))

    def peers(self, identity: Identity, namespace: str) -> tuple[Peer, ...]:
        """What stands for `identity` in the rules of a policy in `namespace`; empty where nothing can."""
        peers: list[Peer] = [CidrPeer(block) for block in self._address_blocks(identity)]
        if self.selectable(identity):
            choice = self.choice(identity)
            peers.insert(0, pod_peer(identity.namespace, choice.as_peer, namespace))
        return tuple(peers)

    def in_pod_range(self, address: str, network: str) -> bool:
        """Whether an address or CIDR lies in a range that the inventory gives to pods of its network."""
        block = ipaddress.ip_network(address, strict=False)
        return any(
            block.version == pods.version and block.overlaps(pods)
            for where, pods in self._pod_ranges
            if not where or not network or where == network
        )

    def pod_ranges(self, version: int) -> tuple[str, ...]:
        """The ranges of pods in one address family, as CIDRs."""
        return tuple(sorted({str(pods) for _, pods in self._pod_ranges if pods.version == version}))

    def node_blocks(self, network: str = "") -> tuple[str, ...]:
        """Single-address blocks of every node that is still there."""
        nodes = [
            e
            for e in self.inventory.endpoints
            if e.workload.kind == "Node" and e.until is None and (not network or not e.network or e.network == network)
        ]
        return _blocks_of(nodes)

    def _address_blocks(self, identity: Identity) -> tuple[str, ...]:
        if identity not in self._blocks:
            self._blocks[identity] = self._find_blocks(identity)
        return self._blocks[identity]

    def _find_blocks(self, identity: Identity) -> tuple[str, ...]:
        """Addresses of what is no pod with an address of its own: nodes, hostNetwork pods, instances, interfaces."""
        subject = str(identity)
        if identity.namespace:
            on_host = self._host_endpoints(identity)
            if not on_host:
                return ()
            blocks = set(_blocks_of(on_host))
            if identity.kind == "DaemonSet":
                blocks |= set(self.node_blocks(identity.network))
            what = (
                "pods on the host's network are met by their nodes' addresses ({items}); nodes to come are not covered"
            )
        else:
            blocks = set(_blocks_of(self.endpoints(identity)))
            what = f"this {identity.kind or 'end'} is met by its addresses ({{items}}); others to come are not covered"
            if identity.kind != "Node":
                inside = {b for b in blocks if self.in_pod_range(b, identity.network)}
                for block in inside:
                    self._findings.collect("inside-pod-range", subject, _INSIDE, block)
                blocks -= inside
        if identity.kind == "Node":
            what = "nodes are met by their addresses ({items}); nodes to come are not covered"
        for block in blocks:
            kind, whose = ("node-address", "") if identity.kind == "Node" else ("address-peer", subject)
            self._findings.collect(kind, whose, what, block)
        return tuple(sorted(blocks))

    def _host_endpoints(self, workload: Identity) -> tuple[Endpoint, ...]:
        return tuple(e for e in self._endpoints.get(workload, ()) if e.host_network)


_INSIDE = "{items}: inside a range of pods, where address blocks are not reliable; no rule was written for it"


def pod_peer(of: str, pods: Selector, namespace: str) -> PodPeer:
    """Pods of namespace `of`, as a policy in `namespace` names them."""
    if of == namespace:
        return PodPeer(None, pods)
    return PodPeer(namespace_selector(of), None if pods == EVERYTHING else pods)


def external_block(end: External) -> str | None:
    """The /32 or /128 of an address outside; None for what is no address."""
    try:
        return str(ipaddress.ip_network(ipaddress.ip_address(end.address)))
    except ValueError:
        return None


def _blocks_of(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    blocks: set[str] = set()
    for endpoint in endpoints:
        blocks.update(str(ipaddress.ip_network(address_text(*halves))) for halves in endpoint.addresses)
        if endpoint.workload.kind != "Node":  # a node's prefixes are its pods'
            blocks.update(cidr for _, cidr in _valid(("", prefix) for prefix in endpoint.prefixes))
    return tuple(sorted(blocks))


def _valid(ranges: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those that are CIDRs, in canonical form."""
    good = []
    for network, cidr in ranges:
        try:
            good.append((network, str(ipaddress.ip_network(cidr, strict=False))))
        except ValueError:
            continue
    return good
