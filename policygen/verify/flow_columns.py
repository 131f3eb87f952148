"""Flows in columns, judged by the compiled policies: millions a second, with the answers of `evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzers.inventory import Endpoint
from policygen.kernels.replay import ALLOWED, ALWAYS, DENIED, OTHER_PROTOCOL, UNKNOWN_ADDRESS, count_hits, judge_flows
from policygen.model import PolicySet
from policygen.verify.evaluate import DIRECTIONS, Flow, RuleRef, Verdict
from policygen.verify.judge import Judge, node_labels
from policygen.verify.matching import FlowEnd, Labels
from policygen.verify.profiles import SPEC, CniProfile

_UNKNOWN = (0, 0)
_CHUNK = 1 << 18
_SMALL = 1 << 14  # flows below which threads cost more than they bring
_THREADS = 2


@dataclass(frozen=True)
class FlowColumns:
    """Connections in columns of one length. The addresses are (hi, lo) halves; 0, 0: not known."""

    source: NDArray[np.int32]  # into the endpoints; -1: outside
    source_hi: NDArray[np.uint64]
    source_lo: NDArray[np.uint64]
    destination: NDArray[np.int32]
    destination_hi: NDArray[np.uint64]
    destination_lo: NDArray[np.uint64]
    protocol: NDArray[np.uint8]  # IANA
    port: NDArray[np.uint16]  # the destination's own
    records: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.port)


class Judged:
    """What became of the flows. Equal refusals are of one kind: `kind[i]` is -1 for flows that pass, else into `counts`
    (flows), `records` and `samples` (the place of one of them); `verdict` says why."""

    def __init__(self, judge: ColumnJudge, flows: FlowColumns, said: NDArray[np.uint8]) -> None:
        self.always = int((said == ALWAYS).sum())
        self.unrestricted = 0
        self.flows_of_rule: Counter[RuleRef] = Counter()
        self.records_of_rule: Counter[RuleRef] = Counter()
        self.kind: NDArray[np.int64] = np.full(len(flows), -1, np.int64)
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self.samples: NDArray[np.int64] = np.zeros(0, np.int64)
        self._judge, self._flows = judge, flows
        self._verdicts: dict[int, Verdict] = {}

    def verdict(self, kind: int) -> Verdict:
        """The oracle's verdict on the flows of one kind."""
        found = self._verdicts.get(kind)
        if found is None:
            flow = self._judge.flow(self._flows, int(self.samples[kind]))
            found = self._verdicts[kind] = self._judge.judge.verdict(flow)
        return found

    def records(self, kind: int) -> int:
        """The records of all flows of one kind."""
        return int(self._flows.records[self.kind == kind].sum())

    @property
    def refused(self) -> int:
        """How many flows do not pass."""
        return int(self.counts.sum())


class ColumnJudge:
    """Policies prepared for flows between `endpoints` and the world."""

    def __init__(
        self,
        policies: PolicySet,
        namespaces: Mapping[str, Labels],
        endpoints: Sequence[Endpoint],
        profile: CniProfile = SPEC,
        nodes: Mapping[str, Labels] | None = None,
        seen: Mapping[int, Sequence[tuple[int, int]]] | None = None,
    ) -> None:
        """`seen`: addresses besides their own at which endpoints (by place) are met."""
        self.endpoints = endpoints
        places = [
            (_UNKNOWN, *dict.fromkeys((*endpoint.addresses, *(seen or {}).get(index, ()))))
            for index, endpoint in enumerate(endpoints)
        ]
        ends = [
            FlowEnd(endpoint, None if address == _UNKNOWN else address)
            for endpoint, own in zip(endpoints, places, strict=True)
            for address in own
        ]
        nodes = node_labels(endpoints) if nodes is None else nodes
        self.judge = Judge(policies, namespaces, ends, profile, nodes)
        judge = self.judge
        known = [address for own in places for address in own]
        lengths = np.array([len(own) for own in places], np.int64)
        self._known = (
            np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]).astype(np.int64),
            np.array([hi for hi, _ in known], np.uint64),
            np.array([lo for _, lo in known], np.uint64),
            np.array(judge.unit_of_end, np.int32),
        )
        self._cells = (*judge.addresses.halves(), np.array(judge.units.cells, np.int32))
        numbers: dict[tuple[str, str], int] = {}
        self._selectable = np.array([endpoint.policy_subject for endpoint in endpoints], np.uint8)
        self._node = np.array([_node_number(endpoint, numbers) for endpoint in endpoints], np.int32)
        self._lookup = judge.ports.lookup()

    def run(self, flows: FlowColumns) -> Judged:
        """Judge every flow."""
        count = len(flows)
        said, cell = np.zeros(count, np.uint8), np.zeros(count, np.int32)
        units = np.zeros(count, np.int32), np.zeros(count, np.int32)
        compiled = self.judge.compiled
        columns = (
            flows.source, flows.source_hi, flows.source_lo, flows.destination, flows.destination_hi,
            flows.destination_lo, flows.protocol, flows.port,
        )  # fmt: skip
        tables = (*self._known, *self._cells, self._selectable, self._node, self._lookup, self.judge.matrix)

        def judge(first: int, last: int) -> None:
            judge_flows(first, last, *columns, *tables, compiled.sets.rows, said, *units, cell)

        _in_chunks(judge, count)
        judged = Judged(self, flows, said)
        self._kinds(judged, said, units, cell)
        decided = np.zeros(count, np.uint8)
        for direction in DIRECTIONS:
            self._hits(direction, flows, said, units, cell, decided, judged)
        judged.unrestricted += int(((said == ALLOWED) & (decided == 0)).sum())
        return judged

    def _kinds(
        self,
        judged: Judged,
        said: NDArray[np.uint8],
        units: tuple[NDArray[np.int32], NDArray[np.int32]],
        cell: NDArray[np.int32],
    ) -> None:
        """Fold the flows that do not simply pass into kinds, and let the oracle decide what kernels leave to it."""
        chosen = np.flatnonzero((said == DENIED) | (said >= OTHER_PROTOCOL))
        source, destination = units[0][chosen].astype(np.int64), units[1][chosen].astype(np.int64)
        width, wide = len(self.judge.units.units), 256 + len(self.judge.ports)
        number = cell[chosen].astype(np.int64) + np.where(said[chosen] == OTHER_PROTOCOL, len(self.judge.ports), 0)
        keys = (source * width + destination) * wide + number
        # an address that no unit stands for is a kind of its own
        alone = (said[chosen] == UNKNOWN_ADDRESS) | (source < 0) | (destination < 0)
        keys[alone] = -1 - chosen[alone]
        _, sample, kind, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        judged.samples, judged.counts = chosen[sample], counts.astype(np.int64)
        judged.kind[chosen] = kind.reshape(-1)
        asked = np.flatnonzero(said[judged.samples] >= OTHER_PROTOCOL)
        passing = np.zeros(len(counts), bool)
        for one in asked.tolist():
            verdict = judged.verdict(one)
            if verdict.allowed:
                passing[one] = True
                records = judged.records(one)
                judged.unrestricted += 0 if verdict.rules else int(counts[one])
                for rule in verdict.rules:
                    judged.flows_of_rule[rule] += int(counts[one])
                    judged.records_of_rule[rule] += records
        if passing.any():
            judged.kind[chosen[passing[judged.kind[chosen]]]] = -1
            judged.counts[passing] = 0

    def flow(self, flows: FlowColumns, place: int) -> Flow:
        """One row as a flow."""
        return Flow(
            self._end(flows.source[place], flows.source_hi[place], flows.source_lo[place]),
            self._end(flows.destination[place], flows.destination_hi[place], flows.destination_lo[place]),
            int(flows.protocol[place]),
            int(flows.port[place]),
        )

    def _end(self, endpoint: Any, hi: Any, lo: Any) -> FlowEnd:
        address = (int(hi), int(lo))
        return FlowEnd(self.endpoints[endpoint] if endpoint >= 0 else None, None if address == _UNKNOWN else address)

    def _hits(
        self,
        direction: Any,
        flows: FlowColumns,
        said: NDArray[np.uint8],
        units: tuple[NDArray[np.int32], NDArray[np.int32]],
        cell: NDArray[np.int32],
        decided: NDArray[np.uint8],
        judged: Judged,
    ) -> None:
        compiled = self.judge.compiled
        table = compiled.directions[direction]
        by_peer = direction == "egress"
        ends = units if by_peer else units[::-1]
        counts: list[tuple[NDArray[np.int64], NDArray[np.uint64]]] = []

        def count(first: int, last: int) -> None:
            own = np.zeros(len(table.rules), np.int64), np.zeros(len(table.rules), np.uint64)
            count_hits(
                first, last, said, by_peer, *ends, cell, flows.records, table.bounds, table.isolated, table.entries,
                table.rule, compiled.covers, compiled.spec_row, compiled.port_rows, compiled.named, *own, decided,
            )  # fmt: skip
            counts.append(own)

        if table.rules:
            _in_chunks(count, len(flows))
        for own_flows, own_records in counts:
            for number in np.flatnonzero(own_flows).tolist():
                judged.flows_of_rule[table.rules[number]] += int(own_flows[number])
                judged.records_of_rule[table.rules[number]] += int(own_records[number])


def _in_chunks(work: Any, count: int) -> None:
    """Run work(first, last) over 0..count, on threads where that pays: kernels run without the interpreter's lock."""
    if count <= _SMALL:
        work(0, count)
        return
    starts = range(0, count, _CHUNK)
    with ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(partial(work, start, min(start + _CHUNK, count))) for start in starts]:
            done.result()


def _node_number(endpoint: Endpoint, numbers: dict[tuple[str, str], int]) -> int:
    """A number for the node that an endpoint is, or runs on; -1 for none."""
    name = endpoint.node
    if not endpoint.policy_subject and not endpoint.host_network:
        name = endpoint.name if endpoint.workload.kind == "Node" else ""
    return numbers.setdefault((endpoint.network, name), len(numbers)) if name else -1
