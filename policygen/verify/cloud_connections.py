"""Rules of cloud firewalls as sets of connections: every IP protocol, ICMP by type and code.

ICMP spans count type * 256 + code; IP spans count the protocols without a name of their own by number.
"""

from __future__ import annotations

from collections.abc import Iterable

from policygen.model import PortRange
from policygen.verify.connections import CLOUD_EVERYTHING, LAST_PORT, ConnectionSet, PortSpan

_NAMES = {"TCP": "TCP", "UDP": "UDP", "icmp": "ICMP", "icmpv6": "ICMPv6", "SCTP": "SCTP", "132": "SCTP"}


def spans(ports: PortRange) -> tuple[PortSpan, ...]:
    """What one port entry of a security group or network ACL covers."""
    if ports.protocol == "-1":
        return CLOUD_EVERYTHING.spans
    name = _NAMES.get(ports.protocol)
    if name is None:
        return (PortSpan("IP", int(ports.protocol), int(ports.protocol)),)
    if name in ("ICMP", "ICMPv6"):
        if ports.port is None or isinstance(ports.port, str):
            return (PortSpan(name, 0, LAST_PORT),)
        first, code = ports.port * 256, -1 if ports.end is None else ports.end
        return (PortSpan(name, first, first + 255) if code < 0 else PortSpan(name, first + code, first + code),)
    if ports.port is None or isinstance(ports.port, str) or name == "SCTP":
        return (PortSpan(name, 1, LAST_PORT),)
    first, last = max(ports.port, 1), ports.port if ports.end is None else ports.end
    return (PortSpan(name, first, last),) if first <= last else ()


def union(entries: Iterable[PortRange] | None) -> ConnectionSet:
    """What any of the entries covers; None is no restriction."""
    return CLOUD_EVERYTHING if entries is None else ConnectionSet.of(s for one in entries for s in spans(one))
