"""Policies written straight from the truth: what a perfect answer may look like, to test the questions themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .simulator import Simulation, TrueEdge, Truth

JsonObject = dict[str, Any]


def ideal_policies(simulation: Simulation) -> list[JsonObject]:
    """One NetworkPolicy per workload that appears, straight from the true edges."""
    truth = simulation.truth
    policies = []
    for owner in sorted(truth.appearing):
        workload = truth.workloads[owner]
        ingress = [_rule("from", truth, e.client, e, owner) for e in sorted(truth.edges) if e.server == owner]
        egress = [_rule("to", truth, e.server, e, owner) for e in sorted(truth.edges) if e.client == owner]
        dns = {"to": [_peer(truth, truth.dns)], "ports": [{"protocol": p, "port": 53} for p in ("UDP", "TCP")]}
        if owner == truth.dns:
            ingress.append({"from": [{"namespaceSelector": {}}], "ports": dns["ports"]})
        policies.append(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": f"{workload.name}-{workload.kind.lower()}", "namespace": workload.namespace},
                "spec": {
                    "podSelector": _selector(truth, owner),
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": ingress,
                    "egress": [*egress, dns],
                },
            }
        )
    return policies


def write(policies: list[JsonObject], folder: Path) -> None:
    """One file per policy."""
    for policy in policies:
        home = folder / policy["metadata"]["namespace"]
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{policy['metadata']['name']}.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")


def _selector(truth: Truth, owner: str) -> JsonObject:
    workload = truth.workloads[owner]
    selector: JsonObject = {"matchLabels": dict(workload.labels)}
    if workload.name == "web":  # the canary has all these labels too
        selector["matchExpressions"] = [{"key": "track", "operator": "DoesNotExist"}]
    return selector


def _peer(truth: Truth, end: str) -> JsonObject:
    if end not in truth.workloads:
        return {"ipBlock": {"cidr": f"{end}/32"}}
    namespace = truth.workloads[end].namespace
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": _selector(truth, end),
    }


def _rule(side: str, truth: Truth, other: str, edge: TrueEdge, owner: str) -> JsonObject:
    peer = _peer(truth, other)
    if side == "from" and "ipBlock" in peer and (owner, edge.port) in truth.internet_facing:
        peer = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]}}
    return {side: [peer], "ports": [{"protocol": edge.protocol, "port": edge.port}]}
