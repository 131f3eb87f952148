"""What the logs did not record, as rows of a table for people and as part of report.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from analyzers.flows import WindowFact
from analyzers.inventory.model import FlowLog

FACTS = 20_000
"""Facts by interface and hour that report.json takes; how many more there are is said."""

SHOWN = 8
"""Interfaces in the table."""

FAILED = "FAILED"


def coverage_rows(
    windows: Sequence[WindowFact], flow_logs: Sequence[FlowLog], lost_packets: Mapping[str, Mapping[str, int]]
) -> list[tuple[str, str, str, str]]:
    """(interface or flow log, when, minutes with lost records, minutes without any record); the worst ones first.

    Idle times are no loss and are left to report.json.
    """
    by_interface: dict[tuple[str, str], list[WindowFact]] = defaultdict(list)
    for fact in windows:
        if fact.skipped_minutes or fact.skipdata or fact.gap_minutes:
            by_interface[fact.interface, fact.flow_log].append(fact)
    ranked = sorted(
        by_interface.items(), key=lambda item: (-sum(f.skipped_minutes + f.gap_minutes for f in item[1]), item[0])
    )
    rows = []
    for (interface, log), facts in ranked[:SHOWN]:
        lost, gap = sum(f.skipped_minutes for f in facts), sum(f.gap_minutes for f in facts)
        hours = f"{_hour(facts[0].start)} to {_hour(max(f.end for f in facts))}"
        rows.append((f"{interface} {log}".strip(), hours, f"{lost:,}" if lost else "", f"{gap:,}" if gap else ""))
    if len(ranked) > SHOWN:
        rows.append((f"... and {len(ranked) - SHOWN} more", "", "", ""))
    rows += [(f"{log.id} of {log.resource}", _delivery(log), "", "") for log in flow_logs if _delivery(log)]
    for attachment, reasons in lost_packets.items():
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
        rows.append((attachment, f"the transit gateway lost packets: {told}", "", ""))
    return rows


def _delivery(log: FlowLog) -> str:
    """What is wrong with a flow log as its owner describes it; "" when nothing is."""
    if log.delivery == FAILED or log.error:
        return f"delivery {log.delivery.lower() or 'error'}: {log.error or 'no reason given'}"
    return f"records {log.traffic} traffic only" if log.traffic in ("ACCEPT", "REJECT") else ""


def _hour(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")


def coverage_document(windows: Sequence[WindowFact], flow_logs: Sequence[FlowLog]) -> dict[str, Any]:
    """Facts by interface and time, and the flow logs that are not as they should be."""
    return {
        "windows": [{**asdict(f), "start": _hour(f.start), "end": _hour(f.end)} for f in windows[:FACTS]],
        "windows_left_out": max(0, len(windows) - FACTS),
        "flow_logs": [
            {"id": log.id, "resource": log.resource, "problem": _delivery(log)} for log in flow_logs if _delivery(log)
        ],
    }


def aggregation_intervals(flow_logs: Sequence[FlowLog]) -> dict[str, int]:
    """Flow log id -> s; "" for logs whose id nobody knows: the longest of all described ones."""
    found = {log.id: log.interval for log in flow_logs}
    return {**found, "": max(found.values())} if found else {}
