"""Clusters to judge: as manifests for all engines, and as values for sizes that nobody reads from text."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Identity, Inventory, NamedPort
from policygen.model import CidrPeer, PodPeer, Policy, PolicySet, PortRange, Rule, Selector

PORTS = (53, 80, 443, 3306, 5432, 6379, 8080, 8443, 9090, 9092)
NAME_OF = {80: "http", 8080: "web", 9090: "metrics"}


@dataclass(frozen=True)
class Shape:
    """How large: `workloads` over `namespaces`, `replicas` pods each, and so many policies."""

    namespaces: int
    workloads: int
    replicas: int
    policies: int
    seed: int = 1


def world(shape: Shape) -> tuple[PolicySet, Inventory]:
    """The same shape gives the same world. Every other policy isolates one workload for ingress, the others both ways;
    rules name workloads by label, tiers of a namespace, a team's namespaces, and blocks."""
    chance = Random(shape.seed)
    spaces = {f"ns{i}": {"team": f"team{i % 20}", "env": "prod" if i % 3 else "test"} for i in range(shape.namespaces)}
    names = list(spaces)
    owners = [(names[i % len(names)], f"app{i}") for i in range(shape.workloads)]
    pods = []
    for index, (namespace, name) in enumerate(owners):
        labels = (("app", name), ("tier", f"tier{index % 4}"))
        ports = tuple(NamedPort(NAME_OF.get(port, ""), "TCP", port) for port in sorted(chance.sample(PORTS, 3)))
        identity = Identity("Deployment", namespace, name, labels=labels)
        for replica in range(shape.replicas):
            number = index * shape.replicas + replica
            address = address_halves(f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}")
            own = (*labels, ("pod-template-hash", f"{index:x}"))
            pods.append(Endpoint(f"{name}-{replica}", namespace, identity, own, (address,), ports=ports, node="n1"))
    policies = [_policy(chance, i, owners[i % len(owners)], owners) for i in range(shape.policies)]
    return PolicySet(tuple(policies)).sorted(), Inventory(endpoints=tuple(pods), namespaces=spaces)


def _policy(chance: Random, number: int, owner: tuple[str, str], owners: list[tuple[str, str]]) -> Policy:
    namespace, name = owner
    return Policy(
        f"p{number}",
        namespace,
        Selector.of(app=name) if number < len(owners) else Selector.of(tier=f"tier{number % 4}"),
        ingress=tuple(_rule(chance, owners) for _ in range(chance.randint(1, 3))),
        egress=tuple(_rule(chance, owners) for _ in range(chance.randint(1, 3))) if number % 2 else None,
    )


def _rule(chance: Random, owners: list[tuple[str, str]]) -> Rule:
    peers: list[PodPeer | CidrPeer] = []
    for _ in range(chance.randint(1, 2)):
        kind = chance.random()
        namespace, name = chance.choice(owners)
        by_name = Selector((("kubernetes.io/metadata.name", namespace),))
        if kind < 0.3:
            peers.append(PodPeer(by_name, Selector.of(app=name)))
        elif kind < 0.5:
            peers.append(PodPeer(by_name, Selector.of(tier=f"tier{chance.randrange(4)}")))
        elif kind < 0.8:
            peers.append(PodPeer(Selector.of(team=f"team{chance.randrange(20)}"), None))
        elif kind < 0.9:
            peers.append(CidrPeer(f"192.168.{chance.randrange(0, 256, 16)}.0/20", ()))
        else:
            peers.append(CidrPeer("0.0.0.0/0", ("10.0.0.0/8", "172.16.0.0/12")))
    ports: list[PortRange] = []
    for _ in range(chance.randint(1, 2)):
        port = chance.choice(PORTS)
        choice = chance.random()
        if choice < 0.1:
            ports.append(PortRange("TCP", chance.choice(list(NAME_OF.values()))))
        elif choice < 0.2:
            ports.append(PortRange("TCP", port, port + 10))
        else:
            ports.append(PortRange(chance.choice(("TCP", "TCP", "UDP")), port))
    return Rule(tuple(dict.fromkeys(peers)), tuple(dict.fromkeys(ports)))


def manifests(policies: PolicySet, inventory: Inventory) -> list[dict[str, Any]]:
    """The same world as objects, for engines that read."""
    found: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {**labels, "kubernetes.io/metadata.name": name}},
        }
        for name, labels in inventory.namespaces.items()
    ]
    for pod in inventory.endpoints:
        ports = [
            {"containerPort": port.number, "protocol": port.protocol} | ({"name": port.name} if port.name else {})
            for port in pod.ports
        ]
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": pod.name, "namespace": pod.namespace, "labels": dict(pod.labels)},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]},
            }
        )
    return found + [_object(policy) for policy in policies.policies]


def _object(policy: Policy) -> dict[str, Any]:
    spec: dict[str, Any] = {"podSelector": {"matchLabels": dict(policy.subject.labels)}}
    spec["policyTypes"] = ["Ingress"] if policy.egress is None else ["Ingress", "Egress"]
    for field, peers, rules in (("ingress", "from", policy.ingress), ("egress", "to", policy.egress)):
        if rules is None:
            continue
        spec[field] = [
            {peers: [_peer(peer) for peer in rule.peers or ()], "ports": [_port(port) for port in rule.ports or ()]}
            for rule in rules or ()
        ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.namespace},
        "spec": spec,
    }


def _peer(peer: object) -> dict[str, Any]:
    if isinstance(peer, CidrPeer):
        return {"ipBlock": {"cidr": peer.cidr} | ({"except": list(peer.excepts)} if peer.excepts else {})}
    assert isinstance(peer, PodPeer)
    found: dict[str, Any] = {}
    for field, selector in (("namespaceSelector", peer.namespaces), ("podSelector", peer.pods)):
        if selector is not None:
            found[field] = {"matchLabels": dict(selector.labels)}
    return found


def _port(port: PortRange) -> dict[str, Any]:
    found = {"protocol": port.protocol, "port": port.port}
    return found if port.end is None else {**found, "endPort": port.end}
