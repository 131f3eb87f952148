"""Why a rule is there: one line a person can read and trace back, for comments and reports."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from analyzers.inventory import Identity
from analyzers.servicemap import Edge, End
from policygen.synthesis.findings import listed

_VIA = 3


def edge_line(edge: Edge, protocol: str) -> str:
    """`shop/web -> shop/cart TCP 8080: 1,204 records, 2026-01-01T00:00:00Z..2026-01-02T00:00:00Z, handshake`."""
    via = f", via {listed(edge.via, _VIA)}" if edge.via else ""
    where = f"{end_name(edge.client)} -> {end_name(edge.server)} {protocol} {edge.port}"
    return f"{where}: {_facts([edge])}{via}"


def addresses_line(edges: Sequence[Edge], protocol: str, *, outside: str) -> str:
    """The same for many addresses outside that are one end (`client` or `server`) of edges on one port."""
    first = edges[0]
    many = f"{len({getattr(e, outside) for e in edges}):,} addresses"
    client, server = (many, end_name(first.server)) if outside == "client" else (end_name(first.client), many)
    return f"{client} -> {server} {protocol} {first.port}: {_facts(edges)}"


def end_name(end: End) -> str:
    """`shop/web`, `node ip-10-0-0-1`, `203.0.113.7`."""
    return f"node {end.name}" if isinstance(end, Identity) and end.kind == "Node" else str(end)


def _facts(edges: Sequence[Edge]) -> str:
    records = sum(e.records for e in edges)
    span = f"{_moment(min(e.first for e in edges))}..{_moment(max(e.last for e in edges))}"
    known = [d for e in edges for d in e.directions]
    how = f", {min(known).name.lower().replace('_', ' ')}" if known else ""
    return f"{records:,} {'record' if records == 1 else 'records'}, {span}{how}"


def _moment(seconds: int) -> str:
    """RFC 3339 in UTC; the bare number where it lies outside of the calendar."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s"
