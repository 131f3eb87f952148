"""Security groups beyond what an account takes (Amazon VPC user guide, "Amazon VPC quotas")."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator

from policygen.lint.case import DIRECTIONS, Case
from policygen.lint.model import Finding, Severity
from policygen.model import CidrPeer, Policy
from policygen.verify.evaluate import policy_name, rules_of

DOC = "a security group, or an interface's groups together, beyond the default quotas"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = False

RULES = 60
"""Rules of a group for one direction and address family; a reference to a group counts in both families."""
GROUPS = 5
"""Groups of an interface."""
PRODUCT = 1000
"""What rules a group times groups an interface may not exceed, however far both quotas are raised."""


def find(case: Case) -> Iterator[Finding]:
    """Rules by direction and family, and groups by interface."""
    for group in case.groups.policies:
        for direction in DIRECTIONS:
            counts = _weights(group, direction == "egress")
            for family in (4, 6):
                if counts[family] > RULES:
                    yield Finding(
                        policy_name(group),
                        group.origin,
                        "",
                        f"{counts[family]} {direction} rules for IPv{family}; {RULES} are the default quota",
                        f"counted: {counts[family]} CIDR and group entries, each protocol and range of ports by itself",
                        "merge ranges, use a prefix list, or have the quota raised",
                        severity=Severity.WARNING if counts[family] * GROUPS <= PRODUCT else None,
                    )
    for interface in case.inventory.interfaces:
        if len(interface.security_groups) > GROUPS and case.groups.policies:
            yield Finding(
                f"{interface.network}/{interface.id}",
                "",
                "",
                f"carries {len(interface.security_groups)} groups; {GROUPS} are the default quota",
                f"groups: {', '.join(interface.security_groups)}",
                "merge groups, or have the quota raised (16 at most)",
                severity=Severity.WARNING if len(interface.security_groups) <= 16 else None,
            )


def _weights(group: Policy, egress: bool) -> Counter[int]:
    counts: Counter[int] = Counter()
    for rule in rules_of(group, "egress" if egress else "ingress") or ():
        for peer in rule.peers or ():
            for _ in rule.ports or (None,):
                if isinstance(peer, CidrPeer):
                    counts[ipaddress.ip_network(peer.cidr, strict=False).version] += 1
                else:
                    counts.update((4, 6))
    return counts
