"""networking.k8s.io/v1 NetworkPolicy: the API server's decoding, defaulting and validation of one object.

Follows SetDefaults_NetworkPolicy and ValidateNetworkPolicySpec of Kubernetes, with strict decoding of fields (what
kubectl asks for by default): a misspelt `from` would else mean everybody.
"""

from __future__ import annotations

from typing import Any

from policygen.label_syntax import port_name_problem
from policygen.model import CidrPeer, Peer, PodPeer, Policy, PortRange, Rule
from policygen.object_fields import Decoded, Finding, ObjectFields

KIND = "NetworkPolicy"
API_VERSION = "networking.k8s.io/v1"


def decode(document: dict[str, Any], origin: str) -> Decoded:
    """The policy of one object. Collects every refusal, not just the first. Never raises."""
    decoder = _Decoder()
    return decoder.decoded(decoder.policy(document, origin))


class _Decoder(ObjectFields):
    def policy(self, document: dict[str, Any], origin: str) -> Policy:
        metadata = self.metadata(document, namespaced=True)
        spec = self.mapping(document.get("spec"), "spec", ("podSelector", "policyTypes", "ingress", "egress"))
        ingress = self.rules(spec.get("ingress"), "spec.ingress", "from")
        egress = self.rules(spec.get("egress"), "spec.egress", "to")
        types = self.policy_types(spec.get("policyTypes"), has_egress=bool(egress))
        for listed, rules, path in (("Ingress", ingress, "spec.ingress"), ("Egress", egress, "spec.egress")):
            if rules and listed not in types:
                self.remarks.append(Finding(path, f"these rules mean nothing: policyTypes does not list {listed}"))
        return Policy(
            name=metadata.name,
            namespace=metadata.namespace,
            subject=self.selector(spec.get("podSelector"), "spec.podSelector"),
            ingress=ingress if "Ingress" in types else None,
            egress=egress if "Egress" in types else None,
            labels=metadata.labels,
            annotations=metadata.annotations,
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
