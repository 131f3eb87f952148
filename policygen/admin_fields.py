"""The fields that the cluster-wide kinds of policies share: subject, action, peers, ports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policygen.model import EVERYTHING, Action, AdminPeer, CidrPeer, DomainPeer, NodePeer, PodPeer, PortRange
from policygen.object_fields import ObjectFields

_NAME_LIMIT = 100
_NETWORKS_LIMIT = 25
_DOMAIN = re.compile(r"(\*\.)?([a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?\Z")


@dataclass(frozen=True, slots=True)
class RuleHead:
    """A rule without its ports."""

    action: Action
    peers: tuple[AdminPeer, ...]
    name: str


class AdminFields(ObjectFields):
    """`actions`: what may be written -> what it is called here. `limit`: of rules, peers and ports in one list."""

    def __init__(self, actions: Mapping[str, str], limit: int) -> None:
        super().__init__()
        self.actions = actions
        self.limit = limit

    def limited(self, value: object, path: str, required: bool = False) -> Iterator[tuple[str, Any]]:
        """The items of a list that may have up to `limit`; `required`: and needs one."""
        if isinstance(value, list) and len(value) > self.limit:
            self.refuse(path, f"must have at most {self.limit} items, has {len(value)}")
        if required and not value:
            self.refuse(path, "must have at least 1 item")
        return self.items(value, path)

    def exactly_one(self, value: object, path: str, known: tuple[str, ...]) -> tuple[str, Any] | None:
        """(field, its value) of a mapping with one field."""
        before = len(self.refusals)
        fields = self.mapping(value, path, known)
        given = [(key, raw) for key, raw in fields.items() if raw is not None]
        if len(given) == 1 and given[0][0] in known:
            return given[0]
        if len(self.refusals) == before:
            self.refuse(path, f"exactly one of {', '.join(known)} must be set")
        return None

    def priority(self, value: object) -> int:
        if type(value) is not int:
            self.refuse("spec.priority", "a number from 0 to 1000 is required")
            return 0
        if not 0 <= value <= 1000:
            self.refuse("spec.priority", f"{value} must be between 0 and 1000")
        return value

    def subject(self, value: object) -> PodPeer:
        one = self.exactly_one(value, "spec.subject", ("namespaces", "pods"))
        return PodPeer(EVERYTHING) if one is None else self.pod_peer(*one, "spec.subject")

    def pod_peer(self, key: str, value: object, path: str) -> PodPeer:
        """A `namespaces` or `pods` field. A selector that is missing in `pods` reads as empty, as the servers' types
        have it, and is remarked: the CRD asks for it."""
        if key == "namespaces":
            return PodPeer(self.selector(value, f"{path}.namespaces"))
        place = f"{path}.pods"
        fields = self.mapping(value, place, ("namespaceSelector", "podSelector"))
        for needed in ("namespaceSelector", "podSelector"):
            if fields.get(needed) is None:
                self.remark(place, f"{needed} is missing and read as {{}}: every one; the CRD refuses the object")
        return PodPeer(
            self.selector(fields.get("namespaceSelector"), f"{place}.namespaceSelector"),
            self.selector(fields.get("podSelector"), f"{place}.podSelector"),
        )

    def rule_head(self, value: object, path: str, egress: bool, ports_field: str) -> tuple[dict[str, Any], RuleHead]:
        """(the rule's mapping, what it says besides ports)."""
        peers_field = "to" if egress else "from"
        rule = self.mapping(value, path, ("name", "action", peers_field, ports_field))
        name = self.text(rule.get("name"), f"{path}.name")
        if len(name) > _NAME_LIMIT:
            self.refuse(f"{path}.name", f"is longer than {_NAME_LIMIT} characters")
        written = self.text(rule.get("action"), f"{path}.action")
        if written not in self.actions:
            self.refuse(f"{path}.action", f"{written!r} is not supported; supported are {', '.join(self.actions)}")
        action: Action = {"Accept": "Accept", "Pass": "Pass"}.get(self.actions.get(written, ""), "Deny")  # type: ignore[assignment]
        peers: list[AdminPeer] = []
        for place, raw in self.limited(rule.get(peers_field), f"{path}.{peers_field}", required=True):
            peers += self.peers(raw, place, egress)
        if action != "Accept" and any(isinstance(peer, DomainPeer) for peer in peers):
            self.refuse(f"{path}.{peers_field}", "domainNames are for rules that accept only")
        return rule, RuleHead(action, tuple(peers), name)

    def peers(self, value: object, path: str, egress: bool) -> list[AdminPeer]:
        """What one entry of from or to stands for; `networks` and `domainNames` for several."""
        known = ("namespaces", "pods", "nodes", "networks", "domainNames") if egress else ("namespaces", "pods")
        one = self.exactly_one(value, path, known)
        if one is None:
            return []
        key, raw = one
        place = f"{path}.{key}"
        if key in ("namespaces", "pods"):
            return [self.pod_peer(key, raw, path)]
        if key == "nodes":
            return [NodePeer(self.selector(raw, place))]
        if isinstance(raw, list) and not 1 <= len(raw) <= _NETWORKS_LIMIT:
            self.refuse(place, f"must have 1 to {_NETWORKS_LIMIT} items, has {len(raw)}")
        if key == "networks":
            blocks = [self.cidr(item, where) for where, item in self.items(raw, place)]
            return [CidrPeer(str(block)) for block in blocks if block is not None]
        names = [(where, self.text(item, where)) for where, item in self.items(raw, place)]
        for where, name in names:
            if not _DOMAIN.match(name):
                self.refuse(where, f"{name!r} is no domain name, like example.org or *.example.org")
        return [DomainPeer(name) for _, name in names]

    def number_or_range(
        self, protocol: str, key: str, value: object, path: str, *, strictly: bool = False
    ) -> PortRange | None:
        """`number`, or `range` with start and end; `strictly`: the start must be less than the end."""
        before = len(self.refusals)
        if key == "number":
            self.port_number(value, path, "a port number")
            return PortRange(protocol, value if type(value) is int else None) if len(self.refusals) == before else None
        bounds = self.mapping(value, path, ("start", "end"))
        start, end = bounds.get("start"), bounds.get("end")
        self.port_number(start, f"{path}.start", "a port number")
        self.port_number(end, f"{path}.end", "a port number")
        if type(start) is not int or type(end) is not int or len(self.refusals) > before:
            return None
        if end < start or (strictly and end == start):
            self.refuse(path, f"the start port {start} must be less than the end port {end}")
        return PortRange(protocol, start, end)

    def no_names_with_addresses(self, head: RuleHead, ports: tuple[PortRange, ...], path: str) -> None:
        """Only pods have named ports."""
        if any(not isinstance(p, PodPeer) for p in head.peers) and any(isinstance(p.port, str) for p in ports):
            self.remark(
                path,
                "networks, nodes and domainNames have no named ports, so the name covers nothing there; "
                "the experimental CRD refuses the object",
            )
