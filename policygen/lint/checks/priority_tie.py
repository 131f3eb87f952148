"""Admin policies of one tier and priority that select the same pods: who wins is undefined."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from policygen.lint.case import DIRECTIONS, Case, pod_text
from policygen.lint.checks.shadowed import admin_rules
from policygen.lint.containment import absolute, pod_peer_within
from policygen.lint.model import Finding, Severity
from policygen.model import AdminPolicy

DOC = "two admin policies of one tier and priority with a say about the same pods"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """Each pair, at the policy that comes later by name."""
    ties: dict[tuple[str, int], list[AdminPolicy]] = {}
    for policy in case.policies.admin:
        if policy.kind != "BaselineAdminNetworkPolicy":  # there can be one only, and it has no priority
            ties.setdefault((policy.tier, policy.priority), []).append(policy)
    for (tier, priority), policies in ties.items():
        for first, second in combinations(policies, 2):
            both = [d for d in DIRECTIONS if admin_rules(first, d) and admin_rules(second, d)]
            actions = {rule.action for policy in (first, second) for d in both for rule in admin_rules(policy, d)}
            if not both or len(actions) < 2:  # the same action from both is the same in any order
                continue
            shared = _shared(case, first, second)
            if shared:
                yield Finding(
                    str(second),
                    second.origin,
                    "spec.priority",
                    f"{first} has priority {priority} in tier {tier}, too: which of them decides is undefined",
                    f"witness: both select {shared} and have {' and '.join(both)} rules of different actions",
                    "give them different priorities",
                )


def _shared(case: Case, first: AdminPolicy, second: AdminPolicy) -> str:
    """A pod, or in words the pods, that both select; "" when none is known."""
    chosen = {id(pod) for pod in case.subjects(first)}
    pod = next((pod for pod in case.subjects(second) if id(pod) in chosen), None)
    if pod is not None:
        return pod_text(pod)
    one, other = absolute(first.subject, ""), absolute(second.subject, "")
    if pod_peer_within(one, other) or pod_peer_within(other, one):
        return "the pods of the narrower subject"
    return ""
