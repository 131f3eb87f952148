"""Admin policies over the same pods: tiers, order, passing on, and conflicts with NetworkPolicies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from tests.matrix.cases import Manifest, policy

_DENY_X = policy("deny", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
_ALLOW_80 = policy(
    "allow-80",
    {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"port": 80}]}],
        "egress": [{"ports": [{"port": 80}]}],
    },
)

PEERS: dict[str, list[Manifest]] = {
    "namespaces-all": [{"namespaces": {}}],
    "namespaces-y": [{"namespaces": {"matchLabels": {"ns": "y"}}}],
    "pods-a": [{"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"pod": "a"}}}}],
    "two": [
        {"namespaces": {"matchLabels": {"ns": "z"}}},
        {"pods": {"namespaceSelector": {"matchLabels": {"ns": "y"}}, "podSelector": {"matchLabels": {"pod": "b"}}}},
    ],
}
NETWORKS: dict[str, list[Manifest]] = {
    "networks": [{"networks": ["10.0.2.0/24", "192.0.2.0/24"]}],
    "everything": [{"networks": ["0.0.0.0/0", "::/0"]}],
}
PROTOCOLS: dict[str, list[Manifest] | None] = {
    "all": None,
    "tcp": [{"tcp": {"destinationPort": {"number": 80}}}],
    "range": [{"udp": {"destinationPort": {"range": {"start": 80, "end": 81}}}}],
    "name": [{"destinationNamedPort": "serve-80-tcp"}],
}


def admin(name: str, tier: str, priority: int, **directions: list[Manifest]) -> Manifest:
    """A ClusterNetworkPolicy for the pods of x."""
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "tier": tier,
            "priority": priority,
            "subject": {"namespaces": {"matchLabels": {"ns": "x"}}},
            **directions,
        },
    }


def _rule(action: str, direction: str, peers: list[Manifest], protocols: list[Manifest] | None = None) -> Manifest:
    found: dict[str, Any] = {"action": action, "from" if direction == "ingress" else "to": peers}
    return found if protocols is None else {**found, "protocols": protocols}


def every_case() -> Iterator[tuple[str, list[Manifest]]]:
    """(name, policies) of all of them."""
    below = {"alone": [], "over-deny": [_DENY_X], "over-allow-80": [_ALLOW_80]}
    for direction, tier, action in product(("ingress", "egress"), ("Admin", "Baseline"), ("Accept", "Deny", "Pass")):
        peers = PEERS | (NETWORKS if direction == "egress" else {})
        for (who, chosen), (what, protocols) in product(peers.items(), PROTOCOLS.items()):
            if who in NETWORKS and what == "name":
                continue  # networks have no named ports
            rules = [_rule(action, direction, chosen, protocols)]
            for under, network in below.items() if what in ("all", "tcp") else (("alone", []),):
                name = f"{tier}-{direction}-{action}-{who}-{what}-{under}".lower()
                yield name, [admin("one", tier, 10, **{direction: rules}), *network]
    everyone = PEERS["namespaces-all"]
    for first, second, third in product(("Accept", "Deny", "Pass"), repeat=3):
        rules = [
            _rule(first, "ingress", everyone, PROTOCOLS["tcp"]),
            _rule(second, "ingress", PEERS["namespaces-y"]),
            _rule(third, "ingress", everyone),
        ]
        baseline = admin("base", "Baseline", 5, ingress=[_rule("Deny", "ingress", everyone)])
        yield f"order-{first}-{second}-{third}".lower(), [admin("one", "Admin", 10, ingress=rules), baseline]
        apart = [admin(f"p{i}", "Admin", 10 * (i + 1), ingress=[rule]) for i, rule in enumerate(rules)]
        yield f"priorities-{first}-{second}-{third}".lower(), [*apart[::-1], baseline]
        tied = [admin(f"p{i}", "Admin", 10, ingress=[rule]) for i, rule in enumerate(rules)]
        yield f"ties-{first}-{second}-{third}".lower(), [*tied, _ALLOW_80]
