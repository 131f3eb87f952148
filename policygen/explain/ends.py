"""Ends as people name them: `shop/web`, `shop/web-5d4f-x1`, `10.0.0.7`, `i-0abc`, `api.example.org`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches

from analyzers.inventory import Endpoint, Inventory, Service
from analyzers.inventory.fields import parse_address
from policygen.verify.matching import FlowEnd
from policygen.verify.parties import party_names

KINDS = 8
"""Kinds of pods of one workload that are asked about, at most."""

SOMEWHERE = "203.0.113.7"
"""Stands for a name whose address nobody knows (RFC 5737: never a real host's)."""

_DOMAIN = re.compile(r"([a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?\.?\Z")


class UnknownEnd(ValueError):
    """Nobody has that name: what was looked for, and what comes close."""


@dataclass(frozen=True, slots=True)
class NamedEnd:
    """One end of the question: every kind of pod that the name stands for, or one address."""

    given: str
    text: str
    ends: tuple[FlowEnd, ...]
    domain: str = ""
    service: Service | None = None  # the name is that of a Service, and `ends` are the pods behind it
    remarks: tuple[str, ...] = ()


def find_end(given: str, inventory: Inventory) -> NamedEnd:
    """Who `given` is. Raises UnknownEnd."""
    # a range as `reach` prints it is one of its addresses: policies treat all of them alike
    address = parse_address(given.partition("-")[0] if given.endswith("[External]") else given)
    if address is not None:
        return _at_address(given, address, inventory)
    name = given.removesuffix("]").partition("[")
    wanted, kind = name[0], name[2]
    pods = list(_pods(inventory, wanted, kind))
    if pods:
        return _of_pods(given, pods)
    service = next((s for s in inventory.services if f"{s.namespace}/{s.name}" == wanted), None)
    if service is not None:
        return _of_service(given, service, inventory)
    if "/" not in given and _DOMAIN.match(given):
        somewhere = parse_address(SOMEWHERE)
        assert somewhere is not None
        remark = f"no address of {given} is known: judged as an outside address that no narrower block holds"
        return NamedEnd(given, f"{given} (outside)", (FlowEnd(None, somewhere),), domain=given, remarks=(remark,))
    raise UnknownEnd(_unknown(given, inventory))


def _at_address(given: str, address: tuple[int, int], inventory: Inventory) -> NamedEnd:
    holders = [e for e in inventory.endpoints if address in e.addresses and e.until is None]
    pods = [e for e in holders if e.policy_subject]
    chosen = pods or sorted(holders, key=lambda e: e.workload.kind != "Node")[:1]
    if not chosen:
        for service in inventory.services:
            if address in (*service.cluster_addresses, *service.external_addresses):
                return _of_service(f"{service.namespace}/{service.name}", service, inventory)
        return NamedEnd(given, f"{given} (outside of the inventory)", (FlowEnd(None, address),))
    remarks: tuple[str, ...] = ()
    if len(chosen) > 1:
        names = ", ".join(end_text(one) for one in chosen)
        remarks = (f"{given} is held by {names}, in different networks: each is asked about",)
    shown = f"{given} ({', '.join(end_text(one) for one in chosen)})"
    return NamedEnd(given, shown, tuple(FlowEnd(one, address) for one in chosen), remarks=remarks)


def _pods(inventory: Inventory, wanted: str, kind: str) -> Iterator[Endpoint]:
    """Living endpoints by their own name or their workload's; templates of workloads that have none."""
    living = [e for e in inventory.endpoints if e.until is None]
    names = party_names(inventory) if kind else {}
    by_workload = [e for e in living if str(e.workload) == wanted and kind in ("", e.workload.kind)]
    by_own = [e for e in living if wanted in (f"{e.namespace}/{e.name}", e.name if not e.namespace else None)]
    by_party = [e for e in living if names.get(id(e)) == f"{wanted}[{kind}]"] if kind else []
    drafts = [t for t in inventory.templates if str(t.workload) == wanted and kind in ("", t.workload.kind)]
    yield from by_workload or by_party or by_own or drafts


def _of_pods(given: str, pods: list[Endpoint]) -> NamedEnd:
    kinds: dict[tuple[object, ...], Endpoint] = {}
    for pod in pods:
        kinds.setdefault((pod.workload, pod.labels, pod.ports, pod.host_network, pod.security_groups, pod.network), pod)
    chosen = list(kinds.values())[:KINDS]
    remarks = []
    if len(kinds) > KINDS:
        remarks.append(f"{len(kinds)} kinds of pods bear this name; {KINDS} are asked about")
    if len({pod.workload for pod in pods}) > 1:
        names = ", ".join(sorted({f"{p.workload}[{p.workload.kind}]" for p in pods}))
        remarks.append(f"several workloads bear this name, each is asked about: {names}")
    if all(not pod.addresses for pod in chosen):
        remarks.append(f"{given} has no pod yet: judged by its template, which has no address")
    shown = end_text(chosen[0]) if len(chosen) == 1 else f"{given} ({len(chosen)} kinds of pods)"
    return NamedEnd(given, shown, tuple(FlowEnd(pod) for pod in chosen), remarks=tuple(remarks))


def _of_service(given: str, service: Service, inventory: Inventory) -> NamedEnd:
    behind = pods_behind(service, (*inventory.endpoints, *inventory.templates))
    if not behind:
        raise UnknownEnd(f"Service {given} has no pods behind it in the inventory")
    found = _of_pods(given, behind)
    remark = f"{given} is a Service: judged are the pods behind it, for policies never see its address"
    return replace(found, text=f"Service {given} ({found.text})", service=service, remarks=(*found.remarks, remark))


def pods_behind(service: Service, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """The endpoints that a Service's selector chooses; templates only of workloads without a pod among them."""
    if not service.selector:
        return []
    chosen = [
        e
        for e in endpoints
        if e.namespace == service.namespace and e.until is None and set(service.selector) <= set(e.labels)
    ]
    populated = {e.workload for e in chosen if e.addresses}
    return [e for e in chosen if e.addresses or e.workload not in populated]


def end_text(endpoint: Endpoint) -> str:
    """`shop/web (Deployment, pod web-5d4f-x1)`."""
    workload = endpoint.workload
    own = f", pod {endpoint.name}" if endpoint.name != workload.name and endpoint.namespace else ""
    if endpoint.name != workload.name and not endpoint.namespace:
        own = f", {endpoint.name}"
    return f"{workload} ({workload.kind}{own})"


def _unknown(given: str, inventory: Inventory) -> str:
    names = {str(e.workload) for e in inventory.endpoints if e.until is None}
    names |= {f"{e.namespace}/{e.name}" if e.namespace else e.name for e in inventory.endpoints if e.until is None}
    names |= {str(t.workload) for t in inventory.templates}
    names |= {f"{s.namespace}/{s.name}" for s in inventory.services}
    close = get_close_matches(given, sorted(names), 3, 0.5)
    hint = f"; close are {', '.join(close)}" if close else ""
    if not names:
        hint = "; the inventory names nobody: add --inventory"
    return (
        f"{given!r} is no workload, pod, Service or host of the inventory, no IP address and no domain name{hint}. "
        "Pods and workloads are written namespace/name"
    )
