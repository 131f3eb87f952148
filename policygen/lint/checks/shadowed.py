"""Rules that never decide anything, because a rule before them always does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policygen.lint.case import DIRECTIONS, Case, rules
from policygen.lint.containment import NAMESPACE_NAME, absolute, pod_peer_within, rule_within
from policygen.lint.model import Finding, Removal, Severity
from policygen.model import AdminPolicy, AdminRule, PodPeer, Policy, Selector
from policygen.verify.evaluate import Direction, policy_name

DOC = "a rule that an earlier rule of an admin tier always decides first"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """Rules of one admin tier behind others of it, and rules of NetworkPolicies behind the Admin tier."""
    for direction in DIRECTIONS:
        for tier in ("Admin", "Baseline"):
            policies = [policy for policy in case.policies.admin if policy.tier == tier]
            yield from _within_tier(direction, policies)
        decided = list(_final(direction, [p for p in case.policies.admin if p.tier == "Admin"]))
        if decided:
            for policy in case.policies.policies:
                yield from _network_policy(case, direction, policy, decided)


def admin_rules(policy: AdminPolicy, direction: Direction) -> tuple[AdminRule, ...]:
    """The rules of one direction."""
    return policy.ingress if direction == "ingress" else policy.egress


def admin_rule_text(policy: AdminPolicy, direction: Direction, index: int) -> str:
    """`ClusterNetworkPolicy deny-all ingress rule 0 (Deny)`."""
    rule = admin_rules(policy, direction)[index]
    named = f" {rule.name!r}" if rule.name else ""
    return f"{policy} {direction} rule {index}{named} ({rule.action})"


def _within_tier(direction: Direction, policies: Sequence[AdminPolicy]) -> Iterator[Finding]:
    for policy in policies:
        for index, rule in enumerate(admin_rules(policy, direction)):
            for earlier in policies:
                # what two policies of one priority decide is undefined, so neither shadows the other
                if earlier is not policy and earlier.priority >= policy.priority:
                    continue
                if not pod_peer_within(absolute(policy.subject, ""), absolute(earlier.subject, "")):
                    continue
                before = admin_rules(earlier, direction)[: index if earlier is policy else None]
                cover = next((place for place, one in enumerate(before) if rule_within(rule, one)), None)
                if cover is not None:
                    container = admin_rule_text(earlier, direction, cover)
                    yield _finding(str(policy), policy.origin, direction, index, f"{rule.action} rule", container, True)
                    break


def _final(direction: Direction, policies: Sequence[AdminPolicy]) -> Iterator[tuple[AdminPolicy, int, AdminRule]]:
    """The rules of the Admin tier that decide all they match: those before the first Pass."""
    for policy in policies:
        tied = [p for p in policies if p is not policy and p.priority == policy.priority]
        for index, rule in enumerate(admin_rules(policy, direction)):
            if rule.action == "Pass":
                return
            if not tied:
                yield policy, index, rule


def _network_policy(
    case: Case, direction: Direction, policy: Policy, decided: Sequence[tuple[AdminPolicy, int, AdminRule]]
) -> Iterator[Finding]:
    # nothing is taken out here, so the labels that the namespace has today may count
    labels = case.namespaces.get(policy.namespace) or {NAMESPACE_NAME: policy.namespace}
    subject = PodPeer(Selector(tuple(sorted(labels.items()))), policy.subject)
    for own, index, rule, _ in rules(policy):
        if own != direction or rule.peers is None:
            continue
        for admin, place, one in decided:
            if pod_peer_within(subject, absolute(admin.subject, "")) and rule_within(rule, one, policy.namespace):
                container = admin_rule_text(admin, direction, place)
                # no rewrite: the NetworkPolicy stays its owner's word if the administrator's changes
                yield _finding(policy_name(policy), policy.origin, direction, index, "rule", container, False)
                break


def _finding(
    policy: str, origin: str, direction: Direction, index: int, what: str, container: str, removable: bool
) -> Finding:
    path = f"spec.{direction}[{index}]"
    return Finding(
        policy,
        origin,
        path,
        f"this {what} never decides: everything it matches is decided before it",
        f"shadowed by {container}",
        "remove it, or move it before the other",
        removal=Removal(path) if removable else None,
    )
