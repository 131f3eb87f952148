"""Gateways that only pass traffic on: what their own interfaces record of it is a leg, not a connection to a peer.

A NAT gateway's or transit gateway's interface stands between two ends. Where the record names the packet's own
addresses, the leg merges with what the ends' interfaces recorded; where one end is the gateway itself, the record
repeats a connection that the workload's own interface has with its true addresses ("Flow log record examples: traffic
through a NAT gateway", Amazon VPC User Guide). Load balancers and VPC endpoints are no such thing: packets are
addressed to them, and security groups may guard them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.flows import FlowTable
from analyzers.ingest.flow_logs import interface_of
from analyzers.inventory import Inventory

GATEWAY_KINDS = frozenset(
    (
        "nat_gateway",
        "regional_nat_gateway",
        "transit_gateway",
        "gateway_load_balancer",
        "gateway_load_balancer_endpoint",
    )
)
"""InterfaceType of describe-network-interfaces."""

Array = NDArray[Any]


def gateway_legs(flows: FlowTable, inventory: Inventory, client: Array, server: Array) -> Array:
    """bool[len(flows)]: rows that are a gateway's leg of a connection, given the ends' endpoint numbers (int32).

    Nothing is addressed to such a gateway, so a row with one as its server is a leg, whoever saw it. A row with one
    as its client is what the server really meets (a private NAT gateway), unless it leaves the inventory or only the
    gateway itself recorded it.
    """
    ids = {interface.id for interface in inventory.interfaces if interface.kind in GATEWAY_KINDS}
    if not ids:
        return np.zeros(len(flows), bool)
    is_gateway = np.array([e.workload.kind == "Interface" and e.name in ids for e in inventory.endpoints], bool)
    watching = np.array([interface_of(name) in ids for name in flows.observers], bool)[flows["observer"]]
    legs: Array = _among(server, is_gateway) | (_among(client, is_gateway) & (watching | (server < 0)))
    return legs


def _among(endpoint: Array, chosen: Array) -> Array:
    found = np.zeros(len(endpoint), bool)
    inside = endpoint >= 0
    found[inside] = chosen[endpoint[inside]]
    return found
