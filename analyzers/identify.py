"""FlowTable + Inventory -> who the ends were: rows paired with endpoints, Service addresses resolved to the pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import PAIR, Direction, FlowTable, address_object, address_text, protocol_name
from analyzers.gateways import gateway_legs
from analyzers.inventory import Endpoint, Inventory
from analyzers.inventory.resolve import AMBIGUOUS, POD_RANGE, SERVICE, UNKNOWN, Resolver
from analyzers.inventory.services import PodIndex, target_port
from analyzers.servicemap import Unresolved

Array = NDArray[Any]
EXTERNAL = UNKNOWN
SAMPLES = 5


@dataclass(frozen=True)
class IdentifiedFlows:
    """Rows of a FlowTable whose ends are known, a row of a Service address once for each pod behind it.

    `row` int64[n] indexes `flows`; `client` and `server` int32[n] index `inventory.endpoints`, EXTERNAL (-1) for an
    address outside it; `port` uint16[n] is the server endpoint's own port; `via` int32[n] indexes `services`, -1:
    the endpoint's own address was met.
    """

    flows: FlowTable
    inventory: Inventory
    row: Array
    client: Array
    server: Array
    port: Array
    via: Array
    services: tuple[str, ...]
    unresolved: tuple[Unresolved, ...]

    def __len__(self) -> int:
        return len(self.row)


class _Unplaced:
    """Counts rows that become no edge, with samples that do not depend on the order of the input."""

    def __init__(self, flows: FlowTable) -> None:
        self._flows = flows
        self._parts: list[Unresolved] = []

    def add(self, reason: str, where: Array) -> None:
        rows = np.flatnonzero(where)
        if not len(rows):
            return
        flows = self._flows
        keys = [flows[c][rows] for c in ("port", "server_lo", "server_hi", "client_lo", "client_hi")]
        some = rows[np.lexsort(keys)]
        samples: dict[str, None] = {}
        for row in some[:200].tolist():
            samples.setdefault(describe_row(flows, row))
            if len(samples) == SAMPLES:
                break
        self._parts.append(Unresolved(reason, int(flows["records"][rows].sum()), tuple(samples)))

    def sorted(self) -> tuple[Unresolved, ...]:
        return tuple(sorted(self._parts))


def describe_row(flows: FlowTable, row: int) -> str:
    """`10.0.0.1 -> 10.0.0.2 TCP 443`, or `10.0.0.1 - 10.0.0.2 TCP` where nobody is known to serve."""
    client = address_text(flows["client_hi"][row], flows["client_lo"][row])
    server = address_text(flows["server_hi"][row], flows["server_lo"][row])
    protocol = protocol_name(flows["protocol"][row])
    port = int(flows["port"][row])
    known = flows["direction"][row] != Direction.UNKNOWN
    network = " and ".join(flows.networks[flows["network"][row]].split(PAIR))
    text = f"{client} {'->' if known else '-'} {server} {protocol}{f' {port}' if port else ''}"
    return f"{text} in {network}" if network else text


def identify(flows: FlowTable, inventory: Inventory) -> IdentifiedFlows:
    """Resolve both ends of every row, as of its time and in its network."""
    resolver = Resolver(inventory)
    ends = [
        resolver.resolve(
            *flows.end_networks(end), flows[f"{end}_hi"], flows[f"{end}_lo"], flows["first"], flows["last"]
        )
        for end in ("client", "server")
    ]
    client, server = ends
    unplaced = _Unplaced(flows)
    silent = flows["direction"] == Direction.UNKNOWN
    several = (client == AMBIGUOUS) | (server == AMBIGUOUS)
    lost = (client == POD_RANGE) | (server == POD_RANGE)
    behind = client == SERVICE
    group = _is_group_address(flows)
    unplaced.add("multicast, broadcast or unspecified address", group)
    legs = gateway_legs(flows, inventory, client, server) & ~group
    unplaced.add("a gateway's leg of a connection: its ends' own interfaces tell the rest", legs)
    group |= legs
    unplaced.add("ambiguous address: more than one owner at that time, or in more than one network", several & ~group)
    unplaced.add("address of a pod range that no known pod held at that time", lost & ~several & ~group)
    unplaced.add("a Service address as client", behind & ~several & ~lost & ~group)
    usable = ~(several | lost | behind | group)
    unplaced.add("direction unknown: neither handshake, fan-in nor ports tell who serves", silent & usable)
    usable &= ~silent
    direct = usable & (server != SERVICE)
    rows = np.flatnonzero(direct)
    parts = [(rows, client[rows], server[rows], flows["port"][rows], np.full(len(rows), -1, np.int32))]
    names: dict[str, int] = {}
    pods = PodIndex(inventory)
    dangling = np.zeros(len(flows), bool)
    names_of_networks, network_of_server = flows.end_networks("server")
    for row in np.flatnonzero(usable & (server == SERVICE)).tolist():
        targets = _behind_service(resolver, pods, flows, row, names_of_networks[network_of_server[row]])
        if targets is None:
            dangling[row] = True
            continue
        via, pairs = targets
        number = names.setdefault(via, len(names))
        count = len(pairs)
        parts.append(
            (
                np.full(count, row),
                np.full(count, client[row], np.int32),
                np.array([endpoint for endpoint, _ in pairs], np.int32),
                np.array([port for _, port in pairs], np.uint16),
                np.full(count, number, np.int32),
            )
        )
    unplaced.add("a Service port that leads to no pod in the inventory", dangling)
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return IdentifiedFlows(
        flows, inventory, joined[0].astype(np.int64), joined[1].astype(np.int32), joined[2].astype(np.int32),
        joined[3].astype(np.uint16), joined[4].astype(np.int32), tuple(names), unplaced.sorted(),
    )  # fmt: skip


def _is_group_address(flows: FlowTable) -> Array:
    """Rows with an end that no single host can be: multicast, limited broadcast, unspecified."""
    found = np.zeros(len(flows), bool)
    for end in ("client", "server"):
        hi, lo = flows[f"{end}_hi"], flows[f"{end}_lo"]
        mapped = (hi == 0) & (lo >> np.uint64(32) == 0xFFFF)
        top = (lo >> np.uint64(28)) & np.uint64(0xF)
        low = lo & np.uint64(0xFFFF_FFFF)
        found |= mapped & ((top == 0xE) | (low == 0xFFFF_FFFF) | (low == 0))
        found |= ~mapped & ((hi >> np.uint64(56) == 0xFF) | ((hi == 0) & (lo == 0)))
    return found


def _behind_service(
    resolver: Resolver, pods: PodIndex, flows: FlowTable, row: int, network: str
) -> tuple[str, list[tuple[int, int]]] | None:
    """(Service name with port, [(endpoint, its port), ...]) of a row that met a Service's address."""
    service = resolver.service_of(int(flows["server_hi"][row]), int(flows["server_lo"][row]), network)
    if service is None:
        return None
    protocol = protocol_name(flows["protocol"][row])
    port = int(flows["port"][row])
    met = [p for p in service.ports if p.protocol == protocol and p.port == port]
    pairs = [
        (number, target)
        for number in pods.selected(service)
        if _lived(pods.endpoint(number), int(flows["first"][row]), int(flows["last"][row]))
        for target in {target_port(p, pods.endpoint(number)) for p in met}
        if target is not None
    ]
    return (f"{service.namespace}/{service.name}:{port}", sorted(pairs)) if pairs else None


def _lived(endpoint: Endpoint, first: int, last: int) -> bool:
    """Whether it was there at any time of [first, last]."""
    begun = endpoint.since is None or endpoint.since <= last
    return begun and (endpoint.until is None or endpoint.until >= first)


def is_private(hi: int, lo: int) -> bool:
    """Whether an address is outside the global internet (not globally routable, by the IANA registries)."""
    return not address_object(hi, lo).is_global
