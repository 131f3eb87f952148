"""ipBlocks over addresses of pods or Services, where network plugins disagree."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from analyzers.flows import address_object, address_text
from policygen.lint.case import Case, peers, pod_text
from policygen.lint.containment import block_spans
from policygen.lint.model import Finding, Severity
from policygen.model import CidrPeer
from policygen.verify.evaluate import policy_name
from policygen.verify.matching import cidr_range

DOC = "an ipBlock over addresses of pods or Services: whether it matches them depends on the network plugin"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = False

_WHOLE = ("0.0.0.0/0", "::/0")


def find(case: Case) -> Iterator[Finding]:
    """Blocks that hold the address of a pod, a pod range of a node, or the cluster address of a Service."""
    holders = _holders(case)
    said = {
        True: f"profile {case.profile.name} lets it match them",
        False: f"profile {case.profile.name} does not let it match them",
    }[case.profile.blocks_match_pods]
    for policy in case.policies.policies:
        for _, peer, path in peers(policy):
            if not isinstance(peer, CidrPeer):
                continue
            version = cidr_range(peer.cidr)[0]
            spans = block_spans(peer)
            inside = [
                text
                for family, number, text in holders
                if family == version and any(first <= number <= last for first, last in spans)
            ]
            if inside:
                yield Finding(
                    policy_name(policy),
                    policy.origin,
                    f"{path}.ipBlock",
                    f"{peer.cidr} holds addresses of the cluster itself; {said}, others differ",
                    f"witness: {inside[0]}" + (f", and {len(inside) - 1} more" if len(inside) > 1 else ""),
                    "select pods by labels; keep ipBlocks to what is outside, with the cluster's ranges in except",
                    severity=Severity.NOTE if peer.cidr in _WHOLE else None,
                )


def _holders(case: Case) -> list[tuple[int, int, str]]:
    """(address family, address, who holds it) of everything inside the cluster, in a fixed order."""
    found: list[tuple[int, int, str]] = []
    for pod in case.inventory.endpoints:
        if pod.policy_subject and pod.until is None:
            for address in pod.addresses:
                parsed = address_object(*address)
                found.append((parsed.version, int(parsed), f"{address_text(*address)} is {pod_text(pod)}"))
    for _, cidr in case.inventory.pod_cidrs:
        block = ipaddress.ip_network(cidr)
        found.append((block.version, int(block.network_address), f"{cidr} is a node's range for pods"))
    for service in case.inventory.services:
        for address in service.cluster_addresses:
            parsed = address_object(*address)
            holder = f"Service {service.namespace}/{service.name}"
            found.append((parsed.version, int(parsed), f"{address_text(*address)} is {holder}"))
    return found
