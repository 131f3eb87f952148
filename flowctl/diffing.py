"""What changes between two sets of policies, and what that means for flows that were seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flowctl.judging import JudgedSide
from flowctl.options import Inputs
from flowctl.verifying import replay_cloud
from policygen.verify.connections import ConnectionSet
from policygen.verify.differences import Change, difference
from policygen.verify.entries import entry_changes
from policygen.verify.group_reachability import group_changes, member_name
from policygen.verify.matching import PROTOCOLS
from policygen.verify.parties import external_bounds, party_names
from policygen.verify.replay import Denial, ReplayFlow, replay
from policygen.verify.spaces import on_line


@dataclass(frozen=True)
class UnusedOpening:
    """Connections that the new policies let through, the old ones did not, and no flow ever used."""

    source: str
    destination: str
    connections: ConnectionSet


@dataclass(frozen=True)
class SeenFlows:
    """What the change means for flows that were seen."""

    flows: int
    broken: tuple[Denial, ...]  # passed before, and would not any more; the verdict is the new one
    mended: int  # did not pass before, and would
    unused: tuple[UnusedOpening, ...]


@dataclass(frozen=True)
class Diff:
    """The outcome: `changes` between parties, `within` between the pods of one workload."""

    old: JudgedSide
    new: JudgedSide
    changes: tuple[Change, ...]
    within: tuple[Change, ...]
    seen: SeenFlows | None = None
    appeared: tuple[str, ...] = field(default=())
    vanished: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes or self.within or self.appeared or self.vanished)


def diff_of(old: JudgedSide, new: JudgedSide, ipv6: bool | None = None, flows: Inputs | None = None) -> Diff:
    """Compare both sides; with `flows`, what was seen is asked of both."""
    found = difference(old.reachability, new.reachability, ipv6)
    changes = tuple(c for c in found if not c.within)
    changes += tuple(entry_changes(old.reachability, old.entries, new.reachability, new.entries))
    changes += tuple(group_changes(old.groups, new.groups, ipv6))
    before = {*old.reachability.workloads, *old.groups.members}
    after = {*new.reachability.workloads, *new.groups.members}
    return Diff(
        old,
        new,
        changes,
        tuple(c for c in found if c.within),
        None if flows is None else _seen(old, new, changes, flows),
        tuple(sorted(after - before)),
        tuple(sorted(before - after)),
    )


def _seen(old: JudgedSide, new: JudgedSide, changes: Sequence[Change], inputs: Inputs) -> SeenFlows:
    from flowctl.observe import observe

    observation = observe(inputs, new.loaded.inventory)
    flows = observation.qualified_flows()
    denied = [_denied(side, flows) for side in (old, new)]
    broken = tuple(denial for key, denial in denied[1].items() if key not in denied[0])
    mended = sum(key not in denied[1] for key in denied[0])
    return SeenFlows(len(flows), broken, mended, tuple(_unused(changes, new, flows)))


def _denied(side: JudgedSide, flows: Sequence[ReplayFlow]) -> dict[int, Denial]:
    """The flows that a side denies, by id."""
    loaded = side.loaded
    proofs = [replay(loaded.network, loaded.inventory, flows, side.reachability.profile)]
    if loaded.groups.policies or loaded.acls:
        proofs.append(replay_cloud(loaded, loaded.inventory, flows))
    return {id(denial.flow): denial for proof in proofs for denial in proof.denied}


def _unused(changes: Sequence[Change], new: JudgedSide, flows: Sequence[ReplayFlow]) -> Iterator[UnusedOpening]:
    """Of each opening the spans of ports in which no flow of the pair was seen."""
    names = party_names(new.loaded.inventory)
    names |= {id(e): member_name(e) for e in new.loaded.inventory.endpoints if member_name(e) in new.groups.members}
    used: dict[tuple[str, str], set[tuple[str, int]]] = {}
    places: dict[str, list[tuple[int, str, str, int, bool]]] = {}  # workload -> (address, ...) of flows with outside
    for flow in flows:
        protocol = PROTOCOLS.get(flow.protocol)
        if protocol is None:
            continue
        ends = [names.get(id(end.endpoint)) if end.endpoint is not None else None for end in
                (flow.source, flow.destination)]  # fmt: skip
        if ends[0] is not None and ends[1] is not None:
            used.setdefault((ends[0], ends[1]), set()).add((protocol, flow.port))
        for at, name in enumerate(ends):
            other = flow.destination if at == 0 else flow.source
            for address in other.addresses if name is not None and ends[1 - at] is None else ():
                places.setdefault(name or "", []).append((on_line(address), name or "", protocol, flow.port, at == 0))
    for change in changes:
        opened = change.opened
        if not opened or change.appeared or change.vanished:
            continue
        cells = used.get((str(change.source), str(change.destination)), set())
        for outside, inside, outgoing in (
            (change.destination, change.source, True), (change.source, change.destination, False),
        ):  # fmt: skip
            if outside.external:
                first, last = external_bounds(outside)
                cells = {
                    (protocol, port)
                    for place, _, protocol, port, out in places.get(str(inside), ())
                    if first <= place <= last and out == outgoing
                }
        unused = ConnectionSet.of(
            span
            for span in opened.spans
            if not any(span.protocol == protocol and span.first <= port <= span.last for protocol, port in cells)
        )
        if unused:
            yield UnusedOpening(str(change.source), str(change.destination), unused)
