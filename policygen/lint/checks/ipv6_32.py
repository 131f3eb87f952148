"""IPv6 blocks of 32 bits, written where one host was meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from policygen.lint.case import PEERS_FIELD, Case, rules
from policygen.lint.model import Finding, Severity
from policygen.model import CidrPeer
from policygen.verify.evaluate import policy_name
from policygen.verify.matching import cidr_range

DOC = "an IPv6 /32, which is a provider's whole range and not a host as /32 is in IPv4"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = False


def find(case: Case) -> Iterator[Finding]:
    """Blocks and exceptions of NetworkPolicies and security groups."""
    for policies, cloud in ((case.policies.policies, False), (case.groups.policies, True)):
        for policy in policies:
            for direction, _, rule, path in rules(policy):
                for index, peer in enumerate(rule.peers or ()):
                    if isinstance(peer, CidrPeer):
                        place = "" if cloud else f"{path}.{PEERS_FIELD[direction]}[{index}].ipBlock"
                        yield from _block(policy_name(policy), policy.origin, place, peer)


def _block(policy: str, origin: str, path: str, peer: CidrPeer) -> Iterator[Finding]:
    for cidr, field in ((peer.cidr, "cidr"), *((part, f"except[{i}]") for i, part in enumerate(peer.excepts))):
        version, first, last = cidr_range(cidr)
        if version == 6 and last - first == (1 << 96) - 1:
            yield Finding(
                policy,
                origin,
                f"{path}.{field}" if path else "",
                f"{cidr} is 2^96 addresses",
                f"witness: {_last(last)} is in it",
                "a single host is /128; a site is /48, a subnet /64",
                # a block with nothing set behind the 32nd bit can be a provider's range on purpose
                severity=None,
            )


def _last(number: int) -> str:
    return str(ipaddress.IPv6Address(number))
