"""Network ACLs for one connection, point by point. They are stateless: replies need entries of their own.

1. Between two ends of one subnet no ACL is asked.
2. What leaves a subnet is asked of its ACL's outbound entries, what enters one of its inbound entries, by the remote
   end's address and the destination's port; the lowest number that matches decides, and no match denies.
3. Replies of TCP, UDP and SCTP go back to the client's port. The client picks it from EPHEMERAL, so entries have to let
   all of those pass both ways round; other protocols are asked for in the other direction as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from analyzers.inventory import Inventory
from policygen.network_acls import AclEntry, NetworkAcl
from policygen.verify.cloud_connections import spans
from policygen.verify.connections import CLOUD_EVERYTHING, LAST_PORT, ConnectionSet, PortSpan
from policygen.verify.matching import FlowEnd, in_cidr

EPHEMERAL = (32768, 60999)
"""What Linux picks client ports from (ip_local_port_range)."""
_PORTED = ("SCTP", "TCP", "UDP")


class AclTable:
    """Which ACL filters which end."""

    def __init__(self, acls: Sequence[NetworkAcl], inventory: Inventory) -> None:
        self.acls = tuple(acls)
        self._of_subnet = {(acl.network, subnet): acl for acl in acls for subnet in acl.subnets}
        self._subnet = {
            (interface.network, address): interface.subnet
            for interface in inventory.interfaces
            for address in interface.addresses
            if interface.subnet
        }

    def subnet(self, end: FlowEnd) -> str:
        """The subnet of an end; "" outside, and where nothing says it."""
        if end.endpoint is None:
            return ""
        found = {self._subnet.get((end.endpoint.network, address), "") for address in end.addresses}
        return found.pop() if len(found) == 1 else ""

    def passes(self, source: FlowEnd, destination: FlowEnd) -> tuple[ConnectionSet, tuple[str, ...]]:
        """(what the ACLs let through with its replies, which ACLs were asked)."""
        own, other = self.subnet(source), self.subnet(destination)
        if own and own == other:
            return CLOUD_EVERYTHING, ()
        allowed, asked = CLOUD_EVERYTHING, []
        for end, remote, subnet, leaving in ((source, destination, own, True), (destination, source, other, False)):
            acl = self._of_subnet.get((end.endpoint.network, subnet)) if end.endpoint is not None else None
            if acl is None:
                continue
            asked.append(acl.id)
            there, back = (acl.egress, acl.ingress) if leaving else (acl.ingress, acl.egress)
            allowed &= _decided(there, remote.addresses) & _replied(_decided(back, remote.addresses))
        return allowed, tuple(asked)


def _replied(back: ConnectionSet) -> ConnectionSet:
    """The connections whose replies `back` lets through."""
    kept = [span for span in back.spans if span.protocol not in _PORTED]
    for protocol in _PORTED:
        if any(s.protocol == protocol and s.first <= EPHEMERAL[0] and s.last >= EPHEMERAL[1] for s in back.spans):
            kept.append(PortSpan(protocol, 1, LAST_PORT))
    icmp = ("ICMP", "ICMPv6")  # a reply has another type than what it answers: any that passes counts
    kept = [span for span in kept if span.protocol not in icmp]
    kept += [PortSpan(name, 0, LAST_PORT) for name in icmp if any(s.protocol == name for s in back.spans)]
    return ConnectionSet.of(kept)


@lru_cache(maxsize=65536)
def _decided(entries: tuple[AclEntry, ...], addresses: tuple[tuple[int, int], ...]) -> ConnectionSet:
    """What the entries allow to or from the addresses."""
    open_still, allowed = CLOUD_EVERYTHING, ConnectionSet()
    for entry in entries:
        if addresses and all(in_cidr(entry.peer.cidr, address) for address in addresses):
            hit = ConnectionSet.of(spans(entry.ports)) & open_still
            allowed = allowed | hit if entry.allow else allowed
            open_still -= hit
    return allowed
