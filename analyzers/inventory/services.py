"""What Services and containers declare: which pods a Service selects, on which ports, and all ports that are served."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyzers.inventory.model import Endpoint, Inventory, Service, ServicePort

PROTOCOL_NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}

DeclaredPorts = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint16], NDArray[np.uint8]]


class PodIndex:
    """Pods by network, namespace and label, to answer selectors without looking at every pod."""

    def __init__(self, inventory: Inventory) -> None:
        self._endpoints = inventory.endpoints
        self._by_label: dict[tuple[str, str, str, str], set[int]] = {}
        for index, endpoint in enumerate(inventory.endpoints):
            if endpoint.namespace:
                for key, value in endpoint.labels:
                    self._by_label.setdefault((endpoint.network, endpoint.namespace, key, value), set()).add(index)

    def endpoint(self, number: int) -> Endpoint:
        """The endpoint of a number that `selected` gave."""
        return self._endpoints[number]

    def selected(self, service: Service) -> list[int]:
        """Indices of the endpoints that a Service selects, ended ones included; none when it has no selector."""
        if not service.selector:
            return []
        sets = [self._by_label.get((service.network, service.namespace, *pair), set()) for pair in service.selector]
        return sorted(set.intersection(*sorted(sets, key=len)))


def target_port(port: ServicePort, endpoint: Endpoint) -> int | None:
    """The endpoint's own port behind a Service's port; None when the endpoint has no port of that name."""
    if isinstance(port.target, int):
        return port.target
    named = (p.number for p in endpoint.ports if p.name == port.target and p.protocol == port.protocol)
    return next(named, None)


def declared_ports(inventory: Inventory) -> DeclaredPorts:
    """(hi, lo, port, protocol), sorted and each once: every address and port that the inventory says is served.

    Container ports at their pods' (or, on the host's network, nodes') addresses; Service ports at cluster and external
    addresses; their target ports at the selected pods; node ports at every node of the Service's network.
    """
    found: set[tuple[int, int, int, int]] = set()

    def add(addresses: tuple[tuple[int, int], ...], port: int | None, protocol: str) -> None:
        number = PROTOCOL_NUMBERS.get(protocol)
        if port is not None and 0 < port < 65536 and number is not None:
            found.update((hi, lo, port, number) for hi, lo in addresses)

    for endpoint in inventory.endpoints:
        for own in endpoint.ports:
            add(endpoint.addresses, own.number, own.protocol)
    pods = PodIndex(inventory)
    nodes: dict[str, list[Endpoint]] = {}
    for endpoint in inventory.endpoints:
        if endpoint.workload.kind == "Node":
            nodes.setdefault(endpoint.network, []).append(endpoint)
    for service in inventory.services:
        selected = [inventory.endpoints[index] for index in pods.selected(service)]
        for port in service.ports:
            add(service.cluster_addresses + service.external_addresses, port.port, port.protocol)
            for endpoint in selected:
                add(endpoint.addresses, target_port(port, endpoint), port.protocol)
            for node in nodes.get(service.network, ()):
                add(node.addresses, port.node_port, port.protocol)
    rows = sorted(found)
    return (
        np.array([row[0] for row in rows], np.uint64),
        np.array([row[1] for row in rows], np.uint64),
        np.array([row[2] for row in rows], np.uint16),
        np.array([row[3] for row in rows], np.uint8),
    )
