"""Ports by a name that no destination pod declares."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import DIRECTIONS, Case, rules
from policygen.lint.checks.service_port import destinations
from policygen.lint.checks.shadowed import admin_rules
from policygen.lint.containment import absolute, selects_only
from policygen.lint.model import Finding, Severity
from policygen.model import PodPeer, Rule, Selector
from policygen.verify.evaluate import Direction, policy_name

DOC = "a named port that no destination pod has: the rule allows nothing"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = True


def find(case: Case) -> Iterator[Finding]:
    """Names without a pod that declares them, among destinations that are all known."""
    yield from _admin(case)
    known = set(case.namespaces)
    for policy in case.policies.policies:
        for direction, _, rule, path in rules(policy):
            for index, port in enumerate(rule.ports or ()):
                if not isinstance(port.port, str):
                    continue
                pods = destinations(case, policy.namespace, case.subjects(policy), rule, direction)
                if not pods or any((d.name, d.protocol) == (port.port, port.protocol) for p in pods for d in p.ports):
                    continue
                complete = _all_known(rule, direction, policy.namespace, known)
                declared = sorted({f"{d.name} ({d.protocol})" for pod in pods for d in pod.ports if d.name})
                yield Finding(
                    policy_name(policy),
                    policy.origin,
                    f"{path}.ports[{index}]",
                    f"no destination pod has a {port.protocol} port named {port.port!r}",
                    f"{len(pods)} kinds of pods were looked at, {pods[0].namespace}/{pods[0].workload.name} the first; "
                    + (f"they declare {', '.join(declared[:8])}" if declared else "they name no port"),
                    "write the number, or name the containerPort",
                    severity=None if complete else Severity.WARNING,
                )


def _admin(case: Case) -> Iterator[Finding]:
    """The same for admin policies, whose names mean any protocol."""
    for policy in case.policies.admin:
        for direction in DIRECTIONS:
            for index, rule in enumerate(admin_rules(policy, direction)):
                chosen = [case.chosen(peer) for peer in rule.peers if isinstance(peer, PodPeer)]
                pods = list(case.subjects(policy)) if direction == "ingress" else [p for one in chosen for p in one]
                for port in rule.ports or ():
                    if not pods or not isinstance(port.port, str):
                        continue
                    if not any(declared.name == port.port for pod in pods for declared in pod.ports):
                        yield Finding(
                            str(policy),
                            policy.origin,
                            f"spec.{direction}[{index}]",
                            f"no destination pod has a port named {port.port!r}",
                            f"{len(pods)} kinds of pods were looked at, {pods[0].namespace}/{pods[0].workload.name} "
                            "the first",
                            "write the number, or name the containerPort",
                            severity=Severity.WARNING,  # it is for the whole cluster, also for what is not here yet
                        )


def _all_known(rule: Rule, direction: Direction, namespace: str, known: set[str]) -> bool:
    """Whether the rule's destinations can only be in namespaces that the inventory has."""
    if direction == "ingress":
        return True
    return rule.peers is not None and all(
        isinstance(peer, PodPeer) and selects_only(absolute(peer, namespace).namespaces or Selector(), known)
        for peer in rule.peers
    )
