"""How much of what policies let through was ever used.

A cell is an ordered pair of parties (two workloads, or a workload and a range of outside addresses as long as they are
treated alike) with one piece of the ports, cut where policies cut them. Policies that allow everything have few cells,
all of them wide; what counts is the share.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from policygen.verify.connections import ConnectionSet, PortSpan
from policygen.verify.matching import PROTOCOLS
from policygen.verify.parties import external_bounds, party_names
from policygen.verify.reachability import Pair, Reachability
from policygen.verify.replay import ReplayFlow
from policygen.verify.spaces import PortSpace, on_line

SAMPLES = 10
"""Pairs with the most unused cells that are kept."""


@dataclass(frozen=True, slots=True)
class Loose:
    """A pair that may do more than it was ever seen to do."""

    source: str
    destination: str
    connections: ConnectionSet  # what is allowed
    unused: int  # cells

    def __str__(self) -> str:
        return f"{self.source} => {self.destination} : {self.connections}"


@dataclass(frozen=True, slots=True)
class Tightness:
    """`used` of `allowed` cells were used; `loosest` are the pairs with the most unused cells."""

    allowed: int = 0
    used: int = 0
    pairs: int = 0
    used_pairs: int = 0
    loosest: tuple[Loose, ...] = ()

    @property
    def share(self) -> float | None:
        """Used cells of the allowed ones, 0 to 1; None where nothing is allowed."""
        return self.used / self.allowed if self.allowed else None


def tightness(reachability: Reachability, flows: Iterable[ReplayFlow]) -> Tightness:
    """Counts over every pair that is allowed anything. Flows inside one workload, of protocols without policies and
    between two outside addresses belong to no pair."""
    usage = _Usage(reachability)
    for flow in flows:
        usage.add(flow)
    sizes: dict[ConnectionSet, int] = {}
    allowed = used = pairs = used_pairs = 0
    loose: list[tuple[int, str, str, ConnectionSet]] = []
    for pair in reachability.pairs():
        size = sizes.get(pair.connections)
        if size is None:
            size = sizes[pair.connections] = sum(_overlaps(cell, pair.connections) for cell in usage.cells)
        hit = len({cell for cell in usage.of(pair) if _overlaps(usage.cells[cell], pair.connections)})
        allowed, used, pairs, used_pairs = allowed + size, used + hit, pairs + 1, used_pairs + bool(hit)
        if size > hit:
            loose.append((hit - size, str(pair.source), str(pair.destination), pair.connections))
            if len(loose) > 50 * SAMPLES:
                loose = sorted(loose, key=lambda one: one[:3])[:SAMPLES]
    worst = sorted(loose, key=lambda one: one[:3])[:SAMPLES]
    return Tightness(allowed, used, pairs, used_pairs, tuple(Loose(s, d, c, -n) for n, s, d, c in worst))


def _overlaps(cell: PortSpan, connections: ConnectionSet) -> bool:
    return cell.last > 0 and (cell.protocol, cell.last) in connections


class _Usage:
    """Which cells of ports flows used, by pair of workloads, and by workload and outside address."""

    def __init__(self, reachability: Reachability) -> None:
        self._names = party_names(reachability.inventory)
        self._space: PortSpace = reachability.judge.ports
        self.cells = self._space.cells
        self._inside: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._outside: dict[tuple[str, bool], set[tuple[int, int]]] = defaultdict(set)  # -> (place, cell)
        self._sorted: dict[tuple[str, bool], list[tuple[int, int]]] = {}

    def add(self, flow: ReplayFlow) -> None:
        """Count one flow."""
        protocol = PROTOCOLS.get(flow.protocol)
        if protocol is None or not flow.port:
            return
        cell = self._space.cell(protocol, flow.port)
        source, destination = (
            self._names.get(id(end.endpoint)) if end.endpoint is not None else None
            for end in (flow.source, flow.destination)
        )
        if source is not None and destination is not None:
            self._inside[source, destination].add(cell)
        elif source is not None or destination is not None:
            outside = flow.destination if source is not None else flow.source
            for address in outside.addresses:
                self._outside[source or destination or "", source is not None].add((on_line(address), cell))

    def of(self, pair: Pair) -> Iterable[int]:
        """The cells that were used between the two parties."""
        source, destination = pair.source, pair.destination
        if not source.external and not destination.external:
            return self._inside.get((str(source), str(destination)), ())
        outgoing = destination.external
        key = (str(source if outgoing else destination), outgoing)
        places = self._sorted.get(key)
        if places is None:
            places = self._sorted[key] = sorted(self._outside.get(key, ()))
        if not places:
            return ()
        first, last = external_bounds(destination if outgoing else source)
        return [cell for _, cell in places[bisect_left(places, (first, -1)) : bisect_left(places, (last + 1, -1))]]
