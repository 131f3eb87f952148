"""Every flow through the policies: what would be denied, with the reason, and which rules were needed.

Flows of one kind share one verdict: ends are folded into units that no policy can tell apart, and compiled policies
answer for whole columns of flows. `evaluate` is the slow twin that says what the answer has to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyzers.inventory import Endpoint, Inventory
from policygen.model import PolicySet
from policygen.verify.evaluate import DIRECTIONS, RuleRef, Verdict, admin_rules_of, policy_name, rules_of
from policygen.verify.flow_columns import ColumnJudge, FlowColumns
from policygen.verify.judge import node_labels
from policygen.verify.matching import FlowEnd
from policygen.verify.profiles import SPEC, CniProfile


@dataclass(frozen=True, slots=True)
class ReplayFlow:
    """One flow to be replayed, with the names that messages use for its ends."""

    source: FlowEnd
    destination: FlowEnd
    protocol: int  # IANA
    port: int  # the destination's
    source_label: str = ""
    destination_label: str = ""
    records: int = 1  # how many log records it stands for


@dataclass(frozen=True, slots=True)
class Denial:
    """A flow that does not pass, and why."""

    flow: ReplayFlow
    verdict: Verdict


@dataclass(frozen=True, slots=True, order=True)
class RuleHits:
    """How much of the replay one rule allows; where several rules allow a flow, it counts for each of them."""

    rule: RuleRef
    flows: int = 0
    records: int = 0


@dataclass(frozen=True)
class ReplayReport:
    """The outcome. `flows` = allowed + denied + undefined; every count is of flows unless it says records."""

    flows: int = 0
    records: int = 0
    denied: tuple[Denial, ...] = ()  # sorted by labels, protocol, port, addresses
    undefined: tuple[Denial, ...] = ()  # protocols that NetworkPolicy says nothing about, at isolated pods
    hits: tuple[RuleHits, ...] = ()  # every rule of the policies, those without a hit too
    always_allowed: int = 0  # a pod to itself, or with its own node: no policy decides
    unrestricted: int = 0  # passed because neither end is isolated

    @property
    def proven(self) -> bool:
        """No flow is denied."""
        return not self.denied


def replay(
    policies: PolicySet, inventory: Inventory, flows: Sequence[ReplayFlow], profile: CniProfile = SPEC
) -> ReplayReport:
    """Replays every flow. The verdicts are those of `evaluate` with the namespaces and nodes of `inventory`.

    The order of `flows` and of the policies' files leaves no trace in the report.
    """
    endpoints, columns, seen = _in_columns(flows)
    judge = ColumnJudge(
        policies, dict(inventory.namespaces), endpoints, profile, node_labels(inventory.endpoints), seen
    )
    judged = judge.run(columns)
    refused = [
        Denial(flows[place], judged.verdict(int(judged.kind[place])))
        for place in np.flatnonzero(judged.kind >= 0).tolist()
    ]
    refused.sort(key=_denial_order)
    return ReplayReport(
        flows=len(flows),
        records=sum(flow.records for flow in flows),
        denied=tuple(d for d in refused if not d.verdict.undefined),
        undefined=tuple(d for d in refused if d.verdict.undefined),
        hits=tuple(
            RuleHits(rule, judged.flows_of_rule[rule], judged.records_of_rule[rule])
            for rule in sorted(all_rules(policies))
        ),
        always_allowed=judged.always,
        unrestricted=judged.unrestricted,
    )


def all_rules(policies: PolicySet) -> list[RuleRef]:
    """Every rule of every policy."""
    found = [
        RuleRef(policy_name(policy), direction, index)
        for policy in policies.policies
        for direction in DIRECTIONS
        for index in range(len(rules_of(policy, direction) or ()))
    ]
    return found + [
        RuleRef(str(policy), direction, index)
        for policy in policies.admin
        for direction in DIRECTIONS
        for index in range(len(admin_rules_of(policy, direction)))
    ]


def _in_columns(
    flows: Sequence[ReplayFlow],
) -> tuple[list[Endpoint], FlowColumns, dict[int, list[tuple[int, int]]]]:
    """(the endpoints of the flows, the flows in columns, addresses at which endpoints were met besides their own)."""
    endpoints: list[Endpoint] = []
    numbers: dict[int, int] = {}
    seen: dict[int, list[tuple[int, int]]] = {}
    met: set[tuple[int, tuple[int, int]]] = set()

    def number(end: FlowEnd) -> int:
        if end.endpoint is None:
            return -1
        found = numbers.get(id(end.endpoint))  # flows keep their endpoints alive
        if found is None:
            found = numbers[id(end.endpoint)] = len(endpoints)
            endpoints.append(end.endpoint)
        if end.address is not None and (found, end.address) not in met:
            met.add((found, end.address))
            seen.setdefault(found, []).append(end.address)
        return found

    ends = {
        role: np.array(
            [(number(end), *(end.address or (0, 0))) for end in (getattr(flow, role) for flow in flows)] or [(0, 0, 0)],
            object,
        )
        for role in ("source", "destination")
    }
    count = len(flows)
    source, destination = ends["source"][:count], ends["destination"][:count]
    columns = FlowColumns(
        source=source[:, 0].astype(np.int32),
        source_hi=source[:, 1].astype(np.uint64),
        source_lo=source[:, 2].astype(np.uint64),
        destination=destination[:, 0].astype(np.int32),
        destination_hi=destination[:, 1].astype(np.uint64),
        destination_lo=destination[:, 2].astype(np.uint64),
        protocol=np.array([flow.protocol for flow in flows], np.uint8),
        port=np.array([flow.port for flow in flows], np.uint16),
        records=np.array([flow.records for flow in flows], np.uint64),
    )
    return endpoints, columns, seen


def _denial_order(denial: Denial) -> tuple[object, ...]:
    flow = denial.flow
    ends = (flow.source, flow.destination)
    names = tuple((e.endpoint.namespace, e.endpoint.name) if e.endpoint is not None else ("", "") for e in ends)
    places = tuple(e.addresses for e in ends)
    return flow.source_label, flow.destination_label, flow.protocol, flow.port, names, places, flow.records
