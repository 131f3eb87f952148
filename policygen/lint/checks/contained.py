"""Rules, peers and ports that another entry covers: taking them out changes nothing in any cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policygen.group_rules import describe_peer, describe_ports
from policygen.lint.case import PEERS_FIELD, Case, rules
from policygen.lint.checks.redundant import removable
from policygen.lint.containment import Subjects, peers_within, ports_within, rule_within, selector_within
from policygen.lint.model import Finding, Removal, Severity
from policygen.model import Policy, Rule
from policygen.verify.evaluate import RuleRef, policy_name, rules_of

DOC = "a rule, peer or port that another rule, peer or port covers in every cluster"
SEVERITY = Severity.NOTE
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """Rules within rules of the same or a wider policy; peers and ports within others of their own rule."""
    gone = removable(case.policies)
    for policies in case.in_namespace.values():
        left = [policy for policy in policies if policy_name(policy) not in gone]
        subjects = Subjects(left)
        for policy in left:
            yield from _rules(policy, subjects.covering(policy.subject))
    for group in case.groups.policies:
        yield from _group_rules(group)


def _group_rules(group: Policy) -> Iterator[Finding]:
    """Rules of a security group within others of it. They stand in no file that could be rewritten."""
    for direction, index, rule, _ in rules(group):
        for place, one in enumerate(rules_of(group, direction) or ()):
            if place != index and rule_within(rule, one) and not (rule_within(one, rule) and place > index):
                yield Finding(
                    policy_name(group),
                    group.origin,
                    "",
                    f"{direction} {rule_text(rule)} allows nothing that {rule_text(one)} does not allow",
                    f"contained in {RuleRef(policy_name(group), direction, place)}: {rule_text(one)}",
                    "revoke it",
                )
                break


def rule_text(rule: Rule) -> str:
    """A rule of a group: `TCP 443 of 10.0.0.0/8`."""
    peers = ", ".join(map(describe_peer, rule.peers or ()))
    return f"{', '.join(map(describe_ports, rule.ports or ()))} of {peers}"


def _rules(policy: Policy, wider: Sequence[Policy]) -> Iterator[Finding]:
    taken: set[tuple[str, int]] = set()  # rules that are reported: they prove nothing about others
    for direction, index, rule, path in reversed(list(rules(policy))):
        container = next(
            (
                RuleRef(policy_name(other), direction, place)
                for other in wider
                for place, one in enumerate(rules_of(other, direction) or ())
                if (other is not policy or (place != index and (direction, place) not in taken))
                and rule_within(rule, one, policy.namespace)
                # of two equal rules in policies of equal subjects the one of the later policy goes
                and not (
                    other is not policy
                    and rule_within(one, rule, policy.namespace)
                    and selector_within(other.subject, policy.subject)
                    and policy_name(other) > policy_name(policy)
                )
            ),
            None,
        )
        if container is None:
            yield from _entries(policy, rule, path, PEERS_FIELD[direction])
            continue
        taken.add((direction, index))
        yield Finding(
            policy_name(policy),
            policy.origin,
            path,
            f"{direction} rule {index} allows nothing that {container} does not allow",
            f"contained in {container}",
            "remove it",
            removal=Removal(path),
        )


def _entries(policy: Policy, rule: Rule, path: str, field: str) -> Iterator[Finding]:
    peers, ports = list(rule.peers or ()), list(rule.ports or ())
    for index in range(len(peers) - 1, -1, -1):
        for place, other in enumerate(peers):
            if place != index and peers_within([rule.peers[index]], [other], policy.namespace):  # type: ignore[index]
                yield _entry(policy, f"{path}.{field}[{index}]", f"{path}.{field}[{place}]", "peer")
                del peers[index]
                break
    for index in range(len(ports) - 1, -1, -1):
        for place, one in enumerate(ports):
            if place != index and ports_within([rule.ports[index]], [one]):  # type: ignore[index]
                yield _entry(policy, f"{path}.ports[{index}]", f"{path}.ports[{place}]", "port")
                del ports[index]
                break


def _entry(policy: Policy, path: str, container: str, what: str) -> Finding:
    return Finding(
        policy_name(policy),
        policy.origin,
        path,
        f"this {what} is covered by another {what} of the rule",
        f"contained in {container}",
        "remove it",
        removal=Removal(path),
    )
