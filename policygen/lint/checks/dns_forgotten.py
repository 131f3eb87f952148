"""Pods that may open connections, but not to a name server."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import Case
from policygen.lint.containment import NAMESPACE_NAME, Subjects, absolute, selector_within
from policygen.lint.model import Finding, Severity
from policygen.model import CidrPeer, PodPeer, Policy, PortRange, Rule, Selector
from policygen.verify.evaluate import policy_name

DOC = "egress is isolated and allowed somewhere, but names cannot be resolved"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = False

_DNS = (53, 5353)  # 5353 is what OpenShift's name servers listen on behind their Service
_SYSTEM = ("kube-system", "openshift-dns")


def find(case: Case) -> Iterator[Finding]:
    """Policies with egress rules whose pods no policy lets reach port 53, and those that forget TCP."""
    for policies in case.in_namespace.values():
        subjects = Subjects(policies)
        for policy in policies:
            if not policy.egress:
                continue  # no connection at all may be what is wanted; `ruleless` tells
            applying = [p for p in subjects.covering(policy.subject) if p.egress]
            allowed = {
                protocol
                for other in applying
                for rule in other.egress or ()
                for protocol in ("UDP", "TCP")
                if _may_reach_dns(rule, other, protocol)
            }
            if case.policies.admin and not allowed:
                continue  # an administrator's Accept may be there for all; `explain` can tell for a pair
            yield from _finding(case, policy, allowed)


def _finding(case: Case, policy: Policy, allowed: set[str]) -> Iterator[Finding]:
    name, path = policy_name(policy), "spec.egress"
    rules = policy.egress or ()
    if not allowed:
        names = ", ".join(sorted({p.workload.name for p in case.subjects(policy)})[:5])
        only_addresses = all(isinstance(peer, CidrPeer) for rule in rules for peer in rule.peers or (PodPeer(),))
        yield Finding(
            name,
            policy.origin,
            path,
            "egress is isolated and no rule covers port 53: these pods resolve no name"
            + (" (they may only need addresses)" if only_addresses else ""),
            f"witness: {names or 'a pod that it selects'} -> kube-system/kube-dns UDP 53 matches none of "
            f"{len(rules)} egress rules",
            "allow UDP 53 and TCP 53 to k8s-app=kube-dns in kube-system",
            severity=Severity.WARNING if only_addresses else None,
        )
    elif len(allowed) == 1:
        (have,) = allowed
        lacking = "TCP" if have == "UDP" else "UDP"
        yield Finding(
            name,
            policy.origin,
            path,
            f"DNS is allowed over {have} but not over {lacking}"
            + (": answers that do not fit into a datagram are lost" if lacking == "TCP" else ""),
            f"witness: a pod that it selects -> kube-system/kube-dns {lacking} 53 matches no egress rule",
            f"allow {lacking} 53 beside {have} 53",
            severity=Severity.NOTE if lacking == "TCP" else None,
        )


def _may_reach_dns(rule: Rule, policy: Policy, protocol: str) -> bool:
    """Whether the rule can be meant for a name server: it names port 53, or it has no ports and its peers do not
    exclude where name servers run."""
    if rule.ports is not None:
        return any(_covers_dns(port, protocol) for port in rule.ports)
    return rule.peers is None or any(
        isinstance(peer, CidrPeer) or (isinstance(peer, PodPeer) and _may_hold_dns(peer, policy)) for peer in rule.peers
    )


def _covers_dns(port: PortRange, protocol: str) -> bool:
    if port.protocol != protocol:
        return False
    if port.port is None or isinstance(port.port, str):
        return port.port is None or "dns" in port.port
    return any(port.port <= number <= (port.port if port.end is None else port.end) for number in _DNS)


def _may_hold_dns(peer: PodPeer, policy: Policy) -> bool:
    spaces = absolute(peer, policy.namespace).namespaces or Selector()
    if peer.namespaces is None:
        return policy.namespace in _SYSTEM
    # a namespaceSelector on other labels than the name may well be that of kube-system
    named = any(selector_within(Selector(((NAMESPACE_NAME, name),)), spaces) for name in _SYSTEM)
    keys = {key for key, _ in spaces.labels} | {r.key for r in spaces.expressions}
    return named or bool(keys - {NAMESPACE_NAME})
