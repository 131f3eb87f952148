"""Three namespaces of three pods, and a few hundred generated sets of policies that span what a NetworkPolicy can say.

Namespaces x, y, z carry the label ns, pods a, b, c the label pod; every pod serves 80 and 81 on TCP, UDP and SCTP under
the names serve-80-tcp and so on, but for pod c, whose names stand for the other number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

Manifest = dict[str, Any]

NAMESPACES, PODS, PORTS, PROTOCOLS = ("x", "y", "z"), ("a", "b", "c"), (80, 81), ("TCP", "UDP", "SCTP")


def address(namespace: str, pod: str) -> str:
    """10.0.<namespace>.<pod>, counted from 1."""
    return f"10.0.{NAMESPACES.index(namespace) + 1}.{PODS.index(pod) + 1}"


def cluster() -> list[Manifest]:
    """The namespaces and pods."""
    found: list[Manifest] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"ns": name}}}
        for name in NAMESPACES
    ]
    for namespace, pod in product(NAMESPACES, PODS):
        ports = [
            {"containerPort": number, "protocol": protocol, "name": port_name(pod, number, protocol)}
            for number, protocol in product(PORTS, PROTOCOLS)
        ]
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": pod, "namespace": namespace, "labels": {"pod": pod}},
                "spec": {"containers": [{"name": "serve", "image": "serve", "ports": ports}]},
                "status": {"podIP": address(namespace, pod), "phase": "Running"},
            }
        )
    return found


def port_name(pod: str, number: int, protocol: str) -> str:
    """The name under which a pod declares a port."""
    shown = number if pod != "c" else PORTS[1 - PORTS.index(number)]
    return f"serve-{shown}-{protocol.lower()}"


def policy(name: str, spec: Manifest, namespace: str = "x") -> Manifest:
    """A NetworkPolicy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def selectors(key: str, values: tuple[str, str]) -> dict[str, Manifest]:
    """Every way to choose by one label."""

    def expression(operator: str, *chosen: str) -> Manifest:
        one: Manifest = {"key": key, "operator": operator}
        return {"matchExpressions": [one | ({"values": list(chosen)} if chosen else {})]}

    return {
        "all": {},
        "one": {"matchLabels": {key: values[0]}},
        "none": {"matchLabels": {key: "nobody"}},
        "in": expression("In", *values),
        "not-in": expression("NotIn", values[0]),
        "exists": expression("Exists"),
        "absent": expression("DoesNotExist"),
    }


POD_SELECTORS = selectors("pod", ("a", "b"))
NAMESPACE_SELECTORS = selectors("ns", ("y", "z"))

BLOCKS: dict[str, Manifest] = {
    "everything": {"cidr": "0.0.0.0/0"},
    "everything-but-y": {"cidr": "0.0.0.0/0", "except": ["10.0.2.0/24"]},
    "namespace-y": {"cidr": "10.0.2.0/24"},
    "namespace-y-but-a": {"cidr": "10.0.2.0/24", "except": ["10.0.2.1/32"]},
    "one-pod": {"cidr": "10.0.3.3/32"},
    "outside": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]},
    "ipv6": {"cidr": "2001:db8::/32"},
}

PORT_LISTS: dict[str, list[Manifest] | None] = {
    "missing": None,
    "empty": [],
    "number": [{"port": 80}],
    "number-udp": [{"port": 80, "protocol": "UDP"}],
    "number-sctp": [{"port": 81, "protocol": "SCTP"}],
    "nowhere": [{"port": 79}],
    "protocol-alone": [{"protocol": "UDP"}],
    "default-protocol": [{}],
    "two-numbers": [{"port": 80}, {"port": 81}],
    "two-protocols": [{"port": 80}, {"port": 80, "protocol": "UDP"}],
    "all-protocols": [{"protocol": protocol} for protocol in PROTOCOLS],
    "name": [{"port": "serve-80-tcp"}],
    "name-udp": [{"port": "serve-81-udp", "protocol": "UDP"}],
    "name-of-another-protocol": [{"port": "serve-80-tcp", "protocol": "UDP"}],
    "unknown-name": [{"port": "nobody"}],
    "name-and-number": [{"port": "serve-80-tcp"}, {"port": 81, "protocol": "SCTP"}],
    "range": [{"port": 80, "endPort": 81}],
    "range-of-one": [{"port": 81, "endPort": 81}],
    "range-before": [{"port": 1, "endPort": 79}],
    "range-over-the-end": [{"port": 81, "endPort": 65535, "protocol": "SCTP"}],
    "ranges": [{"port": 70, "endPort": 80}, {"port": 81, "endPort": 90, "protocol": "UDP"}],
    "same-twice": [{"port": 80}, {"port": 80}],
}


def _both(name: str, rule: Manifest, peers: list[Manifest] | None) -> Iterator[tuple[str, list[Manifest]]]:
    """One rule at pod a of x, as ingress and as egress."""
    for direction, field in (("Ingress", "from"), ("Egress", "to")):
        whole = dict(rule) if peers is None else {**rule, field: peers}
        spec = {"podSelector": POD_SELECTORS["one"], "policyTypes": [direction], direction.lower(): [whole]}
        yield f"{name}-{direction.lower()}", [policy("p", spec)]


def peer_cases() -> Iterator[tuple[str, list[Manifest]]]:
    """Every combination of a selector for namespaces and one for pods, and blocks."""
    namespaces: dict[str, Manifest | None] = {"nil": None, **NAMESPACE_SELECTORS}
    pods: dict[str, Manifest | None] = {"nil": None, **POD_SELECTORS}
    for (where, namespace), (who, pod) in product(namespaces.items(), pods.items()):
        peer = {k: v for k, v in (("namespaceSelector", namespace), ("podSelector", pod)) if v is not None}
        if peer:
            yield from _both(f"peer-{where}-{who}", {}, [peer])
    for name, block in BLOCKS.items():
        yield from _both(f"block-{name}", {}, [{"ipBlock": block}])
    yield from _both("peers-empty", {}, [])
    yield from _both("peers-two", {}, [{"podSelector": POD_SELECTORS["one"]}, {"namespaceSelector": {}}])
    yield from _both("peers-pod-and-block", {}, [{"podSelector": {}}, {"ipBlock": BLOCKS["outside"]}])


def port_cases() -> Iterator[tuple[str, list[Manifest]]]:
    """Every list of ports, for everybody."""
    for name, ports in PORT_LISTS.items():
        yield from _both(f"ports-{name}", {} if ports is None else {"ports": ports}, None)


def target_cases() -> Iterator[tuple[str, list[Manifest]]]:
    """Every subject, isolated in one direction or both, with policyTypes said and left out."""
    for (who, pod), types in product(POD_SELECTORS.items(), (["Ingress"], ["Egress"], ["Ingress", "Egress"])):
        spec = {"podSelector": pod, "policyTypes": types}
        yield f"target-{who}-{'-'.join(types).lower()}", [policy("p", spec, "y")]
    for name, spec in {
        "no-types": {"podSelector": {}},
        "no-types-egress": {"podSelector": {}, "egress": [{}]},
        "no-types-both": {"podSelector": {}, "ingress": [{}], "egress": []},
        "rules-of-a-direction-not-listed": {"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}]},
        "no-selector": {"policyTypes": ["Ingress"]},
    }.items():
        yield f"target-{name}", [policy("p", spec, "y")]


def action_cases() -> Iterator[tuple[str, list[Manifest]]]:
    """Nothing, everything, and rules one after another."""
    for name, rules in {
        "nothing": [],
        "everything": [{}],
        "two-rules": [{"ports": [{"port": 80}]}, {"ports": [{"port": 81, "protocol": "UDP"}]}],
        "a-rule-within-another": [{"ports": [{"port": 80}]}, {"ports": [{"port": 80, "endPort": 81}]}],
    }.items():
        for direction in ("ingress", "egress"):
            spec = {"podSelector": {}, "policyTypes": [direction.capitalize()], direction: rules}
            yield f"action-{name}-{direction}", [policy("p", spec)]


def conflict_cases() -> Iterator[tuple[str, list[Manifest]]]:
    """Every two of these policies together: a union, whatever the order and the namespaces."""
    everyone = {"podSelector": {}}
    from_y = {"from": [{"namespaceSelector": NAMESPACE_SELECTORS["one"]}], "ports": [{"port": 80}]}
    to_y = {"to": [{"namespaceSelector": NAMESPACE_SELECTORS["one"]}]}
    to_x = {"to": [{"namespaceSelector": {"matchLabels": {"ns": "x"}}}], "ports": [{"port": "serve-81-tcp"}]}
    singles = {
        "deny-in": policy("deny-in", {**everyone, "policyTypes": ["Ingress"]}),
        "deny-out": policy("deny-out", {**everyone, "policyTypes": ["Egress"]}),
        "allow-in": policy("allow-in", {**everyone, "ingress": [{}]}),
        "allow-out": policy("allow-out", {**everyone, "policyTypes": ["Egress"], "egress": [{}]}),
        "from-y": policy("from-y", {"podSelector": POD_SELECTORS["one"], "ingress": [from_y]}),
        "to-y": policy("to-y", {"podSelector": POD_SELECTORS["in"], "policyTypes": ["Egress"], "egress": [to_y]}),
        "y-to-x": policy("y-to-x", {**everyone, "policyTypes": ["Egress"], "egress": [to_x]}, "y"),
        "deny-in-y": policy("deny-in-y", {**everyone, "policyTypes": ["Ingress"]}, "y"),
    }
    for one, other in combinations(singles, 2):
        yield f"conflict-{one}-{other}", [singles[one], singles[other]]
    yield "conflict-all", list(singles.values())


def every_case() -> list[tuple[str, list[Manifest]]]:
    """(name, NetworkPolicies) of all of them."""
    return [*peer_cases(), *port_cases(), *target_cases(), *action_cases(), *conflict_cases()]
