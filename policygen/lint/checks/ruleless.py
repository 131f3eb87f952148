"""Pods that a policy isolates and that no policy allows anything."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import DIRECTIONS, Case, pod_text
from policygen.lint.containment import Subjects
from policygen.lint.model import Finding, Severity
from policygen.model import EVERYTHING, Policy
from policygen.verify.evaluate import Direction, policy_name, rules_of

DOC = "pods are isolated and no policy has a rule for them"
SEVERITY = Severity.NOTE
NEEDS_INVENTORY = False

_WORDS: dict[Direction, str] = {"ingress": "nothing reaches {}", "egress": "{} can open no connection"}


def find(case: Case) -> Iterator[Finding]:
    """Policies without a rule in a direction they isolate, where no other policy has one for the same pods."""
    for policies in case.in_namespace.values():
        subjects = Subjects(policies)
        for policy in policies:
            isolated = [d for d in DIRECTIONS if rules_of(policy, d) is not None]
            if policy.subject == EVERYTHING:
                yield from _default_deny(case, policy, isolated)
                continue
            others = subjects.covering(policy.subject)
            empty = [d for d in isolated if not any(rules_of(p, d) for p in others)]
            bare = [d for d in empty if not rules_of(policy, d) and not (d == "ingress" and _unasked(case, policy))]
            if bare:
                yield _finding(case, policy, bare, both=len(empty) == 2)


def _unasked(case: Case, policy: Policy) -> bool:
    """Whether the isolation for ingress comes from a default that nobody asked for: `egress_only` tells."""
    spec = case.objects.get(policy.origin, {}).get("spec") or {}
    return "egress" in spec and not spec.get("policyTypes") and spec.get("ingress") is None


def _finding(case: Case, policy: Policy, bare: list[Direction], *, both: bool) -> Finding:
    names = ", ".join(sorted({pod_text(p) for p in case.subjects(policy)})[:5]) or "the pods that it selects"
    said = " and ".join(_WORDS[d].format(names) for d in bare)
    return Finding(
        policy_name(policy),
        policy.origin,
        f"spec.{bare[0]}" if len(bare) == 1 else "spec",
        f"isolated for {' and '.join(bare)} without a rule: {said}",
        "no policy of the namespace that selects the same pods has a rule for " + (" or ".join(bare)),
        "" if not both else "add rules, or remove the policy if a default deny covers these pods",
        severity=Severity.WARNING if both else None,
    )


def _default_deny(case: Case, policy: Policy, isolated: list[Direction]) -> Iterator[Finding]:
    """A policy for all pods is meant to have no rules; worth a word are pods that it cuts off altogether."""
    if len(isolated) < 2 or any(rules_of(policy, d) for d in isolated):
        return
    cut_off = sorted(
        {
            pod_text(pod)
            for pod in case.subjects(policy)
            if not any(rules_of(p, d) for d in DIRECTIONS for p in case.selecting(pod, d))
            and not any(p.subject != EVERYTHING for d in DIRECTIONS for p in case.selecting(pod, d))
        }
    )
    if cut_off:
        yield Finding(
            policy_name(policy),
            policy.origin,
            "spec",
            f"{len(cut_off)} workloads have no other policy and are cut off: {', '.join(cut_off[:5])}"
            + (" ..." if len(cut_off) > 5 else ""),
            f"{cut_off[0]} is selected by {policy_name(policy)} and by no policy with a rule",
            "give them a policy of their own",
            severity=Severity.WARNING,
        )
