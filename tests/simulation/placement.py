"""Gives every pod a time, a node, an address and an interface; addresses of pods that ended are soon used again."""

from __future__ import annotations

import hashlib
from random import Random

from .blueprint import Blueprint
from .cluster import Cluster, Node, Pod, Workload, job_labels
from .flow_logs import Interface

REST = 95  # seconds for which an address of a gone pod stays unused; longer than the logs may lag
JOBS_KEPT = 3  # successfulJobsHistoryLimit: older Jobs and their pods are gone from the inventory
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def interface_of(owner: str, address: str) -> Interface:
    """The interface of a pod or a node; its id follows from whose it is."""
    digest = hashlib.sha256(owner.encode()).hexdigest()
    return Interface(f"eni-0{digest[:16]}", address, instance=f"i-0{digest[16:32]}")


class AddressPool:
    """Addresses per node. Those that were released are preferred, latest first, once they have rested."""

    def __init__(self, nodes: list[Node]) -> None:
        self._free = {n.name: 4 for n in nodes}
        self._released: dict[str, list[tuple[int, str]]] = {n.name: [] for n in nodes}

    def take(self, node: Node, now: int) -> str:
        """An address for a pod that starts at `now`."""
        rested = [entry for entry in self._released[node.name] if entry[0] + REST <= now]
        if rested:
            latest = max(rested)
            self._released[node.name].remove(latest)
            return latest[1]
        self._free[node.name] += 1
        return node.pod_cidr.rsplit(".", 1)[0] + f".{self._free[node.name]}"

    def release(self, node: Node, address: str, when: int) -> None:
        """The pod ends at `when`."""
        self._released[node.name].append((when, address))


def place(plan: Blueprint, rng: Random, begin: int, finish: int, nodes: int) -> Cluster:
    """The cluster over time; `begin` and `finish` (s UTC) are those of the logs."""
    machines = []
    for n in range(nodes):
        address = f"10.60.255.{20 + n}"
        machines.append(Node(f"node-{n}", address, interface_of(f"node-{n}", address), f"10.60.{n + 1}.0/24"))
    cluster = Cluster({n: dict(labels) for n, labels in sorted(plan.namespaces.items())}, machines)
    cluster.workloads, cluster.services = list(plan.workloads), list(plan.services)
    planned: list[tuple[Pod, int | None]] = []  # with the index of the node for DaemonSets
    for workload in plan.workloads:
        planned += _lives(workload, rng, begin, finish, nodes)
    pool = AddressPool(machines)
    for number, (pod, where) in enumerate(sorted(planned, key=lambda entry: (entry[0].start, entry[0].name))):
        node = machines[rng.randrange(nodes) if where is None else where]
        pod.node = node
        if pod.workload.host_network:
            pod.address, pod.interface = node.address, node.interface
        else:
            pod.address = pool.take(node, pod.start)
            pod.interface = interface_of(f"{pod.workload.key}/{pod.name}/{number}", pod.address)
            if pod.end is not None:
                pool.release(node, pod.address, pod.end)
        cluster.pods.append(pod)
    return cluster


def _suffix(rng: Random, length: int) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(length))


def _lives(workload: Workload, rng: Random, begin: int, finish: int, nodes: int) -> list[tuple[Pod, int | None]]:
    labels = dict(workload.labels)
    old = begin - rng.randrange(3600, 864_000)
    pods: list[tuple[Pod, int | None]] = []
    if workload.kind == "CronJob":
        return _runs(workload, rng, begin, finish)
    if workload.kind == "Job":
        start = begin + rng.randrange(60, (finish - begin) // 2)
        added = {**labels, **job_labels(workload.namespace, workload.name)}
        name = f"{workload.name}-{_suffix(rng, 5)}"
        return [(Pod(workload, name, ("Job", workload.name), added, start, start + 240), None)]
    if workload.kind == "StatefulSet":
        for n in range(workload.replicas):
            name = f"{workload.name}-{n}"
            added = {
                **labels,
                "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": str(n),
                "controller-revision-hash": f"{workload.name}-{_suffix(rng, 10)}",
            }
            pods.append((Pod(workload, name, ("StatefulSet", workload.name), added, old + n), None))
        return pods
    if workload.kind == "DaemonSet":
        added = {**labels, "controller-revision-hash": _suffix(rng, 10), "pod-template-generation": "1"}
        for n in range(nodes):
            name = f"{workload.name}-{_suffix(rng, 5)}"
            pods.append((Pod(workload, name, ("DaemonSet", workload.name), dict(added), old + n), n))
        return pods
    return _replicas(workload, rng, begin, finish, old)


def _replicas(workload: Workload, rng: Random, begin: int, finish: int, old: int) -> list[tuple[Pod, int | None]]:
    """A Deployment's pods. Some were replaced meanwhile: the old ones are in no list any more, or evicted."""
    pods: list[tuple[Pod, int | None]] = []
    revision = _suffix(rng, 10)

    def one(of: str, start: int, end: int | None = None) -> Pod:
        labels = {**dict(workload.labels), "pod-template-hash": of}
        controller = ("ReplicaSet", f"{workload.name}-{of}")
        pod = Pod(workload, f"{workload.name}-{of}-{_suffix(rng, 5)}", controller, labels, start, end)
        pods.append((pod, None))
        return pod

    if rng.random() < 0.35 and workload.replicas > 1:  # a rollout: the pods before it are in no inventory
        previous, turn = _suffix(rng, 10), begin + (finish - begin) // 4 + rng.randrange(600)
        for n in range(workload.replicas):
            one(previous, old + n, turn + 7 * n + 5).listed = False
            one(revision, turn + 7 * n)
        return pods
    for n in range(workload.replicas):
        one(revision, old + n)
    if rng.random() < 0.25:
        one(revision, old + 30, begin + (finish - begin) // 3).evicted = True
    return pods


def _runs(workload: Workload, rng: Random, begin: int, finish: int) -> list[tuple[Pod, int | None]]:
    """The runs of a CronJob, ten minutes apart. Only the last few are still listed."""
    pods: list[tuple[Pod, int | None]] = []
    start = begin + rng.randrange(20, 300)
    while start + 200 < finish:
        job = f"{workload.name}-{start // 60}"
        labels = {**dict(workload.labels), **job_labels(workload.namespace, job)}
        end = start + rng.randrange(80, 160)
        pods.append((Pod(workload, f"{job}-{_suffix(rng, 5)}", ("Job", job), labels, start, end, listed=False), None))
        start += 600
    for pod, _ in pods[-JOBS_KEPT:]:
        pod.listed = True
    return pods
