"""Everything as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from flowctl.diff_formats import change_record, verdict_record
from flowctl.diffing import Diff, SeenFlows
from flowctl.judging import JudgedSide


def lines(diff: Diff) -> Iterator[str]:
    """The object, indented."""
    found: dict[str, Any] = {
        "changes": [change_record(change) for change in diff.changes],
        "within_workloads": [change_record(change) for change in diff.within],
        "workloads_added": list(diff.appeared),
        "workloads_removed": list(diff.vanished),
        "left_out": {"old": _left_out(diff.old), "new": _left_out(diff.new)},
    }
    if diff.seen is not None:
        found["flows"] = _seen(diff.seen)
    yield json.dumps(found, indent=2)


def _left_out(side: JudgedSide) -> list[dict[str, str]]:
    return [{"where": problem.where, "reason": problem.reason} for problem in side.loaded.left_out]


def _seen(seen: SeenFlows) -> dict[str, Any]:
    return {
        "seen": seen.flows,
        "mended": seen.mended,
        "would_break": [
            {
                "source": denial.flow.source_label,
                "destination": denial.flow.destination_label,
                "protocol": denial.flow.protocol,
                "port": denial.flow.port,
                "records": denial.flow.records,
                "after": verdict_record(denial.verdict),
            }
            for denial in seen.broken
        ],
        "opened_never_used": [
            {"source": one.source, "destination": one.destination, "connections": str(one.connections)}
            for one in seen.unused
        ],
    }
