"""Who is named in answers: workloads, each with the pods that stand for it, and ranges of addresses outside."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from analyzers.flows import address_halves
from analyzers.inventory import Endpoint, Inventory
from policygen.verify.matching import FlowEnd
from policygen.verify.spaces import MAPPED_FIRST, MAPPED_LAST, on_line

_HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """An end of a pair, by its name: `shop/web[Deployment]`, or `10.0.0.0-10.0.0.255[External]`."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def external(self) -> bool:
        """Whether it is a range of addresses."""
        return self.name.endswith("[External]")


@dataclass
class Workload:
    """A party with the pods that are it; where it has none yet, the pod its template makes."""

    party: Party
    pods: list[Endpoint] = field(default_factory=list)
    template: bool = False

    @property
    def single(self) -> bool:
        """Whether it can only ever be one pod: then nothing passes between it and itself that policies decide."""
        return not self.template and len(self.pods) == 1 and self.pods[0].workload.kind == "Pod"

    def ends(self) -> list[FlowEnd]:
        """The pods as ends of flows, at all of their addresses."""
        return [FlowEnd(pod) for pod in self.pods]


def workloads(inventory: Inventory) -> dict[str, Workload]:
    """Every workload of Kubernetes by the name it has in answers, sorted; pods that have ended do not count."""
    found: dict[str, Workload] = {}
    declared = {template.workload for template in inventory.templates}
    for pod in inventory.endpoints:
        if pod.namespace and pod.until is None:
            name = party_name(pod, declared=pod.workload in declared)
            found.setdefault(name, Workload(Party(name))).pods.append(pod)
    for template in inventory.templates:
        name = party_name(template, declared=True)
        if name not in found:
            found[name] = Workload(Party(name), [template], template=True)
    return dict(sorted(found.items()))


def party_name(pod: Endpoint, *, declared: bool) -> str:
    """`namespace/name[Kind]` of a pod's workload. A ReplicaSet whose Deployment nobody declared goes by its own name,
    as its pods tell it."""
    workload = pod.workload
    name, kind = workload.name, workload.kind
    template_hash = dict(pod.labels).get(_HASH, "")
    if kind == "Deployment" and not declared and template_hash:
        name, kind = f"{name}-{template_hash}", "ReplicaSet"
    return f"{workload.namespace or pod.namespace}/{name}[{kind}]"


def party_names(inventory: Inventory) -> dict[int, str]:
    """The name in answers of each pod of the inventory, by its id; the inventory keeps them alive."""
    declared = {template.workload for template in inventory.templates}
    return {id(pod): party_name(pod, declared=pod.workload in declared) for pod in inventory.endpoints if pod.namespace}


def external_bounds(party: Party) -> tuple[int, int]:
    """(first, last) place on the line of a range of addresses."""
    first, last = party.name.removesuffix("[External]").split("-")
    return on_line(address_halves(first)), on_line(address_halves(last))


def external_party(first: int, last: int) -> Party:
    """A range of addresses by its ends on the line (policygen.verify.spaces)."""
    return Party(f"{line_text(first)}-{line_text(last)}[External]")


def sample_address(first: int, last: int) -> int:
    """An address of the range that reads well: no network address where there is another."""
    ipv4 = MAPPED_FIRST <= first <= MAPPED_LAST
    wanted = MAPPED_FIRST + 0x01010101 if ipv4 else 0x2606_4700_4700 << 80 | 0x1111
    if first <= wanted <= last:
        return wanted
    return first + 1 if last - first > 1 else first


def address_text_of(end: FlowEnd) -> str:
    """The address of an end, "" where it has none."""
    return line_text(on_line(end.addresses[0])) if end.addresses else ""


def line_text(place: int) -> str:
    """A place on the line as an address."""
    if MAPPED_FIRST <= place <= MAPPED_LAST:
        return str(ipaddress.IPv4Address(place - MAPPED_FIRST))
    return str(ipaddress.IPv6Address(place))
