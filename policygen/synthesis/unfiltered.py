"""What security groups never filter, so that no rule is written for it (Amazon VPC user guide, security groups)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

_PLATFORM = {
    "169.254.169.254": "instance metadata",
    "fd00:ec2::254": "instance metadata",
    "169.254.170.2": "ECS task metadata",
    "169.254.169.253": "the Amazon DNS resolver",
    "fd00:ec2::253": "the Amazon DNS resolver",
    "169.254.169.123": "the Amazon time service",
    "fd00:ec2::123": "the Amazon time service",
    "169.254.169.250": "Windows licence activation",
    "169.254.169.251": "Windows licence activation",
}


def unfiltered_service(address: str, protocol: int, port: int, vpc_cidrs: Iterable[str] = ()) -> str:
    """The platform service that the address stands for, or "" when groups do filter the traffic.

    The resolver at the second address of a VPC is known only where the VPC's CIDRs are: any other address that ends
    alike may be somebody's own DNS server, which groups do filter.
    """
    parsed = ipaddress.ip_address(address)
    if (name := _PLATFORM.get(str(parsed))) is not None:
        return name
    if protocol in (6, 17) and port == 53:
        for cidr in vpc_cidrs:
            block = ipaddress.ip_network(cidr, strict=False)
            if block.version == 4 and parsed.version == 4 and int(parsed) == int(block.network_address) + 2:
                return "the Amazon DNS resolver"
    if protocol == 17 and port == 67 and (str(parsed) == "255.255.255.255" or parsed.is_link_local):
        return "DHCP"
    if protocol == 17 and port == 547 and (parsed.is_multicast or parsed.is_link_local):
        return "DHCP"
    return ""
