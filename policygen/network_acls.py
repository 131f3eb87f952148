"""Network ACLs from `aws ec2 describe-network-acls`: ordered entries that filter what enters and leaves a subnet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policygen.group_rules import ANY_PROTOCOL, normal_protocol
from policygen.model import CidrPeer, PortRange, Problem


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One entry; the lowest number that matches decides. `ports` as in rules of security groups."""

    number: int
    allow: bool
    peer: CidrPeer
    ports: PortRange


@dataclass(frozen=True, slots=True)
class NetworkAcl:
    """The entries of both directions, in order, and the subnets that they filter. What no entry matches is denied."""

    id: str
    network: str  # VPC id
    subnets: tuple[str, ...]
    ingress: tuple[AclEntry, ...]
    egress: tuple[AclEntry, ...]


def holds_acls(value: object) -> bool:
    """Whether a document is a description of network ACLs."""
    return isinstance(value, dict) and isinstance(value.get("NetworkAcls"), list)


def read_network_acls(documents: Iterable[tuple[str, object]]) -> tuple[tuple[NetworkAcl, ...], tuple[Problem, ...]]:
    """(ACLs by id, what could not be read) of (place, document) pairs. An ACL with an entry that cannot be read is left
    out whole: entries are ordered, and one that is missing would let others decide."""
    found: dict[str, NetworkAcl] = {}
    problems: list[Problem] = []
    for where, value in documents:
        for index, one in enumerate(value["NetworkAcls"] if isinstance(value, dict) and holds_acls(value) else ()):
            place = f"{where}: NetworkAcls[{index}]"
            try:
                acl = _acl(one)
            except ValueError as error:
                problems.append(Problem(place, f"{error}; the network ACL is left out", fatal=True))
                continue
            if found.setdefault(acl.id, acl) != acl:
                problems.append(Problem(place, f"{acl.id} is described twice, differently; this one is left out", True))
    return tuple(found[name] for name in sorted(found)), tuple(problems)


def _acl(value: object) -> NetworkAcl:
    if not isinstance(value, dict) or not isinstance(value.get("NetworkAclId"), str):
        raise ValueError("NetworkAclId is missing")
    associations = value.get("Associations") or []
    raw = value.get("Entries") or []
    if not isinstance(associations, list) or not isinstance(raw, list):
        raise ValueError("Associations and Entries must be lists")
    entries = [(bool(isinstance(e, dict) and e.get("Egress")), _entry(e, f"Entries[{i}]")) for i, e in enumerate(raw)]
    subnets = {one.get("SubnetId") for one in associations if isinstance(one, dict)}
    ordered = sorted(entries, key=lambda pair: pair[1].number)
    return NetworkAcl(
        id=value["NetworkAclId"],
        network=str(value.get("VpcId") or ""),
        subnets=tuple(sorted(subnet for subnet in subnets if isinstance(subnet, str))),
        ingress=tuple(entry for egress, entry in ordered if not egress),
        egress=tuple(entry for egress, entry in ordered if egress),
    )


def _entry(value: object, where: str) -> AclEntry:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected a mapping")
    number, action = value.get("RuleNumber"), value.get("RuleAction")
    if type(number) is not int or action not in ("allow", "deny"):
        raise ValueError(f"{where}: RuleNumber must be a number, and RuleAction allow or deny")
    cidr = value.get("CidrBlock") or value.get("Ipv6CidrBlock")
    try:
        block = str(ipaddress.ip_network(str(cidr), strict=False))
    except ValueError:
        raise ValueError(f"{where}: {cidr!r} is no CIDR") from None
    return AclEntry(number, action == "allow", CidrPeer(block), _ports(value, where))


def _ports(value: Mapping[str, Any], where: str) -> PortRange:
    protocol = normal_protocol(str(value.get("Protocol", "")))
    if protocol in ("TCP", "UDP"):
        ports = value.get("PortRange")
        if ports is None:
            return PortRange(protocol)
        first, last = (ports.get(key) if isinstance(ports, dict) else None for key in ("From", "To"))
        if type(first) is not int or type(last) is not int or not 0 <= first <= last <= 65535:
            raise ValueError(f"{where}.PortRange: {ports!r} is no range of ports")
        return PortRange(protocol, first, last)
    if protocol in ("icmp", "icmpv6"):
        icmp = value.get("IcmpTypeCode")
        kind, code = (icmp.get(key) if isinstance(icmp, dict) else None for key in ("Type", "Code"))
        if type(kind) is int and kind >= 0:
            return PortRange(protocol, kind, code if type(code) is int else -1)
        return PortRange(protocol)
    return PortRange(ANY_PROTOCOL if protocol == ANY_PROTOCOL else protocol)
