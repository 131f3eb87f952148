"""Simulates a cluster and hands out its inventory, its flow logs and the right answer. Same seed, same bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from . import flow_logs
from .blueprint import Blueprint, Need, Outside, draw
from .cluster import Cluster, Pod, Workload, job_labels, kubectl_list
from .placement import place
from .traffic import Traffic

BEGIN = 1_767_225_600
"""2026-01-01T00:00:00Z: the logs begin here."""


@dataclass(frozen=True)
class Knobs:
    """How large and how nasty."""

    seed: int = 1
    namespaces: int = 3  # application namespaces, at most six
    nodes: int = 4
    hours: float = 1.5
    window: int = 60  # s, the aggregation interval of the flow logs: 60 or 600
    lag: int = 25  # s by which records may be late
    same_node_logged: bool = True
    port_reuse: float = 0.08  # share of a client's connections from a port it used before, towards another server
    half_open_probes: bool = False  # scans also hit open ports and reset them
    secondary_addresses: bool = False  # pods hold secondary addresses of their node's interface


@dataclass(frozen=True, order=True)
class TrueEdge:
    """Client and server are workload keys (`namespace/Kind/name`) or addresses; `port` is the pod's.

    Workloads on the host network are addresses here, because that is all that a policy can say of them.
    """

    client: str
    server: str
    protocol: str
    port: int


@dataclass(frozen=True)
class Truth:
    """What a right answer must and must not allow."""

    edges: frozenset[TrueEdge]
    workloads: dict[str, Workload]
    appearing: frozenset[str]  # keys of workloads in flows (rejected too) whose both ends the inventory can name
    idle: frozenset[str]  # keys of those that appear in none
    internet_facing: frozenset[tuple[str, int]]  # workload key, port
    dns: str  # the key of the cluster's DNS
    host_addresses: dict[str, tuple[str, ...]]  # workload key -> node addresses, for hostNetwork workloads
    scanned: frozenset[tuple[str, str, int]]  # scanner, target, port: never a rule by itself
    future: tuple[Pod, ...]  # pods of job runs that have not happened


@dataclass(frozen=True)
class Simulation:
    """One simulated cluster with its logs."""

    knobs: Knobs
    cluster: Cluster
    truth: Truth
    records: list[flow_logs.Record]

    def inventory(self) -> str:
        """The text of `kubectl get ns,nodes,pods,svc,deploy,rs,sts,ds,cj,jobs -A -o json`."""
        return json.dumps(kubectl_list(self.cluster), indent=1)

    def write(self, folder: Path, format_name: str) -> tuple[Path, list[Path]]:
        """Writes the inventory and the logs as `v2` or `v5`; returns the inventory's path and the logs'."""
        folder.mkdir(parents=True, exist_ok=True)
        inventory = folder / "inventory.json"
        inventory.write_text(self.inventory(), encoding="utf-8")
        rng = Random(f"{self.knobs.seed}/files")
        fields = list(flow_logs.DEFAULT_FIELDS)
        if format_name == "v5":
            fields = list(flow_logs.CUSTOM_FIELDS)
            rng.shuffle(fields)
        return inventory, flow_logs.write_files(self.records, fields, folder / format_name, rng)


def simulate(knobs: Knobs) -> Simulation:
    """Draws a cluster, lets it run, and keeps what the flow logs saw together with the truth."""
    plan = draw(Random(f"{knobs.seed}/plan"), knobs.namespaces)
    finish = BEGIN + int(knobs.hours * 3600)
    cluster = place(plan, Random(f"{knobs.seed}/place"), BEGIN, finish, knobs.nodes)
    if knobs.secondary_addresses:
        for pod in cluster.pods:
            assert pod.node is not None
            pod.interface = pod.node.interface
    collector = flow_logs.Collector(BEGIN, finish, knobs.window, knobs.lag)
    traffic = Traffic(cluster, collector, Random(f"{knobs.seed}/traffic"), knobs.same_node_logged, knobs.port_reuse)
    for need in plan.needs:
        traffic.meet(need)
    scanned = frozenset(traffic.scan(plan, knobs.half_open_probes))
    _rejections(traffic, plan)
    traffic.silences()
    records = collector.records()
    return Simulation(knobs, cluster, _truth(plan, cluster, records, scanned, finish), records)


def _rejections(traffic: Traffic, plan: Blueprint) -> None:
    """Clients that try what their security group forbids, at a port which others use rightly."""
    wanted = {(n.client, n.server) for n in plan.needs if isinstance(n.client, Workload)}
    workers = [w for w in plan.workloads if w.name == "worker"]
    stores = [w for w in plan.workloads if w.name == "db"]
    for worker, store in zip(workers, stores, strict=True):
        if (worker, store) not in wanted:
            traffic.reject(worker, store, store.port("postgres"))
            traffic.ping(worker, store)


def _truth(
    plan: Blueprint,
    cluster: Cluster,
    records: list[flow_logs.Record],
    scanned: frozenset[tuple[str, str, int]],
    finish: int,
) -> Truth:
    assert plan.dns is not None
    hosts = {w.key: tuple(sorted({p.address for p in cluster.pods_of(w)})) for w in plan.workloads if w.host_network}
    accepted, appearing = _nameable(cluster, records)
    edges = {edge for need in plan.needs for edge in _edges_of(need, hosts) if _key(edge) in accepted}
    # whoever asked for a name needs the DNS
    edges |= {TrueEdge(w.key, plan.dns.key, "UDP", 53) for w in plan.workloads if (w.key, plan.dns.key, 53) in accepted}
    return Truth(
        edges=frozenset(edges),
        workloads={w.key: w for w in plan.workloads},
        appearing=frozenset(appearing & {w.key for w in plan.workloads if not w.host_network}),
        idle=frozenset(w.key for w in plan.idle),
        internet_facing=frozenset((w.key, p.number) for w, p in plan.internet_facing),
        dns=plan.dns.key,
        host_addresses=hosts,
        scanned=scanned,
        future=tuple(_next_run(w, finish) for w in plan.workloads if w.kind == "CronJob"),
    )


def _key(edge: TrueEdge) -> tuple[str, str, int]:
    return edge.client, edge.server, edge.port


def _nameable(cluster: Cluster, records: list[flow_logs.Record]) -> tuple[set[tuple[str, str, int]], set[str]]:
    """(client, server, port) with an accepted row, and the ends of all rows, as far as the inventory can name both.

    What was only done by pods that are in no inventory any more is no edge: no reader of these files could know it.
    """
    found: set[tuple[str, str, int]] = set()
    ends: set[str] = set()
    holders: dict[str, list[Pod]] = {}
    for pod in cluster.pods:
        if not pod.workload.host_network:
            holders.setdefault(pod.address, []).append(pod)
    services = {s.address: s for s in cluster.services if s.address}
    targets = {(s.address, s.port_of(p)): p.number for s in services.values() for p in s.workload.ports if p.declared}

    def names(address: str, record: flow_logs.Record) -> set[str]:
        if address in services:
            return {services[address].workload.key}
        if address not in holders:
            return {address}
        return {
            p.workload.key
            for p in holders[address]
            if p.listed and p.start <= record.start and (p.end is None or record.end <= p.end + 60)
        }

    for record in records:
        wire = record.wire
        if wire is None:
            continue
        clients, servers = names(wire.source, record), names(wire.destination, record)
        if clients and servers:
            ends |= clients | servers
        if record.action == "ACCEPT":
            port = targets.get((wire.destination, wire.destination_port), wire.destination_port)
            found |= {(client, server, port) for client in clients for server in servers}
    return found, ends


def _edges_of(need: Need, hosts: dict[str, tuple[str, ...]]) -> set[TrueEdge]:
    """The need between every pair of its ends."""

    def ends(end: Workload | Outside) -> tuple[str, ...]:
        return end.addresses if isinstance(end, Outside) else hosts.get(end.key, (end.key,))

    return {
        TrueEdge(client, server, need.port.protocol, need.port.number)
        for client in ends(need.client)
        for server in ends(need.server)
    }


def _next_run(workload: Workload, finish: int) -> Pod:
    """The pod of a run after the logs' end, as its CronJob will make it."""
    job = f"{workload.name}-{finish // 60 + 7}"
    labels = {**dict(workload.labels), **job_labels(workload.namespace, job)}
    return Pod(workload, f"{job}-zzzzz", ("Job", job), labels, finish + 60)


def nasty_variants(seed: int) -> list[Knobs]:
    """The knob settings that a thorough run goes through for one seed."""
    plain = Knobs(seed=seed)
    return [
        plain,
        replace(plain, window=600, hours=2.0),
        replace(plain, same_node_logged=False),
        replace(plain, namespaces=6, nodes=6),
    ]
