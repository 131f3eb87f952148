"""NetworkPolicies that change nothing: others isolate the same pods and allow at least the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from policygen.lint.case import DIRECTIONS, Case
from policygen.lint.containment import Subjects, rule_within, satisfiable
from policygen.lint.model import Finding, Removal, Severity
from policygen.model import EVERYTHING, Policy, PolicySet, Rule
from policygen.verify.evaluate import Direction, RuleRef, policy_name, rules_of

DOC = "a NetworkPolicy without which the same is allowed in every cluster"
SEVERITY = Severity.NOTE
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """Each policy that others make superfluous, with the policies that do."""
    gone = removable(case.policies)
    for policy in case.policies.policies:
        proof = gone.get(policy_name(policy))
        if proof is not None:
            yield Finding(
                policy_name(policy),
                policy.origin,
                "",
                "without this policy the same is isolated and the same is allowed",
                proof,
                "remove the policy",
                removal=Removal(""),
            )


def removable(policies: PolicySet) -> dict[str, str]:
    """Name -> proof of policies that can go, all of them together."""
    by_namespace: dict[str, list[Policy]] = defaultdict(list)
    for policy in policies.policies:
        by_namespace[policy.namespace].append(policy)
    gone: dict[str, str] = {}
    for group in by_namespace.values():
        subjects = Subjects(group)
        dead: set[int] = set()
        for policy in sorted(group, key=policy_name, reverse=True):
            if not satisfiable(policy.subject) or (policy.ingress is None and policy.egress is None):
                continue
            wider = [p for p in subjects.covering(policy.subject) if p is not policy and id(p) not in dead]
            if _is_default_deny(policy):  # the net under all others; superfluous only beside another net
                wider = [p for p in wider if _is_default_deny(p)]
            proof = _proof(policy, wider)
            if proof:
                gone[policy_name(policy)] = proof
                dead.add(id(policy))
        for policy in group:  # the proof names policies that stay; what covers a cover covers what it covered
            if policy_name(policy) in gone:
                wider = [p for p in subjects.covering(policy.subject) if id(p) not in dead]
                gone[policy_name(policy)] = _proof(policy, wider) or gone[policy_name(policy)]
    return gone


def _is_default_deny(policy: Policy) -> bool:
    return policy.subject == EVERYTHING and not policy.ingress and not policy.egress


def _proof(policy: Policy, wider: Sequence[Policy]) -> str:
    """Who isolates the same pods, and who allows each of the rules; "" when something would be lost."""
    words: list[str] = []
    for direction in DIRECTIONS:
        rules = rules_of(policy, direction)
        if rules is None:
            continue
        isolating = [other for other in wider if rules_of(other, direction) is not None]
        if not isolating:
            return ""
        containers = [_container(rule, direction, isolating, policy.namespace) for rule in rules]
        if None in containers:
            return ""
        words.append(f"{direction} is isolated by {policy_name(isolating[0])}")
        words += [f"{direction} rule {index} is in {place}" for index, place in enumerate(containers)]
    return "; ".join(words)


def _container(rule: Rule, direction: Direction, policies: Sequence[Policy], namespace: str) -> RuleRef | None:
    for policy in policies:
        for index, other in enumerate(rules_of(policy, direction) or ()):
            if rule_within(rule, other, namespace):
                return RuleRef(policy_name(policy), direction, index)
    return None
