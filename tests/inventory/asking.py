"""Endpoints in one line, and questions to the resolver whose answers are names."""

from __future__ import annotations

import numpy as np

from analyzers.flows import address_halves
from analyzers.inventory.model import Endpoint, Identity, Inventory
from analyzers.inventory.resolve import AMBIGUOUS, POD_RANGE, SERVICE, UNKNOWN, Resolver
from inventory.samples import halves

Row = tuple[str, str, int, int]
"""Network, address, first, last."""


def endpoint(
    name: str,
    address: str,
    since: int | None = None,
    until: int | None = None,
    network: str = "",
    workload: str = "",
    **more: object,
) -> Endpoint:
    """A pod (or what `more` says) whose workload is its own unless named; an address with / is a prefix."""
    kind = "Node" if more.pop("is_node", False) else "Deployment"
    namespace = "" if kind == "Node" else "shop"
    identity = Identity(kind, namespace, workload or name, network)
    prefixes = (address,) if "/" in address else ()
    addresses = () if prefixes else halves(address)
    return Endpoint(
        name,
        namespace,
        identity,
        (),
        addresses,
        network,
        since,
        until,
        prefixes=prefixes,
        **more,  # type: ignore[arg-type]
    )


def resolve(inventory: Inventory, rows: list[Row], networks: tuple[str, ...] = ()) -> list[str]:
    """Endpoint names, or the codes' names, for rows."""
    networks = networks or tuple(sorted({row[0] for row in rows}))
    keys = [address_halves(row[1]) for row in rows]
    found = Resolver(inventory).resolve(
        networks,
        np.array([networks.index(row[0]) for row in rows], np.int32),
        np.array([key[0] for key in keys], np.uint64),
        np.array([key[1] for key in keys], np.uint64),
        np.array([row[2] for row in rows], np.int64),
        np.array([row[3] for row in rows], np.int64),
    )
    assert found.dtype == np.int32
    codes = {UNKNOWN: "unknown", AMBIGUOUS: "ambiguous", SERVICE: "service", POD_RANGE: "pod range"}
    return [codes.get(int(index)) or inventory.endpoints[index].name for index in found]


def one(inventory: Inventory, address: str, first: int, last: int, network: str = "") -> str:
    """The answer to a single row."""
    return resolve(inventory, [(network, address, first, last)])[0]
