"""One question, answered: does this connection pass, who decides, and what would have to change."""

from __future__ import annotations

from dataclasses import replace

from analyzers.flows import address_text, protocol_name
from policygen.explain.acl_view import acl_views
from policygen.explain.ends import NamedEnd, end_text, pods_behind
from policygen.explain.group_view import group_view
from policygen.explain.kubernetes_view import kubernetes_view
from policygen.explain.values import DirectionView, Explanation, Question
from policygen.verify.evaluate import Direction, Flow, Verdict, always_allowed
from policygen.verify.matching import PROTOCOLS, FlowEnd
from policygen.verify.security_groups import evaluate_groups

DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")


def explain(question: Question) -> list[Explanation]:
    """An answer for every pair of kinds of pods that the two names stand for. Raises ValueError for a port's name that
    the destination does not declare."""
    answers = []
    for source in question.source.ends:
        for destination in question.destination.ends:
            for port in _ports(question, destination):
                answers.append(_answer(question, source, _apart(source, destination), port))
    return answers


def _apart(source: FlowEnd, destination: FlowEnd) -> FlowEnd:
    """Another pod of the same kind, where a workload is asked about itself: one pod always reaches itself."""
    endpoint = destination.endpoint
    if endpoint is None or endpoint != source.endpoint or endpoint.workload.kind in ("Pod", "Node", "Instance"):
        return destination
    return replace(destination, endpoint=replace(endpoint, name=f"another pod of {endpoint.workload.name}"))


def _ports(question: Question, destination: FlowEnd) -> list[int]:
    if isinstance(question.port, int):
        service = question.destination.service
        targets = [
            one.target
            for one in (service.ports if service is not None else ())
            if one.port == question.port and PROTOCOLS.get(question.protocol) == one.protocol
        ]
        if not targets:
            return [question.port]
        named = targets[0]
        return [named] if isinstance(named, int) else _declared(destination, named, question.protocol)
    return _declared(destination, question.port, question.protocol)


def _declared(destination: FlowEnd, name: str, protocol: int) -> list[int]:
    ports = destination.endpoint.ports if destination.endpoint is not None else ()
    numbers = [d.number for d in ports if d.name == name and d.protocol == PROTOCOLS.get(protocol)]
    if not numbers:
        known = ", ".join(f"{d.name} ({d.protocol} {d.number})" for d in ports if d.name) or "none"
        raise ValueError(f"the destination has no {protocol_name(protocol)} port named {name!r}; it names {known}")
    return numbers


def _answer(question: Question, source: FlowEnd, destination: FlowEnd, port: int) -> Explanation:
    flow = Flow(source, destination, question.protocol, port)
    texts = [_text(end, named) for end, named in ((source, question.source), (destination, question.destination))]
    remarks = (*question.source.remarks, *question.destination.remarks, *_service_hint(question, destination, port))
    views: list[DirectionView] = []
    verdicts: list[Verdict] = []
    always = always_allowed(flow) or ""
    if not always:
        if any(end.endpoint is not None and end.endpoint.namespace for end in (source, destination)):
            verdicts += [kubernetes_view(question, flow, direction, texts, views) for direction in DIRECTIONS]
        if any(question.membership.groups_of(end) for end in (source, destination)):
            verdict = evaluate_groups(question.membership, flow)
            always = verdict.path[0] if verdict.always else ""
            if not verdict.always:
                verdicts.append(verdict)
                views += [group_view(question, flow, direction, texts, verdict) for direction in DIRECTIONS]
    if not always and question.acls:
        passes, asked = acl_views(question, flow, texts)
        views += asked
        if not passes:
            verdicts.append(Verdict(False, ()))
    denied = any(not v.allowed and not v.undefined for v in verdicts)
    return Explanation(
        source=texts[0],
        destination=texts[1],
        protocol=question.protocol,
        port=port,
        allowed=all(verdict.allowed for verdict in verdicts),
        undefined=not denied and any(verdict.undefined for verdict in verdicts),
        views=tuple(views),
        always=always,
        doubts=tuple(dict.fromkeys(doubt for verdict in verdicts for doubt in verdict.doubts)),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def _text(end: FlowEnd, named: NamedEnd) -> str:
    if end.endpoint is None:
        return named.text
    return end_text(end.endpoint) + (f" at {address_text(*end.address)}" if end.address is not None else "")


def _service_hint(question: Question, destination: FlowEnd, port: int) -> tuple[str, ...]:
    """Somebody who asks for the port of a Service means the port behind it."""
    endpoint = destination.endpoint
    if question.destination.service is not None or endpoint is None or any(d.number == port for d in endpoint.ports):
        return ()
    for service in question.inventory.services:
        for one in service.ports:
            same = one.port == port != one.target and one.protocol == PROTOCOLS.get(question.protocol)
            if same and pods_behind(service, [endpoint]):
                return (
                    f"{port} is the port of Service {service.namespace}/{service.name}; "
                    f"policies see its target port {one.target}",
                )
    return ()
