"""Security groups for one flow, and for many: what AWS does with a connection, point by point.

The flow is the connection from the end that opens it; replies belong to it. Only groups of the given set are known
here. Whatever else an interface carries can only allow more.

Group references see private addresses: a member of the group, in the group's own VPC, met at an address that its
interface holds. A member met at a public IPv4 address is matched by CIDRs alone.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from analyzers.flows import address_halves, address_object
from analyzers.inventory import Endpoint, Inventory
from policygen.model import CidrPeer, GroupPeer, Peer, Policy, PolicySet, PortRange, Rule
from policygen.verify.evaluate import DirectionVerdict, Flow, RuleRef, Verdict
from policygen.verify.matching import FlowEnd, cidr_range
from policygen.verify.replay import Denial, ReplayFlow, ReplayReport, RuleHits

Direction = Literal["ingress", "egress"]

_CLOUD_KINDS = ("Instance", "Interface")
_PROTOCOL_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132, "icmp": 1, "icmpv6": 58}
_ICMP = (1, 58)

# Amazon DNS, instance and task metadata, pod identity, time, licence activation (Amazon VPC user guide)
_NEVER_FILTERED = frozenset(
    address_halves(address)
    for address in (
        *(f"169.254.169.{last}" for last in (123, 250, 251, 253, 254)),
        "169.254.170.2",
        *(f"fd00:ec2::{last}" for last in (123, 253, 254)),
    )
)


class GroupMembership:
    """Who carries which groups. The groups of an end are those whose members name its endpoint, or its interface.

    An endpoint that has ended carries what its workload's listed members carry: the groups follow the workload. An
    endpoint that the inventory shows with a group of the set (by name or id) carries it, listed or not.
    """

    def __init__(self, policies: PolicySet, inventory: Inventory, vpc_cidrs: Sequence[tuple[str, str]] = ()) -> None:
        self._listed: dict[tuple[str, str], list[Policy]] = defaultdict(list)  # (VPC, member or group name)
        self._by_name: dict[tuple[str, str], list[Policy]] = defaultdict(list)
        for policy in policies.policies:
            self._by_name[policy.namespace, policy.name].append(policy)
            for member in policy.members:
                self._listed[policy.namespace, member].append(policy)
        self._interfaces: dict[tuple[str, int, int], list[str]] = defaultdict(list)  # ids, or instances' names
        self._prefixes: dict[tuple[str, str], set[str]] = defaultdict(set)  # (VPC, prefix) -> ids
        self._lengths: set[int] = set()
        self._groups_of_address: dict[tuple[str, int, int], set[str]] = defaultdict(set)
        for interface in inventory.interfaces:
            for address in interface.addresses:
                self._groups_of_address[(interface.network, *address)] |= set(interface.security_groups)
                self._interfaces[(interface.network, *address)].append(interface.id)
            for prefix in interface.prefixes:
                block = ipaddress.ip_network(prefix, strict=False)
                self._prefixes[interface.network, str(block)].add(interface.id)
                self._lengths.add(block.prefixlen)
        for endpoint in inventory.endpoints:
            for address in (
                endpoint.addresses if endpoint.workload.kind in _CLOUD_KINDS and endpoint.until is None else ()
            ):
                self._interfaces[(endpoint.network, *address)].append(endpoint.name)
        self._workload_groups: dict[tuple[str, object], set[str]] = defaultdict(set)
        for endpoint in inventory.endpoints:
            for policy in self._listed.get((endpoint.network, endpoint.name), ()):
                if endpoint.workload.kind in _CLOUD_KINDS:
                    self._workload_groups[endpoint.network, endpoint.workload].add(policy.name)
        self._resolvers = _resolvers(vpc_cidrs)
        self._known: dict[tuple[int, tuple[int, int] | None], tuple[Endpoint | None, tuple[Policy, ...]]] = {}

    def groups_of(self, end: FlowEnd) -> tuple[Policy, ...]:
        """The groups of the set that filter this end, sorted by name. An end outside of the inventory has none."""
        place = (id(end.endpoint), end.address)
        known = self._known.get(place)
        if known is None:
            # the endpoint is kept with the answer: its id means nothing once it is gone
            known = self._known[place] = (end.endpoint, self._find(end))
        return known[1]

    def _find(self, end: FlowEnd) -> tuple[Policy, ...]:
        endpoint = end.endpoint
        if endpoint is None:
            return ()
        found = {p.name: p for i in self._interfaces_at(end) for p in self._listed.get((endpoint.network, i), ())}
        if endpoint.workload.kind in _CLOUD_KINDS:
            found |= {p.name: p for p in self._listed.get((endpoint.network, endpoint.name), ())}
            names = set(self._groups_at(end) or endpoint.security_groups)
            if endpoint.until is not None:
                names |= self._workload_groups.get((endpoint.network, endpoint.workload), set())
            found |= {name: p for name in names for p in self._by_name.get((endpoint.network, name), ())}
        return tuple(found[name] for name in sorted(found))

    def _groups_at(self, end: FlowEnd) -> set[str]:
        """The groups of the interface that holds the end's address, of several interfaces of one instance."""
        if end.endpoint is None or end.address is None:
            return set()
        return self._groups_of_address.get((end.endpoint.network, *end.address), set())

    def _interfaces_at(self, end: FlowEnd) -> set[str]:
        """The interfaces that hold the end's addresses. Those of an ended endpoint may be somebody else's by now."""
        if end.endpoint is None or (end.endpoint.until is not None and end.endpoint.workload.kind in _CLOUD_KINDS):
            return set()
        network, found = end.endpoint.network, set()
        for address in end.addresses:
            found |= set(self._interfaces.get((network, *address), ()))
            parsed = address_object(*address)
            for length in self._lengths:
                if length <= parsed.max_prefixlen:
                    block = ipaddress.ip_network((parsed, length), strict=False)
                    found |= self._prefixes.get((network, str(block)), set())
        return found

    def is_resolver(self, address: tuple[int, int], networks: set[str]) -> bool:
        """Whether it is the second address of a VPC, where Amazon's DNS resolver answers."""
        return any((network, *address) in self._resolvers for network in networks)


def evaluate_groups(membership: GroupMembership, flow: Flow) -> Verdict:
    """Whether the groups let `flow` pass."""
    # 1. Some services of the platform are never filtered.
    # 2. What an instance sends to itself never passes an interface.
    if line := _always_allowed(membership, flow):
        return Verdict(True, (line,), always=True)
    return _decide(membership, flow)


def _decide(membership: GroupMembership, flow: Flow) -> Verdict:
    # 3. An end that carries groups is limited to the union of their rules, of its own direction.
    # 4. The connection passes when egress at its source and ingress at its destination both allow it.
    egress = _judge("egress", membership, flow)
    ingress = _judge("ingress", membership, flow)
    return Verdict(
        egress.allowed and ingress.allowed, (*egress.lines, *ingress.lines), rules=egress.rules + ingress.rules
    )


def replay_groups(
    policies: PolicySet, inventory: Inventory, flows: Sequence[ReplayFlow], vpc_cidrs: Sequence[tuple[str, str]] = ()
) -> ReplayReport:
    """Replays every flow. The order of `flows` and of the policies' files leaves no trace in the report."""
    membership = GroupMembership(policies, inventory, vpc_cidrs)
    hits = {
        RuleRef(_name(policy), direction, index): [0, 0]
        for policy in policies.policies
        for direction in _DIRECTIONS
        for index in range(len(group_rules(policy, direction)))
    }
    classes = _EndClasses(policies, membership)
    verdicts: dict[tuple[object, ...], Verdict] = {}
    refused: list[Denial] = []
    records = always = unrestricted = 0
    for flow in flows:
        asked = Flow(flow.source, flow.destination, flow.protocol, flow.port)
        line = _always_allowed(membership, asked)
        ends = () if line else (classes.of(flow.source), classes.of(flow.destination))
        key = (line, ends, flow.protocol, flow.port)
        verdict = verdicts.get(key)
        if verdict is None:
            verdict = Verdict(True, (line,), always=True) if line else _decide(membership, asked)
            verdicts[key] = verdict
        records += flow.records
        if not verdict.allowed:
            refused.append(Denial(flow, verdict))
            continue
        always += verdict.always
        unrestricted += not verdict.always and not verdict.rules
        for rule in verdict.rules:
            hits[rule][0] += 1
            hits[rule][1] += flow.records
    return ReplayReport(
        flows=len(flows),
        records=records,
        denied=tuple(sorted(refused, key=_denial_order)),
        hits=tuple(RuleHits(rule, *hits[rule]) for rule in sorted(hits)),
        always_allowed=always,
        unrestricted=unrestricted,
    )


class _EndClasses:
    """Numbers ends so that those of one number are one to every rule: a million flows cost a few thousand decisions."""

    def __init__(self, policies: PolicySet, membership: GroupMembership) -> None:
        self._membership = membership
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: dict[tuple[int, tuple[int, int] | None], tuple[Endpoint | None, int]] = {}
        cuts: dict[int, set[int]] = {4: set(), 6: set()}
        for policy in policies.policies:
            for rule in (*(policy.ingress or ()), *(policy.egress or ())):
                for peer in rule.peers or ():
                    for cidr in (peer.cidr, *peer.excepts) if isinstance(peer, CidrPeer) else ():
                        version, first, last = cidr_range(cidr)
                        cuts[version] |= {first, last + 1}
        self._cuts = {version: sorted(found) for version, found in cuts.items()}

    def of(self, end: FlowEnd) -> int:
        """The number of this end's class."""
        place = (id(end.endpoint), end.address)
        known = self._known.get(place)
        if known is None:
            number = self._numbers.setdefault(self._features(end), len(self._numbers))
            known = self._known[place] = (end.endpoint, number)
        return known[1]

    def _features(self, end: FlowEnd) -> tuple[object, ...]:
        """Everything about an end that a rule can look at; of addresses, between which borders of CIDRs they lie."""
        cells = set()
        for address in end.addresses:
            parsed = address_object(*address)
            cells.add((parsed.version, bisect_right(self._cuts[parsed.version], int(parsed))))
        groups = tuple(_name(group) for group in self._membership.groups_of(end))
        public = end.address is not None and _is_public_ipv4(end.address)
        place = None if end.endpoint is None else (end.endpoint.network, end.endpoint.security_groups)
        return groups, place, public, frozenset(cells)


_DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")


def _judge(direction: Direction, membership: GroupMembership, flow: Flow) -> DirectionVerdict:
    end, peer = (flow.source, flow.destination) if direction == "egress" else (flow.destination, flow.source)
    role = "source" if direction == "egress" else "destination"
    groups = membership.groups_of(end)
    if not groups:
        return DirectionVerdict(True, (f"{direction}: the {role} carries none of these groups",))
    there = frozenset((p.namespace, p.name) for p in membership.groups_of(peer))
    matching = tuple(
        RuleRef(_name(group), direction, index)
        for group in groups
        for index, rule in enumerate(group_rules(group, direction))
        if (rule.ports is None or any(_port_matches(one, flow.protocol, flow.port) for one in rule.ports))
        and (rule.peers is None or any(peer_covers_end(one, group, peer, there) for one in rule.peers))
    )
    names = ", ".join(map(_name, groups))
    outcome = f"allowed by {matching[0]}" if matching else "no rule matches"
    return DirectionVerdict(bool(matching), (f"{direction}: the {role} carries {names}; {outcome}",), matching)


def peer_covers_end(peer: Peer, group: Policy, end: FlowEnd, groups_there: frozenset[tuple[str, str]]) -> bool:
    """Whether one peer of a rule of `group` covers `end`, whose own groups are `groups_there` as (VPC, name)."""
    if isinstance(peer, CidrPeer):
        return bool(end.addresses) and all(
            _in_cidr(peer.cidr, address) and not any(_in_cidr(part, address) for part in peer.excepts)
            for address in end.addresses
        )
    if not isinstance(peer, GroupPeer) or end.endpoint is None or end.endpoint.network != group.namespace:
        return False
    if end.address is not None and _is_public_ipv4(end.address):
        return False
    return (group.namespace, peer.name) in groups_there or peer.name in end.endpoint.security_groups


def _port_matches(allowed: PortRange, protocol: int, port: int) -> bool:
    """Ports are compared for TCP and UDP only; of other protocols a rule lets everything through. ICMP of one type
    covers no flow here, because flows do not say their type."""
    if allowed.protocol == "-1":
        return True
    number = _PROTOCOL_NUMBERS.get(allowed.protocol)
    if protocol != (int(allowed.protocol) if number is None else number):
        return False
    if allowed.port is None or isinstance(allowed.port, str):
        return allowed.port is None
    if protocol in _ICMP:
        return False
    if protocol not in (6, 17):
        return True
    return allowed.port <= port <= (allowed.port if allowed.end is None else allowed.end)


def _always_allowed(membership: GroupMembership, flow: Flow) -> str | None:
    """Why no group can stop this flow; None when one can."""
    source, destination, address = flow.source.endpoint, flow.destination.endpoint, flow.destination.address
    if address in _NEVER_FILTERED:
        return "a service of the platform, which groups never filter"
    if source is not None and destination is None and address is not None:
        if flow.port == 53 and membership.is_resolver(address, {source.network}):
            return "the VPC's DNS resolver, which groups never filter"
        if flow.protocol == 17 and flow.port in (67, 547) and _is_nearby(address):
            return "DHCP is never filtered by groups"
    if source is not None and source == destination and not (address is not None and _is_public_ipv4(address)):
        return "an instance reaches itself without passing an interface"
    return None


def _is_nearby(address: tuple[int, int]) -> bool:
    parsed = address_object(*address)
    return parsed.is_link_local or parsed.is_multicast or str(parsed) == "255.255.255.255"


def _resolvers(vpc_cidrs: Sequence[tuple[str, str]]) -> frozenset[tuple[str, int, int]]:
    blocks = ((network, ipaddress.ip_network(cidr, strict=False)) for network, cidr in vpc_cidrs)
    return frozenset(
        (network, *address_halves(str(block.network_address + 2))) for network, block in blocks if block.version == 4
    )


def group_rules(policy: Policy, direction: Direction) -> tuple[Rule, ...]:
    return (policy.egress if direction == "egress" else policy.ingress) or ()


def _name(policy: Policy) -> str:
    return f"{policy.namespace}/{policy.name}"


@lru_cache(maxsize=65536)
def _is_public_ipv4(address: tuple[int, int]) -> bool:
    parsed = address_object(*address)
    return parsed.version == 4 and parsed.is_global


def _in_cidr(cidr: str, address: tuple[int, int]) -> bool:
    version, first, last = cidr_range(cidr)
    parsed = address_object(*address)
    return parsed.version == version and first <= int(parsed) <= last


def _denial_order(denial: Denial) -> tuple[object, ...]:
    flow = denial.flow
    ends = (flow.source, flow.destination)
    names = tuple((e.endpoint.network, e.endpoint.name) if e.endpoint is not None else ("", "") for e in ends)
    return (
        flow.source_label,
        flow.destination_label,
        flow.protocol,
        flow.port,
        names,
        ends[0].addresses,
        ends[1].addresses,
    )
