"""PolicySet: the one form every renderer takes and every reader of manifests gives.

Nothing here knows YAML, files or how a rule came about. Equality of two sets is equality of meaning only where both
are in normal form (`PolicySet.sorted`); reachability is what compares any two.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Protocol = Literal["TCP", "UDP", "SCTP"]
DirectionName = Literal["Ingress", "Egress"]


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One matchExpressions entry. `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """A label selector: all of `labels` and all of `expressions` must hold; both empty selects everything."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[Requirement, ...] = ()

    @staticmethod
    def of(**labels: str) -> Selector:
        """A selector of equalities, for tests and callers with plain keys."""
        return Selector(tuple(sorted(labels.items())))


EVERYTHING = Selector()


@dataclass(frozen=True, slots=True, order=True)
class PodPeer:
    """Pods chosen by labels. `namespaces` None: the policy's own namespace. `pods` None: all pods of those namespaces.

    At least one of the two is not None: a peer with neither is invalid (Kubernetes API, NetworkPolicyPeer).
    """

    namespaces: Selector | None = None
    pods: Selector | None = None


@dataclass(frozen=True, slots=True, order=True)
class CidrPeer:
    """An ipBlock: `cidr` without the parts in `excepts`, which lie strictly inside it."""

    cidr: str
    excepts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class GroupPeer:
    """A security group, by the name this PolicySet gives it, or by its cloud id where it is not one of ours."""

    name: str


Peer = PodPeer | CidrPeer | GroupPeer


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports of one protocol. `port` None: all of them. A name is resolved at the destination. `end` is inclusive."""

    protocol: str = "TCP"  # TCP, UDP, SCTP; security groups also icmp, icmpv6, -1 and numbers
    port: int | str | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows any of `peers` on any of `ports`. None means no restriction; an empty tuple would match nothing and is
    refused by renderers, because every platform reads an empty list as "everybody"."""

    peers: tuple[Peer, ...] | None
    ports: tuple[PortRange, ...] | None
    evidence: tuple[str, ...] = ()  # why: one line each, for comments and reports; not part of the meaning


@dataclass(frozen=True, slots=True)
class Policy:
    """One object: a NetworkPolicy, or a security group with its rules.

    `ingress` None: the direction is not isolated by this policy. An empty tuple: isolated, nothing allowed.
    """

    name: str
    namespace: str  # the VPC, for security groups
    subject: Selector  # the pods it selects; for security groups, the tags of its members
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    members: tuple[str, ...] = ()  # security groups only: the endpoints' names that carry the group
    origin: str = ""  # file and document, for messages; not part of the meaning

    def meaning(self) -> Policy:
        """This policy without what does not change what it allows."""

        def bare(rules: tuple[Rule, ...] | None) -> tuple[Rule, ...] | None:
            return None if rules is None else tuple(replace(r, evidence=()) for r in rules)

        return replace(self, ingress=bare(self.ingress), egress=bare(self.egress), annotations=(), labels=(), origin="")


Tier = Literal["Admin", "Baseline"]
Action = Literal["Accept", "Deny", "Pass"]


@dataclass(frozen=True, slots=True, order=True)
class NodePeer:
    """The nodes that a selector chooses, at the addresses of their status. Egress of admin policies only."""

    nodes: Selector


@dataclass(frozen=True, slots=True, order=True)
class DomainPeer:
    """A domain name, `*.` in front for all names below it. Egress Accept rules of admin policies only."""

    name: str


AdminPeer = PodPeer | CidrPeer | NodePeer | DomainPeer
"""`PodPeer.namespaces` is never None here; a CidrPeer is one entry of `networks` and matches pods by address too."""


@dataclass(frozen=True, slots=True)
class AdminRule:
    """What happens to traffic with any of `peers` on any of `ports` that no earlier rule of the tier has decided.

    `ports` None: no restriction. A named port without a protocol has the protocol `-1`: it means what the destination
    pod declares under that name, for every protocol.
    """

    action: Action
    peers: tuple[AdminPeer, ...]
    ports: tuple[PortRange, ...] | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class AdminPolicy:
    """A cluster-wide policy of a tier before (Admin) or behind (Baseline) the NetworkPolicies.

    Rules are ordered, the first that matches decides; policies of a tier are ordered by `priority`, lower first, and
    what two of one priority decide differently is undefined. No rules in a direction: it has no say there.
    """

    name: str
    kind: str  # ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy
    tier: Tier
    priority: int
    subject: PodPeer
    ingress: tuple[AdminRule, ...] = ()
    egress: tuple[AdminRule, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    origin: str = ""  # file and document, for messages; not part of the meaning

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class PolicySet:
    """Policies of one platform: `policies` sorted by namespace and name, `admin` in the order of evaluation."""

    policies: tuple[Policy, ...] = ()
    problems: tuple[Problem, ...] = field(default=(), compare=False)
    admin: tuple[AdminPolicy, ...] = ()

    def sorted(self) -> PolicySet:
        """The same set in normal order."""
        return replace(
            self,
            policies=tuple(sorted(self.policies, key=lambda p: (p.namespace, p.name))),
            admin=tuple(sorted(self.admin, key=lambda p: (p.tier, p.priority, p.kind, p.name))),
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a reader passed over or a platform would refuse: where, what, what to do."""

    where: str  # file, document number and object path
    reason: str
    fatal: bool = False  # the object it stands in was left out
