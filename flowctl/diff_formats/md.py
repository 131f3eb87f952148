"""Markdown for a pull request: a table of changes, their witnesses below it."""

from __future__ import annotations

from collections.abc import Iterator

from flowctl.diff_formats import witness_text
from flowctl.diffing import Diff


def lines(diff: Diff) -> Iterator[str]:
    """`No difference.` where there is none."""
    changes = (*diff.changes, *diff.within)
    if not changes:
        yield "No difference."
    else:
        yield "| change | source | destination | before | after | workloads |"
        yield "|---|---|---|---|---|---|"
    for number, change in enumerate(changes, 1):
        cells = (change.kind, change.source, change.destination, change.before, change.after, change.workloads)
        yield f"| {number}. " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
    if any(change.witnesses for change in changes):
        yield ""
        yield "Witnesses:"
        yield ""
    for number, change in enumerate(changes, 1):
        for witness in change.witnesses:
            yield f"- {number}: {witness_text(witness)}"
    if diff.seen is not None:
        yield ""
        yield f"Of {diff.seen.flows} flows seen the change would break {len(diff.seen.broken)}."
        yield ""
        for denial in diff.seen.broken:
            flow = denial.flow
            yield f"- would break: {flow.source_label} -> {flow.destination_label} port {flow.port}: {denial.verdict}"
        for opening in diff.seen.unused:
            yield f"- opened, never used: {opening.source} => {opening.destination} : {opening.connections}"
