"""Which workloads can carry a security group, with which interfaces, under which name.

A group belongs to one VPC. Pods have no security group: what they send passes the interface of their node's instance,
so their traffic is that instance's workload's to allow.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from re import sub

from analyzers.flows import address_halves, address_text
from analyzers.inventory import Endpoint, Identity, Interface, Inventory

CLOUD_KINDS = frozenset({"Instance", "Interface"})
"""Kinds of workload whose endpoints are network interfaces of a VPC."""

_Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network

NAME_LIMIT = 255  # EC2 API, CreateSecurityGroup.GroupName


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """One group to be: a workload in a VPC. `members` are endpoint names and interface ids, sorted."""

    network: str
    workload: Identity
    name: str = field(compare=False)
    members: tuple[str, ...] = field(compare=False, default=())
    interfaces: tuple[str, ...] = field(compare=False, default=())

    def __str__(self) -> str:
        return f"{self.workload} in {self.network}"


@dataclass(frozen=True)
class Roster:
    """All subjects of an inventory; `without_group` says per workload why it can carry none."""

    inventory: Inventory
    subjects: tuple[Subject, ...]
    without_group: tuple[tuple[Identity, str], ...]

    @cached_property
    def of_workload(self) -> dict[Identity, tuple[Subject, ...]]:
        """A workload's subjects: one a VPC, hence nearly always one."""
        found: dict[Identity, list[Subject]] = defaultdict(list)
        for subject in self.subjects:
            found[subject.workload].append(subject)
        return {workload: tuple(subjects) for workload, subjects in found.items()}

    @cached_property
    def endpoints_of(self) -> dict[Identity, tuple[Endpoint, ...]]:
        """A workload's endpoints, living and past, of every kind."""
        found: dict[Identity, list[Endpoint]] = defaultdict(list)
        for endpoint in self.inventory.endpoints:
            found[endpoint.workload].append(endpoint)
        return {workload: tuple(endpoints) for workload, endpoints in found.items()}

    def addresses(self, workload: Identity, *, past: bool, network: str | None = None) -> set[str]:
        """The addresses of a workload's living endpoints, as text; with `past`, of those that ended too."""
        held = self._addresses.get(workload, ())
        return {text for where, text, living in held if (living or past) and network in (None, where)}

    @cached_property
    def _addresses(self) -> dict[Identity, tuple[tuple[str, str, bool], ...]]:
        return {
            workload: tuple((e.network, address_text(*a), e.until is None) for e in endpoints for a in e.addresses)
            for workload, endpoints in self.endpoints_of.items()
        }

    def carrying(self, network: str, address: str) -> Subject | None:
        """The subject whose interface holds `address` in the VPC; None when none does, or more than one."""
        holders = set(self._by_address.get((network, *address_halves(address)), ()))
        parsed = ipaddress.ip_address(address)
        for length in () if holders else self._prefix_lengths:
            if length <= parsed.max_prefixlen:
                holders |= self._prefixes.get((network, ipaddress.ip_network((parsed, length), strict=False)), set())
        return next(iter(holders)) if len(holders) == 1 else None

    @cached_property
    def _by_member(self) -> dict[tuple[str, str], Subject]:
        return {(subject.network, member): subject for subject in self.subjects for member in subject.members}

    @cached_property
    def _by_address(self) -> dict[tuple[str, int, int], set[Subject]]:
        found: dict[tuple[str, int, int], set[Subject]] = defaultdict(set)
        for interface in self.inventory.interfaces:
            if (subject := self._by_member.get((interface.network, interface.id))) is not None:
                for address in interface.addresses:
                    found[(interface.network, *address)].add(subject)
        for endpoint in self.inventory.endpoints:
            subject = self._by_member.get((endpoint.network, endpoint.name))
            if subject is not None and endpoint.workload.kind in CLOUD_KINDS and endpoint.until is None:
                for address in endpoint.addresses:
                    found[(endpoint.network, *address)].add(subject)
        return found

    @cached_property
    def _prefixes(self) -> dict[tuple[str, _Prefix], set[Subject]]:
        found: dict[tuple[str, _Prefix], set[Subject]] = defaultdict(set)
        for interface in self.inventory.interfaces:
            if (subject := self._by_member.get((interface.network, interface.id))) is not None:
                for prefix in interface.prefixes:
                    found[interface.network, ipaddress.ip_network(prefix, strict=False)].add(subject)
        return found

    @cached_property
    def _prefix_lengths(self) -> tuple[int, ...]:
        return tuple(sorted({prefix.prefixlen for _, prefix in self._prefixes}))


def enrol(inventory: Inventory) -> Roster:
    """Every cloud workload of the inventory, per VPC, with its members and a name of its own."""
    places: dict[tuple[str, Identity], list[Endpoint]] = defaultdict(list)
    for endpoint in inventory.endpoints:
        if endpoint.workload.kind in CLOUD_KINDS:
            places[endpoint.network, endpoint.workload].append(endpoint)
    links = _InterfacesOfEndpoints(inventory.interfaces)
    without: list[tuple[Identity, str]] = []
    bare: list[Subject] = []
    for (network, workload), endpoints in sorted(places.items()):
        interfaces = sorted({i for e in endpoints for i in links.of(e)}, key=lambda i: i.id)
        if not network:
            without.append((workload, "no VPC is known for it"))
        elif interfaces and all(_takes_no_group(i) for i in interfaces):
            without.append((workload, f"interfaces of type {interfaces[0].kind} carry no security groups"))
        else:
            living = [e for e in endpoints if e.until is None] or endpoints
            ids = tuple(sorted({i.id for e in living for i in links.of(e)}))
            members = tuple(sorted({e.name for e in living} | set(ids)))
            bare.append(Subject(network, workload, "", members, ids))
    return Roster(inventory, tuple(sorted(_named(bare))), tuple(without))


def _takes_no_group(interface: Interface) -> bool:
    """Every interface that can carry groups carries at least one, its VPC's default. One that a service manages and
    that shows none (NAT gateways, transit gateways, load balancers made without) never will."""
    return not interface.security_groups and (interface.requester_managed or interface.kind != "interface")


class _InterfacesOfEndpoints:
    """Finds an endpoint's interfaces: by its own name, by its instance, by an address they share in its VPC."""

    def __init__(self, interfaces: Iterable[Interface]) -> None:
        self._by_name: dict[tuple[str, str], set[Interface]] = defaultdict(set)
        self._by_address: dict[tuple[str, int, int], set[Interface]] = defaultdict(set)
        for interface in interfaces:
            for name in {interface.id, interface.instance} - {""}:
                self._by_name[interface.network, name].add(interface)
            for address in interface.addresses:
                self._by_address[(interface.network, *address)].add(interface)

    def of(self, endpoint: Endpoint) -> set[Interface]:
        named = self._by_name.get((endpoint.network, endpoint.name))
        if named or endpoint.until is not None:
            return named or set()
        return {i for a in endpoint.addresses for i in self._by_address.get((endpoint.network, *a), ())}


def _named(subjects: list[Subject]) -> list[Subject]:
    """Each subject with a name that is unique in its VPC, whatever the case, and follows its workload.

    Two workloads of one name are told apart by the values of the tags in which they differ; where these do not tell
    either, by a digest of the identity. The name never depends on the order of the input.
    """
    rivals: dict[tuple[str, str], list[Subject]] = defaultdict(list)
    for subject in subjects:
        rivals[subject.network, _base_name(subject.workload).lower()].append(subject)
    wanted: dict[Subject, str] = {}
    for group in rivals.values():
        for subject in group:
            base = _base_name(subject.workload)
            wanted[subject] = base if len(group) == 1 else _distinct_name(base, subject, group)
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for subject, name in wanted.items():
        taken[subject.network, name.lower()] += 1
    return [
        Subject(
            subject.network,
            subject.workload,
            name if taken[subject.network, name.lower()] == 1 else _with_digest(name, subject.workload),
            subject.members,
            subject.interfaces,
        )
        for subject, name in wanted.items()
    ]


def _base_name(workload: Identity) -> str:
    readable = _sanitised(f"{workload.namespace}-{workload.name}" if workload.namespace else workload.name)
    name = f"flowctl-{readable}" if readable else _with_digest("flowctl", workload)
    return name if len(name) <= NAME_LIMIT else _with_digest(name, workload)


def _distinct_name(base: str, subject: Subject, rivals: list[Subject]) -> str:
    labels = dict(subject.workload.labels)
    everyone = [dict(rival.workload.labels) for rival in rivals]
    differing = sorted({k for one in everyone for k in one if len({other.get(k) for other in everyone}) > 1})
    values = [_sanitised(labels[k]) for k in differing if k in labels]
    name = "-".join([base, *filter(None, values)])
    return name if len(name) <= NAME_LIMIT else _with_digest(name, subject.workload)


def _with_digest(name: str, workload: Identity) -> str:
    return f"{name[: NAME_LIMIT - 9]}-{sha256(repr(workload).encode('utf-8', 'replace')).hexdigest()[:8]}"


def _sanitised(text: str) -> str:
    """`text` in a part of the charset of group names that needs no quoting anywhere."""
    return sub(r"-{2,}", "-", sub(r"[^A-Za-z0-9._/:@+=-]+", "-", text)).strip("-")
