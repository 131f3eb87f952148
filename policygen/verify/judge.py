"""A PolicySet made ready to answer for many ends at once: ends become units, and every pair of units has one answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analyzers.inventory import Endpoint, Inventory
from policygen.model import Policy, PolicySet
from policygen.verify.compiled import CompiledPolicies
from policygen.verify.evaluate import (
    Direction,
    DirectionVerdict,
    Flow,
    Verdict,
    always_allowed,
    combine,
    decide_direction,
    depending,
    evaluate,
)
from policygen.verify.matching import PROTOCOLS, FlowEnd, Labels, Surroundings, pod_of
from policygen.verify.profiles import PROFILES, SPEC, CniProfile
from policygen.verify.spaces import AddressSpace, PortSpace
from policygen.verify.units import Mentioned, PeerTable, Units


def node_labels(endpoints: Iterable[Endpoint]) -> dict[str, Labels]:
    """The labels of nodes by name."""
    return {e.name: dict(e.labels) for e in endpoints if e.workload.kind == "Node" and not e.namespace}


class Judge:
    """Answers for `ends` and for every address that belongs to none of them; its answers never change."""

    ASK_ONE_BY_ONE = 256

    def __init__(
        self,
        policies: PolicySet,
        namespaces: Mapping[str, Labels],
        ends: Iterable[FlowEnd],
        profile: CniProfile = SPEC,
        nodes: Mapping[str, Labels] | None = None,
    ) -> None:
        self.policies, self.namespaces, self.profile, self.nodes = policies, namespaces, profile, nodes or {}
        around = self._around = Surroundings(namespaces, self.nodes, profile)
        self._asked = 0
        self._said: dict[tuple[Direction, int, bytes, int, int, bool], DirectionVerdict] = {}
        self._siblings: dict[str, Judge] = {}
        self.addresses = AddressSpace(policies)
        self.units = Units(policies, self.addresses, around)
        names = Mentioned(policies).port_names
        self.unit_of_end: list[int] = []
        named: set[tuple[str, int]] = set()
        for end in ends:
            self.unit_of_end.append(self.units.of(end))
            pod = pod_of(end, profile) if names else None
            if pod is not None:
                named |= {(port.protocol, port.number) for port in pod.ports if port.name in names}
        self.ports = PortSpace(policies, named, profile)
        peers = PeerTable(self.units.units, self.addresses, around)
        self.compiled = CompiledPolicies(policies, self.units.units, peers, self.ports)

    @staticmethod
    def of_inventory(policies: PolicySet, inventory: Inventory, ends: Iterable[FlowEnd], profile: CniProfile) -> Judge:
        """With the namespaces and nodes of an inventory."""
        return Judge(policies, dict(inventory.namespaces), ends, profile, node_labels(inventory.endpoints))

    @cached_property
    def matrix(self) -> NDArray[np.int32]:
        """int32[units, units]: the number of the set of ports that pass from row to column, see compiled.sets."""
        return self.compiled.matrix()

    def verdict(self, flow: Flow) -> Verdict:
        """The oracle's verdict on one flow, with its reasons.

        After ASK_ONE_BY_ONE of them, flows share what the oracle says of one direction wherever the same rules cover
        the peer, and other profiles are asked by their matrices: many reasons cost little more than many answers.
        """
        self._asked += 1
        if self._asked > self.ASK_ONE_BY_ONE:
            shared = self._shared_verdict(flow)
            if shared is not None:
                return shared
        return evaluate(self.relevant(flow), self.namespaces, flow, self.profile, self.nodes)

    def _shared_verdict(self, flow: Flow) -> Verdict | None:
        """None where units do not tell: ends that are not known, protocols that policies do not name."""
        source, destination = self.units.known(flow.source), self.units.known(flow.destination)
        protocol = PROTOCOLS.get(flow.protocol)
        if source is None or destination is None or protocol is None or always_allowed(flow):
            return None
        if self.profile.selects_host_network:  # units of pods on the host's network are others under other profiles
            return None
        if max(source, destination) >= len(self.compiled.named):
            return None
        cell = self.ports.cell(protocol, flow.port)
        egress = self._direction("egress", source, destination, cell, flow)
        ingress = self._direction("ingress", destination, source, cell, flow)
        verdict = combine(egress, ingress, flow.protocol)
        others = [p.name for p in PROFILES.values() if p != self.profile
                  and self._sibling(p).allows(source, destination, cell) != verdict.allowed]  # fmt: skip
        return depending(verdict, others)

    def allows(self, source: int, destination: int, cell: int) -> bool:
        """Whether a port cell passes from unit to unit."""
        bits = self.compiled.sets.rows[self.matrix[source, destination], cell >> 6]
        return bool(int(bits) >> (cell & 63) & 1)

    def _direction(self, direction: Direction, subject: int, peer: int, cell: int, flow: Flow) -> DirectionVerdict:
        table, compiled = self.compiled.directions[direction], self.compiled
        begin, end = table.bounds[subject, 0], table.bounds[subject, 3]
        covering = compiled.covers[table.entries[begin:end, 0], peer].tobytes()
        named = int(compiled.named[peer if direction == "egress" else subject])
        key = (direction, subject, covering, named, cell, self.units.units[peer].pod is None)
        found = self._said.get(key)
        if found is None:
            found = decide_direction(direction, self.relevant(flow), flow, self._around)
            self._said[key] = found
        return found

    def _sibling(self, profile: CniProfile) -> Judge:
        """The same policies and units under another profile."""
        found = self._siblings.get(profile.name)
        if found is None:
            ends = [unit.sample for unit in self.units.units]
            found = Judge(self.policies, self.namespaces, ends, profile, self.nodes)
            if found.unit_of_end != list(range(len(ends))):
                raise AssertionError("units depend on the profile")
            self._siblings[profile.name] = found
        return found

    def relevant(self, flow: Flow) -> PolicySet:
        """The policies that can have a say: others are of other namespaces, and asking them changes nothing."""
        ends = (flow.source.endpoint, flow.destination.endpoint)
        spaces = {end.namespace for end in ends if end is not None}
        chosen = tuple(p for name in sorted(spaces) for p in self._by_namespace.get(name, ()))
        return PolicySet(chosen, admin=self.policies.admin)

    @cached_property
    def _by_namespace(self) -> dict[str, list[Policy]]:
        found: dict[str, list[Policy]] = {}
        for policy in self.policies.policies:
            found.setdefault(policy.namespace, []).append(policy)
        return found
