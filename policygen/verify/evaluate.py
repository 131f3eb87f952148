"""NetworkPolicy v1 for one flow: what the specification says, point by point.

The flow is the connection as a pod sees it: after Service addresses were translated, from the end that opens it.
Replies belong to the connection and are not asked about.

Ends that policies can select are pods with an address of their own. Nodes, pods on the host's network and everything
outside are met by address alone (of the two readings the specification leaves for hostNetwork pods, the common one).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from analyzers.flows import address_object
from analyzers.inventory import Endpoint
from policygen.model import CidrPeer, Peer, PodPeer, Policy, PolicySet, PortRange, Requirement, Rule, Selector

PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
"""The protocols that NetworkPolicy defines, by IANA number."""

Direction = Literal["ingress", "egress"]
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
    def pod(self) -> Endpoint | None:
        """The endpoint where policies can select it."""
        return self.endpoint if self.endpoint is not None and self.endpoint.policy_subject else None

    @property
    def addresses(self) -> tuple[tuple[int, int], ...]:
        """What an ipBlock is compared with."""
        if self.address is not None:
            return (self.address,)
        return self.endpoint.addresses if self.endpoint is not None else ()


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection. `port` is the destination's own port, 0 for protocols without ports."""

    source: FlowEnd
    destination: FlowEnd
    protocol: int  # IANA
    port: int


@dataclass(frozen=True, slots=True, order=True)
class RuleRef:
    """Which rule: `shop/web ingress rule 0` is the first entry of spec.ingress."""

    policy: str  # namespace/name
    direction: Direction
    index: int  # from 0

    def __str__(self) -> str:
        return f"{self.policy} {self.direction} rule {self.index}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a flow passes, and why.

    `path` has one line for each step of the decision, egress first. `rules` are all rules that allow it, not only the
    first. `undefined`: the specification leaves it to the network plugin; `allowed` is False then. `always`: no policy
    could deny it.
    """

    allowed: bool
    path: tuple[str, ...]
    undefined: bool = False
    rules: tuple[RuleRef, ...] = ()
    always: bool = False

    def __str__(self) -> str:
        word = "undefined" if self.undefined else "allowed" if self.allowed else "denied"
        return f"{word}: {'; '.join(self.path)}"


@dataclass(frozen=True, slots=True)
class DirectionVerdict:
    """What one direction has to say. `isolated` False: no policy selects that end for it."""

    isolated: bool
    line: str
    rules: tuple[RuleRef, ...] = ()

    @property
    def allowed(self) -> bool:
        """Not isolated, or some rule matches."""
        return not self.isolated or bool(self.rules)


def evaluate(
    policies: PolicySet,
    namespaces: Mapping[str, Labels],
    flow: Flow,
    *,
    ip_blocks_match_pods: bool = False,
) -> Verdict:
    """Whether `policies` let `flow` pass.

    `namespaces` are the labels by name; `kubernetes.io/metadata.name` is implied, for undeclared ones too.
    `ip_blocks_match_pods`: whether an ipBlock matches the address of a pod. Plugins differ, so the default holds a
    flow for denied when only an ipBlock would allow it: a proof must not lean on one plugin's habit.
    """
    # 1. A pod reaches itself, and its own node reaches it and is reached, whatever the policies say.
    if line := always_allowed(flow):
        return Verdict(True, (line,), always=True)
    # 2. A pod is isolated for a direction when a policy of its namespace selects it and lists that direction.
    # 3. Rules of all those policies are one union; in a rule, a peer and a port must match both.
    egress = _judge("egress", policies, namespaces, flow, ip_blocks_match_pods)
    ingress = _judge("ingress", policies, namespaces, flow, ip_blocks_match_pods)
    # 4. The connection passes when egress at its source and ingress at its destination both allow it.
    return combine(egress, ingress, flow.protocol)


def combine(egress: DirectionVerdict, ingress: DirectionVerdict, protocol: int) -> Verdict:
    """The verdict of both directions together."""
    path = (egress.line, ingress.line)
    if protocol not in PROTOCOLS and (egress.isolated or ingress.isolated):
        unsaid = f"NetworkPolicy does not define what happens to IP protocol {protocol} of isolated pods"
        return Verdict(False, (*path, unsaid), undefined=True)
    return Verdict(egress.allowed and ingress.allowed, path, rules=egress.rules + ingress.rules)


def always_allowed(flow: Flow) -> str | None:
    """Why no policy can stop this flow; None when one can."""
    source, destination = flow.source.endpoint, flow.destination.endpoint
    if source is None or destination is None:
        return None
    if source.name == destination.name and source.policy_subject and source == destination:  # names first: cheap
        return "a pod always reaches itself"
    for pod, other in ((source, destination), (destination, source)):
        if pod.policy_subject and not other.policy_subject and _is_node_of(pod, other):
            return "traffic between a pod and its own node is always allowed"
    return None


def _is_node_of(pod: Endpoint, other: Endpoint) -> bool:
    """Whether `other` has the addresses of the node that `pod` runs on: the node itself or a hostNetwork pod there."""
    if not pod.node or pod.network != other.network:
        return False
    return other.node == pod.node if other.host_network else other.workload.kind == "Node" and other.name == pod.node


def _judge(
    direction: Direction, policies: PolicySet, namespaces: Mapping[str, Labels], flow: Flow, ip_blocks_match_pods: bool
) -> DirectionVerdict:
    end, peer = (flow.source, flow.destination) if direction == "egress" else (flow.destination, flow.source)
    isolating = [p for p in policies.policies if rules_of(p, direction) is not None and selects(p, end)]
    matching = tuple(
        RuleRef(policy_name(policy), direction, index)
        for policy in isolating
        for index, rule in enumerate(rules_of(policy, direction) or ())
        if rule_matches(rule, policy, peer, namespaces, ip_blocks_match_pods)
        and ports_match(rule, flow.destination, flow.protocol, flow.port)
    )
    return direction_verdict(direction, end, tuple(map(policy_name, isolating)), matching)


def direction_verdict(
    direction: Direction, end: FlowEnd, isolating: tuple[str, ...], matching: tuple[RuleRef, ...]
) -> DirectionVerdict:
    """The verdict in words. They name policies, never the end itself, so that all ends of one kind share them."""
    role = "source" if direction == "egress" else "destination"
    if end.pod is None:
        return DirectionVerdict(False, f"{direction}: no policy can select the {role}")
    if not isolating:
        return DirectionVerdict(False, f"{direction}: no policy isolates the {role}")
    if not matching:
        return DirectionVerdict(True, f"{direction}: the {role} is isolated by {', '.join(isolating)}; no rule matches")
    return DirectionVerdict(
        True, f"{direction}: the {role} is isolated by {', '.join(isolating)}; allowed by {matching[0]}", matching
    )


# -- matching --------------------------------------------------------------------------------------------------------


def policy_name(policy: Policy) -> str:
    """`namespace/name`."""
    return f"{policy.namespace}/{policy.name}"


def rules_of(policy: Policy, direction: Direction) -> tuple[Rule, ...] | None:
    """The rules of one direction; None: the policy does not isolate for it."""
    return policy.egress if direction == "egress" else policy.ingress


def selects(policy: Policy, end: FlowEnd) -> bool:
    """Whether the policy applies to this end."""
    pod = end.pod
    return pod is not None and pod.namespace == policy.namespace and selector_matches(policy.subject, dict(pod.labels))


def rule_matches(
    rule: Rule, policy: Policy, peer: FlowEnd, namespaces: Mapping[str, Labels], ip_blocks_match_pods: bool
) -> bool:
    """Whether the rule's peers, taken as a union, cover `peer`. No restriction covers everything, outside as well."""
    if rule.peers is None:
        return True
    return any(peer_matches(one, policy.namespace, peer, namespaces, ip_blocks_match_pods) for one in rule.peers)


def peer_matches(
    peer: Peer, namespace: str, end: FlowEnd, namespaces: Mapping[str, Labels], ip_blocks_match_pods: bool
) -> bool:
    """Whether one peer of a policy in `namespace` covers `end`. Security groups cover nothing here."""
    if isinstance(peer, CidrPeer):
        if end.pod is not None and not ip_blocks_match_pods:
            return False
        return bool(end.addresses) and all(_in_block(peer, address) for address in end.addresses)
    if not isinstance(peer, PodPeer) or end.pod is None:
        return False
    if peer.namespaces is None:
        in_namespace = end.pod.namespace == namespace
    else:
        in_namespace = selector_matches(peer.namespaces, namespace_labels(namespaces, end.pod.namespace))
    return in_namespace and (peer.pods is None or selector_matches(peer.pods, dict(end.pod.labels)))


def ports_match(rule: Rule, destination: FlowEnd, protocol: int, port: int) -> bool:
    """Whether the rule's ports, taken as a union, cover the destination's port."""
    return rule.ports is None or any(port_matches(one, destination, protocol, port) for one in rule.ports)


def port_matches(allowed: PortRange, destination: FlowEnd, protocol: int, port: int) -> bool:
    """Whether one entry of `ports` covers it. A name means what the destination pod declares under it."""
    if allowed.protocol != PROTOCOLS.get(protocol):
        return False
    if allowed.port is None:
        return True
    if isinstance(allowed.port, str):
        declared = destination.pod.ports if destination.pod is not None else ()
        return any((d.name, d.protocol, d.number) == (allowed.port, allowed.protocol, port) for d in declared)
    return allowed.port <= port <= (allowed.port if allowed.end is None else allowed.end)


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
