"""Random clusters and NetworkPolicies as manifests, by seed: the same number gives the same bytes."""

from __future__ import annotations

from random import Random
from typing import Any

Manifest = dict[str, Any]

KEYS, VALUES = ("app", "tier", "zone"), ("a", "b", "c")
BLOCKS = {
    "10.0.0.0/8": ("10.1.0.0/16", "10.1.2.3/32", "10.128.0.0/9"),
    "0.0.0.0/0": ("10.0.0.0/8", "192.168.0.0/16"),
    "192.0.2.0/24": ("192.0.2.64/26",),
    "2001:db8::/32": ("2001:db8:1::/48", "2001:db8::1/128"),
    "::/0": ("2001:db8::/32",),
}
PROTOCOLS = ("TCP", "UDP", "SCTP")
NAMES = ("web", "dns", "metrics")


class Generator:
    """Everything from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.namespaces = [f"ns{i}" for i in range(self.chance.randint(1, 3))]

    def manifests(self) -> list[Manifest]:
        """Namespaces, pods and policies."""
        found: list[Manifest] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": self.labels()}}
            for name in self.namespaces
        ]
        found += [self.pod(i) for i in range(self.chance.randint(2, 9))]
        return found + [self.policy(i) for i in range(self.chance.randint(0, 6))]

    def labels(self) -> dict[str, str]:
        return {key: self.chance.choice(VALUES) for key in KEYS if self.chance.random() < 0.6}

    def pod(self, number: int) -> Manifest:
        ports = [
            {"name": name, "containerPort": self.chance.choice((53, 80, 8080, 9090)),
             "protocol": self.chance.choice(PROTOCOLS)}
            for name in NAMES if self.chance.random() < 0.5
        ]  # fmt: skip
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"pod{number}",
                "namespace": self.chance.choice(self.namespaces),
                "labels": self.labels(),
            },
            "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}]},
            "status": {"podIP": f"10.9.0.{number + 1}", "hostIP": "172.31.0.1", "phase": "Running"},
        }

    def policy(self, number: int) -> Manifest:
        types = self.chance.choice((None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]))
        spec: Manifest = {"podSelector": self.selector()}
        if types:
            spec["policyTypes"] = types
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            listed = types is None or direction.capitalize() in types  # NCA refuses what the server takes: rules
            if listed and self.chance.random() < 0.6:  # of a direction that policyTypes leaves out
                spec[direction] = [self.rule(peers) for _ in range(self.chance.randint(0, 3))]
        if types is None and not spec.get("egress"):
            # NCA takes an empty list without policyTypes for an egress section, the server asks for rules there:
            # see tests.nca.fuzz
            spec.pop("egress", None)
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"p{number}", "namespace": self.chance.choice(self.namespaces)},
            "spec": spec,
        }

    def selector(self, operators: tuple[str, ...] = ("In", "NotIn", "Exists", "DoesNotExist")) -> Manifest:
        found: Manifest = {}
        if self.chance.random() < 0.5:
            found["matchLabels"] = {self.chance.choice(KEYS): self.chance.choice(VALUES)}
        if self.chance.random() < 0.3:
            operator = self.chance.choice(operators)
            one: Manifest = {"key": self.chance.choice(KEYS), "operator": operator}
            if operator in ("In", "NotIn"):
                one["values"] = self.chance.sample(VALUES, self.chance.randint(1, 2))
            found["matchExpressions"] = [one]
        return found

    def rule(self, peers: str) -> Manifest:
        rule: Manifest = {}
        if self.chance.random() < 0.8:
            rule[peers] = [self.peer() for _ in range(self.chance.randint(1, 3))]
        if self.chance.random() < 0.7:
            rule["ports"] = [self.port() for _ in range(self.chance.randint(1, 3))]
        return rule

    def peer(self) -> Manifest:
        if self.chance.random() < 0.35:
            cidr = self.chance.choice(sorted(BLOCKS))
            block: Manifest = {"cidr": cidr}
            if self.chance.random() < 0.5:
                block["except"] = self.chance.sample(BLOCKS[cidr], 1)
            return {"ipBlock": block}
        kinds = self.chance.choice((("podSelector",), ("namespaceSelector",), ("podSelector", "namespaceSelector")))
        if len(kinds) == 1:
            return {kinds[0]: self.selector()}
        return {"podSelector": self.selector(("In", "NotIn")), "namespaceSelector": self.selector()}

    def port(self) -> Manifest:
        found: Manifest = {}
        if self.chance.random() < 0.8:
            found["protocol"] = self.chance.choice(PROTOCOLS)
        choice = self.chance.random()
        if choice < 0.2:
            found["port"] = self.chance.choice(NAMES)
        elif choice < 0.9:
            found["port"] = self.chance.choice((1, 53, 80, 81, 8080, 65535))
            if self.chance.random() < 0.4:
                found["endPort"] = min(found["port"] + self.chance.choice((0, 1, 1000)), 65535)
        return found
