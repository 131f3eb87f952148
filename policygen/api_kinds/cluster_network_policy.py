"""policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy: what its CRD takes (network-policy-api v0.2)."""

from __future__ import annotations

from typing import Any

from policygen.admin_fields import AdminFields
from policygen.label_syntax import port_name_problem
from policygen.model import AdminPolicy, AdminRule, PortRange, Tier
from policygen.object_fields import Decoded

KIND = "ClusterNetworkPolicy"
API_VERSION = "policy.networking.k8s.io/v1alpha2"

_LIMIT = 25
_ACTIONS = {"Accept": "Accept", "Deny": "Deny", "Pass": "Pass"}


def decode(document: dict[str, Any], origin: str) -> Decoded:
    """The policy of one object. Collects every refusal, not just the first. Never raises."""
    decoder = _Decoder(_ACTIONS, _LIMIT)
    return decoder.decoded(decoder.policy(document, origin))


class _Decoder(AdminFields):
    def policy(self, document: dict[str, Any], origin: str) -> AdminPolicy:
        metadata = self.metadata(document, namespaced=False)
        spec = self.mapping(document.get("spec"), "spec", ("tier", "priority", "subject", "ingress", "egress"))
        tier = self.text(spec.get("tier"), "spec.tier")
        if tier not in ("Admin", "Baseline"):
            self.refuse("spec.tier", f"{tier!r} is not supported; supported are Admin, Baseline")
        known: Tier = "Baseline" if tier == "Baseline" else "Admin"
        return AdminPolicy(
            name=metadata.name,
            kind=KIND,
            tier=known,
            priority=self.priority(spec.get("priority")),
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
            rule, head = self.rule_head(item, place, path == "spec.egress", "protocols")
            ports = tuple(
                port
                for where, raw in self.limited(rule.get("protocols"), f"{place}.protocols", "protocols" in rule)
                if (port := self.protocol(raw, where)) is not None
            )
            self.no_names_with_addresses(head, ports, place)
            found.append(AdminRule(head.action, head.peers, ports or None, head.name))
        return tuple(found)

    def protocol(self, value: object, path: str) -> PortRange | None:
        one = self.exactly_one(value, path, ("tcp", "udp", "sctp", "destinationNamedPort"))
        if one is None:
            return None
        key, raw = one
        if key == "destinationNamedPort":
            name = self.text(raw, f"{path}.{key}")
            self.check(port_name_problem, name, f"{path}.{key}")
            return PortRange("-1", name)
        fields = self.mapping(raw, f"{path}.{key}", ("destinationPort",))
        port = fields.get("destinationPort")
        if port is None:
            self.refuse(f"{path}.{key}", "must have at least one property: destinationPort")
            return None
        chosen = self.exactly_one(port, f"{path}.{key}.destinationPort", ("number", "range"))
        if chosen is None:
            return None
        return self.number_or_range(key.upper(), *chosen, f"{path}.{key}.destinationPort", strictly=True)
