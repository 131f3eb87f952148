"""What policies say about one flow, point by point: the oracle that everything faster has to agree with.

The flow is the connection as a pod sees it: after Service addresses were translated, from the end that opens it.
Replies belong to the connection and are not asked about.

Ends that policies can select are pods with an address of their own. Nodes, pods on the host's network and everything
outside are met by address alone (of the two readings the specification leaves for hostNetwork pods, the common one;
a profile may take the other).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from analyzers.inventory import Endpoint
from policygen.model import Action, AdminPolicy, AdminRule, Policy, PolicySet, Rule, Tier
from policygen.verify.matching import (
    PROTOCOLS,
    FlowEnd,
    Labels,
    Surroundings,
    is_domain,
    namespace_labels,
    peer_covers,
    pod_of,
    port_covers,
    selector_matches,
    subject_of,
)
from policygen.verify.profiles import PROFILES, SPEC, CniProfile

Direction = Literal["ingress", "egress"]
DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")


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

    policy: str  # namespace/name; for admin policies kind and name
    direction: Direction
    index: int  # from 0

    def __str__(self) -> str:
        return f"{self.policy} {self.direction} rule {self.index}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a flow passes, and why.

    `path` has one line for each step of the decision, egress first. `rules` are all rules that allow it, not only the
    first. `undefined`: the specification leaves it to the network plugin; `allowed` is False then. `always`: no policy
    could deny it. `doubts`: what the verdict depends on and the policies do not say, one line each.
    """

    allowed: bool
    path: tuple[str, ...]
    undefined: bool = False
    rules: tuple[RuleRef, ...] = ()
    always: bool = False
    doubts: tuple[str, ...] = ()

    def __str__(self) -> str:
        word = "undefined" if self.undefined else "allowed" if self.allowed else "denied"
        return f"{word}: {'; '.join(self.path)}" + "".join(f" ({doubt})" for doubt in self.doubts)


@dataclass(frozen=True, slots=True)
class DirectionVerdict:
    """What one direction has to say, in `lines`. `undefined`: nothing, for a protocol that policies do not name."""

    allowed: bool
    lines: tuple[str, ...]
    rules: tuple[RuleRef, ...] = ()
    undefined: bool = False
    doubts: tuple[str, ...] = ()


def evaluate(
    policies: PolicySet,
    namespaces: Mapping[str, Labels],
    flow: Flow,
    profile: CniProfile = SPEC,
    nodes: Mapping[str, Labels] | None = None,
) -> Verdict:
    """Whether `policies` let `flow` pass under `profile`; where other profiles answer otherwise, a doubt says so.

    `namespaces` are the labels by name; `kubernetes.io/metadata.name` is implied, for undeclared ones too. `nodes` are
    the labels of nodes by name, for admin policies that select nodes.
    """
    verdict = decide(policies, flow, Surroundings(namespaces, nodes or {}, profile))
    others = []
    for other in PROFILES.values():
        if other != profile and not verdict.always:
            said = decide(policies, flow, Surroundings(namespaces, nodes or {}, other))
            if said.allowed != verdict.allowed:
                others.append(other.name)
    return depending(verdict, others)


def depending(verdict: Verdict, others: Sequence[str]) -> Verdict:
    """The verdict with a doubt where other profiles, by name, answer otherwise."""
    if not others:
        return verdict
    differently = "deny" if verdict.allowed else "allow"
    line = f"depends on the network plugin: {', '.join(others)} would {differently} it"
    return replace(verdict, doubts=(*verdict.doubts, line))


def decide(policies: PolicySet, flow: Flow, around: Surroundings) -> Verdict:
    """The verdict of one profile: what `evaluate` does, without asking the others."""
    # 1. A pod reaches itself, and its own node reaches it and is reached, whatever the policies say.
    if line := always_allowed(flow):
        return Verdict(True, (line,), always=True)
    # 2. Egress is decided at the source, ingress at the destination, each by itself.
    egress = decide_direction("egress", policies, flow, around)
    ingress = decide_direction("ingress", policies, flow, around)
    # 3. The connection passes when both allow it.
    return combine(egress, ingress, flow.protocol)


def decide_direction(direction: Direction, policies: PolicySet, flow: Flow, around: Surroundings) -> DirectionVerdict:
    """What one end's policies say: egress at the source, ingress at the destination."""
    end, peer = (flow.source, flow.destination) if direction == "egress" else (flow.destination, flow.source)
    role = "source" if direction == "egress" else "destination"
    # 2.1 What no policy can select is not restricted.
    pod = subject_of(end, around.profile)
    if pod is None:
        return DirectionVerdict(True, (f"{direction}: no policy can select the {role}",))
    # 2.2 The Admin tier: the first rule that matches decides, unless it passes the flow on.
    admin = _tier("Admin", direction, policies, pod, peer, flow, around)
    if admin.action in ("Accept", "Deny"):
        return admin.verdict()
    # 2.3 NetworkPolicies: the pod is isolated when one of its namespace selects it and lists the direction. The rules
    #     of all those are one union; in a rule, a peer and a port must match both. The last word for isolated pods.
    isolating = [
        policy
        for policy in policies.policies
        if rules_of(policy, direction) is not None
        and policy.namespace == pod.namespace
        and selector_matches(policy.subject, dict(pod.labels))
    ]
    if isolating:
        matching = tuple(
            RuleRef(policy_name(policy), direction, index)
            for policy in isolating
            for index, rule in enumerate(rules_of(policy, direction) or ())
            if _rule_matches(rule, policy, peer, flow, around)
        )
        outcome = f"allowed by {matching[0]}" if matching else "no rule matches"
        names = ", ".join(map(policy_name, isolating))
        line = f"{direction}: the {role} is isolated by {names}; {outcome}"
        unsaid = flow.protocol not in PROTOCOLS
        return DirectionVerdict(bool(matching), (*admin.lines, line), matching, unsaid, admin.doubts)
    line = f"{direction}: no policy isolates the {role}"
    # 2.4 The Baseline tier, like the Admin tier, for pods that are not isolated.
    baseline = _tier("Baseline", direction, policies, pod, peer, flow, around)
    before = DirectionVerdict(True, (*admin.lines, line), doubts=admin.doubts)
    if baseline.action in ("Accept", "Deny"):
        return baseline.verdict(before)
    # 2.5 By default everything passes.
    return replace(before, lines=(*before.lines, *baseline.lines), doubts=(*before.doubts, *baseline.doubts))


# -- tiers -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _TierVerdict:
    """What a tier says; `action` None: none of its rules matches."""

    action: Action | None = None
    lines: tuple[str, ...] = ()
    rule: RuleRef | None = None
    doubts: tuple[str, ...] = ()

    def verdict(self, before: DirectionVerdict | None = None) -> DirectionVerdict:
        """As the verdict of the direction, with the lines and doubts of the steps before."""
        lines, doubts = (before.lines, before.doubts) if before is not None else ((), ())
        rules = (self.rule,) if self.action == "Accept" and self.rule is not None else ()
        return DirectionVerdict(self.action == "Accept", (*lines, *self.lines), rules, doubts=(*doubts, *self.doubts))


def _tier(
    tier: Tier,
    direction: Direction,
    policies: PolicySet,
    pod: Endpoint,
    peer: FlowEnd,
    flow: Flow,
    around: Surroundings,
) -> _TierVerdict:
    """Policies by priority, lower first; rules of a policy in their order; the first that matches decides.

    What policies of one priority decide differently is undefined. Held for denied if one denies, else for passed on:
    a proof must not lean on which of them a plugin asks first.
    """
    doubts: list[str] = []
    applying = (
        p for p in policies.admin if p.tier == tier and admin_rules_of(p, direction) and _applies(p, pod, around)
    )
    ordered = sorted(applying, key=lambda p: (p.priority, p.kind, p.name))
    for priority, equals in groupby(ordered, key=lambda p: p.priority):
        found: list[tuple[Action, RuleRef]] = []
        for policy in equals:
            for index, rule in enumerate(admin_rules_of(policy, direction)):
                ref = RuleRef(str(policy), direction, index)
                if _admin_rule_matches(rule, peer, flow, around):
                    found.append((rule.action, ref))
                    break
                if any(map(is_domain, rule.peers)) and pod_of(peer, around.profile) is None:
                    doubts.append(f"{ref} accepts domain names, which an address does not tell")
        if found:
            action, ref = min(found, key=lambda one: (("Deny", "Pass", "Accept").index(one[0]), one[1]))
            others = [f"{other} says {said}" for said, other in found if said != action]
            if others:
                doubts.append(f"undefined, both have priority {priority}: {ref} says {action}, {', '.join(others)}")
            word = {"Accept": "accepted", "Deny": "denied", "Pass": "passed on"}[action]
            line = f"{direction}: {word} by {ref} ({tier} tier, priority {priority})"
            return _TierVerdict(action, (line,), ref, tuple(doubts))
    return _TierVerdict(doubts=tuple(doubts))


def _applies(policy: AdminPolicy, pod: Endpoint, around: Surroundings) -> bool:
    subject = policy.subject
    assert subject.namespaces is not None
    return selector_matches(subject.namespaces, namespace_labels(around.namespaces, pod.namespace)) and (
        subject.pods is None or selector_matches(subject.pods, dict(pod.labels))
    )


def _admin_rule_matches(rule: AdminRule, peer: FlowEnd, flow: Flow, around: Surroundings) -> bool:
    return any(peer_covers(one, "", peer, around, admin=True) for one in rule.peers) and (
        rule.ports is None
        or any(port_covers(one, flow.destination, flow.protocol, flow.port, around.profile) for one in rule.ports)
    )


def _rule_matches(rule: Rule, policy: Policy, peer: FlowEnd, flow: Flow, around: Surroundings) -> bool:
    """No restriction of peers covers everything, outside as well; none of ports, every port and protocol."""
    return (
        rule.peers is None or any(peer_covers(one, policy.namespace, peer, around, admin=False) for one in rule.peers)
    ) and (
        rule.ports is None
        or any(port_covers(one, flow.destination, flow.protocol, flow.port, around.profile) for one in rule.ports)
    )


def combine(egress: DirectionVerdict, ingress: DirectionVerdict, protocol: int) -> Verdict:
    """The verdict of both directions together."""
    path = (*egress.lines, *ingress.lines)
    doubts = (*egress.doubts, *ingress.doubts)
    denied = any(not one.allowed and not one.undefined for one in (egress, ingress))
    if (egress.undefined or ingress.undefined) and not denied:
        unsaid = f"NetworkPolicy does not define what happens to IP protocol {protocol} of isolated pods"
        return Verdict(False, (*path, unsaid), undefined=True, doubts=doubts)
    return Verdict(egress.allowed and ingress.allowed, path, rules=egress.rules + ingress.rules, doubts=doubts)


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


def policy_name(policy: Policy) -> str:
    """`namespace/name`."""
    return f"{policy.namespace}/{policy.name}"


def rules_of(policy: Policy, direction: Direction) -> tuple[Rule, ...] | None:
    """The rules of one direction; None: the policy does not isolate for it."""
    return policy.egress if direction == "egress" else policy.ingress


def admin_rules_of(policy: AdminPolicy, direction: Direction) -> tuple[AdminRule, ...]:
    """The rules of one direction of an admin policy."""
    return policy.egress if direction == "egress" else policy.ingress
