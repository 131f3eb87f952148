"""The narrowest rule that would allow what was asked, as YAML to paste."""

from __future__ import annotations

import json

from analyzers.flows import address_text
from analyzers.inventory import Endpoint
from policygen.explain.near_miss import Asked
from policygen.verify.evaluate import Direction
from policygen.verify.matching import PROTOCOLS, FlowEnd, pod_of

_SHORT_LIVED = (
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "controller-uid",
    "job-name",
)


def smallest_rule(direction: Direction, end: FlowEnd, asked: Asked) -> str:
    """One entry of spec.ingress or spec.egress; "" where no NetworkPolicy can say it (no address, or a protocol that
    NetworkPolicy does not name)."""
    protocol = PROTOCOLS.get(asked.protocol)
    peer = _peer(end.endpoint, asked)
    if protocol is None or not peer:
        return ""
    field = "to" if direction == "egress" else "from"
    lines = [f"- {field}:", *(f"  {line}" for line in peer), "  ports:", f"  - protocol: {protocol}"]
    if asked.port:
        lines.append(f"    port: {asked.port}")
    return "\n".join(lines)


def _peer(own: Endpoint | None, asked: Asked) -> list[str]:
    pod = pod_of(asked.peer, asked.around.profile)
    if pod is None:
        if asked.domain or not asked.peer.addresses:
            return []
        text = address_text(*asked.peer.addresses[0])
        cidr = f"{text}/{128 if ':' in text else 32}"
        return ["- ipBlock:", f"    cidr: {json.dumps(cidr)}"]
    labels = _labels(pod)
    lines = []
    if own is None or own.namespace != pod.namespace:
        lines += [
            "namespaceSelector:",
            "  matchLabels:",
            f"    kubernetes.io/metadata.name: {json.dumps(pod.namespace)}",
        ]
    lines += ["podSelector:", "  matchLabels:"] if labels else ["podSelector: {}"]
    lines += [f"    {key}: {json.dumps(value)}" for key, value in labels]
    return [f"- {lines[0]}", *(f"  {line}" for line in lines[1:])]


def _labels(pod: Endpoint) -> list[tuple[str, str]]:
    """The template's labels where they are known: those that the next pod will have, too."""
    chosen = pod.workload.labels or pod.labels
    return [(key, value) for key, value in chosen if key not in _SHORT_LIVED]
