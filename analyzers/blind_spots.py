"""What a flow log's format cannot say about the workloads of an inventory: told to the user, never guessed around."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from analyzers.flows import FlowTable, address_object
from analyzers.inventory import Inventory

NAMES = 5
CURE = "create the flow log with ${pkt-srcaddr} and ${pkt-dstaddr}"

Address = tuple[int, int]


def blind_spots(flows: FlowTable, inventory: Inventory, plain_sources: int) -> tuple[str, ...]:
    """Notes on addresses whose traffic seems to be recorded under another one.

    `plain_sources`: how many sources lack pkt-srcaddr or pkt-dstaddr. Without those a record shows the interface's
    primary private IPv4 address in the place of its secondary ones ("Flow log limitations", Amazon VPC User Guide),
    and secondary ones are what pods of the VPC CNI have. A node that appears while none of its pods does, or an
    interface whose primary address appears and no other one, is taken for a case of it.
    """
    if not plain_sources or not len(flows):
        return ()
    met = _addresses_met(flows)
    lacking = f"pkt-srcaddr and pkt-dstaddr are not in the format of {plain_sources} sources, so traffic of secondary "
    lacking += "addresses is recorded under their interfaces' primary ones:"
    pods = _hidden_pods(inventory, met)
    if pods:
        some = ", ".join(pods[:NAMES]) + (" ..." if len(pods) > NAMES else "")
        return (
            f"{lacking} {len(pods)} pods never appear while their nodes do ({some}). "
            f"What they need cannot be told from these logs; {CURE}",
        )
    addresses = _hidden_addresses(inventory, met)
    if addresses:
        return (
            f"{lacking} {addresses} such addresses never appear while the primary ones do. "
            f"What holds them (pods, for one) cannot be told from these logs; {CURE}",
        )
    return ()


def _addresses_met(flows: FlowTable) -> set[Address]:
    found: set[Address] = set()
    for end in ("client", "server"):
        pairs = np.unique(np.stack([flows[f"{end}_hi"], flows[f"{end}_lo"]], axis=1), axis=0)
        found.update((hi, lo) for hi, lo in pairs.tolist())
    return found


def _hidden_pods(inventory: Inventory, met: set[Address]) -> list[str]:
    """Pods of nodes that appear while none of their pods does, sorted."""
    nodes: dict[tuple[str, str], set[Address]] = {}
    pods: dict[tuple[str, str], list[tuple[str, tuple[Address, ...]]]] = defaultdict(list)
    for endpoint in inventory.endpoints:
        if endpoint.workload.kind == "Node":
            nodes.setdefault((endpoint.network, endpoint.name), set()).update(endpoint.addresses)
        elif endpoint.policy_subject and endpoint.addresses:
            name = f"{endpoint.namespace}/{endpoint.name}"
            pods[endpoint.network, endpoint.node].append((name, endpoint.addresses))
    hidden: list[str] = []
    for key, own in pods.items():
        if met & nodes.get(key, set()) and all(met.isdisjoint(addresses) for _, addresses in own):
            hidden += [name for name, _ in own]
    return sorted(hidden)


def _hidden_addresses(inventory: Inventory, met: set[Address]) -> int:
    """How many secondary private IPv4 addresses belong to interfaces of which the primary one alone appears."""
    count = 0
    for interface in inventory.interfaces:
        private = [a for a in interface.addresses if a[0] == 0 and a[1] >> 32 == 0xFFFF and _is_private(a)]
        if private and private[0] in met and met.isdisjoint(private[1:]):
            count += len(private) - 1
    return count


def _is_private(address: Address) -> bool:
    return not address_object(*address).is_global
