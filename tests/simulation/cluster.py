"""What runs in the simulated cluster, and how `kubectl get -A -o json` shows it."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import flow_logs

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a workload serves. `declared` False: no containerPort names it."""

    name: str
    number: int
    protocol: str = "TCP"
    declared: bool = True


@dataclass(frozen=True)
class Workload:
    """A controller with a pod template (kind Deployment, StatefulSet, DaemonSet, CronJob or Job)."""

    kind: str
    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...]
    ports: tuple[Port, ...] = ()
    replicas: int = 2
    host_network: bool = False
    schedule: str = "*/10 * * * *"  # of a CronJob

    @property
    def key(self) -> str:
        """`namespace/Kind/name`."""
        return f"{self.namespace}/{self.kind}/{self.name}"

    def port(self, name: str) -> Port:
        """The port of that name."""
        return next(p for p in self.ports if p.name == name)


@dataclass(frozen=True)
class Service:
    """A ClusterIP Service; headless when `address` is `None`."""

    namespace: str
    name: str
    workload: Workload
    address: str | None
    ports: tuple[tuple[str, str, int, int | str], ...]  # name, protocol, port, target port

    def port_of(self, target: Port) -> int:
        """The Service's port that leads to a workload's port. Raises StopIteration when it has none."""
        found = (p for _, proto, p, t in self.ports if proto == target.protocol and t in (target.number, target.name))
        return next(found)


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    name: str
    address: str
    interface: flow_logs.Interface
    pod_cidr: str


@dataclass
class Pod:
    """One pod in its time. `listed` False: it was deleted before the inventory was taken."""

    workload: Workload
    name: str
    controller: tuple[str, str]  # kind and name of its direct owner: ReplicaSet, Job, ...
    labels: dict[str, str]
    start: int
    end: int | None = None
    listed: bool = True
    evicted: bool = False
    address: str = ""
    node: Node | None = None
    interface: flow_logs.Interface | None = None


@dataclass
class Cluster:
    """Everything that runs or ran, in the order in which it started."""

    namespaces: dict[str, dict[str, str]]
    nodes: list[Node]
    workloads: list[Workload] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)

    def pods_of(self, workload: Workload) -> list[Pod]:
        """All pods of a workload, gone ones included."""
        return [p for p in self.pods if p.workload is workload]

    def service_of(self, workload: Workload) -> Service | None:
        """The first Service with an address in front of a workload."""
        return next((s for s in self.services if s.workload is workload and s.address), None)


def uid(*parts: str) -> str:
    """A stable UUID-like text for an object."""
    digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def timestamp(seconds: int) -> str:
    """RFC 3339, as the API server prints it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def kubectl_list(cluster: Cluster) -> JsonObject:
    """`kubectl get ns,nodes,pods,svc,deploy,rs,sts,ds,cj,jobs -A -o json`: one List."""
    items: list[JsonObject] = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "uid": uid("ns", name),
                "labels": {"kubernetes.io/metadata.name": name, **labels},
            },
            "status": {"phase": "Active"},
        }
        for name, labels in cluster.namespaces.items()
    ]
    items += [_node(n) for n in cluster.nodes]
    items += [_pod(p) for p in cluster.pods if p.listed]
    items += [_service(s) for s in cluster.services]
    for workload in cluster.workloads:
        items.append(_workload(workload))
    items += _controllers(cluster)
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}


def _node(node: Node) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "uid": uid("node", node.name), "labels": {"kubernetes.io/hostname": node.name}},
        "spec": {
            "podCIDR": node.pod_cidr,
            "podCIDRs": [node.pod_cidr],
            "providerID": f"aws:///eu-west-1a/{node.interface.instance}",
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node.address},
                {"type": "Hostname", "address": node.name},
            ]
        },
    }


def _container(workload: Workload) -> JsonObject:
    ports = [{"name": p.name, "containerPort": p.number, "protocol": p.protocol} for p in workload.ports if p.declared]
    return {
        "name": workload.name,
        "image": f"registry.invalid/{workload.name}:1.0",
        **({"ports": ports} if ports else {}),
    }


def _pod_spec(workload: Workload) -> JsonObject:
    network = {"hostNetwork": True} if workload.host_network else {}
    restart = {"restartPolicy": "OnFailure"} if workload.kind in ("CronJob", "Job") else {}
    return {"containers": [_container(workload)], **network, **restart}


def _template(workload: Workload, extra: Mapping[str, str] | None = None) -> JsonObject:
    return {"metadata": {"labels": {**dict(workload.labels), **(extra or {})}}, "spec": _pod_spec(workload)}


def _owner(kind: str, namespace: str, name: str) -> list[JsonObject]:
    group = {"ReplicaSet": "apps/v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}
    return [
        {
            "apiVersion": group.get(kind, "batch/v1"),
            "kind": kind,
            "name": name,
            "uid": uid(kind, namespace, name),
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def _pod(pod: Pod) -> JsonObject:
    assert pod.node is not None
    finished = pod.end is not None
    status: JsonObject = {
        "phase": ("Failed" if pod.evicted else "Succeeded") if finished else "Running",
        "hostIP": pod.node.address,
        "hostIPs": [{"ip": pod.node.address}],
        "podIP": pod.address,
        "podIPs": [{"ip": pod.address}],
        "startTime": timestamp(pod.start),
    }
    state: JsonObject = {"running": {"startedAt": timestamp(pod.start + 1)}}
    if pod.end is not None:
        reason = {"exitCode": 137, "reason": "Error"} if pod.evicted else {"exitCode": 0, "reason": "Completed"}
        state = {"terminated": {**reason, "startedAt": timestamp(pod.start + 1), "finishedAt": timestamp(pod.end)}}
        if pod.evicted:
            status["reason"] = "Evicted"
    status["containerStatuses"] = [{"name": pod.workload.name, "ready": not finished, "state": state}]
    kind, name = pod.controller
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": pod.workload.namespace,
            "uid": uid("pod", pod.workload.namespace, pod.name),
            "creationTimestamp": timestamp(pod.start - 1),
            "labels": pod.labels,
            "ownerReferences": _owner(kind, pod.workload.namespace, name),
        },
        "spec": {"nodeName": pod.node.name, **_pod_spec(pod.workload)},
        "status": status,
    }


def _service(service: Service) -> JsonObject:
    ports = [{"name": n, "protocol": proto, "port": p, "targetPort": t} for n, proto, p, t in service.ports]
    address = service.address or "None"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "uid": uid("svc", service.namespace, service.name),
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "selector": dict(service.workload.labels),
            "ports": ports,
        },
        "status": {"loadBalancer": {}},
    }


def _metadata(kind: str, namespace: str, name: str, labels: Mapping[str, str]) -> JsonObject:
    return {"name": name, "namespace": namespace, "uid": uid(kind, namespace, name), "labels": dict(labels)}


def _workload(workload: Workload) -> JsonObject:
    labels = dict(workload.labels)
    selector = {"matchLabels": labels}
    spec: JsonObject
    if workload.kind == "CronJob":
        spec = {
            "schedule": workload.schedule,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": {"template": _template(workload)}},
        }
    elif workload.kind == "Job":
        volatile = job_labels(workload.namespace, workload.name)
        spec = {
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": volatile["controller-uid"]}},
            "template": _template(workload, volatile),
        }
    elif workload.kind == "DaemonSet":
        spec = {"selector": selector, "template": _template(workload)}
    else:
        spec = {"replicas": workload.replicas, "selector": selector, "template": _template(workload)}
        if workload.kind == "StatefulSet":
            spec["serviceName"] = workload.name
    return {
        "apiVersion": "batch/v1" if workload.kind in ("CronJob", "Job") else "apps/v1",
        "kind": workload.kind,
        "metadata": _metadata(workload.kind, workload.namespace, workload.name, labels),
        "spec": spec,
    }


def job_labels(namespace: str, job: str) -> dict[str, str]:
    """The labels that the Job controller adds to the pods of one Job."""
    controller = uid("Job", namespace, job)
    return {
        "batch.kubernetes.io/controller-uid": controller,
        "batch.kubernetes.io/job-name": job,
        "controller-uid": controller,
        "job-name": job,
    }


def _controllers(cluster: Cluster) -> Sequence[JsonObject]:
    """The ReplicaSets of Deployments and the Jobs of CronJobs whose pods are still listed."""
    found: dict[tuple[str, str, str], JsonObject] = {}
    for pod in cluster.pods:
        kind, name = pod.controller
        workload = pod.workload
        if kind == workload.kind or (kind == "Job" and not pod.listed):
            continue  # CronJobs delete old Jobs; Deployments keep old ReplicaSets at zero
        volatile = (
            job_labels(workload.namespace, name)
            if kind == "Job"
            else {"pod-template-hash": pod.labels["pod-template-hash"]}
        )
        metadata = _metadata(kind, workload.namespace, name, {**dict(workload.labels), **volatile})
        metadata["ownerReferences"] = _owner(workload.kind, workload.namespace, workload.name)
        spec: JsonObject = {"template": _template(workload, volatile)}
        if kind == "ReplicaSet":
            spec |= {"replicas": workload.replicas, "selector": {"matchLabels": {**dict(workload.labels), **volatile}}}
        else:
            controller = volatile["batch.kubernetes.io/controller-uid"]
            spec |= {"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": controller}}}
        version = "batch/v1" if kind == "Job" else "apps/v1"
        found[kind, workload.namespace, name] = {
            "apiVersion": version,
            "kind": kind,
            "metadata": metadata,
            "spec": spec,
        }
    return [found[key] for key in sorted(found)]
