"""What passes from a controller of Ingresses and Routes to the workloads behind their Services.

The controller is a pod of some namespace of its own without labels: what only a selector for it would allow is not
said to pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from analyzers.inventory import Endpoint, Identity, Inventory, Service
from analyzers.inventory.model import ServicePort
from analyzers.inventory.services import target_port
from policygen.ingress_objects import EntryPoint
from policygen.verify.connections import ConnectionSet, PortSpan
from policygen.verify.differences import Change
from policygen.verify.matching import FlowEnd
from policygen.verify.parties import Party
from policygen.verify.reachability import Pair, Reachability

CONTROLLER = Party("{ingress-controller}")
_NAMESPACE = "ingress-controller"  # any name that selectors are unlikely to ask for


def controller_end() -> FlowEnd:
    """The end that stands for the controller."""
    return FlowEnd(
        Endpoint("ingress-controller", _NAMESPACE, Identity("Pod", _NAMESPACE, "ingress-controller"), (), ())
    )


def entry_pairs(found: Reachability, entries: Sequence[EntryPoint]) -> Iterator[Pair]:
    """The pairs from CONTROLLER that are allowed anything, sorted by the destination's name."""
    if not entries:
        return
    behind = _behind(found.inventory, entries)
    source = controller_end()
    for name, workload in found.workloads.items():
        union = ConnectionSet()
        for pod in workload.pods:
            for protocol, port in sorted({cell for service, ports in behind for cell in _served(service, ports, pod)}):
                if found.verdict(source, FlowEnd(pod), {"TCP": 6, "UDP": 17, "SCTP": 132}[protocol], port).allowed:
                    union |= ConnectionSet.of([PortSpan(protocol, port, port)])
        if union:
            yield Pair(CONTROLLER, found.workloads[name].party, union)


def entry_changes(
    old: Reachability, old_entries: Sequence[EntryPoint], new: Reachability, new_entries: Sequence[EntryPoint]
) -> Iterator[Change]:
    """What differs in what passes from the controller."""
    sides = [
        {str(pair.destination): pair for pair in entry_pairs(side, entries)}
        for side, entries in ((old, old_entries), (new, new_entries))
    ]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        before, after = (side[name].connections if name in side else ConnectionSet() for side in sides)
        if before == after:
            continue
        appeared = (name,) if name not in old.workloads else ()
        vanished = (name,) if name not in new.workloads else ()
        yield Change(CONTROLLER, Party(name), before, after, appeared=appeared, vanished=vanished)


def _behind(inventory: Inventory, entries: Iterable[EntryPoint]) -> list[tuple[Service, list[ServicePort]]]:
    """The Services that entries name, with the ports they name."""
    services = {(service.namespace, service.name): service for service in inventory.services}
    found = []
    for entry in entries:
        service = services.get((entry.namespace, entry.service))
        if service is not None:
            found.append((service, [port for port in service.ports if _is_meant(entry, port)]))
    return found


def _is_meant(entry: EntryPoint, port: ServicePort) -> bool:
    if entry.port is None:
        return True
    if entry.by_target:
        return entry.port in (port.target, port.name)
    return entry.port == (port.port if isinstance(entry.port, int) else port.name)


def _served(service: Service, ports: list[ServicePort], pod: Endpoint) -> Iterator[tuple[str, int]]:
    """(protocol, port) of the pod that the Service's ports lead to, where it selects the pod."""
    if service.namespace != pod.namespace or not service.selector or not set(service.selector) <= set(pod.labels):
        return
    for port in ports:
        number = target_port(port, pod)
        if number is not None:
            yield port.protocol, number
