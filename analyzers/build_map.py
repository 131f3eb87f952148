"""IdentifiedFlows -> ServiceMap: rows folded into edges, every connection counted once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import PAIR, Direction, Verdict, address_text
from analyzers.identify import EXTERNAL, IdentifiedFlows, is_private
from analyzers.inventory import Identity
from analyzers.servicemap import Edge, End, External, ServiceMap

Array = NDArray[Any]
COUNTERS = ("records", "packets", "bytes", "reply_packets", "reply_bytes")
ADDRESSES = 8


def build_map(identified: IdentifiedFlows) -> tuple[ServiceMap, Array]:
    """The map, and int64[len(identified)]: which edge each identified row went into."""
    ends, client = _ends(identified, "client")
    others, server = _ends(identified, "server")
    names = sorted({*ends, *others}, key=end_order)
    place = {end: i for i, end in enumerate(names)}
    client = np.array([place[e] for e in ends], np.int64)[client] if len(ends) else client
    server = np.array([place[e] for e in others], np.int64)[server] if len(others) else server
    protocol = identified.flows["protocol"][identified.row].astype(np.int64)
    keys = np.stack([client, server, protocol, identified.port.astype(np.int64)], axis=1)
    unique, number = np.unique(keys, axis=0, return_inverse=True)
    number = number.reshape(-1)
    facts = _facts(identified, number, len(unique))
    edges = tuple(
        Edge(
            client=names[int(key[0])],
            server=names[int(key[1])],
            protocol=int(key[2]),
            port=int(key[3]),
            **facts[i],
        )
        for i, key in enumerate(unique)
    )
    seen = frozenset(
        end for edge in edges for end in (edge.client, edge.server) if isinstance(end, Identity)
    ) | _seen_elsewhere(identified)
    return ServiceMap(edges, identified.unresolved, (), seen), number


def end_order(end: End) -> tuple[int, str, str, str, str]:
    """Sorting of workloads before external addresses, and both by name."""
    if isinstance(end, External):
        return (1, end.network, end.address, "", "")
    return (0, end.namespace, end.name, end.kind, end.network)


def _seen_elsewhere(identified: IdentifiedFlows) -> frozenset[Identity]:
    """Workloads of rows that are identified; those with an unknown direction are not evidence of anything."""
    endpoints = identified.inventory.endpoints
    numbers = np.unique(np.concatenate([identified.client, identified.server]))
    return frozenset(endpoints[n].workload for n in numbers.tolist() if n >= 0)


def _ends(identified: IdentifiedFlows, side: str) -> tuple[list[End], Array]:
    """Distinct ends of one side, and int64[n] numbers into them."""
    endpoint = getattr(identified, side)
    flows = identified.flows
    hi, lo = flows[f"{side}_hi"][identified.row], flows[f"{side}_lo"][identified.row]
    networks, of_row = flows.end_networks(side)
    network = of_row[identified.row]
    outside = endpoint == EXTERNAL
    found: dict[End, int] = {}
    numbers = np.zeros(len(endpoint), np.int64)
    inside, which = np.unique(endpoint[~outside], return_inverse=True)
    of = [found.setdefault(identified.inventory.endpoints[e].workload, len(found)) for e in inside.tolist()]
    numbers[~outside] = np.array(of, np.int64)[which.reshape(-1)] if of else 0
    keys = np.stack([hi[outside], lo[outside], network[outside].astype(np.uint64)], axis=1)
    addresses, which = np.unique(keys, axis=0, return_inverse=True)
    of = []
    for upper, lower, n in addresses.tolist():
        private = is_private(upper, lower)
        # a global address is one and the same in every network
        end = External(address_text(upper, lower), networks[n] if private else "", private)
        of.append(found.setdefault(end, len(found)))
    numbers[outside] = np.array(of, np.int64)[which.reshape(-1)] if of else 0
    return list(found), numbers


def _facts(identified: IdentifiedFlows, edge: Array, count: int) -> list[dict[str, Any]]:
    """Everything about each edge but its key."""
    flows, row = identified.flows, identified.row
    verdict = flows["verdict"][row]
    rejected = np.zeros(count, bool)
    rejected[edge[verdict == Verdict.REJECT]] = True
    accepted = np.zeros(count, bool)
    accepted[edge[verdict != Verdict.REJECT]] = True
    # what was rejected does not count where something was accepted
    counted = (verdict != Verdict.REJECT) | ~accepted[edge]
    sums = _counted_once(identified, edge, count, counted)
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, edge, flows["first"][row])
    last = np.zeros(count, np.int64)
    np.maximum.at(last, edge, flows["last"][row])
    evidence = np.zeros(count, np.uint8)
    np.bitwise_or.at(evidence, edge[counted], flows["evidence"][row][counted])
    directions = _sets(edge, flows["direction"][row].astype(np.int64), count)
    networks = _sets(edge, flows["network"][row].astype(np.int64), count)
    observers = _sets(edge, flows["observer"][row].astype(np.int64), count)
    via = _sets(edge, identified.via.astype(np.int64), count)
    addresses = {side: _addresses(identified, side, edge, count) for side in ("client", "server")}
    return [
        {
            "accepted": bool(accepted[i]),
            "rejected": bool(rejected[i]),
            **{name: int(sums[name][i]) for name in COUNTERS},
            "first": int(first[i]),
            "last": int(last[i]),
            "evidence": int(evidence[i]),
            "directions": tuple(Direction(d) for d in directions[i]),
            "networks": tuple(sorted({half for n in networks[i] for half in flows.networks[n].split(PAIR)})),
            "observers": len(observers[i]),
            "client_addresses": addresses["client"][i],
            "server_addresses": addresses["server"][i],
            "via": tuple(sorted(identified.services[v] for v in via[i] if v >= 0)),
        }
        for i in range(count)
    ]


def _counted_once(identified: IdentifiedFlows, edge: Array, count: int, counted: Array) -> dict[str, Array]:
    """Counters of each edge: summed per pair of addresses and observer, the largest observer of each pair, summed.

    Both interfaces log the same connection; each pair of addresses is seen whole by each of its observers.
    """
    flows, row = identified.flows, identified.row[counted]
    keys = np.stack(
        [
            edge[counted].astype(np.uint64), flows["client_hi"][row], flows["client_lo"][row],
            flows["server_hi"][row], flows["server_lo"][row], flows["port"][row].astype(np.uint64),
            flows["observer"][row].astype(np.uint64),
        ],
        axis=1,
    )  # fmt: skip
    order = np.lexsort(keys.T[::-1])
    keys = keys[order]
    sums: dict[str, Array] = {}
    if not len(keys):
        return {name: np.zeros(count, np.uint64) for name in COUNTERS}
    fresh = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)]))
    pairs = keys[fresh]
    new_pair = np.flatnonzero(np.concatenate([[True], (pairs[1:, :-1] != pairs[:-1, :-1]).any(axis=1)]))
    of_edge = pairs[new_pair, 0].astype(np.int64)
    for name in COUNTERS:
        per_observer = np.add.reduceat(flows[name][row][order], fresh)
        per_pair = np.maximum.reduceat(per_observer, new_pair)
        total = np.zeros(count, np.uint64)
        np.add.at(total, of_edge, per_pair)
        sums[name] = total
    return sums


def _sets(edge: Array, values: Array, count: int) -> list[list[int]]:
    """Distinct values of each edge, ascending."""
    pairs = np.unique(np.stack([edge, values], axis=1), axis=0)
    found: list[list[int]] = [[] for _ in range(count)]
    for number, value in pairs.tolist():
        found[number].append(value)
    return found


def _addresses(identified: IdentifiedFlows, side: str, edge: Array, count: int) -> list[tuple[str, ...]]:
    """Up to ADDRESSES addresses of each edge's end, the numerically first ones."""
    flows, row = identified.flows, identified.row
    keys = np.stack([edge.astype(np.uint64), flows[f"{side}_hi"][row], flows[f"{side}_lo"][row]], axis=1)
    found: list[list[str]] = [[] for _ in range(count)]
    for number, hi, lo in np.unique(keys, axis=0).tolist():
        if len(found[number]) < ADDRESSES:
            found[number].append(address_text(hi, lo))
    return [tuple(some) for some in found]
