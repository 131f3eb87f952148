"""Peers that choose no pod and no namespace that the inventory knows."""

from __future__ import annotations

from collections.abc import Iterator

from policygen.lint.case import DIRECTIONS, Case, peers
from policygen.lint.checks.shadowed import admin_rules
from policygen.lint.containment import NAMESPACE_NAME, absolute, satisfiable
from policygen.lint.model import Finding, Severity
from policygen.lint.wording import nearest, nearest_namespace, selector_text
from policygen.model import PodPeer, Selector
from policygen.verify.evaluate import policy_name

DOC = "a peer selector that matches no pod of the inventory"
SEVERITY = Severity.WARNING
NEEDS_INVENTORY = True


def find(case: Case) -> Iterator[Finding]:
    """Each peer without a pod, with the nearest pod or namespace there is."""
    for policy in case.policies.policies:
        for _, peer, path in peers(policy):
            if isinstance(peer, PodPeer):
                yield from _peer(case, policy_name(policy), policy.origin, path, absolute(peer, policy.namespace))
    for admin in case.policies.admin:
        for direction in DIRECTIONS:
            for index, rule in enumerate(admin_rules(admin, direction)):
                for one in rule.peers:
                    if isinstance(one, PodPeer):
                        path = f"spec.{direction}[{index}]"
                        yield from _peer(case, str(admin), admin.origin, path, absolute(one, ""))


def _peer(case: Case, name: str, origin: str, path: str, peer: PodPeer) -> Iterator[Finding]:
    assert peer.namespaces is not None
    pods = peer.pods or Selector()
    if case.chosen(peer) or not satisfiable(pods) or not satisfiable(peer.namespaces):
        return  # what contradicts itself is the business of `vacuous`
    namespaces = case.namespaces_of(peer.namespaces)
    if not namespaces:
        yield Finding(
            name,
            origin,
            path,
            f"no namespace has {selector_text(peer.namespaces)}",
            f"known are {', '.join(case.namespaces)}; {nearest_namespace(peer.namespaces, case.namespaces)}",
            "correct the selector, or add the namespace to the inventory",
            severity=Severity.NOTE if _is_system(peer.namespaces) else None,
        )
        return
    own = [pod for pod in case.pods if pod.namespace in namespaces]
    # pods of system namespaces are often left out of inventories: that is no fault of the policy
    unseen = [name for name in namespaces if _is_system_name(name) and all(pod.namespace != name for pod in own)]
    where = ", ".join(namespaces[:5]) + (f" and {len(namespaces) - 5} more" if len(namespaces) > 5 else "")
    yield Finding(
        name,
        origin,
        path,
        f"no pod of {where} has {selector_text(pods)}",
        f"{len(own)} kinds of pods were looked at; {nearest(pods, own)}",
        "correct the selector, or remove the peer",
        severity=Severity.NOTE if unseen else None,
    )


def _is_system(selector: Selector) -> bool:
    return _is_system_name(dict(selector.labels).get(NAMESPACE_NAME, ""))


def _is_system_name(name: str) -> bool:
    return name.startswith(("kube-", "openshift-")) or name.endswith("-system")
