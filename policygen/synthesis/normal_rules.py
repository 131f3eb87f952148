"""From single permissions to the fewest rules: nothing twice, nothing that another rule allows already."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from policygen.model import EVERYTHING, CidrPeer, Peer, PodPeer, PortRange, Rule, Selector

_RANGE = 3
"""Fewer consecutive ports than this stay single entries."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One peer on one port, with its reason."""

    peer: Peer
    protocol: str
    port: int
    evidence: str


Port = tuple[str, int]


def normal_rules(permissions: Iterable[Permission], *, merge_ports: bool = False) -> tuple[Rule, ...]:
    """Rules that allow exactly the permissions, one for each distinct set of ports, sorted.

    `merge_ports` writes three or more consecutive ports as a range; the meaning stays the same.
    """
    allowed: dict[Peer, dict[Port, set[str]]] = defaultdict(lambda: defaultdict(set))
    for one in permissions:
        allowed[one.peer][one.protocol, one.port].add(one.evidence)
    _absorb(allowed)
    groups: dict[tuple[Port, ...], list[Peer]] = defaultdict(list)
    for peer, ports in allowed.items():
        if ports:
            groups[tuple(sorted(ports))].append(peer)
    rules = []
    for port_set in sorted(groups):
        peers = tuple(sorted(groups[port_set], key=peer_order))
        evidence = {line for peer in peers for lines in allowed[peer].values() for line in lines}
        rules.append(Rule(peers, _ranges(port_set, merge_ports), tuple(sorted(evidence))))
    return tuple(rules)


def _absorb(allowed: dict[Peer, dict[Port, set[str]]]) -> None:
    """Takes from each peer the ports that a wider peer has; their evidence goes to the wider one."""
    wide = [p for p in sorted(allowed, key=peer_order) if not isinstance(p, CidrPeer) or not _single(p.cidr)]
    for peer in sorted(allowed, key=peer_order):
        for other in wide:
            if other == peer or not contains(other, peer):
                continue
            for port in set(allowed[peer]) & set(allowed[other]):
                allowed[other][port] |= allowed[peer].pop(port)


def contains(wide: Peer, narrow: Peer) -> bool:
    """Whether everything that `narrow` matches is surely matched by `wide`, in policies of one namespace."""
    if isinstance(wide, CidrPeer) and isinstance(narrow, CidrPeer):
        outer, inner = _network(wide.cidr), _network(narrow.cidr)
        if outer.version != inner.version or not inner.subnet_of(outer):  # type: ignore[arg-type]  # same version
            return False
        return not any(_network(cut).overlaps(inner) for cut in wide.excepts)
    if isinstance(wide, PodPeer) and isinstance(narrow, PodPeer):
        namespaces = wide.namespaces == EVERYTHING or wide.namespaces == narrow.namespaces
        return namespaces and _selects_all_of(wide.pods or EVERYTHING, narrow.pods or EVERYTHING)
    return False


def _selects_all_of(wide: Selector, narrow: Selector) -> bool:
    return set(wide.labels) <= set(narrow.labels) and set(wide.expressions) <= set(narrow.expressions)


def _ranges(ports: Sequence[Port], merge: bool) -> tuple[PortRange, ...]:
    """The sorted ports, runs of them as ranges where asked for."""
    runs: list[list[Port]] = []
    for port in ports:
        if merge and runs and runs[-1][-1] == (port[0], port[1] - 1):
            runs[-1].append(port)
        else:
            runs.append([port])
    entries: list[PortRange] = []
    for run in runs:
        if len(run) >= _RANGE:
            entries.append(PortRange(run[0][0], run[0][1], run[-1][1]))
        else:
            entries.extend(PortRange(protocol, number) for protocol, number in run)
    return tuple(entries)


def peer_order(peer: Peer) -> tuple[int, int, int, int, str]:
    """Pods of the own namespace, pods of others, then blocks by address: IPv4 before IPv6."""
    if isinstance(peer, CidrPeer):
        network = _network(peer.cidr)
        return 2, network.version, int(network.network_address), network.prefixlen, repr(peer)
    return (0 if isinstance(peer, PodPeer) and peer.namespaces is None else 1), 0, 0, 0, repr(peer)


def _single(cidr: str) -> bool:
    network = _network(cidr)
    return network.prefixlen == network.max_prefixlen


@lru_cache(maxsize=65536)
def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(cidr)
