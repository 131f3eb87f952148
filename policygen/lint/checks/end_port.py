"""Port ranges on a network plugin that applies their first port only."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import Case, rules
from policygen.lint.model import Finding, Severity
from policygen.verify.evaluate import policy_name

DOC = "endPort on a network plugin that lacks it: only the first port is allowed"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = False

_SINCE = {
    # cilium/cilium issue 28684: endPort was accepted and ignored; ranges came with 1.16
    "cilium": "1.16",
}


def find(case: Case) -> Iterator[Finding]:
    """Every range, where the profile says that ranges are not honoured, or not by older versions."""
    since = _SINCE.get(case.profile.name)
    if case.profile.end_port and since is None:
        return
    for policy in case.policies.policies:
        for _, _, rule, path in rules(policy):
            for index, port in enumerate(rule.ports or ()):
                if port.end is None or port.end == port.port or not isinstance(port.port, int):
                    continue
                who = f"{case.profile.name} before {since}" if case.profile.end_port else case.profile.name
                yield Finding(
                    policy_name(policy),
                    policy.origin,
                    f"{path}.ports[{index}].endPort",
                    f"{who} ignores endPort and allows {port.protocol} {port.port} alone",
                    f"witness: {port.protocol} {port.port + 1} is in the range {port.port}-{port.end} and is denied",
                    "list the ports one by one",
                    severity=Severity.WARNING if case.profile.end_port else None,
                )
