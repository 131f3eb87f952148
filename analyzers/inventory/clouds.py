"""Clusters that run on a cloud's instances: whose network a cluster is in, and whose address is whose."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from analyzers.flows import address_object, address_text
from analyzers.inventory.facts import Facts
from analyzers.inventory.fields import Address
from analyzers.inventory.model import Endpoint, Identity, Interface, InventoryNote


def join(cluster: Facts, cloud: Facts) -> tuple[Facts, Facts, list[InventoryNote]]:
    """The same facts with each address in one place.

    A cluster without a network of its own gets its instances' VPC, when they are all in one. A node and its instance
    become one endpoint (the node, with the instance's security groups). What an interface holds beyond its own
    address belongs to pods: to those that are known, else it is a pod range.
    """
    notes: list[InventoryNote] = []
    networks = _networks_of_nodes(cluster, cloud)
    vpcs = networks.get("", set())
    if len(vpcs) == 1:
        cluster = _moved(cluster, next(iter(vpcs)))
    elif vpcs:
        among = ", ".join(sorted(vpcs))
        notes.append(InventoryNote("kubernetes", "nodes are in several VPCs; give each cluster as NETWORK=path", among))
    for network, found in sorted(networks.items()):
        if network and found - {network}:
            reason = f"cluster network {network!r} is not its nodes' VPC; flows of the VPC won't find its pods"
            notes.append(InventoryNote("kubernetes", reason, ", ".join(sorted(found - {network}))))
    cluster, cloud = _merged(cluster, cloud)
    return cluster, cloud, notes


def _networks_of_nodes(cluster: Facts, cloud: Facts) -> dict[str, set[str]]:
    """Cluster network -> VPCs of its nodes' instances: by instance id, else by node address, else by pod address."""
    vpc_of: dict[str, set[str]] = {}
    for endpoint in cloud.endpoints:
        vpc_of.setdefault(endpoint.name, set()).add(endpoint.network)
    found: dict[str, set[str]] = {}
    for (network, _), instance in cluster.provider_ids.items():
        found.setdefault(network, set()).update(vpc_of.get(instance, ()))
    holders = _AddressHolders(cloud.interfaces)
    for nodes_only in (True, False):
        by_address: dict[str, set[str]] = {}
        for endpoint in cluster.endpoints:
            if not found.get(endpoint.network) and (endpoint.workload.kind == "Node") is nodes_only:
                for address in endpoint.addresses:
                    vpcs = holders.networks(address)
                    if len(vpcs) == 1:  # an address that several VPCs know tells nothing
                        by_address.setdefault(endpoint.network, set()).update(vpcs)
        found.update(by_address)
    return {network: vpcs for network, vpcs in found.items() if vpcs}


class _AddressHolders:
    """Which networks' interfaces hold an address, in person or through a delegated prefix."""

    def __init__(self, interfaces: Iterable[Interface]) -> None:
        self._exact: dict[Address, set[str]] = {}
        self._prefixes: dict[tuple[int, int], dict[int, set[str]]] = {}  # (version, length) -> network bits -> VPCs
        for interface in interfaces:
            for address in interface.addresses:
                self._exact.setdefault(address, set()).add(interface.network)
            for text in interface.prefixes:
                prefix = ipaddress.ip_network(text)
                level = self._prefixes.setdefault((prefix.version, prefix.prefixlen), {})
                level.setdefault(int(prefix.network_address), set()).add(interface.network)

    def networks(self, address: Address) -> set[str]:
        networks = set(self._exact.get(address, ()))
        parsed = address_object(*address)
        for (version, length), level in self._prefixes.items():
            if version == parsed.version:
                shift = parsed.max_prefixlen - length
                networks |= level.get(int(parsed) >> shift << shift, set())
        return networks


def _moved(cluster: Facts, network: str) -> Facts:
    """The facts with everything that has no network put into `network`."""

    def identity(old: Identity) -> Identity:
        return old if old.network else replace(old, network=network)

    return replace(
        cluster,
        endpoints=[
            e if e.network else replace(e, network=network, workload=identity(e.workload)) for e in cluster.endpoints
        ],
        workloads=[identity(w) for w in cluster.workloads],
        services=[s if s.network else replace(s, network=network) for s in cluster.services],
        pod_cidrs=[(n or network, cidr) for n, cidr in cluster.pod_cidrs],
        host_network_workloads=[identity(w) for w in cluster.host_network_workloads],
        provider_ids={(n or network, node): instance for (n, node), instance in cluster.provider_ids.items()},
    )


def _merged(cluster: Facts, cloud: Facts) -> tuple[Facts, Facts]:
    nodes = {(e.network, e.name): e for e in cluster.endpoints if e.workload.kind == "Node"}
    node_of = _instances_of_nodes(cluster, cloud, nodes)
    pod_addresses = {(e.network, a) for e in cluster.endpoints if e.policy_subject for a in e.addresses}
    pod_cidrs = list(cluster.pod_cidrs)
    kept: list[Endpoint] = []
    groups: dict[tuple[str, Address], tuple[str, ...]] = {}  # of interfaces that are a pod's own
    for instance in cloud.endpoints:
        key = (instance.network, instance.name)
        node = node_of.get(key)
        secondary = cloud.secondary.get(key, frozenset())
        own = tuple(a for a in instance.addresses if (instance.network, a) not in pod_addresses)
        if node is not None:
            pod_cidrs += [(instance.network, prefix) for prefix in instance.prefixes]
            pod_cidrs += [(instance.network, _host(a)) for a in own if a in secondary]
            nodes[node] = _with_instance(nodes[node], instance, tuple(a for a in own if a not in secondary))
            continue
        given = [a for a in instance.addresses if a not in own]
        pod_cidrs += [(instance.network, _host(a)) for a in given]  # between one pod and the next it stays a pod's
        groups.update({(instance.network, a): instance.security_groups for a in given if a not in secondary})
        if own or instance.prefixes or not instance.addresses:
            kept.append(replace(instance, addresses=own))
    endpoints = [nodes.get((e.network, e.name), e) if e.workload.kind == "Node" else e for e in cluster.endpoints]
    endpoints = [_with_groups(e, groups) for e in endpoints]
    living = {e.workload for e in kept}
    workloads = [w for w in cloud.workloads if w in living]
    return (
        replace(cluster, endpoints=endpoints, pod_cidrs=pod_cidrs),
        replace(cloud, endpoints=kept, workloads=workloads),
    )


def _instances_of_nodes(
    cluster: Facts, cloud: Facts, nodes: dict[tuple[str, str], Endpoint]
) -> dict[tuple[str, str], tuple[str, str]]:
    """(network, instance) -> (network, node), by the node's provider id or else by an address of both."""
    by_id = {(network, instance): (network, node) for (network, node), instance in sorted(cluster.provider_ids.items())}
    by_address = {
        (network, a): (network, name) for (network, name), node in sorted(nodes.items()) for a in node.addresses
    }
    found = {}
    for endpoint in cloud.endpoints:
        key = (endpoint.network, endpoint.name)
        shared = (by_address.get((endpoint.network, a)) for a in endpoint.addresses)
        node = by_id.get(key) or next((name for name in shared if name), None)
        if node in nodes and endpoint.workload.kind == "Instance":
            found[key] = node
    return found


def _with_instance(node: Endpoint, instance: Endpoint, addresses: tuple[Address, ...]) -> Endpoint:
    return replace(
        node,
        addresses=tuple(dict.fromkeys((*node.addresses, *addresses))),
        security_groups=tuple(sorted({*node.security_groups, *instance.security_groups})),
    )


def _with_groups(endpoint: Endpoint, groups: dict[tuple[str, Address], tuple[str, ...]]) -> Endpoint:
    """A pod with the security groups of the interface that is its own (branch interfaces, Fargate)."""
    if not endpoint.policy_subject:
        return endpoint
    own = {g for a in endpoint.addresses for g in groups.get((endpoint.network, a), ())}
    return replace(endpoint, security_groups=tuple(sorted(own))) if own else endpoint


def _host(address: Address) -> str:
    text = address_text(*address)
    return f"{text}/{128 if ':' in text else 32}"
