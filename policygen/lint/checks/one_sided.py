"""Rules that open one end of connections that the other end refuses altogether."""

from __future__ import annotations

from collections.abc import Iterator

from analyzers.inventory import Endpoint
from policygen.lint.case import Case, pod_text, rules
from policygen.lint.containment import absolute, selects_only
from policygen.lint.model import Finding, Severity
from policygen.model import CidrPeer, PodPeer, Policy, PortRange, Rule, Selector
from policygen.verify.connections import ConnectionSet, PortSpan
from policygen.verify.evaluate import Direction, policy_name, rules_of

DOC = "a rule whose traffic the other end refuses in full"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = True

_PAIRS = 2000
"""Pairs of pods that are looked at for one rule; a rule with more is taken for effective."""


def find(case: Case) -> Iterator[Finding]:
    """Rules between pods that are all known, where no pair of them may talk. Without admin tiers only: with them the
    other end's NetworkPolicies are not the last word."""
    if case.policies.admin:
        return
    known = set(case.namespaces)
    for policy in case.policies.policies:
        subjects = case.subjects(policy)
        for direction, _, rule, path in rules(policy):
            if not rule.peers or not all(_known(peer, policy.namespace, known) for peer in rule.peers):
                continue
            there = {
                id(p): p
                for peer in rule.peers
                if isinstance(peer, PodPeer)
                for p in case.chosen(peer, policy.namespace)
            }
            pairs = [(own, other) for own in subjects for other in there.values()]
            if not pairs or len(pairs) > _PAIRS:
                continue
            if not any(_passes(case, own, other, rule, direction) for own, other in pairs):
                own, other = pairs[0]
                opposite: Direction = "ingress" if direction == "egress" else "egress"
                names = ", ".join(policy_name(p) for p in case.selecting(other, opposite))
                yield Finding(
                    policy_name(policy),
                    policy.origin,
                    path,
                    f"no connection passes by this rule: {opposite} of every peer refuses it",
                    f"witness: {pod_text(other)} is isolated for {opposite} by {names}, and no rule there matches "
                    f"{pod_text(own)} on these ports",
                    f"add the matching {opposite} rule, or remove this one",
                )


def _known(peer: object, namespace: str, known: set[str]) -> bool:
    return isinstance(peer, PodPeer) and selects_only(absolute(peer, namespace).namespaces or Selector(), known)


def _passes(case: Case, own: Endpoint, other: Endpoint, rule: Rule, direction: Direction) -> bool:
    opposite: Direction = "ingress" if direction == "egress" else "egress"
    isolating = case.selecting(other, opposite)
    if not isolating:
        return True
    destination = other if direction == "egress" else own
    wanted = spans(rule, destination)
    return any(
        _may_match(case, one, policy, own) and bool(wanted & spans(one, destination))
        for policy in isolating
        for one in rules_of(policy, opposite) or ()
    )


def _may_match(case: Case, rule: Rule, policy: Policy, peer: Endpoint) -> bool:
    """Whether the rule covers the pod; of a block, whether it holds a pod's address is left open."""
    return rule.peers is None or any(
        isinstance(one, CidrPeer)
        or (isinstance(one, PodPeer) and any(pod is peer for pod in case.chosen(one, policy.namespace)))
        for one in rule.peers
    )


def spans(rule: Rule, destination: Endpoint) -> ConnectionSet:
    """The ports of a rule at one destination, names resolved."""
    if rule.ports is None:
        return ConnectionSet.everything()
    return ConnectionSet.of(span for port in rule.ports for span in _spans(port, destination))


def _spans(port: PortRange, destination: Endpoint) -> Iterator[PortSpan]:
    if isinstance(port.port, str):
        if not destination.ports:  # a pod that declares nothing may still listen
            yield PortSpan(port.protocol, 1, 65535)
        for declared in destination.ports:
            if (declared.name, declared.protocol) == (port.port, port.protocol):
                yield PortSpan(port.protocol, declared.number, declared.number)
    elif port.port is None:
        yield PortSpan(port.protocol, 1, 65535)
    else:
        yield PortSpan(port.protocol, port.port, port.port if port.end is None else port.end)
