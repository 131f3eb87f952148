"""policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy: what its CRD takes (network-policy-api v0.1.7)."""

from __future__ import annotations

from typing import Any

from policygen.admin_fields import AdminFields
from policygen.label_syntax import port_name_problem
from policygen.model import AdminPolicy, AdminRule, PortRange
from policygen.object_fields import Decoded

KIND = "AdminNetworkPolicy"
API_VERSION = "policy.networking.k8s.io/v1alpha1"

_LIMIT = 100
_ACTIONS = {"Allow": "Accept", "Deny": "Deny", "Pass": "Pass"}


def decode(document: dict[str, Any], origin: str) -> Decoded:
    """The policy of one object. Collects every refusal, not just the first. Never raises."""
    decoder = AlphaFields(_ACTIONS, _LIMIT)
    spec = decoder.spec(document, ("priority", "subject", "ingress", "egress"))
    return decoder.decoded(decoder.policy(document, origin, KIND, decoder.priority(spec.get("priority"))))


class AlphaFields(AdminFields):
    """The fields that AdminNetworkPolicy and BaselineAdminNetworkPolicy share."""

    def spec(self, document: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
        return self.mapping(document.get("spec"), "spec", known)

    def policy(self, document: dict[str, Any], origin: str, kind: str, priority: int) -> AdminPolicy:
        metadata = self.metadata(document, namespaced=False)
        spec = self.mapping(document.get("spec"), "spec") if isinstance(document.get("spec"), dict) else {}
        return AdminPolicy(
            name=metadata.name,
            kind=kind,
            tier="Admin" if kind == KIND else "Baseline",
            priority=priority,
            subject=self.subject(spec.get("subject")),
            ingress=self.rules(spec.get("ingress"), "spec.ingress"),
            egress=self.rules(spec.get("egress"), "spec.egress"),
            labels=metadata.labels,
            annotations=metadata.annotations,
            origin=origin,
        )

    def rules(self, value: object, path: str) -> tuple[AdminRule, ...]:
        found = []
        for place, item in self.limited(value, path):
            rule, head = self.rule_head(item, place, path == "spec.egress", "ports")
            ports = tuple(
                port
                for where, raw in self.limited(rule.get("ports"), f"{place}.ports")
                if (port := self.port(raw, where)) is not None
            )
            self.no_names_with_addresses(head, ports, place)
            found.append(AdminRule(head.action, head.peers, ports or None, head.name))
        return tuple(found)

    def port(self, value: object, path: str) -> PortRange | None:
        one = self.exactly_one(value, path, ("portNumber", "namedPort", "portRange"))
        if one is None:
            return None
        key, raw = one
        place = f"{path}.{key}"
        if key == "namedPort":
            name = self.text(raw, place)
            self.check(port_name_problem, name, place)
            return PortRange("-1", name)
        fields = self.mapping(raw, place, ("protocol", "port") if key == "portNumber" else ("protocol", "start", "end"))
        protocol = "TCP" if fields.get("protocol") is None else self.text(fields["protocol"], f"{place}.protocol")
        if protocol not in ("TCP", "UDP", "SCTP"):
            self.refuse(f"{place}.protocol", f"{protocol!r} is not supported; supported are SCTP, TCP, UDP")
        if key == "portNumber":
            return self.number_or_range(protocol, "number", fields.get("port"), place)
        return self.number_or_range(protocol, "range", {k: fields.get(k) for k in ("start", "end")}, place)
