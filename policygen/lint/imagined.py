"""Pods that no inventory has: for every selector of a set one that it selects, so that a proof does not rest on which
pods happen to exist today."""

from __future__ import annotations

from collections.abc import Iterator

from analyzers.inventory import Endpoint, Identity, Inventory, NamedPort
from policygen.lint.case import peers
from policygen.lint.containment import NAMESPACE_NAME
from policygen.model import AdminPolicy, PodPeer, PolicySet, Selector
from policygen.verify.spaces import every_rule

MOST = 1500
"""Pods that are imagined at most."""

_SOME = "imagined"


def imagined(policies: PolicySet) -> Inventory:
    """One pod for each selector in each namespace that policies speak of, and one without labels."""
    spaces: dict[str, dict[str, str]] = {_SOME: {}}
    labels: set[tuple[tuple[str, str], ...]] = {()}
    for policy in policies.policies:
        spaces.setdefault(policy.namespace, {})
        labels.add(_satisfying(policy.subject))
        for _, peer, _ in peers(policy):
            if isinstance(peer, PodPeer):
                _add(peer, spaces, labels)
    for admin in policies.admin:
        for peer in _admin_peers(admin):
            _add(peer, spaces, labels)
    names = sorted({p.port for rule in every_rule(policies) for p in rule.ports or () if isinstance(p.port, str)})
    ports = tuple(
        NamedPort(name, protocol, 10_000 + number)
        for number, name in enumerate(names)
        for protocol in ("SCTP", "TCP", "UDP")
    )
    pods = []
    for space in sorted(spaces):
        for number, chosen in enumerate(sorted(labels)):
            workload = Identity("Deployment", space, f"{_SOME}-{number}", "", chosen)
            pods.append(Endpoint(workload.name, space, workload, chosen, (), ports=ports))
    return Inventory(templates=tuple(pods[:MOST]), workloads=tuple(p.workload for p in pods[:MOST]), namespaces=spaces)


def _add(peer: PodPeer, spaces: dict[str, dict[str, str]], labels: set[tuple[tuple[str, str], ...]]) -> None:
    labels.add(_satisfying(peer.pods or Selector()))
    wanted = dict(_satisfying(peer.namespaces or Selector()))
    name = wanted.pop(NAMESPACE_NAME, "")
    if name:
        spaces.setdefault(name, {}).update(wanted)
    elif wanted:
        spaces[f"{_SOME}-{len(spaces)}"] = wanted


def _admin_peers(policy: AdminPolicy) -> Iterator[PodPeer]:
    yield policy.subject
    for rule in (*policy.ingress, *policy.egress):
        yield from (peer for peer in rule.peers if isinstance(peer, PodPeer))


def _satisfying(selector: Selector) -> tuple[tuple[str, str], ...]:
    """Labels that the selector selects, where any do."""
    found = dict(selector.labels)
    for one in selector.expressions:
        if one.operator == "In":
            found.setdefault(one.key, one.values[0])
        elif one.operator == "Exists":
            found.setdefault(one.key, _SOME)
    return tuple(sorted(found.items()))
