"""Security groups from `aws ec2 describe-security-groups`, as the account has them.

A group's name is its id and its namespace its VPC: interfaces list their groups by id, so membership follows from the
inventory. Prefix lists are opened where `describe-prefix-lists` or `describe-managed-prefix-lists` with entries is in
the same input.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from policygen.group_rules import ANY_PROTOCOL, PROTOCOLS_WITH_PORTS, normal_protocol, split
from policygen.model import CidrPeer, GroupPeer, Peer, Policy, PolicySet, PortRange, Problem, Rule, Selector

NAME_LABEL = "GroupName"
"""Under which label a group keeps the name that people gave it."""


def is_described(value: object) -> bool:
    """Whether a document holds security groups with their rules, prefix lists or network ACLs."""
    if isinstance(value, list):
        return any(isinstance(item, dict) and "GroupId" in item and "IpPermissions" in item for item in value)
    known = ("SecurityGroups", "PrefixLists", "NetworkAcls")
    return isinstance(value, dict) and any(key in value for key in known) and "kind" not in value


def read_described(documents: Iterable[tuple[str, object]]) -> PolicySet:
    """The groups of (place, document) pairs, sorted by VPC and id. Never raises for bad input.

    What cannot be read is left out and is a fatal Problem: a group without an id, a rule with a wrong protocol, port
    or CIDR, a peer that is a prefix list nobody shows the entries of. A group that occurs twice counts once if both
    say the same; else the second is left out.
    """
    given = [(where, value) for where, value in documents if is_described(value)]
    reading = _Reading(prefix_lists=dict(_prefix_lists(given)))
    for where, value in given:
        key = "" if isinstance(value, list) else "SecurityGroups"
        groups = value.get(key) if isinstance(value, dict) else value
        if groups is not None and not isinstance(groups, list):
            reading.fatal(f"{where}: {key}", "expected a list")
            continue
        for index, group in enumerate(groups or ()):
            if not isinstance(group, dict):
                reading.fatal(f"{where}: {key}[{index}]", "expected a mapping")
            elif "IpPermissions" in group or "IpPermissionsEgress" in group:
                reading.group(group, f"{where}: {key}[{index}]")
    return PolicySet(tuple(reading.groups.values()), tuple(reading.problems)).sorted()


def _prefix_lists(documents: Iterable[tuple[str, object]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(id, CIDRs) of every prefix list that is shown with its entries."""
    for _, value in documents:
        lists = value.get("PrefixLists") if isinstance(value, dict) else None
        for one in lists if isinstance(lists, list) else ():
            if not isinstance(one, dict) or not isinstance(one.get("PrefixListId"), str):
                continue
            shown = one.get("Entries")
            entries = shown if isinstance(shown, list) else []
            cidrs = [e.get("Cidr") for e in entries if isinstance(e, dict)] or one.get("Cidrs") or []
            if isinstance(cidrs, list) and cidrs:
                yield one["PrefixListId"], tuple(str(cidr) for cidr in cidrs)


class _Wrong(ValueError):
    """Why one rule or one peer cannot be read."""


@dataclass
class _Reading:
    """What has come together so far."""

    prefix_lists: Mapping[str, tuple[str, ...]]
    groups: dict[tuple[str, str], Policy] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def fatal(self, where: str, reason: str) -> None:
        self.problems.append(Problem(where, reason, fatal=True))

    def group(self, value: Mapping[str, Any], where: str) -> None:
        identifier, vpc, name = (value.get(key) for key in ("GroupId", "VpcId", "GroupName"))
        if not isinstance(identifier, str) or not identifier:
            self.fatal(where, "GroupId is missing; the group is left out")
            return
        policy = Policy(
            name=identifier,
            namespace=vpc if isinstance(vpc, str) else "",
            subject=Selector(),
            ingress=self.rules(value.get("IpPermissions"), f"{where}.IpPermissions"),
            egress=self.rules(value.get("IpPermissionsEgress"), f"{where}.IpPermissionsEgress"),
            labels=((NAME_LABEL, name),) if isinstance(name, str) and name else (),
            origin=where,
        )
        earlier = self.groups.setdefault((policy.namespace, identifier), policy)
        if earlier.meaning() != policy.meaning():
            self.fatal(where, f"{identifier} is described differently in {earlier.origin}; this one is left out")

    def rules(self, value: object, where: str) -> tuple[Rule, ...]:
        if value is not None and not isinstance(value, list):
            self.fatal(where, "expected a list; its rules are left out")
            return ()
        found: list[Rule] = []
        for index, permission in enumerate(value or ()):
            place = f"{where}[{index}]"
            try:
                if not isinstance(permission, dict):
                    raise _Wrong("expected a mapping")
                ports = _ports(permission)
            except _Wrong as wrong:
                self.fatal(place, f"{wrong}; the rule is left out")
                continue
            peers = tuple(self.peers(permission, place))
            if peers:
                found.append(Rule(peers, (ports,)))
        return split(found)

    def peers(self, permission: Mapping[str, Any], where: str) -> Iterator[Peer]:
        for key, inner in (
            ("IpRanges", "CidrIp"),
            ("Ipv6Ranges", "CidrIpv6"),
            ("PrefixListIds", "PrefixListId"),
            ("UserIdGroupPairs", "GroupId"),
        ):
            entries = permission.get(key) or ()
            if not isinstance(entries, list | tuple):
                self.fatal(f"{where}.{key}", "expected a list; its peers are left out")
                continue
            for index, entry in enumerate(entries):
                place = f"{where}.{key}[{index}]"
                text = entry.get(inner) if isinstance(entry, dict) else None
                try:
                    if not isinstance(text, str) or not text:
                        raise _Wrong(f"{inner} is missing")
                    yield from self.peer(key, text)
                except _Wrong as wrong:
                    self.fatal(place, f"{wrong}; this peer is left out")

    def peer(self, key: str, text: str) -> Iterator[Peer]:
        if key == "UserIdGroupPairs":
            yield GroupPeer(text)
        elif key != "PrefixListIds":
            yield _cidr(text)
        elif text in self.prefix_lists:
            yield from map(_cidr, self.prefix_lists[text])
        else:
            raise _Wrong(
                f"nobody shows what prefix list {text} holds (it can allow more than is said here); "
                "add `aws ec2 describe-prefix-lists`, or its entries as PrefixLists[].Entries[].Cidr"
            )


def _cidr(text: str) -> CidrPeer:
    try:
        return CidrPeer(str(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        raise _Wrong(f"{text!r} is no CIDR") from None


def _ports(permission: Mapping[str, Any]) -> PortRange:
    """The protocol and ports of an IpPermission: no ports with -1 and with protocols that have none (EC2 API)."""
    raw = permission.get("IpProtocol")
    try:
        protocol = normal_protocol(str(raw) if raw is not None else "")
    except ValueError as error:
        raise _Wrong(f"IpProtocol: {error}") from None
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if protocol == ANY_PROTOCOL or (first is None and last is None) or (first == -1 and last == -1):
        return PortRange(protocol)
    if type(first) is not int or type(last) is not int:
        raise _Wrong(f"FromPort {first!r} and ToPort {last!r} must both be numbers")
    if protocol in ("icmp", "icmpv6"):  # type and code; -1 is any of them
        return PortRange(protocol) if first == -1 else PortRange(protocol, first, last)
    if protocol not in PROTOCOLS_WITH_PORTS:
        return PortRange(protocol)
    if not 0 <= first <= last <= 65535:
        raise _Wrong(f"ports {first} to {last} are no range of 0 to 65535")
    return (
        PortRange(protocol)
        if (first, last) == (0, 65535)
        else PortRange(protocol, first, None if first == last else last)
    )
