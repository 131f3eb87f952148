"""np-guard's lines, each with its witness behind; then what the lines cannot say."""

from __future__ import annotations

from collections.abc import Iterator

from flowctl.diff_formats import witness_text
from flowctl.diffing import Diff, SeenFlows
from policygen.verify.differences import Change

_SHOWN = 40


def lines(diff: Diff) -> Iterator[str]:
    """Nothing where nothing differs and no flows were given."""
    if diff.changes:
        yield "Connectivity diff:"
    for change in diff.changes:
        yield _line(change, f"source: {change.source}, destination: {change.destination}")
    if diff.within:
        yield "Between pods of one workload:"
    for change in diff.within:
        yield _line(change, f"workload: {change.source}")
    if diff.seen is not None:
        yield from _seen(diff.seen)


def _line(change: Change, ends: str) -> str:
    line = f"diff-type: {change.kind}, {ends}, ref1: {change.before}, ref2: {change.after}"
    if change.workloads:
        line += f", workloads-diff-info: {change.workloads}"
    if change.partly:
        line += ", some pods only"
    return line + "".join(f", witness: {witness_text(witness)}" for witness in change.witnesses)


def _seen(seen: SeenFlows) -> Iterator[str]:
    yield f"Flows seen: {seen.flows}; the change would break {len(seen.broken)} and mend {seen.mended}"
    for denial in seen.broken[:_SHOWN]:
        flow = denial.flow
        yield f"would break: {flow.source_label} -> {flow.destination_label} port {flow.port}/{flow.protocol}, " \
              f"{flow.records} records: {denial.verdict}"  # fmt: skip
    if len(seen.broken) > _SHOWN:
        yield f"would break: {len(seen.broken) - _SHOWN} more"
    for opening in seen.unused:
        yield f"opened, never used: {opening.source} => {opening.destination} : {opening.connections}"
