"""Kubernetes: `kubectl get ... -o json|yaml` lists, single objects, directories of manifests, in any mixture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from analyzers.inventory.facts import Facts, SourceDocument
from analyzers.inventory.fields import Address, Fields
from analyzers.inventory.kubernetes_objects import KubernetesObject, collect
from analyzers.inventory.model import Endpoint, Identity, NamedPort, Service, ServicePort
from analyzers.inventory.ownership import Ownership

PROTOCOLS = ("TCP", "UDP", "SCTP")
_ENDED = ("Succeeded", "Failed")


def sniff(value: object) -> bool:
    """An object, or a list of objects, with kind and apiVersion."""
    first = next((item for item in value if isinstance(item, dict)), None) if isinstance(value, list) else value
    return isinstance(first, dict) and "kind" in first and ("apiVersion" in first or "items" in first)


def read(documents: Sequence[SourceDocument]) -> Facts:
    """Pods, nodes, services, namespaces and workloads. Pods are folded over all documents of a network together."""
    objects = collect(documents)
    ownership = Ownership(objects)
    identities = ownership.identities()
    facts = Facts("cluster", workloads=list(identities.values()))
    facts.host_network_workloads.extend(identities[key] for key in ownership.host_network())
    facts.templates.extend(_template(identities[key], fields) for key, fields in ownership.templates())
    nodes: dict[tuple[str, str], Endpoint] = {}
    pods: list[tuple[KubernetesObject, Endpoint]] = []
    for one in objects:
        if one.namespace:
            facts.namespaces.setdefault(one.namespace, {})
        if one.kind == "Namespace":
            facts.namespaces[one.name] = dict(one.labels)
        elif one.kind == "Node":
            nodes[one.network, one.name] = _node(one, facts)
        elif one.kind == "Service":
            facts.services.append(_service(one))
        elif one.kind == "Pod":
            pods.append((one, _pod(one, identities[ownership.key(one)])))
    endpoints = _closed_by_successors(_without_drafts(pods))
    _imply_nodes(pods, nodes)
    facts.endpoints.extend(_on_nodes(endpoints, nodes))
    facts.endpoints.extend(_without_pod_addresses(nodes, endpoints))
    facts.workloads.extend(node.workload for node in nodes.values())
    return facts


# -- pods ------------------------------------------------------------------------------------------------------------


def _pod(one: KubernetesObject, workload: Identity) -> Endpoint:
    spec, status = one.spec, one.fields.map("status")
    host_network = spec.flag("hostNetwork")
    addresses = (_addresses(status, "hostIPs", "hostIP") if host_network else ()) or _addresses(
        status, "podIPs", "podIP"
    )
    since = status.time("startTime")
    since = one.created if since is None else since
    phase = status.text("phase")
    until = _end(one.fields, status, phase)
    if until is None and phase in _ENDED and addresses:
        one.fields.wrong("status", f"{phase} at an unknown time, so its addresses are not used")
        addresses = ()
    if until is not None and since is not None and until <= since:
        if until < since:
            one.fields.wrong("status", "it ended before it started; taken as one second long", f"{until} < {since}")
        until = since + 1  # times are whole seconds; a short job starts and ends in the same one
    return Endpoint(
        name=one.name,
        namespace=one.namespace,
        workload=workload,
        labels=one.labels,
        addresses=addresses,
        network=one.network,
        since=since,
        until=until,
        host_network=host_network,
        node=spec.text("nodeName"),
        ports=_container_ports(spec),
        origin=one.origin,
    )


def _template(workload: Identity, template: Fields) -> Endpoint:
    """A pod as the template makes it, before it has an address or a name of its own."""
    spec = template.map("spec")
    return Endpoint(
        name=workload.name,
        namespace=workload.namespace,
        workload=workload,
        labels=workload.labels,
        addresses=(),
        network=workload.network,
        host_network=spec.flag("hostNetwork"),
        ports=_container_ports(spec),
        origin=f"{template.notes.file}: {template.where}",
    )


def _addresses(status: Fields, many: str, single: str) -> tuple[Address, ...]:
    found = [item.address("ip") for item in status.maps(many)]
    found.append(status.address(single))
    return tuple(dict.fromkeys(address for address in found if address is not None))


def _end(pod: Fields, status: Fields, phase: str) -> int | None:
    """When the pod gave its address back, in s UTC; None while it runs."""
    if phase in _ENDED:
        finished = [
            time
            for key in ("containerStatuses", "initContainerStatuses")
            for container in status.maps(key)
            if (time := container.map("state").map("terminated").time("finishedAt")) is not None and time > 0
        ]
        if finished:
            return max(finished)
    deleted = pod.map("metadata").time("deletionTimestamp")
    if deleted is not None or phase not in _ENDED:
        return deleted
    conditions = list(status.maps("conditions"))
    completed = [c for c in conditions if c.text("reason") in ("PodCompleted", "PodFailed")]
    changes = [time for c in completed or conditions if (time := c.time("lastTransitionTime")) is not None]
    return max(changes, default=None)


def _container_ports(spec: Fields) -> tuple[NamedPort, ...]:
    containers = list(spec.maps("containers"))
    containers += [c for c in spec.maps("initContainers") if c.value.get("restartPolicy") == "Always"]  # sidecars
    ports = set()
    for container in containers:
        for port in container.maps("ports"):
            number, protocol = port.integer("containerPort", 1, 65535), _protocol(port)
            if number is not None and protocol:
                ports.add(NamedPort(port.text("name"), protocol, number))
    return tuple(sorted(ports))


def _protocol(port: Fields) -> str:
    protocol = port.text("protocol") or "TCP"
    if protocol in PROTOCOLS:
        return protocol
    port.wrong("protocol", "not one of TCP, UDP, SCTP", protocol)
    return ""


def _without_drafts(pods: list[tuple[KubernetesObject, Endpoint]]) -> list[tuple[KubernetesObject, Endpoint]]:
    """Pods without those manifests (no uid) that also exist in the cluster (with one)."""
    living = {(o.network, o.namespace, o.name) for o, _ in pods if o.uid}
    return [(o, e) for o, e in pods if o.uid or (o.network, o.namespace, o.name) not in living]


def _closed_by_successors(pods: list[tuple[KubernetesObject, Endpoint]]) -> list[Endpoint]:
    """A pod's name is free again before the next pod of that name is made: the older one ended by then."""
    names: dict[tuple[str, str, str], list[tuple[int, str, Endpoint]]] = {}
    for one, endpoint in pods:
        created = endpoint.since if one.created is None else one.created
        key = (one.network, one.namespace, one.name)
        names.setdefault(key, []).append((-1 if created is None else created, one.uid, endpoint))
    closed = []
    for same in names.values():
        same.sort(key=lambda entry: entry[:2])
        for (_, _, endpoint), (successor, _, _) in zip(same, [*same[1:], (-1, "", same[0][2])], strict=True):
            if successor >= 0 and (endpoint.until is None or endpoint.until > successor):
                endpoint = replace(endpoint, until=max(successor, (endpoint.since or 0) + 1))
            closed.append(endpoint)
    return closed


# -- nodes -----------------------------------------------------------------------------------------------------------


def _node(one: KubernetesObject, facts: Facts) -> Endpoint:
    status = one.fields.map("status")
    addresses = [
        item.address("address")
        for item in status.maps("addresses")
        if item.text("type") in ("InternalIP", "ExternalIP")
    ]
    ranges = one.spec.texts("podCIDRs") or [one.spec.text("podCIDR")]
    for text in ranges:
        prefix = one.spec.prefix("podCIDRs", text) if text else None
        if prefix:
            facts.pod_cidrs.append((one.network, prefix))
    provider = one.spec.text("providerID")
    if provider:
        facts.provider_ids[one.network, one.name] = provider.rpartition("/")[2]
    return Endpoint(
        name=one.name,
        namespace="",
        workload=Identity("Node", "", one.name, one.network, one.labels),
        labels=one.labels,
        addresses=tuple(dict.fromkeys(address for address in addresses if address is not None)),
        network=one.network,
        since=one.created,
        node=one.name,
        origin=one.origin,
    )


def _imply_nodes(pods: list[tuple[KubernetesObject, Endpoint]], nodes: dict[tuple[str, str], Endpoint]) -> None:
    """Add the nodes that only their pods tell of, with the addresses the pods report for them."""
    implied: dict[tuple[str, str], list[tuple[Address, ...]]] = {}
    for one, endpoint in pods:
        if endpoint.node and (one.network, endpoint.node) not in nodes:
            reported = _addresses(one.fields.map("status"), "hostIPs", "hostIP")
            implied.setdefault((one.network, endpoint.node), []).append(reported)
    for (network, name), reported_by_pods in implied.items():
        addresses = tuple(sorted({address for reported in reported_by_pods for address in reported}))
        workload = Identity("Node", "", name, network)
        nodes[network, name] = Endpoint(name, "", workload, (), addresses, network, node=name, origin="implied by pods")


def _on_nodes(pods: list[Endpoint], nodes: dict[tuple[str, str], Endpoint]) -> Iterator[Endpoint]:
    """Pods, those of the host's network with its addresses where their own status doesn't tell."""
    for pod in pods:
        if pod.host_network and not pod.addresses and (pod.network, pod.node) in nodes:
            yield replace(pod, addresses=nodes[pod.network, pod.node].addresses)
        else:
            yield pod


def _without_pod_addresses(nodes: dict[tuple[str, str], Endpoint], pods: list[Endpoint]) -> Iterator[Endpoint]:
    """Nodes without the address that is their only pod's own (Fargate: one pod, one node, one address)."""
    owned = {(p.network, p.node, a) for p in pods if not p.host_network and p.node for a in p.addresses}
    for (network, name), node in nodes.items():
        yield replace(node, addresses=tuple(a for a in node.addresses if (network, name, a) not in owned))


# -- services --------------------------------------------------------------------------------------------------------


def _service(one: KubernetesObject) -> Service:
    spec = one.spec
    kind = spec.text("type") or "ClusterIP"
    cluster, external = [], []
    if kind != "ExternalName":
        for text in dict.fromkeys([*spec.texts("clusterIPs"), spec.text("clusterIP")]):
            if text and text != "None":
                cluster.append(spec.parsed_address("clusterIPs", text))
        external = [spec.parsed_address("externalIPs", text) for text in spec.texts("externalIPs")]
        balancer = one.fields.map("status").map("loadBalancer")
        external += [ingress.address("ip") for ingress in balancer.maps("ingress")]
    ports = (_service_port(port) for port in spec.maps("ports"))
    return Service(
        namespace=one.namespace,
        name=one.name,
        selector=spec.labels("selector") or None,
        cluster_addresses=tuple(dict.fromkeys(a for a in cluster if a is not None)),
        external_addresses=tuple(dict.fromkeys(a for a in external if a is not None)),
        ports=tuple(sorted((p for p in ports if p), key=lambda p: (p.name, p.protocol, p.port, str(p.target)))),
        kind=kind,
        network=one.network,
        origin=one.origin,
    )


def _service_port(fields: Fields) -> ServicePort | None:
    port, protocol = fields.integer("port", 1, 65535), _protocol(fields)
    if port is None or not protocol:
        if not fields.has("port"):
            fields.wrong("port", "the port is missing")
        return None
    target: int | str | None = port
    if isinstance(fields.value.get("targetPort"), str):
        text = fields.text("targetPort")
        target = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else text or port
    elif fields.has("targetPort"):
        # 0 is what an API server that sets no default sends; it means the port itself
        target = fields.integer("targetPort", 0, 65535) or (port if fields.value["targetPort"] == 0 else None)
    if target is None:
        return None
    node_port = fields.integer("nodePort", 0, 65535)
    return ServicePort(fields.text("name"), protocol, port, target, node_port or None)
