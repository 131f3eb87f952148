"""Rules of security groups for groups that are not there."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import Case, rules
from policygen.lint.checks.contained import rule_text
from policygen.lint.model import Finding, Severity
from policygen.model import GroupPeer
from policygen.verify.evaluate import policy_name

DOC = "a rule for a security group that is not there"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """References to groups that neither the policies nor the inventory show."""
    shown = {group.name for group in case.groups.policies} | {group.id for group in case.inventory.security_groups}
    shown |= {name for group in case.inventory.security_groups for name in (group.name,) if name}
    for group in case.groups.policies:
        for direction, _, rule, _ in rules(group):
            for peer in rule.peers or ():
                if isinstance(peer, GroupPeer) and peer.name not in shown:
                    yield Finding(
                        policy_name(group),
                        group.origin,
                        "",
                        f"{direction} {rule_text(rule)} is for a group that is not among the {len(shown)} groups shown",
                        f"no group {peer.name}: deleted (a stale rule), or of a peered VPC",
                        "revoke it, or show the other VPC's groups, too",
                    )
