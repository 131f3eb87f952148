"""Rules that allow the whole internet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import replace

from policygen.lint.case import PEERS_FIELD, Case, rules
from policygen.lint.model import Finding, Severity
from policygen.model import CidrPeer, PortRange, Rule
from policygen.verify.evaluate import Direction, policy_name

DOC = "a rule that allows every address"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = False

_WHOLE = {"0.0.0.0/0": "203.0.113.7", "::/0": "2001:db8::7"}
_ADMINISTRATION = {22: "SSH", 3389: "RDP", 5985: "WinRM", 5986: "WinRM"}
_EVERY = ("-1",)


def find(case: Case) -> Iterator[Finding]:
    """NetworkPolicies without peers or with the whole of IPv4 or IPv6, and security groups with the same."""
    for policy in case.policies.policies:
        for direction, _, rule, path in rules(policy):
            if rule.peers is None:
                yield _finding(policy_name(policy), policy.origin, direction, path, rule, "203.0.113.7")
            for index, peer in enumerate(rule.peers or ()):
                if isinstance(peer, CidrPeer) and peer.cidr in _WHOLE and not _excepts_something_public(peer):
                    place = f"{path}.{PEERS_FIELD[direction]}[{index}].ipBlock"
                    witness = _WHOLE[peer.cidr]
                    found = _finding(policy_name(policy), policy.origin, direction, place, rule, witness)
                    outside = f"every address but {', '.join(peer.excepts)}" if peer.excepts else "every address"
                    yield replace(found, message=found.message.replace("every address", outside, 1))
    for admin in case.policies.admin:
        for index, one in enumerate(admin.egress):
            wide = [p.cidr for p in one.peers if isinstance(p, CidrPeer) and p.cidr in _WHOLE]
            if one.action == "Accept" and wide:
                yield Finding(
                    str(admin),
                    admin.origin,
                    f"spec.egress[{index}]",
                    f"every address ({wide[0]}) may be reached on {ports_text(one.ports)}, "
                    "whatever NetworkPolicies say",
                    f"witness: a pod that it selects -> {_WHOLE[wide[0]]}, {_one(one.ports)}",
                    "Pass leaves the decision to NetworkPolicies",
                    severity=None if one.ports is None else Severity.NOTE,
                )
    for group in case.groups.policies:
        for direction, _, rule, _ in rules(group):
            for peer in rule.peers or ():
                if isinstance(peer, CidrPeer) and peer.cidr in _WHOLE:
                    name = policy_name(group)
                    yield _finding(name, group.origin, direction, "", rule, _WHOLE[peer.cidr], peer.cidr)


def _excepts_something_public(peer: CidrPeer) -> bool:
    """Whether somebody thought about which public addresses to keep out."""
    return any(ipaddress.ip_network(part, strict=False).is_global for part in peer.excepts)


def _finding(
    policy: str, origin: str, direction: Direction, path: str, rule: Rule, witness: str, cidr: str = ""
) -> Finding:
    everything = rule.ports is None or any(port.protocol in _EVERY for port in rule.ports)
    shown = ports_text(rule.ports)
    entries = () if direction == "egress" else _administration(rule.ports)
    if direction == "ingress":
        message = f"every address{f' ({cidr})' if cidr else ''} may reach these pods on {shown}"
        proof = f"witness: {witness} -> a member, {_one(rule.ports)}"
    else:
        message = f"every address{f' ({cidr})' if cidr else ''} may be reached on {shown}"
        proof = f"witness: a member -> {witness}, {_one(rule.ports)}"
    if cidr:
        message = message.replace("these pods", "its members")
    severity = (
        Severity.ERROR if entries else None if everything and not (cidr and direction == "egress") else Severity.NOTE
    )
    if entries:
        message += f"; {entries[0]} among them"
    return Finding(policy, origin, path, message, proof, "name the peers, or the ports at least", severity=severity)


def _administration(ports: Sequence[PortRange] | None) -> tuple[str, ...]:
    """Ports of remote administration that are named, not those that an open rule holds besides all others."""
    return tuple(
        f"{name} ({number})"
        for number, name in _ADMINISTRATION.items()
        for port in ports or ()
        if port.protocol == "TCP" and isinstance(port.port, int) and port.port <= number <= (port.end or port.port)
    )


def ports_text(ports: Sequence[PortRange] | None) -> str:
    """`TCP 80, UDP 53`, `every port`."""
    if ports is None:
        return "every port"
    return ", ".join(_port(port) for port in ports)


def _port(port: PortRange) -> str:
    protocol = {"-1": "every protocol"}.get(port.protocol, port.protocol)
    if port.port is None:
        return protocol if port.protocol == "-1" else f"every {protocol} port"
    return f"{protocol} {port.port}" + (f"-{port.end}" if port.end not in (None, port.port) else "")


def _one(ports: Sequence[PortRange] | None) -> str:
    if not ports or ports[0].protocol == "-1" or ports[0].port is None:
        protocol = "TCP" if not ports or ports[0].protocol == "-1" else ports[0].protocol
        return f"{protocol} 4444"
    return f"{ports[0].protocol} {ports[0].port}"
