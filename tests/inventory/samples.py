"""Small pieces of what kubectl and the AWS command line print, to put inventories together from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from analyzers.flows import address_halves, address_text
from analyzers.inventory.load import load_inventory
from analyzers.inventory.model import Endpoint, Inventory

Object = dict[str, Any]
START = "2026-01-01T00:00:00Z"
START_S = 1767225600


def at(seconds: int) -> str:
    """RFC 3339 of START plus `seconds` (less than a day)."""
    return f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


def metadata(name: str, namespace: str = "shop", owner: str = "", labels: Object | None = None, **more: Any) -> Object:
    """`owner` is `Kind/name`."""
    found: Object = {"name": name, "creationTimestamp": START, "resourceVersion": "100", **more}
    if namespace:
        found["namespace"] = namespace
    if labels is not None:
        found["labels"] = labels
    if owner:
        kind, _, owner_name = owner.partition("/")
        found["ownerReferences"] = [{"apiVersion": "v1", "kind": kind, "name": owner_name, "controller": True}]
    return found


def pod(name: str, address: str = "", owner: str = "", labels: Object | None = None, **more: Any) -> Object:
    """A running pod; `more` goes to its metadata, keys `spec` and `status` are merged into those."""
    spec = {"nodeName": "node-1", "containers": [{"name": "main"}], **more.pop("spec", {})}
    status: Object = {"phase": "Running", "startTime": START, "hostIP": "10.0.0.1"}
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    status |= more.pop("status", {})
    meta = metadata(name, labels=labels or {}, owner=owner, **{"uid": f"uid-{name}", **more})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def finished(seconds: int, phase: str = "Succeeded") -> Object:
    """The status of a pod whose last container ended then."""
    early = {"state": {"terminated": {"exitCode": 0, "finishedAt": at(max(seconds - 10, 0))}}}
    late = {"state": {"terminated": {"exitCode": 0, "finishedAt": at(seconds)}}}
    return {"phase": phase, "containerStatuses": [late, early]}


def workload(kind: str, name: str, labels: Object | None = None, owner: str = "", **template_spec: Any) -> Object:
    """Anything with a pod template."""
    group = {"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1"}.get(kind, "apps/v1")
    template = {"metadata": {"labels": labels or {}}, "spec": {"containers": [{"name": "main"}], **template_spec}}
    spec: Object = {"template": template}
    if kind == "CronJob":
        spec = {"schedule": "@hourly", "jobTemplate": {"spec": spec}}
    return {"apiVersion": group, "kind": kind, "metadata": metadata(name, owner=owner), "spec": spec}


def node(name: str, address: str, **spec: Any) -> Object:
    """A node with one internal address."""
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    meta = metadata(name, namespace="", labels={"kubernetes.io/hostname": name})
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": {"addresses": addresses}}


def service(name: str, cluster_ip: str, ports: list[Object], **spec: Any) -> Object:
    """A ClusterIP service selecting app=<name>."""
    inner = {"clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "selector": {"app": name}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": inner, "status": {}}


def interface(identifier: str, vpc: str, addresses: list[str], instance: str = "", **more: Any) -> Object:
    """One entry of describe-network-interfaces; the first address is the primary one."""
    found: Object = {
        "NetworkInterfaceId": identifier,
        "InterfaceType": "interface",
        "VpcId": vpc,
        "PrivateIpAddress": addresses[0],
        "PrivateIpAddresses": [{"PrivateIpAddress": a, "Primary": i == 0} for i, a in enumerate(addresses)],
        "Groups": [{"GroupId": f"sg-{vpc}", "GroupName": "default"}],
        "TagSet": [],
    }
    if instance:
        found["Attachment"] = {"InstanceId": instance, "DeviceIndex": 0, "AttachTime": "2026-01-01T00:00:00+00:00"}
    return {**found, **more}


def instance(identifier: str, vpc: str, tags: Object, interfaces: list[Object] | None = None) -> Object:
    """One entry of describe-instances."""
    return {
        "InstanceId": identifier,
        "VpcId": vpc,
        "State": {"Code": 16, "Name": "running"},
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "NetworkInterfaces": interfaces or [],
    }


def load(folder: Path, *documents: object, network: str = "") -> Inventory:
    """The inventory of documents, each written into a file of its own; a dict of `items` becomes a List."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, document in enumerate(documents):
        paths.append(folder / f"{number}.{'json' if not isinstance(document, str) else 'txt'}")
        paths[-1].write_text(document if isinstance(document, str) else json.dumps(document))
    return load_inventory(paths, network)


def listed(*objects: Object) -> Object:
    """What `kubectl get -o json` prints."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def halves(*addresses: str) -> tuple[tuple[int, int], ...]:
    """Texts to halves."""
    return tuple(address_halves(a) for a in addresses)


def texts(endpoint: Endpoint) -> list[str]:
    """An endpoint's addresses as texts."""
    return [address_text(*address) for address in endpoint.addresses]


def by_name(inventory: Inventory) -> dict[str, Endpoint]:
    """Endpoints by their names, which must be distinct."""
    found = {e.name: e for e in inventory.endpoints}
    assert len(found) == len(inventory.endpoints)
    return found
