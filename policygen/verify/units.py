"""Ends folded into units: pods that no policy tells apart under any profile, and pieces of the address space.

Only what some policy can look at counts: the labels whose keys selectors mention, the ports whose names rules mention,
the cells of addresses where addresses decide.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.inventory import Endpoint
from policygen.model import (
    AdminPeer,
    CidrPeer,
    NodePeer,
    Peer,
    PodPeer,
    PolicySet,
    Requirement,
    Selector,
)
from policygen.verify.matching import (
    FlowEnd,
    Surroundings,
    is_on_node,
    namespace_labels,
    node_labels,
    pod_of,
)
from policygen.verify.spaces import AddressSpace, every_rule, on_line

NamedPorts = tuple[tuple[str, str, int], ...]
"""(name, protocol, number) of the ports that rules may name."""


class Mentioned:
    """What the policies look at."""

    def __init__(self, policies: PolicySet) -> None:
        self.pod_keys: set[str] = set()
        self.node_keys: set[str] = set()
        self.port_names: set[str] = set()
        self.blocks = False  # whether addresses are compared, which some plugins do for pods, too
        for policy in policies.policies:
            self._selector(policy.subject, self.pod_keys)
        for admin in policies.admin:
            self._selector(admin.subject.pods, self.pod_keys)
        for any_rule in every_rule(policies):
            for peer in any_rule.peers or ():
                if isinstance(peer, PodPeer):
                    self._selector(peer.pods, self.pod_keys)
                elif isinstance(peer, CidrPeer):
                    self.blocks = True
                elif isinstance(peer, NodePeer):
                    self._selector(peer.nodes, self.node_keys)
            self.port_names |= {p.port for p in any_rule.ports or () if isinstance(p.port, str)}

    @staticmethod
    def _selector(selector: Selector | None, keys: set[str]) -> None:
        if selector is not None:
            keys |= {key for key, _ in selector.labels} | {one.key for one in selector.expressions}


@dataclass(frozen=True)
class Unit:
    """Ends of one kind, by one of them."""

    sample: FlowEnd
    pod: Endpoint | None  # where policies see a pod
    labels: tuple[tuple[str, str], ...]  # the pod's or the node's, mentioned ones only
    node: bool  # an address of a node that NodePeers can select
    on_node: bool  # at an address of a node
    owned: bool  # a pod that a workload owns
    subject: bool
    named: NamedPorts
    cells: tuple[int, ...]  # of its addresses


class Units:
    """Numbers ends: equal numbers mean that no policy tells them apart."""

    def __init__(self, policies: PolicySet, space: AddressSpace, around: Surroundings) -> None:
        self.units: list[Unit] = []
        self._space = space
        self._around = around
        self._mentioned = Mentioned(policies)
        self._numbers: dict[Hashable, int] = {}
        self.cells = [self._add(self.outside(cell)) for cell in range(len(space))]
        """The unit of each cell of addresses that belong to nothing in the inventory."""

    def of(self, end: FlowEnd) -> int:
        """The number of an end."""
        return self._add(self._unit(end))

    def known(self, end: FlowEnd) -> int | None:
        """The number of an end, if there is one like it; a place outside has its cell's."""
        if end.endpoint is None:
            return self.cells[self._space.cell(on_line(end.address))] if end.address is not None else None
        return self._numbers.get(self._key(self._unit(end)))

    def outside(self, cell: int) -> Unit:
        """A piece of the address space."""
        first = self._space.bounds(cell)[0]
        end = FlowEnd(None, (first >> 64, first & 0xFFFF_FFFF_FFFF_FFFF))
        return Unit(end, None, (), False, False, False, False, (), (cell,))

    @staticmethod
    def _key(unit: Unit) -> Hashable:
        namespace = unit.pod.namespace if unit.pod is not None else None
        return namespace, unit.labels, unit.node, unit.on_node, unit.owned, unit.subject, unit.named, unit.cells

    def _add(self, unit: Unit) -> int:
        number = self._numbers.setdefault(self._key(unit), len(self.units))
        if number == len(self.units):
            self.units.append(unit)
        return number

    def _unit(self, end: FlowEnd) -> Unit:
        around, mentioned = self._around, self._mentioned
        pod = pod_of(end, around.profile)
        if pod is None:
            labels = node_labels(end.endpoint, around) if end.endpoint is not None else None
            kept = tuple(sorted((k, v) for k, v in (labels or {}).items() if k in mentioned.node_keys))
            on_node = end.endpoint is not None and is_on_node(end.endpoint)
            return Unit(end, None, kept, labels is not None, on_node, False, False, (), self._cells(end))
        owned = pod.workload.kind != "Pod"
        return Unit(
            end,
            pod,
            tuple(pair for pair in pod.labels if pair[0] in mentioned.pod_keys),
            False,
            is_on_node(pod),
            owned,
            owned or around.profile.selects_standalone_pods,
            tuple((p.name, p.protocol, p.number) for p in pod.ports if p.name in mentioned.port_names),
            self._cells(end) if mentioned.blocks else (),
        )

    def _cells(self, end: FlowEnd) -> tuple[int, ...]:
        return tuple(sorted({self._space.cell(on_line(address)) for address in end.addresses}))


class LabelColumns:
    """Labels of many things in columns, to answer selectors for all of them together."""

    def __init__(self, maps: Sequence[Mapping[str, str]]) -> None:
        self._count = len(maps)
        self._values: dict[str, dict[str, int]] = {}
        self._columns: dict[str, NDArray[np.int32]] = {}
        for index, labels in enumerate(maps):
            for key, value in labels.items():
                column = self._columns.get(key)
                if column is None:
                    column = self._columns[key] = np.full(self._count, -1, np.int32)
                    self._values[key] = {}
                values = self._values[key]
                column[index] = values.setdefault(value, len(values))
        self._known: dict[Selector, NDArray[np.bool_]] = {}

    def matches(self, selector: Selector) -> NDArray[np.bool_]:
        """bool[things]; not to be written to."""
        found = self._known.get(selector)
        if found is None:
            found = np.ones(self._count, bool)
            for key, value in selector.labels:
                found &= self._among(key, (value,))
            for requirement in selector.expressions:
                found &= self._holds(requirement)
            self._known[selector] = found
        return found

    def _among(self, key: str, values: Iterable[str]) -> NDArray[np.bool_]:
        column = self._columns.get(key)
        known = self._values.get(key, {})
        found = np.zeros(self._count, bool)
        for value in values if column is not None else ():
            if value in known:
                found |= column == known[value]
        return found

    def _has(self, key: str) -> NDArray[np.bool_]:
        column = self._columns.get(key)
        found: NDArray[np.bool_] = np.zeros(self._count, bool) if column is None else column >= 0
        return found

    def _holds(self, requirement: Requirement) -> NDArray[np.bool_]:
        match requirement.operator:
            case "In":
                return self._among(requirement.key, requirement.values)
            case "NotIn":
                return ~self._among(requirement.key, requirement.values)
            case "Exists":
                return self._has(requirement.key)
            case "DoesNotExist":
                return ~self._has(requirement.key)
        raise ValueError(f"{requirement.operator!r} is no operator of a label selector")


class PeerTable:
    """Which units each peer covers, and which units each subject selects: bool[units], all units together."""

    def __init__(self, units: Sequence[Unit], space: AddressSpace, around: Surroundings) -> None:
        self._space, self._around = space, around
        self._count = len(units)
        names = sorted({unit.pod.namespace for unit in units if unit.pod is not None})
        place = {name: index for index, name in enumerate(names)}
        self._namespaces = LabelColumns([namespace_labels(around.namespaces, name) for name in names])
        self._namespace = np.array([place[u.pod.namespace] if u.pod is not None else -1 for u in units], np.int64)
        self._place = place
        self._is_pod = np.array([unit.pod is not None for unit in units], bool)
        self._is_node = np.array([unit.node for unit in units], bool)
        self._hidden = np.array(
            [unit.on_node and unit.pod is None and not around.profile.blocks_match_nodes for unit in units], bool
        )
        self._is_subject = np.array([unit.subject for unit in units], bool)
        self._pods = LabelColumns([dict(unit.labels) if unit.pod is not None else {} for unit in units])
        self._nodes = LabelColumns([dict(unit.labels) if unit.node else {} for unit in units])
        lengths = np.array([len(unit.cells) for unit in units], np.int64)
        self._located = np.flatnonzero(lengths)
        self._flat = np.array([cell for unit in units for cell in unit.cells], np.int64)
        self._begins = (np.cumsum(lengths) - lengths)[self._located]
        self._numbers: dict[tuple[Peer | AdminPeer, str, bool], int] = {}
        self.rows: list[NDArray[np.bool_]] = []
        """By number: bool[units], the units that a peer covers."""

    def subjects(self, namespace: str | None, namespaces: Selector | None, pods: Selector | None) -> NDArray[np.bool_]:
        """Pods to which a policy with this subject applies."""
        found: NDArray[np.bool_] = self._chosen(namespace, namespaces, pods) & self._is_subject
        return found

    def number(self, peer: Peer | AdminPeer, namespace: str, *, admin: bool) -> int:
        """The number, into `rows`, of the peer of a policy in `namespace`."""
        local = namespace if isinstance(peer, PodPeer) and peer.namespaces is None else ""
        number = self._numbers.setdefault((peer, local, admin), len(self.rows))
        if number == len(self.rows):
            self.rows.append(self._find(peer, local, admin))
        return number

    def _find(self, peer: Peer | AdminPeer, namespace: str, admin: bool) -> NDArray[np.bool_]:
        match peer:
            case CidrPeer():
                found = np.zeros(self._count, bool)
                if len(self._flat):
                    inside = self._space.covered(peer)[self._flat]
                    found[self._located] = np.logical_and.reduceat(inside, self._begins)
                if not admin:
                    found &= ~self._hidden
                    if not self._around.profile.blocks_match_pods:
                        found &= ~self._is_pod
                return found
            case PodPeer():
                return self._chosen(namespace, peer.namespaces, peer.pods)
            case NodePeer():
                return self._is_node & self._nodes.matches(peer.nodes)
        return np.zeros(self._count, bool)  # domain names, security groups

    def _chosen(self, namespace: str | None, namespaces: Selector | None, pods: Selector | None) -> NDArray[np.bool_]:
        found: NDArray[np.bool_]
        if namespaces is None:
            found = self._namespace == self._place.get(namespace or "", -2)
        elif not self._place:
            found = np.zeros(self._count, bool)
        else:
            found = self._is_pod & self._namespaces.matches(namespaces)[self._namespace]
        if pods is not None:
            found = found & self._pods.matches(pods)
        return found
