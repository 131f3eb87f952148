"""Rules with the port of a Service where policies see the port of the pod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analyzers.inventory import Endpoint, Service, ServicePort
from policygen.lint.case import Case, rules
from policygen.lint.model import Finding, Severity
from policygen.model import PodPeer, PortRange, Rule
from policygen.verify.evaluate import Direction, policy_name

DOC = "a rule with a Service's port; policies see the target port of the pod"
SEVERITY = Severity.ERROR
NEEDS_INVENTORY = True


def find(case: Case) -> Iterator[Finding]:
    """Ports that no destination pod declares and that are the port of a Service in front of it."""
    for policy in case.policies.policies:
        for direction, _, rule, path in rules(policy):
            for index, port in enumerate(rule.ports or ()):
                if not isinstance(port.port, int) or port.end is not None:
                    continue
                found = _service(
                    case, destinations(case, policy.namespace, case.subjects(policy), rule, direction), port
                )
                if found is not None:
                    service, behind, pod = found
                    target = _target(behind, pod) or behind.target
                    yield Finding(
                        policy_name(policy),
                        policy.origin,
                        f"{path}.ports[{index}]",
                        f"{port.port} is the port of Service {service.namespace}/{service.name}; its pods listen on "
                        f"{target}",
                        f"witness: {pod.namespace}/{pod.workload.name} is reached on {port.protocol} {target}, "
                        "which this port does not cover, after the Service's address was translated",
                        f"write {target}",
                    )


def destinations(
    case: Case, namespace: str, subjects: Sequence[Endpoint], rule: Rule, direction: Direction
) -> tuple[Endpoint, ...]:
    """The pods whose ports a rule speaks of, as far as they are known."""
    if direction == "ingress":
        return tuple(subjects)
    if rule.peers is None:
        return case.pods
    found = {id(pod): pod for peer in rule.peers if isinstance(peer, PodPeer) for pod in case.chosen(peer, namespace)}
    return tuple(found.values())


def _service(case: Case, pods: Sequence[Endpoint], port: PortRange) -> tuple[Service, ServicePort, Endpoint] | None:
    if any(d.number == port.port and d.protocol == port.protocol for pod in pods for d in pod.ports):
        return None
    hit = None
    for service in case.inventory.services:
        for one in service.ports:
            for pod in pods if one.protocol == port.protocol else ():
                if not _behind(service, pod):
                    continue
                if _target(one, pod) == port.port:
                    return None  # some Service does send traffic to this port of a pod
                if one.port == port.port:
                    hit = hit or (service, one, pod)
    return hit


def _behind(service: Service, pod: Endpoint) -> bool:
    labels = dict(pod.labels)
    return (
        bool(service.selector)
        and service.namespace == pod.namespace
        and all(labels.get(key) == value for key, value in service.selector or ())
    )


def _target(port: ServicePort, pod: Endpoint) -> int | None:
    if isinstance(port.target, int):
        return port.target
    declared = [d.number for d in pod.ports if d.name == port.target and d.protocol == port.protocol]
    return declared[0] if declared else None
