"""A second, tiny reading of NetworkPolicy v1, and the questions that the acceptance test asks of a policy directory.

It reads the written YAML with PyYAML and answers in sets of ports; complaints come back as text, none means right.
Where the specification leaves open whether an ipBlock matches pods, the stricter reading is taken: it doesn't when
something must be allowed, and it does when something must be denied.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .cluster import Pod
from .simulator import Simulation, Truth

Ports = list[tuple[str, int, int]]
"""(protocol, lowest, highest) that are allowed."""

EVERYTHING: Ports = [("TCP", 0, 65535), ("UDP", 0, 65535), ("SCTP", 0, 65535)]
VOLATILE = (
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
)


@dataclass(frozen=True)
class PodView:
    """A pod as a policy sees it."""

    owner: str  # the workload's key
    namespace: str
    labels: Mapping[str, str]
    address: str
    named_ports: Mapping[tuple[str, str], int]  # (protocol, name) -> number


End = PodView | str
"""A pod, or an address that is none."""


@dataclass(frozen=True)
class World:
    """What the policies are judged against."""

    truth: Truth
    namespaces: dict[str, dict[str, str]]
    pods: dict[str, list[PodView]]  # workload key -> its listed pods and those of runs to come
    policies: list[dict[str, Any]]
    isolating: dict[tuple[int, str], list[dict[str, Any]]] = field(default_factory=dict)

    def ends(self, name: str) -> list[End]:
        """The pods of a workload key (the first and the last two stand for all), or the address itself."""
        pods = self.pods.get(name)
        return [name] if pods is None else [*pods[:1], *pods[1:][-2:]]


def view(pod: Pod) -> PodView:
    """How policies see a simulated pod."""
    workload = pod.workload
    named = {(p.protocol, p.name): p.number for p in workload.ports if p.declared}
    return PodView(workload.key, workload.namespace, pod.labels, pod.address or "10.60.250.250", named)


def read_world(simulation: Simulation, folder: Path) -> World:
    """The simulation's pods, and the policies in all YAML files below `folder`."""
    pods: dict[str, list[PodView]] = {w.key: [] for w in simulation.cluster.workloads if not w.host_network}
    for pod in (*simulation.cluster.pods, *simulation.truth.future):
        if pod.listed and pod.workload.key in pods:
            pods[pod.workload.key].append(view(pod))
    policies = [
        document
        for path in sorted(folder.rglob("*.yaml"))
        for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)  # the safe one
        if isinstance(document, dict) and document.get("kind") == "NetworkPolicy"
    ]
    return World(simulation.truth, simulation.cluster.namespaces, {k: v for k, v in pods.items() if v}, policies)


def selected(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """A label selector against labels; an empty one selects everything."""
    selector = selector or {}
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for need in selector.get("matchExpressions") or []:
        value, values = labels.get(need["key"]), need.get("values", [])
        holds = {
            "In": value is not None and value in values,
            "NotIn": value is None or value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[need["operator"]]
        if not holds:
            return False
    return True


def subject_of(policy: Mapping[str, Any], pod: PodView) -> bool:
    """Whether a policy selects a pod."""
    namespace = policy["metadata"].get("namespace", "default")
    return bool(namespace == pod.namespace and selected(policy["spec"].get("podSelector"), pod.labels))


@functools.cache
def _inside(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def _peer_matches(world: World, peer: Mapping[str, Any], home: str, end: End, blocks_match_pods: bool) -> bool:
    if "ipBlock" in peer:
        if isinstance(end, PodView) and not blocks_match_pods:
            return False
        address = end.address if isinstance(end, PodView) else end
        block = peer["ipBlock"]
        return _inside(address, block["cidr"]) and not any(_inside(address, e) for e in block.get("except") or [])
    if isinstance(end, str):
        return False
    if "namespaceSelector" in peer:
        labels = {**world.namespaces.get(end.namespace, {}), "kubernetes.io/metadata.name": end.namespace}
        if not selected(peer["namespaceSelector"], labels):
            return False
    elif end.namespace != home:
        return False
    return selected(peer.get("podSelector"), end.labels)


def _ports(rule: Mapping[str, Any], destination: End) -> Ports:
    if not rule.get("ports"):
        return EVERYTHING
    found: Ports = []
    for entry in rule["ports"]:
        protocol, port = entry.get("protocol", "TCP"), entry.get("port")
        if port is None:
            found.append((protocol, 0, 65535))
        elif isinstance(port, str):
            number = destination.named_ports.get((protocol, port)) if isinstance(destination, PodView) else None
            found += [(protocol, number, number)] if number is not None else []
        else:
            found.append((protocol, port, entry.get("endPort", port)))
    return found


def one_way(world: World, pod: PodView, direction: str, peer: End, blocks_match_pods: bool) -> Ports:
    """The ports that the policies of `pod` allow in one direction; everything where none isolates it."""
    specs = _isolating(world, pod, direction)
    side = "from" if direction == "Ingress" else "to"
    found: Ports = []
    for spec in specs:
        for rule in spec.get(direction.lower()) or []:
            peers = rule.get(side)
            if not peers or any(_peer_matches(world, p, pod.namespace, peer, blocks_match_pods) for p in peers):
                found += _ports(rule, pod if direction == "Ingress" else peer)
    return found if specs else EVERYTHING


def _isolating(world: World, pod: PodView, direction: str) -> list[dict[str, Any]]:
    """The specs of the policies that select a pod and have the direction among their types; kept for the next ask."""
    key = (id(pod), direction)
    if key not in world.isolating:
        world.isolating[key] = [
            spec
            for policy, spec in ((p, p["spec"]) for p in world.policies)
            if direction in (spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])])
            and subject_of(policy, pod)
        ]
    return world.isolating[key]


def allowed(world: World, client: End, server: End, *, generous: bool) -> Ports:
    """What both ends together allow from client to server."""
    out = one_way(world, client, "Egress", server, generous) if isinstance(client, PodView) else EVERYTHING
    into = one_way(world, server, "Ingress", client, generous) if isinstance(server, PodView) else EVERYTHING
    return [
        (protocol, max(low, lower), min(high, higher))
        for protocol, low, high in out
        for other, lower, higher in into
        if protocol == other and max(low, lower) <= min(high, higher)
    ]


def denied_edges(world: World) -> Iterable[str]:
    """True edges that the policies would break, between any of their pods."""
    for edge in sorted(world.truth.edges):
        broken = (
            (client, server)
            for client in world.ends(edge.client)
            for server in world.ends(edge.server)
            if not any(
                protocol == edge.protocol and low <= edge.port <= high
                for protocol, low, high in allowed(world, client, server, generous=False)
            )
        )
        for client, server in itertools.islice(broken, 1):
            yield f"denied although needed: {edge} (for example from {client} to {server})"


def needless_pairs(world: World) -> Iterable[str]:
    """Pairs of workloads, and ports, that are allowed though nobody needed them. DNS is kept for everybody."""
    needed = {(e.client, e.server, e.protocol, e.port) for e in world.truth.edges}
    for client in sorted(world.pods):
        for server in sorted(world.pods):
            if not {client, server} & world.truth.appearing:
                continue  # never seen: left alone, and said so in the report
            ports = allowed(world, world.pods[client][-1], world.pods[server][0], generous=True)
            for protocol, low, high in ports:
                name_lookup = server == world.truth.dns and low == 53
                if low != high or not (name_lookup or (client, server, protocol, low) in needed):
                    yield f"allowed although never needed: {client} to {server} on {protocol} {low}-{high}"


def needless_addresses(world: World) -> Iterable[str]:
    """ipBlocks that are not exactly an address somebody needed, nor the internet where it is meant."""
    truth = world.truth
    nodes = {a for addresses in truth.host_addresses.values() for a in addresses}
    needed = {(e.client, e.server, e.protocol, e.port) for e in truth.edges}
    for policy in world.policies:
        owners = {k for k, pods in world.pods.items() if any(subject_of(policy, p) for p in pods)}
        where = f"{policy['metadata'].get('namespace')}/{policy['metadata']['name']}"
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction) or []:
                for block in (p["ipBlock"] for p in rule.get(side) or [] if "ipBlock" in p):
                    network = ipaddress.ip_network(block["cidr"])
                    addresses = {str(network.network_address)} if network.num_addresses == 1 else set()
                    if addresses & nodes:
                        addresses = nodes  # a DaemonSet on the host network may be all nodes
                    for protocol, low, high in _ports(rule, ""):
                        if network.prefixlen == 0:
                            right = direction == "ingress" and {(o, low) for o in owners} <= truth.internet_facing
                            right = right and low == high and "10.0.0.0/8" in (block.get("except") or [])
                        else:
                            right = low == high and any(
                                ((a, o) if direction == "ingress" else (o, a)) + (protocol, low) in needed
                                for a in addresses
                                for o in owners
                            )
                        if not right:
                            yield f"{where}: {direction} {block} on {protocol} {low}-{high} was never needed"


def foreign_ports(world: World) -> Iterable[str]:
    """Ports in rules that no server serves: client ports, Service ports, scanned ports."""
    served = {(e.protocol, e.port) for e in world.truth.edges} | {("TCP", 53)}
    for policy in world.policies:
        for direction in ("ingress", "egress"):
            for rule in policy["spec"].get(direction) or []:
                if not rule.get("ports"):
                    yield f"{policy['metadata']['name']}: a rule without ports"
                for entry in rule.get("ports") or []:
                    port, protocol = entry.get("port"), entry.get("protocol", "TCP")
                    if isinstance(port, int) and ((protocol, port) not in served or entry.get("endPort", port) != port):
                        yield f"{policy['metadata']['name']}: {direction} on {protocol} {port} serves nobody"
                    elif port is None:
                        yield f"{policy['metadata']['name']}: {direction} on all ports"


def wrong_subjects(world: World) -> Iterable[str]:
    """Workloads that appear and are not isolated both ways, idle ones that are, pods and runs to come that differ."""
    for owner, pods in sorted(world.pods.items()):
        choices = {tuple(p["metadata"]["name"] for p in world.policies if subject_of(p, pod)) for pod in pods}
        if len(choices) > 1:
            yield f"{owner}: its pods are selected by different policies: {sorted(choices)}"
        isolated = all(
            any(subject_of(p, pod) and direction in p["spec"].get("policyTypes", ()) for p in world.policies)
            for pod in pods
            for direction in ("Ingress", "Egress")
        )
        if owner in world.truth.appearing and not isolated:
            yield f"{owner}: appears in flows and is not isolated in both directions"
        if owner in world.truth.idle and choices != {()}:
            yield f"{owner}: never seen, and selected by {sorted(choices)}"


def volatile_labels(world: World) -> Iterable[str]:
    """Label keys in selectors that do not outlive a pod."""

    def keys(node: object) -> Iterable[str]:
        if isinstance(node, dict):
            yield from node.get("matchLabels") or {}
            yield from (e["key"] for e in node.get("matchExpressions") or [])
            for value in node.values():
                yield from keys(value)
        elif isinstance(node, list):
            for value in node:
                yield from keys(value)

    for policy in world.policies:
        for key in keys(policy["spec"]):
            if key.startswith(VOLATILE):
                yield f"{policy['metadata']['name']}: selects by {key}"


def complaints(world: World) -> list[str]:
    """Everything that is wrong with the policies; an empty list is the right answer."""
    questions = (
        denied_edges,
        needless_pairs,
        needless_addresses,
        foreign_ports,
        wrong_subjects,
        volatile_labels,
    )
    return [complaint for question in questions for complaint in question(world)]
