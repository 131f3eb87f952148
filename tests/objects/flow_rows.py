"""FlowTables as sorted rows with names instead of numbers, to be compared row for row."""

from __future__ import annotations

from analyzers.flows import COLUMNS, FlowTable


def rows_of(flows: FlowTable) -> list[tuple[object, ...]]:
    """Every row, in an order that depends on nothing but the rows."""
    columns = []
    for column in COLUMNS:
        values = flows[column.name].tolist()
        if column.name == "network":
            values = [flows.networks[v] for v in values]
        elif column.name == "observer":
            values = [flows.observers[v] for v in values]
        columns.append(values)
    return sorted(zip(*columns, strict=True))
