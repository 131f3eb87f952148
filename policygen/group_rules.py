"""The normal form of security group rules: one peer and one port range a rule, in one order.

Writer and reader agree on it, so that a set written and read back is itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from itertools import product

from policygen.model import CidrPeer, GroupPeer, Peer, PortRange, Rule

ANY_PROTOCOL = "-1"
"""Every protocol and every port (EC2 API, IpPermission.IpProtocol)."""

_NAMED = {"tcp": "TCP", "6": "TCP", "udp": "UDP", "17": "UDP", "icmp": "icmp", "1": "icmp"}
_NAMED |= {"icmpv6": "icmpv6", "58": "icmpv6", "-1": ANY_PROTOCOL, "all": ANY_PROTOCOL, "sctp": "132"}

PROTOCOLS_WITH_PORTS = frozenset({"TCP", "UDP"})
"""Those whose ports a security group compares; of any other number it lets every port through."""


def normal_protocol(text: str) -> str:
    """`TCP`, `UDP`, `icmp`, `icmpv6`, `-1` or a number as text. Raises ValueError for what is no IANA protocol."""
    named = _NAMED.get(text.strip().lower())
    if named is not None:
        return named
    number = text.strip()
    if number.isascii() and number.isdigit() and int(number) <= 255:
        return str(int(number))
    raise ValueError(f"{text!r} is no protocol: expected tcp, udp, icmp, icmpv6, -1 or a number up to 255")


def split(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules with one peer and one port range each, without repetitions, in order; evidence goes along.

    A rule without restriction of peers becomes one for every IPv4 and one for every IPv6 address; one without
    restriction of ports becomes one for every protocol. A rule with an empty tuple yields nothing: callers refuse it.
    """
    everywhere: tuple[Peer, ...] = (CidrPeer("0.0.0.0/0"), CidrPeer("::/0"))
    found: dict[tuple[Peer, PortRange], set[str]] = {}
    for rule in rules:
        peers = everywhere if rule.peers is None else rule.peers
        ports = (PortRange(ANY_PROTOCOL),) if rule.ports is None else rule.ports
        for pair in product(peers, ports):
            found.setdefault(pair, set()).update(rule.evidence)
    ordered = sorted(found, key=lambda pair: (ports_order(pair[1]), peer_order(pair[0])))
    return tuple(Rule((peer,), (ports,), tuple(sorted(found[peer, ports]))) for peer, ports in ordered)


def peer_order(peer: Peer) -> tuple[int, int, int, int, str]:
    """Groups by name, then IPv4 by address, then IPv6."""
    if isinstance(peer, CidrPeer):
        network = ipaddress.ip_network(peer.cidr, strict=False)
        return 1, network.version, int(network.network_address), network.prefixlen, peer.cidr
    return 0, 0, 0, 0, peer.name if isinstance(peer, GroupPeer) else repr(peer)


def ports_order(ports: PortRange) -> tuple[str, int, int]:
    """By protocol, then first and last port; "all ports" first."""
    first = ports.port if isinstance(ports.port, int) else -1
    return ports.protocol, first, first if ports.end is None else ports.end


def describe_ports(ports: PortRange) -> str:
    """`TCP 443`, `UDP 5000-5010`, `all ICMP`, `every protocol`, `protocol 47`: for messages."""
    if ports.protocol == ANY_PROTOCOL:
        return "every protocol"
    if ports.protocol in ("icmp", "icmpv6"):
        name = "ICMP" if ports.protocol == "icmp" else "ICMPv6"
        return f"all {name}" if ports.port is None else f"{name} type {ports.port} code {ports.end}"
    if ports.protocol not in PROTOCOLS_WITH_PORTS:
        return f"protocol {ports.protocol}"
    if ports.port is None:
        return f"every {ports.protocol} port"
    return f"{ports.protocol} {ports.port}" + (f"-{ports.end}" if ports.end not in (None, ports.port) else "")


def describe_peer(peer: Peer) -> str:
    """The group's name or the CIDR: for messages."""
    if isinstance(peer, GroupPeer):
        return peer.name
    return peer.cidr if isinstance(peer, CidrPeer) else repr(peer)
