"""All that security groups and network ACLs let through between the interfaces of a VPC and the world.

Ends are instances and interfaces at their private addresses; ends with the same groups, subnet and cells of addresses
are one class. Between VPCs nothing is said: routes, which are not known here, decide there first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from analyzers.flows import address_object
from analyzers.inventory import Endpoint, Inventory
from policygen.model import PolicySet
from policygen.network_acls import NetworkAcl
from policygen.verify.acls import AclTable
from policygen.verify.cloud_connections import union
from policygen.verify.connections import CLOUD_EVERYTHING, ConnectionSet
from policygen.verify.differences import Change, Witness
from policygen.verify.evaluate import Direction, Flow, Verdict
from policygen.verify.matching import FlowEnd
from policygen.verify.parties import Party, address_text_of, external_party, sample_address
from policygen.verify.reachability import Pair
from policygen.verify.security_groups import GroupMembership, evaluate_groups, group_rules, peer_covers_end
from policygen.verify.spaces import AddressSpace, on_line

_KINDS = ("Instance", "Interface")
_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMP": 1, "ICMPv6": 58}


class GroupReachability:
    """Security groups over the interfaces of an inventory."""

    def __init__(self, policies: PolicySet, inventory: Inventory, acls: Sequence[NetworkAcl] = ()) -> None:
        self.policies, self.inventory = policies, inventory
        self.membership = GroupMembership(policies, inventory)
        self.acls = AclTable(acls, inventory)
        blocks = [e.peer.cidr for acl in acls for e in (*acl.ingress, *acl.egress)]
        self.addresses = AddressSpace(policies, blocks)
        self.members: dict[str, list[FlowEnd]] = {}
        for endpoint in inventory.endpoints:
            if endpoint.workload.kind in _KINDS and endpoint.until is None:
                self.members[member_name(endpoint)] = _ends(endpoint)
        self.members = dict(sorted(self.members.items()))
        self._classes: dict[tuple[object, ...], int] = {}
        self._known: dict[tuple[int, int], ConnectionSet] = {}
        self._ends = {name: [(self._class(end), end) for end in ends] for name, ends in self.members.items()}

    def pairs(self, ipv6: bool | None = None) -> Iterator[Pair]:
        """Every ordered pair in one VPC that is allowed anything, and every member with ranges outside."""
        networks = {name: ends[0].endpoint.network if ends[0].endpoint else "" for name, ends in self.members.items()}
        for name in self.members:
            for outgoing in (False, True):
                for cells in self._families(ipv6):
                    answers = [self.outside(name, self.addresses.bounds(cell)[0], outgoing=outgoing) for cell in cells]
                    for connections, run in groupby(range(len(cells)), key=answers.__getitem__):
                        places = [cells[index] for index in run]
                        if connections:
                            bounds = self.addresses.bounds(places[0])[0], self.addresses.bounds(places[-1])[1]
                            outside = external_party(*bounds)
                            yield Pair(*((Party(name), outside) if outgoing else (outside, Party(name))), connections)
            for other in self.members:
                if other != name and networks[name] == networks[other]:
                    connections = self.connections(name, other)
                    if connections:
                        yield Pair(Party(name), Party(other), connections)

    def connections(self, source: str, destination: str) -> ConnectionSet:
        """What any address of one member may send to any of the other."""
        found = ConnectionSet()
        for one in self._ends[source]:
            for other in self._ends[destination]:
                found |= self._between(one, other)
        return found

    def outside(self, name: str, place: int, *, outgoing: bool) -> ConnectionSet:
        """What passes between a member and an address outside, by its place on the line."""
        far = FlowEnd(None, (place >> 64, place & 0xFFFF_FFFF_FFFF_FFFF))
        there = (-1 - self.addresses.cell(place), far)
        found = ConnectionSet()
        for own in self._ends[name]:
            if address_object(*own[1].addresses[0]).version == address_object(*far.addresses[0]).version:
                found |= self._between(own, there) if outgoing else self._between(there, own)
        return found

    def verdict(self, flow: Flow) -> Verdict:
        """Groups first, then ACLs, with the reasons of both."""
        said = evaluate_groups(self.membership, flow)
        passing, asked = self.acls.passes(flow.source, flow.destination)
        if said.always or not asked:
            return said
        names = {number: name for name, number in _NUMBERS.items()}
        port = flow.port if flow.protocol in (6, 17, 132) else flow.port if flow.protocol in (1, 58) else flow.protocol
        through = (names.get(flow.protocol, "IP"), port) in passing
        line = f"network ACLs {', '.join(asked)}: {'the connection and its replies pass' if through else 'denied'}"
        return Verdict(said.allowed and through, (*said.path, line), rules=said.rules)

    def _between(self, source: tuple[int, FlowEnd], destination: tuple[int, FlowEnd]) -> ConnectionSet:
        key = (source[0], destination[0])
        found = self._known.get(key)
        if found is None:
            found = self._direction("egress", source[1], destination[1])
            found &= self._direction("ingress", destination[1], source[1])
            found = self._known[key] = found & self.acls.passes(source[1], destination[1])[0]
        return found

    def _direction(self, direction: Direction, end: FlowEnd, peer: FlowEnd) -> ConnectionSet:
        groups = self.membership.groups_of(end)
        if not groups:
            return CLOUD_EVERYTHING
        there = frozenset((group.namespace, group.name) for group in self.membership.groups_of(peer))
        found = ConnectionSet()
        for group in groups:
            for rule in group_rules(group, direction):
                if rule.peers is None or any(peer_covers_end(one, group, peer, there) for one in rule.peers):
                    found |= union(rule.ports)
        return found

    def _class(self, end: FlowEnd) -> int:
        assert end.endpoint is not None
        groups = tuple((group.namespace, group.name) for group in self.membership.groups_of(end))
        cells = tuple(self.addresses.cell(on_line(address)) for address in end.addresses)
        key = (end.endpoint.network, groups, end.endpoint.security_groups, self.acls.subnet(end), cells)
        return self._classes.setdefault(key, len(self._classes))

    def _families(self, ipv6: bool | None) -> tuple[list[int], ...]:
        ends = (end for ends in self.members.values() for end in ends)
        wanted = any(address_object(*a).version == 6 for end in ends for a in end.addresses) if ipv6 is None else ipv6
        ipv4 = list(self.addresses.ipv4_cells())
        return (ipv4, self.addresses.ipv6_cells()) if wanted else (ipv4,)


def member_name(endpoint: Endpoint) -> str:
    """`vpc-1/i-1[Instance]`."""
    return f"{endpoint.network}/{endpoint.name}[{endpoint.workload.kind}]"


def _ends(endpoint: Endpoint) -> list[FlowEnd]:
    """The endpoint at each private address: group references and rules for private ranges see those."""
    private = [a for a in endpoint.addresses if address_object(*a).version == 6 or not address_object(*a).is_global]
    return [FlowEnd(endpoint, address) for address in private or endpoint.addresses] or [FlowEnd(endpoint)]


# -- differences -------------------------------------------------------------------------------------------------------


def group_changes(old: GroupReachability, new: GroupReachability, ipv6: bool | None = None) -> Iterator[Change]:
    """What differs between two descriptions, members of both sides with a witness that evaluate_groups confirms."""
    nothing = ConnectionSet()
    shared = [name for name in old.members if name in new.members]
    alone = {name for name in (*old.members, *new.members) if name not in shared}
    sides = [{(p.source, p.destination): p.connections for p in side.pairs(ipv6)} for side in (old, new)]
    for source, destination in sorted(sides[0].keys() | sides[1].keys()):
        if source.external or destination.external:
            inside = destination if source.external else source
            if str(inside) not in alone:
                continue  # compared on common pieces below
        before, after = (side.get((source, destination), nothing) for side in sides)
        if before == after:
            continue
        named = tuple(str(p) for p in (source, destination) if str(p) in alone)
        appeared = tuple(name for name in named if name in new.members)
        vanished = tuple(name for name in named if name in old.members)
        witnesses = () if named else _witnesses(old, new, str(source), str(destination))
        yield Change(source, destination, before, after, witnesses, appeared, vanished)
    starts = sorted({*old.addresses.starts, *new.addresses.starts})
    wanted = {old.addresses.is_ipv4(old.addresses.cell(s)) for s in starts} if ipv6 else {True}
    for name in shared:
        for outgoing in (False, True):
            yield from _outside(old, new, name, starts, wanted, outgoing)


def _outside(
    old: GroupReachability, new: GroupReachability, name: str, starts: list[int], wanted: set[bool], outgoing: bool
) -> Iterator[Change]:
    kept = [s for s in starts if old.addresses.is_ipv4(old.addresses.cell(s)) in wanted]
    ends = {start: following - 1 for start, following in zip(starts, [*starts[1:], 1 << 128], strict=True)}

    def both(start: int) -> tuple[ConnectionSet, ConnectionSet]:
        return old.outside(name, start, outgoing=outgoing), new.outside(name, start, outgoing=outgoing)

    for (before, after), run in groupby(kept, key=both):
        if before == after:
            continue
        members = list(run)
        outside = external_party(members[0], ends[members[-1]])
        place = sample_address(members[0], ends[members[0]])
        far = FlowEnd(None, (place >> 64, place & 0xFFFF_FFFF_FFFF_FFFF))
        found = [
            _witness(old, new, one, own, far, gone, outgoing)
            for gone in (after - before, before - after)
            if gone
            for one, own in list(zip(old.members[name], new.members[name], strict=False))[:1]
        ]
        ends_of = (Party(name), outside) if outgoing else (outside, Party(name))
        yield Change(*ends_of, before, after, tuple(w for w in found if w is not None))


def _witness(
    old: GroupReachability,
    new: GroupReachability,
    before: FlowEnd,
    after: FlowEnd,
    far: FlowEnd,
    gone: ConnectionSet,
    outgoing: bool,
) -> Witness | None:
    ends = ((before, far), (after, far)) if outgoing else ((far, before), (far, after))
    return _said(old, new, ends[0], ends[1], gone)


def _witnesses(old: GroupReachability, new: GroupReachability, source: str, destination: str) -> tuple[Witness, ...]:
    found = []
    ends = [(side.members[source][0], side.members[destination][0]) for side in (old, new)]
    before, after = (side.connections(source, destination) for side in (old, new))
    for gone in (after - before, before - after):
        witness = _said(old, new, ends[0], ends[1], gone) if gone else None
        found += [witness] if witness is not None else []
    return tuple(found)


def _said(
    old: GroupReachability,
    new: GroupReachability,
    before: tuple[FlowEnd, FlowEnd],
    after: tuple[FlowEnd, FlowEnd],
    gone: ConnectionSet,
) -> Witness | None:
    """A packet that both oracles disagree on; None where only some of the members' addresses are concerned."""
    span = min(gone.spans, key=lambda s: (s.protocol != "TCP", s.protocol, s.first))
    port = next((wanted for wanted in (443, 53) if span.first <= wanted <= span.last), span.first)
    number = _NUMBERS.get(span.protocol, span.first)
    verdicts = [side.verdict(Flow(*ends, number, port)) for side, ends in ((old, before), (new, after))]
    if verdicts[0].allowed == verdicts[1].allowed:
        return None
    names = [end.endpoint.name if end.endpoint is not None else "" for end in after]
    addresses = [address_text_of(end) for end in after]
    return Witness(names[0], addresses[0], names[1], addresses[1], span.protocol, port, verdicts[0], verdicts[1])
