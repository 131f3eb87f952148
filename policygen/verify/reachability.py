"""All that a set of policies lets through, exactly.

Pods that no policy tells apart are one unit, addresses are cut at the borders of CIDRs, ports at the borders of ranges;
what remains are cells that have one answer each. `policygen.verify.evaluate` is the oracle that says what it has to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analyzers.inventory import Inventory
from policygen.model import CidrPeer, PolicySet
from policygen.verify.connections import ConnectionSet
from policygen.verify.evaluate import Flow, Verdict
from policygen.verify.judge import Judge
from policygen.verify.matching import FlowEnd
from policygen.verify.parties import Party, Workload, external_party, workloads
from policygen.verify.profiles import SPEC, CniProfile
from policygen.verify.spaces import MAPPED_LAST, every_rule


class Pair(NamedTuple):
    """What passes from `source` to `destination`."""

    source: Party
    destination: Party
    connections: ConnectionSet


class Reachability:
    """One set of policies over one inventory, compiled. Make one with `compile`; nothing in it changes afterwards.

    `judge.matrix[source, destination]` numbers the set of ports for each pair of units; two ends outside, which no
    policy can part, have every port.
    """

    def __init__(self, policies: PolicySet, inventory: Inventory, profile: CniProfile) -> None:
        self.policies, self.inventory, self.profile = policies, inventory, profile
        self.workloads: dict[str, Workload] = workloads(inventory)
        ends = {name: one.ends() for name, one in self.workloads.items()}
        self.judge = Judge.of_inventory(policies, inventory, [e for own in ends.values() for e in own], profile)
        units = iter(self.judge.unit_of_end)
        self._pod_units = {name: tuple(next(units) for _ in own) for name, own in ends.items()}
        self.workload_units: dict[str, tuple[int, ...]] = {
            name: tuple(dict.fromkeys(own)) for name, own in self._pod_units.items()
        }
        self.addresses = self.judge.addresses
        self.matrix: NDArray[np.int32] = self.judge.matrix
        self._values: dict[int, ConnectionSet] = {}

    @classmethod
    def compile(cls, policies: PolicySet, inventory: Inventory, profile: CniProfile = SPEC) -> Reachability:
        """Fold the pods of `inventory` (and workloads that have none yet) into units and decide every cell."""
        return cls(policies, inventory, profile)

    def verdict(self, source: FlowEnd, destination: FlowEnd, protocol: int, port: int) -> Verdict:
        """The oracle's verdict on one flow, with its reasons."""
        return self.judge.verdict(Flow(source, destination, protocol, port))

    # -- answers -------------------------------------------------------------------------------------------------------

    def pairs(self, ipv6: bool | None = None) -> Iterator[Pair]:
        """Every ordered pair of distinct parties that is allowed anything. Ranges of addresses are as long as can be
        for each workload. `ipv6` None: IPv6 ranges only where policies or addresses in the inventory speak of IPv6.
        """
        families = self.families(ipv6)
        names = list(self.workloads)
        parties = [self.workloads[name].party for name in names]
        several = [len(self.workload_units[name]) > 1 for name in names]
        units = np.array([self.workload_units[name][0] for name in names], np.int64)
        for index, name in enumerate(names):
            yield from self._outside(name, families, outgoing=False)
            own = self.workload_units[name]
            row = self.matrix[own[0]][units] if len(names) else units
            for other in range(len(names)) if len(own) > 1 or any(several) else np.flatnonzero(row).tolist():
                if other == index:
                    continue
                if len(own) == 1 and not several[other]:
                    number = int(row[other])
                    connections = self._value(number) if number else ConnectionSet()
                else:
                    connections = self._between(own, self.workload_units[names[other]])
                if connections:
                    yield Pair(parties[index], parties[other], connections)
            yield from self._outside(name, families, outgoing=True)

    def connections(self, source: Party | str, destination: Party | str) -> ConnectionSet:
        """What passes between two workloads: the union over their pods. Raises KeyError for a name that is none."""
        return self._between(self.workload_units[str(source)], self.workload_units[str(destination)])

    def pairs_of(self, names: Collection[str], ipv6: bool | None = None) -> Iterator[Pair]:
        """Like `pairs`, but only those with one of the named workloads at an end."""
        families = self.families(ipv6)
        for name in names:
            own = self.workload_units[name]
            for other, units in self.workload_units.items():
                if other == name:
                    continue
                ways = [(name, other, own, units)]
                if other not in names:
                    ways.append((other, name, units, own))
                for source, destination, sources, destinations in ways:
                    if connections := self._between(sources, destinations):
                        yield Pair(self.workloads[source].party, self.workloads[destination].party, connections)
            yield from self._outside(name, families, outgoing=False)
            yield from self._outside(name, families, outgoing=True)

    def judge_units(self, name: str) -> tuple[int, ...]:
        """The unit of each pod of a workload, in the order of its pods."""
        return self._pod_units[name]

    def outside_unit(self, place: int) -> int:
        """The unit of an address outside, by its place on the line."""
        return self.judge.units.cells[self.addresses.cell(place)]

    def cell(self, source: int, destination: int) -> ConnectionSet:
        """What passes between two units."""
        return self._value(int(self.matrix[source, destination]))

    def uneven(self) -> list[str]:
        """Workloads whose pods policies tell apart: their lines are unions over the pods."""
        return [name for name, own in self.workload_units.items() if len(own) > 1]

    def families(self, ipv6: bool | None = None) -> tuple[list[int], ...]:
        """The cells of addresses that answers are about, IPv4 and then, where it is spoken of, IPv6."""
        ipv4 = list(self.addresses.ipv4_cells())
        if ipv6 if ipv6 is not None else self.speaks_ipv6:
            return ipv4, self.addresses.ipv6_cells()
        return (ipv4,)

    @cached_property
    def speaks_ipv6(self) -> bool:
        """Whether a rule or an address in the inventory is IPv6."""
        blocks = (p.cidr for rule in every_rule(self.policies) for p in rule.peers or () if isinstance(p, CidrPeer))
        if any(":" in cidr for cidr in blocks):
            return True
        addresses = (address for endpoint in self.inventory.endpoints for address in endpoint.addresses)
        return any(hi << 64 | lo > MAPPED_LAST for hi, lo in addresses)

    def ranges(self, cells: list[int]) -> Iterator[Party]:
        """Neighbouring cells as ranges."""
        first = last = None
        for cell in cells:
            low, high = self.addresses.bounds(cell)
            if last is not None and low == last + 1:
                last = high
                continue
            if first is not None and last is not None:
                yield external_party(first, last)
            first, last = low, high
        if first is not None and last is not None:
            yield external_party(first, last)

    def _outside(self, name: str, families: tuple[list[int], ...], *, outgoing: bool) -> Iterator[Pair]:
        party, own = self.workloads[name].party, self.workload_units[name]
        for cells in families:
            units = [self.judge.units.cells[cell] for cell in cells]
            if len(own) == 1:
                numbers = self.matrix[own[0], units] if outgoing else self.matrix[units, own[0]]
                answers = [self._value(number) for number in numbers.tolist()]
            else:
                answers = [self._between(own, (u,)) if outgoing else self._between((u,), own) for u in units]
            for connections, run in groupby(range(len(cells)), key=answers.__getitem__):
                members = [cells[index] for index in run]
                if connections:
                    first, last = self.addresses.bounds(members[0])[0], self.addresses.bounds(members[-1])[1]
                    outside = external_party(first, last)
                    yield Pair(*((party, outside) if outgoing else (outside, party)), connections)

    def _between(self, sources: tuple[int, ...], destinations: tuple[int, ...]) -> ConnectionSet:
        if len(sources) == 1 and len(destinations) == 1:
            return self._value(int(self.matrix[sources[0], destinations[0]]))
        numbers = {int(self.matrix[s, d]) for s in sources for d in destinations}
        return self._value(numbers.pop()) if len(numbers) == 1 else self.judge.compiled.connections(numbers)

    def _value(self, number: int) -> ConnectionSet:
        found = self._values.get(number)
        if found is None:
            found = self._values[number] = self.judge.compiled.connections((number,))
        return found
