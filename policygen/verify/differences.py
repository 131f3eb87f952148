"""What two sets of policies decide differently: both refined to common cells, each change with a packet for proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np
from numpy.typing import NDArray

from policygen.verify.connections import ConnectionSet
from policygen.verify.evaluate import Verdict
from policygen.verify.matching import PROTOCOLS, FlowEnd
from policygen.verify.parties import Party, address_text_of, external_party, sample_address
from policygen.verify.reachability import Reachability
from policygen.verify.spaces import LAST_ADDRESS, MAPPED_FIRST, MAPPED_LAST

SOURCE_PORT = 49152
"""The port that witnesses come from: the first dynamic one (RFC 6335)."""

_NUMBERS = {name: number for number, name in PROTOCOLS.items()}
_NOTHING = ConnectionSet()
_REPLICA = " (another replica)"  # no pod has such a name


@dataclass(frozen=True, slots=True)
class Witness:
    """One packet that opens a connection, allowed on one side and denied on the other, with the rules that decide it.

    `source` and `destination` name the pods, or nothing for what is outside; an address that is not known is "".
    """

    source: str
    source_address: str
    destination: str
    destination_address: str
    protocol: str
    port: int
    before: Verdict
    after: Verdict
    source_port: int = SOURCE_PORT

    def __str__(self) -> str:
        ends = [
            f"{address or 'no address yet'}:{port}" + (f" ({name})" if name else "")
            for name, address, port in (
                (self.source, self.source_address, self.source_port),
                (self.destination, self.destination_address, self.port),
            )
        ]
        return f"{self.protocol} {ends[0]} -> {ends[1]}"


@dataclass(frozen=True, slots=True)
class Change:
    """One ordered pair of parties whose connections differ. `within`: both are one workload, between its own pods.

    `appeared` and `vanished` are the workloads of the pair that only one side has; there is no witness then, because
    the packet has no end on the other side. `partly`: only some of the workload's pods are concerned.
    """

    source: Party
    destination: Party
    before: ConnectionSet
    after: ConnectionSet
    witnesses: tuple[Witness, ...] = ()
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    partly: bool = False

    @property
    def kind(self) -> str:
        """`added`, `removed` or `changed`."""
        if not self.before or not self.after:
            return "added" if self.after else "removed"
        return "changed"

    @property
    def within(self) -> bool:
        """Whether both ends are one workload."""
        return self.source == self.destination

    @property
    def workloads(self) -> str:
        """np-guard's words for ends that one side alone has: `workload a added`, `workload a and b removed`."""
        named = self.appeared or self.vanished
        return f"workload {' and '.join(named)} {'added' if self.appeared else 'removed'}" if named else ""

    @property
    def opened(self) -> ConnectionSet:
        """What passes now and did not."""
        return self.after - self.before

    @property
    def closed(self) -> ConnectionSet:
        """What passed and no longer does."""
        return self.before - self.after


def difference(old: Reachability, new: Reachability, ipv6: bool | None = None) -> list[Change]:
    """Every pair whose connections differ, sorted by name; the order of files, policies and rules leaves no trace.

    `ipv6` None: ranges of IPv6 only where one of both sides speaks of it.
    """
    refined = _Refinement(old, new, old.speaks_ipv6 or new.speaks_ipv6 if ipv6 is None else ipv6)
    changes = [*refined.between_workloads(), *refined.outside(), *refined.one_sided()]
    return sorted(changes, key=lambda c: (c.source, c.destination))


def same_reachability(a: Reachability, b: Reachability) -> Witness | None:
    """None when both let exactly the same pass, in both address families; else a packet that tells them apart.

    Raises ValueError when they have different workloads: they cannot be the same then, and no packet shows it.
    """
    if a.workloads.keys() != b.workloads.keys():
        raise ValueError(f"different workloads: {sorted(a.workloads.keys() ^ b.workloads.keys())}")
    refined = _Refinement(a, b, ipv6=True)
    for change in (*refined.between_workloads(), *refined.outside()):
        return change.witnesses[0]
    return None


class _Refinement:
    """Both sides cut into pieces that neither divides: (end, unit on the old side, unit on the new side)."""

    def __init__(self, old: Reachability, new: Reachability, ipv6: bool) -> None:
        self.old, self.new = old, new
        self.common = [name for name in old.workloads if name in new.workloads]
        self.ends: list[tuple[FlowEnd, FlowEnd]] = []  # a sample on either side
        self.party: list[int] = []  # of each piece, into `common`
        old_units: list[int] = []
        new_units: list[int] = []
        for index, name in enumerate(self.common):
            for one, other, before, after in self._pieces(name):
                self.ends.append((before, after))
                self.party.append(index)
                old_units.append(one)
                new_units.append(other)
        self.units = np.array(old_units, np.int64), np.array(new_units, np.int64)
        self.ranges = self._ranges(ipv6)
        self._values = _common_numbers(old, new)

    def _pieces(self, name: str) -> Iterator[tuple[int, int, FlowEnd, FlowEnd]]:
        """The pods of a workload as both sides know them, one of each kind. Pods that are on one side only (replicas
        that were renamed) are taken for each of the other side's."""
        sides = []
        for side in (self.old, self.new):
            pods = side.workloads[name].pods
            units = side.judge_units(name)
            sides.append({pod.name: (unit, FlowEnd(pod)) for pod, unit in zip(pods, units, strict=True)})
        before, after = sides
        shared = before.keys() & after.keys()
        pairs = [(before[pod], after[pod]) for pod in sorted(shared)]
        if not shared:
            pairs = list(product(before.values(), after.values()))
        seen = set()
        for (one, old_end), (other, new_end) in pairs:
            if (one, other) not in seen:
                seen.add((one, other))
                yield one, other, old_end, new_end

    def _ranges(self, ipv6: bool) -> list[list[tuple[int, int, int, int]]]:
        """For each address family the pieces (first, last, unit before, unit after), in order."""
        starts = sorted({*self.old.addresses.starts, *self.new.addresses.starts})
        bounds = list(zip(starts, [start - 1 for start in starts[1:]] + [LAST_ADDRESS], strict=True))
        pieces = [(first, last, self.old.outside_unit(first), self.new.outside_unit(first)) for first, last in bounds]
        ipv4 = [piece for piece in pieces if MAPPED_FIRST <= piece[0] <= MAPPED_LAST]
        return [ipv4, [piece for piece in pieces if piece not in ipv4]] if ipv6 else [ipv4]

    # -- pairs that both sides have ------------------------------------------------------------------------------------

    def between_workloads(self) -> Iterator[Change]:
        """Workloads of both sides, also between the pods of one."""
        units, numbers = self.units, self._values
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for row in range(len(self.party)):
            before = numbers[0][self.old.matrix[units[0][row]][units[0]]]
            after = numbers[1][self.new.matrix[units[1][row]][units[1]]]
            for column in np.flatnonzero(before != after).tolist():
                pair = (self.party[row], self.party[column])
                found.setdefault(pair, []).append((row, column))
        for (one, other), cells in found.items():
            source, destination = self.common[one], self.common[other]
            if one == other and self.old.workloads[source].single and self.new.workloads[source].single:
                continue
            counts = self.party.count(one) * self.party.count(other) if len(self.party) > len(self.common) else 1
            yield self._change(source, destination, cells, partly=len(cells) < counts)

    def _change(self, source: str, destination: str, cells: list[tuple[int, int]], *, partly: bool) -> Change:
        witnesses = []
        for opening in (True, False):
            for row, column in cells:
                before = self.old.cell(int(self.units[0][row]), int(self.units[0][column]))
                after = self.new.cell(int(self.units[1][row]), int(self.units[1][column]))
                gone = after - before if opening else before - after
                if gone:
                    ends = self.ends[row], self.ends[column]
                    if row == column:
                        ends = ends[0], self._twin(source, row)
                    witnesses.append(witness_of(self.old, self.new, *ends, gone, opened=opening))
                    break
        return Change(
            self.old.workloads[source].party,
            self.old.workloads[destination].party,
            self.old.connections(source, destination),
            self.new.connections(source, destination),
            tuple(witnesses),
            partly=partly,
        )

    def _twin(self, name: str, row: int) -> tuple[FlowEnd, FlowEnd]:
        """Another pod of the same workload and kind as the one in `row`, or else the replica that it may have."""
        found = []
        for side, unit, end in zip((self.old, self.new), self.units, self.ends[row], strict=True):
            assert end.endpoint is not None
            pods = zip(side.workloads[name].pods, side.judge_units(name), strict=True)
            others = [pod for pod, own in pods if own == unit[row] and pod != end.endpoint]
            found.append(FlowEnd(others[0] if others else replace(end.endpoint, name=end.endpoint.name + _REPLICA)))
        return found[0], found[1]

    def outside(self) -> Iterator[Change]:
        """Workloads of both sides with ranges of addresses."""
        for index, name in enumerate(self.common):
            pieces = [place for place, party in enumerate(self.party) if party == index] if self._uneven else [index]
            for family, outgoing in product(self.ranges, (False, True)):
                yield from self._outside(name, pieces, family, outgoing)

    @property
    def _uneven(self) -> bool:
        return len(self.party) != len(self.common)

    def _outside(
        self, name: str, pieces: list[int], family: list[tuple[int, int, int, int]], outgoing: bool
    ) -> Iterator[Change]:
        columns = [np.array([piece[side] for piece in family], np.int64) for side in (2, 3)]
        values = []
        for side, matrix in enumerate((self.old.matrix, self.new.matrix)):
            own = self.units[side][pieces]
            block = matrix[own][:, columns[side]] if outgoing else matrix[columns[side]][:, own].T
            values.append(self._values[side][block])
        if np.array_equal(values[0], values[1]):
            return

        def answers(place: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
            return tuple(values[0][:, place].tolist()), tuple(values[1][:, place].tolist())

        for (before, after), run in groupby(range(len(family)), key=answers):
            if before == after:
                continue
            members = list(run)
            outside = external_party(family[members[0]][0], family[members[-1]][1])
            yield self._outside_change(name, pieces, [family[m] for m in members], outside, outgoing, before, after)

    def _outside_change(
        self,
        name: str,
        pieces: list[int],
        members: list[tuple[int, int, int, int]],
        outside: Party,
        outgoing: bool,
        before: tuple[int, ...],
        after: tuple[int, ...],
    ) -> Change:
        _, _, one, other = members[0]
        passed, passes = _NOTHING, _NOTHING
        witnesses: dict[bool, Witness] = {}
        address = sample_address(members[0][0], members[-1][1])
        end = FlowEnd(None, (address >> 64, address & 0xFFFF_FFFF_FFFF_FFFF))
        for piece in pieces:
            own = int(self.units[0][piece]), int(self.units[1][piece])
            sides = (
                self.old.cell(own[0], one) if outgoing else self.old.cell(one, own[0]),
                self.new.cell(own[1], other) if outgoing else self.new.cell(other, own[1]),
            )
            passed, passes = passed | sides[0], passes | sides[1]
            for opened, gone in ((True, sides[1] - sides[0]), (False, sides[0] - sides[1])):
                if gone and opened not in witnesses:
                    ends = (self.ends[piece], (end, end)) if outgoing else ((end, end), self.ends[piece])
                    witnesses[opened] = witness_of(self.old, self.new, *ends, gone, opened=opened)
        party = self.old.workloads[name].party
        source, destination = (party, outside) if outgoing else (outside, party)
        partly = sum(a != b for a, b in zip(before, after, strict=True)) < len(pieces)
        ordered = tuple(witnesses[opened] for opened in sorted(witnesses, reverse=True))
        return Change(source, destination, passed, passes, ordered, partly=partly)

    # -- workloads of one side -----------------------------------------------------------------------------------------

    def one_sided(self) -> Iterator[Change]:
        """What passes to and from workloads that the other side does not have."""
        for side, other, appears in ((self.new, self.old, True), (self.old, self.new, False)):
            alone = side.workloads.keys() - other.workloads.keys()
            for pair in side.pairs_of(alone, ipv6=len(self.ranges) > 1) if alone else ():
                named = tuple(str(p) for p in (pair.source, pair.destination) if str(p) in alone)
                yield Change(
                    pair.source,
                    pair.destination,
                    _NOTHING if appears else pair.connections,
                    pair.connections if appears else _NOTHING,
                    appeared=named if appears else (),
                    vanished=() if appears else named,
                )


def witness_of(
    old: Reachability,
    new: Reachability,
    source: tuple[FlowEnd, FlowEnd],
    destination: tuple[FlowEnd, FlowEnd],
    connections: ConnectionSet,
    *,
    opened: bool,
) -> Witness:
    """A packet of `connections`, which the change opens or closes; the ends as the old and the new side know them.

    Raises AssertionError when the oracle sees no difference: then this module is wrong, and says so.
    """
    span = min(connections.spans, key=lambda s: (("TCP", "UDP", "SCTP").index(s.protocol), s.first))
    port = next((wanted for wanted in (443, 53) if span.first <= wanted <= span.last), span.first)
    protocol = _NUMBERS[span.protocol]
    before = old.verdict(source[0], destination[0], protocol, port)
    after = new.verdict(source[1], destination[1], protocol, port)
    names = [_pod_name(source), _pod_name(destination)]
    if before.allowed == after.allowed or after.allowed != opened:
        raise AssertionError(f"the oracle does not see what the engine sees: {names}, {span}: {before}, {after}")
    addresses = [_address(source), _address(destination)]
    return Witness(names[0], addresses[0], names[1], addresses[1], span.protocol, port, before, after)


def _common_numbers(old: Reachability, new: Reachability) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each side's set numbers a number that equal sets of both sides share. Port 0, which no flow has, is out."""
    numbers: dict[bytes, int] = {}
    cells = [side.judge.ports.cells for side in (old, new)]
    starts = sorted({(span.protocol, span.first) for own in cells for span in own if span.last})
    result = []
    for side in (old, new):
        ports, sets = side.judge.ports, side.judge.compiled.sets
        places = [ports.cell(protocol, first) for protocol, first in starts]
        members = np.unpackbits(sets.rows[: len(sets)].view(np.uint8), axis=1, bitorder="little")[:, places]
        packed = np.packbits(members, axis=1)
        result.append(np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in packed], np.int64))
    return result[0], result[1]


def _pod_name(ends: tuple[FlowEnd, FlowEnd]) -> str:
    endpoint = ends[1].endpoint
    return f"{endpoint.namespace}/{endpoint.name}" if endpoint is not None else ""


def _address(ends: tuple[FlowEnd, FlowEnd]) -> str:
    if ends[1].endpoint is not None and ends[1].endpoint.name.endswith(_REPLICA):
        return ""
    return address_text_of(ends[1]) or address_text_of(ends[0])
