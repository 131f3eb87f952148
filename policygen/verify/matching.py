"""Whether one selector, peer, port entry or block covers one end of a flow: the words the specification is made of."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from analyzers.flows import address_object
from analyzers.inventory import Endpoint
from policygen.model import (
    AdminPeer,
    CidrPeer,
    DomainPeer,
    NodePeer,
    Peer,
    PodPeer,
    PortRange,
    Requirement,
    Selector,
)
from policygen.verify.profiles import CniProfile

PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
"""The protocols that policies name, by IANA number."""

ANY_PROTOCOL = "-1"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FlowEnd:
    """One end of a flow. `endpoint` None: outside of the inventory.

    `address` are the (hi, lo) halves of what was seen on the wire; None: not known, then every address of the endpoint
    has to match where an address decides.
    """

    endpoint: Endpoint | None = None
    address: tuple[int, int] | None = None

    @property
    def addresses(self) -> tuple[tuple[int, int], ...]:
        """What an ipBlock is compared with."""
        if self.address is not None:
            return (self.address,)
        return self.endpoint.addresses if self.endpoint is not None else ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What peers refer to besides the ends: namespaces' and nodes' labels by name, and the plugin's habits."""

    namespaces: Mapping[str, Labels]
    nodes: Mapping[str, Labels]
    profile: CniProfile


def pod_of(end: FlowEnd, profile: CniProfile) -> Endpoint | None:
    """The endpoint where selectors see a pod: one with an address of its own, or what the profile takes for it."""
    endpoint = end.endpoint
    if endpoint is None or not endpoint.namespace:
        return None
    return endpoint if not endpoint.host_network or profile.selects_host_network else None


def subject_of(end: FlowEnd, profile: CniProfile) -> Endpoint | None:
    """The pod where policies can apply to it."""
    pod = pod_of(end, profile)
    return pod if pod is None or profile.selects_standalone_pods or pod.workload.kind != "Pod" else None


def peer_covers(peer: Peer | AdminPeer, namespace: str, end: FlowEnd, around: Surroundings, *, admin: bool) -> bool:
    """Whether one peer covers `end`. `namespace`: the policy's. `admin`: a peer of an admin policy.

    Security groups and domain names cover nothing here: the latter cannot be told from an address.
    """
    pod = pod_of(end, around.profile)
    match peer:
        case CidrPeer():
            if pod is not None and not admin and not around.profile.blocks_match_pods:
                return False
            if pod is None and end.endpoint is not None and not admin and not _block_sees_node(end.endpoint, around):
                return False
            return bool(end.addresses) and all(_in_block(peer, address) for address in end.addresses)
        case PodPeer() if pod is not None:
            if peer.namespaces is None:
                inside = pod.namespace == namespace
            else:
                inside = selector_matches(peer.namespaces, namespace_labels(around.namespaces, pod.namespace))
            return inside and (peer.pods is None or selector_matches(peer.pods, dict(pod.labels)))
        case NodePeer() if pod is None and end.endpoint is not None:
            labels = node_labels(end.endpoint, around)
            return labels is not None and selector_matches(peer.nodes, labels)
    return False


def is_domain(peer: Peer | AdminPeer) -> bool:
    """Whether the peer is a domain name, which no address tells."""
    return isinstance(peer, DomainPeer)


def _block_sees_node(endpoint: Endpoint, around: Surroundings) -> bool:
    return around.profile.blocks_match_nodes or not is_on_node(endpoint)


def is_on_node(endpoint: Endpoint) -> bool:
    """A node, or a pod that shares its node's addresses."""
    return endpoint.host_network or (endpoint.workload.kind == "Node" and not endpoint.namespace)


def node_labels(endpoint: Endpoint, around: Surroundings) -> Labels | None:
    """The labels of the node that holds the endpoint's addresses; None: no node does."""
    if endpoint.host_network:
        return around.nodes.get(endpoint.node)
    return dict(endpoint.labels) if endpoint.workload.kind == "Node" and not endpoint.namespace else None


def port_covers(allowed: PortRange, destination: FlowEnd, protocol: int, port: int, profile: CniProfile) -> bool:
    """Whether one entry of `ports` covers the destination's port. A name means what the destination pod declares."""
    name = PROTOCOLS.get(protocol)
    if name is None or allowed.protocol not in (name, ANY_PROTOCOL):
        return False
    if allowed.port is None:
        return True
    if isinstance(allowed.port, str):
        pod = pod_of(destination, profile)
        declared = pod.ports if pod is not None else ()
        return any((d.name, d.protocol, d.number) == (allowed.port, name, port) for d in declared)
    return allowed.port <= port <= last_port(allowed, profile)


def last_port(allowed: PortRange, profile: CniProfile) -> int:
    """Where the range of a numeric port ends."""
    assert isinstance(allowed.port, int)
    return allowed.port if allowed.end is None or not profile.end_port else allowed.end


def namespace_labels(namespaces: Mapping[str, Labels], name: str) -> dict[str, str]:
    """The labels of a namespace with the one that the API server sets and nobody can change."""
    return {**namespaces.get(name, {}), "kubernetes.io/metadata.name": name}


def selector_matches(selector: Selector, labels: Labels) -> bool:
    """matchLabels and matchExpressions must all hold; an empty selector matches everything."""
    return all(labels.get(key) == value for key, value in selector.labels) and all(
        _requirement_holds(requirement, labels) for requirement in selector.expressions
    )


def _requirement_holds(requirement: Requirement, labels: Labels) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values  # an absent key is not in any set
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    raise ValueError(f"{requirement.operator!r} is no operator of a label selector")


def _in_block(block: CidrPeer, address: tuple[int, int]) -> bool:
    return in_cidr(block.cidr, address) and not any(in_cidr(part, address) for part in block.excepts)


def in_cidr(cidr: str, address: tuple[int, int]) -> bool:
    """Whether the (hi, lo) address lies in `cidr`. IPv4 blocks hold IPv4 addresses only, IPv6 blocks IPv6 only."""
    version, first, last = cidr_range(cidr)
    parsed = address_object(*address)
    return parsed.version == version and first <= int(parsed) <= last


@lru_cache(maxsize=65536)
def cidr_range(cidr: str) -> tuple[int, int, int]:
    """(4 or 6, first address, last address) of a CIDR. Raises ValueError when it is none."""
    network = ipaddress.ip_network(cidr, strict=False)
    return network.version, int(network.network_address), int(network.broadcast_address)
