"""What checks look at: policies, who they select, and what the objects said before they were decoded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from analyzers.inventory import Endpoint, Inventory
from policygen.lint.containment import NAMESPACE_NAME
from policygen.model import AdminPolicy, Peer, PodPeer, Policy, PolicySet, Rule, Selector
from policygen.verify.evaluate import Direction, rules_of
from policygen.verify.matching import namespace_labels, selector_matches
from policygen.verify.profiles import SPEC, CniProfile

DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")
PEERS_FIELD = {"ingress": "from", "egress": "to"}


@dataclass(frozen=True)
class Case:
    """One set of policies with its inventory.

    `objects`: the object of a policy by its `origin`, as it was written; what is not there is not checked for what
    only the text tells.
    """

    policies: PolicySet = field(default_factory=PolicySet)
    groups: PolicySet = field(default_factory=PolicySet)
    inventory: Inventory = field(default_factory=Inventory)
    profile: CniProfile = SPEC
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many policies there are."""
        return len(self.policies.policies) + len(self.policies.admin) + len(self.groups.policies)

    @cached_property
    def pods(self) -> tuple[Endpoint, ...]:
        """One pod of each kind that policies can tell apart; for a workload without pods, one like its template."""
        return tuple(_kinds_of_pods(self.inventory))

    @property
    def knows_pods(self) -> bool:
        """Whether the inventory has any pod or workload that policies can select."""
        return bool(self.pods)

    @cached_property
    def _by_namespace(self) -> dict[str, list[Endpoint]]:
        found: dict[str, list[Endpoint]] = defaultdict(list)
        for pod in self.pods:
            found[pod.namespace].append(pod)
        return found

    @cached_property
    def _chosen(self) -> dict[PodPeer, tuple[Endpoint, ...]]:
        return {}

    @cached_property
    def namespaces(self) -> dict[str, dict[str, str]]:
        """Labels of every namespace that is declared, or that a pod lives in."""
        names = {*self.inventory.namespaces, *self._by_namespace}
        return {name: namespace_labels(self.inventory.namespaces, name) for name in sorted(names)}

    def chosen(self, peer: PodPeer, namespace: str = "") -> tuple[Endpoint, ...]:
        """The pods that a peer of a policy in `namespace`, or a subject, chooses."""
        if peer.namespaces is None:
            peer = PodPeer(Selector(((NAMESPACE_NAME, namespace),)), peer.pods)
        known = self._chosen.get(peer)
        if known is None:
            assert peer.namespaces is not None
            known = self._chosen[peer] = tuple(
                pod
                for name in self.namespaces_of(peer.namespaces)
                for pod in self._by_namespace.get(name, ())
                if peer.pods is None or selector_matches(peer.pods, dict(pod.labels))
            )
        return known

    def namespaces_of(self, selector: Selector) -> tuple[str, ...]:
        """The known namespaces that a selector chooses."""
        exact = dict(selector.labels).get(NAMESPACE_NAME)
        names = list(self.namespaces) if exact is None else [exact] if exact in self.namespaces else []
        return tuple(name for name in names if selector_matches(selector, self.namespaces[name]))

    def subjects(self, policy: Policy | AdminPolicy) -> tuple[Endpoint, ...]:
        """The pods a policy applies to."""
        if isinstance(policy, AdminPolicy):
            return self.chosen(policy.subject)
        return self.chosen(PodPeer(None, policy.subject), policy.namespace)

    @cached_property
    def in_namespace(self) -> dict[str, list[Policy]]:
        """NetworkPolicies by namespace."""
        found: dict[str, list[Policy]] = defaultdict(list)
        for policy in self.policies.policies:
            found[policy.namespace].append(policy)
        return found

    def selecting(self, pod: Endpoint, direction: Direction) -> list[Policy]:
        """The NetworkPolicies that isolate a pod for a direction."""
        labels = dict(pod.labels)
        return [
            policy
            for policy in self.in_namespace.get(pod.namespace, ())
            if rules_of(policy, direction) is not None and selector_matches(policy.subject, labels)
        ]


def rules(policy: Policy) -> Iterator[tuple[Direction, int, Rule, str]]:
    """(direction, index, rule, object path) of every rule of a NetworkPolicy or group."""
    for direction in DIRECTIONS:
        for index, rule in enumerate(rules_of(policy, direction) or ()):
            yield direction, index, rule, f"spec.{direction}[{index}]"


def peers(policy: Policy) -> Iterator[tuple[Direction, Peer, str]]:
    """(direction, peer, object path) of every peer of every rule."""
    for direction, _, rule, path in rules(policy):
        for index, peer in enumerate(rule.peers or ()):
            yield direction, peer, f"{path}.{PEERS_FIELD[direction]}[{index}]"


def pod_text(pod: Endpoint) -> str:
    """`shop/web` of its workload, with the pod's name where that is another."""
    workload = str(pod.workload)
    own = f"{pod.namespace}/{pod.name}"
    return workload if own == workload else f"{workload} (pod {pod.name})"


def _kinds_of_pods(inventory: Inventory) -> Iterator[Endpoint]:
    seen: set[tuple[object, ...]] = set()
    populated = set()
    for pod in inventory.endpoints:
        if pod.policy_subject and pod.until is None:
            populated.add(pod.workload)
            kind = (pod.namespace, pod.workload, pod.labels, pod.ports)
            if kind not in seen:
                seen.add(kind)
                yield pod
    for draft in inventory.templates:
        if draft.policy_subject and draft.workload not in populated:
            populated.add(draft.workload)
            yield draft
    on_hosts = set(inventory.host_network_workloads)
    for workload in inventory.workloads:
        if workload.namespace and workload not in populated and workload not in on_hosts:
            yield Endpoint(workload.name, workload.namespace, workload, workload.labels, (), workload.network)
