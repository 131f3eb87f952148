"""Addresses to endpoints: an interval join of columns with the inventory, by network, address and time.

Nothing is guessed: what two workloads may have held is AMBIGUOUS, what nobody held is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import address_object
from analyzers.inventory.intervals import BEGINNING, END, NOBODY, SEVERAL, Holding, Timeline, segments
from analyzers.inventory.model import Endpoint, Identity, Inventory, Service
from analyzers.inventory.places import ABSENT, Level, Place, PlaceTable, level_of_address, masks, place_of_prefix
from analyzers.inventory.services import PROTOCOL_NUMBERS, declared_ports

__all__ = [
    "AMBIGUOUS",
    "POD_RANGE",
    "SERVICE",
    "UNKNOWN",
    "Resolver",
    "cuts",
    "declared_ports",
    "interface_networks",
]

UNKNOWN = -1
"""Nobody in the inventory held the address at that time."""
AMBIGUOUS = -2
"""Several workloads may have held it."""
SERVICE = -3
"""It is a Service's cluster or external address; Resolver.service_of tells which."""
POD_RANGE = -4
"""It lies in a range that pods get their addresses from, but no pod is known to have held it."""

_Column = NDArray[np.int64]
_Halves = NDArray[np.uint64]
_MANY = -2


class Resolver:
    """An inventory prepared for resolve. Building it takes some 10 µs for each address."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        names = {e.network for e in inventory.endpoints} | {s.network for s in inventory.services}
        names |= {network for network, _ in inventory.pod_cidrs}
        self._networks = {name: index for index, name in enumerate(sorted(names - {""}), 1)}
        self._networks[""] = 0  # what is not scoped
        self._services = _service_addresses(inventory)
        self._host_pods = _host_network_pods(inventory)
        holdings = {
            Place(self._networks[network], level, hi, lo): held
            for (network, level, hi, lo), held in _holdings(inventory).items()
        }
        fallback = dict.fromkeys(
            (place_of_prefix(self._networks[network], cidr) for network, cidr in inventory.pod_cidrs), POD_RANGE
        )
        for network, hi, lo in self._services:
            fallback[Place(self._networks[network], level_of_address(hi, lo), hi, lo)] = SERVICE
        places = list(dict.fromkeys((*holdings, *fallback)))
        self._timeline = Timeline([segments(holdings.get(place, ())) for place in places])
        self._fallback = np.array([fallback.get(place, UNKNOWN) for place in places], np.int32)
        self._levels = _levels(places)

    def resolve(
        self,
        networks: tuple[str, ...],
        network: NDArray[np.int32],
        hi: NDArray[np.uint64],
        lo: NDArray[np.uint64],
        first: NDArray[np.int64],
        last: NDArray[np.int64],
    ) -> NDArray[np.int32]:
        """Index into inventory.endpoints, or UNKNOWN, AMBIGUOUS, SERVICE, POD_RANGE, for each of n rows.

        `network` indexes `networks`, the networks of the flow data; `first` and `last` are s UTC. A row counts as the
        half-open time [first, last), at least one second. Looked at in this order, ending with the first network
        that knows the address at any time: the row's own network; what the inventory holds without a network, if
        the address is public or met in one named network only (so give clients and servers in one call); exactly
        one other network of the inventory. Within a network the longest prefix wins. Endpoints that share one
        workload are no ambiguity: the last to begin is the answer.
        """
        result = np.full(len(hi), UNKNOWN, np.int32)
        if not self._levels or not len(hi):
            return result
        own_index = np.array([self._networks.get(name, ABSENT) for name in networks], np.int64)
        own = own_index[network]
        hi, lo = np.asarray(hi, np.uint64), np.asarray(lo, np.uint64)
        pending = np.flatnonzero(own > 0)
        known = self._search(result, pending, own[pending], hi, lo, first, last)
        unmet = np.ones(len(hi), bool)
        unmet[pending[known]] = False
        pending = np.flatnonzero(unmet)
        known = self._search(result, pending, np.zeros(len(pending), np.int64), hi, lo, first, last)
        unscoped = pending[known]
        unscoped = unscoped[result[unscoped] != UNKNOWN]
        if len(unscoped) and sum(name != "" for name in networks) > 1:
            named = np.array([name != "" for name in networks], bool)
            result[unscoped[_met_in_several(unscoped, named[network], network, hi, lo)]] = AMBIGUOUS

        pending = pending[~known]
        other = self._only_network(hi[pending], lo[pending])
        result[pending[other == _MANY]] = AMBIGUOUS
        pending, other = pending[other > 0], other[other > 0]
        self._search(result, pending, other, hi, lo, first, last)
        return result

    def service_of(
        self, hi: int, lo: int, network: str = "", protocol: int | None = None, port: int | None = None
    ) -> Service | None:
        """The Service whose cluster or external address this is, looked for as resolve does.

        Several Services may share an external address; then the one that has `port` of `protocol` (IANA number).
        None when no Service or more than one fits.
        """
        found = self._services.get((network, hi, lo)) or self._services.get(("", hi, lo)) or ()
        if not found:
            keys = [(name, hi, lo) for name in self._networks if (name, hi, lo) in self._services]
            found = self._services[keys[0]] if len(keys) == 1 else ()
        if len(found) > 1 and port is not None:
            found = tuple(
                service
                for service in found
                if any(p.port == port and PROTOCOL_NUMBERS.get(p.protocol) == protocol for p in service.ports)
            )
        return found[0] if len(found) == 1 else None

    def host_network_pods(self, node: int) -> tuple[int, ...]:
        """The endpoints that share the addresses of the node with index `node`, as indices, sorted."""
        endpoint = self.inventory.endpoints[node]
        return self._host_pods.get((endpoint.network, endpoint.name), ())

    def _search(
        self,
        result: NDArray[np.int32],
        rows: NDArray[np.intp],
        network: _Column,
        hi: _Halves,
        lo: _Halves,
        first: _Column,
        last: _Column,
    ) -> NDArray[np.bool_]:
        """Fill result[rows] from one network for each row; whether that network knows the address at any time."""
        known = np.zeros(len(rows), bool)
        open_rows = np.arange(len(rows))
        row_hi, row_lo = hi[rows], lo[rows]
        for level in self._levels:
            if not len(open_rows):
                break
            place = level.place(network[open_rows], row_hi[open_rows], row_lo[open_rows])
            hit = place != ABSENT
            hits, place = open_rows[hit], place[hit]
            known[hits] = True
            holder = self._timeline.find(place, first[rows[hits]], last[rows[hits]])
            code = np.where(holder == NOBODY, self._fallback[place], np.where(holder == SEVERAL, AMBIGUOUS, holder))
            result[rows[hits]] = code
            hit[hit] = code != UNKNOWN  # what an address's past holders leave open, a prefix around it may know
            open_rows = open_rows[~hit]
        return known

    def _only_network(self, hi: _Halves, lo: _Halves) -> _Column:
        """The one network that knows each address; ABSENT for none, _MANY for several."""
        only = np.full(len(hi), ABSENT, np.int64)
        for level in self._levels:
            found = level.network(hi, lo)
            clash = (found == _MANY) | ((found != ABSENT) & (only != ABSENT) & (found != only))
            only = np.where(clash | (only == _MANY), _MANY, np.where(only == ABSENT, found, only))
        return only


class _LevelTables:
    """The places of one prefix length: by network, and by network-less key which network it is."""

    def __init__(self, level: Level, places: list[tuple[int, Place]]) -> None:
        self._version = level[0]
        high, low = masks(level)
        self._high, self._low = np.uint64(high), np.uint64(low)
        self._places = PlaceTable({(p.network, p.hi, p.lo): number for number, p in places})
        networks: dict[tuple[int, int, int], int] = {}
        for _, p in places:
            if p.network:  # the unscoped ones are nobody's peers
                key = (0, p.hi, p.lo)
                networks[key] = p.network if networks.get(key, p.network) == p.network else 0
        self._networks = PlaceTable(networks) if networks else None

    def place(self, network: _Column, hi: _Halves, lo: _Halves) -> _Column:
        found = self._places.find(network, hi & self._high, lo & self._low)
        return np.where(self._fits(hi, lo), found, ABSENT)

    def network(self, hi: _Halves, lo: _Halves) -> _Column:
        if self._networks is None:
            return np.full(len(hi), ABSENT, np.int64)
        found = self._networks.find(np.zeros(len(hi), np.int64), hi & self._high, lo & self._low)
        return np.where(self._fits(hi, lo), np.where(found == 0, _MANY, found), ABSENT)

    def _fits(self, hi: _Halves, lo: _Halves) -> NDArray[np.bool_]:
        """Rows of this level's version: ::/0 holds no IPv4 address, though those are mapped into it."""
        ipv4: NDArray[np.bool_] = (hi == 0) & (lo >> np.uint64(32) == np.uint64(0xFFFF))
        return ipv4 if self._version == 4 else ~ipv4


def _levels(places: list[Place]) -> list[_LevelTables]:
    """Tables of all levels that occur, longest prefixes first."""
    by_level: dict[Level, list[tuple[int, Place]]] = {}
    for number, place in enumerate(places):
        by_level.setdefault(place.level, []).append((number, place))
    order = sorted(by_level, key=lambda level: (-(level[1] + (96 if level[0] == 4 else 0)), level))
    return [_LevelTables(level, by_level[level]) for level in order]


def _met_in_several(
    rows: NDArray[np.intp], named: NDArray[np.bool_], network: NDArray[np.int32], hi: _Halves, lo: _Halves
) -> NDArray[np.bool_]:
    """Which of `rows` have an address that is not public and that rows of several named networks have."""
    order = np.lexsort((lo, hi))
    sorted_hi, sorted_lo = hi[order], lo[order]
    starts = np.flatnonzero(np.r_[True, (sorted_hi[1:] != sorted_hi[:-1]) | (sorted_lo[1:] != sorted_lo[:-1])])
    group = np.empty(len(hi), np.int64)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(hi)]))
    high = np.maximum.reduceat(np.where(named, network, -1)[order], starts)
    low = np.minimum.reduceat(np.where(named, network, np.iinfo(np.int32).max)[order], starts)
    several = low < high
    for index in np.unique(group[rows]):
        if several[index] and address_object(int(sorted_hi[starts[index]]), int(sorted_lo[starts[index]])).is_global:
            several[index] = False  # a public address is the same for everybody
    wanted: NDArray[np.bool_] = several[group[rows]]
    return wanted


def _holdings(inventory: Inventory) -> dict[tuple[str, Level, int, int], list[Holding]]:
    """(network, level, hi, lo) -> who held it when. Pods on the host's network count only where no node is known."""
    groups: dict[tuple[Identity, bool], int] = {}
    held: dict[tuple[str, Level, int, int], list[Holding]] = {}
    for late in (False, True):
        nodes = set(held) if late else set()
        for index, endpoint in enumerate(inventory.endpoints):
            if endpoint.host_network is not late:
                continue
            group = groups.setdefault((endpoint.workload, endpoint.policy_subject), len(groups))
            holding = Holding(endpoint.since, endpoint.until, index, group)
            for key in _keys(endpoint):
                if key not in nodes:
                    held.setdefault(key, []).append(holding)
    return held


def _keys(endpoint: Endpoint) -> Iterator[tuple[str, Level, int, int]]:
    for hi, lo in dict.fromkeys(endpoint.addresses):
        yield endpoint.network, level_of_address(hi, lo), hi, lo
    for prefix in dict.fromkeys(endpoint.prefixes):
        place = place_of_prefix(0, prefix)
        yield endpoint.network, place.level, place.hi, place.lo


def _service_addresses(inventory: Inventory) -> dict[tuple[str, int, int], tuple[Service, ...]]:
    found: dict[tuple[str, int, int], tuple[Service, ...]] = {}
    for service in inventory.services:
        for hi, lo in dict.fromkeys(service.cluster_addresses + service.external_addresses):
            key = (service.network, hi, lo)
            found[key] = (*found.get(key, ()), service)
    return found


def _host_network_pods(inventory: Inventory) -> dict[tuple[str, str], tuple[int, ...]]:
    """(network, node name) -> the endpoints on the node's own network."""
    found: dict[tuple[str, str], list[int]] = {}
    for index, endpoint in enumerate(inventory.endpoints):
        if endpoint.host_network and endpoint.node:
            found.setdefault((endpoint.network, endpoint.node), []).append(index)
    return {key: tuple(indices) for key, indices in found.items()}


def cuts(inventory: Inventory) -> dict[tuple[str, int, int], tuple[int, ...]]:
    """(network, hi, lo) -> sorted times, s UTC, at which resolve's answer for that address changes.

    Only addresses whose answer does change; network "" is any. Rows that don't span one of these times have one owner.
    Prefixes are not cut: they hold too many addresses.
    """
    found = {}
    for (network, level, hi, lo), held in _holdings(inventory).items():
        if level in ((4, 32), (6, 128)):
            times = _changes(held)
            if times:
                found[network, hi, lo] = times
    return dict(sorted(found.items()))


def _changes(held: list[Holding]) -> tuple[int, ...]:
    if all(one.since is None and one.until is None for one in held):
        return ()
    times: set[int] = set()
    previous = None
    for one in segments(held):
        if previous is not None and previous.end == one.start and previous.group == one.group:
            times.discard(one.start)
            times.add(one.end)
        else:
            times.update((one.start, one.end))
        previous = one
    return tuple(sorted(time for time in times if BEGINNING < time < END - 1))


def interface_networks(inventory: Inventory) -> dict[str, str]:
    """Interface id -> VPC. An id that is given with two VPCs tells nothing and is left out."""
    found: dict[str, set[str]] = {}
    for interface in inventory.interfaces:
        if interface.network:
            found.setdefault(interface.id, set()).add(interface.network)
    return {identifier: next(iter(vpcs)) for identifier, vpcs in sorted(found.items()) if len(vpcs) == 1}
