"""A PolicySet made ready to answer for many ends at once: ends become units, and every pair of units has one answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analyzers.inventory import Endpoint, Inventory
from policygen.model import Policy, PolicySet
from policygen.verify.compiled import CompiledPolicies
from policygen.verify.evaluate import Flow, Verdict, evaluate
from policygen.verify.matching import FlowEnd, Labels, Surroundings, pod_of
from policygen.verify.profiles import SPEC, CniProfile
from policygen.verify.spaces import AddressSpace, PortSpace
from policygen.verify.units import Mentioned, PeerTable, Units


def node_labels(endpoints: Iterable[Endpoint]) -> dict[str, Labels]:
    """The labels of nodes by name."""
    return {e.name: dict(e.labels) for e in endpoints if e.workload.kind == "Node" and not e.namespace}


class Judge:
    """Answers for `ends` and for every address that belongs to none of them; nothing in it changes afterwards."""

    def __init__(
        self,
        policies: PolicySet,
        namespaces: Mapping[str, Labels],
        ends: Iterable[FlowEnd],
        profile: CniProfile = SPEC,
        nodes: Mapping[str, Labels] | None = None,
    ) -> None:
        self.policies, self.namespaces, self.profile, self.nodes = policies, namespaces, profile, nodes or {}
        around = Surroundings(namespaces, self.nodes, profile)
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
        """The oracle's verdict on one flow, with its reasons."""
        return evaluate(self.relevant(flow), self.namespaces, flow, self.profile, self.nodes)

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
