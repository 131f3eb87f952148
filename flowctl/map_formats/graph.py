"""The map as a networkx graph, which dot and graphml are written from. Not a format of its own."""

from __future__ import annotations

from typing import Any

import networkx

from analyzers.flows import protocol_name
from analyzers.servicemap import External
from flowctl.observe import Observation
from flowctl.printing import end_text, port_text


def map_graph(observation: Observation) -> networkx.DiGraph:  # type: ignore[type-arg]
    """Nodes are ends; an edge joins all ports of a pair."""
    graph: networkx.DiGraph = networkx.DiGraph()  # type: ignore[type-arg]
    qualified = set(observation.qualification.places)
    for place, edge in enumerate(observation.map.edges):
        for end in (edge.client, edge.server):
            kind = "External" if isinstance(end, External) else end.kind
            graph.add_node(end_text(end), kind=kind, namespace=getattr(end, "namespace", ""), network=end.network)
        pair = end_text(edge.client), end_text(edge.server)
        held: dict[str, Any] = {"ports": "", "records": 0, "bytes": 0, "qualified": 0}
        if graph.has_edge(*pair):
            held.update(graph.edges[pair])
        port = port_text(protocol_name(edge.protocol), edge.port)
        graph.add_edge(
            *pair,
            ports=f"{held['ports']}, {port}".removeprefix(", "),
            records=held["records"] + edge.records,
            bytes=held["bytes"] + edge.bytes + edge.reply_bytes,
            qualified=held["qualified"] + (place in qualified),
        )
    return graph
