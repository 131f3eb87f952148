"""One networking.k8s.io/v1 NetworkPolicy object to a Policy: the API server's decoding, defaulting and validation.

Follows SetDefaults_NetworkPolicy and ValidateNetworkPolicySpec of Kubernetes, with strict decoding of fields (what
kubectl asks for by default): a misspelt `from` would else mean everybody. `null` counts as absent, as in the server.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from policygen.label_syntax import (
    dns_label_problem,
    dns_subdomain_problem,
    label_key_problem,
    label_value_problem,
    port_name_problem,
)
from policygen.model import CidrPeer, Peer, PodPeer, Policy, PortRange, Requirement, Rule, Selector

_METADATA_FIELDS = (
    "annotations",
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_ANNOTATIONS_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one field. `path` is the object path (`spec.ingress[0].from[1].ipBlock.cidr`)."""

    path: str
    reason: str


@dataclass
class Decoded:
    """What an object came to: the policy if the server would take it; why not; what is odd about it."""

    policy: Policy | None = None
    refusals: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)


def decode_network_policy(document: dict[str, Any], origin: str) -> Decoded:
    """The policy of one object of kind NetworkPolicy. Collects every refusal, not just the first. Never raises."""
    decoder = _Decoder()
    policy = decoder.policy(document, origin)
    return Decoded(None if decoder.refusals else policy, decoder.refusals, decoder.remarks)


def _kind_of(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "mapping"}
    shown = "" if isinstance(value, list | dict) else f" {value!r}"
    return f"{names.get(type(value), type(value).__name__)}{shown}"


class _Decoder:
    """Reads fields and notes what is wrong with them; a wrong field reads as absent, so that the rest is still seen."""

    def __init__(self) -> None:
        self.refusals: list[Finding] = []
        self.remarks: list[Finding] = []

    # -- fields ----------------------------------------------------------------------------------------------------

    def refuse(self, path: str, reason: str) -> None:
        self.refusals.append(Finding(path, reason))

    def mapping(self, value: object, path: str, known: Sequence[str] = ()) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(path, f"expected a mapping, got {_kind_of(value)}")
            return {}
        for key in value:
            if known and key not in known:
                self.refuse(f"{path}.{key}".lstrip("."), f"unknown field; known are {', '.join(known)}")
        return value

    def items(self, value: object, path: str) -> Iterator[tuple[str, Any]]:
        if value is None:
            return
        if not isinstance(value, list):
            self.refuse(path, f"expected a list, got {_kind_of(value)}")
            return
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item

    def text(self, value: object, path: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str):
            hint = "" if isinstance(value, list | dict) else "; quote it"
            self.refuse(path, f"expected a string, got {_kind_of(value)}{hint}")
            return ""
        return value

    def check(self, problem: Callable[[str], str | None], value: str, path: str) -> None:
        if reason := problem(value):
            self.refuse(path, reason)

    def string_map(
        self, value: object, path: str, value_problem: Callable[[str], str | None] | None
    ) -> tuple[tuple[str, str], ...]:
        pairs: list[tuple[str, str]] = []
        for key, raw in self.mapping(value, path).items():
            place = f"{path}[{key!r}]"
            text = self.text(raw, place)
            # annotation keys are compared in lower case, label keys as they stand
            self.check(label_key_problem, key if value_problem else key.lower(), place)
            if value_problem:
                self.check(value_problem, text, place)
            pairs.append((key, text))
        return tuple(sorted(pairs))

    # -- the object ------------------------------------------------------------------------------------------------

    def policy(self, document: dict[str, Any], origin: str) -> Policy:
        self.mapping(document, "", ("apiVersion", "kind", "metadata", "spec", "status"))
        metadata = self.mapping(document.get("metadata"), "metadata", _METADATA_FIELDS)
        name = self.text(metadata.get("name"), "metadata.name")
        namespace = self.text(metadata.get("namespace"), "metadata.namespace") or "default"
        if name:
            self.check(dns_subdomain_problem, name, "metadata.name")
        elif not isinstance(metadata.get("name"), int | float | bool | list | dict):  # those were refused already
            self.refuse("metadata.name", "a name is required")
        self.check(dns_label_problem, namespace, "metadata.namespace")
        labels = self.string_map(metadata.get("labels"), "metadata.labels", label_value_problem)
        annotations = self.string_map(metadata.get("annotations"), "metadata.annotations", None)
        if sum(len(k.encode(errors="replace")) + len(v.encode(errors="replace")) for k, v in annotations) > (
            _ANNOTATIONS_LIMIT
        ):
            self.refuse("metadata.annotations", f"more than {_ANNOTATIONS_LIMIT} bytes")
        spec = self.mapping(document.get("spec"), "spec", ("podSelector", "policyTypes", "ingress", "egress"))
        ingress = self.rules(spec.get("ingress"), "spec.ingress", "from")
        egress = self.rules(spec.get("egress"), "spec.egress", "to")
        types = self.policy_types(spec.get("policyTypes"), has_egress=bool(egress))
        for listed, rules, path in (("Ingress", ingress, "spec.ingress"), ("Egress", egress, "spec.egress")):
            if rules and listed not in types:
                self.remarks.append(Finding(path, f"these rules mean nothing: policyTypes does not list {listed}"))
        return Policy(
            name=name,
            namespace=namespace,
            subject=self.selector(spec.get("podSelector"), "spec.podSelector"),
            ingress=ingress if "Ingress" in types else None,
            egress=egress if "Egress" in types else None,
            labels=labels,
            annotations=annotations,
            origin=origin,
        )

    def policy_types(self, value: object, *, has_egress: bool) -> set[str]:
        types: list[str] = []
        for path, item in self.items(value, "spec.policyTypes"):
            listed = self.text(item, path)
            if listed not in ("Ingress", "Egress"):
                self.refuse(path, f"{listed!r} is not supported; supported are Egress, Ingress")
            types.append(listed)
        if len(types) > 2:
            self.refuse("spec.policyTypes", "may not list more than two")
        if not types:  # an empty list is defaulted like a missing one
            types = ["Ingress", "Egress"] if has_egress else ["Ingress"]
        return set(types)

    def rules(self, value: object, path: str, peers_field: str) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        for place, item in self.items(value, path):
            rule = self.mapping(item, place, (peers_field, "ports"))
            peers = tuple(
                peer
                for where, raw in self.items(rule.get(peers_field), f"{place}.{peers_field}")
                if (peer := self.peer(raw, where)) is not None
            )
            ports = tuple(self.port(raw, where) for where, raw in self.items(rule.get("ports"), f"{place}.ports"))
            rules.append(Rule(peers or None, ports or None))  # an empty list restricts nothing
        return tuple(rules)

    # -- peers -----------------------------------------------------------------------------------------------------

    def peer(self, value: object, path: str) -> Peer | None:
        before = len(self.refusals)
        peer = self.mapping(value, path, ("podSelector", "namespaceSelector", "ipBlock"))
        pods, namespaces, block = peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")
        if block is not None:
            if pods is not None or namespaces is not None:
                self.refuse(path, "may not specify both ipBlock and another peer")
            return self.cidr_peer(block, f"{path}.ipBlock")
        if pods is None and namespaces is None:
            if len(self.refusals) == before:
                self.refuse(path, "must specify a peer: podSelector, namespaceSelector or ipBlock")
            return None
        return PodPeer(
            namespaces=None if namespaces is None else self.selector(namespaces, f"{path}.namespaceSelector"),
            pods=None if pods is None else self.selector(pods, f"{path}.podSelector"),
        )

    def cidr_peer(self, value: object, path: str) -> CidrPeer | None:
        block = self.mapping(value, path, ("cidr", "except"))
        outer = self.cidr(block.get("cidr"), f"{path}.cidr")
        excepts: list[str] = []
        for place, item in self.items(block.get("except"), f"{path}.except"):
            inner = self.cidr(item, place)
            if outer is None or inner is None:
                continue
            inside = inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # same version
            if not inside or inner.prefixlen == outer.prefixlen:
                self.refuse(place, f"{inner} must be a strict subset of cidr {outer}")
            excepts.append(str(inner))
        return None if outer is None else CidrPeer(str(outer), tuple(excepts))

    def cidr(self, value: object, path: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        before = len(self.refusals)
        text = self.text(value, path)
        if len(self.refusals) > before:
            return None
        try:
            if "/" not in text or not text.rpartition("/")[2].isdecimal():  # ipaddress takes netmasks and no prefix
                raise ValueError
            network = ipaddress.ip_network(text, strict=False)
            if network.version == 6 and ("%" in text or network.network_address.ipv4_mapped is not None):
                raise ValueError
        except ValueError:
            self.refuse(
                path, f"{text!r} is no CIDR, like 10.0.0.0/8 or 2001:db8::/32" if text else "a CIDR is required"
            )
            return None
        return network

    # -- selectors and ports ---------------------------------------------------------------------------------------

    def selector(self, value: object, path: str) -> Selector:
        selector = self.mapping(value, path, ("matchLabels", "matchExpressions"))
        labels = self.string_map(selector.get("matchLabels"), f"{path}.matchLabels", label_value_problem)
        expressions = tuple(
            self.requirement(item, place)
            for place, item in self.items(selector.get("matchExpressions"), f"{path}.matchExpressions")
        )
        return Selector(labels, expressions)

    def requirement(self, value: object, path: str) -> Requirement:
        requirement = self.mapping(value, path, ("key", "operator", "values"))
        key = self.text(requirement.get("key"), f"{path}.key")
        operator = self.text(requirement.get("operator"), f"{path}.operator")
        values: list[str] = []
        for place, item in self.items(requirement.get("values"), f"{path}.values"):
            values.append(self.text(item, place))
            self.check(label_value_problem, values[-1], place)
        self.check(label_key_problem, key, f"{path}.key")
        if operator in ("In", "NotIn"):
            if not values:
                self.refuse(f"{path}.values", f"must be specified when the operator is {operator}")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                self.refuse(f"{path}.values", f"may not be specified when the operator is {operator}")
        else:
            self.refuse(f"{path}.operator", f"{operator!r} is not a valid selector operator")
        return Requirement(key, operator, tuple(values))

    def port(self, value: object, path: str) -> PortRange:
        entry = self.mapping(value, path, ("protocol", "port", "endPort"))
        protocol = "TCP" if entry.get("protocol") is None else self.text(entry["protocol"], f"{path}.protocol")
        if protocol not in ("TCP", "UDP", "SCTP"):
            self.refuse(f"{path}.protocol", f"{protocol!r} is not supported; supported are SCTP, TCP, UDP")
        port, end = entry.get("port"), entry.get("endPort")
        if isinstance(port, str):
            self.check(port_name_problem, port, f"{path}.port")
        elif port is not None:
            self.port_number(port, f"{path}.port", "a number or a name")
        if end is None:
            return PortRange(protocol, port)
        self.port_number(end, f"{path}.endPort", "a number")
        if port is None:
            self.refuse(f"{path}.endPort", "may not be specified when port is not specified")
        elif isinstance(port, str):
            self.refuse(f"{path}.endPort", "may not be specified when port is non-numeric")
        elif type(port) is int and type(end) is int and end < port:
            self.refuse(f"{path}.endPort", f"{end} must be greater than or equal to port {port}")
        return PortRange(protocol, port, end)

    def port_number(self, value: object, path: str, expected: str) -> None:
        if type(value) is not int:  # not isinstance: true is an int
            self.refuse(path, f"expected {expected}, got {_kind_of(value)}")
        elif not 1 <= value <= 65535:
            self.refuse(path, f"{value} must be between 1 and 65535")
