"""Every flow through the policies: what would be denied, with the reason, and which rules were needed.

Flows of one kind share one verdict: ends are folded into classes that no policy can tell apart, so a million flows cost
a few thousand decisions. `evaluate` is the slow twin that says what the answer has to be.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from analyzers.flows import address_object
from analyzers.inventory import Endpoint, Inventory
from policygen.model import CidrPeer, Policy, PolicySet, Rule
from policygen.verify.evaluate import (
    Direction,
    DirectionVerdict,
    Flow,
    FlowEnd,
    Labels,
    RuleRef,
    Verdict,
    always_allowed,
    cidr_range,
    combine,
    direction_verdict,
    policy_name,
    ports_match,
    rule_matches,
    rules_of,
    selects,
)

_DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")


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
    policies: PolicySet, inventory: Inventory, flows: Sequence[ReplayFlow], *, ip_blocks_match_pods: bool = False
) -> ReplayReport:
    """Replays every flow. The verdicts are those of `evaluate` with the namespaces of `inventory`.

    The order of `flows` and of the policies' files leaves no trace in the report.
    """
    compiled = CompiledPolicies(policies, inventory.namespaces, ip_blocks_match_pods=ip_blocks_match_pods)
    tallies: dict[int, _Tally] = {}
    refused: list[Denial] = []
    records = 0
    for flow in flows:
        verdict = compiled.verdict(flow)
        tally = tallies.get(id(verdict))
        if tally is None:
            tally = tallies[id(verdict)] = _Tally(verdict)
        tally.flows += 1
        tally.records += flow.records
        records += flow.records
        if not verdict.allowed:
            refused.append(Denial(flow, verdict))
    refused.sort(key=_denial_order)
    always, unrestricted, hits = _summary(policies, tallies.values())
    return ReplayReport(
        flows=len(flows),
        records=records,
        denied=tuple(d for d in refused if not d.verdict.undefined),
        undefined=tuple(d for d in refused if d.verdict.undefined),
        hits=hits,
        always_allowed=always,
        unrestricted=unrestricted,
    )


@dataclass(slots=True)
class _Tally:
    """How many flows got one verdict. It keeps the verdict alive, so that its id stays its own."""

    verdict: Verdict
    flows: int = 0
    records: int = 0


def _summary(policies: PolicySet, tallies: Iterable[_Tally]) -> tuple[int, int, tuple[RuleHits, ...]]:
    always = unrestricted = 0
    flows: Counter[RuleRef] = Counter()
    records: Counter[RuleRef] = Counter()
    for policy in policies.policies:
        for direction in _DIRECTIONS:
            for index in range(len(rules_of(policy, direction) or ())):
                flows[RuleRef(policy_name(policy), direction, index)] += 0
    for tally in tallies:
        if not tally.verdict.allowed:
            continue
        if tally.verdict.always:
            always += tally.flows
        elif not tally.verdict.rules:
            unrestricted += tally.flows
        for rule in tally.verdict.rules:
            flows[rule] += tally.flows
            records[rule] += tally.records
    return always, unrestricted, tuple(RuleHits(rule, flows[rule], records[rule]) for rule in sorted(flows))


def _denial_order(denial: Denial) -> tuple[object, ...]:
    flow = denial.flow
    ends = (flow.source, flow.destination)
    names = tuple((e.endpoint.namespace, e.endpoint.name) if e.endpoint is not None else ("", "") for e in ends)
    places = tuple(e.addresses for e in ends)
    return flow.source_label, flow.destination_label, flow.protocol, flow.port, names, places, flow.records


class _EndClass:
    """Ends that no policy can tell apart. Compared by identity."""

    __slots__ = ("covering", "isolating", "names", "sample")

    def __init__(self, sample: FlowEnd, isolating: dict[Direction, tuple[Policy, ...]]) -> None:
        self.sample = sample
        self.isolating = isolating  # the policies that select these ends and list the direction
        self.names = {direction: tuple(map(policy_name, listed)) for direction, listed in isolating.items()}
        # for each direction and class of peers, the rules of those policies whose peers cover that class
        self.covering: dict[tuple[Direction, int], list[tuple[RuleRef, Rule]]] = {}


class _Place:
    """One end as it was met: its class, and where it runs.

    Two ends can only be always allowed (a pod to itself, or with its node) where their `machine` is the same.
    """

    __slots__ = ("endpoint", "kind", "machine")

    def __init__(self, endpoint: Endpoint | None, kind: _EndClass) -> None:
        self.endpoint = endpoint  # kept alive: places are found by its id
        self.kind = kind
        self.machine: tuple[str, ...] | None = None
        if endpoint is not None:
            is_node = endpoint.workload.kind == "Node" and not endpoint.namespace  # static pods are owned by nodes, too
            node = endpoint.name if is_node else endpoint.node
            self.machine = (endpoint.network, node) if node else (endpoint.network, endpoint.namespace, endpoint.name)


class CompiledPolicies:
    """A PolicySet prepared for many flows. Gives the verdicts of `evaluate`, one object for flows of one kind."""

    def __init__(
        self, policies: PolicySet, namespaces: dict[str, dict[str, str]], *, ip_blocks_match_pods: bool = False
    ) -> None:
        self._namespaces: dict[str, Labels] = dict(namespaces)
        self._blocks_match_pods = ip_blocks_match_pods
        self._by_namespace: dict[str, list[Policy]] = defaultdict(list)
        for policy in policies.policies:
            self._by_namespace[policy.namespace].append(policy)
        self._cuts = _address_cuts(policies)
        self._classes: dict[Hashable, _EndClass] = {}
        self._places: dict[tuple[int, tuple[int, int] | None], _Place] = {}
        self._verdicts: dict[tuple[int, int, int, int], Verdict] = {}
        self._always: dict[str, Verdict] = {}

    def verdict(self, flow: ReplayFlow | Flow) -> Verdict:
        """The verdict for one flow."""
        source, destination = self._place(flow.source), self._place(flow.destination)
        if source.machine is not None and source.machine == destination.machine:
            line = always_allowed(Flow(flow.source, flow.destination, flow.protocol, flow.port))
            if line is not None:
                return self._always.setdefault(line, Verdict(True, (line,), always=True))
        key = (id(source.kind), id(destination.kind), flow.protocol, flow.port)
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._verdicts[key] = self._decide(source.kind, destination.kind, flow.protocol, flow.port)
        return verdict

    def _decide(self, source: _EndClass, destination: _EndClass, protocol: int, port: int) -> Verdict:
        egress = self._judge("egress", source, destination, destination.sample, protocol, port)
        ingress = self._judge("ingress", destination, source, destination.sample, protocol, port)
        return combine(egress, ingress, protocol)

    def _judge(
        self, direction: Direction, end: _EndClass, peer: _EndClass, destination: FlowEnd, protocol: int, port: int
    ) -> DirectionVerdict:
        covering = end.covering.get((direction, id(peer)))  # classes live as long as this object: their ids are theirs
        if covering is None:
            covering = end.covering[direction, id(peer)] = self._rules_covering(direction, end, peer)
        matching = tuple(ref for ref, rule in covering if ports_match(rule, destination, protocol, port))
        return direction_verdict(direction, end.sample, end.names[direction], matching)

    def _rules_covering(self, direction: Direction, end: _EndClass, peer: _EndClass) -> list[tuple[RuleRef, Rule]]:
        return [
            (RuleRef(name, direction, index), rule)
            for policy, name in zip(end.isolating[direction], end.names[direction], strict=True)
            for index, rule in enumerate(rules_of(policy, direction) or ())
            if rule_matches(rule, policy, peer.sample, self._namespaces, self._blocks_match_pods)
        ]

    def _place(self, end: FlowEnd) -> _Place:
        key = (id(end.endpoint), end.address)
        place = self._places.get(key)
        if place is None:
            class_key = self._class_key(end)
            kind = self._classes.get(class_key)
            if kind is None:
                kind = self._classes[class_key] = _EndClass(end, self._isolating(end))
            place = self._places[key] = _Place(end.endpoint, kind)
        return place

    def _class_key(self, end: FlowEnd) -> Hashable:
        """Everything about an end that any policy looks at."""
        pod = end.pod
        cells = frozenset(map(self._cell, end.addresses)) if pod is None or self._blocks_match_pods else None
        return cells if pod is None else (pod.namespace, pod.labels, pod.ports, cells)

    def _cell(self, address: tuple[int, int]) -> tuple[int, int]:
        """Which piece of the address space, cut at the borders of every block, holds the address."""
        parsed = address_object(*address)
        return parsed.version, bisect_right(self._cuts[parsed.version], int(parsed))

    def _isolating(self, end: FlowEnd) -> dict[Direction, tuple[Policy, ...]]:
        candidates = self._by_namespace.get(end.pod.namespace, []) if end.pod is not None else []
        selecting = [policy for policy in candidates if selects(policy, end)]
        return {
            direction: tuple(policy for policy in selecting if rules_of(policy, direction) is not None)
            for direction in _DIRECTIONS
        }


def _address_cuts(policies: PolicySet) -> dict[int, list[int]]:
    """For each address family, the first addresses of the pieces that blocks and their exceptions cut."""
    cuts: dict[int, set[int]] = {4: set(), 6: set()}
    for policy in policies.policies:
        for rule in (*(policy.ingress or ()), *(policy.egress or ())):
            for peer in rule.peers or ():
                if isinstance(peer, CidrPeer):
                    for cidr in (peer.cidr, *peer.excepts):
                        version, first, last = cidr_range(cidr)
                        cuts[version] |= {first, last + 1}
    return {version: sorted(found) for version, found in cuts.items()}
