"""AWS: the JSON of describe-flow-logs: what each flow log covers, in which format, and whether it arrives."""

from __future__ import annotations

from collections.abc import Sequence

from analyzers.inventory.facts import Facts, SourceDocument
from analyzers.inventory.fields import Fields
from analyzers.inventory.model import FlowLog


def sniff(value: object) -> bool:
    """The response, or the list inside it (`--query 'FlowLogs[]'`)."""
    if isinstance(value, list):
        return any(isinstance(item, dict) and "FlowLogId" in item for item in value[:1])
    return isinstance(value, dict) and "kind" not in value and isinstance(value.get("FlowLogs"), list)


def read(documents: Sequence[SourceDocument]) -> Facts:
    """The flow logs; no endpoints come from them."""
    facts = Facts("table")
    for document in documents:
        value = document.value if isinstance(document.value, dict) else {"FlowLogs": document.value}
        for fields in Fields(value, document.where, document.notes).maps("FlowLogs"):
            identifier = fields.text("FlowLogId")
            if not identifier:
                fields.notes.add(fields.where, "FlowLogId is missing, so the object was left out")
                continue
            facts.flow_logs.append(
                FlowLog(
                    id=identifier,
                    resource=fields.text("ResourceId"),
                    log_format=fields.text("LogFormat"),
                    log_group=fields.text("LogGroupName"),
                    traffic=fields.text("TrafficType") or "ALL",
                    interval=fields.integer("MaxAggregationInterval", 1, 86400) or 600,
                    delivery=fields.text("DeliverLogsStatus"),
                    error=fields.text("DeliverLogsErrorMessage"),
                )
            )
    return facts
