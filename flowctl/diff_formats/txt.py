"""np-guard's lines, each with its witnesses indented below; then what the lines cannot say."""

from __future__ import annotations

from collections.abc import Iterator

from analyzers.flows import protocol_name
from flowctl.diffing import Diff, SeenFlows
from policygen.verify.differences import Change, Witness

_SHOWN = 40


def lines(diff: Diff) -> Iterator[str]:
    """Nothing where nothing differs and no flows were given."""
    if diff.changes:
        yield "Connectivity diff:"
    for change in diff.changes:
        yield from _change(change, f"source: {change.source}, destination: {change.destination}")
    if diff.within:
        yield "Between pods of one workload:"
    for change in diff.within:
        yield from _change(change, f"workload: {change.source}")
    if diff.seen is not None:
        yield from _seen(diff.seen)


def _change(change: Change, ends: str) -> Iterator[str]:
    line = f"diff-type: {change.kind}, {ends}, ref1: {change.before}, ref2: {change.after}"
    yield line + (f", workloads-diff-info: {change.workloads}" if change.workloads else "")
    if change.partly:
        yield "  for some of the pods only"
    for witness in change.witnesses:
        yield from _witness(witness)


def _witness(witness: Witness) -> Iterator[str]:
    yield f"  {'opened' if witness.after.allowed else 'closed'}, for one: {witness}"
    yield f"    before {witness.before}"
    yield f"    after  {witness.after}"


def _seen(seen: SeenFlows) -> Iterator[str]:
    yield f"Flows seen: {seen.flows}; the change would break {len(seen.broken)} and mend {seen.mended}"
    for denial in seen.broken[:_SHOWN]:
        flow = denial.flow
        port = f"{protocol_name(flow.protocol)} {flow.port}"
        yield f"would break: {flow.source_label} -> {flow.destination_label} {port}, {flow.records} records"
        yield f"    {denial.verdict}"
    if len(seen.broken) > _SHOWN:
        yield f"would break: {len(seen.broken) - _SHOWN} more"
    for opening in seen.unused:
        yield f"opened, never used: {opening.source} => {opening.destination} : {opening.connections}"
