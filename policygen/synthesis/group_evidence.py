"""Evidence of security group rules, in words that a rule's description may hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from analyzers.flows import protocol_name
from analyzers.servicemap import Edge


def edge_line(edge: Edge) -> str:
    """`web to db TCP 5432: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake`."""
    return f"{edge.client} to {edge.server} {_service(edge)}: {_counts([edge])}"


def sources_line(edges: Sequence[Edge], sources: int) -> str:
    """The same for many sources of one port, without naming them."""
    return f"{sources} public sources to {edges[0].server} {_service(edges[0])}: {_counts(edges)}"


def _service(edge: Edge) -> str:
    name = protocol_name(edge.protocol)
    name = name if not name.isdigit() else f"protocol {name}"
    return f"{name} {edge.port}" if edge.port else name


def _counts(edges: Sequence[Edge]) -> str:
    records = sum(edge.records for edge in edges)
    window = f"{_moment(min(e.first for e in edges))}..{_moment(max(e.last for e in edges))}"
    directions = sorted({direction for edge in edges for direction in edge.directions})
    how = [direction.name.lower().replace("_", " ") for direction in directions]
    return ", ".join([f"{records:,} records", window, *how])


def _moment(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"
