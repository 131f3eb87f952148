"""The quotas of security groups: counted exactly, fitted without allowing anything more, or an error.

Facts (Amazon VPC quotas): 60 rules a group, direction and address family, where a reference to a group counts for both
families; 5 groups an interface; rules times groups at most 1,000; 2,500 groups a Region.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from policygen.group_rules import PROTOCOLS_WITH_PORTS, split
from policygen.model import CidrPeer, GroupPeer, Peer, Policy, PortRange, Rule

PRODUCT_LIMIT = 1000
"""Rules per group times groups per interface: no quota raise goes beyond."""


@dataclass(frozen=True, slots=True, order=True)
class GroupError:
    """Something that does not fit or cannot be said. Nothing is written for its VPC ("" for: any VPC)."""

    network: str
    group: str  # its name; "" where it concerns the VPC
    reason: str
    remedy: str

    def __str__(self) -> str:
        where = ", ".join(filter(None, (self.network, self.group)))
        return f"{where}: {self.reason}; {self.remedy}" if where else f"{self.reason}; {self.remedy}"


def counted(rules: Iterable[Rule]) -> dict[str, int]:
    """Rules by family, as the quota counts them: `rules` have one peer and one port range each."""
    count = {"IPv4": 0, "IPv6": 0}
    for rule in rules:
        for peer in rule.peers or ():
            if isinstance(peer, GroupPeer):
                count["IPv4"] += 1
                count["IPv6"] += 1
            elif isinstance(peer, CidrPeer):
                count[f"IPv{ipaddress.ip_network(peer.cidr).version}"] += 1
    return count


def fitted(rules: tuple[Rule, ...], limit: int) -> tuple[Rule, ...]:
    """The rules as they are where they fit; otherwise with adjacent ports of one peer and adjacent addresses on one
    port joined. What they allow together is the same to the packet."""
    if max(counted(rules).values()) <= limit:
        return rules
    return _join_ports(_join_addresses(_join_ports(rules)))


def rule_errors(policy: Policy, limit: int, groups_per_interface: int) -> list[GroupError]:
    """One error for each direction and family that has more rules than the quota."""
    reachable = PRODUCT_LIMIT // groups_per_interface
    errors = []
    for direction, rules in (("ingress", policy.ingress or ()), ("egress", policy.egress or ())):
        for family, count in counted(rules).items():
            if count <= limit:
                continue
            references = sum(isinstance(peer, GroupPeer) for rule in rules for peer in rule.peers or ())
            reason = (
                f"{count} {family} {direction} rules are needed and the quota is {limit} "
                f"({references} references to groups, which count for both families, {count - references} CIDRs)"
            )
            remedy = "declare a CIDR or a prefix list that covers some of these peers, or split the workload"
            if count <= reachable:
                remedy = (
                    f"raise the quota of rules per security group to {count} or more (up to {reachable} with "
                    f"{groups_per_interface} groups per interface) and say so, {remedy}"
                )
            errors.append(GroupError(policy.namespace, policy.name, reason, remedy))
    return errors


def account_errors(limit: int, groups_per_interface: int) -> list[GroupError]:
    """What is wrong with the quotas themselves, as they were given."""
    if limit < 1 or groups_per_interface < 1:
        return [GroupError("", "", "quotas must be 1 or more", "give the quotas that the AWS account has")]
    if limit * groups_per_interface > PRODUCT_LIMIT:
        reason = (
            f"{limit} rules per group times {groups_per_interface} groups per interface is "
            f"{limit * groups_per_interface:,}, and AWS allows at most {PRODUCT_LIMIT:,}"
        )
        return [GroupError("", "", reason, f"lower one: {PRODUCT_LIMIT // groups_per_interface} rules fit")]
    return []


def interface_errors(
    policies: Iterable[Policy], interfaces: dict[str, tuple[str, ...]], limit: int
) -> list[GroupError]:
    """One error for each interface that would carry more groups than the quota. `interfaces`: group name -> ids."""
    carried: dict[str, set[str]] = defaultdict(set)
    network = ""
    for policy in policies:
        network = policy.namespace
        for interface in interfaces.get(policy.name, ()):
            carried[interface].add(policy.name)
    return [
        GroupError(
            network,
            "",
            f"{interface} would carry {len(names)} groups ({', '.join(sorted(names))}) and the quota is {limit}",
            "raise the quota of groups per interface (up to 16) or give these workloads interfaces of their own",
        )
        for interface, names in sorted(carried.items())
        if len(names) > limit
    ]


def region_errors(network: str, groups: int, limit: int) -> list[GroupError]:
    """An error where one VPC alone, hence one Region, has more groups than the quota."""
    if groups <= limit:
        return []
    reason = f"{groups:,} groups are needed and the quota is {limit:,} in a Region"
    return [GroupError(network, "", reason, "raise the quota of security groups per Region and say so")]


def _join_ports(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Adjacent or overlapping ports of one peer and protocol become one range."""
    runs: dict[tuple[Peer, str], list[tuple[int, int, tuple[str, ...]]]] = defaultdict(list)
    joined: list[Rule] = []
    for rule in rules:
        ((peer,), (ports,)) = rule.peers or (), rule.ports or ()
        if ports.protocol in PROTOCOLS_WITH_PORTS and isinstance(ports.port, int):
            last = ports.port if ports.end is None else ports.end
            runs[peer, ports.protocol].append((ports.port, last, rule.evidence))
        else:
            joined.append(rule)
    for (peer, protocol), ranges in runs.items():
        merged: list[tuple[int, int, tuple[str, ...]]] = []
        for first, last, evidence in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                start, end, before = merged[-1]
                merged[-1] = (start, max(end, last), before + evidence)
            else:
                merged.append((first, last, evidence))
        for first, last, evidence in merged:
            joined.append(Rule((peer,), (PortRange(protocol, first, None if first == last else last),), evidence))
    return split(joined)


def _join_addresses(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """CIDRs that together are exactly a larger one, on the same ports, become that one."""
    blocks: dict[PortRange, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    joined: list[Rule] = []
    for rule in rules:
        ((peer,), (ports,)) = rule.peers or (), rule.ports or ()
        if isinstance(peer, CidrPeer):
            blocks[ports].append((peer.cidr, rule.evidence))
        else:
            joined.append(rule)
    for ports, members in blocks.items():
        for cidr in _collapsed(cidr for cidr, _ in members):
            evidence = {line for one, lines in members if _within(one, cidr) for line in lines}
            joined.append(Rule((CidrPeer(cidr),), (ports,), tuple(sorted(evidence))))
    return split(joined)


def _collapsed(cidrs: Iterable[str]) -> list[str]:
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    four = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network))
    return [str(n) for n in (*four, *six)]


def _within(part: str, whole: str) -> bool:
    inner, outer = ipaddress.ip_network(part), ipaddress.ip_network(whole)
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False
